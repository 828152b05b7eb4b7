/* SPDX-License-Identifier: MIT */
/*
 * The gateway loses all that it knew, and a node stops answering for a while:
 * no session may be lost by either. The sessions have no request in flight at
 * that moment, since a killed gateway breaks what goes through it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startGateway } from '../support/gateway.mjs';
import { assertClean, startCluster } from './lib/cluster.mjs';
import { RawSession } from './lib/raw.mjs';
import { LISTEN_TLS } from './lib/secure.mjs';
import { Stillness } from './lib/stillness.mjs';
import { within } from './lib/wait.mjs';

const SESSIONS = 200;
const AT_ONCE_MS = 6000; /* while the machine runs */
const WAIT_MS = 15_000;
/* Longer than Node.js keeps an idle connection, so that what a gateway sent on
 * a reused one comes to nothing. */
const STOPPED_MS = 7000;

const still = new Stillness();

function generation(server, index) {
  if (server === '2') return 3;
  return index % 4 === 3 ? 3 : 4;
}

async function openSessions(cluster, count) {
  const sessions = Array.from(
    { length: count },
    (_, i) =>
      new RawSession({
        port: cluster.port,
        eio: generation(cluster.server, i),
      }),
  );
  await Promise.all(
    sessions.map(async (session) => {
      await session.open();
      await session.connect();
      session.node = (await session.whoami()).node;
    }),
  );
  return sessions;
}

/* Kills the gateway and starts one that knows nothing on the same port. */
async function forgetEverything(cluster) {
  const { port } = cluster;
  await cluster.gateway.stop('SIGKILL');
  const gateway = await startGateway({
    backends: cluster.backends,
    args: ['--listen', `127.0.0.1:${port}${LISTEN_TLS}`],
  });
  cluster.gateway = { ...gateway, port };
}

async function goOn(session, upgrade) {
  if (upgrade) await session.upgrade();
  for (let i = 0; i < 2; i++) {
    const me = await session.whoami();
    assert.deepEqual(
      me,
      {
        node: session.node,
        sid: session.sid,
        transport: upgrade ? 'websocket' : 'polling',
      },
      `session ${session.sid} changed`,
    );
  }
}

/* Fails with how many were lost, and with the first few reasons. */
async function assertNoneLost(cluster, runs) {
  const lost = (await Promise.allSettled(runs)).filter(
    ({ status }) => status === 'rejected',
  );
  const reasons = lost.slice(0, 5).map(({ reason }) => reason.message);
  assert.equal(
    lost.length,
    0,
    `server ${cluster.server}: ${lost.length} of ${runs.length} sessions ` +
      `lost\n${reasons.join('\n')}`,
  );
}

async function closeAll(sessions) {
  await Promise.all(sessions.map((session) => session.close()));
}

for (const server of ['2', '3', '4'])
  describe(`server ${server}`, { concurrency: 2, timeout: 300_000 }, () => {
    test(`${SESSIONS} sessions outlive their bindings`, async (t) => {
      const cluster = await startCluster({ server });
      t.after(() => cluster.stop());
      const sessions = await openSessions(cluster, SESSIONS);
      await forgetEverything(cluster);
      const runs = sessions.map((session, i) => goOn(session, i % 2 === 1));
      await assertNoneLost(cluster, runs);
      const metrics = await cluster.gateway.metrics();
      const recovered = metrics.get('sidgate_routed_total{source="recovery"}');
      assert.ok(recovered >= SESSIONS, `only ${recovered} were recovered`);
      await closeAll(sessions);
      await assertClean(cluster);
    });

    for (const wiped of [false, true]) {
      const state = wiped ? 'unknown' : 'bound';
      test(`a node that stands still, sessions ${state}`, async (t) => {
        const cluster = await startCluster({ server });
        t.after(() => cluster.stop());
        const sessions = await openSessions(cluster, 60);
        const [frozen] = cluster.nodes;
        const theirs = sessions.filter(({ node }) => node === frozen.name);
        const others = sessions.filter(({ node }) => node !== frozen.name);
        assert.ok(theirs.length > 5 && others.length > 5);
        frozen.signal('SIGSTOP');
        t.after(() => frozen.signal('SIGCONT'));
        const stoppedAt = Date.now();
        if (wiped) await forgetEverything(cluster);

        let early = 0;
        const waiting = theirs.map((session) =>
          goOn(session, false).finally(() => early++),
        );
        /* Judged below, after SIGCONT. */
        waiting.forEach((run) => run.catch(() => {}));
        const asked = Date.now();
        await within(
          assertNoneLost(
            cluster,
            others.map((session) => goOn(session, false)),
          ),
          WAIT_MS,
          'the sessions of the nodes that do answer',
        );
        const took = still.since(asked);
        assert.ok(took < AT_ONCE_MS, `they waited ${took} ms`);
        assert.equal(early, 0, 'a session of the stopped node got an answer');
        await new Promise((resolve) =>
          setTimeout(resolve, stoppedAt + STOPPED_MS - Date.now()),
        );
        assert.equal(early, 0, 'a session of the stopped node got an answer');
        frozen.signal('SIGCONT');
        await assertNoneLost(cluster, waiting);
        await closeAll(sessions);
        await assertClean(cluster);
      });
    }
  });
