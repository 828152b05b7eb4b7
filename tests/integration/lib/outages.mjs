/* SPDX-License-Identifier: MIT */
/* Ways in which a Redis fails under live sessions, and what these may see of
 * it: none is lost, and none waits longer than BOUND_MS for an answer, beside
 * what a busy machine does to those who use the nodes without any gateway. */
import assert from 'node:assert/strict';
import { storeIs } from '../../support/replicas.mjs';
import { assertClean } from './cluster.mjs';
import { RovingSession, startReplicated } from './replicas.mjs';
import { Stillness } from './stillness.mjs';
import { eachOf, pause, until } from './wait.mjs';

export const BOUND_MS = 2000;
const SLOW_FACTOR = 3; /* with sanitizers */
/* Two processes more stand between, and a newcomer has more to ask. */
const CONTROL_FACTOR = 3;
const BACK_MS = 60_000;
const GONE_MS = 20_000;
const OPEN_MS = 30_000;
const BREATH_MS = 150;
const QUIET_MS = 2500; /* a loss is noticed sooner */
const WIDTH = 32;

const still = new Stillness();

const keyOf = ({ sid }) => `sidgate:session:${sid}`;

/* begin, end: what befalls `redis`; ms: how long it lasts; refuses: handshakes
 * cannot be written; spoils: a share of the keys stays as it is made. */
export const OUTAGES = {
  'Redis is killed and starts again, empty': {
    begin: ({ redis }) => redis.kill(),
    end: ({ redis }) => redis.restart(),
    ms: 3000,
    refuses: true,
  },
  'Redis is stopped for 5 s': {
    begin: ({ redis }) => redis.pause(),
    end: ({ redis }) => redis.resume(),
    ms: 5000,
    refuses: true,
  },
  'Redis starts again at once': {
    begin: ({ redis }) => redis.restart(),
    end: () => {},
    ms: 500,
  },
  'all connections are cut, again and again': {
    begin: async ({ redis }) => {
      for (let i = 0; i < 8; i++) {
        for (const type of ['normal', 'pubsub'])
          await redis.command('CLIENT', 'KILL', 'TYPE', type);
        await pause(200);
      }
    },
    end: () => {},
    ms: 0,
  },
  'the password changes': {
    begin: async ({ redis }) => {
      await redis.command('CONFIG', 'SET', 'requirepass', 'new');
      for (const type of ['normal', 'pubsub'])
        await redis.command('CLIENT', 'KILL', 'TYPE', type);
    },
    end: ({ redis }) => redis.command('CONFIG', 'SET', 'requirepass', ''),
    ms: 3000,
    refuses: true,
  },
  FLUSHALL: {
    begin: ({ redis }) => redis.command('FLUSHALL'),
    end: () => {},
    ms: 1500,
  },
  'FLUSHALL, again and again': {
    begin: async ({ redis }) => {
      for (let i = 0; i < 15; i++) {
        await redis.command('FLUSHALL');
        await pause(200);
      }
    },
    end: () => {},
    ms: 0,
  },
  'a wrong type at the keys of sessions': {
    begin: async ({ redis }, sessions) => {
      for (const session of sessions.filter((_, i) => i % 3 === 0)) {
        await redis.command('DEL', keyOf(session));
        await redis.command('SET', keyOf(session), 'junk');
      }
    },
    end: () => {},
    ms: 1500,
    spoils: true,
  },
  'the memory is full': {
    begin: async ({ redis }) => {
      await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await redis.command('CONFIG', 'SET', 'maxmemory', '1mb');
    },
    end: ({ redis }) => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
    ms: 3000,
    refuses: true,
  },
};

/* By polling or on websocket. With `closed` a handshake is refused when Redis
 * takes longer than it may, as it does on a machine that stands still. */
async function begun(cluster, i) {
  const end = Date.now() + OPEN_MS;
  for (;;) {
    const session = new RovingSession({
      ports: cluster.ports,
      eio: cluster.server === '2' ? 3 : 4,
    });
    session.way.turn = i;
    try {
      if (i % 4 === 3) await session.openWebsocket();
      else await session.open();
      return session;
    } catch (error) {
      if (!cluster.refuses || error.status !== 503 || Date.now() > end)
        throw error;
      await pause(BREATH_MS);
    }
  }
}

/* A session on polling, which roves, or on websocket. */
export async function openOne(cluster, i) {
  const session = await begun(cluster, i);
  await session.connect();
  if (i % 4 === 2) await session.upgrade();
  session.node = (await session.whoami()).node;
  return session;
}

/* Keeps all of them busy until stop(), which gives {calls, worst, lost}. */
export class Traffic {
  calls = 0;
  worst = 0;
  lost = [];
  #over = false;
  #runs = [];

  add(session) {
    this.#runs.push(
      this.#run(session).catch(({ message }) => this.lost.push(message)),
    );
  }

  async #run(session) {
    while (!this.#over) {
      const started = Date.now();
      const me = await session.whoami();
      this.worst = Math.max(this.worst, still.since(started));
      this.calls++;
      if (me.sid !== session.sid || me.node !== session.node)
        throw new Error(`${session.sid} is now ${me.sid} on ${me.node}`);
      await pause(BREATH_MS * (0.5 + Math.random()));
    }
  }

  async stop() {
    this.#over = true;
    await Promise.all(this.#runs);
    const { calls, lost } = this;
    return { calls, lost, worst: this.worst };
  }
}

/* The same straight to each node. stop() gives the worst that these saw. */
export async function startControl(cluster) {
  const traffic = new Traffic();
  const sessions = await eachOf(cluster.nodes, WIDTH, async ({ port }) => {
    const session = new RovingSession({
      ports: [port],
      eio: cluster.server === '2' ? 3 : 4,
    });
    await session.open();
    await session.connect();
    session.node = (await session.whoami()).node;
    return session;
  });
  sessions.forEach((session) => traffic.add(session));
  return {
    async stop() {
      const { worst, lost } = await traffic.stop();
      assert.deepEqual(lost, [], 'without a gateway');
      await Promise.all(sessions.map((session) => session.close()));
      return worst;
    },
  };
}

/* What `worst` and the like may be, where the control saw `control`. */
export function boundOf({ isSlow }, control) {
  return BOUND_MS * (isSlow ? SLOW_FACTOR : 1) + CONTROL_FACTOR * control;
}

/* New sessions while the outage lasts; gives those that began. */
async function newcomers(cluster, count, result) {
  const began = [];
  await eachOf(Array.from({ length: count }), 4, async (_, i) => {
    const started = Date.now();
    try {
      const session = new RovingSession({ ports: cluster.ports });
      session.way.turn = i;
      await session.open();
      result.statuses.add(200);
      await session.connect();
      session.node = (await session.whoami()).node;
      began.push(session);
    } catch (error) {
      if (!error.status) throw error;
      result.statuses.add(error.status);
    }
    result.worstNew = Math.max(result.worstNew, still.since(started));
  });
  return began;
}

/* Each live session has its record again. */
export function allWritten({ redis }, sessions) {
  let missing = sessions;
  return until(
    async () => {
      const found = await Promise.all(
        missing.map((session) => redis.command('EXISTS', keyOf(session))),
      );
      missing = missing.filter((_, i) => !found[i]);
      return missing.length === 0;
    },
    BACK_MS,
    () => `${missing.length} sessions are not in Redis, e.g. ${missing[0].sid}`,
  );
}

/* Each replica has noticed what was lost, and has written it again: one that
 * has not yet would write sessions that ended through another one meanwhile. */
async function writingIsOver(cluster) {
  let last = -1;
  let since = Date.now();
  await until(
    async () => {
      const written = await cluster.sum('sidgate_republished_total');
      if (written !== last) since = Date.now();
      last = written;
      return still.since(since) > QUIET_MS;
    },
    BACK_MS,
    () => 'the replicas still write',
  );
}

/* The sessions have ended, and so have their records. That of a handshake which
 * was refused because Redis took too long may be there until it expires. */
async function noneWritten({ redis }, sessions) {
  const keys = new Set(sessions.map(keyOf));
  let left = [];
  const isOver = async () => {
    const all = await redis.keys('sidgate:session:*');
    left = all.filter((key) => keys.has(key));
    return left.length === 0;
  };
  await until(isOver, GONE_MS, '').catch(() => {});
  const records = await Promise.all(
    left.map(async (key) => ({
      key,
      life: await redis.command('PTTL', key),
      ...(await redis.hash(key)),
    })),
  );
  assert.deepEqual(records, [], 'records of sessions that have ended');
}

/*
 * One outage on `cluster` under `count` sessions. Gives {statuses, worst,
 * worstNew, control, calls, lost, back, sessions}: all delays in ms, without
 * what the machine stood still; control is the worst without any gateway, back
 * is how long it took until all records were there.
 */
export async function suffer(cluster, outage, count) {
  const sessions = await eachOf(Array.from({ length: count }), WIDTH, (_, i) =>
    openOne(cluster, i),
  );
  const traffic = new Traffic();
  sessions.forEach((session) => traffic.add(session));
  const control = await startControl(cluster);
  await pause(3 * BREATH_MS);
  const result = { sessions, statuses: new Set(), worstNew: 0 };
  await outage.begin(cluster, sessions);
  const end = Date.now() + outage.ms;
  do {
    for (const session of await newcomers(cluster, 8, result)) {
      sessions.push(session);
      traffic.add(session);
    }
    await pause(Math.min(300, Math.max(0, end - Date.now())));
  } while (Date.now() < end);
  await outage.end(cluster);
  const ended = Date.now();
  await Promise.all(cluster.gateways.map((gateway) => storeIs(gateway, true)));
  if (!outage.spoils) await allWritten(cluster, sessions);
  result.back = Date.now() - ended;
  await writingIsOver(cluster);
  Object.assign(result, await traffic.stop());
  result.control = await control.stop();
  await eachOf(sessions, WIDTH, (session) =>
    session.close().catch(({ message }) => result.lost.push(message)),
  );
  return result;
}

export function described({ statuses, sessions, ...rest }) {
  return JSON.stringify({
    ...rest,
    sessions: sessions.length,
    statuses: [...statuses],
  });
}

/* The whole of one outage, as a test. */
export async function outageTest(t, outage, { count, policy, server = '4' }) {
  /* A refused handshake leaves the node with a session that nobody has. */
  const options =
    policy === 'closed' ? { pingInterval: 2000, pingTimeout: 10_000 } : {};
  const cluster = await startReplicated({
    server,
    options,
    args: ['--store-outage', policy, '--store-timeout', '250ms'],
  });
  t.after(() => cluster.stop());
  cluster.refuses = policy === 'closed';
  const result = await suffer(cluster, outage, count);
  t.diagnostic(described(result));
  assert.deepEqual(result.lost, []);
  const expected = outage.refuses && policy === 'closed' ? 503 : 200;
  assert.deepEqual([...result.statuses], [expected]);
  const bound = boundOf(cluster, result.control);
  assert.ok(result.worst < bound, described(result));
  assert.ok(result.worstNew < bound, described(result));
  await assertClean(cluster);
  if (!outage.spoils) await noneWritten(cluster, result.sessions);
}
