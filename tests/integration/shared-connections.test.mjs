/* SPDX-License-Identifier: MIT */
/* Sessions of different nodes that arrive on one and the same connection, as
 * they do from a proxy with a pool in front. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SERVERS, assertClean, startCluster } from './lib/cluster.mjs';
import { RawSession } from './lib/raw.mjs';
import { Agent, connect as connectTo } from './lib/secure.mjs';
import { eachOf, until, within } from './lib/wait.mjs';

const SESSIONS = 200;
const REQUESTS = 2000;
const POOL = 6;
/* Handshake, close and, for each whoami, POST and GET make ten at least. */
const CALLS = REQUESTS / SESSIONS / 2 - 1;

for (const server of SERVERS)
  describe(`server ${server}`, { timeout: 240_000 }, () => {
    const eio = server === '2' ? 3 : 4;
    let cluster;
    before(async () => {
      cluster = await startCluster({ server });
    });
    after(() => cluster?.stop());

    function connect(options = {}) {
      return new RawSession({ port: cluster.port, eio, ...options })
        .open()
        .then((session) => session.connect());
    }

    /* One session each on two different nodes. */
    async function onTwoNodes() {
      const first = await connect();
      const home = (await first.whoami()).node;
      for (let i = 0; i < 20; i++) {
        const other = await connect();
        if ((await other.whoami()).node !== home) return [first, other];
        await other.close();
      }
      throw new Error('20 handshakes in a row went to one node');
    }

    test(`${REQUESTS} requests of ${SESSIONS} sessions`, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: POOL });
      const sessions = Array.from(
        { length: SESSIONS },
        () => new RawSession({ port: cluster.port, eio, agent }),
      );
      /* Width below the pool: a poll never waits for the POST it needs. */
      await eachOf(sessions, POOL, async (session) => {
        await session.open();
        await session.connect();
      });
      for (let i = 0; i < CALLS; i++)
        await eachOf(sessions, POOL, async (session) => {
          const me = await session.whoami();
          assert.equal(me.sid, session.sid);
          assert.equal((session.node ??= me.node), me.node);
        });
      await eachOf(sessions, POOL, (session) => session.close());
      const total = sessions.reduce((sum, { requests }) => sum + requests, 0);
      agent.destroy();
      assert.ok(total >= REQUESTS, `only ${total} requests`);
      assert.equal(new Set(sessions.map(({ node }) => node)).size, 3);
      await assertClean(cluster);
    });

    /* Writes both GETs in one piece. `places` becomes where each session's
     * mark stands in what came back. */
    function pipeline(sessions) {
      const socket = connectTo({ port: cluster.port, host: '127.0.0.1' });
      const host = `127.0.0.1:${cluster.port}`;
      socket.setEncoding('utf8').write(
        sessions
          .map(
            (session) =>
              `GET ${session.target('polling')} HTTP/1.1\r\n` +
              `Host: ${host}\r\n\r\n`,
          )
          .join(''),
      );
      let text = '';
      const both = new Promise((resolve, reject) => {
        socket.on('error', reject);
        socket.on('close', () => reject(new Error(`cut after: ${text}`)));
        socket.on('data', (chunk) => {
          text += chunk;
          const places = sessions.map(({ mark }) => text.indexOf(mark));
          if (!places.includes(-1)) resolve(places);
        });
      });
      return {
        places: within(both, 10_000, 'both pipelined answers'),
        received: () => text,
        end: () => socket.destroy(),
      };
    }

    /* Has the node send `mark` to the session when it is polled next. */
    async function leaveMessage(session, mark) {
      session.mark = mark;
      await session.emit('say', mark);
    }

    test('pipelined polls of two nodes are answered in order', async () => {
      const sessions = await onTwoNodes();
      await leaveMessage(sessions[0], 'first-mark');
      await leaveMessage(sessions[1], 'second-mark');
      const run = pipeline(sessions);
      const [first, second] = await run.places;
      assert.ok(first < second, run.received());
      assert.equal(run.received().match(/HTTP\/1\.1 200/g).length, 2);
      run.end();
      await Promise.all(sessions.map((session) => session.close()));
    });

    test('a held poll holds back the answer behind it', async () => {
      const sessions = await onTwoNodes();
      await leaveMessage(sessions[1], 'second-mark');
      sessions[0].mark = 'first-mark';
      const run = pipeline(sessions);
      /* Has the first poll arrived? Then the node's answer waits for it. */
      await until(
        async () => (await heldPolls()) > 0,
        5000,
        'no poll arrived at a node',
      );
      assert.equal(run.received(), '', 'the first poll has nothing yet');
      await leaveMessage(sessions[0], 'first-mark');
      const [first, second] = await run.places;
      assert.ok(first < second, run.received());
      run.end();
      await Promise.all(sessions.map((session) => session.close()));
    });

    async function heldPolls() {
      const all = await cluster.stats();
      return all.reduce((sum, { pending }) => sum + pending, 0);
    }

    test('no node refused a request of a live session', () =>
      assertClean(cluster));
  });
