/* SPDX-License-Identifier: MIT */
/* Which pool a request is for: by host and path; and canaries. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { bytesFor, configured, isUnknown, lives, poll, session, shake, spec,
         specs, spread, startNodes, tunnel } from '../support/configured.mjs';
import { ok } from '../support/backend.mjs';
import { eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;

/* Names who answers what is not Engine.IO's. */
function namesItself(node)
{
    const engine = node.fallback;
    node.handler = node.fallback = (request, wire) => {
        const at = request.target.split('?')[0];
        if (request.target.includes('EIO=') || request.method === 'PUT')
            return engine(request, wire);
        wire.send(ok(`${node.id} ${at}`));
        return undefined;
    };
}

async function named(t, ...ids)
{
    const nodes = await startNodes(t, ...ids);
    nodes.forEach(namesItself);
    return nodes;
}

describe('hosts and paths', { skip }, () => {
    /* Pools by their node's id; the first is everybody's. */
    async function begin(t, pools, first = {})
    {
        const nodes = await named(t, 'first', ...Object.keys(pools));
        const gateway = await configured(t, {
            workers: 2, ...first, backend: specs(nodes[0]),
            pools: Object.entries(pools).map(([name, pool], i) =>
                ({ name: `p-${name}`, backend: specs(nodes[i + 1]), ...pool })),
        });
        const goes = async (cases) => {
            for (const [host, path, home] of cases) {
                const answer = await shake(gateway, { host, path });
                assert.equal(answer.home, home, `${host}${path}`);
                await lives(gateway, answer, { host, path });
            }
        };
        const others = async (cases) => {
            for (const [host, target, home] of cases) {
                const { status, text } = await exchange(gateway.port,
                    bytesFor(target, { host }));
                assert.deepEqual([status, text.split(' ')[0]],
                    home ? [200, home] : [404, '404'], `${host}${target}`);
            }
        };
        return { gateway, nodes, goes, others };
    }
    const EIO = '/socket.io/';

    test('a host, with a port, in any case, with a dot', async (t) => {
        const { goes } = await begin(t, {
            a: { host: 'a.example' }, b: { host: ['b.example', 'B2.example'] },
            six: { host: '[::1]' } });
        await goes([
            ['a.example', EIO, 'a'], ['A.Example', EIO, 'a'],
            ['a.example:8080', EIO, 'a'], ['a.example.', EIO, 'a'],
            ['a.example.:80', EIO, 'a'], ['b.example', EIO, 'b'],
            ['b2.example:1', EIO, 'b'], ['[::1]', EIO, 'six'],
            ['[::1]:8080', EIO, 'six'], ['x.a.example', EIO, 'first'],
            ['aa.example', EIO, 'first'], ['a.example.org', EIO, 'first'],
            ['127.0.0.1', EIO, 'first'],
        ]);
    });

    test('all hosts below one; the more exact wins', async (t) => {
        const { goes } = await begin(t, {
            wild: { host: '*.example' }, deep: { host: '*.x.example' },
            one: { host: 'one.x.example' } });
        await goes([
            ['a.example', EIO, 'wild'], ['a.b.example:80', EIO, 'wild'],
            ['x.example', EIO, 'wild'], ['A.X.Example', EIO, 'deep'],
            ['a.b.x.example', EIO, 'deep'], ['one.x.example', EIO, 'one'],
            ['two.one.x.example', EIO, 'deep'], ['example', EIO, 'first'],
            ['.example', EIO, 'first'], ['xexample', EIO, 'first'],
        ]);
    });

    test('the longest path; the host before the path', async (t) => {
        const { goes } = await begin(t, {
            v2: { path: '/socket.io/v2/' }, deep: { path: '/socket.io/v2/x/' },
            own: { path: ['/own/', '/more/'] },
            a: { host: 'a.example', path: '/socket.io/', prefix: '' } });
        await goes([
            ['h', '/socket.io/', 'first'], ['h', '/socket.io/v2', 'first'],
            ['h', '/socket.io/v2/', 'v2'], ['h', '/socket.io/v2/x', 'v2'],
            ['h', '/socket.io/v2/x/y', 'deep'], ['h', '/own/', 'own'],
            ['h', '/more/', 'own'], ['h', '/engine.io/', 'first'],
            ['a.example', '/socket.io/v2/', 'a'],
            ['a.example', '/own/', 'own'],
            ['h', '/socket.io/%76%32/', 'v2'],
        ]);
    });

    test('a target in absolute form', async (t) => {
        const { gateway, nodes } = await begin(t,
                                               { a: { host: 'a.example' } });
        const one = await exchange(gateway.port, bytesFor(
            'http://a.example/socket.io/?EIO=4&transport=polling',
            { host: 'a.example' }));
        assert.equal(one.status, 200);
        assert.equal(nodes[1].requests.length, 1);
        assert.equal(nodes[0].requests.length, 0);
    });

    test('a prefix for other requests', async (t) => {
        const { others } = await begin(t, {
            a: { host: 'a.example' },
            app: { prefix: '/app', path: '/app/io/' },
            deep: { prefix: '/app/x/', path: '/y/' },
            none: { host: 'none.example', prefix: '' } });
        await others([
            ['h', '/', 'first'], ['h', '/x', 'first'], ['h', '/app', 'app'],
            ['h', '/app/y', 'app'], ['h', '/app/x/y', 'deep'],
            ['a.example', '/', 'a'], ['a.example', '/app', 'a'],
            ['h', '/y/', 'deep'], ['none.example', '/z', 'first'],
        ]);
    });

    test('nobody\'s', async (t) => {
        const { gateway, others, goes, nodes } = await begin(t, {
            a: { host: 'a.example', path: '/socket.io/' } },
            { host: 'first.example', prefix: '/only/' });
        await others([
            ['first.example', '/only/x', 'first'],
            ['first.example', '/x', null], ['h', '/x', null],
            ['h', '/only/x', null],
        ]);
        await goes([['first.example', EIO, 'first'],
                    ['a.example', EIO, 'a']]);
        const sent = () => nodes.map(({ requests }) => requests.length);
        const before = sent();
        for (const host of ['h', 'b.example']) {
            assert.equal((await shake(gateway, { host })).status, 404);
            assert.equal((await poll(gateway, 'x'.repeat(20),
                                     { host })).status, 404);
        }
        const wire = await gateway.open();
        wire.send(bytesFor('/x', { host: 'b.example' }));
        assert.equal((await wire.response()).status, 404);
        /* The connection is good for another. */
        wire.send(bytesFor('/only/x', { host: 'first.example' }));
        assert.equal((await wire.response()).status, 200);
        assert.deepEqual(sent(), [before[0] + 1, before[1]]);
    });

    test('one connection for all pools', async (t) => {
        const { gateway } = await begin(t, { a: { host: 'a.example' },
                                             b: { host: 'b.example' } });
        const wire = await gateway.open();
        for (let i = 0; i < 9; i++) {
            const home = ['first', 'a', 'b'][i % 3];
            wire.send(bytesFor('/who', { host: `${home}.example` }));
            assert.equal((await wire.response()).text, `${home} /who`);
        }
    });

    test('a websocket', async (t) => {
        const { gateway, nodes } = await begin(t, { a: { host: 'a.example' } });
        for (const [host, home] of [['a.example', 'a'], ['h', 'first']]) {
            const one = await tunnel(gateway, nodes, { host });
            assert.equal(one.home, home);
        }
    });
});

describe('a canary', { skip }, () => {
    async function begin(t, canary, more = {})
    {
        const [old, fresh] = await startNodes(t, 'old', 'fresh');
        const gateway = await configured(t, {
            workers: 2, backend: specs(old), canary, ...more,
            pools: [{ name: 'next', backend: specs(fresh) }],
        });
        return { old, fresh, gateway };
    }

    test('gets its percentage', async (t) => {
        const { gateway } = await begin(t, 'next,percent=30');
        const { fresh = 0, old } = await spread(gateway, 400);
        assert.equal(fresh + old, 400);
        /* Five standard deviations, about. */
        assert.ok(Math.abs(fresh - 120) < 46, `${fresh} of 400`);
    });

    for (const [percent, wanted] of [[0, { old: 60 }], [100, { fresh: 60 }]])
        test(`gets ${percent} percent exactly`, async (t) => {
            const { gateway } = await begin(t, `next,percent=${percent}`);
            assert.deepEqual(await spread(gateway, 60), wanted);
        });

    test('gets all with a header of this value', async (t) => {
        const { gateway } = await begin(
            t, 'next,percent=0,header=X-Canary:yes');
        const at = (fields) => session(gateway, { fields });
        for (const [fields, home] of [
            ['X-Canary: yes\r\n', 'fresh'], ['x-canary:yes\r\n', 'fresh'],
            ['X-CANARY:  yes  \r\n', 'fresh'], ['X-Canary: no\r\n', 'old'],
            ['X-Canary: YES\r\n', 'old'], ['X-Canary: yes!\r\n', 'old'],
            ['X-Canary: ye\r\n', 'old'], ['X-Canary:\r\n', 'old'],
            ['X-Canar: yes\r\n', 'old'], ['', 'old'],
            ['X-Canary: no\r\nX-Canary: yes\r\n', 'fresh'],
        ])
            for (let i = 0; i < 4; i++)
                assert.equal((await at(fields)).home, home, fields);
    });

    test('keeps its sessions, whatever later requests carry', async (t) => {
        const { gateway, old, fresh } = await begin(
            t, 'next,percent=50,header=x-canary:yes');
        const fields = 'X-Canary: yes\r\n';
        const sessions = [];
        for (let i = 0; i < 20; i++)
            sessions.push(await session(gateway));
        assert.ok(new Set(sessions.map(({ home }) => home)).size === 2);
        for (const one of sessions)
            for (const more of ['', fields, 'X-Canary: no\r\n'])
                await lives(gateway, one, { fields: more });
        const socket = await tunnel(gateway, [old, fresh], { fields });
        assert.equal(socket.home, 'fresh');
        assert.deepEqual([...old.probes, ...fresh.probes], []);
    });

    test('its sessions are found by asking', async (t) => {
        const { gateway, fresh } = await begin(t, 'next,percent=0');
        const sid = 'fresh.0123456789abcdef';
        fresh.sids.add(sid);
        await lives(gateway, { sid, home: 'fresh' });
        await eventually(() => gateway.told('session_recovered').length > 0,
                         'it is told');
        assert.equal(gateway.told('session_recovered').length, 1);
    });

    test('without a backend that takes it: the pool\'s own', async (t) => {
        const { gateway, fresh } = await begin(t, 'next,percent=100');
        assert.deepEqual(await spread(gateway, 4), { fresh: 4 });
        await fresh.stop();
        assert.deepEqual(await spread(gateway, 10), { old: 10 });
    });

    test('that is drained, or full: the pool\'s own', async (t) => {
        const { old, fresh, gateway } = await begin(t, 'next,percent=100');
        const next = (backend) => gateway.reload({ workers: 2,
            backend: specs(old), canary: 'next,percent=100',
            pools: [{ name: 'next', backend }] });
        await next(spec(fresh, ',drain'));
        assert.deepEqual(await spread(gateway, 4), { old: 4 });
        await next(spec(fresh, ',max=3'));
        assert.deepEqual(await spread(gateway, 8), { fresh: 3, old: 5 });
    });

    test('that is taken back: its sessions go on', async (t) => {
        const { old, fresh, gateway } = await begin(t, 'next,percent=100');
        const kept = await session(gateway);
        assert.equal(kept.home, 'fresh');
        /* The pool stays, or goes too. */
        const pools = [{ name: 'next', host: 'next', backend: specs(fresh) }];
        for (const more of [{ pools }, {}, {}]) {
            await gateway.reload({ workers: 2, backend: specs(old), ...more });
            await gateway.settle();
            assert.deepEqual(await spread(gateway, 4), { old: 4 });
            await lives(gateway, kept);
        }
        await poll(gateway, kept.sid, { body: '1' });
        fresh.sids.delete(kept.sid);
        await isUnknown(gateway, kept);
        await eventually(() => gateway.told('backend_forgotten').length === 1,
            'forgotten', 20_000);
    });
});
