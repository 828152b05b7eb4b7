/* SPDX-License-Identifier: MIT */
/* Slow is not dead: what makes progress is not cut by a timer. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { newSid, openPacket, switching, upgradeRequest }
    from '../support/engine.mjs';
import { withCluster } from '../support/fixture.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { connect, openSocket } from '../support/wire.mjs';

const TOTAL = 20e6;
const STEP = 65536;
const STEP_MS = 400;
const LIMIT_MS = 3000; /* more than a busy machine may stand still */
const SLOW_MS = 5 * LIMIT_MS;

/* Reads at a steady pace, about 160 KB a second, for so long; then the rest. */
async function readSlowly(socket)
{
    const end = performance.now() + SLOW_MS;
    let count = 0;
    let isOver = false;
    socket.on('error', () => (isOver = true));
    socket.on('end', () => (isOver = true));
    for (let piece; !isOver && count < TOTAL;) {
        const isSlow = performance.now() < end;
        await new Promise((resolve) =>
            setTimeout(resolve, isSlow ? STEP_MS : 1));
        piece = (isSlow ? socket.read(STEP) : null) ?? socket.read();
        count += piece?.length ?? 0;
    }
    return count;
}

describe('slow', () => {
    /* The kernel frees its buffer in lumps that take longer than the limit
     * at this pace. */
    it('a steady reader outlives --write-timeout', () => withCluster(
        { args: ['--write-timeout', `${LIMIT_MS}ms`] }, async (c) => {
            c.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.send(`HTTP/1.1 200 OK\r\nContent-Length: ${TOTAL}\r\n\r\n`);
                wire.send(Buffer.alloc(TOTAL, 'x'));
            };
            const { socket } = await openSocket(c.port);
            socket.write('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
            assert.ok(await readSlowly(socket) >= TOTAL);
            socket.destroy();
        }));

    it('a first frame that comes late does not put off a shutdown', () =>
        withCluster({ args: ['--shutdown-timeout', '20s'] }, async (c) => {
            let upstream;
            c.backend.handler = (request, wire) => {
                wire.taken = true;
                upstream = wire;
                wire.send(switching(request));
            };
            const client = await connect(c.port);
            client.send(upgradeRequest());
            await client.head();
            const start = Date.now();
            const stopped = c.gateway.stop();
            await client.until(() => client.buffer.length >= 4, 'close frame');
            upstream.send(frame(TEXT, openPacket(newSid())));
            await stopped;
            assert.ok(Date.now() - start < 10_000, 'it waited');
            client.destroy();
        }));
});
