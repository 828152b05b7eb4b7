/* SPDX-License-Identifier: MIT */
/* Tables of what moves which metric: each row causes something on purpose in a
 * small cluster, and says which series it moves, and by how much. */

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';

import { startBackend } from '../backend.mjs';
import { handshakeRequest, sidRequest, startEngine, switching, upgradeRequest }
    from '../engine.mjs';
import { frame, TEXT } from '../frames.mjs';
import { startGateway } from '../gateway.mjs';
import { startReplica, storeIs } from '../replicas.mjs';
import { startRedis } from '../redis.mjs';
import { connect, eventually } from '../wire.mjs';

const MOVE_MS = 15_000;
const LOOKS = 4; /* that find the same */
const LOOK_MS = 20;
const ONE_WORKER = ['--workers', '1'];

export const upgradeTarget = (sid) => '/socket.io/?EIO=4&transport=websocket' +
    (sid ? `&sid=${encodeURIComponent(sid)}` : '');

async function endInOrder(gateway)
{
    if (gateway === undefined)
        return;
    const { code } = await gateway.stop();
    assert.equal(code, 0, gateway.stderr());
    assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
}

/* One cluster and what rows do with it. */
class World {
    wires = [];
    backends = [];

    get backend()
    {
        return this.backends[0];
    }

    get port()
    {
        return this.gateway.port;
    }

    async open(more)
    {
        const wire = await connect(more?.port ?? this.port, more);
        this.wires.push(wire);
        return wire;
    }

    async ask(bytes, method = 'GET', more)
    {
        const wire = await this.open(more);
        wire.send(bytes);
        return wire.response(method);
    }

    async session(more)
    {
        const { status, text } = await this.ask(handshakeRequest(), 'GET',
                                                more);
        assert.equal(status, 200, text);
        return JSON.parse(text.slice(1)).sid;
    }

    poll(sid)
    {
        return this.ask(sidRequest(sid));
    }

    post(sid, body)
    {
        return this.ask(sidRequest(sid, { method: 'POST', body }), 'POST');
    }

    /* The two ends of a websocket; without a sid it has no session yet. */
    async websocket(sid)
    {
        const { backend } = this;
        let upstream;
        backend.handler = (request, wire) => {
            backend.handler = backend.fallback;
            wire.taken = true;
            upstream = wire;
            wire.send(switching(request));
        };
        const client = await this.open();
        client.send(upgradeRequest(upgradeTarget(sid)));
        assert.equal((await client.head()).status, 101);
        return { client, upstream };
    }

    /* A session on a websocket from its beginning. */
    async live(sid)
    {
        const ends = await this.websocket();
        ends.upstream.send(frame(TEXT, '0' + JSON.stringify({ sid,
            upgrades: [], pingInterval: 25000, pingTimeout: 20000 })));
        await ends.client.bytes(10);
        this.backend.sids.add(sid);
        return ends;
    }

    /* To the operator's API. */
    order(path)
    {
        return new Promise((resolve, reject) => {
            const request = http.request({
                host: '127.0.0.1', port: this.gateway.adminPort, path,
                method: 'POST', agent: false, timeout: 15_000,
            }, (response) => {
                response.resume().on('end', () => resolve(response.statusCode));
            });
            request.on('timeout', () =>
                request.destroy(new Error(`${path}: no answer`)));
            request.on('error', reject).end();
        });
    }

    /* No connection to a backend is left from what was before. */
    async dropIdle()
    {
        for (const backend of this.backends)
            backend.connections.forEach((wire) => wire.destroy());
        await eventually(async () => (await this.gateway.metrics())
            .get('sidgate_idle_backend_connections') === 0, 'no idle one');
    }

    /* What a row left is gone. */
    async tidy()
    {
        for (const wire of this.wires.splice(0))
            wire.destroy();
        for (const backend of this.backends)
            backend.reset();
        await this.dropIdle();
        await eventually(async () => {
            const metrics = await this.gateway.metrics();
            return metrics.get('sidgate_connections') === 0 &&
                metrics.get('sidgate_tunnels') === 0;
        }, 'no connection');
    }

    async stop()
    {
        for (const wire of this.wires.splice(0))
            wire.destroy();
        for (const backend of this.backends)
            await backend.stop();
        try {
            for (const gateway of [...this.others ?? [], this.gateway])
                await endInOrder(gateway);
        } finally {
            await this.redis?.stop();
            await this.close?.();
        }
    }
}

/*
 * needs: count   backends, n1 to nN (1)
 *        plain   they are scripted ones, without Engine.IO
 *        args    of the gateway; or a function of the world, which may be async
 *        listen  as of startGateway()
 *        redis   there is one
 */
export async function startWorld({ count = 1, plain, args = [], listen,
                                   redis } = {})
{
    const world = new World();
    try {
        for (let i = 1; i <= count; i++)
            world.backends.push(await (plain ? startBackend : startEngine)(
                { id: `n${i}` }));
        const more = typeof args === 'function' ? await args(world) : args;
        const options = { backends: world.backends, listen };
        if (redis) {
            world.redis = await startRedis();
            world.gateway = await startReplica({ ...options, args: more,
                name: 'gw1', url: world.redis.url });
            await storeIs(world.gateway, true);
        } else {
            world.gateway = await startGateway(
                { ...options, args: more.includes('--workers') ? more :
                    [...ONE_WORKER, ...more] });
        }
    } catch (error) {
        await world.stop();
        throw error;
    }
    return world;
}

export const fullName = (name) =>
    name.startsWith('process_') ? name : `sidgate_${name}`;

export const familyOf = (series) => series.split('{')[0];

/* What is not as the row says, in words. Other series of a family that it names
 * stay as they are. */
function wrong(moves, start, now)
{
    const wanted = new Map(Object.entries(moves)
        .map(([name, by]) => [fullName(name), by]));
    const families = new Set([...wanted.keys()].map(familyOf));
    const found = [];
    for (const name of wanted.keys())
        if (!now.has(name))
            found.push(`${name} is missing`);
    for (const [name, value] of now) {
        const by = wanted.get(name) ?? 0;
        const moved = value - (start.get(name) ?? 0);
        if (families.has(familyOf(name)) &&
            !(typeof by === 'function' ? by(moved) : moved === by))
            found.push(`${name} moved by ${moved}, not ${by}`);
    }
    return found;
}

/* Of these some move by themselves. */
const RESTLESS = /^(process_|sidgate_store_|sidgate_worker_cpu_)/;

/* What is said once nothing moves any more: a worker counts some of what it did
 * behind its answer. */
async function rest(world)
{
    const text = (metrics) => JSON.stringify([...metrics]
        .filter(([name]) => !RESTLESS.test(name)));
    let metrics = await world.gateway.metrics();
    let same = 1;
    await eventually(async () => {
        const before = text(metrics);
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        metrics = await world.gateway.metrics();
        same = text(metrics) === before ? same + 1 : 1;
        return same >= LOOKS;
    }, 'rest');
    return metrics;
}

async function moves(world, row)
{
    let last = [];
    await world.tidy();
    const prepared = await row.prepare?.(world);
    const start = await rest(world);
    await row.cause(world, prepared);
    await eventually(async () => {
        last = wrong(row.moves, start, await world.gateway.metrics());
        if (last.length > 0)
            await row.again?.(world, prepared);
        return last.length === 0;
    }, 'moves', MOVE_MS).catch((error) =>
        assert.fail(`${error.message}: ${last.join('; ')}\n` +
                    world.gateway.stderr().slice(-2000)));
    await row.finish?.(world, prepared);
    if (!row.ends)
        return;
    /* Nothing is counted a second time when all is over. */
    for (const wire of world.wires.splice(0))
        wire.destroy();
    await world.dropIdle();
    await eventually(async () => (await world.gateway.metrics())
        .get('sidgate_tunnels') === 0, 'the end');
    assert.deepEqual(wrong(row.moves, start, await world.gateway.metrics()),
                     []);
}

/*
 * Rows: {name, moves, cause(world, prepared), prepare(world), finish(world),
 * again(world, prepared), needs, fresh, ends}. moves: series without "sidgate_"
 * to how much, or to a function that says whether it is right. Those with the
 * same needs share a world, unless one is `fresh`. again: causes once more what
 * does not last. ends: what it says holds when all connections are gone, too.
 */
export function runRows(title, rows)
{
    const groups = new Map();
    rows.forEach((row, i) => {
        const key = row.fresh ? i : row.needs ?? null;
        groups.set(key, [...groups.get(key) ?? [], row]);
    });
    describe(title, () => {
        for (const group of groups.values())
            runGroup(group);
    });
}

function runGroup(rows)
{
    describe(rows.length === 1 ? rows[0].name : 'one cluster', () => {
        let world;

        before(async () => {
            world = await startWorld(rows[0].needs);
        });
        after(() => world?.stop());
        for (const row of rows)
            it(row.name, () => moves(world, row));
    });
}
