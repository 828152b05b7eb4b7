/* SPDX-License-Identifier: MIT */
/* The operator's list of sessions, one of them, and its end, where this process
 * has them all. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { assertShape, request } from '../support/api.mjs';
import { newSid, sidRequest } from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { ask, closeSession, goesOn, openSession, reach,
         times } from '../support/replicas.mjs';
import { ENDED_ROW, ENDED_SESSION, ROW, SESSION, apiAt, everyPage, isKicked,
         listShape, page, upgraded } from '../support/sessions.mjs';
import { mintsSid } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const COUNT = 130;
const PER_SECOND = 100;
const SKIP = { skip: IS_TLS && 'the operator listener has none' };

function idOf(sid)
{
    return createHash('sha256').update(sid).digest('hex').slice(0, 16);
}

function ids(rows)
{
    return rows.map(({ id }) => id).sort();
}

describe('sessions of this process', SKIP, () => {
    const world = fixture({ count: 2, engine: true });

    /* `count` of them, from an address of their own; gives their sids. */
    let next = 2;
    async function begin(count)
    {
        const from = `127.0.0.${next++}`;
        const sids = await times(count, 16,
                                 () => openSession(world, { from }));
        return { from, sids };
    }

    test('are listed', async () => {
        const { from, sids } = await begin(3);
        await goesOn(world, sids[0]);
        const list = await page(world.gateway, { client: from });
        assertShape(list, listShape(ROW));
        assert.equal(list.scope, 'local');
        assert.deepEqual(ids(list.sessions), sids.map(idOf).sort());
        assert.ok(list.looked_at >= 3);
        const row = list.sessions.find(({ id }) => id === idOf(sids[0]));
        assert.equal(row.sid, `${sids[0].slice(0, 4)}...`);
        assert.equal(row.client, from);
        assert.equal(row.transport, 'polling');
        assert.equal(row.eio, 4);
        assert.equal(row.requests, 2);
        assert.ok(row.bytes_in > 0 && row.bytes_out > 0);
        assert.ok(row.age_s < 60 && row.expires_s > 1);
        assert.ok(!JSON.stringify(list).includes(sids[0]), 'a sid is shown');
    });

    test('come page by page, each once', async () => {
        const { from, sids } = await begin(COUNT);
        const all = sids.map(idOf).sort();
        for (const limit of [1, 7, 64, 130, 1000]) {
            const rows = await everyPage(world.gateway,
                                         { client: from, limit }, true);
            assert.deepEqual(ids(rows), all, `by ${limit}`);
        }
        const everything = ids(await everyPage(world.gateway, { limit: 9 },
                                               true));
        assert.equal(new Set(everything).size, everything.length);
        for (const id of all)
            assert.ok(everything.includes(id));
    });

    test('are chosen by backend, transport, gateway and client', async () => {
        const { from, sids } = await begin(12);
        const [first, second] = world.backends;
        const of = (backend) => sids.filter((sid) => backend.sids.has(sid))
            .map(idOf).sort();
        const chosen = async (query) => ids(await everyPage(world.gateway,
            { client: from, ...query }));
        assert.deepEqual(await chosen({ backend: 'n1' }), of(first));
        assert.deepEqual(await chosen({ backend: 'n2' }), of(second));
        assert.deepEqual(await chosen({ backend: 'n' }), []);
        assert.deepEqual(await chosen({ transport: 'websocket' }), []);
        const [{ gateway }] = (await page(world.gateway)).sessions;
        assert.equal((await chosen({ gateway })).length, 12);
        assert.deepEqual(await chosen({ gateway: gateway.slice(0, -1) }), []);
        const node = first.sids.has(sids[0]) ? first : second;
        const client = await upgraded(node, world, sids[0]);
        await eventually(async () => (await chosen({ transport: 'websocket' }))
            .length === 1, 'the upgrade');
        assert.equal((await chosen({ transport: 'polling' })).length, 11);
        client.destroy();
    });

    test('are found by what is searched for', async () => {
        const { from, sids } = await begin(5);
        const found = async (search, more) => ids(await everyPage(
            world.gateway, { search, ...more }));
        assert.deepEqual(await found(from), sids.map(idOf).sort());
        assert.deepEqual(await found(from.slice(4), { client: from }),
                         sids.map(idOf).sort());
        assert.equal((await found('N1', { client: from })).length +
            (await found('N2', { client: from })).length, 5);
        const id = idOf(sids[2]);
        for (const part of [id, id.slice(0, 12), sids[2]])
            assert.deepEqual(await found(part), [id], part);
        assert.deepEqual(await found(id, { backend: 'n9' }), []);
        assert.deepEqual(await found(newSid()), []);
        assert.deepEqual(await found(sids[2].slice(0, 15)), []);
        assert.equal((await page(world.gateway, { search: sids[2] })).looked_at,
                     1);
        const [node] = world.backends;
        const short = `s${next}`;
        world.backends.forEach((one) => mintsSid(one, short));
        await openSession(world);
        node.mints();
        assert.deepEqual(await found(short), [idOf(short)]);
    });

    test('are shown one by one, by sid or id', async () => {
        const { sids: [sid] } = await begin(1);
        const api = apiAt(world.gateway);
        const byId = await api.get(`sessions/${idOf(sid)}`);
        assertShape(byId, SESSION);
        const bySid = await api.get(`sessions/${encodeURIComponent(sid)}`);
        assert.equal(bySid.session.id, byId.session.id);
        assert.equal(byId.session.state, 'live');
        assert.equal(byId.session.ping_interval_ms, 25000);
        assert.equal(byId.session.ping_timeout_ms, 20000);
        for (const what of [idOf(newSid()), newSid(), '%00%ff', 'a/b'])
            assert.equal(await api.fails('GET', `sessions/${what}`, 404),
                         'no session has this id');
    });

    test('are known for a while after their end, by its cause', async () => {
        const { from, sids } = await begin(40);
        await times(sids.length, 4, (i) => closeSession(world, sids[i]));
        const query = { ended: 'true', client: from };
        await eventually(async () => (await everyPage(world.gateway, query))
            .length === 40, 'all have ended');
        const list = await page(world.gateway, { ...query, limit: 33 });
        assertShape(list, listShape(ENDED_ROW));
        assert.equal(list.sessions.length, 33);
        assert.deepEqual(new Set(list.sessions.map(({ cause }) => cause)),
                         new Set(['client']));
        const times33 = list.sessions.map(({ ended }) => ended);
        assert.deepEqual(times33, [...times33].sort().reverse());
        /* Others end meanwhile: the next page goes on where this one ended. */
        const other = await begin(1);
        await closeSession(world, other.sids[0]);
        await eventually(async () => (await page(world.gateway,
            { ended: 'true', client: other.from })).sessions.length === 1,
            'one more has ended');
        const rest = await page(world.gateway, { ...query, limit: 33,
                                                 cursor: list.next });
        assert.deepEqual(ids([...list.sessions, ...rest.sessions]),
                         sids.map(idOf).sort());
        assert.deepEqual(await everyPage(world.gateway, { client: from }), []);
        assert.deepEqual(ids(await everyPage(world.gateway,
            { ended: 'true', search: sids[3] })), [idOf(sids[3])]);
        for (const name of [idOf(sids[0]), sids[0]]) {
            const one = await apiAt(world.gateway).get(`sessions/${name}`);
            assertShape(one, ENDED_SESSION);
            assert.equal(one.session.state, 'ended');
            assert.equal(one.session.cause, 'client');
        }
    });
});

describe('cursors', SKIP, () => {
    const world = fixture({ count: 1, engine: true });

    test('that this gateway did not give are refused', async () => {
        await times(20, 8, () => openSession(world));
        const { next } = await page(world.gateway, { limit: 3 });
        assert.match(next, /^[\w-]{1,63}$/);
        const last = next.at(-1) === '0' ? '1' : '0';
        const wrong = ['x', 'l', 's0-0-0', `${next}0`, next.slice(0, -1),
                       `${next.slice(0, -1)}${last}`, next.toUpperCase(),
                       `s${next.slice(1)}`, `l0${next.slice(1)}`,
                       next.replace('-', '--')];
        for (const cursor of wrong)
            assert.equal(await apiAt(world.gateway).fails('GET',
                `sessions?cursor=${cursor}`, 400),
                'cursor is not one that this gateway gave');
        await apiAt(world.gateway).fails('GET',
            `sessions?ended=true&cursor=${next}`, 400);
        await page(world.gateway, { cursor: next });
    });
});

describe('a kick', SKIP, () => {
    const world = fixture({ count: 1, engine: true });
    const kick = (name) => apiAt(world.gateway).post(
        `sessions/${encodeURIComponent(name)}/kick`);

    async function cause(sid, wanted)
    {
        const { session } = await apiAt(world.gateway).get(
            `sessions/${idOf(sid)}`);
        assert.equal(session.state, 'ended');
        assert.equal(session.cause, wanted);
    }

    test('closes a websocket', async () => {
        const sid = await openSession(world);
        const client = await upgraded(world.backend, world, sid);
        await eventually(async () => (await page(world.gateway,
            { search: sid, transport: 'websocket' })).sessions.length === 1,
            'the upgrade');
        assert.deepEqual(await kick(idOf(sid)), { ok: true, gateways: 1 });
        await isKicked(client);
        await cause(sid, 'kicked');
    });

    test('answers a poll that is held', async () => {
        const sid = await openSession(world);
        world.backend.onPoll = () => {};
        const wire = await reach(world.port);
        wire.send(sidRequest(sid));
        await world.backend.request(1);
        await kick(sid);
        assert.equal((await wire.response()).text, '1');
        wire.destroy();
        await cause(sid, 'kicked');
    });

    test('between two polls has the next one denied', async () => {
        const sid = await openSession(world);
        await kick(sid);
        await cause(sid, 'kicked');
        const { status, text } = await ask(world.port, sidRequest(sid));
        assert.equal(status, 400);
        assert.match(text, /"code":1\b/);
    });

    test('of nobody is told', async () => {
        const api = apiAt(world.gateway);
        for (const name of [newSid(), idOf(newSid())])
            assert.equal(await api.fails('POST', `sessions/${name}/kick`, 404),
                         'no session has this id');
        const sid = await openSession(world);
        await kick(sid);
        await api.fails('POST', `sessions/${idOf(sid)}/kick`, 404);
        await api.fails('GET', `sessions/${sid}/kick`, 405);
    });

    test('is one of a hundred in a second', async () => {
        const sids = await times(3 * PER_SECOND, 16, () => openSession(world));
        const began = Date.now();
        const answers = await times(sids.length, 8, (i) => request(
            world.gateway.adminPort, 'POST',
            `/api/v1/sessions/${sids[i]}/kick`));
        const seconds = Math.ceil((Date.now() - began) / 1000) + 1;
        const good = answers.filter(({ status }) => status === 200);
        const many = answers.filter(({ status }) => status === 429);
        assert.equal(good.length + many.length, sids.length);
        /* Some of the first second's went to the tests before. */
        assert.ok(good.length >= PER_SECOND / 2, `${good.length} kicks`);
        assert.ok(good.length <= PER_SECOND * seconds, `${good.length} kicks`);
        assert.ok(many.length > 0 || seconds > 3, 'none was too many');
        for (const { json } of many)
            assert.equal(json.error, 'too many kicks in this second');
        for (let i = 0; i < answers.length; i++)
            if (answers[i].status === 429)
                await apiAt(world.gateway).get(`sessions/${sids[i]}`);
    });
});
