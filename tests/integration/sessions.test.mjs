/* SPDX-License-Identifier: MIT */
/* Many sessions, sessions that end and begin anew, clients that move. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { COMPATIBLE, clientFactory } from './lib/clients.mjs';
import {
  SERVERS,
  assertClean,
  liveSids,
  startCluster,
} from './lib/cluster.mjs';
import { exercise, openClient, settle } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { assertAllNodesUsed, assertNoFaults } from './lib/report.mjs';
import { Agent, RovingAgent } from './lib/secure.mjs';
import { until, within } from './lib/wait.mjs';

const ADDRESSES = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'];
const MODES = ['polling', 'upgrade', 'websocket'];
const SPREAD_SESSIONS = 200;
const SPREAD_LIMIT = 1.3;

function everyRun(server, each) {
  return COMPATIBLE[server].flatMap((client) =>
    MODES.flatMap((mode) =>
      Array.from({ length: each }, () => ({ client, mode })),
    ),
  );
}

/*
 * how: disconnect-me (a Socket.IO disconnect, after which a client comes back
 * only when told to), close-me (Engine.IO's own close) or cut-me (the TCP
 * connection breaks).
 */
async function loseAndReturn(what, how) {
  const handle = openClient(clientFactory(what.client), what);
  const { socket, faults, log } = handle;
  let me = {};
  try {
    const before = await settle(handle);
    handle.closing = true;
    const lost = new Promise((resolve) => socket.once('disconnect', resolve));
    socket.emit(how);
    const reason = await within(lost, 20_000, `disconnect after ${how}`);
    if (reason === 'io server disconnect') {
      /* Sooner, the client would use the connection that is just closing. */
      const { engine } = socket.io;
      await until(() => engine.readyState === 'closed', 5000, 'engine open');
      socket.connect();
    }
    handle.closing = false;
    me = await settle(handle);
    if (me.sid === before.sid) throw new Error(`still session ${me.sid}`);
    await handle.call('whoami');
  } catch (error) {
    faults.push(error.message);
  }
  handle.close();
  const name = `client ${what.client} ${what.mode} after ${how}`;
  return { name, ...me, faults, log };
}

for (const server of SERVERS)
  describe(`server ${server}`, { timeout: 300_000 }, () => {
    let cluster;
    before(async () => {
      cluster = await startCluster({ server });
    });
    after(() => cluster?.stop());

    test('100 clients at once', async () => {
      const kinds = everyRun(server, 1);
      const runs = Array.from({ length: 100 }, (_, i) => {
        const kind = kinds[i % kinds.length];
        const what = { ...kind, url: cluster.url };
        return exercise(clientFactory(kind.client), what);
      });
      const results = await Promise.all(runs);
      assertNoFaults(cluster, results);
    });

    test('a client whose address changes with every connection', async () => {
      const runs = everyRun(server, 2).map((kind) =>
        exercise(clientFactory(kind.client), {
          ...kind,
          url: cluster.url,
          options: { agent: new RovingAgent(ADDRESSES) },
        }),
      );
      assertNoFaults(cluster, await Promise.all(runs));
    });

    test('an address that changes before the upgrade', async () => {
      const runs = Array.from({ length: 12 }, async () => {
        const session = new RawSession({
          port: cluster.port,
          eio: server === '2' ? 3 : 4,
          localAddress: ADDRESSES[0],
        });
        await session.open();
        session.localAddress = ADDRESSES[1];
        await session.connect();
        const before = await session.whoami();
        session.localAddress = ADDRESSES[2];
        await session.upgrade();
        const now = await session.whoami();
        assert.equal(now.transport, 'websocket');
        assert.deepEqual([now.node, now.sid], [before.node, session.sid]);
        await session.close();
      });
      await Promise.all(runs);
    });

    test('clients that share a few kept-alive connections', async () => {
      const runs = everyRun(server, 2)
        .filter(({ mode }) => mode !== 'websocket')
        .map((kind, i, all) => {
          /* Each poll in flight holds one; two are left for the rest. */
          const agent = (all.agent ??= new Agent({
            keepAlive: true,
            maxSockets: all.length + 2,
          }));
          return exercise(clientFactory(kind.client), {
            ...kind,
            url: cluster.url,
            options: { agent },
          });
        });
      assertNoFaults(cluster, await Promise.all(runs));
    });

    for (const how of ['disconnect-me', 'close-me', 'cut-me'])
      test(`a new session after ${how}`, async (t) => {
        /* python-engineio leaves the poll of a session it closed open. */
        if (server === 'python' && how !== 'disconnect-me')
          return t.skip('that node cannot do this');
        const runs = everyRun(server, 2).map((kind) =>
          loseAndReturn({ ...kind, url: cluster.url }, how),
        );
        assertNoFaults(cluster, await Promise.all(runs));
      });

    test('no node refused a request of a live session', async () => {
      await assertAllNodesUsed(cluster);
      await assertClean(cluster);
    });
  });

describe('200 sessions from one address', { timeout: 200_000 }, () => {
  test('spread evenly over the nodes', async (t) => {
    const cluster = await startCluster({ server: '4' });
    t.after(() => cluster.stop());
    const sessions = Array.from(
      { length: SPREAD_SESSIONS },
      () => new RawSession({ port: cluster.port }),
    );
    await Promise.all(sessions.map((session) => session.open()));
    const counts = (await cluster.stats()).map(
      (stats) => liveSids(stats).length,
    );
    const total = counts.reduce((sum, count) => sum + count, 0);
    assert.equal(total, SPREAD_SESSIONS);
    const ratio = Math.max(...counts) / Math.min(...counts);
    assert.ok(
      ratio <= SPREAD_LIMIT,
      `nodes have ${counts.join(', ')} sessions: ratio ${ratio.toFixed(2)}`,
    );
    await Promise.all(sessions.map((session) => session.close()));
    await assertClean(cluster);
  });
});
