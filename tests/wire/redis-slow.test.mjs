/* SPDX-License-Identifier: MIT */
/* The store takes what a search has found later than the search would have
 * waited for another server to speak: it is bound once all the same. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { sidRequest } from '../support/engine.mjs';
import { ask, cluster, goesOn, openSession, times } from
    '../support/replicas.mjs';
import { keyOf } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const SIDS = 16;
const SLOW_MS = 800;
const RECOVERED = 'sidgate_routed_total{source="recovery"}';
const ARGS = ['--store-timeout', '10s', '--recovery-timeout', '20s'];

/* The questions to the backends, which are answered when they are called. */
function hold(backends)
{
    const held = [];
    for (const backend of backends)
        backend.handler = (request, wire) => {
            const answer = () => backend.fallback(request, wire);
            return request.method === 'PUT' ? void held.push(answer) : answer();
        };
    return held;
}

test('a find that is written slowly is bound once', { skip: IS_TLS },
    async (t) => {
        const { redis, backends, gateways: [first], cold } = await cluster(t, {
            nodes: 2, args: ARGS });
        const sids = await times(SIDS, 8, () => openSession(first));
        const second = await cold();
        await redis.command('DEL', ...sids.map(keyOf));
        const held = hold(backends);
        let answered = 0;
        const asking = Promise.all(sids.map((sid) => ask(second.port,
            sidRequest(sid, { method: 'POST', body: '3' }), { ms: 30_000 })
            .finally(() => answered++)));
        await eventually(() => held.length === 2 * SIDS, 'all are asked for');
        /* The owners speak, but nothing can be written. */
        await redis.command('CLIENT', 'PAUSE', '60000', 'WRITE');
        held.forEach((answer) => answer());
        const told = () => second.events('session_recovered').length;
        await eventually(() => told() >= SIDS, 'the log has them');
        await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
        assert.equal(answered, 0, 'Redis was not slow');
        await redis.command('CLIENT', 'UNPAUSE');
        for (const { status, text } of await asking)
            assert.equal(status, 200, text);
        assert.equal(await second.metric(RECOVERED), SIDS);
        assert.equal(told(), SIDS);
        for (const sid of sids) {
            assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
            await goesOn(second, sid);
        }
    });
