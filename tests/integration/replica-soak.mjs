/* SPDX-License-Identifier: MIT */
/*
 * Sessions whose every request goes through another replica, at once and from
 * another address: `node replica-soak.mjs --sessions 20000 --replicas 3`.
 *
 * --sessions N   how many in all (20000)
 * --live N       how many at once (64)
 * --replicas N   sidgates that share a Redis (2)
 * --server S     2, 3, 4 or python (4)
 * --hold         keep all open until the last one is, then close them; shows
 *                what Redis holds meanwhile
 *
 * Ends with 1 if any session saw a misroute or failed, if a binding had to be
 * recovered, or if a key stayed in Redis.
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { judge, remaining } from './lib/cluster.mjs';
import { RovingSession, startReplicated } from './lib/replicas.mjs';
import { eachOf, until } from './lib/wait.mjs';

const DEFAULTS = { sessions: 20_000, live: 64, replicas: 2, server: '4' };
const KEYS = 'sidgate:session:*';
const ROUNDS = 2;
const GONE_MS = 20_000;

/* What the session costs is the sum of all its requests. */
async function talk(session, i) {
  await session.open();
  await session.connect();
  const me = await session.whoami();
  if (i % 4 === 3) await session.upgrade();
  for (let round = 0; round < ROUNDS; round++) {
    const now = await session.whoami();
    if (now.sid !== session.sid || now.node !== me.node)
      throw new Error(`${session.sid}: now on ${now.node} as ${now.sid}`);
  }
}

async function unexpired(redis) {
  const keys = await redis.keys(KEYS);
  const lives = await Promise.all(
    keys.map((key) => redis.command('PTTL', key)),
  );
  const endless = lives.filter((life) => life === -1);
  return { count: keys.length, endless: endless.length };
}

function used(info) {
  return Number(/^used_memory:(\d+)/m.exec(info)[1]);
}

/* All sessions on `cluster`, `live` at once; adds to result. */
export async function rove(cluster, { sessions, live, hold = false }, log) {
  const result = { done: 0, failures: [], requests: 0, worst: 0, held: null,
    endless: 0 };
  const kept = [];
  const finish = async (session) => {
    await session.close();
    result.requests += session.requests;
  };
  await eachOf(Array.from({ length: sessions }), live, async (_, i) => {
    const session = new RovingSession({
      ports: cluster.ports,
      eio: cluster.server === '2' ? 3 : 4,
    });
    session.way.turn = i;
    const started = Date.now();
    try {
      await talk(session, i);
      if (hold) kept.push(session);
      else await finish(session);
    } catch (error) {
      result.failures.push(error.message);
      session.abandon();
    }
    result.worst = Math.max(result.worst, Date.now() - started);
    if (++result.done % 1000 === 0) {
      result.endless += (await unexpired(cluster.redis)).endless;
      log?.(`${result.done} sessions`);
    }
  });
  if (hold) {
    result.held = await unexpired(cluster.redis);
    result.held.memory = used(await cluster.redis.command('INFO', 'memory'));
    await eachOf(kept, live, (session) =>
      finish(session).catch(({ message }) => result.failures.push(message)),
    );
  }
  return result;
}

/* Of the commands that only sessions cause. */
async function perSession(redis, sessions) {
  const stats = await redis.commandstats();
  const names = ['hmget', 'pttl', 'evalsha'];
  return Object.fromEntries(
    names.map((name) => [
      name,
      Number(((stats.get(name) ?? 0) / sessions).toFixed(3)),
    ]),
  );
}

/* Adds what the nodes, the replicas and Redis say; `ok` is all of it. */
export async function verdict(cluster, result) {
  result.stillOpen = await remaining(cluster);
  const { misroutes, aliens, broken } = judge(await cluster.stats());
  Object.assign(result, { misroutes, aliens, broken });
  result.routed = {};
  for (const source of ['cache', 'store', 'recovery'])
    result.routed[source] = await cluster.sum(
      `sidgate_routed_total{source="${source}"}`,
    );
  result.unknown = await cluster.sum('sidgate_unknown_sid_total');
  result.storeErrors = await cluster.sum('sidgate_store_errors_total');
  let left = [];
  await until(
    async () => {
      left = await cluster.redis.keys(KEYS);
      return left.length === 0;
    },
    GONE_MS,
    '',
  ).catch(() => {});
  result.left = left;
  result.commands = await perSession(cluster.redis, result.done);
  result.ok =
    [
      result.failures,
      misroutes,
      aliens,
      broken,
      result.stillOpen,
      result.left,
    ].every(({ length }) => length === 0) &&
    result.routed.recovery === 0 &&
    result.unknown === 0 &&
    result.endless === 0 &&
    (result.held?.endless ?? 0) === 0;
  return result;
}

export function summary(result) {
  const { routed, held } = result;
  const lists = ['failures', 'misroutes', 'aliens', 'broken', 'stillOpen'];
  return [
    `${result.done} sessions, ${result.requests} requests`,
    `longest session: ${result.worst} ms`,
    ...lists.map((kind) => `${kind}: ${result[kind].length}`),
    `code 1 by a replica: ${result.unknown}`,
    `found in cache: ${routed.cache}, store: ${routed.store}, ` +
      `by asking: ${routed.recovery}`,
    `store errors: ${result.storeErrors}`,
    `keys seen without expiry: ${result.endless}`,
    `commands for each session: ${JSON.stringify(result.commands)}`,
    ...(held
      ? [
          `keys while all were open: ${held.count}, without expiry: ` +
            `${held.endless}, Redis' memory: ${held.memory} B`,
        ]
      : []),
    `keys left: ${result.left.length}`,
    ...lists
      .flatMap((kind) => result[kind])
      .slice(0, 12)
      .map((entry) => JSON.stringify(entry)),
  ].join('\n');
}

async function main() {
  const names = ['sessions', 'live', 'replicas', 'server'];
  const { values } = parseArgs({
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
      hold: { type: 'boolean', default: false },
    },
  });
  const o = { ...DEFAULTS, ...values };
  for (const name of ['sessions', 'live', 'replicas'])
    o[name] = Number(o[name]);
  const cluster = await startReplicated(o);
  let result;
  try {
    const started = Date.now();
    result = await rove(cluster, o, console.log);
    const seconds = (Date.now() - started) / 1000;
    console.log(`${seconds.toFixed(1)} s`);
    await verdict(cluster, result);
    console.log(summary(result));
  } finally {
    await cluster.stop();
  }
  process.exit(result.ok ? 0 : 1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
