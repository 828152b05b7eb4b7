/* SPDX-License-Identifier: MIT */
/* An upgrade of the gateway and connections that speak HTTP: what the old
 * process has begun it ends, and the next request is the new one's. */

import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ok } from '../support/backend.mjs';
import { parameters, sidRequest } from '../support/engine.mjs';
import { closeFrame, frame, TEXT } from '../support/frames.mjs';
import { connect, folderOf, gone, isGone, openSession, openTunnel, polls,
         upgradable } from '../support/handover.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const PLAIN = { secure: false };
const TLS = { secure: true };
const LISTEN = ['127.0.0.1:0'];

const start = (t, more) => upgradable(t, { listen: LISTEN, ...more });
const get = (target, fields = '') =>
    `GET ${target} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;

/* A poll that is held: {wire, sid}. */
async function holdPoll({ gateway, backends }, more = PLAIN)
{
    const wire = await connect(gateway.port, more);
    const sid = await openSession(gateway.port, { wire });
    const held = () => backends.reduce((sum, one) => sum + one.held.length, 0);
    const before = held();
    wire.send(sidRequest(sid, { more: '&n=1&wait=held' }));
    await eventually(() => held() > before, 'the poll is held');
    return { wire, sid };
}

async function answers(wire, sid, n = 2)
{
    wire.send(sidRequest(sid, { more: `&n=${n}` }));
    const { status, text } = await wire.response();
    assert.match(`${status} ${text}`, new RegExp(`^200 4n\\d ${n}$`));
}

describe('requests under way', () => {
    test('held polls end where they are, their connections go on',
         async (t) => {
        const world = await start(t, { count: 2 });
        const all = [];
        for (let i = 0; i < 8; i++)
            all.push(await holdPoll(world));
        const old = await world.gateway.upgrade();
        /* Each may be sent to meanwhile. */
        for (const { sid } of all)
            assert.equal((await exchange(world.gateway.port,
                sidRequest(sid, { method: 'POST', body: '4x' }), 'POST',
                PLAIN)).status, 200);
        await sleep(300);
        assert.ok(!isGone(old));
        world.backends.forEach((backend) => backend.letGo());
        for (const { wire } of all) {
            const answer = await wire.response();
            assert.match(answer.text, /^4n\d 1$/);
            assert.doesNotMatch(answer.all('connection').join(), /close/);
        }
        await gone(old, 9000);
        for (const { wire, sid } of all)
            await answers(wire, sid);
        assert.ok(world.backends.every(({ probes }) => probes.length === 0));
    });

    test('a poll that is held through three upgrades', async (t) => {
        const world = await start(t);
        const { wire, sid } = await holdPoll(world);
        const old = [];
        for (let i = 0; i < 3; i++)
            old.push(await world.gateway.upgrade());
        await gone(old[1]);
        await gone(old[2]);
        assert.ok(!isGone(old[0]));
        world.backend.letGo();
        assert.equal((await wire.response()).text, '4n1 1');
        await eventually(() => isGone(old[0]) || wire.over, 'an end');
        assert.ok(isGone(old[0]));
    });

    test('a session that ends in an old process is gone in the new one',
         async (t) => {
        const world = await start(t);
        const { wire, sid } = await holdPoll(world);
        const old = await world.gateway.upgrade();
        assert.equal(await world.gateway.sessions(), 1);
        world.backend.onPoll = (request, to) => to.send(ok('1'));
        world.backend.letGo();
        await wire.response();
        await gone(old);
        await exchange(world.gateway.port,
                       sidRequest(sid, { method: 'POST', body: '1' }), 'POST',
                       PLAIN);
        await eventually(async () => await world.gateway.sessions() === 0,
                         'unbound');
    });

    test('a body half sent', async (t) => {
        const world = await start(t);
        const wire = await connect(world.gateway.port, PLAIN);
        const sid = await openSession(world.gateway.port, { wire });
        const body = 'b'.repeat(300_000);
        const bytes = sidRequest(sid, { method: 'POST', body });
        wire.send(bytes.slice(0, 150_000));
        await eventually(() => world.backend.received.includes('POST '),
                         'it is on its way');
        const old = await world.gateway.upgrade();
        await sleep(200);
        assert.ok(!isGone(old));
        wire.send(bytes.slice(150_000));
        const answer = await wire.response('POST');
        assert.equal(answer.text, 'ok');
        assert.equal(world.backend.requests.at(-1).body.length, body.length);
        await gone(old, 9000);
        await answers(wire, sid);
    });

    test('a response half sent', async (t) => {
        const world = await start(t);
        const go = [];
        world.backend.onPoll = async (request, to) => {
            to.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst');
            await new Promise((resolve) => go.push(resolve));
            to.send('later');
        };
        const wire = await connect(world.gateway.port, PLAIN);
        const sid = await openSession(world.gateway.port, { wire });
        wire.send(sidRequest(sid));
        await wire.until(() => wire.buffer.includes('first'), 'a half');
        const old = await world.gateway.upgrade();
        go[0]();
        assert.equal((await wire.response()).text, 'firstlater');
        await gone(old, 9000);
    });

    test('a slow reader of a large answer', async (t) => {
        const world = await start(t);
        const body = 'r'.repeat(12_000_000);
        world.backend.onPoll = (request, to) => to.send(ok(body));
        const wire = await connect(world.gateway.port, PLAIN);
        const sid = await openSession(world.gateway.port, { wire });
        wire.socket.pause();
        wire.send(sidRequest(sid));
        await world.backend.request(1);
        await sleep(200);
        const old = await world.gateway.upgrade();
        wire.socket.resume();
        assert.equal((await wire.response('GET', 20_000)).text, body);
        await gone(old, 9000);
        wire.send(sidRequest(sid));
        await wire.response('GET', 20_000);
    });

    test('pipelined requests, all answered in order', async (t) => {
        const world = await start(t);
        const wire = await connect(world.gateway.port, PLAIN);
        const sid = await openSession(world.gateway.port, { wire });
        for (let i = 0; i < 40; i++)
            wire.send(sidRequest(sid, { more: `&n=${i}&wait=20` }));
        await sleep(100);
        await world.gateway.upgrade();
        await world.gateway.upgrade();
        for (let i = 0; i < 40; i++)
            assert.equal((await wire.response()).text, `4n1 ${i}`);
        await answers(wire, sid);
    });
});

describe('connections between requests', () => {
    test('idle ones, also those without a first request', async (t) => {
        const world = await start(t);
        const fresh = [];
        const used = [];
        for (let i = 0; i < 20; i++) {
            fresh.push(await connect(world.gateway.port, PLAIN));
            const wire = await connect(world.gateway.port, PLAIN);
            const sid = await openSession(world.gateway.port, { wire });
            used.push({ wire, sid });
        }
        for (let i = 0; i < 2; i++) {
            await gone(await world.gateway.upgrade(), 9000);
            for (const { wire, sid } of used)
                await answers(wire, sid, i);
        }
        for (const wire of fresh)
            await answers(wire, await openSession(world.gateway.port,
                                                  { wire }));
    });

    test('a half-read head, cut anywhere', async (t) => {
        const world = await start(t, { args: ['--head-timeout', '60s'] });
        const sid = await openSession(world.gateway.port, PLAIN);
        const bytes = sidRequest(sid, { more: '&n=7' });
        const all = [];
        for (let at = 1; at < bytes.length; at += 3) {
            const wire = await connect(world.gateway.port, PLAIN);
            wire.send(bytes.slice(0, at));
            all.push([wire, at]);
        }
        await sleep(50);
        await gone(await world.gateway.upgrade(), 9000);
        for (const [wire, at] of all) {
            wire.send(bytes.slice(at));
            assert.equal((await wire.response()).text, '4n1 7');
        }
    });

    test('a half-read head has no time for ever', async (t) => {
        const world = await start(t, { args: ['--head-timeout', '1s'] });
        const wire = await connect(world.gateway.port, PLAIN);
        wire.send('GET / HT');
        await sleep(50);
        await world.gateway.upgrade();
        assert.equal((await wire.response()).status, 408);
    });

    test('an answer that closes is not taken back', async (t) => {
        const world = await start(t);
        const all = [];
        for (let i = 0; i < 5; i++) {
            const wire = await connect(world.gateway.port, PLAIN);
            wire.send('BAD\r\n\r\n');
            all.push(wire);
        }
        const old = await world.gateway.upgrade();
        for (const wire of all) {
            assert.equal((await wire.response()).status, 400);
            assert.equal(await wire.ended(), 'fin');
            assert.equal(wire.buffer.length, 0);
        }
        await gone(old, 9000);
    });

    test('HTTP/1.0, closed and kept alive', async (t) => {
        const world = await start(t);
        const { gateway } = world;
        const sid = await openSession(gateway.port, PLAIN);
        const bytes = (more, fields = '') => sidRequest(sid,
            { more, fields }).replace('HTTP/1.1', 'HTTP/1.0');
        const closing = await connect(gateway.port, PLAIN);
        const kept = await connect(gateway.port, PLAIN);
        kept.send(bytes('&n=1', 'Connection: keep-alive\r\n'));
        await kept.response();
        closing.send(bytes('&n=2&wait=held'));
        await eventually(() => world.backend.held.length === 1, 'held');
        await gateway.upgrade();
        world.backend.letGo();
        assert.equal((await closing.response()).text, '4n1 2');
        assert.equal(await closing.ended(), 'fin');
        kept.send(bytes('&n=3', 'Connection: keep-alive\r\n'));
        assert.equal((await kept.response()).text, '4n1 3');
    });

    test('the number of requests of a connection goes on', async (t) => {
        const world = await start(t, {
            args: ['--max-requests-per-connection', '3'] });
        const wire = await connect(world.gateway.port, PLAIN);
        const sid = await openSession(world.gateway.port, { wire });
        await answers(wire, sid);
        await world.gateway.upgrade();
        await answers(wire, sid);
        assert.equal(await wire.ended(), 'fin');
    });

    test('a client that is gone is not missed', async (t) => {
        const world = await start(t);
        for (let i = 0; i < 6; i++) {
            const wire = await connect(world.gateway.port, PLAIN);
            const mark = i === 3 ? world.gateway.begin() : 0;
            if (i % 2)
                wire.reset();
            else
                wire.finish();
            if (i === 3)
                await world.gateway.succeeds(mark);
        }
        await eventually(async () =>
            await world.gateway.metric('sidgate_connections') === 0, 'none');
    });
});

describe('listeners of other kinds', () => {
    test('redirects', async (t) => {
        const { gateway } = await start(t, {
            listen: ['127.0.0.1:0', '127.0.0.2:0,redirect=8443'],
            args: ['--head-timeout', '60s'] });
        const there = { ...PLAIN, host: '127.0.0.2' };
        const wire = await connect(gateway.ports[1], there);
        wire.send('GET /a?b HT');
        await sleep(50);
        await gateway.upgrade();
        wire.send('TP/1.1\r\nHost: h\r\n\r\n');
        for (const answer of [await wire.response(), await exchange(
            gateway.ports[1], get('/a?b'), 'GET', there)]) {
            assert.equal(answer.status, 308);
            assert.equal(answer.get('location'), 'https://h:8443/a?b');
        }
    });

    test('the PROXY protocol', async (t) => {
        const world = await start(t, {
            listen: ['127.0.0.1:0', '127.0.0.2:0,proxy'],
            args: ['--trusted-proxy', '127.0.0.0/8',
                   '--head-timeout', '60s'] });
        const { gateway, backend } = world;
        const hello = 'PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n';
        const [, port] = gateway.ports;
        const there = { ...PLAIN, host: '127.0.0.2' };
        const half = await connect(port, there);
        half.send(hello.slice(0, 20));
        const idle = await connect(port, there);
        idle.send(hello);
        const sid = await openSession(port, { wire: idle });
        const old = await gateway.upgrade();
        await answers(idle, sid);
        half.send(hello.slice(20));
        await answers(half, sid);
        const fresh = await connect(port, there);
        fresh.send(hello);
        await answers(fresh, sid);
        for (const request of backend.requests)
            assert.equal(request.get('x-forwarded-for'), '192.0.2.7');
        await gone(old, 9000);
    });

    test('unix sockets: the file stays until the last process\'s end',
         async (t) => {
        const file = path.join(folderOf(t), 'in.sock');
        const world = await start(t, {
            listen: ['127.0.0.1:0', `unix:${file},mode=0640`] });
        const { gateway } = world;
        const wire = await connect(0, { ...PLAIN, path: file });
        const sid = await openSession(0, { wire });
        const { ino, mode } = statSync(file);
        for (let i = 0; i < 2; i++) {
            await gone(await gateway.upgrade(), 9000);
            assert.equal(statSync(file).ino, ino);
            assert.equal(statSync(file).mode, mode);
            await answers(wire, sid);
            await polls(0, sid, { ...PLAIN, path: file });
        }
        await gateway.end();
        assert.ok(!existsSync(file));
    });
});

describe('TLS, whose connections stay where they are', () => {
    const secure = { listen: ['127.0.0.1:0,tls', '127.0.0.2:0'] };

    test('websockets and polls go on, and the old one ends with them',
         async (t) => {
        const world = await start(t, secure);
        const { gateway } = world;
        const tunnel = await openTunnel(gateway.port, TLS);
        const { wire, sid } = await holdPoll(world, TLS);
        const idle = await connect(gateway.port, TLS);
        const old = await gateway.upgrade();
        const bytes = frame(TEXT, 'over TLS', { mask: true });
        tunnel.send(bytes);
        assert.deepEqual(await tunnel.bytes(bytes.length), bytes);
        world.backend.letGo();
        const answer = await wire.response();
        assert.equal(answer.text, '4n1 1');
        /* What comes next is the new process's. */
        assert.match(answer.all('connection').join(), /close/);
        assert.equal(await wire.ended(), 'fin');
        wire.finish();
        await polls(gateway.port, sid, TLS);
        await answers(idle, sid);
        assert.equal(await idle.ended(), 'fin');
        idle.finish();
        assert.equal(await gateway.metric('sidgate_tunnels'), 0);
        assert.ok(!isGone(old));
        tunnel.destroy();
        await gone(old, 10_000);
        await eventually(async () => await gateway.sessions() === 1,
                         'the tunnel\'s session is unbound');
    });

    test('--upgrade-timeout ends them with 1001', async (t) => {
        const world = await start(t, { ...secure,
            args: ['--upgrade-timeout', '1s', '--shutdown-timeout', '10s'] });
        const tunnel = await openTunnel(world.gateway.port, TLS);
        const plain = await openTunnel(world.gateway.ports[1],
                                       { ...PLAIN, host: '127.0.0.2' });
        const old = await world.gateway.upgrade();
        const bye = closeFrame(1001);
        assert.deepEqual(await tunnel.bytes(bye.length), bye);
        tunnel.send(closeFrame(1001, { mask: true }));
        await tunnel.ended();
        tunnel.destroy();
        await gone(old, 10_000);
        assert.match(world.gateway.stderr(), / upgrade_timeout /);
        const bytes = frame(TEXT, 'not mine', { mask: true });
        plain.send(bytes);
        assert.deepEqual(await plain.bytes(bytes.length), bytes);
    });

    test('a new session over an old TLS connection is known at once',
         async (t) => {
        const world = await start(t, { ...secure, count: 2 });
        const { gateway } = world;
        const wire = await connect(gateway.port, TLS);
        await gateway.upgrade();
        const sid = await openSession(gateway.port, { wire });
        await polls(gateway.port, sid, TLS);
        assert.ok(world.backends.every(({ probes }) => probes.length === 0));
        assert.equal(parameters(world.backends.find(({ sids }) =>
            sids.has(sid)).requests.at(-1).target).get('sid'), sid);
    });
});
