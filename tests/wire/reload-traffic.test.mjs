/* SPDX-License-Identifier: MIT */
/* Reloads while requests are under way, and many of them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { bytesFor, configured, echoes, lives, poll, pollBytes, session,
         sessionAt, spec, specs, spread, startNodes, tunnel }
    from '../support/configured.mjs';
import { handshakeRequest, openPacket } from '../support/engine.mjs';
import { descriptors, isSanitized, statusBytes }
    from '../support/process.mjs';
import { eventually, exchange, gate, PLAIN_ONLY } from '../support/wire.mjs';

const BASE = { workers: 2, balance: 'round-robin' };
/* Limits that would refuse what is under way below. */
const NARROW = { max_body: 10, max_head: 1024, max_request_line: 512,
                 max_head_fields: 8,
                 response_timeout: '50ms', body_timeout: '50ms',
                 write_timeout: '50ms', head_timeout: '50ms',
                 keepalive_timeout: '50ms' };

/* A gateway before two nodes, of which n2 goes and comes; three reloads each
 * time, the first of which takes n2 and narrows every limit. */
async function begin(t, more)
{
    const [n1, n2] = await startNodes(t, 'n1', 'n2');
    const both = { ...BASE, backend: specs(n1, n2), ...more };
    const gateway = await configured(t, both);
    const turn = async (narrow = {}) => {
        await gateway.reload({ ...BASE, backend: specs(n1), ...narrow });
        await gateway.settle();
        await gateway.reload({ ...both, max_body: 20 });
        await gateway.reload({ ...BASE, backend: specs(n1), ...narrow });
        await gateway.settle();
    };
    return { n1, n2, both, gateway, turn };
}

describe('a reload', { skip: PLAIN_ONLY }, () => {
    test('during a held poll', async (t) => {
        const { n2, gateway, turn } = await begin(t);
        const one = await sessionAt(gateway, 'n2');
        const held = gate();
        n2.onPoll = async (request, wire) => {
            await held.opened;
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n4held');
        };
        const wire = await gateway.open();
        n2.requests = [];
        wire.send(pollBytes(one.sid));
        await n2.request(0);
        await turn(NARROW);
        held.open();
        assert.equal((await wire.response()).text, '4held');
    });

    test('during a poll whose session is then closed', async (t) => {
        const { n2, gateway, turn } = await begin(t);
        const one = await sessionAt(gateway, 'n2');
        let held;
        n2.onPoll = (request, wire) => (held = wire);
        n2.onPost = (request, wire) => {
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
            held.send('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n6');
        };
        n2.requests = [];
        const wire = await gateway.open();
        wire.send(pollBytes(one.sid));
        await n2.request(0);
        await turn();
        assert.equal((await poll(gateway, one.sid, { body: '1' })).text, 'ok');
        assert.equal((await wire.response()).text, '6');
    });

    for (const size of [30_000, 3_000_000])
        test(`during a body of ${size}`, async (t) => {
            const { n2, gateway, turn } = await begin(t);
            const one = await sessionAt(gateway, 'n2');
            const body = Array.from({ length: size },
                (_, i) => String.fromCharCode(97 + i % 26)).join('');
            let got;
            n2.onPost = (request, wire) => {
                got = request.body.toString('latin1');
                wire.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
            };
            const wire = await gateway.open();
            const bytes = pollBytes(one.sid, { method: 'POST', body });
            wire.send(bytes.slice(0, size / 2));
            /* It has begun, and keeps what it began with. */
            await gateway.settle();
            await turn({ max_body: 10, max_head: 1024,
                         max_request_line: 512 });
            wire.send(bytes.slice(size / 2));
            const answer = await wire.response('POST');
            assert.deepEqual([answer.status, answer.text], [200, 'ok']);
            assert.ok(got === body);
        });

    test('during a slow response', async (t) => {
        const { n2, both, gateway, turn } = await begin(t);
        const one = await sessionAt(gateway, 'n2');
        const begun = gate();
        let upstream;
        n2.onPoll = (request, wire) => {
            upstream = wire;
            wire.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
                '5\r\nfirst\r\n');
            begun.open();
        };
        const wire = await gateway.open();
        wire.send(pollBytes(one.sid));
        await begun.opened;
        assert.equal((await wire.head()).status, 200);
        for (let i = 0; i < 3; i++) {
            await turn(NARROW);
            upstream.send(`4\r\nmore\r\n`);
            await wire.upTo('more');
        }
        await gateway.reload(both);
        await gateway.settle();
        upstream.send('3\r\nend\r\n0\r\n\r\n');
        await wire.upTo('end\r\n0\r\n\r\n');
        n2.onPoll = (request, to) => to.send(
            'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n6x');
        wire.send(pollBytes(one.sid));
        assert.equal((await wire.response()).text, '6x');
    });

    test('during a handshake: its session is where it began', async (t) => {
        const { n1, n2, gateway, both, turn } = await begin(t);
        const asked = gate();
        let upstream;
        n1.onHandshake = n2.onHandshake = (request, wire) => {
            upstream = upstream ?? wire;
            asked.open();
        };
        /* The second one is n2's. */
        await gateway.reload({ ...BASE, backend: specs(n2) });
        const wire = await gateway.open();
        wire.send(handshakeRequest());
        await asked.opened;
        await gateway.reload(both);
        await turn();
        const sid = 'n2.0123456789abcdef';
        n2.sids.add(sid);
        const body = openPacket(sid);
        upstream.send('HTTP/1.1 200 OK\r\n' +
            `Content-Length: ${body.length}\r\n\r\n${body}`);
        assert.equal((await wire.response()).text, body);
        await lives(gateway, { sid, home: 'n2' });
    });

    test('between the bytes of a head', async (t) => {
        const long = { head_timeout: '5m' };
        const { gateway, turn } = await begin(t, long);
        const wire = await gateway.open();
        const bytes = bytesFor('/x');
        for (const byte of bytes.slice(0, 4)) {
            wire.send(byte);
            await turn(long);
        }
        wire.send(bytes.slice(4));
        assert.equal((await wire.response()).status, 200);
    });

    test('with tunnels and idle connections', async (t) => {
        const { n1, n2, gateway, turn } = await begin(t);
        const tunnels = [];
        for (let i = 0; i < 6; i++)
            tunnels.push(await tunnel(gateway, [n1, n2]));
        assert.ok(tunnels.some(({ home }) => home === 'n2'));
        const idle = await gateway.open();
        for (let i = 0; i < 4; i++) {
            await turn({ max_body: 10, max_connections: 2 });
            for (const one of tunnels)
                await echoes(one, `${i}`.repeat(100));
            idle.send(bytesFor('/x'));
            assert.equal((await idle.response()).status, 200);
        }
    });
});

describe('many reloads', { skip: PLAIN_ONLY }, () => {
    test('a signal that comes while one is under way is not lost',
         async (t) => {
        const { n1, n2, gateway } = await begin(t);
        for (let i = 0; i < 15; i++) {
            const [one, two] = i % 2 ? [n1, n2] : [n2, n1];
            const before = gateway.told('reloaded').length;
            gateway.write({ ...BASE, backend: specs(one) });
            process.kill(gateway.pid, 'SIGHUP');
            await eventually(() => gateway.told('reloaded').length > before,
                             'the first');
            gateway.write({ ...BASE, backend: specs(two) });
            process.kill(gateway.pid, 'SIGHUP');
            await eventually(() =>
                gateway.told('reloaded').length === before + 2, 'the second');
            assert.deepEqual(await spread(gateway, 2), { [two.id]: 2 });
        }
    });

    test('one by `ctl` while another is under way is refused, and harmless',
         async (t) => {
        const { gateway } = await begin(t);
        const post = () => exchange(gateway.adminPort,
            'POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
            'Content-Length: 0\r\n\r\n', 'POST', { secure: false });
        let refused = 0;
        for (let i = 0; i < 10; i++)
            for (const { status, text } of
                await Promise.all([post(), post(), post()]))
                if (status !== 200) {
                    assert.match(text, /another reload is still under way/);
                    refused++;
                }
        assert.ok(refused > 0);
        await eventually(() => gateway.told('reload_failed').length ===
            refused, `${refused} refusals`);
        await gateway.settle();
        await session(gateway);
    });

    test('as quickly as they come: nothing fails, the last one is in effect',
         async (t) => {
        const { n1, n2, gateway } = await begin(t);
        const [n3] = await startNodes(t, 'n3');
        const all = [n1, n2, n3];
        let isOver = false;
        let count = 0;
        const traffic = async () => {
            const wire = await gateway.open();
            while (!isOver) {
                const one = await session(gateway);
                for (let i = 0; i < 3; i++, count++) {
                    wire.send(pollBytes(one.sid));
                    const { status, text } = await wire.response();
                    assert.deepEqual([status, text], [200, `4${one.home}`]);
                    await lives(gateway, one);
                }
                wire.history = [];
            }
        };
        const runs = [traffic(), traffic(), traffic()];
        const failed = Promise.all(runs);
        failed.catch(() => {});
        const socket = await tunnel(gateway, all);
        for (let i = 0; i < 150; i++) {
            const two = all.filter((_, n) => n !== i % 3);
            gateway.write({ ...BASE, max_body: 100 + i,
                backend: [spec(two[0], `,weight=${1 + i % 9}`), spec(two[1])],
                balance: i % 2 ? 'random-two' : 'round-robin' });
            process.kill(gateway.pid, 'SIGHUP');
            await new Promise((resolve) => setTimeout(resolve, i % 20));
            if (i % 10 === 0)
                await echoes(socket);
        }
        gateway.write({ ...BASE, backend: specs(n3) });
        process.kill(gateway.pid, 'SIGHUP');
        /* Lines of earlier ones may still come, so they do not say when the
         * last one is done. */
        await eventually(async () =>
            JSON.stringify(await spread(gateway, 8)) === '{"n3":8}',
                         'the last one in effect', 20_000);
        await gateway.settle();
        await Promise.race([failed, eventually(() => count > 20,
                                               'twenty rounds', 60_000)]);
        isOver = true;
        await failed;
        assert.deepEqual(await spread(gateway, 8), { n3: 8 });
        await echoes(socket);
        assert.deepEqual(gateway.told('reload_failed'), []);
    });

    test('a hundred: neither memory nor descriptors grow', async (t) => {
        const { n1, n2, gateway } = await begin(t);
        const one = await session(gateway);
        const socket = await tunnel(gateway, [n1, n2]);
        const some = async (count) => {
            for (let i = 0; i < count; i++) {
                await gateway.reload({ ...BASE, max_body: 1000 + i,
                    listen: ['127.0.0.1:0'],
                    backend: i % 2 ? specs(n1) : specs(n1, n2),
                    balance: i % 3 ? 'hash' : 'round-robin',
                    pools: i % 4 < 2 ? [] : [{ name: 'other', host: 'other',
                                               backend: specs(n1) }] });
                assert.equal((await poll(gateway, one.sid)).status, 200);
                await session(gateway);
                if (i % 4 >= 2)
                    await session(gateway, { host: 'other' });
            }
        };
        await some(30);
        await gateway.settle();
        const fds = descriptors(gateway.pid).length;
        const rss = statusBytes(gateway.pid, 'VmRSS');
        await some(100);
        await gateway.settle();
        await echoes(socket);
        await eventually(() => descriptors(gateway.pid).length <= fds + 4,
            `${fds} descriptors`, 10_000);
        const growth = statusBytes(gateway.pid, 'VmRSS') - rss;
        if (!isSanitized(gateway.pid))
            assert.ok(growth < 2 << 20, `${growth} bytes more`);
        assert.deepEqual(gateway.told('reload_failed'), []);
    });
});
