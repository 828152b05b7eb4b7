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
const TRIES = 3;
const LEAK_MAX = 2 * 1024 * 1024;
/* Long enough for all to be there at once, and for a healthy client that a busy
 * machine holds up. */
const ARGS = ['--head-timeout', '6s', '--body-timeout', '6s',
              '--write-timeout', '6s', '--keepalive-timeout', '8s'];

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
                let faults = [''];
                /* How fast it goes a busy machine may spoil once; nothing else
                 * is ever let pass. */
                for (let i = 0; i < TRIES && faults.length > 0; i++) {
                    const result = await flood(cluster,
                        { kinds, isTls, quietRounds: 60, ms: 60_000 });
                    t.diagnostic(JSON.stringify(result));
                    faults = judgeFlood(result, { kinds, isTls, isExact });
                    assert.deepEqual(faults.filter((text) =>
                        !/^(only \d+ were there|p99) /.test(text)), []);
                }
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
