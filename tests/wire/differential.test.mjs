/* SPDX-License-Identifier: MIT */
/* What the differential fuzzer once found, and a short run of it from a fixed
 * seed; tests/fuzz/differential.mjs does it for long. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { isSanitized } from '../support/process.mjs';
import { startFuzz } from '../fuzz/differential/run.mjs';

const STREAMS = 3000;
const SEED = 20260101;
const RSS_MAX = 64 * 2 ** 20;

describe('mutated messages', () => {
    const said = [];
    let fuzz;

    const clean = () => assert.deepEqual(said.splice(0), []);

    before(async () => {
        fuzz = await startFuzz(SEED, (line) => said.push(line));
    });
    after(async () => {
        await fuzz.stop();
        clean();
    });

    it('that were found once come to what they say', async () => {
        assert.ok(await fuzz.replay() > 0);
        clean();
    });

    it('come to what a strict reader and Node find in them', async () => {
        await fuzz.random({ streams: STREAMS });
        clean();
        const { requests, responses } = fuzz;
        for (const { sums } of [requests, responses]) {
            assert.ok(sums.requests > STREAMS / 2, fuzz.text);
            assert.ok(sums.refusals > STREAMS / 10, fuzz.text);
        }
    });

    it('leave no memory behind', () => {
        if (!isSanitized(fuzz.requests.gateway.pid))
            assert.ok(fuzz.rss < RSS_MAX, fuzz.text);
    });
});
