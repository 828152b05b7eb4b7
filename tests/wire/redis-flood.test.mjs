/* SPDX-License-Identifier: MIT */
/* Addresses that send one made-up session id after the other, and leave before
 * they are answered. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { newSid, sidRequest, startEngine } from '../support/engine.mjs';
import { startRedis } from '../support/redis.mjs';
import { ask, reach, startReplica, storeIs } from '../support/replicas.mjs';

const FLOODERS = 6;
const WAVES = 20;
const WIDTH = 200; /* together more than all searches that can wait */
/* So slow that most of the flood has to wait, however long it takes. */
const RATE = '10';
const VICTIMS = 30;
const VICTIM_MS = 10_000; /* the flood waits for minutes */

async function wave(port, from, width, seen)
{
    const wires = await Promise.all(Array.from({ length: width }, async () =>
        (await reach(port, from)).send(sidRequest(newSid()))));
    await seen();
    wires.forEach((wire) => wire.reset());
}

describe('a flood of unknown ids from clients that leave', () => {
    test('leaves room for those who come from elsewhere', async (t) => {
        const redis = await startRedis();
        t.after(() => redis.stop());
        const backend = await startEngine({ id: 'n1' });
        t.after(() => backend.stop());
        const gateway = await startReplica({ name: 'gw1', url: redis.url,
            backends: [backend],
            args: ['--recovery-rate', RATE, '--store-timeout', '5s'] });
        t.after(() => gateway.stop('SIGKILL'));
        await storeIs(gateway, true);
        /* Every request was read before its client leaves. */
        let sent = 0;
        const seen = async () => {
            while (await gateway.metric('sidgate_requests_total') < sent)
                await new Promise((resolve) => setTimeout(resolve, 5));
        };
        const flood = async (i, width) => {
            sent += width;
            await wave(gateway.port, `127.0.0.${60 + i % FLOODERS}`, width,
                       seen);
        };
        for (let i = 0; i < FLOODERS * WAVES; i++)
            await flood(i, WIDTH);

        let slowest = 0;
        for (let i = 0; i < VICTIMS; i++) {
            await flood(i, 20);
            const sid = newSid();
            backend.sids.add(sid);
            sent++;
            const begun = performance.now();
            const answer = await ask(gateway.port, sidRequest(sid),
                { from: `127.0.0.${100 + i}`, ms: 60_000 });
            slowest = Math.max(slowest, performance.now() - begun);
            assert.equal(answer.status, 200, `number ${i}`);
        }
        assert.ok(slowest < VICTIM_MS, `${slowest} ms`);
        assert.ok(await gateway.metric('sidgate_recovery_waits_total') > 16384,
                  'the flood was no flood');
    });
});
