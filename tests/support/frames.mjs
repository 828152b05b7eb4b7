/* SPDX-License-Identifier: MIT */
/* Websocket frames as bytes, and tunnels that carry them. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

import { switching, upgradeRequest } from './engine.mjs';
import { connect } from './wire.mjs';

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;

const MASK = Buffer.from([0x11, 0xa2, 0x33, 0xf4]);

function masked(payload)
{
    const out = Buffer.allocUnsafe(payload.length);
    for (let i = 0; i < payload.length; i++)
        out[i] = payload[i] ^ MASK[i & 3];
    return out;
}

export function frameHead(opcode, length, mask = false)
{
    const bit = mask ? 0x80 : 0;
    const key = mask ? MASK : Buffer.alloc(0);
    const first = 0x80 | opcode;
    if (length < 126)
        return Buffer.concat([Buffer.from([first, bit | length]), key]);
    if (length < 65536)
        return Buffer.concat([
            Buffer.from([first, bit | 126, length >> 8, length & 255]), key]);
    const head = Buffer.alloc(10);
    head[0] = first;
    head[1] = bit | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
    return Buffer.concat([head, key]);
}

/* A whole frame; clients mask theirs. */
export function frame(opcode, payload, { mask = false } = {})
{
    const bytes = Buffer.from(payload);
    return Buffer.concat([frameHead(opcode, bytes.length, mask),
                          mask ? masked(bytes) : bytes]);
}

export function closeFrame(code, options)
{
    return frame(CLOSE, [code >> 8, code & 255], options);
}

/* Frames of about `total` bytes together, of sizes around every boundary,
 * the same ones each time. */
export function* frames(total, options)
{
    const sizes = [0, 1, 125, 126, 127, 1000, 65535, 65536, 65537, 200000];
    const payload = Buffer.allocUnsafe(200000);
    let state = 7;
    for (let i = 0; i < payload.length; i++) {
        state = (state * 1103515245 + 12345) & 0x7fffffff;
        payload[i] = state >> 16;
    }
    for (let sent = 0, n = 0; sent < total; n++) {
        const part = payload.subarray(0, sizes[n % sizes.length]);
        const bytes = frame(BINARY, part, options);
        sent += bytes.length;
        yield bytes;
    }
}

/* Counts and hashes what is fed to it. */
export class Digest
{
    constructor()
    {
        this.length = 0;
        this.hash = createHash('sha256');
    }

    add(chunk)
    {
        this.length += chunk.length;
        this.hash.update(chunk);
    }

    value()
    {
        return `${this.length} ${this.hash.copy().digest('hex')}`;
    }
}

/* Opens a tunnel; gives its two ends. */
export async function openTunnel(cluster, more)
{
    const { backend, port } = cluster;
    let upstream;
    backend.handler = (request, wire) => {
        backend.handler = backend.fallback;
        wire.taken = true;
        upstream = wire;
        wire.send(switching(request));
    };
    const client = await connect(port, more);
    cluster.wires?.push(client);
    client.send(upgradeRequest());
    assert.equal((await client.head()).status, 101);
    return { client, upstream };
}

/* Writes all pieces, as fast as the reader lets it; gives their digest. */
export async function pour(wire, pieces)
{
    const sent = new Digest();
    for (const piece of pieces) {
        sent.add(piece);
        if (!wire.socket.write(piece))
            await new Promise((resolve) => wire.socket.once('drain', resolve));
    }
    return sent.value();
}

/* From now on what comes is counted and hashed, not kept. */
export function collect(wire)
{
    const digest = new Digest();
    wire.sink = (chunk) => digest.add(chunk);
    return digest;
}

/* Waits until all that pour() sent is there, unchanged. */
export async function arrives(wire, digest, sent)
{
    const length = parseInt(sent, 10);
    await wire.until(() => digest.length >= length, `${length} bytes`, 20000);
    assert.equal(digest.value(), sent);
}
