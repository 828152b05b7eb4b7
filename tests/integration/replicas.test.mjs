/* SPDX-License-Identifier: MIT */
/* What one replica has learned, every other one knows at once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMPATIBLE, clientFactory, exercisePython } from './lib/clients.mjs';
import { SERVERS, assertClean } from './lib/cluster.mjs';
import { exercise } from './lib/exercise.js';
import { startReplicated } from './lib/replicas.mjs';
import { assertAllNodesUsed, assertNoFaults } from './lib/report.mjs';
import { RovingAgent } from './lib/secure.mjs';
import { rove, summary, verdict } from './replica-soak.mjs';

const ADDRESSES = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'];
const MODES = ['polling', 'upgrade', 'websocket', 'fallback'];
/* 2,000 sessions with both numbers of replicas. */
const RUNS = [
  { live: 1, sessions: 100 },
  { live: 32, sessions: 400 },
  { live: 256, sessions: 500 },
];
const SLOW_SHARE = 5;
/* Real clients of each server, at least, so that every node has some. */
const CLIENTS = 24;

for (const [replicas, server] of [
  [2, '3'],
  [3, '4'],
])
  describe(`each request through another of ${replicas} replicas`, () => {
    for (const { live, sessions } of RUNS)
      test(`${live} sessions at once`, async (t) => {
        const cluster = await startReplicated({ replicas, server });
        t.after(() => cluster.stop());
        const count = cluster.isSlow ? sessions / SLOW_SHARE : sessions;
        const result = await rove(cluster, { live, sessions: count });
        await verdict(cluster, result);
        t.diagnostic(summary(result).replaceAll('\n', '; '));
        assert.ok(result.ok, summary(result));
        assert.ok(result.routed.store > 0, 'no session met another replica');
      });
  });

for (const server of SERVERS)
  describe(`real clients of server ${server}`, () => {
    test('whose every connection goes to another replica', async (t) => {
      const cluster = await startReplicated({ server });
      t.after(() => cluster.stop());
      const kinds = COMPATIBLE[server].length * MODES.length;
      const each = Math.ceil(CLIENTS / kinds);
      const runs = COMPATIBLE[server].flatMap((client) =>
        MODES.flatMap((mode) =>
          Array.from({ length: each }, () =>
            exercise(clientFactory(client), {
              client,
              mode,
              url: cluster.url,
              options: { agent: new RovingAgent(ADDRESSES) },
            }),
          ),
        ),
      );
      assertNoFaults(cluster, await Promise.all(runs));
      if (server !== '2')
        assertNoFaults(
          cluster,
          await exercisePython(
            cluster.url,
            MODES.map((mode) => ({ mode })),
          ),
        );
      await assertAllNodesUsed(cluster);
      await assertClean(cluster);
      assert.equal(
        await cluster.sum('sidgate_routed_total{source="recovery"}'),
        0,
      );
      assert.ok(
        (await cluster.sum('sidgate_routed_total{source="store"}')) > 0,
        'no session met another replica',
      );
    });
  });
