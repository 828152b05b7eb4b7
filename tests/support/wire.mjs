/* SPDX-License-Identifier: MIT */
/* One connection as bytes: sends exactly what it is told, keeps exactly what
 * comes, and every wait has a deadline. With TEST_TLS=1 those to the gateway
 * are TLS ones, and all else is the same. */

import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

import { testCertificates } from './certificates.mjs';
import { parseBody, parseHead, parseMessage } from './http1.mjs';

const WAIT_MS = 9000; /* less than what a head may take by itself */
/* For waits that end by an event alone. */
export const FOREVER = Infinity;
const EMPTY = Buffer.alloc(0);

export const IS_TLS = process.env.TEST_TLS === '1';
/* What backends are told of such clients. */
export const SCHEME = IS_TLS ? 'https' : 'http';
/* For tests of what TLS hides or has no word for. */
export const PLAIN_ONLY = IS_TLS && 'of TCP alone';

/* Strings stand for bytes: one character, one byte. */
export function bytesOf(data)
{
    return typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
}

export function gate()
{
    let open;
    const opened = new Promise((resolve) => (open = resolve));
    return { open, opened };
}

export class Wire {
    /* `raw` is the TCP connection beneath a TLS one. */
    constructor(socket, raw = socket)
    {
        this.socket = socket;
        this.raw = raw;
        this.buffer = EMPTY; /* come and not yet taken */
        this.history = [];   /* everything that came, unless a sink took it */
        this.total = 0;
        this.sink = null;
        this.fin = false;
        this.error = null;
        this.closed = false;
        this.waiters = new Set();
        raw.setNoDelay(true);
        socket.on('data', (chunk) => this.#arrived(chunk));
        socket.on('end', () => this.#changed(() => (this.fin = true)));
        socket.on('error', (e) => this.#changed(() => (this.error = e.code)));
        socket.on('close', () => this.#changed(() => (this.closed = true)));
    }

    #arrived(chunk)
    {
        this.total += chunk.length;
        if (this.sink) {
            this.sink(chunk);
        } else {
            this.history.push(chunk);
            this.buffer = Buffer.concat([this.buffer, chunk]);
        }
        this.#changed(() => {});
    }

    #changed(what)
    {
        what();
        for (const look of [...this.waiters])
            look();
    }

    /* Nothing more can come. */
    get over()
    {
        return this.fin || this.closed || this.error !== null;
    }

    describe()
    {
        const end = this.error || (this.fin ? 'FIN' : this.closed ? 'closed' :
            'open');
        const text = Buffer.concat(this.history).toString('latin1');
        return `[${end}, ${this.total} bytes came: ` +
            `${JSON.stringify(text.slice(-600))}]`;
    }

    /* Resolves to what test() returns as soon as that is true, looking anew at
     * each event. Rejects at the deadline, or once nothing more can come. */
    until(test, what, ms = WAIT_MS)
    {
        return new Promise((resolve, reject) => {
            let timer;
            const settle = (how, value) => {
                clearTimeout(timer);
                this.waiters.delete(look);
                how(value);
            };
            const fail = (why) => settle(reject,
                new Error(`waiting for ${what}: ${why} ${this.describe()}`));
            const look = () => {
                try {
                    const value = test();
                    if (value)
                        settle(resolve, value);
                    else if (this.over)
                        fail('the connection ended');
                } catch (error) {
                    error.message += ` ${this.describe()}`;
                    settle(reject, error);
                }
            };
            if (ms !== Infinity)
                timer = setTimeout(() => fail(`nothing in ${ms} ms`), ms);
            this.waiters.add(look);
            look();
        });
    }

    send(data)
    {
        this.socket.write(bytesOf(data));
        return this;
    }

    /* Each piece in a segment of its own: the next one is written when the
     * kernel has the one before. */
    async sendPieces(data, size = 1)
    {
        const bytes = bytesOf(data);
        for (let at = 0; at < bytes.length && !this.closed; at += size) {
            await new Promise((resolve) => this.socket.write(
                bytes.subarray(at, at + size), resolve));
            await new Promise(setImmediate);
        }
    }

    /* FIN, with TLS close_notify before it; the other direction stays open. */
    finish(data)
    {
        this.socket.end(data === undefined ? undefined : bytesOf(data));
        return this;
    }

    reset()
    {
        this.raw.resetAndDestroy();
        return this;
    }

    destroy()
    {
        this.socket.destroy();
    }

    take(count)
    {
        const taken = this.buffer.subarray(0, count);
        this.buffer = this.buffer.subarray(count);
        return taken;
    }

    async bytes(count, ms)
    {
        await this.until(() => this.buffer.length >= count, `${count} bytes`,
                         ms);
        return this.take(count);
    }

    /* Waits until `text` is among the bytes not yet taken, takes them all. */
    async upTo(text, ms)
    {
        const wanted = bytesOf(text);
        const end = await this.until(() => {
            const at = this.buffer.indexOf(wanted);
            return at < 0 ? 0 : at + wanted.length;
        }, JSON.stringify(text), ms);
        return this.take(end);
    }

    async head(kind = 'response', ms = WAIT_MS)
    {
        const head = await this.until(() => parseHead(this.buffer, kind),
                                      `the head of a ${kind}`, ms);
        this.take(head.size);
        return head;
    }

    /* Reads the body of a head that head() gave, and adds it there. */
    async body(head, { method, ms } = {})
    {
        const look = () => parseBody(this.buffer, head,
                                     { method, ended: this.fin });
        const body = await this.until(look, `the body of a ${head.kind}`, ms);
        this.take(body.bodySize);
        return Object.assign(head, body);
    }

    async message(kind, method, ms)
    {
        const look = () => parseMessage(this.buffer,
                                        { kind, method, ended: this.fin });
        const message = await this.until(look, `a whole ${kind}`, ms);
        this.take(message.size);
        return message;
    }

    /* The next response, an interim one included. */
    response(method = 'GET', ms = WAIT_MS)
    {
        return this.message('response', method, ms);
    }

    /* Resolves to 'fin' or 'rst' when the peer has ended; what came before is
     * left in the buffer. */
    async ended(ms = WAIT_MS)
    {
        await this.until(() => this.over, 'the end of the connection', ms);
        return this.error ? 'rst' : 'fin';
    }

    /* Everything up to the end, taken. */
    async rest(ms)
    {
        const how = await this.ended(ms);
        return { how, bytes: this.take(this.buffer.length) };
    }
}

function connected(socket, event)
{
    return new Promise((resolve, reject) => {
        socket.once('error', reject);
        socket.once(event, () => {
            socket.off('error', reject);
            resolve(socket);
        });
    });
}

let authority;

/* What makes a TLS connection of `raw`. */
function secured(raw, options)
{
    if (!authority)
        authority = readFileSync(testCertificates().authority.certificate);
    const socket = tls.connect({ ca: authority, host: '127.0.0.1', ...options,
                                 socket: raw });
    return connected(socket, 'secureConnect');
}

/*
 * Connects, to a port or, with `path`, to a unix socket. `first` is sent before
 * all else, TLS included; `secure` says whether to speak TLS, or with which
 * options of tls.connect(). Gives {socket, raw}.
 */
export async function openSocket(port, {
    host = '127.0.0.1', path, localAddress, first, secure = IS_TLS,
} = {})
{
    const to = path ? { path } : { host, port, localAddress };
    const raw = net.connect({ ...to, allowHalfOpen: true });
    await connected(raw, 'connect');
    if (first !== undefined)
        raw.write(bytesOf(first));
    const socket = secure ?
        await secured(raw, secure === true ? {} : secure) : raw;
    return { socket, raw };
}

/* The same as a Wire; `paused` ones read nothing until socket.resume(). */
export async function connect(port, { paused = false, ...options } = {})
{
    const { socket, raw } = await openSocket(port, options);
    const wire = new Wire(socket, raw);
    if (paused)
        socket.pause();
    return wire;
}

/* One exchange on a connection of its own. */
export async function exchange(port, bytes, method = 'GET', more = {})
{
    const wire = await connect(port, more);
    try {
        wire.send(bytes);
        return await wire.response(method);
    } finally {
        wire.destroy();
    }
}

/* For what no event announces: asks again and again until test() is true. */
export async function eventually(test, what, ms = WAIT_MS)
{
    const end = Date.now() + ms;
    while (!await test()) {
        if (Date.now() > end)
            throw new Error(`${what}: not in ${ms} ms`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

/* For what has to be quick: measure() gives how many ms it took, and what it
 * has to be true each time itself. A busy machine may hold one up, or two, but
 * not all of them. */
export async function inTime(measure, ms, tries = 5)
{
    const took = [];
    do
        took.push(await measure());
    while (took.at(-1) > ms && took.length < tries);
    if (took.at(-1) > ms)
        throw new Error(`not within ${ms} ms: ${took.map(Math.round)}`);
}
