/* SPDX-License-Identifier: MIT */
/* Which backend a new session is given to: by load, in turn, by a key. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { configured, lives, poll, session, sessionAt, spec, specs, spread,
         startNodes, tunnel } from '../support/configured.mjs';
import { startEngine } from '../support/engine.mjs';
import { sessionsOf } from '../support/gateway.mjs';
import { eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;
const IDS = ['n1', 'n2', 'n3'];

async function begin(t, balance, more = {}, weights = {})
{
    const nodes = await startNodes(t, ...IDS);
    const gateway = await configured(t, { workers: 1, balance,
        backend: nodes.map((node) => spec(node,
            weights[node.id] ? `,weight=${weights[node.id]}` : '')), ...more });
    return { nodes, gateway };
}

async function command(gateway, id, verb)
{
    const { status } = await exchange(gateway.adminPort,
        `POST /api/v1/backends/${id}/${verb} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
        'Content-Length: 0\r\n\r\n', 'POST', { secure: false });
    assert.equal(status, 200);
}

/* `got` is within `share` of `wanted`, both counts by node. */
function near(got, wanted, share)
{
    for (const [id, count] of Object.entries(wanted))
        assert.ok(Math.abs((got[id] ?? 0) - count) <= count * share,
                  `${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

describe('round-robin', { skip }, () => {
    test('each in turn', async (t) => {
        const { gateway } = await begin(t, 'round-robin');
        const seen = [];
        for (let i = 0; i < 9; i++)
            seen.push((await session(gateway)).home);
        assert.deepEqual(seen.slice(0, 3).sort(), IDS);
        assert.deepEqual(seen.slice(3), [...seen.slice(0, 6)]);
    });

    test('as often as the weights say', async (t) => {
        const { gateway } = await begin(t, 'round-robin', {},
                                        { n1: 4, n2: 2 });
        assert.deepEqual(await spread(gateway, 70), { n1: 40, n2: 20, n3: 10 });
    });

    test('whatever each has', async (t) => {
        const { gateway } = await begin(t, 'round-robin');
        for (let i = 0; i < 12; i++) {
            const one = await session(gateway);
            if (one.home !== 'n1')
                await poll(gateway, one.sid, { body: '1' });
        }
        assert.deepEqual(await spread(gateway, 12), { n1: 4, n2: 4, n3: 4 });
    });

    test('each worker for itself, all of them evenly', async (t) => {
        const { gateway } = await begin(t, 'round-robin', { workers: 4 });
        near(await spread(gateway, 300), { n1: 100, n2: 100, n3: 100 }, 0.1);
    });
});

describe('least-sessions', { skip }, () => {
    test('exactly even, while all stay', async (t) => {
        const { gateway } = await begin(t, 'least-sessions');
        assert.deepEqual(await spread(gateway, 60, {}, { width: 1 }),
                         { n1: 20, n2: 20, n3: 20 });
    });

    test('also when they come at the same time', async (t) => {
        const { gateway } = await begin(t, 'least-sessions');
        near(await spread(gateway, 90, {}, { width: 30 }),
             { n1: 30, n2: 30, n3: 30 }, 0.1);
    });

    test('by weight', async (t) => {
        const { gateway } = await begin(t, 'least-sessions', {},
                                        { n1: 4, n2: 2 });
        near(await spread(gateway, 70, {}, { width: 1 }),
             { n1: 40, n2: 20, n3: 10 }, 0.1);
    });

    test('who has lost sessions gets the next ones', async (t) => {
        const { nodes, gateway } = await begin(t, 'least-sessions');
        await spread(gateway, 30, {}, { width: 1 });
        for (const sid of [...nodes[1].sids].slice(0, 8))
            await poll(gateway, sid, { body: '1' });
        assert.deepEqual(await spread(gateway, 8, {}, { width: 1 }), { n2: 8 });
        near(await spread(gateway, 30, {}, { width: 1 }),
             { n1: 10, n2: 10, n3: 10 }, 0);
    });

    test('websockets count, until they end', async (t) => {
        const { nodes, gateway } = await begin(t, 'least-sessions');
        const tunnels = [];
        for (let i = 0; i < 12; i++)
            tunnels.push(await tunnel(gateway, nodes));
        const homes = tunnels.map(({ home }) => home).sort();
        assert.deepEqual(homes, IDS.flatMap((id) => Array(4).fill(id)));
        for (const { client, upstream, home } of tunnels)
            if (home === 'n3') {
                client.destroy();
                upstream.destroy();
            }
        await eventually(async () =>
            sessionsOf(await gateway.metrics(), 'n3') === 0, 'none at n3');
        assert.deepEqual(await spread(gateway, 4, {}, { width: 1 }), { n3: 4 });
    });

    test('handshakes under way count', async (t) => {
        const { nodes, gateway } = await begin(t, 'least-sessions');
        const slow = nodes[0];
        slow.onHandshake = () => {};
        const wires = [];
        for (let i = 0; i < 3; i++) {
            const wire = await gateway.open();
            wire.send('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n' +
                      'Host: h\r\n\r\n');
            wires.push(wire);
        }
        await slow.request(0);
        /* One hangs there; as long as no other has more, it gets no second. */
        await eventually(() => wires.filter(({ total }) => total > 0).length
            === 2, 'the others');
        assert.equal(slow.requests.length, 1);
    });
});

describe('random-two', { skip }, () => {
    test('about even', async (t) => {
        const { gateway } = await begin(t, 'random-two');
        near(await spread(gateway, 300), { n1: 100, n2: 100, n3: 100 }, 0.2);
    });

    test('by weight', async (t) => {
        const { gateway } = await begin(t, 'random-two', {}, { n1: 6, n2: 3 });
        near(await spread(gateway, 400), { n1: 240, n2: 120, n3: 40 }, 0.3);
    });

    test('the better of two: the last of three is hardly chosen', async (t) => {
        const { gateway } = await begin(t, 'random-two');
        await command(gateway, 'n2', 'drain');
        await command(gateway, 'n3', 'drain');
        assert.deepEqual(await spread(gateway, 200), { n1: 200 });
        await command(gateway, 'n2', 'undrain');
        await command(gateway, 'n3', 'undrain');
        const { n1 = 0 } = await spread(gateway, 100);
        assert.ok(n1 <= 3, `${n1} more for the fullest`);
    });
});

describe('hash', { skip }, () => {
    const KEYS = Array.from({ length: 60 }, (_, i) => `user-${i * 7919}`);
    /* What a handshake carries, by --hash-key. */
    const BY = {
        'query:user': (key) => ({ query: `&user=${key}` }),
        'header:x-user': (key) => ({ fields: `X-User: ${key}\r\n` }),
        'cookie:user': (key) => ({
            fields: `Cookie: a=b; user=${key}; c=user\r\n` }),
        address: (key) => ({ from: `127.0.${KEYS.indexOf(key)}.9` }),
    };

    async function homesOf(gateway, make)
    {
        const homes = {};
        for (const key of KEYS)
            homes[key] = (await session(gateway, make(key))).home;
        return homes;
    }

    for (const [hashKey, make] of Object.entries(BY))
        test(`by ${hashKey}: the same, by each worker and process`,
             async (t) => {
            const more = { hash_key: hashKey, workers: 3 };
            const { nodes, gateway } = await begin(t, 'hash', more);
            const homes = await homesOf(gateway, make);
            assert.deepEqual([...new Set(Object.values(homes))].sort(), IDS);
            for (let i = 0; i < 2; i++)
                assert.deepEqual(await homesOf(gateway, make), homes);
            const other = await configured(t, { workers: 1, balance: 'hash',
                ...more, backend: specs(...[...nodes].reverse()) });
            assert.deepEqual(await homesOf(other, make), homes);
        });

    test('a request without the key is placed by its address', async (t) => {
        const { gateway } = await begin(t, 'hash', { hash_key: 'query:user' });
        const seen = new Set();
        for (let i = 1; i <= 20; i++) {
            const from = `127.0.0.${i}`;
            const { home } = await session(gateway, { from });
            seen.add(home);
            for (const query of ['', '&user=', '&xuser=1', '&USER=1'])
                assert.equal((await session(gateway, { from, query })).home,
                             home);
        }
        assert.ok(seen.size > 1);
    });

    test('by the true address of who comes through a proxy', async (t) => {
        const { gateway } = await begin(t, 'hash',
                                        { trusted_proxy: '127.0.0.1' });
        const homes = {};
        for (let i = 0; i < 2; i++)
            for (let j = 0; j < 30; j++) {
                const { home } = await session(gateway, {
                    fields: `X-Forwarded-For: 192.0.2.${j}\r\n` });
                assert.equal(homes[j] ?? home, home);
                homes[j] = home;
            }
        assert.equal(new Set(Object.values(homes)).size, 3);
    });

    test('about even, and by weight', async (t) => {
        const { nodes, gateway } = await begin(t, 'hash',
            { hash_key: 'query:user', hash_ring_size: 8192 });
        const users = (i) => ({ query: `&user=${i}x${i * 31}` });
        near(await spread(gateway, 600, users),
             { n1: 200, n2: 200, n3: 200 }, 0.25);
        await gateway.reload({ workers: 1, balance: 'hash',
            hash_key: 'query:user', hash_ring_size: 8192,
            backend: [spec(nodes[0], ',weight=4'), spec(nodes[1]),
                      spec(nodes[2])] });
        near(await spread(gateway, 600, users),
             { n1: 400, n2: 100, n3: 100 }, 0.3);
    });

    const make = BY['query:user'];
    const KEYED = { hash_key: 'query:user' };

    /* Only the keys of n2 are elsewhere, and not all at one place. */
    function onlyMoved(homes, now)
    {
        const to = new Set();
        for (const key of KEYS) {
            if (homes[key] !== 'n2')
                assert.equal(now[key], homes[key]);
            else
                to.add(now[key]);
        }
        assert.deepEqual([...to].sort(), ['n1', 'n3']);
    }

    test('a drained one\'s keys move, no others; and come back', async (t) => {
        const { gateway } = await begin(t, 'hash', KEYED);
        const homes = await homesOf(gateway, make);
        const kept = await sessionAt(gateway, 'n2', make(
            KEYS.find((key) => homes[key] === 'n2')));
        await command(gateway, 'n2', 'drain');
        onlyMoved(homes, await homesOf(gateway, make));
        await lives(gateway, kept);
        await command(gateway, 'n2', 'undrain');
        assert.deepEqual(await homesOf(gateway, make), homes);
    });

    test('the same when it is dead', async (t) => {
        const { nodes, gateway } = await begin(t, 'hash',
            { ...KEYED, eject_time: '300ms' });
        const homes = await homesOf(gateway, make);
        const { port } = nodes[1];
        await nodes[1].stop();
        onlyMoved(homes, await homesOf(gateway, make));
        const again = await startEngine({ id: 'n2', port });
        let minted = 0;
        again.mint = () => `n2.again-0123456789-${minted++}`;
        t.after(() => again.stop());
        await eventually(async () => {
            const now = await homesOf(gateway, make);
            return KEYS.every((key) => now[key] === homes[key]);
        }, 'all back', 60_000);
    });

    test('the same when it is removed; a new one takes from all', async (t) => {
        const { nodes: [n1, n2, n3], gateway } = await begin(t, 'hash', KEYED);
        const [n4] = await startNodes(t, 'n4');
        const homes = await homesOf(gateway, make);
        const base = { workers: 1, balance: 'hash', ...KEYED };
        await gateway.reload({ ...base, backend: specs(n1, n3) });
        onlyMoved(homes, await homesOf(gateway, make));
        await gateway.reload({ ...base, backend: specs(n1, n2, n3, n4) });
        const now = await homesOf(gateway, make);
        const moved = KEYS.filter((key) => now[key] !== homes[key]);
        assert.ok(moved.length > 0 && moved.length < 35, `${moved.length}`);
        for (const key of moved)
            assert.equal(now[key], 'n4');
    });

    test('a full one\'s keys go to the next, and stay there', async (t) => {
        const { nodes, gateway } = await begin(t, 'hash', KEYED);
        const [key, other] = ['joe', 'ann'];
        const { home } = await session(gateway, make(key));
        await gateway.reload({ workers: 1, balance: 'hash', ...KEYED,
            backend: nodes.map((node) =>
                spec(node, node.id === home ? ',max=1' : '')) });
        const next = new Set();
        for (let i = 0; i < 5; i++)
            next.add((await session(gateway, make(key))).home);
        assert.equal(next.size, 1);
        assert.ok(!next.has(home));
        assert.notEqual((await session(gateway, make(other))).home, home);
    });
});
