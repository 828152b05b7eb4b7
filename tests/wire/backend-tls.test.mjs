/* SPDX-License-Identifier: MIT */
/* TLS towards backends: whom sidgate believes, and what flows through it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, it } from 'node:test';

import { ok, startBackend } from '../support/backend.mjs';
import { makeAuthority, makeCertificate, makeClient, makeExpired,
         testCertificates } from '../support/certificates.mjs';
import { handshakeRequest, sidRequest, startEngine, switching, upgradeRequest }
    from '../support/engine.mjs';
import { arrives, collect, frame, frames, pour, TEXT }
    from '../support/frames.mjs';
import { startGateway } from '../support/gateway.mjs';
import { isSanitized, statusBytes } from '../support/process.mjs';
import { putTlsBefore } from '../support/tls-backend.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const { authority, server } = testCertificates();
const CA = ['--backend-ca', authority.certificate];
/* A handshake with TLS needs this very process. */
const PATIENT = ['--connect-timeout', '20s'];
const closing = [];

afterEach(async () => {
    for (const close of closing.splice(0).reverse())
        await close();
});

/* Whole ones only. */
function linesOf(gateway, event)
{
    return gateway.stderr().split('\n').slice(0, -1).filter(
        (line) => line.includes(` ${event} `));
}

/* count: of backends; more: behind their addresses; pair, tls: theirs. */
async function start({ count = 1, engine = false, more = '', args = CA,
                       pair = server, tls = {} } = {})
{
    const backends = [];
    const fronts = [];
    for (let i = 1; i <= count; i++) {
        const backend = await (engine ? startEngine : startBackend)(
            { id: `n${i}` });
        const front = await putTlsBefore(backend, pair, tls);
        backends.push(backend);
        fronts.push(front);
        closing.push(() => front.stop(), () => backend.stop());
    }
    const run = () => startGateway({
        args: [...PATIENT, ...args], backends: fronts.map(({ port }, i) =>
            ({ id: `n${i + 1}`, port: `${port},tls${more}` })) });
    const c = { backends, fronts, backend: backends[0], front: fronts[0], run };
    c.gateway = await run();
    c.port = c.gateway.port;
    closing.push(async () => {
        const { code } = await c.gateway.stop();
        assert.equal(code, 0, c.gateway.stderr());
        assert.doesNotMatch(c.gateway.stderr(), /Sanitizer|runtime error/);
    });
    return c;
}

/* So that the next request needs a new connection. */
async function dropIdle(c)
{
    for (const { seen } of c.fronts)
        seen.forEach(({ socket }) => socket.end());
    await eventually(async () => (await c.gateway.metrics())
        .get('sidgate_idle_backend_connections') === 0, 'no idle one');
}

async function status(c)
{
    return (await exchange(c.port, GET)).status;
}

describe('what flows', () => {
    it('requests, all over one connection', async () => {
        const c = await start({ args: [...CA, '--workers', '1'] });
        const client = await connect(c.port);
        for (let i = 0; i < 20; i++) {
            const target = `/${i}`;
            client.send(`POST ${target} HTTP/1.1\r\nHost: h\r\n` +
                        'Content-Length: 3\r\n\r\nabc');
            assert.equal((await client.response()).text, target);
            assert.equal(await status(c), 200);
        }
        assert.equal(c.front.accepted, 1);
        client.destroy();
    });

    it('tunnels, megabytes of each direction', async () => {
        const c = await start();
        let upstream;
        c.backend.handler = (request, wire) => {
            wire.taken = true;
            upstream = wire;
            wire.send(switching(request));
            wire.send(frame(TEXT, 'early'));
        };
        const client = await connect(c.port);
        client.send(upgradeRequest());
        assert.equal((await client.head()).status, 101);
        assert.equal((await client.bytes(7)).toString('latin1', 2), 'early');
        const [up, down] = [collect(upstream), collect(client)];
        const [sentUp, sentDown] = await Promise.all([
            pour(client, frames(4e6, { mask: true })),
            pour(upstream, frames(4e6))]);
        await arrives(upstream, up, sentUp);
        await arrives(client, down, sentDown);
        upstream.finish();
        assert.equal(await client.ended(), 'fin');
        client.destroy();
    });

    it('20 MB that the client does not read: little memory, no loss',
       async () => {
           const c = await start();
           const { pid } = c.gateway;
           const sentTo = async () => (await c.gateway.metrics())
               .get('sidgate_client_sent_bytes_total');
           let upstream;
           c.backend.handler = (request, wire) => {
               wire.taken = true;
               upstream = wire;
               wire.send('HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n');
           };
           const client = await connect(c.port);
           client.send(GET);
           await client.head();
           const digest = collect(client);
           client.socket.pause();
           const before = statusBytes(pid, 'VmRSS');
           const pouring = pour(upstream, frames(20e6));
           for (let last = -1, now; (now = await sentTo()) !== last;) {
               last = now;
               await new Promise((resolve) => setTimeout(resolve, 300));
           }
           const grown = statusBytes(pid, 'VmRSS') - before;
           assert.ok(await sentTo() < 19e6, 'it was all taken');
           client.socket.resume();
           await arrives(client, digest, await pouring);
           assert.ok(grown < 2 * 1024 * 1024 || isSanitized(pid),
                     `RSS grew by ${grown}`);
           upstream.destroy();
           client.destroy();
       });

    it('bodies of 5 MB, there and back', async () => {
        const c = await start();
        c.backend.handler = (request, wire) => wire.send(ok(request.text));
        const body = 'The quick brown fox. '.repeat(250_000);
        const client = await connect(c.port);
        client.send(`POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: ` +
                    `${body.length}\r\n\r\n${body}`);
        const answer = await client.response('POST', 20_000);
        assert.ok(answer.text === body);
        client.destroy();
    });

    it('a session finds its way, also through recovery', async () => {
        const c = await start({ count: 3, engine: true });
        const sids = [];
        for (let i = 0; i < 6; i++) {
            const { text } = await exchange(c.port, handshakeRequest());
            sids.push(JSON.parse(text.slice(1)).sid);
        }
        const find = async () => {
            for (const sid of sids) {
                const home = c.backends.find(({ sids: own }) => own.has(sid));
                const answer = await exchange(c.port, sidRequest(sid));
                assert.equal(answer.text, `4${home.id}`);
            }
        };
        assert.ok(c.backends.every((one) => one.sids.size === 2));
        await find();
        await c.gateway.stop();
        c.gateway = await c.run();
        c.port = c.gateway.port;
        await find();
        const metrics = await c.gateway.metrics();
        assert.equal(metrics.get('sidgate_routed_total{source="recovery"}'), 6);
        assert.ok(c.backends.every((one) => one.probes.length > 0));
    });
});

describe('whom sidgate believes', () => {
    const other = makeAuthority({ name: 'Another' });
    const named = makeCertificate(authority, { names: ['real.example'],
                                               ips: [] });
    const cases = [
        ['another authority', { pair: makeCertificate(other) }],
        ['another name', { pair: named }],
        ['another name than the one given', { more: ',name=a.example' }],
        ['an expired certificate', { pair: makeExpired(authority) }],
        ['one of the future', { pair: makeCertificate(authority, {
            from: 86_400_000 }) }],
        ['one for clients', { pair: makeClient(authority, 'localhost') }],
    ];

    for (const [name, options] of cases) {
        it(`${name}: no`, async () => {
            const c = await start(options);
            assert.match(String(await status(c)), /^50[23]$/);
            const told = () => linesOf(c.gateway, 'backend_tls_failed');
            await eventually(() => told().length > 0, 'a line');
            const lines = told();
            assert.equal(lines.length, 1, lines.join('\n'));
            assert.match(lines[0],
                         /warning backend_tls_failed backend=n1 why=/);
            assert.match(lines[0], /certificate verify failed: /);
            assert.deepEqual(c.backend.targets, []);
        });

        it(`${name}: yes with verify=off`, async () => {
            const c = await start({ ...options, args: [],
                                    more: `${options.more ?? ''},verify=off` });
            assert.equal(await status(c), 200);
        });
    }

    it('a name that the certificate has, told to the backend', async () => {
        const c = await start({ pair: named, more: ',name=real.example' });
        assert.equal(await status(c), 200);
        assert.equal(c.front.seen[0].name, 'real.example');
    });

    it('no name is told of an address', async () => {
        const c = await start();
        assert.equal(await status(c), 200);
        assert.equal(c.front.seen[0].name, false);
    });

    it('http/1.1 is asked for, nothing older than TLS 1.2', async () => {
        const c = await start({ tls: { ALPNProtocols: ['h2', 'http/1.1'] } });
        assert.equal(await status(c), 200);
        assert.equal(c.front.seen[0].socket.alpnProtocol, 'http/1.1');
        const old = await start({ tls: {
            minVersion: 'TLSv1', maxVersion: 'TLSv1.1',
            ciphers: 'ALL:@SECLEVEL=0' } });
        assert.match(String(await status(old)), /^50[23]$/);
        await eventually(() =>
            linesOf(old.gateway, 'backend_tls_failed').length > 0, 'a line');
    });

    it('one that speaks no TLS', async () => {
        const plain = await startBackend({ handler: (r, wire) =>
            wire.send(ok()) });
        closing.push(() => plain.stop());
        plain.server.on('connection', (socket) =>
            socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
        const gateway = await startGateway({ args: CA, backends: [
            { id: 'n1', port: `${plain.port},tls` }] });
        closing.push(() => gateway.stop());
        const answer = await exchange(gateway.port, GET);
        assert.match(String(answer.status), /^50[23]$/);
        await eventually(() =>
            linesOf(gateway, 'backend_tls_failed').length > 0, 'a line');
        assert.match(linesOf(gateway, 'backend_tls_failed')[0],
                     /why="?wrong version number/);
    });

    it('one that never ends its handshake: --connect-timeout', async () => {
        const mute = await startBackend();
        closing.push(() => mute.stop());
        const gateway = await startGateway({
            args: [...CA, '--connect-timeout', '300ms'],
            backends: [{ id: 'n1', port: `${mute.port},tls` }] });
        closing.push(() => gateway.stop());
        const start = Date.now();
        const answer = await exchange(gateway.port, GET);
        assert.match(String(answer.status), /^50[234]$/);
        assert.ok(Date.now() - start < 10_000);
        mute.errors.length = 0;
    });

    /* Its kernel accepts; the server itself comes to it later. */
    it('an owner that is busy for longer is waited for, and found', async () => {
        const backend = await startEngine({ id: 'n1' });
        const front = await putTlsBefore(backend, server);
        closing.push(() => front.stop(), () => backend.stop());
        let busyMs = 0;
        const kernel = net.createServer((socket) => {
            const later = net.connect(front.port, '127.0.0.1');
            socket.on('error', () => later.destroy());
            later.on('error', () => socket.destroy());
            later.pipe(socket);
            setTimeout(() => socket.pipe(later), busyMs);
        }).listen(0, '127.0.0.1').unref();
        await once(kernel, 'listening');
        closing.push(() => kernel.close());
        const run = () => startGateway({
            args: [...CA, '--connect-timeout', '1s'],
            backends: [{ id: 'n1', port: `${kernel.address().port},tls` }] });
        const first = await run();
        const second = await run();
        closing.push(() => first.stop(), () => second.stop());
        const { text } = await exchange(first.port, handshakeRequest());
        const { sid } = JSON.parse(text.slice(1));
        busyMs = 2500;
        for (const gateway of [first, second]) {
            const before = front.accepted;
            const start = Date.now();
            const request = sidRequest(sid, { method: 'POST', body: '2' });
            assert.equal((await exchange(gateway.port, request)).status, 200);
            assert.ok(Date.now() - start > 2000, 'it was busy');
            /* A question and the request, no more. */
            assert.ok(front.accepted - before <= 2);
        }
    });

    it('handshakes go to those that can be believed', async () => {
        const good = await startEngine({ id: 'good' });
        const bad = await startEngine({ id: 'bad' });
        const fronts = [
            await putTlsBefore(bad, makeCertificate(other)),
            await putTlsBefore(good, server)];
        closing.push(() => good.stop(), () => bad.stop(),
                     ...fronts.map((front) => () => front.stop()));
        const gateway = await startGateway({
            args: [...CA, ...PATIENT], backends: [
                { id: 'bad', port: `${fronts[0].port},tls` },
                { id: 'good', port: `${fronts[1].port},tls` }] });
        closing.push(() => gateway.stop());
        for (let i = 0; i < 10; i++) {
            const answer = await exchange(gateway.port, handshakeRequest());
            assert.equal(answer.status, 200);
            const { sid } = JSON.parse(answer.text.slice(1));
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, '4good');
        }
        assert.equal(bad.requests.length, 0);
        await eventually(() =>
            linesOf(gateway, 'backend_tls_failed').length >= 1, 'a line');
    });
});

describe('a certificate of ours', () => {
    const client = makeClient(authority, 'gateway');
    const { certificate, key } = client;
    const tls = { requestCert: true, rejectUnauthorized: true };

    it('is shown', async () => {
        const c = await start({ tls, args: [...CA, '--backend-certificate',
                                            `${certificate},key=${key}`] });
        assert.equal(await status(c), 200);
        assert.equal(c.front.seen[0].peer.subject.CN, 'gateway');
    });

    it('is not made up', async () => {
        const c = await start({ tls });
        await status(c);
        assert.deepEqual(c.front.seen[0]?.peer ?? {}, {});
    });
});

describe('resumption', () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'])
        it(`${maxVersion}: all but the first`, async () => {
            const c = await start({ tls: { maxVersion },
                                    args: [...CA, '--workers', '1'] });
            for (let i = 0; i < 4; i++) {
                assert.equal(await status(c), 200);
                await dropIdle(c);
            }
            assert.deepEqual(c.front.seen.map(({ isReused }) => isReused),
                             [false, true, true, true]);
        });

    it('a backend that has forgotten its sessions', async () => {
        const c = await start();
        assert.equal(await status(c), 200);
        await dropIdle(c);
        c.front.forget();
        assert.equal(await status(c), 200);
        assert.deepEqual(c.front.seen.map(({ isReused }) => isReused),
                         [false, false]);
    });
});

describe('the end of a response', () => {
    const UNTIL_CLOSE = 'HTTP/1.1 200 OK\r\n\r\npart of it';

    async function answerOf(c, text, end)
    {
        c.backend.handler = async (request, wire) => {
            wire.taken = true;
            const at = c.front.seen.find(({ socket }) => socket ===
                                                         wire.socket);
            await new Promise((resolve) => wire.socket.write(text, resolve));
            end(at);
        };
        const client = await connect(c.port);
        client.send(GET);
        return client;
    }

    it('by close_notify, where nothing else ends it: whole', async () => {
        const c = await start();
        const client = await answerOf(c, UNTIL_CLOSE,
                                      ({ socket }) => socket.end());
        const answer = await client.response();
        assert.deepEqual([answer.status, answer.text], [200, 'part of it']);
        client.destroy();
    });

    it('by FIN alone, where nothing else ends it: a visible cut', async () => {
        const c = await start();
        const client = await answerOf(c, UNTIL_CLOSE, ({ raw }) => raw.end());
        const how = await client.ended();
        const text = client.buffer.toString('latin1');
        assert.ok(how === 'rst' || (/chunked/i.test(text) &&
                                    !/\r\n0\r\n\r\n$/.test(text)), text);
        client.destroy();
    });

    it('by FIN alone within its length: a visible cut', async () => {
        const c = await start();
        const client = await answerOf(c,
            'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart',
            ({ raw }) => raw.end());
        await client.ended();
        assert.ok(client.buffer.length < 100 + 50);
        assert.ok(!client.buffer.includes('part'.repeat(2)));
        client.destroy();
    });

    it('by FIN alone behind its length: whole', async () => {
        const c = await start();
        const client = await answerOf(c, ok('whole'), ({ raw }) => raw.end());
        assert.equal((await client.response()).text, 'whole');
        client.destroy();
        c.backend.reset();
        assert.equal(await status(c), 200);
    });

    it('bytes behind it: not used again', async () => {
        const c = await start();
        const client = await answerOf(c, `${ok('first')}${ok('smuggled')}`,
                                      () => {});
        assert.equal((await client.response()).text, 'first');
        c.backend.reset();
        assert.equal((await exchange(c.port, GET)).text, '/x');
        assert.equal(c.front.accepted, 2);
        client.destroy();
    });
});
