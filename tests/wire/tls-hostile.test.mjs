/* SPDX-License-Identifier: MIT */
/* What may come on a TLS port that is no honest TLS: it is refused, costs
 * little, and harms nobody else. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { describe, it } from 'node:test';

import { certificateFolder } from '../support/certificates.mjs';
import { switching, upgradeRequest } from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { isSanitized, statusBytes } from '../support/process.mjs';
import { clientHello, DATA, HANDSHAKE, openRaw, openRawTls, record }
    from '../support/raw-tls.mjs';
import { connect, eventually, exchange, gate, inTime }
    from '../support/wire.mjs';

const LISTEN = ['127.0.0.1:0,tls'];
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const HEAD_TIMEOUT_MS = 2500;
const MEGABYTE = 1 << 20;
const SOCKET = path.join(certificateFolder(), 'socket');

function get(port)
{
    return exchange(port, GET, 'GET', { secure: true });
}

/* Sends bytes over TCP; gives how the other end closed, what it said and how
 * long it took. */
async function closes(port, bytes, { fin = false, ms = 20_000 } = {})
{
    const wire = await connect(port, { secure: false });
    const start = Date.now();
    if (fin)
        wire.finish(bytes);
    else
        wire.send(bytes);
    const end = await wire.rest(ms);
    wire.destroy();
    return { ...end, took: Date.now() - start };
}

/* Of a whole hello, each time. */
const length = clientHello({ ciphers: [0x1301],
                             share: Buffer.alloc(32) }).length + 5;

describe('bytes that are no TLS', () => {
    const c = fixture({ listen: LISTEN });
    const all = [
        ['plain HTTP', GET],
        ['a plain websocket', 'GET /socket.io/?EIO=4&transport=websocket ' +
            'HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n'],
        ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
        ['a PROXY header', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n'],
        ['NULs', Buffer.alloc(64)],
        ['0xff', Buffer.alloc(64, 255)],
        ['an alert', record(21, Buffer.of(2, 40))],
        ['application data', record(DATA, Buffer.alloc(100))],
        ['a record that is too long',
         Buffer.concat([Buffer.of(22, 3, 1, 0xff, 0xff), Buffer.alloc(70000)])],
        ['a hello of SSL 2', Buffer.from('802e0100020015000000100100800200800' +
            '3008004008005008006004007' + '00'.repeat(24), 'hex')],
    ];

    for (const [name, bytes] of all)
        it(`${name}: an end without delay`, async () => {
            const { how, bytes: answer, took } = await closes(c.port, bytes);
            /* What is said is an alert or nothing. */
            assert.ok(answer.length === 0 || answer[0] === 21,
                      answer.toString('latin1'));
            assert.ok(took < 8000, `after ${took} ms`);
            if (bytes.length < 4096)
                assert.equal(how, 'fin');
            assert.equal((await get(c.port)).status, 200);
            assert.deepEqual(c.backend.targets, ['/x']);
        });

    it('200 times noise', async () => {
        for (let i = 0; i < 200; i++) {
            const noise = randomBytes(1 + (i * 7) % 600);
            /* Half of them begin like a handshake. */
            if (i & 1)
                noise.set([22, 3, 1, 0, Math.max(noise.length - 5, 1)]
                    .slice(0, noise.length));
            await closes(c.port, noise, { fin: true });
        }
        assert.equal((await get(c.port)).status, 200);
    });

    it('they are counted, and nothing else is', async () => {
        const failed = 'sidgate_tls_handshakes_total{result="failed"}';
        let after = await c.gateway.metrics();
        const look = async () => (after = await c.gateway.metrics());
        /* Of others before it none is to be counted any more. */
        await eventually(async () =>
            (await look()).get('sidgate_connections') === 0, 'no connection');
        const before = after;
        const grown = (name) => after.get(name) - before.get(name);
        await closes(c.port, GET);
        await eventually(async () => await look() && grown(failed) > 0,
                         'it is counted');
        assert.equal(grown(failed), 1);
        assert.equal(grown('sidgate_tls_handshakes_total{result="ok"}'), 0);
        assert.equal(grown('sidgate_requests_total'), 0);
    });
});

describe('a handshake that is cut', () => {
    const c = fixture({ listen: LISTEN, args: [
        '--head-timeout', `${HEAD_TIMEOUT_MS}ms`, '--workers', '1'] });
    it('at every byte, by silence: closed by --head-timeout', async () => {
        const runs = [];
        const start = Date.now();
        for (let at = 0; at < length; at++)
            runs.push(openRaw(c.port).then(async (raw) => {
                raw.wire.send(raw.hello().subarray(0, at));
                const { bytes } = await raw.wire.rest(20_000);
                assert.equal(bytes.length, 0);
                return Date.now() - start;
            }));
        const times = await Promise.all(runs);
        assert.ok(Math.min(...times) > HEAD_TIMEOUT_MS * 0.9, `${times}`);
        assert.ok(Math.max(...times) < HEAD_TIMEOUT_MS * 8, `${times}`);
        assert.equal((await get(c.port)).status, 200);
        const count = async () => (await c.gateway.metrics())
            .get('sidgate_limited_total{limit="head_timeout"}');
        await eventually(async () => await count() >= length, 'all counted');
        assert.equal(await count(), length);
    });

    it('at every byte, by FIN', async () => {
        for (let at = 0; at < length; at++) {
            const raw = await openRaw(c.port);
            raw.wire.finish(raw.hello().subarray(0, at));
            await raw.wire.ended();
            raw.wire.destroy();
        }
        assert.equal((await get(c.port)).status, 200);
    });

    it('at every byte, by RST', async () => {
        for (let at = 0; at < length; at++) {
            const raw = await openRaw(c.port);
            await raw.wire.sendPieces(raw.hello().subarray(0, at), length);
            raw.wire.reset();
        }
        assert.equal((await get(c.port)).status, 200);
    });

    it('behind the server\'s answer: closed by --head-timeout', async () => {
        const start = Date.now();
        const raw = await openRaw(c.port);
        raw.wire.send(raw.hello());
        await raw.wire.ended(20_000);
        assert.ok(Date.now() - start > HEAD_TIMEOUT_MS * 0.9);
    });

    it('before its first byte, by a record without any', async () => {
        const nothing = record(HANDSHAKE, Buffer.alloc(0));
        const { bytes } = await closes(c.port, nothing);
        assert.equal(bytes.length, 0);
    });

    it('a byte now and then does not put the end off', async () => {
        const raw = await openRaw(c.port);
        const hello = raw.hello();
        const start = Date.now();
        let at = 0;
        const drip = setInterval(() => {
            raw.wire.send(hello.subarray(at, ++at));
        }, 50);
        await raw.wire.ended(20_000).finally(() => clearInterval(drip));
        assert.ok(Date.now() - start < HEAD_TIMEOUT_MS * 8);
        assert.ok(at < hello.length, 'it was all sent');
    });
});

describe('records of every size', () => {
    const c = fixture({ listen: LISTEN, args: ['--workers', '1'] });

    it('a hello in two pieces, cut at every byte', async () => {
        for (let at = 1; at < length; at++) {
            const raw = await openRaw(c.port);
            const hello = raw.hello();
            await raw.wire.sendPieces(hello.subarray(0, at), length);
            raw.wire.send(hello.subarray(at));
            await raw.finish();
            raw.wire.destroy();
        }
    });

    it('a byte in each', async () => {
        const raw = await openRawTls(c.port);
        raw.wire.send(Buffer.concat([...GET].map((byte) => raw.seal(byte))));
        assert.match(await raw.response(), /\/x$/);
        raw.wire.destroy();
    });

    it('each in pieces of a byte', async () => {
        const raw = await openRawTls(c.port);
        await raw.wire.sendPieces(raw.seal(GET));
        assert.match(await raw.response(), /\/x$/);
        raw.wire.destroy();
    });

    it('1 MB in records of 16 KiB, as long as there are', async () => {
        const raw = await openRawTls(c.port);
        const body = randomBytes(MEGABYTE);
        raw.send(`POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: ` +
                 `${body.length}\r\n\r\n`);
        for (let at = 0; at < body.length; at += 16384)
            raw.send(body.subarray(at, at + 16384));
        assert.match(await raw.response(), /\/p$/);
        assert.ok(c.backend.requests[0].body.equals(body));
        raw.wire.destroy();
    });

    it('100,000 records of a byte are a body', async () => {
        const raw = await openRawTls(c.port);
        raw.send('POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 100000' +
                 '\r\n\r\n');
        for (let i = 0; i < 10; i++)
            raw.wire.send(Buffer.concat(Array.from({ length: 10_000 },
                () => raw.seal('x'))));
        assert.match(await raw.response(20_000), /\/p$/);
        assert.equal(c.backend.requests[0].text, 'x'.repeat(100_000));
        raw.wire.destroy();
    });

    it('one of 16 KiB and a byte is refused', async () => {
        const raw = await openRawTls(c.port);
        raw.send(Buffer.alloc(16385, 'x'));
        await assert.rejects(raw.bytes(1), /alert 22/);
        raw.wire.destroy();
    });

    it('one that was changed on its way is refused', async () => {
        const raw = await openRawTls(c.port);
        const bytes = raw.seal(GET);
        bytes[10] ^= 1;
        raw.wire.send(bytes);
        await assert.rejects(raw.bytes(1), /alert 20/);
        assert.deepEqual(c.backend.targets, []);
        raw.wire.destroy();
    });

    it('empty ones without end are refused', async () => {
        const raw = await openRawTls(c.port);
        for (let i = 0; i < 100; i++)
            raw.send('');
        await assert.rejects(raw.bytes(1), /alert|ended/);
        raw.wire.destroy();
    });

    it('a second hello is refused', async () => {
        const raw = await openRawTls(c.port);
        raw.send(clientHello({ ciphers: [0x1301] }), HANDSHAKE);
        await assert.rejects(raw.bytes(1), /alert 10/);
        raw.wire.destroy();
    });
});

describe('changes of keys', () => {
    const c = fixture({ listen: LISTEN, args: ['--workers', '1'] });

    it('are answered, and the connection goes on', async () => {
        const raw = await openRawTls(c.port);
        for (let i = 0; i < 5; i++) {
            raw.wire.send(raw.update(i % 2 === 0));
            raw.send(GET);
            assert.match(await raw.response(), /\/x$/);
        }
        assert.equal(raw.updates, 3);
        raw.wire.destroy();
    });

    it('in a tunnel', async () => {
        const opened = gate();
        c.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request));
            opened.open(wire);
        };
        const raw = await openRawTls(c.port);
        raw.send(upgradeRequest());
        const upstream = await opened.opened;
        await raw.head();
        for (let i = 0; i < 5; i++) {
            raw.wire.send(raw.update(true));
            raw.send(frame(TEXT, `up ${i}`, { mask: true }));
            await upstream.bytes(10);
            upstream.send(frame(TEXT, `down ${i}`));
            assert.equal((await raw.bytes(8)).toString('latin1', 2),
                         `down ${i}`);
        }
        assert.equal(raw.updates, 5);
        raw.wire.destroy();
    });

    for (const asks of [false, true])
        it(`without end, ${asks ? '' : 'not '}to be answered: cut, and ` +
           'nobody waits for it', async () => {
            const measure = async () => {
                const raw = await openRawTls(c.port);
                const flood = Buffer.concat(Array.from({ length: 30_000 },
                    () => raw.update(asks)));
                raw.wire.send(flood);
                const start = Date.now();
                const ended = raw.wire.ended(20_000);
                for (let i = 0; i < 5; i++)
                    assert.equal((await get(c.port)).status, 200);
                const took = Date.now() - start;
                await ended;
                raw.wire.destroy();
                return isSanitized(c.gateway.pid) ? 0 : took;
            };
            await inTime(measure, 4000, 3);
        });

    /* A unix socket, since the kernel keeps little for it. */
    it('between data, by one who reads nothing: little memory, then cut', () =>
        withCluster({ listen: [...LISTEN, `unix:${SOCKET},tls`],
                      args: ['--workers', '1'] }, async (own) => {
            const { pid } = own.gateway;
            const raw = await openRawTls(0, { path: SOCKET });
            raw.wire.socket.pause();
            raw.send('POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: ' +
                     '1000000\r\n\r\n');
            const before = statusBytes(pid, 'VmRSS');
            const start = Date.now();
            let grown = 0;
            for (let i = 0; i < 60 && !raw.wire.over; i++) {
                const piece = Buffer.concat(Array.from({ length: 2000 }, () =>
                    Buffer.concat([raw.update(true), raw.seal('x')])));
                await new Promise((resolve) => raw.wire.socket.write(piece,
                                                                     resolve));
                grown = Math.max(grown, statusBytes(pid, 'VmRSS') - before);
            }
            assert.ok(raw.wire.over, 'it was let go on');
            assert.ok(Date.now() - start < 20_000, 'it was waited for');
            assert.ok(grown < 4 * MEGABYTE || isSanitized(pid),
                      `RSS grew by ${grown}`);
            raw.wire.destroy();
            assert.equal((await get(own.port)).status, 200);
        }));
});
