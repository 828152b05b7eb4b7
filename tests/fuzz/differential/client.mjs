/* SPDX-License-Identifier: MIT */
/* A client that writes bytes, ends, and keeps what comes back. Each has an
 * address of its own, by which backends tell whose a request is. */

import net from 'node:net';

const LATE_MS = 20_000;
let count = 0;

/* 127.1.0.1 and on. */
export function nextAddress()
{
    const n = ++count % 0xfc0000;
    return `127.${1 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

async function writeAll(socket, pieces)
{
    for (const piece of pieces) {
        if (socket.destroyed || !socket.writable)
            return;
        await new Promise((resolve) => socket.write(piece, resolve));
        if (pieces.length > 1)
            await new Promise(setImmediate);
    }
}

/* Resolves to {bytes, how}: how is fin, rst or late. With `aborts` it goes away
 * by RST behind the last piece; with `waits` it ends only after its peer. */
export function talk(port, pieces,
                     { localAddress, aborts = false, waits = false })
{
    return new Promise((resolve) => {
        const socket = net.connect({ port, host: '127.0.0.1', localAddress,
                                     allowHalfOpen: true, noDelay: true });
        const got = [];
        let how = 'fin';
        const timer = setTimeout(() => {
            how = 'late';
            socket.destroy();
        }, LATE_MS);
        socket.on('data', (piece) => got.push(piece));
        socket.on('end', () => socket.end());
        socket.on('error', (error) => {
            if (how === 'fin')
                how = error.code === 'ECONNRESET' || error.code === 'EPIPE' ?
                    'rst' : error.code;
        });
        socket.on('close', () => {
            clearTimeout(timer);
            resolve({ bytes: Buffer.concat(got), how });
        });
        socket.on('connect', async () => {
            await writeAll(socket, pieces);
            if (aborts)
                socket.resetAndDestroy();
            else if (!waits)
                socket.end();
        });
    });
}
