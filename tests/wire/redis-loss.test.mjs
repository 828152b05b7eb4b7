/* SPDX-License-Identifier: MIT */
/* Redis loses what was in it, or is away: what replicas do about it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { handshakeRequest } from '../support/engine.mjs';
import {
    ask, closeSession, cluster, goesOn, openSession, storeIs, times,
} from '../support/replicas.mjs';
import { eventually } from '../support/wire.mjs';

const SESSIONS = 400;
const WIDTH = 20;
const BACK_MS = 30_000;
/* Most tests wait for no timeout of the store, and none shall come. */
const CALM = ['--store-timeout', '8s'];
/* One that is awaited, and ends well before heartbeats do (10 s). */
const AWAITED = ['--store-timeout', '2s'];

function keyOf(sid)
{
    return `sidgate:session:${sid}`;
}

async function written(redis)
{
    return (await redis.keys(keyOf('*'))).length;
}

describe('after a loss', () => {
    test('all sessions are written again, as they were', async (t) => {
        const { redis, gateways } = await cluster(t, { nodes: 2, count: 2,
                                                     args: CALM });
        const sids = await times(SESSIONS, WIDTH, (i) =>
            openSession(gateways[i % 2], { from: `127.0.0.${2 + i % 200}` }));
        const before = await Promise.all(sids.map((sid) =>
            redis.hash(keyOf(sid))));
        await redis.command('FLUSHALL');
        await eventually(async () => await written(redis) === SESSIONS,
                         'all are back', BACK_MS);
        const now = await Promise.all(sids.map((sid) =>
            redis.hash(keyOf(sid))));
        now.forEach((record, i) => assert.deepEqual(
            { ...record, seen: '' }, { ...before[i], seen: '' }));
        const lives = await Promise.all(sids.map((sid) =>
            redis.command('PTTL', keyOf(sid))));
        assert.ok(lives.every((life) => life > 0 && life <= 90_000));
        for (const gateway of gateways) {
            /* Counted when Redis has answered. */
            await eventually(async () =>
                await gateway.metric('sidgate_republished_total') >=
                SESSIONS / 2, 'all are counted');
            assert.equal(gateway.events('store_lost').length, 1);
        }
    });

    test('no faster than told, and none that has ended', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t, {
            args: ['--republish-rate', '100', ...CALM] });
        const sids = await times(SESSIONS, WIDTH, () => openSession(gateway));
        const lost = Date.now();
        await redis.command('FLUSHALL');
        const ended = sids.slice(0, SESSIONS / 4);
        await times(ended.length, WIDTH, (i) =>
            closeSession(gateway, ended[i]));
        const left = SESSIONS - ended.length;
        const backAgain = async () => {
            const there = await Promise.all(ended.map((sid) =>
                redis.command('EXISTS', keyOf(sid))));
            return there.filter((is) => is !== 0).length;
        };
        /* One that ends while it is on its way is there for a moment. */
        await eventually(async () => {
            const count = await written(redis);
            const seconds = (Date.now() - lost) / 1000;
            assert.ok(count <= 100 * (seconds + 1),
                      `${count} in ${seconds} s`);
            return count === left && await backAgain() === 0;
        }, 'all are back', BACK_MS);
        await new Promise((resolve) => setTimeout(resolve, 1500));
        assert.equal(await written(redis), left);
        assert.equal(await backAgain(), 0, 'an ended session is back');
    });

    test('also that of a database that was swapped', async (t) => {
        const { redis, gateways } = await cluster(t, { count: 2, args: CALM });
        await times(50, 10, (i) => openSession(gateways[i % 2]));
        await redis.command('SWAPDB', 0, 1);
        await eventually(async () => await written(redis) === 50,
                         'all are back', BACK_MS);
    });

    test('a session that is used before it is back is found', async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t, {
            nodes: 3, args: ['--republish-rate', '1', ...CALM] });
        const sids = await times(30, 10, () => openSession(gateway));
        const other = await cold();
        await redis.command('FLUSHALL');
        await times(30, 10, (i) => goesOn(other, sids[i]));
    });
});

describe('while Redis is away', () => {
    test('only the first handshakes wait for it', async (t) => {
        const { redis, gateways: [gateway] } =
            await cluster(t, { args: ['--store-timeout', '5s'] });
        await redis.pause();
        try {
            await openSession(gateway, { ms: BACK_MS });
            /* Whoever waits does so for 5 s, a busy machine for less. */
            for (let i = 0; i < 20; i++) {
                const started = performance.now();
                await openSession(gateway, { ms: BACK_MS });
                const ms = performance.now() - started;
                assert.ok(ms < 4900, `number ${i} took ${ms} ms`);
            }
            await storeIs(gateway, false);
            assert.ok(await gateway.metric('sidgate_store_errors_total') > 0);
        } finally {
            redis.resume();
        }
        await storeIs(gateway, true);
    });

    test('what began then is written when it is back', async (t) => {
        const { redis, gateways } = await cluster(t, { nodes: 2, count: 2,
                                                     args: CALM });
        await redis.kill();
        const sids = await times(60, 10, (i) => openSession(gateways[i % 2]));
        const ended = sids.splice(0, 20);
        await times(20, 10, (i) => closeSession(gateways[i % 2], ended[i]));
        await redis.restart();
        await eventually(async () => await written(redis) === sids.length,
                         'all are written', BACK_MS);
        const there = await Promise.all(ended.map((sid) =>
            redis.command('EXISTS', keyOf(sid))));
        assert.ok(there.every((is) => is === 0), 'an ended session is back');
    });

    test('what began while it stood still is written, too', async (t) => {
        const { redis, gateways: [gateway] } =
            await cluster(t, { args: AWAITED });
        await redis.pause();
        let sids;
        try {
            sids = await times(40, 4, () => openSession(gateway));
        } finally {
            redis.resume();
        }
        await eventually(async () => await written(redis) >= sids.length,
                         'all are written', BACK_MS);
        const there = await Promise.all(sids.map((sid) =>
            redis.command('EXISTS', keyOf(sid))));
        assert.ok(there.every((is) => is === 1));
        assert.equal(gateway.events('store_lost').length, 0);
    });

    test('each replica serves the sessions of the other', async (t) => {
        const { redis, gateways } = await cluster(t, { nodes: 3, count: 2,
                                                     args: CALM });
        const before = await times(20, 10, (i) => openSession(gateways[i % 2]));
        await redis.kill();
        const sids = await times(20, 10, (i) => openSession(gateways[i % 2]));
        for (const [i, sid] of [...before, ...sids].entries())
            await goesOn(gateways[(i + 1) % 2], sid);
        await redis.restart();
    });

    test('closed means 503 for handshakes, and for nothing else', async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t, {
            nodes: 2, args: ['--store-outage', 'closed',
                             '--store-timeout', '5s'] });
        const sids = await times(10, 5, () => openSession(gateway));
        const other = await cold();
        for (const [begin, end] of [['kill', 'restart'], ['pause', 'resume']]) {
            await redis[begin]();
            for (let i = 0; i < 5; i++) {
                const answer = await ask(gateway.port, handshakeRequest(),
                                         { ms: BACK_MS });
                assert.equal(answer.status, 503);
            }
            for (const sid of sids)
                await goesOn(gateway, sid);
            await goesOn(other, sids[0], { ms: BACK_MS });
            await redis[end]();
            await storeIs(gateway, true);
            await openSession(gateway);
        }
    });

    test('it ends in order', async (t) => {
        const { redis, gateways } = await cluster(t, { count: 2,
                                                       args: AWAITED });
        await openSession(gateways[0]);
        await redis.pause();
        const started = Date.now();
        for (const gateway of gateways.splice(0)) {
            const end = await gateway.stop();
            assert.deepEqual(end, { code: 0, signal: null });
            assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
        }
        assert.ok(Date.now() - started < 15_000, 'it took too long');
        redis.resume();
    });
});
