/* SPDX-License-Identifier: MIT */
/* A tab that is closed takes its session with it, on the node too. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBrowser } from './lib/browser.mjs';
import { COMPATIBLE } from './lib/clients.mjs';
import { isOver, isPolled, startCluster } from './lib/cluster.mjs';
import { until } from './lib/wait.mjs';

const END_MS = 10_000; /* a browser takes its time */

/* Opens a client in a tab and leaves it there; gives what the node says. */
function openTab(page, what) {
  return page.evaluate(async (o) => {
    const { openClient, settle } = await import('/exercise.js');
    window.handle = openClient(window.io, o);
    return settle(window.handle);
  }, what);
}

describe('a tab that closes', { timeout: 300_000 }, () => {
  let browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser?.stop());

  for (const server of ['2', '3', '4'])
    describe(`server ${server}`, { concurrency: 4 }, () => {
      let cluster;
      before(async () => {
        cluster = await startCluster({ server });
      });
      after(() => cluster?.stop());

      for (const client of COMPATIBLE[server])
        for (const mode of ['polling', 'upgrade', 'websocket'])
          test(`client ${client}, ${mode}`, async () => {
            const what = { client, mode, url: cluster.url };
            const page = await browser.page(client);
            const me = await openTab(page, what);
            /* By the end of its poll a node sees that of a tab. */
            if (mode === 'polling')
              await until(() => isPolled(cluster, me), END_MS, 'its poll');
            assert.equal(await isOver(cluster, me), false);
            await page.close();
            await until(
              () => isOver(cluster, me),
              END_MS,
              `session ${me.sid} still open on ${me.node} of server ` +
                `${server} though its tab (client ${client}, ${mode}) ` +
                'has closed',
            );
            await page.context().close();
          });
    });
});
