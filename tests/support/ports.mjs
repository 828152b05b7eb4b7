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
const COUNT = 22_000;
const TRIES = 200;
/* One after the other, so that none comes again soon; each process elsewhere. */
let last = Math.floor(Math.random() * COUNT);

/* Starts a net.Server at such a port of `host`; gives the port. */
export async function listenQuietly(server, host = '127.0.0.1')
{
    for (let i = 0; i < TRIES; i++) {
        const port = FIRST + last++ % COUNT;
        const error = await new Promise((resolve) => {
            const over = (problem) => {
                server.off('error', over);
                server.off('listening', over);
                resolve(problem);
            };
            server.once('error', over);
            server.once('listening', over);
            server.listen(port, host);
        });
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
        if (last % COUNT + count > COUNT)
            last = 0;
        const first = FIRST + last % COUNT;
        last += count;
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
