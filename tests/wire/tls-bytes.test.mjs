/* SPDX-License-Identifier: MIT */
/* Ends and slow readers over TLS: no byte is lost, and none is made up. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { collect, frame, frames, openTunnel, pour, TEXT }
    from '../support/frames.mjs';
import { isSanitized, statusBytes } from '../support/process.mjs';
import { ALERT, openRawTls } from '../support/raw-tls.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const LISTEN = ['127.0.0.1:0,tls'];
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const CLOSE_NOTIFY = Buffer.of(1, 0);
const TOTAL = 20e6;
const GROWTH_MAX = 2 * 1024 * 1024;
const PACE_BYTES = 1 << 20;

function* pieces(total)
{
    const piece = Buffer.alloc(50000);
    for (let i = 0; i < piece.length; i++)
        piece[i] = (i * 31 + (i >> 8)) & 255;
    for (let left = total, n = 0; left > 0; left -= piece.length, n++) {
        piece.writeUInt32LE(n, 0);
        yield Buffer.from(piece.subarray(0, Math.min(left, piece.length)));
    }
}

/* Takes what comes in bursts, with a pause after each of about a megabyte;
 * gives the digest of `total` bytes. */
async function readSlowly(wire, total)
{
    const digest = collect(wire);
    const { sink } = wire;
    let next = PACE_BYTES;
    wire.sink = (chunk) => {
        sink(chunk);
        if (digest.length < next)
            return;
        next = digest.length + PACE_BYTES;
        wire.socket.pause();
        setTimeout(() => wire.socket.resume(), 15);
    };
    await wire.until(() => digest.length >= total, `${total} bytes`, 60_000);
    return digest.value();
}

describe('20 MB at the pace of a slow reader', () => {
    const c = fixture({ listen: LISTEN });

    async function flows(from, to, source, total)
    {
        const before = statusBytes(c.gateway.pid, 'VmRSS');
        const [sent, come] = await Promise.all([
            pour(from, source), readSlowly(to, total)]);
        assert.equal(come, sent);
        const grown = statusBytes(c.gateway.pid, 'VmRSS') - before;
        assert.ok(grown < GROWTH_MAX || isSanitized(c.gateway.pid),
                  `RSS grew by ${grown}`);
    }

    async function openResponse(total, secure = true)
    {
        let upstream;
        c.backend.handler = (request, wire) => {
            wire.taken = true;
            upstream = wire;
            wire.send(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
        };
        const client = await c.open({ secure });
        client.send(GET);
        await client.head();
        return [upstream, client];
    }

    /* What is allocated once, is then. */
    it('a first one', async () => {
        const ends = await openResponse(4e6);
        await Promise.all([pour(ends[0], pieces(4e6)),
                           readSlowly(ends[1], 4e6)]);
        await c.dropIdle();
    });

    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'])
        it(`a response, ${maxVersion}`, async () => {
            const ends = await openResponse(TOTAL, { maxVersion });
            await flows(...ends, pieces(TOTAL), TOTAL);
            await c.dropIdle();
        });

    it('a POST', async () => {
        const early = new Promise((resolve) => {
            c.backend.early = (head, wire) => {
                wire.taken = true;
                wire.socket.pause();
                resolve(wire);
            };
        });
        const client = await c.open({ secure: true });
        client.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
                    `Content-Length: ${TOTAL}\r\n\r\n`);
        const pouring = pour(client, pieces(TOTAL));
        const upstream = await early;
        /* What came with the head. */
        const first = upstream.take(upstream.buffer.length);
        const digest = collect(upstream);
        digest.add(first);
        upstream.socket.resume();
        let isSlow = true;
        const pauses = setInterval(() => {
            isSlow = !isSlow;
            upstream.socket[isSlow ? 'resume' : 'pause']();
        }, 10);
        await upstream.until(() => digest.length >= TOTAL, 'all', 60_000)
            .finally(() => clearInterval(pauses));
        assert.equal(digest.value(), await pouring);
    });

    for (const [name, mask] of [['client', false], ['backend', true]])
        it(`frames of a tunnel, to the ${name}`, async () => {
            const { client, upstream } = await openTunnel(c, { secure: true });
            const ends = mask ? [client, upstream] : [upstream, client];
            let total = 0;
            for (const piece of frames(TOTAL, { mask }))
                total += piece.length;
            await flows(...ends, frames(TOTAL, { mask }), total);
            upstream.destroy();
        });

    it('both ways at once', async () => {
        const { client, upstream } = await openTunnel(c, { secure: true });
        let up = 0;
        let down = 0;
        for (const piece of frames(5e6, { mask: true }))
            up += piece.length;
        for (const piece of frames(5e6))
            down += piece.length;
        const [sentUp, sentDown, comeUp, comeDown] = await Promise.all([
            pour(client, frames(5e6, { mask: true })),
            pour(upstream, frames(5e6)), readSlowly(upstream, up),
            readSlowly(client, down)]);
        assert.deepEqual([comeUp, comeDown], [sentUp, sentDown]);
        upstream.destroy();
    });
});

describe('an end of TLS', () => {
    const c = fixture({ listen: LISTEN });

    for (const version of ['TLSv1.2', 'TLSv1.3'])
        it(`close_notify and FIN behind a request: it is answered, ${version}`,
           async () => {
               const wire = await c.open({ secure: { maxVersion: version } });
               wire.finish(GET);
               assert.equal((await wire.response()).text, '/x');
               assert.equal(await wire.ended(), 'fin');
           });

    it('close_notify alone behind a request: it is answered', async () => {
        const raw = await openRawTls(c.port);
        raw.send(GET).send(CLOSE_NOTIFY, ALERT);
        assert.match(await raw.response(), /\/x$/);
        await assert.rejects(raw.bytes(1), /alert 0/);
        assert.equal(await raw.wire.ended(), 'fin');
        raw.wire.destroy();
    });

    it('close_notify behind a request whose answer is late', async () => {
        c.backend.handler = async (request, wire) => {
            await wire.until(() => wire.fin, 'FIN');
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate');
        };
        const raw = await openRawTls(c.port);
        raw.send(GET).send(CLOSE_NOTIFY, ALERT);
        assert.match(await raw.response(), /late$/);
        raw.wire.destroy();
    });

    it('what comes behind close_notify is nothing', async () => {
        const raw = await openRawTls(c.port);
        raw.send(GET).send(CLOSE_NOTIFY, ALERT);
        raw.send('GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n');
        assert.match(await raw.response(), /\/x$/);
        await assert.rejects(raw.bytes(1), /alert 0|ended/);
        assert.deepEqual(c.backend.targets, ['/x']);
        raw.wire.destroy();
    });

    for (const [name, end] of [
        ['FIN', (raw) => raw.wire.finish()],
        ['close_notify', (raw) => raw.send(CLOSE_NOTIFY, ALERT)],
        ['RST', (raw) => raw.wire.reset()],
    ])
        it(`${name} within a body ends the request, without an answer`,
           async () => {
               const aborts = async () => (await c.gateway.metrics())
                   .get('sidgate_client_aborts_total');
               const raw = await openRawTls(c.port);
               raw.send('POST /p HTTP/1.1\r\nHost: h\r\n' +
                        'Content-Length: 200000\r\n\r\n');
               raw.send(Buffer.alloc(10000));
               c.backend.early = (head, wire) => (wire.taken = true);
               for (let i = 0; i < 10; i++)
                   raw.send(Buffer.alloc(10000));
               const { wire } = await c.backend.request();
               const before = await aborts();
               end(raw);
               await wire.ended();
               assert.ok(wire.total < 200000);
               await eventually(async () => await aborts() > before, 'count');
               raw.wire.destroy();
           });

    it('FIN in the middle of a record behind a request', async () => {
        const raw = await openRawTls(c.port);
        const more = raw.seal(GET);
        const rest = raw.seal('GET /cut HTTP/1.1\r\nHost: h\r\n\r\n');
        raw.wire.finish(Buffer.concat([more, rest.subarray(0, 30)]));
        assert.match(await raw.response(), /\/x$/);
        assert.equal(await raw.wire.ended(), 'fin');
        assert.deepEqual(c.backend.targets, ['/x']);
        raw.wire.destroy();
    });

    it('a tunnel: what was in flight arrives, then close_notify', async () => {
        const { client, upstream } = await openTunnel(c, { secure: true });
        upstream.finish(frame(TEXT, 'last'));
        assert.equal((await client.bytes(6)).toString('latin1', 2), 'last');
        assert.equal(await client.ended(), 'fin');
        client.finish(frame(TEXT, 'ours', { mask: true }));
        await upstream.bytes(10);
        assert.equal(await upstream.ended(), 'fin');
    });

    it('a response that is cut by the backend is cut here too', async () => {
        c.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.finish('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart');
        };
        const client = await c.open({ secure: true });
        client.send(GET);
        await client.head();
        await client.ended();
        assert.ok(client.buffer.length <= 4);
    });
});

describe('a listener that redirects beside one of TLS', () => {
    const c = fixture({ listen: [...LISTEN, '127.0.0.1:0,redirect=8443'] });

    it('sends each request there', async () => {
        const wire = await connect(c.gateway.ports[1], { secure: false });
        wire.send('GET /socket.io/?EIO=4&a=%41 HTTP/1.1\r\n' +
                  'Host: www.example:80\r\n\r\n');
        const answer = await wire.response();
        assert.equal(answer.status, 308);
        assert.equal(answer.get('location'),
                     'https://www.example:8443/socket.io/?EIO=4&a=%41');
        assert.equal(await wire.ended(), 'fin');
        assert.deepEqual(c.backend.targets, []);
        const good = await exchange(c.port, GET, 'GET', { secure: true });
        assert.equal(good.status, 200);
        wire.destroy();
    });
});
