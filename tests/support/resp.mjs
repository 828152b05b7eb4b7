/* SPDX-License-Identifier: MIT */
/* Redis' protocol as bytes: whole messages cut from a stream, and a client
 * that says one command after the other. */

import net from 'node:net';
import tls from 'node:tls';

const CRLF = '\r\n';
const EMPTY = Buffer.alloc(0);

/* A command as a client sends it. */
export function encodeCommand(args)
{
    const parts = [Buffer.from(`*${args.length}${CRLF}`)];
    for (const arg of args) {
        const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
        parts.push(Buffer.from(`$${bytes.length}${CRLF}`), bytes,
                   Buffer.from(CRLF));
    }
    return Buffer.concat(parts);
}

export function bulk(text)
{
    return `$${Buffer.byteLength(text)}${CRLF}${text}${CRLF}`;
}

export function array(...items)
{
    return `*${items.length}${CRLF}${items.join('')}`;
}

/* The message at `at` as {value, end}; null where it is not whole. Errors are
 * Error objects; bulk strings are latin1, so that no byte is lost. */
export function parseReply(buffer, at = 0)
{
    const line = buffer.indexOf(CRLF, at, 'latin1');
    if (line < 0)
        return null;
    const text = buffer.toString('latin1', at + 1, line);
    const next = line + 2;
    switch (buffer[at]) {
    case 0x2b: /* + */
        return { value: text, end: next };
    case 0x2d: /* - */
        return { value: new Error(text), end: next };
    case 0x3a: /* : */
        return { value: Number(text), end: next };
    case 0x24: /* $ */
        return parseBulk(buffer, next, Number(text));
    case 0x2a: /* * */
        return parseArray(buffer, next, Number(text));
    default:
        throw new Error(`not a reply: ${buffer.toString('latin1', at,
                                                        at + 40)}`);
    }
}

function parseBulk(buffer, at, length)
{
    if (length < 0)
        return { value: null, end: at };
    if (buffer.length < at + length + 2)
        return null;
    return { value: buffer.toString('latin1', at, at + length),
             end: at + length + 2 };
}

function parseArray(buffer, at, count)
{
    if (count < 0)
        return { value: null, end: at };
    const value = [];
    for (let end = at; ;) {
        if (value.length === count)
            return { value, end };
        const item = parseReply(buffer, end);
        if (!item)
            return null;
        value.push(item.value);
        end = item.end;
    }
}

/* Cuts what is fed to it into whole messages; each is given to `each` with its
 * value and its bytes. */
export class RespReader
{
    #rest = EMPTY;

    constructor(each)
    {
        this.each = each;
    }

    feed(chunk)
    {
        this.#rest = this.#rest.length ? Buffer.concat([this.#rest, chunk]) :
            chunk;
        for (;;) {
            const found = this.#rest.length ? parseReply(this.#rest) : null;
            if (!found)
                return;
            const bytes = this.#rest.subarray(0, found.end);
            this.#rest = this.#rest.subarray(found.end);
            this.each(found.value, bytes);
        }
    }
}

/* One connection: command(...) resolves to the reply's value and rejects with
 * an error reply; with `onMessage` set, what nobody waits for goes there. */
export class RespClient
{
    #waiting = [];

    constructor(socket)
    {
        this.socket = socket;
        this.onMessage = null;
        const reader = new RespReader((value) => this.#arrived(value));
        socket.on('data', (chunk) => reader.feed(chunk));
        socket.on('error', () => {});
        socket.on('close', () => {
            for (const { reject } of this.#waiting.splice(0))
                reject(new Error('the connection to Redis ended'));
        });
        socket.unref();
    }

    #arrived(value)
    {
        const call = this.#waiting.shift();
        if (!call)
            this.onMessage?.(value);
        else if (value instanceof Error)
            call.reject(value);
        else
            call.resolve(value);
    }

    command(...args)
    {
        return new Promise((resolve, reject) => {
            if (this.socket.destroyed) {
                reject(new Error('the connection to Redis ended'));
                return;
            }
            this.socket.ref();
            const settle = (how) => (value) => {
                if (this.#waiting.length === 0)
                    this.socket.unref();
                how(value);
            };
            this.#waiting.push({ resolve: settle(resolve),
                                 reject: settle(reject) });
            this.socket.write(encodeCommand(args));
        });
    }

    close()
    {
        this.socket.destroy();
    }
}

/* where: {port} or {path}; ca: over TLS, with what is to be believed. */
export function connectResp({ ca, ...where })
{
    return new Promise((resolve, reject) => {
        const to = { host: '127.0.0.1', ...where };
        const socket = ca ?
            tls.connect({ ...to, ca, checkServerIdentity: () => {} }) :
            net.connect(to);
        socket.setNoDelay(true);
        socket.once('error', reject);
        socket.once(ca ? 'secureConnect' : 'connect', () => {
            socket.off('error', reject);
            resolve(new RespClient(socket));
        });
    });
}
