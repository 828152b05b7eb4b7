/* SPDX-License-Identifier: MIT */
/* Slow and half-open clients in numbers, and connections that come and go. The
 * full size is tests/integration/hostile-load.mjs. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { flood, floodKinds, judgeFlood, startFloodCluster, storm }
    from '../support/flood.mjs';
import { isSanitized } from '../support/process.mjs';
import { IS_TLS } from '../support/wire.mjs';

const SHARE = 0.15; /* of the full size */
const CONNECTS = 4000;
const LEAK_MAX = 2 * 1024 * 1024;
const ARGS = ['--head-timeout', '1500ms', '--body-timeout', '1500ms',
              '--write-timeout', '1500ms', '--keepalive-timeout', '2500ms'];

for (const isTls of IS_TLS ? [true] : [false, true]) {
    describe(`hostile load over ${isTls ? 'TLS' : 'TCP'}`, () => {
        let cluster;
        let isExact;

        before(async () => {
            cluster = await startFloodCluster({ isTls, args: ARGS });
            isExact = !isSanitized(cluster.gateway.pid);
        });
        after(async () => {
            const end = await cluster.stop();
            assert.deepEqual(end, { code: 0, signal: null });
            assert.doesNotMatch(cluster.gateway.stderr(),
                                /Sanitizer|runtime error/);
        });

        it('slow heads, bodies and readers: each is closed by its limit',
            async (t) => {
                const kinds = floodKinds(SHARE, isTls);
                const result = await flood(cluster,
                    { kinds, isTls, quietRounds: 60, ms: 60_000 });
                t.diagnostic(JSON.stringify(result));
                const faults = judgeFlood(result, { kinds, isTls, isExact });
                assert.deepEqual(faults, []);
            });

        it(`${CONNECTS} connects and resets leave nothing`, async (t) => {
            await storm(cluster, { isTls, count: CONNECTS / 4, ms: 60_000 });
            const { stormed, descriptors, rss } = await storm(cluster,
                { isTls, count: CONNECTS, ms: 60_000 });
            t.diagnostic(`${rss} bytes, ${descriptors} descriptors`);
            assert.ok(stormed > CONNECTS * 0.99, `${stormed} connected`);
            assert.ok(descriptors[1] <= descriptors[0], `${descriptors}`);
            assert.ok(!isExact || rss[1] - rss[0] < LEAK_MAX, `${rss}`);
        });
    });
}
