/* SPDX-License-Identifier: MIT */
/* PUBLISH sidgate:control "kick <sid>" ends a session, whichever replica holds
 * it and whatever it is doing. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { assertClean, isOver } from './lib/cluster.mjs';
import { clientFactory } from './lib/clients.mjs';
import { openClient, settle } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { startReplicated } from './lib/replicas.mjs';
import { until, within } from './lib/wait.mjs';

const SOON_MS = 30_000;

const secret = path.join(
  os.tmpdir(),
  `sidgate-kick-${process.pid}-${randomBytes(4).toString('hex')}`,
);
writeFileSync(secret, randomBytes(24).toString('hex'), { mode: 0o600 });
process.on('exit', () => rmSync(secret, { force: true }));

function kick(cluster, { sid }) {
  return cluster.redis.shell(
    'redis-cli PUBLISH sidgate:control "kick $SID"',
    { SID: sid },
  );
}

async function gone(cluster, session) {
  await until(() => isOver(cluster, session), SOON_MS, 'the node closed it');
  await until(
    async () => (await cluster.redis.keys('sidgate:session:*')).length === 0,
    SOON_MS,
    'its key is gone',
  );
}

for (const [what, args] of [
  ['plain sids', []],
  ['hashed sids', ['--hash-sids-file', secret]],
])
  describe(`kick, with ${what}`, () => {
    async function begin(t, options = {}) {
      const cluster = await startReplicated({ count: 2, args, options });
      t.after(() => cluster.stop());
      const session = new RawSession({ port: cluster.gateways[1].port });
      return { cluster, session };
    }

    test('of a websocket', async (t) => {
      const { cluster, session } = await begin(t);
      await session.openWebsocket();
      await session.connect();
      session.node = (await session.whoami()).node;
      const closed = new Promise((resolve) =>
        session.ws.once('close', resolve),
      );
      await kick(cluster, session);
      const code = await within(closed, SOON_MS, 'a close frame');
      assert.ok([1000, 1001, 1005, 1008].includes(code), `code ${code}`);
      await gone(cluster, session);
      await assertClean(cluster);
    });

    test('of an upgraded session', async (t) => {
      const { cluster, session } = await begin(t);
      await session.open();
      await session.connect();
      await session.upgrade();
      session.node = (await session.whoami()).node;
      const closed = new Promise((resolve) =>
        session.ws.once('close', resolve),
      );
      await kick(cluster, session);
      await within(closed, SOON_MS, 'a close frame');
      await gone(cluster, session);
      await assertClean(cluster);
    });

    test('of a held poll', async (t) => {
      const { cluster, session } = await begin(t);
      await session.open();
      await session.connect();
      session.node = (await session.whoami()).node;
      const held = session.poll();
      await until(
        async () =>
          (await cluster.stats()).some(({ pending }) => pending > 0),
        SOON_MS,
        'the poll is held',
      );
      await kick(cluster, session);
      const packets = await within(held, SOON_MS, 'an answer to the poll');
      assert.deepEqual(packets, ['1']);
      await gone(cluster, session);
      await assertClean(cluster);
    });

    /* The node learns of it by the missing answer to its ping. */
    test('between two polls', async (t) => {
      const { cluster, session } = await begin(t, {
        pingInterval: 2000,
        pingTimeout: 5000,
      });
      await session.open();
      await session.connect();
      session.node = (await session.whoami()).node;
      await kick(cluster, session);
      await until(
        async () => {
          const answer = await session.poll().catch((error) => error);
          return answer.unknown;
        },
        SOON_MS,
        'code 1 from the replica that knew it',
      );
      for (const { port } of cluster.gateways) {
        session.port = port;
        const answer = await session.poll().catch((error) => error);
        assert.ok(answer.unknown, `answered with ${answer}`);
      }
      await gone(cluster, session);
    });
  });

test('a kicked client of Socket.IO comes back anew', async (t) => {
  const cluster = await startReplicated({ count: 2 });
  t.after(() => cluster.stop());
  for (const mode of ['polling', 'upgrade']) {
    const handle = openClient(clientFactory('4'), {
      client: '4',
      mode,
      url: cluster.url,
    });
    const me = await settle(handle);
    handle.closing = true;
    const lost = new Promise((resolve) =>
      handle.socket.once('disconnect', resolve),
    );
    await kick(cluster, me);
    await within(lost, SOON_MS, 'the end of the session');
    const next = await settle(handle);
    assert.notEqual(next.sid, me.sid);
    handle.close();
  }
});

test('kick of a sid that nobody has', async (t) => {
  const cluster = await startReplicated({ count: 2 });
  t.after(() => cluster.stop());
  const session = new RawSession({ port: cluster.gateways[0].port });
  await session.open();
  await session.connect();
  await kick(cluster, { sid: 'nobody-has-this-one-' });
  await kick(cluster, { sid: session.sid.slice(0, -1) });
  assert.equal((await session.whoami()).sid, session.sid);
  await session.close();
  await assertClean(cluster);
});
