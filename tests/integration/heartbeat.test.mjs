/* SPDX-License-Identifier: MIT */
/*
 * Sessions that say nothing for 70 seconds, at the servers' own default of a
 * heartbeat every 25 seconds. Everything runs at once.
 */
import { after, before, describe, test } from 'node:test';
import { startBrowser } from './lib/browser.mjs';
import { COMPATIBLE, clientFactory, exercisePython } from './lib/clients.mjs';
import { SERVERS, assertClean, startCluster } from './lib/cluster.mjs';
import { exercise } from './lib/exercise.js';
import { assertNoFaults } from './lib/report.mjs';

const SECONDS = 70;
const MODES = ['polling', 'upgrade', 'websocket'];
const EACH = 2;

describe('70 s of heartbeats', { concurrency: true, timeout: 300_000 }, () => {
  let browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser?.stop());

  function everyRun(cluster) {
    return COMPATIBLE[cluster.server].flatMap((client) =>
      MODES.map((mode) => ({
        client,
        mode,
        url: cluster.url,
        seconds: SECONDS,
      })),
    );
  }

  function pythonRuns(cluster) {
    if (cluster.server === '2') return [];
    const runs = MODES.map((mode) => ({ mode }));
    return exercisePython(cluster.url, runs, { seconds: SECONDS });
  }

  for (const server of SERVERS)
    test(`server ${server}`, async (t) => {
      const cluster = await startCluster({ server });
      t.after(() => cluster.stop());
      const runs = everyRun(cluster);
      const results = await Promise.all([
        ...runs.flatMap((what) =>
          Array.from({ length: EACH }, () =>
            exercise(clientFactory(what.client), what),
          ),
        ),
        ...runs.map((what) => browser.exercise(cluster, what)),
        pythonRuns(cluster),
      ]);
      assertNoFaults(cluster, results.flat());
      await assertClean(cluster);
    });
});
