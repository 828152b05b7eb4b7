/* SPDX-License-Identifier: MIT */
/* Every client in every mode against three nodes of one server. */
import { after, before, describe, test } from 'node:test';
import { startBrowser } from './browser.mjs';
import { COMPATIBLE, clientFactory, exercisePython } from './clients.mjs';
import { assertClean, startCluster } from './cluster.mjs';
import { MODES, exercise } from './exercise.js';
import { assertAllNodesUsed, assertNoFaults } from './report.mjs';

const CLIENTS_EACH = 4;
const IN_BROWSER = 2;
const OPTIONS = { concurrency: 4, timeout: 120_000 };

export function matrix(server) {
  describe(`server ${server}`, { timeout: 240_000 }, () => {
    let cluster;
    let browser;

    before(async () => {
      cluster = await startCluster({ server });
    });
    after(() => cluster?.stop());

    describe('clients in Node.js', OPTIONS, () => {
      for (const client of COMPATIBLE[server])
        for (const mode of Object.keys(MODES))
          test(`client ${client}, ${mode}`, async () => {
            const io = clientFactory(client);
            const what = { client, mode, url: cluster.url };
            const results = await Promise.all(
              Array.from({ length: CLIENTS_EACH }, () => exercise(io, what)),
            );
            assertNoFaults(cluster, results);
          });
    });

    test('Python client, every mode', async (t) => {
      if (server === '2') return t.skip('it speaks EIO=4 only');
      const runs = Object.keys(MODES).flatMap((mode) =>
        Array.from({ length: CLIENTS_EACH }, () => ({ mode })),
      );
      assertNoFaults(cluster, await exercisePython(cluster.url, runs));
    });

    describe('clients in Chromium', OPTIONS, () => {
      before(async () => {
        browser = await startBrowser();
      });
      after(() => browser?.stop());
      for (const client of COMPATIBLE[server])
        for (const mode of Object.keys(MODES))
          test(`client ${client}, ${mode}`, async () => {
            const results = await Promise.all(
              Array.from({ length: IN_BROWSER }, () =>
                browser.exercise(cluster, { client, mode }),
              ),
            );
            assertNoFaults(cluster, results);
          });
    });

    test('no node refused a request of a live session', async () => {
      await assertAllNodesUsed(cluster);
      await assertClean(cluster);
    });
  });
}
