/* SPDX-License-Identifier: MIT */
/* What the messages are made of: large ones, JSONP and compression. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBrowser } from './lib/browser.mjs';
import { COMPATIBLE, clientFactory } from './lib/clients.mjs';
import { SERVERS, assertClean, startCluster } from './lib/cluster.mjs';
import { exercise, expectedPayload } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { assertNoFaults } from './lib/report.mjs';

const MEGABYTE = 1024 * 1024;
const INITIAL = 'i'.repeat(2000);
const BIG = [
  { kind: 'text', length: MEGABYTE },
  { kind: 'binary', length: MEGABYTE },
];

/* EIO generations that the server's own long polling can speak. */
function generations(server) {
  if (server === '2') return [3];
  return server === 'python' ? [4] : [3, 4];
}

for (const server of SERVERS)
  describe(`server ${server}`, { timeout: 300_000 }, () => {
    let cluster;
    before(async () => {
      cluster = await startCluster({ server });
    });
    after(() => cluster?.stop());

    test('1 MB of text and of bytes, both ways', async () => {
      const runs = COMPATIBLE[server].flatMap((client) =>
        ['polling', 'upgrade', 'websocket'].map((mode) =>
          exercise(clientFactory(client), {
            client,
            mode,
            url: cluster.url,
            big: BIG,
          }),
        ),
      );
      assertNoFaults(cluster, await Promise.all(runs));
    });

    for (const eio of generations(server))
      test(`EIO=${eio}: polls are compressed as asked for`, async () => {
        const session = new RawSession({
          port: cluster.port,
          eio,
          headers: { 'Accept-Encoding': 'gzip' },
        });
        await session.open();
        await session.connect();
        await session.emit('bigdown', 'text', 5000);
        const [, data] = await session.event();
        assert.equal(data, expectedPayload('text', 5000));
        assert.equal(session.lastHeaders['content-encoding'], 'gzip');
        const { sid } = await session.whoami();
        assert.equal(sid, session.sid);
        await session.close();
      });

    for (const eio of server === 'python' ? [] : generations(server))
      test(`EIO=${eio}: JSONP`, async () => {
        const sessions = Array.from(
          { length: 6 },
          (_, jsonp) => new RawSession({ port: cluster.port, eio, jsonp }),
        );
        await Promise.all(
          sessions.map(async (session) => {
            await session.open();
            await session.connect();
            for (const text of ['plain', '"quoted" \\ \u2603', 'last']) {
              const [back] = await session.call('echo', text);
              assert.equal(back, text);
              assert.equal((await session.whoami()).sid, session.sid);
            }
            await session.close();
          }),
        );
      });

    test('no node refused a request of a live session', () =>
      assertClean(cluster));
  });

/* Server 2 keeps that option for itself. */
for (const server of ['3', '4'])
  describe(`server ${server}, large first answer`, { timeout: 200_000 }, () => {
    let cluster;
    before(async () => {
      const options = { initialPacket: INITIAL };
      cluster = await startCluster({ server, options });
    });
    after(() => cluster?.stop());

    for (const eio of generations(server))
      test(`EIO=${eio}: a handshake that would be compressed`, async () => {
        const sessions = Array.from(
          { length: 12 },
          () =>
            new RawSession({
              port: cluster.port,
              eio,
              headers: { 'Accept-Encoding': 'gzip, deflate, br' },
            }),
        );
        await Promise.all(
          sessions.map(async (session) => {
            await session.open();
            assert.equal(await session.next(), `4${INITIAL}`);
            await session.connect();
            for (let i = 0; i < 4; i++)
              assert.equal((await session.whoami()).sid, session.sid);
            await session.close();
          }),
        );
        await assertClean(cluster);
      });
  });

describe('JSONP in Chromium', { timeout: 300_000 }, () => {
  let browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser?.stop());

  for (const server of ['2', '3', '4'])
    test(`client 2 on server ${server}`, async (t) => {
      const cluster = await startCluster({ server });
      t.after(() => cluster.stop());
      const what = {
        client: '2',
        mode: 'polling',
        url: cluster.url,
        options: { forceJSONP: true },
      };
      const results = await Promise.all([
        browser.exercise(cluster, what),
        browser.exercise(cluster, what),
        browser.exercise(cluster, what),
      ]);
      assertNoFaults(cluster, results);
      await assertClean(cluster);
    });
});
