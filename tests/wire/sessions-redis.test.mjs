/* SPDX-License-Identifier: MIT */
/* The operator's list of sessions, one of them, and its end, where replicas
 * share a Redis; and what becomes of that when it is away. */

import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { assertShape } from '../support/api.mjs';
import { newSid, sidRequest } from '../support/engine.mjs';
import { ask, cluster, goesOn, openSession, reach, storeIs,
         times } from '../support/replicas.mjs';
import { ROW, SESSION, apiAt, asksStore, everyPage, isKicked, listShape, page,
         upgraded } from '../support/sessions.mjs';
import { isGone, keyOf } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const SKIP = { skip: IS_TLS && 'the operator listener has none' };
/* More than the gateway's own 4.5 s, by what a busy machine adds. */
const ANSWER_MS = 9000;

function idOf(key)
{
    return createHash('sha256').update(key).digest('hex').slice(0, 16);
}

function ids(rows)
{
    return rows.map(({ id }) => id).sort();
}

function isDenied({ port }, sid)
{
    return eventually(async () => {
        const { status, text } = await ask(port, sidRequest(sid));
        return status === 400 && text.includes('"code":1');
    }, 'code 1');
}

function kick(gateway, name)
{
    return apiAt(gateway).post(`sessions/${encodeURIComponent(name)}/kick`);
}

/* What `work` gives, in time. */
async function timely(work)
{
    const began = Date.now();
    const value = await work();
    assert.ok(Date.now() - began < ANSWER_MS,
              `${Date.now() - began} ms for an answer`);
    return value;
}

/* Replicas that know their way to Redis for such questions. */
async function asked(t, options)
{
    const world = await cluster(t, options);
    await Promise.all(world.gateways.map(asksStore));
    return world;
}

/* `of` sessions through each gateway; gives all their sids. */
async function begin(gateways, of)
{
    const sids = await times(gateways.length * of, 8,
                             (i) => openSession(gateways[i % gateways.length]));
    return sids;
}

describe('sessions of all replicas', SKIP, () => {
    test('are listed by each', async (t) => {
        const { gateways } = await asked(t, { nodes: 2, count: 2 });
        const sids = await begin(gateways, 60);
        const all = sids.map(idOf).sort();
        for (const gateway of gateways) {
            const list = await page(gateway, { limit: 1000 });
            assertShape(list, listShape(ROW));
            assert.equal(list.scope, 'store');
            assert.equal(list.next, null);
            assert.deepEqual(ids(list.sessions), all);
            for (const limit of [1, 7, 60])
                assert.deepEqual(ids(await everyPage(gateway, { limit })),
                                 all, `by ${limit}`);
            const own = list.sessions.filter((row) =>
                row.gateway.startsWith(`${gateway.name}.`));
            assert.equal(own.length, 60);
            assert.ok(own.every(({ requests }) => requests === 1));
            assert.equal((await everyPage(gateway,
                { gateway: own[0].gateway })).length, 60);
            const others = list.sessions.filter((row) => !own.includes(row));
            assert.ok(others.every(({ requests, bytes_in: bytes }) =>
                requests === null && bytes === null));
            const first = await everyPage(gateway, { backend: 'n1' });
            const second = await everyPage(gateway, { search: 'N2' });
            assert.deepEqual(ids([...first, ...second]), all);
        }
    });

    test('are found by id or sid through the other one', async (t) => {
        const { gateways: [first, second] } = await asked(t, { count: 2 });
        const [sid] = await begin([first], 1);
        for (const name of [idOf(sid), sid]) {
            const answer = await apiAt(second).get(`sessions/${name}`);
            assertShape(answer, SESSION);
            assert.equal(answer.session.id, idOf(sid));
            assert.equal(answer.session.requests, null);
            assert.deepEqual(ids((await page(second, { search: name }))
                .sessions), [idOf(sid)]);
        }
        for (const name of [idOf(newSid()), newSid()])
            await apiAt(second).fails('GET', `sessions/${name}`, 404);
    });

    test('are kicked through the other one', async (t) => {
        const { redis, backends: [node], gateways } =
            await asked(t, { count: 2 });
        const [first, second] = gateways;
        const [websocket, held, between] = await begin([first], 3);
        const client = await upgraded(node, first, websocket);
        await eventually(async () => await redis.command('HGET',
            keyOf(websocket), 'transport') === 'websocket', 'the upgrade');
        node.onPoll = () => {};
        const poll = await reach(first.port);
        poll.send(sidRequest(held));
        await eventually(() => node.targets.some((target) =>
            target.includes(encodeURIComponent(held))), 'the poll');
        assert.deepEqual(await kick(second, idOf(websocket)),
                         { ok: true, gateways: 2 });
        await isKicked(client);
        await kick(second, idOf(held));
        assert.equal((await poll.response()).text, '1');
        poll.destroy();
        await kick(second, between);
        for (const gateway of gateways)
            await isDenied(gateway, between);
        for (const sid of [websocket, held, between])
            await isGone(redis, sid);
        assert.deepEqual(await everyPage(second), []);
        const { session } = await apiAt(first).get(`sessions/${idOf(held)}`);
        assert.equal(session.cause, 'kicked');
        await apiAt(second).fails('POST', `sessions/${idOf(held)}/kick`, 404);
    });
});

describe('hashed sids', SKIP, () => {
    async function hashed(t)
    {
        const text = randomBytes(24).toString('hex');
        const file = path.join(os.tmpdir(),
                               `secret-${process.pid}-${newSid()}`);
        writeFileSync(file, text, { mode: 0o600 });
        t.after(() => rmSync(file));
        const world = await asked(t, { count: 2,
            args: ['--hash-sids-file', file] });
        return { ...world, hashOf: (sid) =>
            createHmac('sha256', text).update(sid).digest('hex') };
    }

    test('are shown where they are known', async (t) => {
        const { gateways, hashOf } = await hashed(t);
        const [first, second] = gateways;
        const sids = await begin([first], 5);
        const all = sids.map((sid) => idOf(hashOf(sid))).sort();
        const { sessions } = await page(second);
        assert.deepEqual(ids(sessions), all);
        assert.ok(sessions.every(({ sid }) => sid === '-'));
        const id = idOf(hashOf(sids[0]));
        for (const name of [id, sids[0]]) {
            const here = await apiAt(first).get(`sessions/${name}`);
            assert.equal(here.session.sid, `${sids[0].slice(0, 4)}...`);
            assert.equal(here.session.requests, 1);
            const there = await apiAt(second).get(`sessions/${name}`);
            assert.equal(there.session.id, id);
            assert.equal(there.session.sid, name === id ? '-' :
                here.session.sid);
            assert.deepEqual(ids((await page(second, { search: name }))
                .sessions), [id]);
        }
    });

    test('are kicked', async (t) => {
        const { redis, gateways, backends: [node], hashOf } = await hashed(t);
        const [first, second] = gateways;
        const [websocket, between, named] = await begin([first], 3);
        const client = await upgraded(node, first, websocket);
        await eventually(async () => await redis.command('HGET',
            keyOf(hashOf(websocket)), 'transport') === 'websocket',
            'the upgrade');
        assert.equal((await kick(second, idOf(hashOf(websocket)))).gateways, 2);
        await isKicked(client);
        await goesOn(second, between);
        await kick(first, idOf(hashOf(between)));
        for (const gateway of gateways)
            await isDenied(gateway, between);
        await isGone(redis, hashOf(between));
        await kick(second, named);
        for (const gateway of gateways)
            await isDenied(gateway, named);
    });
});

describe('while Redis is away', SKIP, () => {
    for (const [how, leave, back] of [
        ['stopped', (redis) => redis.pause(), (redis) => redis.resume()],
        ['killed', (redis) => redis.kill(), (redis) => redis.start()],
    ])
        test(`${how}: what is known here is shown`, async (t) => {
            const { redis, gateways } = await asked(t, { count: 2 });
            const [first, second] = gateways;
            const mine = await begin([first], 30);
            const [other] = await begin([second], 1);
            const { scope, next } = await page(first, { limit: 10 });
            assert.equal(scope, 'store');
            await leave(redis);
            const api = apiAt(first);
            const list = await timely(() => page(first, { limit: 1000 }));
            assert.equal(list.scope, 'local');
            for (const sid of mine)
                assert.ok(ids(list.sessions).includes(idOf(sid)));
            await timely(() => api.fails('GET', `sessions?cursor=${next}`,
                                         503));
            const [sid] = mine;
            const { session } = await timely(() =>
                api.get(`sessions/${idOf(sid)}`));
            assert.equal(session.state, 'live');
            await timely(() => api.fails('GET', `sessions/${idOf(other)}`,
                                         503));
            assert.match(await timely(() => api.fails('POST',
                `sessions/${idOf(sid)}/kick`, 503)),
                /the store is away: only this replica was told$/);
            await isDenied(first, sid);
            await back(redis);
            await storeIs(first, true);
            await asksStore(first);
        });

    test('a question that comes first is answered, too', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t);
        const [sid] = await begin([gateway], 1);
        await redis.pause();
        const lists = await timely(() => Promise.all(Array.from({ length: 24 },
            () => page(gateway).catch((error) => error))));
        const good = lists.filter(({ scope }) => scope === 'local');
        assert.ok(good.length >= 16, `${good.length} were answered`);
        for (const one of lists)
            if (one instanceof Error)
                assert.match(one.message, /too many questions at once/);
        assert.deepEqual(ids(good[0].sessions), [idOf(sid)]);
        redis.resume();
    });

    test('the gateway may end meanwhile', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t);
        const [sid] = await begin([gateway], 1);
        await page(gateway);
        await redis.pause();
        const wires = await Promise.all(Array.from({ length: 6 },
            () => reach(gateway.adminPort)));
        wires.forEach((wire, i) => wire.send(
            `${i % 2 ? 'POST' : 'GET'} /api/v1/sessions` +
            `${i % 2 ? `/${idOf(sid)}/kick` : ''} HTTP/1.1\r\n` +
            'Host: 127.0.0.1\r\n\r\n'));
        assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
        wires.forEach((wire) => wire.destroy());
        redis.resume();
    });

    test('whoever asks may go', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t);
        const [sid] = await begin([gateway], 1);
        await redis.pause();
        for (let i = 0; i < 8; i++) {
            const wire = await reach(gateway.adminPort);
            wire.send(`GET /api/v1/sessions${i % 2 ? `/${idOf(sid)}` : ''} ` +
                'HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
            await new Promise(setImmediate);
            wire.reset();
        }
        await timely(() => page(gateway));
        redis.resume();
        await asksStore(gateway);
    });
});

test('what others write into Redis is passed over', SKIP, async (t) => {
    const { redis, gateways: [gateway] } = await asked(t);
    const sids = await begin([gateway], 8);
    const put = (key, ...fields) => redis.command('HSET', key, ...fields);
    await redis.command('SET', keyOf('a-string'), 'x');
    await redis.command('SADD', keyOf('a-set'), 'x');
    await put(keyOf('no-backend'), 'client', '1.2.3.4');
    await put(keyOf('long-backend'), 'backend', 'x'.repeat(70_000));
    await put(keyOf('x'.repeat(257)), 'backend', 'n1');
    await put(keyOf(''), 'backend', 'n1');
    await put('sidgateXsession:one', 'backend', 'n1');
    await put('sidgate:sessions:one', 'backend', 'n1');
    const odd = Buffer.from([0xff, 0, 10, 34, 92, 60]);
    await redis.command('HSET', Buffer.concat([Buffer.from(keyOf('')), odd]),
        'backend', 'n"\\<script>', 'client', Buffer.from([0xc3, 0x28]),
        'created', '2999-01-01T00:00:00.000Z', 'seen', 'soon');
    const rows = await everyPage(gateway, { limit: 3 });
    assert.deepEqual(ids(rows), [...sids.map(idOf), idOf(odd)].sort());
    const strange = rows.find(({ id }) => id === idOf(odd));
    assertShape(strange, { ...ROW, sid: /^[\x20-\x7e]*\.\.\.$/ });
    assert.equal(strange.backend, 'n"\\<script>');
    assert.equal(strange.client, '?(');
    assert.equal(strange.age_s, 0);
    assert.equal(strange.idle_s, 0);
    assert.equal((await kick(gateway, idOf(odd))).ok, true);
    await apiAt(gateway).fails('GET', 'sessions/%ff%fe%22', 404);
    await goesOn(gateway, sids[0]);
});

/* What makes the table of keys grow, grow again and shrink in Redis; each
 * answers once it has. */
function tableOf(redis)
{
    const run = (script) => redis.command('EVAL', script, 0);
    const put = (count) => run(`for i = 1, ${count} do ` +
        "redis.call('SET', 'other:' .. i, i) end");
    const bytes = async () => {
        const all = await redis.command('MEMORY', 'STATS');
        const own = all[all.indexOf('db.0') + 1];
        return own[own.indexOf('overhead.hashtable.main') + 1];
    };
    return [
        () => put(300),
        () => put(4000),
        async () => {
            await run("for _, key in ipairs(redis.call('KEYS', 'other:*')) " +
                "do redis.call('DEL', key) end");
            await eventually(async () => await bytes() < 24_000, 'a small one');
        },
    ];
}

test('while the table in Redis changes, none is left out', SKIP, async (t) => {
    const { redis, gateways: [gateway] } = await asked(t);
    const table = tableOf(redis);
    await redis.command('CONFIG', 'SET', 'hz', 200);
    const put = (name) => redis.command('HSET', keyOf(name), 'backend', 'n1');
    const names = Array.from({ length: 250 }, (_, i) => `stays-${i}`);
    const all = new Set(names.map(idOf));
    for (const limit of [2, 3, 9]) {
        await times(90, 8, (i) => put(`goes-${i}`));
        await times(names.length, 8, (i) => put(names[i]));
        const rows = await everyPage(gateway, { limit }, false,
            async (page) => {
                await redis.command('DEL', keyOf(`goes-${page}`));
                await table[page % 5]?.();
            });
        rows.forEach(({ id }) => all.delete(id));
        assert.deepEqual([...all], [], `by ${limit}`);
        names.forEach((name) => all.add(idOf(name)));
    }
});
