/* SPDX-License-Identifier: MIT */
/* A page that watches, as raw bytes. */

import assert from 'node:assert/strict';

import { connect } from './wire.mjs';

export const LIVE = '/api/v1/live';

/* The lines of a handshake; `fields` replace those of the same name, and are
 * left out when null. */
export function handshake(fields = {}, target = LIVE)
{
    const all = {
        'Host': 'localhost', 'Connection': 'keep-alive, Upgrade',
        'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol': 'sidgate-live', ...fields,
    };
    return [`GET ${target} HTTP/1.1`,
            ...Object.entries(all).filter(([, value]) => value !== null)
                .map(([name, value]) => `${name}: ${value}`)];
}

export function bearer(token)
{
    const text = Buffer.from(token).toString('base64url');
    return { 'Sec-WebSocket-Protocol': `sidgate-live, bearer.${text}` };
}

/* One frame's opcode, whether it is a message's last, and its bytes. */
async function takeFrame(wire)
{
    const [first, short] = await wire.bytes(2);
    let length = short;
    if (short === 126)
        length = (await wire.bytes(2)).readUInt16BE();
    else if (short === 127)
        length = Number((await wire.bytes(8)).readBigUInt64BE());
    return { opcode: first & 15, isLast: (first & 0x80) !== 0,
             bytes: await wire.bytes(length) };
}

/* Gives {wire, next(), closed()}: the next message, and the code of the
 * close. */
export async function watch(t, { port, path }, fields = {})
{
    const wire = await connect(port, { path, secure: false });
    t.after(() => wire.destroy());
    wire.send(`${handshake(fields).join('\r\n')}\r\n\r\n`);
    const head = await wire.head();
    assert.equal(head.status, 101, wire.describe());
    assert.equal(head.get('sec-websocket-protocol'), 'sidgate-live');
    assert.equal(head.get('sec-websocket-extensions'), undefined);

    async function next()
    {
        const parts = [];
        for (;;) {
            const { opcode, isLast, bytes } = await takeFrame(wire);
            assert.equal(opcode, parts.length > 0 ? 0 : 1);
            parts.push(bytes);
            if (isLast)
                return JSON.parse(Buffer.concat(parts).toString());
        }
    }

    async function closed()
    {
        for (;;) {
            const { opcode, bytes } = await takeFrame(wire);
            if (opcode === 8)
                return bytes.readUInt16BE();
        }
    }

    return { wire, next, closed };
}
