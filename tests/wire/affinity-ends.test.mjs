/* SPDX-License-Identifier: MIT */
/* Sessions that end before they have begun, and those that an operator
 * ends. */

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { handshakeRequest, newSid, sidRequest, upgradeRequest } from
    '../support/engine.mjs';
import { descriptors } from '../support/process.mjs';
import { ask, cluster, goesOn, openSession, reach, storeIs,
         times } from '../support/replicas.mjs';
import { isKicked, upgraded } from '../support/sessions.mjs';
import { isGone, keyOf, mintsSid, noSessions,
         shared } from '../support/shared.mjs';
import { eventually } from '../support/wire.mjs';

const FLOOD = 500;
const PER_SECOND = 100;
/* Of the store, where it is awaited. */
const AWAITED = ['--store-timeout', '2s'];

/* ---- who leaves before the store has said a word ---- */

/* count handshakes whose answers wait for the store; all leave. */
async function leaveHeld({ open, backends: [node], gateways: [gateway] },
                         count, how)
{
    const wires = await times(count, 20, () => open(gateway));
    wires.forEach((wire) => wire.send(handshakeRequest()));
    await node.request(count - 1);
    await how(wires);
    await eventually(async () =>
        await gateway.metric('sidgate_connections') === 0, 'all have left');
}

const reset = (wires) => wires.forEach((wire) => wire.reset());

describe('the client leaves while its handshake waits', () => {
    for (const [policy, args] of [['open', []],
                                  ['closed', ['--store-outage', 'closed']]])
        describe(`with --store-outage ${policy}`, () => {
            const world = shared({ args: [...args, '--store-timeout', '8s'] });

            test('no key is left, the store answers later', async () => {
                const { redis, gateways: [gateway] } = world;
                const open = descriptors(gateway.pid).length;
                for (const count of [1, 50]) {
                    const [node] = world.backends;
                    node.reset();
                    await redis.pause();
                    try {
                        await leaveHeld(world, count, reset);
                    } finally {
                        redis.resume();
                    }
                    await storeIs(gateway, true);
                    await openSession(gateway);
                    assert.equal(node.sids.size, count + 1);
                    /* That of the last one is there. */
                    await eventually(async () => {
                        const keys = await redis.keys(keyOf('*'));
                        return keys.filter((key) => node.sids.has(
                            key.slice(keyOf('').length))).length === 1;
                    }, 'no other key');
                }
                await eventually(() =>
                    descriptors(gateway.pid).length <= open + 2,
                    'descriptors that were left');
            });

            test('an upstream that answers later still', async () => {
                const { redis, backends: [node], gateways: [gateway] } = world;
                const held = [];
                const before = await redis.keys(keyOf('*'));
                node.onHandshake = (request, wire) => held.push(wire);
                const wire = await world.open(gateway);
                wire.send(handshakeRequest());
                await node.request(0);
                wire.reset();
                await eventually(async () =>
                    await gateway.metric('sidgate_connections') === 0,
                    'it has left');
                const after = await redis.keys(keyOf('*'));
                assert.deepEqual(after.sort(), before.sort());
                held.forEach((one) => one.destroy());
            });
        });

    test('keys of those whose store went away have an end', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { args: AWAITED });
        const open = (gateway) => reach(gateway.port);
        await redis.pause();
        try {
            await leaveHeld({ open, backends, gateways }, 20, async (wires) => {
                /* All but the first few are answered without the store. */
                await storeIs(gateways[0], false);
                reset(wires);
            });
        } finally {
            redis.resume();
        }
        await storeIs(gateways[0], true);
        for (const key of await redis.keys(keyOf('*')))
            /* One that is gone meanwhile (-2) has had its end. */
            assert.notEqual(await redis.command('PTTL', key), -1, key);
    });
});

test('closed: a backend is not even asked while Redis is away', async (t) => {
    const { redis, backends: [node], gateways: [gateway] } =
        await cluster(t, { args: ['--store-outage', 'closed',
                                  '--store-timeout', '5s'] });
    await redis.pause();
    try {
        /* Nobody knows yet: the backend is asked, and the store waited for. */
        const first = await ask(gateway.port, handshakeRequest());
        assert.equal(first.status, 503);
        assert.equal(node.requests.length, 1);
        await storeIs(gateway, false);
        const began = Date.now();
        for (let i = 0; i < 50; i++) {
            const { status } = await ask(gateway.port, handshakeRequest());
            assert.equal(status, 503);
        }
        const websocket = await ask(gateway.port, upgradeRequest());
        assert.equal(websocket.status, 503);
        assert.ok(Date.now() - began < 6000, `${Date.now() - began} ms`);
        assert.equal(node.requests.length, 1);
    } finally {
        redis.resume();
    }
    await storeIs(gateway, true);
    await openSession(gateway);
});

/* ---- kicks ---- */

function kick(redis, name)
{
    return redis.command('PUBLISH', 'sidgate:control', `kick ${name}`);
}

function secret(t)
{
    const text = randomBytes(24).toString('hex');
    const file = path.join(os.tmpdir(),
                           `secret-${process.pid}-${newSid()}`);
    writeFileSync(file, text, { mode: 0o600 });
    t.after(() => rmSync(file));
    return { file, hashOf: (sid) =>
        createHmac('sha256', text).update(sid).digest('hex') };
}

function isDenied({ port }, sid)
{
    return eventually(async () => {
        const { status, text } = await ask(port, sidRequest(sid));
        return status === 400 && text.includes('"code":1');
    }, 'code 1');
}

describe('kick by the hash that Redis shows', () => {
    async function begin(t)
    {
        const { file, hashOf } = secret(t);
        const world = await cluster(t, { count: 2,
            args: ['--hash-sids-file', file] });
        const sid = await openSession(world.gateways[0]);
        const [key] = await world.redis.keys(keyOf('*'));
        assert.equal(key, keyOf(hashOf(sid)));
        return { world, sid, name: hashOf(sid) };
    }

    test('of a held poll', async (t) => {
        const { world, sid, name } = await begin(t);
        const { redis, backends: [node], gateways: [, second] } = world;
        node.onPoll = () => {};
        const wire = await reach(second.port);
        wire.send(sidRequest(sid));
        await node.request(1);
        await kick(redis, name);
        assert.equal((await wire.response()).text, '1');
        wire.destroy();
        await noSessions(redis);
    });

    test('of a tunnel', async (t) => {
        const { world, sid, name } = await begin(t);
        const client = await upgraded(world.backends[0], world.gateways[1], sid);
        await eventually(async () => await world.redis.command('HGET',
            keyOf(name), 'transport') === 'websocket', 'the upgrade');
        await kick(world.redis, name);
        await isKicked(client);
        await noSessions(world.redis);
    });

    test('between two polls: the next one is served', async (t) => {
        const { world, sid, name } = await begin(t);
        const { redis, gateways, backends: [node] } = world;
        await goesOn(gateways[1], sid);
        await kick(redis, name);
        /* The channel keeps the order. */
        const other = newSid();
        mintsSid(node, other);
        await openSession(gateways[0]);
        await kick(redis, other);
        for (const gateway of gateways) {
            await isDenied(gateway, other);
            await goesOn(gateway, sid);
        }
        await kick(redis, sid);
        for (const gateway of gateways)
            await isDenied(gateway, sid);
        await noSessions(redis);
    });
});

describe('kicks', () => {
    test('of another case, or of a part, are of somebody else', async (t) => {
        const { redis, gateways: [gateway], backends: [node] } =
            await cluster(t);
        const sid = 'aBcDeFgHiJkLmNoPqRsT';
        mintsSid(node, sid);
        await openSession(gateway);
        for (const name of [sid.toLowerCase(), sid.slice(0, -1), `${sid}x`,
                            ` ${sid}`, `${sid} `, `${sid}\n`, '*'])
            await kick(redis, name);
        /* The channel keeps the order. */
        const other = 'oTherSessionOfSomeone';
        mintsSid(node, other);
        await openSession(gateway);
        await kick(redis, other);
        await isGone(redis, other);
        await goesOn(gateway, sid);
    });

    test(`${FLOOD} in a second are bounded`, async (t) => {
        const world = await cluster(t, { nodes: 1, count: 2 });
        const { redis, gateways, backends: [node] } = world;
        const sids = await times(FLOOD, 20, (i) =>
            openSession(gateways[i % 2]));
        const mine = await openSession(gateways[0]);
        node.onPoll = (request, wire, sid) => sid === mine &&
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n4x');
        const held = await times(FLOOD, 20, async (i) => {
            const wire = await reach(gateways[i % 2].port);
            return wire.send(sidRequest(sids[i]));
        });
        /* FLOOD + 1 handshakes, and as many polls as there are others. */
        await node.request(2 * FLOOD, 30_000);
        const began = Date.now();
        const client = await redis.connect();
        await Promise.all(sids.map((sid) =>
            client.command('PUBLISH', 'sidgate:control', `kick ${sid}`)));
        client.close();
        await eventually(() => gateways.every((gateway) =>
            gateway.events('control_ignored').length > 0), 'the bound');
        await goesOn(gateways[0], mine);
        const counts = await Promise.all(gateways.map((gateway) =>
            gateway.metric('sidgate_kicked_total')));
        const seconds = Math.ceil((Date.now() - began) / 1000) + 1;
        const kicked = counts[0] + counts[1];
        assert.ok(kicked >= PER_SECOND / 2, `${kicked} were kicked`);
        assert.ok(kicked <= PER_SECOND * seconds, `${kicked} were kicked`);
        await eventually(async () => held.filter(({ total }) => total > 0)
            .length >= kicked, 'they know of it');
        /* What was dropped may be said again. */
        await eventually(async () => {
            await kick(redis, mine);
            return await redis.command('EXISTS', keyOf(mine)) === 0;
        }, 'a kick in the next second');
        for (const wire of held)
            wire.destroy();
        for (const gateway of gateways) {
            const lines = gateway.events('control_ignored').length;
            assert.ok(lines <= FLOOD, `${lines} lines`);
            t.diagnostic(`${gateway.name}: ${lines} lines are logged`);
            await openSession(gateway);
        }
    });
});
