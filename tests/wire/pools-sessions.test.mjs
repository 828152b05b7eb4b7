/* SPDX-License-Identifier: MIT */
/* Sessions of several pools: none reaches another pool's, records say whose
 * they are, and each pool has its own ways. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { answer } from '../support/shared.mjs';
import { bytesFor, configured, echoes, isUnknown, lives, poll, session, shake,
         spec, specs, spread, startNodes, tunnel, UNKNOWN }
    from '../support/configured.mjs';
import { sessionsOf } from '../support/gateway.mjs';
import { startRedis } from '../support/redis.mjs';
import { storeIs, together } from '../support/replicas.mjs';
import { connect, eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;
const A = { host: 'a.example' };
const B = { host: 'b.example' };

/* Two tenants with a node each, which both are called n1. */
function tenants(a, b, more = {})
{
    return {
        workers: 2, host: A.host, backend: spec({ ...a, id: 'n1' }),
        pools: [{ name: 'b', ...B, backend: spec({ ...b, id: 'n1' }) }],
        ...more,
    };
}

async function begin(t, more)
{
    const [a, b] = await startNodes(t, 'a', 'b');
    const gateway = await configured(t, tenants(a, b, more));
    return { a, b, gateway };
}

const sidsOf = ({ requests, probes }) => [...requests, ...probes].map(
    ({ target }) => new URL(target, 'http://h').searchParams.get('sid'));

describe('another tenant\'s session', { skip }, () => {
    for (const recovery of ['probe', 'off'])
        test(`is unknown, and unharmed, with recovery ${recovery}`,
             async (t) => {
            const { a, b, gateway } = await begin(t, { recovery });
            const one = await session(gateway, A);
            const two = await session(gateway, B);
            assert.deepEqual([one.home, two.home], ['a', 'b']);
            a.requests = [];
            for (let i = 0; i < 3; i++) {
                await isUnknown(gateway, one, B);
                await isUnknown(gateway, two, A);
                /* POST, close packets too, and other methods. */
                for (const body of ['4x', '1'])
                    assert.equal((await poll(gateway, one.sid,
                                             { ...B, body })).text, UNKNOWN);
            }
            const put = await exchange(gateway.port, bytesFor(
                `/socket.io/?EIO=4&transport=polling&sid=${one.sid}`,
                { ...B, method: 'PUT' }), 'PUT');
            assert.notEqual(put.status, 200);
            assert.ok(!sidsOf(a).includes(one.sid));
            if (recovery === 'off')
                assert.ok(!sidsOf(b).includes(one.sid));
            await lives(gateway, one, A);
            await lives(gateway, two, B);
        });

    test('cannot be upgraded, nor taken from its websocket', async (t) => {
        const { a, b, gateway } = await begin(t);
        const one = await session(gateway, A);
        const socket = await tunnel(gateway, [a, b], A);
        for (const { sid } of [one, socket]) {
            const wire = await connect(gateway.port);
            wire.send(bytesFor(
                `/socket.io/?EIO=4&transport=websocket&sid=${sid}`, { ...B,
                    fields: 'Connection: Upgrade\r\nUpgrade: websocket\r\n' +
                        'Sec-WebSocket-Version: 13\r\n' +
                        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' }));
            assert.equal((await wire.response()).status, 400);
            wire.destroy();
        }
        await echoes(socket);
        await lives(gateway, one, A);
    });

    test('only the pool\'s own backends are asked', async (t) => {
        const { a, b, gateway } = await begin(t);
        const sid = 'b.0123456789abcdef';
        b.sids.add(sid);
        await isUnknown(gateway, { sid }, A);
        assert.deepEqual(sidsOf(b), []);
        assert.ok(sidsOf(a).includes(sid));
        await lives(gateway, { sid, home: 'b' }, B);
        /* And it stays so when its owner is known. */
        await isUnknown(gateway, { sid }, A);
    });

    test('is unknown while its node is away, and no other is unbound',
         async (t) => {
        const { b, gateway } = await begin(t);
        const one = await session(gateway, A);
        await b.stop();
        assert.notEqual((await poll(gateway, one.sid, B)).status, 200);
        await lives(gateway, one, A);
    });

    test('handshakes never go to another pool', async (t) => {
        const { b, gateway } = await begin(t);
        await b.stop();
        for (let i = 0; i < 8; i++)
            assert.equal((await shake(gateway, B)).status, 503);
        assert.deepEqual(await spread(gateway, 4, A), { a: 4 });
    });
});

describe('what is each pool\'s own', { skip }, () => {
    async function two(t, first, second)
    {
        const [a, a2, b, b2] = await startNodes(t, 'a', 'a2', 'b', 'b2');
        const gateway = await configured(t, {
            workers: 1, host: A.host, backend: specs(a, a2), ...first,
            pools: [{ name: 'b', ...B, backend: specs(b, b2), ...second }],
        });
        return { a, a2, b, b2, gateway };
    }

    test('recovery', async (t) => {
        const { a, b, gateway } = await two(t, {}, { recovery: 'off' });
        const sid = 'x.0123456789abcdef';
        a.sids.add(sid);
        b.sids.add(sid);
        await isUnknown(gateway, { sid }, B);
        assert.deepEqual(b.probes, []);
        await lives(gateway, { sid, home: 'a' }, A);
    });

    test('netty', async (t) => {
        const { a, a2, b, b2, gateway } = await two(
            t, { recovery: 'off' }, { netty: true });
        const empty = answer(500, '');
        for (const [nodes, where, isEnd] of [[[a, a2], A, false],
                                             [[b, b2], B, true]]) {
            const one = await session(gateway, where);
            const node = nodes.find(({ id }) => id === one.home);
            const was = node.onPoll;
            node.onPoll = (request, wire) => wire.send(empty);
            assert.equal((await poll(gateway, one.sid, where)).status, 500);
            node.onPoll = was;
            const next = await poll(gateway, one.sid, where);
            assert.equal(next.status, isEnd ? 400 : 200);
        }
    });

    test('balance', async (t) => {
        const { gateway } = await two(t, { balance: 'round-robin' },
            { balance: 'hash', hash_key: 'query:user' });
        assert.deepEqual(await spread(gateway, 8, { ...A, query: '&user=1' }),
                         { a: 4, a2: 4 });
        const homes = await spread(gateway, 8, { ...B, query: '&user=1' });
        assert.deepEqual(Object.values(homes), [8]);
    });

    test('limits of sessions, and the queue', async (t) => {
        const { gateway } = await two(t, {
            queue_length: 0, max_sessions_per_backend: 1,
        }, { max_sessions_per_backend: 2 });
        await spread(gateway, 2, A);
        assert.equal((await shake(gateway, A)).status, 503);
        await spread(gateway, 4, B);
        /* Only when it has queued for 5 s. */
        assert.equal((await shake(gateway, { ...B, ms: 30_000 })).status, 503);
    });

    test('round-robin does not skip for another pool\'s turns', async (t) => {
        const { gateway } = await two(t, { balance: 'round-robin' }, {});
        const homes = {};
        for (let i = 0; i < 8; i++) {
            const { home } = await session(gateway, A);
            homes[home] = (homes[home] ?? 0) + 1;
            await session(gateway, B);
        }
        assert.deepEqual(homes, { a: 4, a2: 4 });
    });

    test('states and counts under qualified ids', async (t) => {
        const { a, b, gateway } = await begin(t);
        await session(gateway, A);
        await session(gateway, B);
        await session(gateway, B);
        const metrics = await gateway.metrics();
        const sessions = (id) => sessionsOf(metrics, id);
        assert.deepEqual([sessions('n1'), sessions('b/n1')], [1, 2]);
        assert.ok(a.requests.length === 1 && b.requests.length === 2);
        const { status } = await exchange(gateway.adminPort,
            'POST /api/v1/backends/b%2Fn1/drain HTTP/1.1\r\n' +
            'Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n', 'POST');
        assert.equal(status, 200);
        assert.equal((await shake(gateway, B)).status, 503);
        await session(gateway, A);
    });
});

describe('reloads of pools', { skip }, () => {
    test('one that is new', async (t) => {
        const [a, b] = await startNodes(t, 'a', 'b');
        const { pools, ...first } = tenants(a, b);
        const gateway = await configured(t, first);
        assert.equal((await shake(gateway, B)).status, 404);
        const one = await session(gateway, A);
        await gateway.reload({ ...first, pools });
        await gateway.settle();
        const two = await session(gateway, B);
        await isUnknown(gateway, one, B);
        await isUnknown(gateway, two, A);
        await lives(gateway, one, A);
        await lives(gateway, two, B);
    });

    test('one that is gone: its last sessions and tunnels go on', async (t) => {
        const { a, b, gateway } = await begin(t);
        const kept = await session(gateway, B);
        const socket = await tunnel(gateway, [a, b], B);
        const { pools, ...first } = tenants(a, b);
        for (let i = 0; i < 3; i++) {
            await gateway.reload(first);
            await gateway.settle();
            await lives(gateway, kept, B);
            await echoes(socket);
            await isUnknown(gateway, kept, A);
            assert.equal((await shake(gateway, B)).status, 404);
        }
        /* And back, with what it had. */
        await gateway.reload({ ...first, pools });
        await gateway.settle();
        await lives(gateway, kept, B);
        await session(gateway, B);
        await gateway.reload(first);
        for (const sid of b.sids)
            if (!b.tunnels.has(sid))
                await poll(gateway, sid, { ...B, body: '1' });
        socket.client.destroy();
        socket.upstream.destroy();
        await eventually(() => gateway.told('backend_forgotten').some((line) =>
            line.endsWith(' backend=b/n1')), 'forgotten', 20_000);
        assert.notEqual((await poll(gateway, kept.sid, B)).status, 200);
    });

    test('one with another name: its sessions go on', async (t) => {
        const { a, b, gateway } = await begin(t);
        const kept = await session(gateway, B);
        const { pools, ...first } = tenants(a, b);
        await gateway.reload({ ...first,
                               pools: [{ ...pools[0], name: 'renamed' }] });
        await gateway.settle();
        await lives(gateway, kept, B);
        await isUnknown(gateway, kept, A);
        const fresh = await session(gateway, B);
        await lives(gateway, fresh, B);
        const metrics = await gateway.metrics();
        assert.equal(sessionsOf(metrics, 'renamed/n1'), 1);
    });

    test('in another order', async (t) => {
        const [a, b, c] = await startNodes(t, 'a', 'b', 'c');
        const first = { workers: 2, host: A.host, backend: specs(a) };
        const pools = [{ name: 'b', ...B, backend: specs(b) },
                       { name: 'c', host: 'c.example', backend: specs(c) }];
        const gateway = await configured(t, { ...first, pools });
        const wheres = [A, B, { host: 'c.example' }];
        const kept = await Promise.all(wheres.map((where) =>
            session(gateway, where)));
        for (const next of [[pools[1], pools[0]], [pools[1]],
                            [pools[1], pools[0]], pools]) {
            await gateway.reload({ ...first, pools: next });
            await gateway.settle();
            for (let i = 0; i < 3; i++) {
                await lives(gateway, kept[i], wheres[i]);
                await isUnknown(gateway, kept[i], wheres[(i + 1) % 3]);
            }
            assert.equal((await session(gateway, wheres[2])).home, 'c');
        }
    });

    test('a host that is another pool\'s now', async (t) => {
        const { a, b, gateway } = await begin(t);
        const kept = await session(gateway, B);
        await gateway.reload({ ...tenants(a, b), host: B.host, pools: [
            { name: 'b', ...A, backend: spec({ ...b, id: 'n1' }) }] });
        await gateway.settle();
        assert.equal((await session(gateway, B)).home, 'a');
        assert.equal((await session(gateway, A)).home, 'b');
        await lives(gateway, kept, B);
    });

    test('too many, with those that still have sessions', async (t) => {
        const [a, b] = await startNodes(t, 'a', 'b');
        const first = { workers: 1, host: A.host, backend: specs(a) };
        const many = (from, length) => Array.from({ length }, (_, i) => ({
            name: `p${from + i}`, host: `h${from + i}`, backend: specs(b) }));
        const gateway = await configured(t, { ...first, pools: many(0, 4) });
        const kept = await session(gateway, { host: 'h3' });
        const next = { ...first, pools: many(100, 15) };
        assert.match(await gateway.refuses(next), /too many pools/);
        await lives(gateway, kept, { host: 'h3' });
        await session(gateway, { host: 'h2' });
        await gateway.reload({ ...first, pools: many(100, 11) });
        await gateway.settle();
        await lives(gateway, kept, { host: 'h3' });
        await session(gateway, { host: 'h110' });
        assert.match(await gateway.refuses(next), /too many pools/);

        /* Their places are free after their last sessions. */
        for (const host of ['h2', 'h3'])
            for (const sid of b.sids)
                await poll(gateway, sid, { host, body: '1' });
        gateway.write(next);
        await eventually(async () => / reloaded /.test(await gateway.hangUp()),
                         'room', 40_000);
        await gateway.settle();
        await session(gateway, { host: 'h114' });
    });
});

describe('records', { skip }, () => {
    test('in Redis say the pool; replicas keep pools apart', async (t) => {
        const redis = await startRedis();
        const [a, b] = await startNodes(t, 'a', 'b');
        const file = (name) => tenants(a, b, {
            store: redis.url, store_timeout: '8s', workers: 1,
            gateway_name: name });
        const one = await configured(t, file('gw1'));
        const two = await configured(t, file('gw2'));
        t.after(() => redis.stop());
        for (const [i, gateway] of [one, two].entries())
            Object.assign(gateway, { name: `gw${i + 1}`, events: gateway.told,
                metric: async (which) =>
                    (await gateway.metrics()).get(which) ?? 0 });
        await storeIs(one, true);
        await together([one, two]);
        const kept = await session(one, A);
        const other = await session(one, B);
        const record = ({ sid }) => redis.hash(`sidgate:session:${sid}`);
        assert.equal((await record(kept)).backend, 'n1');
        assert.equal((await record(other)).backend, 'b/n1');
        await isUnknown(two, kept, B);
        await isUnknown(two, other, A);
        await lives(two, kept, A);
        await lives(two, other, B);
        await isUnknown(two, kept, B);
        await isUnknown(one, kept, B);
        assert.equal((await record(kept)).backend, 'n1');
        assert.equal((await record(other)).backend, 'b/n1');
        /* Drained by its whole id, at both. */
        await redis.command('HSET', 'sidgate:admin', 'b/n1', 'drain');
        await redis.command('PUBLISH', 'sidgate:control', 'drain b/n1');
        for (const gateway of [one, two])
            await eventually(async () =>
                (await shake(gateway, B)).status === 503, 'drained', 10_000);
        await session(two, A);
    });
});
