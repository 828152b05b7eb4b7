/* SPDX-License-Identifier: MIT */
/*
 * Many hostile clients in a process of their own, so that whoever measures is
 * not slowed by them. On {port, isTls, kinds: {kind: count}} it opens them all
 * and says {open: true}; on {report: true} it tells how they ended so far, as
 * {report: {kind: {open, 408: n, fin: n, rst: n}}}; those that do not read
 * notice nothing before {read: true}. On {storm: {...}} it opens
 * and resets connections one after the other and says {stormed}.
 */

import { Duplex } from 'node:stream';
import net from 'node:net';
import tls from 'node:tls';

const AT_ONCE = 100;
const SECURE_AT_ONCE = 8; /* each shall be done in time */
const GIVE_UP_MS = 30_000;
const report = {};
const readers = [];
let port;
let isTls;
let hello;

/* What a TLS client says first. */
function clientHello()
{
    return new Promise((resolve) => {
        const duplex = new Duplex({
            read() {},
            write(chunk, encoding, done) {
                resolve(chunk);
                done();
            },
        });
        tls.connect({ socket: duplex, rejectUnauthorized: false })
            .on('error', () => {});
    });
}

function wait(ms)
{
    return new Promise((resolve) => setTimeout(resolve, ms));
}

/* Gives {socket, raw}, or null for one that could not be had. */
function open(secure, localAddress)
{
    return new Promise((resolve) => {
        const raw = net.connect({ port, host: '127.0.0.1', localAddress,
                                  allowHalfOpen: true });
        const socket = secure ? tls.connect({ socket: raw,
            rejectUnauthorized: false }) : raw;
        const timer = setTimeout(() => raw.destroy(), GIVE_UP_MS);
        raw.on('error', () => {});
        socket.on('error', () => {});
        raw.once('close', () => resolve(null));
        socket.once(secure ? 'secureConnect' : 'connect', () => {
            clearTimeout(timer);
            resolve({ socket, raw });
        });
    });
}

/* How it ends, whatever it has read until then. */
function watch(kind, socket, raw)
{
    const tally = report[kind];
    let status = '';
    let isOver = false;
    const end = (how) => {
        if (isOver)
            return;
        isOver = true;
        tally.open--;
        tally[how] = (tally[how] ?? 0) + 1;
        raw.resetAndDestroy();
    };
    socket.on('data', (chunk) => {
        if (!status)
            status = chunk.toString('latin1', 9, 12);
    });
    socket.on('end', () => end(status || 'fin'));
    raw.on('error', ({ code }) => end(code === 'ECONNRESET' ? 'rst' : code));
    raw.on('close', () => end(status || 'fin'));
    return () => isOver;
}

/* `bytes` again and again, as slowly as that, until the end. */
async function drip(socket, isOver, bytes, ms)
{
    await wait(Math.random() * ms);
    while (!isOver()) {
        socket.write(bytes);
        await wait(ms);
    }
}

const POST = 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: ';
const START = {
    heads: (socket, isOver) => {
        socket.write('GET /x HTTP/1.1\r\nHost: h\r\n');
        drip(socket, isOver, 'A: b\r\n', 400);
    },
    bodies: (socket, isOver) => {
        socket.write(`${POST}100000\r\n\r\n`);
        drip(socket, isOver, 'x', 400);
    },
    /* More than is read before a backend is chosen; then nothing. */
    streamed: (socket) => {
        socket.write(`${POST}1000000\r\n\r\n`);
        socket.write(Buffer.alloc(70_000, 'x'));
    },
    readers: (socket) => {
        socket.write('GET /large HTTP/1.1\r\nHost: h\r\n\r\n');
        socket.pause();
        readers.push(socket);
    },
    silent: () => {},
    /* The first part of a handshake, and one that is never gone on with. */
    partial: (socket) => socket.write(hello.subarray(0, 100)),
    unanswered: (socket) => socket.write(hello),
};

/* Those that speak no TLS to its end. */
const BARE = ['silent', 'partial', 'unanswered'];

async function one(kind)
{
    const ends = await open(isTls && !BARE.includes(kind));
    if (!ends) {
        report[kind].failed = (report[kind].failed ?? 0) + 1;
        return;
    }
    report[kind].open++;
    START[kind](ends.socket, watch(kind, ends.socket, ends.raw));
}

/* Calls run(i) for i < count, `AT_ONCE` at a time. */
async function each(count, run, atOnce = AT_ONCE)
{
    let next = 0;
    await Promise.all(Array.from({ length: atOnce }, async () => {
        while (next < count)
            await run(next++);
    }));
}

async function flood({ kinds })
{
    hello = await clientHello();
    const all = Object.entries(kinds).flatMap(([kind, count]) => {
        report[kind] = { open: 0 };
        return Array(count).fill(kind);
    });
    const isSecure = (kind) => isTls && !BARE.includes(kind);
    const secure = all.filter(isSecure);
    const others = all.filter((kind) => !isSecure(kind));
    await each(secure.length, (i) => one(secure[i]), SECURE_AT_ONCE);
    await each(others.length, (i) => one(others[i]));
    process.send({ open: true });
}

const WORDS = ['', 'GET /x HT', 'GET /quick HTTP/1.1\r\nHost: h\r\n\r\n',
               `${POST}100\r\n\r\nhello`];

/* A connection from one of many addresses, so that none runs out of ports,
 * which says one of some things and is reset, some of them after an answer. */
async function strike(i)
{
    const address = `127.0.${1 + i % 50}.${1 + Math.floor(i / 50) % 250}`;
    const isWhole = isTls && i % 4 === 3;
    const ends = await open(isWhole, address);
    if (!ends)
        return false;
    const word = isTls && !isWhole ?
        hello.subarray(0, [0, 100, hello.length][i % 3]) :
        WORDS[Math.floor(i / 4) % WORDS.length];
    if (word.length > 0)
        ends.socket.write(word);
    if (word === WORDS[2] && i % 5 === 0)
        await new Promise((resolve) => {
            ends.socket.once('data', resolve).once('close', resolve);
            setTimeout(resolve, 5000);
        });
    ends.raw.resetAndDestroy();
    return true;
}

async function storm({ count })
{
    let done = 0;
    hello = await clientHello();
    await each(count, async (i) => {
        if (await strike(i))
            done++;
    });
    process.send({ stormed: done });
}

process.on('message', (message) => {
    if (message.report) {
        process.send({ report });
        return;
    }
    if (message.read) {
        readers.forEach((socket) => socket.resume());
        return;
    }
    ({ port, isTls } = message);
    (message.storm ? storm(message.storm) : flood(message))
        .catch((error) => process.send({ error: String(error.stack) }));
});
process.on('disconnect', () => process.exit(0));
