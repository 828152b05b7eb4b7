/* SPDX-License-Identifier: MIT */
/*
 * A Redis that misbehaves as a test tells it. A real one stands behind it and
 * gives the right answers, so that a conversation is right up to the very byte
 * at which it is to be wrong.
 */

import net from 'node:net';

import { listenQuietly } from './ports.mjs';
import { RespReader } from './resp.mjs';
import { bytesOf } from './wire.mjs';

/* The commands with which a connection begins. */
const SETUP = new Set(['AUTH', 'SELECT', 'CLIENT', 'SCRIPT', 'INFO',
                       'SUBSCRIBE', 'HELLO', 'READONLY', 'ROLE']);

class Conversation {
    #up;
    #waiting = [];
    #queue = Promise.resolve();
    #sent = 0;
    isSubscribed = false;

    constructor(fake, socket)
    {
        this.fake = fake;
        this.socket = socket;
        this.#up = net.connect({ path: fake.redis.path });
        for (const one of [socket, this.#up]) {
            one.on('error', () => {});
            one.on('close', () => this.end());
            one.setNoDelay(true);
            one.unref();
        }
        const replies = new RespReader((value, bytes) => {
            const take = this.#waiting.shift();
            if (take)
                take(bytes);
            else
                this.write(bytes);
        });
        this.#up.on('data', (chunk) => replies.feed(chunk));
        const commands = new RespReader((args) => {
            this.#queue = this.#queue.then(() => this.#one(args));
        });
        socket.on('data', (chunk) => {
            try {
                commands.feed(chunk);
            } catch (error) {
                fake.errors.push(error);
                this.end();
            }
        });
    }

    get isOver()
    {
        return this.socket.destroyed;
    }

    end()
    {
        for (const take of this.#waiting.splice(0))
            take(null);
        this.socket.destroy();
        this.#up.destroy();
    }

    reset()
    {
        this.socket.resetAndDestroy();
        this.end();
    }

    /* What the real one answers. */
    ask(bytes)
    {
        return new Promise((resolve) => {
            if (this.#up.destroyed) {
                resolve(null);
                return;
            }
            this.#waiting.push(resolve);
            this.#up.write(bytes);
        });
    }

    async #one(args)
    {
        const { fake } = this;
        const name = args[0].toUpperCase();
        fake.commands.push(args);
        this.isSubscribed ||= name === 'SUBSCRIBE';
        const right = () => this.ask(encode(args));
        const said = await fake.answer({ name, args, right, wire: this,
                                         isSetup: SETUP.has(name) });
        const bytes = said === undefined ? await right() : said;
        if (bytes !== null && !this.isOver)
            await this.write(bytesOf(bytes));
    }

    /* As much as `cutAt` lets through, in pieces where `dripMs` is set. */
    async write(bytes)
    {
        const { cutAt, dripMs } = this.fake;
        const part = bytes.subarray(0, Math.max(0, cutAt - this.#sent));
        this.#sent += part.length;
        for (let at = 0; dripMs && at < part.length && !this.isOver; at++) {
            this.socket.write(part.subarray(at, at + 1));
            await new Promise((resolve) => setTimeout(resolve, dripMs).unref());
        }
        if (!dripMs)
            this.socket.write(part);
        if (this.#sent >= cutAt)
            this.socket.end();
    }
}

function encode(args)
{
    const items = args.map((arg) => `$${arg.length}\r\n${arg}\r\n`);
    return bytesOf(`*${args.length}\r\n${items.join('')}`);
}

/*
 * Members to set, which hold for all connections:
 *   answer  ({name, args, right, wire, isSetup}): gives undefined for the right
 *           answer, bytes for these, null for none; right() asks the real one
 *           and gives its bytes
 *   greet   (wire): called for each new connection
 *   cutAt   bytes after which a connection ends
 *   dripMs  pause after each byte
 */
class FakeRedis {
    constructor(redis)
    {
        this.redis = redis;
        this.conversations = new Set();
        this.server = net.createServer((socket) => {
            const one = new Conversation(this, socket);
            this.conversations.add(one);
            socket.on('close', () => this.conversations.delete(one));
            this.accepted++;
            this.greet(one);
        });
        this.right();
    }

    /* As a Redis should be. */
    right()
    {
        this.answer = () => undefined;
        this.greet = () => {};
        this.cutAt = Infinity;
        this.dripMs = 0;
        this.commands = [];
        this.errors = [];
        this.accepted = 0;
    }

    get url()
    {
        return `redis://127.0.0.1:${this.port}/0`;
    }

    drop()
    {
        for (const one of this.conversations)
            one.end();
    }

    /* Bytes that nobody asked for, on every connection. */
    say(bytes)
    {
        for (const { socket } of this.conversations)
            socket.write(bytesOf(bytes));
    }

    stop()
    {
        this.drop();
        return new Promise((resolve) => this.server.close(resolve));
    }
}

export async function startFakeRedis(redis)
{
    const fake = new FakeRedis(redis);
    fake.port = await listenQuietly(fake.server);
    fake.server.unref();
    return fake;
}
