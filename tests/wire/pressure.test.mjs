/* SPDX-License-Identifier: MIT */
/* 100 MB towards an end that does not read: the gateway holds no more of it
 * than its buffers, and not a byte is lost. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { arrives, collect, frames, openTunnel, pour }
    from '../support/frames.mjs';
import { isSanitized, statusBytes } from '../support/process.mjs';

const TOTAL = 100e6;
const GROWTH_MAX = 2 * 1024 * 1024;
const STILL_MS = 300;

function* pieces(total)
{
    const piece = Buffer.alloc(65536);
    for (let i = 0; i < piece.length; i++)
        piece[i] = (i * 31 + (i >> 8)) & 255;
    for (let left = total, n = 0; left > 0; left -= piece.length, n++) {
        piece.writeUInt32LE(n, 0);
        yield Buffer.from(piece.subarray(0, Math.min(left, piece.length)));
    }
}

/* Resolves when the kernel took no byte of `socket` for a while. */
async function stalled(socket)
{
    const taken = () => socket.bytesWritten - socket.writableLength;
    for (let last = -1; last !== taken();) {
        last = taken();
        await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    }
    assert.ok(socket.writableLength > 0 || taken() < TOTAL,
              'everything was taken: nothing is stuck');
}

async function holds(gateway, from, to, source)
{
    const digest = collect(to);
    to.socket.pause();
    const before = statusBytes(gateway.gateway.pid, 'VmRSS');
    const pouring = pour(from, source);
    await stalled(from.socket);
    const grown = statusBytes(gateway.gateway.pid, 'VmRSS') - before;
    to.socket.resume();
    const sent = await pouring;
    await arrives(to, digest, sent);
    assert.ok(grown < GROWTH_MAX || isSanitized(gateway.gateway.pid),
              `RSS grew by ${grown} bytes`);
}

describe('100 MB that nobody reads', () => {
    const gateway = fixture();

    /* Once through without a pause: what the gateway allocates once is
     * there. */
    async function warm(way)
    {
        await way(4e6, async (from, to, source) => {
            const digest = collect(to);
            const sent = await pour(from, source);
            await arrives(to, digest, sent);
        });
        await way(TOTAL, (...ends) => holds(gateway, ...ends));
    }

    it('a response', () => warm(async (total, run) => {
        let upstream;
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            upstream = wire;
            wire.send(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
        };
        const client = await gateway.open();
        client.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
        await client.head();
        await run(upstream, client, pieces(total));
        client.destroy();
        await gateway.dropIdle();
    }));

    it('a POST', () => warm(async (total, run) => {
        let upstream;
        gateway.backend.early = (head, wire) => {
            wire.taken = true;
            wire.socket.pause();
            upstream = wire;
        };
        const client = await gateway.open();
        client.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
                    `Content-Length: ${total}\r\n\r\n`);
        /* More than sidgate reads before it takes a backend. */
        const source = pieces(total);
        const start = [source.next().value, source.next().value];
        start.forEach((piece) => client.send(piece));
        await gateway.backend.request();
        gateway.backend.reset();
        const come = upstream.take(upstream.buffer.length);
        const expected = Buffer.concat(start);
        upstream.socket.resume();
        const rest = expected.length - come.length;
        const tail = await upstream.bytes(rest);
        assert.ok(Buffer.concat([come, tail]).equals(expected));
        await run(client, upstream, source);
        client.destroy();
    }));

    for (const [name, mask] of [['client', false], ['backend', true]]) {
        it(`frames of a tunnel, to the ${name}`, () => warm(
            async (total, run) => {
                const { client, upstream } = await openTunnel(gateway);
                const ends = mask ? [client, upstream] : [upstream, client];
                await run(...ends, frames(total, { mask }));
                client.destroy();
                upstream.destroy();
            }));
    }
});
