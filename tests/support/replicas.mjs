/* SPDX-License-Identifier: MIT */
/* Several gateways that share one Redis. */

import assert from 'node:assert/strict';
import net from 'node:net';

import { handshakeRequest, sidRequest, startEngine } from './engine.mjs';
import { startGateway } from './gateway.mjs';
import { startRedis } from './redis.mjs';
import { eventually, Wire } from './wire.mjs';

const JOIN_MS = 15_000;
const PATIENCE = '8s';

/* Flags of replicas whose Redis may stand still as long as a busy machine
 * makes it, unless they say how long: as `args` of startReplicas(). Less than
 * what an answer is waited for. */
export function patient(args = [])
{
    if (typeof args === 'function')
        return (i) => patient(args(i));
    return args.includes('--store-timeout') ? args :
        [...args, '--store-timeout', PATIENCE];
}

/* A gateway that uses `url`; resolves when it is ready, which is before its
 * store is. more: for startGateway(). */
export async function startReplica({ name, url, backends, args = [], ...more })
{
    const workers = args.includes('--workers') ? [] : ['--workers', '1'];
    const gateway = await startGateway({ ...more, backends, args: [
        ...workers, '--gateway-name', name, '--store', url, ...args,
    ] });
    return Object.assign(gateway, {
        name,
        metric: async (which) => (await gateway.metrics()).get(which) ?? 0,
        events: (event) => gateway.stderr().split('\n')
            .filter((line) => new RegExp(`^\\S+ \\w+ ${event}\\b`).test(line)),
    });
}

/* All links to the store are up, or none is. */
export function storeIs(gateway, up, ms = JOIN_MS)
{
    return eventually(async () => await gateway.metric('sidgate_store_up') ===
        (up ? await gateway.metric('sidgate_store_connections') : 0),
        `${gateway.name}'s store ${up ? 'up' : 'down'}\n` +
        gateway.stderr().slice(-1500), ms);
}

/* Each has its store and has seen every other one. */
export async function together(gateways)
{
    await Promise.all(gateways.map((gateway) => storeIs(gateway, true)));
    await eventually(() => gateways.every(({ events }) =>
        events('replica_joined').length >= gateways.length - 1),
        'replicas that know each other', JOIN_MS);
}

/*
 * count replicas, gw1 to gwN, in front of the same backends. args: for each
 * gateway, or a function of its number (0 to N-1); url: of the store, where it
 * is not plain; more: for startGateway().
 */
export async function startReplicas({ redis, backends, count = 2, args = [],
                                      url = redis.url, ...more })
{
    const started = await Promise.allSettled(
        Array.from({ length: count }, (_, i) => startReplica({
            ...more, name: `gw${i + 1}`, url, backends,
            args: typeof args === 'function' ? args(i) : args,
        })));
    const gateways = started.flatMap(({ value }) => value ? [value] : []);
    try {
        const failed = started.find(({ reason }) => reason);
        if (failed)
            throw failed.reason;
        await together(gateways);
    } catch (error) {
        await Promise.all(gateways.map(({ stop }) => stop('SIGKILL')));
        throw error;
    }
    return gateways;
}

/* Ends them, and checks that each went in order. */
export async function stopReplicas(gateways)
{
    const ends = await Promise.all(gateways.map(({ stop }) => stop()));
    gateways.forEach(({ stderr }, i) => {
        assert.deepEqual(ends[i], { code: 0, signal: null }, stderr());
        assert.doesNotMatch(stderr(), /Sanitizer|runtime error/);
    });
}

/* So many replicas hear what is published. */
function listening(redis, count)
{
    return eventually(async () => {
        const names = await redis.command('PUBSUB', 'CHANNELS', '*:control');
        const [, heard = 0] = names.length === 0 ? [] :
            await redis.command('PUBSUB', 'NUMSUB', names[0]);
        return heard === count;
    }, 'replicas that listen', JOIN_MS);
}

/*
 * Redis, scripted Engine.IO backends and replicas for one test, which all end
 * with it. Gives {redis, backends, gateways, cold()}; cold starts one more
 * replica, which has seen no session yet.
 */
export async function cluster(t, { nodes = 1, count = 1, args, url,
                                   redis: redisArgs = [] } = {})
{
    const redis = await startRedis({ args: redisArgs });
    const backends = [];
    const gateways = [];
    t.after(async () => {
        await Promise.all(backends.map((backend) => backend.stop()));
        try {
            await stopReplicas(gateways);
        } finally {
            await Promise.all(gateways.map(({ stop }) => stop('SIGKILL')));
            await redis.stop();
        }
    });
    for (let i = 1; i <= nodes; i++)
        backends.push(await startEngine({ id: `n${i}` }));
    const where = typeof url === 'function' ? url(redis) : url;
    const flags = patient(args);
    gateways.push(...await startReplicas({ redis, backends, count, args: flags,
                                           url: where }));
    await listening(redis, count);
    const cold = async (more = []) => {
        const gateway = await startReplica({
            name: `gw${gateways.length + 1}`, backends,
            url: where ?? redis.url,
            args: [...(typeof flags === 'function' ? flags(gateways.length) :
                flags), ...more],
        });
        gateways.push(gateway);
        await storeIs(gateway, true);
        return gateway;
    };
    return { redis, backends, gateways, cold };
}

/* One exchange on a connection of its own, from the address `from`. */
export async function ask(port, bytes, { from = '127.0.0.1', ms,
                                         method } = {})
{
    const wire = await reach(port, from);
    try {
        return await wire.send(bytes).response(method, ms);
    } finally {
        wire.destroy();
    }
}

/* A connection from the address `from`. */
export function reach(port, from = '127.0.0.1')
{
    return new Promise((resolve, reject) => {
        const socket = net.connect({ host: '127.0.0.1', port,
            localAddress: from, allowHalfOpen: true });
        socket.once('error', reject);
        socket.once('connect', () => {
            socket.off('error', reject);
            resolve(new Wire(socket));
        });
    });
}

export function sidOf({ status, text })
{
    assert.equal(status, 200, text);
    return JSON.parse(text.slice(1)).sid;
}

/* A handshake; gives the sid. */
export async function openSession(gateway, options)
{
    return sidOf(await ask(gateway.port, handshakeRequest(), options));
}

/* A poll or POST of a session, which its backend answers. */
export async function goesOn(gateway, sid, options = {})
{
    const response = await ask(gateway.port, sidRequest(sid, options), options);
    assert.equal(response.status, 200,
                 `${gateway.name}, ${sid}: ${response.text}`);
    return response;
}

export async function closeSession(gateway, sid)
{
    const bytes = sidRequest(sid, { method: 'POST', body: '1' });
    assert.equal((await ask(gateway.port, bytes, { method: 'POST' })).status,
                 200);
}

/* work(i) for 0 to count-1, at most `width` at once. */
export async function times(count, width, work)
{
    let next = 0;
    const results = [];
    await Promise.all(Array.from({ length: width }, async () => {
        while (next < count) {
            const i = next++;
            results[i] = await work(i);
        }
    }));
    return results;
}
