/* SPDX-License-Identifier: MIT */
/* Another configuration at SIGHUP: backends that come, go, move and weigh
 * otherwise. Sessions and tunnels stay where they are. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { configured, echoes, isUnknown, lives, poll, session, sessionAt, spec,
         specs, spread, startNodes, tunnel } from '../support/configured.mjs';
import { handshakeRequest, parameters } from '../support/engine.mjs';
import { sessionsOf as counted } from '../support/gateway.mjs';
import { eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const TURNS = { listen: '127.0.0.1:0', workers: 1, balance: 'round-robin' };
const FORGOTTEN_MS = 20_000;

function forgotten(gateway, id, times = 1)
{
    return eventually(() => gateway.told('backend_forgotten').filter((line) =>
        line.endsWith(` backend=${id}`)).length >= times,
        `${id} forgotten\n${gateway.stderr()}`, FORGOTTEN_MS);
}

/* A gateway on a port of the file's. */
const begin = (t, config, more) =>
    configured(t, { ...TURNS, ...config }, { listen: [], ...more });

function sessionsOf(node)
{
    return node.requests.map(({ target }) => parameters(target).get('sid'));
}

describe('backends', { skip: PLAIN_ONLY }, () => {
    test('one more gets its share at once', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await begin(t, { backend: specs(n1) });
        assert.deepEqual(await spread(gateway, 6), { n1: 6 });
        await gateway.reload({ ...TURNS, backend: specs(n1, n2) });
        assert.deepEqual(await spread(gateway, 10), { n1: 5, n2: 5 });
    });

    test('one less: its sessions and tunnels go on, then it is forgotten',
         async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await begin(t, { backend: specs(n1, n2) });
        const kept = await sessionAt(gateway, 'n2');
        const socket = await tunnelAt(gateway, [n1, n2], 'n2');
        await gateway.reload({ ...TURNS, backend: specs(n1) });
        assert.deepEqual(await spread(gateway, 10), { n1: 10 });
        await lives(gateway, kept);
        await echoes(socket);

        /* Not while it has a session, however long that is. */
        await new Promise((resolve) => setTimeout(resolve, 6500));
        await lives(gateway, kept);
        await echoes(socket);
        assert.deepEqual(gateway.told('backend_forgotten'), []);

        for (const sid of n2.sids)
            if (!n2.tunnels.has(sid))
                await poll(gateway, sid, { body: '1' });
        await new Promise((resolve) => setTimeout(resolve, 2500));
        await echoes(socket);
        assert.deepEqual(gateway.told('backend_forgotten'), []);
        socket.client.destroy();
        socket.upstream.destroy();
        await forgotten(gateway, 'n2');
        const metrics = await gateway.metrics();
        assert.deepEqual(['n1', 'n2'].map((id) =>
            counted(metrics, id) !== undefined), [true, false]);
        await isUnknown(gateway, kept);
    });

    test('one that is gone and comes back has its sessions and new ones',
         async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const both = { ...TURNS, backend: specs(n1, n2) };
        const gateway = await begin(t, both);
        const kept = await sessionAt(gateway, 'n2');
        for (let i = 0; i < 3; i++) {
            await gateway.reload({ ...TURNS, backend: specs(n1) });
            assert.deepEqual(await spread(gateway, 4), { n1: 4 });
            await lives(gateway, kept);
            await gateway.reload(both);
            assert.deepEqual(await spread(gateway, 4), { n1: 2, n2: 2 });
            await lives(gateway, kept);
        }
        assert.deepEqual(gateway.told('backend_moved'), []);
    });

    test('all others at once', async (t) => {
        const nodes = await startNodes(t, 'n1', 'n2', 'n3', 'n4');
        const gateway = await begin(t,
            { backend: specs(...nodes.slice(0, 2)) });
        const old = await Promise.all([1, 2, 3, 4].map(() => session(gateway)));
        await gateway.reload({ ...TURNS, backend: specs(...nodes.slice(2)) });
        assert.deepEqual(await spread(gateway, 6), { n3: 3, n4: 3 });
        for (const one of old)
            await lives(gateway, one);
    });

    test('other weights', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await begin(t, { backend: specs(n1, n2) });
        assert.deepEqual(await spread(gateway, 20), { n1: 10, n2: 10 });
        await gateway.reload({ ...TURNS, backend: [spec(n1, ',weight=4'),
                                                   spec(n2)] });
        assert.deepEqual(await spread(gateway, 20), { n1: 16, n2: 4 });
        await gateway.reload({ ...TURNS, backend: [spec(n1),
                                                   spec(n2, ',weight=3')] });
        assert.deepEqual(await spread(gateway, 20), { n1: 5, n2: 15 });
    });

    test('other limits of sessions', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const base = { ...TURNS, queue_length: 0 };
        const gateway = await begin(t, { ...base, backend: specs(n1, n2) });
        await gateway.reload({ ...base, backend: [spec(n1, ',max=2'),
                                                  spec(n2)] });
        assert.deepEqual(await spread(gateway, 8), { n1: 2, n2: 6 });
        await gateway.reload({ ...base, backend: specs(n1, n2),
                               max_sessions_per_backend: 7 });
        await gateway.settle();
        assert.deepEqual(await spread(gateway, 6), { n1: 5, n2: 1 });
        assert.equal((await exchange(gateway.port, handshakeRequest())).status,
                     503);
    });

    test('another way to balance', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const backend = specs(n1, n2);
        const gateway = await begin(t, { backend });
        await gateway.reload({ ...TURNS, backend, balance: 'hash',
                               hash_key: 'query:user' });
        await gateway.settle();
        const homes = await spread(gateway, 10, { query: '&user=joe' });
        assert.deepEqual(Object.values(homes), [10]);
        await gateway.reload({ ...TURNS, backend });
        await gateway.settle();
        assert.deepEqual(await spread(gateway, 10, { query: '&user=joe' }),
                         { n1: 5, n2: 5 });
    });

    test('`drain` in the file, and its end', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await begin(t, { backend: specs(n1, n2) });
        const kept = await sessionAt(gateway, 'n1');
        await gateway.reload({ ...TURNS, backend: [spec(n1, ',drain'),
                                                   spec(n2)] });
        assert.deepEqual(await spread(gateway, 6), { n2: 6 });
        await lives(gateway, kept);
        await gateway.reload({ ...TURNS, backend: specs(n1, n2) });
        assert.deepEqual(await spread(gateway, 6), { n1: 3, n2: 3 });
    });
});

/* A tunnel at the node `home`. */
async function tunnelAt(gateway, nodes, home)
{
    for (;;) {
        const one = await tunnel(gateway, nodes);
        if (one.home === home)
            return one;
        one.client.destroy();
    }
}

describe('a backend with another address', { skip: PLAIN_ONLY }, () => {
    /* n1 at its old server and then at a new one. */
    async function move(t, more = {})
    {
        const [old, next] = await startNodes(t, 'n1', 'n1');
        const gateway = await begin(t, { backend: specs(old), ...more });
        const kept = await session(gateway);
        const socket = await tunnel(gateway, [old]);
        await gateway.reload({ ...TURNS, backend: specs(next), ...more });
        return { old, next, gateway, kept, socket };
    }

    test('is told, and gets the new sessions', async (t) => {
        const { old, next, gateway } = await move(t);
        assert.match(gateway.told('backend_moved')[0], new RegExp(
            ` backend=n1 from=127.0.0.1:${old.port} ` +
            `to=127.0.0.1:${next.port}$`));
        const before = old.requests.length;
        const fresh = await session(gateway);
        assert.ok(next.sids.has(fresh.sid));
        assert.equal(old.requests.length, before);
        await lives(gateway, fresh);
    });

    test('the old sessions and tunnels are served by the old server',
         async (t) => {
        const { old, next, gateway, kept, socket } = await move(t);
        old.onPoll = (request, wire) => wire.send(
            'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n4old');
        for (let i = 0; i < 3; i++)
            assert.equal((await poll(gateway, kept.sid)).text, '4old');
        old.onPost = (request, wire) => {
            assert.equal(request.body.toString(), '4hello');
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        };
        assert.equal((await poll(gateway, kept.sid, { body: '4hello' })).text,
                     'ok');
        await echoes(socket);
        /* The new one was asked first, and denied it. */
        assert.ok(sessionsOf(next).includes(kept.sid));
        assert.ok((await gateway.metrics()).get('sidgate_rerouted_total') >= 4);
        assert.deepEqual(old.errors, []);
    });

    test('where the new server cannot be reached', async (t) => {
        const { next, gateway, kept } = await move(t);
        await next.stop();
        for (let i = 0; i < 3; i++)
            await lives(gateway, kept);
    });

    test('moves twice: sessions of all three', async (t) => {
        const [first, second, third] = await startNodes(t, 'n1', 'n1', 'n1');
        const gateway = await begin(t, { backend: specs(first) });
        const one = await session(gateway);
        await gateway.reload({ ...TURNS, backend: specs(second) });
        const two = await session(gateway);
        await gateway.reload({ ...TURNS, backend: specs(third) });
        const three = await session(gateway);
        assert.ok(first.sids.has(one.sid) && second.sids.has(two.sid) &&
                  third.sids.has(three.sid));
        for (let i = 0; i < 2; i++)
            for (const each of [one, two, three])
                await lives(gateway, each);
        /* And back to where the first one is. */
        await gateway.reload({ ...TURNS, backend: specs(first) });
        for (const each of [one, two, three])
            await lives(gateway, each);
    });

    test('a session that nobody has is unknown', async (t) => {
        const { old, gateway, kept } = await move(t);
        old.sids.delete(kept.sid);
        await isUnknown(gateway, kept);
        await isUnknown(gateway, kept);
        await session(gateway);
    });

    test('a drain by command stays with the id', async (t) => {
        const [old, next, n2] = await startNodes(t, 'n1', 'n1', 'n2');
        const gateway = await begin(t, { backend: specs(old, n2) });
        const kept = await sessionAt(gateway, 'n1');
        const { status } = await exchange(gateway.adminPort,
            'POST /api/v1/backends/n1/drain HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
            'Content-Length: 0\r\n\r\n', 'POST', { secure: false });
        assert.equal(status, 200);
        await gateway.reload({ ...TURNS, backend: specs(next, n2) });
        assert.deepEqual(await spread(gateway, 6), { n2: 6 });
        await lives(gateway, kept);
    });
});
