/* SPDX-License-Identifier: MIT */
/*
 * Ports for servers, below those that the kernel gives away by itself. Of its
 * own the ends of connections hold most while tests run (TIME_WAIT), and who
 * asks for one soon gets what somebody else has just let go of: a node that was
 * stopped is another test's then, and one that tries a port of that range where
 * nobody listens may reach itself.
 */
import net from 'node:net';

const FIRST = 10_000;
const PARTS = 88;
const PART = 250;
const TRIES = 200;
/* The first port of the part that is used, as a promise, and what comes next of
 * it: one after the other, so that none comes again soon. */
let part = null;
let next = PART;

/* What is wrong, or undefined once it listens there. */
function listens(server, port, host)
{
    return new Promise((resolve) => {
        const over = (problem) => {
            server.off('error', over);
            server.off('listening', over);
            resolve(problem);
        };
        server.once('error', over);
        server.once('listening', over);
        server.listen(port, host);
    });
}

/* A part that no other process uses: as long as one lives it listens on the
 * first port of each that is its own. What it has chosen and not used yet, or
 * wants to be refused at, nobody else gets so. */
async function claim()
{
    const start = Math.floor(Math.random() * PARTS);
    for (let i = 0; i < PARTS; i++) {
        const first = FIRST + (start + i) % PARTS * PART;
        const holder = net.createServer((socket) => socket.destroy());
        if (!await listens(holder, first, '127.0.0.1')) {
            holder.unref();
            return first;
        }
    }
    return FIRST + start * PART; /* more processes than parts */
}

/* The next ones, so many in a row, whoever listens there. Each part is begun
 * elsewhere: it may have been another's, who is gone, and its servers are to
 * come back. */
async function take(count)
{
    if (next + count > PART) {
        part = claim();
        next = 1 + Math.floor(Math.random() * PART / 2);
    }
    const at = next;
    next += count;
    return await part + at;
}

/* Starts a net.Server at such a port of `host`; gives the port. */
export async function listenQuietly(server, host = '127.0.0.1')
{
    for (let i = 0; i < TRIES; i++) {
        const port = await take(1);
        const error = await listens(server, port, host);
        if (!error)
            return port;
        if (error.code !== 'EADDRINUSE')
            throw error;
    }
    throw new Error('no free port');
}

/* Whether nobody listens on any of so many ports. */
export async function areFree(first, count)
{
    for (let port = first; port < first + count; port++) {
        const server = net.createServer();
        const isFree = await new Promise((resolve) => {
            server.once('error', () => resolve(false));
            server.listen(port, '127.0.0.1', () => resolve(true));
        });
        if (!isFree)
            return false;
        await new Promise((resolve) => server.close(resolve));
    }
    return true;
}

/* So many ports in a row, on which nobody listens; gives the first. */
export async function quietPorts(count)
{
    for (let i = 0; i < TRIES; i++) {
        const first = await take(count);
        if (await areFree(first, count))
            return first;
    }
    throw new Error('no free ports');
}

/* A port on which nobody listens. */
export function quietPort()
{
    return quietPorts(1);
}
