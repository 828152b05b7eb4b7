/* SPDX-License-Identifier: MIT */
/*
 * Clients that are there and say nothing, as a process of their own: websockets
 * that are open, polls that are held, sessions between two polls. Told {port,
 * tunnels, parked, idle} it opens so many of each and says {opened}, or {error}.
 * A second such message opens more.
 */

import net from 'node:net';

import { sidRequest, upgradeRequest, handshakeRequest } from './engine.mjs';

const AT_ONCE = 64;
const kept = [];

function connect(port)
{
    return new Promise((resolve, reject) => {
        const socket = net.connect(port, '127.0.0.1', () => resolve(socket));
        socket.on('error', reject);
        socket.setNoDelay(true);
    });
}

/* What comes until `isWhole` says so of it. */
function hear(socket, isWhole)
{
    return new Promise((resolve, reject) => {
        let text = '';
        const onClose = () => reject(new Error(`closed behind: ${text}`));
        const onData = (chunk) => {
            text += chunk.toString('latin1');
            if (!isWhole(text))
                return;
            socket.off('data', onData);
            socket.off('close', onClose);
            resolve(text);
        };
        socket.on('data', onData);
        socket.once('close', onClose);
    });
}

const hasBody = (text) => {
    const at = text.indexOf('\r\n\r\n');
    const length = /content-length: (\d+)/i.exec(text);
    return at >= 0 && length && text.length >= at + 4 + Number(length[1]);
};

async function ask(socket, bytes)
{
    socket.write(bytes);
    const text = await hear(socket, hasBody);
    if (!text.startsWith('HTTP/1.1 200'))
        throw new Error(text.slice(0, 80));
    return text;
}

async function openSession(socket)
{
    const text = await ask(socket, handshakeRequest());
    return JSON.parse(text.slice(text.indexOf('0{') + 1)).sid;
}

async function openTunnel(port)
{
    const socket = await connect(port);
    kept.push(socket);
    socket.write(upgradeRequest());
    await hear(socket, (text) => text.includes('"sid"'));
}

async function park(port)
{
    const socket = await connect(port);
    kept.push(socket);
    const sid = await openSession(socket);
    socket.write(sidRequest(sid));
}

/* Many on one connection. */
async function openIdle(port, count)
{
    const socket = await connect(port);
    for (let i = 0; i < count; i++)
        await openSession(socket);
    socket.destroy();
}

async function times(count, run)
{
    let left = count;
    const one = async () => {
        while (left-- > 0)
            await run();
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, one));
}

process.on('message', async ({ port, tunnels = 0, parked = 0, idle = 0 }) => {
    try {
        await times(tunnels, () => openTunnel(port));
        await times(parked, () => park(port));
        await times(Math.ceil(idle / 100), () => openIdle(port, 100));
        process.send({ opened: true });
    } catch (error) {
        process.send({ error: `sitters: ${error.message}` });
    }
});
process.on('disconnect', () => process.exit(0));
