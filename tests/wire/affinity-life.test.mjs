/* SPDX-License-Identifier: MIT */
/* How long a record lives in Redis, what renews it, and what ends it, with
 * requests that come through different replicas. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, newSid, openPacket, sidRequest, switching,
         UNKNOWN_SID, upgradeRequest } from '../support/engine.mjs';
import { closeFrame, frame, TEXT } from '../support/frames.mjs';
import { ask, cluster, closeSession, goesOn, openSession, sidOf, storeIs,
         times } from '../support/replicas.mjs';
import { deniesBy, isGone, keyOf, mintsSid, shared,
         whole } from '../support/shared.mjs';
import { eventually } from '../support/wire.mjs';

const TUNNEL_MS = 900_000;
const LEAST_MS = 20_000;
/* No life is asked for later than this after it was given. Less than what lives
 * that are not to be taken for each other differ by. */
const LATE_MS = 8000;
const OWN_LINE = / lua\]| unix:/;

function masked(payload)
{
    return frame(TEXT, payload, { mask: true });
}

function life(redis, sid)
{
    return redis.command('PTTL', keyOf(sid));
}

async function livesFor(redis, sid, ms)
{
    const left = await life(redis, sid);
    assert.ok(left > ms - LATE_MS && left <= ms, `${left} of ${ms} ms`);
}

/* What the replicas tell Redis about a session, from now on; that of a test
 * before may end meanwhile. */
async function listen(t, redis, sid)
{
    const monitor = await redis.monitor();
    t.after(() => monitor.close());
    return async () => {
        const lines = await monitor.lines(/./);
        return lines.filter((line) => line.includes(`"${keyOf(sid)}"`) &&
            !OWN_LINE.test(line));
    };
}

/* An upgrade of the session through `gateway`; gives its two ends. */
async function tunnel(world, gateway, { sid, owner })
{
    const engine = owner.fallback;
    let upstream;
    owner.handler = (request, wire) => {
        if (!request.has('upgrade'))
            return engine(request, wire);
        owner.handler = owner.fallback;
        wire.taken = true;
        upstream = wire;
        return wire.send(switching(request));
    };
    const before = await gateway.metric('sidgate_tunnels');
    const client = await world.open(gateway);
    client.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket' +
        `&sid=${encodeURIComponent(sid)}`));
    assert.equal((await client.head()).status, 101);
    await eventually(async () =>
        await gateway.metric('sidgate_tunnels') > before, 'it is counted');
    return { client, upstream };
}

async function upgrade(world, gateway, session)
{
    const ends = await tunnel(world, gateway, session);
    ends.client.send(masked('2probe'));
    await ends.upstream.bytes(masked('2probe').length);
    ends.client.send(masked('5'));
    await eventually(async () => await world.redis.command('HGET',
        keyOf(session.sid), 'transport') === 'websocket', 'websocket');
    return ends;
}

/* Both ends leave, and the gateway has noticed. */
async function hangUp(gateway, { client, upstream })
{
    const before = await gateway.metric('sidgate_tunnels');
    upstream.finish();
    client.finish();
    await client.ended();
    await eventually(async () =>
        await gateway.metric('sidgate_tunnels') === before - 1, 'its end');
}

describe('a record lives', () => {
    const world = shared({ count: 2 });

    for (const [interval, timeout, ms] of [
        [25_000, 20_000, 90_000],
        [25_000, 60_000, 170_000],
        [10_000, 1, 20_002],
        [5000, 5000, LEAST_MS],
        [300, 200, LEAST_MS],
        [1, 0, LEAST_MS],
        [0, 0, 600_000],
        [900_000, 900_000, 3_600_000],
        [1_800_000, 1, 3_600_000],
        [4_000_000_000, 4_000_000_000, 3_600_000],
    ])
        test(`${ms} ms with ${interval} and ${timeout}`, async () => {
            const { redis, gateways: [gateway], backends: [node] } = world;
            const sid = newSid();
            mintsSid(node, sid, { pingInterval: interval,
                                  pingTimeout: timeout });
            sidOf(await ask(gateway.port, handshakeRequest()));
            await livesFor(redis, sid, ms);
        });

    test('15 minutes when it begins as a websocket', async () => {
        const { redis, gateways: [gateway], backends: [node] } = world;
        const sid = newSid();
        node.handler = (request, wire) => {
            node.handler = node.fallback;
            wire.taken = true;
            wire.send(switching(request)).send(frame(TEXT, openPacket(sid)));
            world.upstream = wire;
        };
        const client = await world.open(gateway);
        client.send(upgradeRequest());
        assert.equal((await client.head()).status, 101);
        await eventually(async () =>
            await redis.command('EXISTS', keyOf(sid)) === 1, 'its key');
        assert.equal(await gateway.metric('sidgate_tunnels'), 1);
        const record = await redis.hash(keyOf(sid));
        assert.equal(record.transport, 'websocket');
        assert.match(record.gateway, /^gw1\./);
        await livesFor(redis, sid, TUNNEL_MS);
        await hangUp(gateway, { client, upstream: world.upstream });
        await isGone(redis, sid);
    });
});

describe('traffic renews a record', () => {
    const world = shared({ args: ['--store-timeout', '5s'] });

    /* One that only `other` is asked for, which has not seen it yet. */
    async function almostOver(left = 9000)
    {
        const { redis, backends: [node], gateways: [gateway], cold } = world;
        const other = await cold();
        const sid = newSid();
        mintsSid(node, sid, { pingInterval: 3000, pingTimeout: 3000 });
        await openSession(gateway);
        await redis.command('PEXPIRE', keyOf(sid), left);
        return { sid, other };
    }

    test('once, for fifty requests in a row', async (t) => {
        const { redis } = world;
        const { sid, other } = await almostOver();
        const told = await listen(t, redis, sid);
        for (let i = 0; i < 25; i++) {
            await goesOn(other, sid);
            await goesOn(other, sid, { method: 'POST', body: '4x' });
        }
        const lines = (await told()).filter((line) => /"EVALSHA"/.test(line));
        assert.equal(lines.length, 1, lines.join('\n'));
        await livesFor(redis, sid, LEAST_MS);
    });

    test('once, for fifty requests at once', async (t) => {
        const { redis } = world;
        const { sid, other } = await almostOver();
        const told = await listen(t, redis, sid);
        const wires = await times(50, 50, () => world.open(other));
        /* All of them wait for the same lookup. */
        await redis.pause();
        try {
            wires.forEach((wire) => wire.send(sidRequest(sid)));
            await eventually(async () => await other.metric(
                'sidgate_requests_total') === wires.length, 'all wait');
        } finally {
            redis.resume();
        }
        for (const wire of wires)
            assert.equal((await wire.response()).status, 200);
        const lines = (await told()).filter((line) => /"EVALSHA"/.test(line));
        assert.equal(lines.length, 1, `${lines.length} times`);
        await livesFor(redis, sid, LEAST_MS);
    });

    test('not before half of its life is over', async (t) => {
        const { redis } = world;
        const left = LEAST_MS - 1000;
        const { sid, other } = await almostOver(left);
        const told = await listen(t, redis, sid);
        await times(50, 10, () => goesOn(other, sid));
        const lines = (await told()).filter((line) => /"EVALSHA"/.test(line));
        assert.deepEqual(lines, []);
        assert.ok(await life(redis, sid) <= left);
    });

    test('again and again, as long as there is some', async (t) => {
        const { redis, gateways: [gateway], backends: [node] } = world;
        const sid = newSid();
        mintsSid(node, sid, { pingInterval: 3000, pingTimeout: 3000 });
        await openSession(gateway);
        const told = await listen(t, redis, sid);
        const began = Date.now();
        let lines = [];
        while (lines.length === 0 || Date.now() - began < 11_500) {
            await goesOn(gateway, sid);
            assert.ok(await life(redis, sid) > LEAST_MS / 2 - LATE_MS);
            await new Promise((resolve) => setTimeout(resolve, 250));
            lines = await told();
        }
        assert.equal(lines.length, 1, lines.join('\n'));
        assert.match(lines[0], /"EVALSHA"/);
        await livesFor(redis, sid, LEAST_MS);
    });
});

describe('an upgrade', () => {
    const world = shared({ nodes: 2, count: 2 });

    test('through another replica: the record tells', async () => {
        const { redis, gateways: [first, second] } = world;
        const session = await world.session(first);
        const before = await redis.hash(keyOf(session.sid));
        const ends = await upgrade(world, second, session);
        const { transport, gateway, seen, ...rest } =
            await redis.hash(keyOf(session.sid));
        assert.equal(transport, 'websocket');
        assert.match(gateway, /^gw2\.[0-9a-f]{8}$/);
        assert.ok(seen >= before.seen);
        for (const [name, value] of Object.entries(rest))
            assert.equal(value, before[name], name);
        await livesFor(redis, session.sid, TUNNEL_MS);
        await hangUp(second, ends);
        await isGone(redis, session.sid);
    });

    test('is not undone by what the other replica writes after a loss',
         async () => {
        const { redis, gateways: [first, second] } = world;
        const session = await world.session(first);
        const ends = await upgrade(world, second, session);
        const lost = [first, second].map((one) =>
            one.events('store_lost').length);
        await redis.command('FLUSHALL');
        for (const [i, one] of [first, second].entries())
            await eventually(() => one.events('store_lost').length > lost[i],
                             `${one.name} notices`);
        /* Each writes within a twentieth of a second. */
        for (const one of [first, second])
            await eventually(async () => await one.metric(
                'sidgate_republished_total') > 0, `${one.name} writes`);
        const { transport, gateway } = await redis.hash(keyOf(session.sid));
        assert.equal(transport, 'websocket');
        assert.match(gateway, /^gw2/);
        await hangUp(second, ends);
        await isGone(redis, session.sid);
    });

    test('that ends before its second frame ends nothing', async () => {
        const { redis, gateways } = world;
        for (const gateway of gateways)
            for (const frames of [[], ['2probe']]) {
                const session = await world.session();
                const ends = await tunnel(world, gateway, session);
                for (const payload of frames)
                    ends.client.send(masked(payload));
                await hangUp(gateway, ends);
                const { transport } = await redis.hash(keyOf(session.sid));
                assert.equal(transport, 'polling');
                await livesFor(redis, session.sid, 90_000);
                for (const one of gateways)
                    await goesOn(one, session.sid);
            }
    });

    test('control frames do not count', async () => {
        const { redis, gateways: [gateway] } = world;
        const session = await world.session();
        const ends = await tunnel(world, gateway, session);
        ends.client.send(masked('2probe'));
        ends.client.send(frame(9, '', { mask: true }));
        ends.client.send(frame(10, '', { mask: true }));
        ends.client.send(closeFrame(1000, { mask: true }));
        await hangUp(gateway, ends);
        assert.equal((await redis.hash(keyOf(session.sid))).transport,
                     'polling');
    });

    for (const [what, which, isKnown] of [
        ['the same replica', 0, true],
        ['another replica', 1, false],
        ['another one that knew it as polling', 1, true],
    ])
        test(`a second one through ${what} proves nothing`, async () => {
            const { redis, gateways: [first, ...others] } = world;
            const second = [first, ...others][which];
            const session = await world.session(first);
            if (isKnown)
                await goesOn(second, session.sid);
            const own = await upgrade(world, first, session);
            const more = await tunnel(world, second, session);
            more.client.send(masked('2probe')).send(masked('5'));
            await more.upstream.bytes(2 * 7 - 1);
            await hangUp(second, more);
            const { transport, gateway } = await redis.hash(
                keyOf(session.sid));
            assert.equal(transport, 'websocket');
            assert.match(gateway, /^gw1\./);
            await hangUp(first, own);
            await isGone(redis, session.sid);
        });

    test('a poll that comes late does not take it back', async () => {
        const { redis, gateways: [first, second] } = world;
        const session = await world.session(first);
        const ends = await upgrade(world, second, session);
        await goesOn(first, session.sid);
        await goesOn(second, session.sid);
        assert.equal((await redis.hash(keyOf(session.sid))).transport,
                     'websocket');
        await livesFor(redis, session.sid, TUNNEL_MS);
        await hangUp(second, ends);
        await isGone(redis, session.sid);
    });
});

describe('a record of another replica ends', () => {
    const world = shared({ nodes: 2, count: 2 });

    /* As the second replica sees it: known to its cache or not. */
    async function sessions()
    {
        const { gateways: [first, second] } = world;
        const fresh = await world.session(first);
        const known = await world.session(first);
        await goesOn(second, known.sid);
        return [fresh, known];
    }

    test('with a goodbye that is posted', async () => {
        const { redis, gateways: [, second] } = world;
        for (const { sid } of await sessions()) {
            await closeSession(second, sid);
            await isGone(redis, sid);
        }
    });

    test('with a goodbye that is polled', async () => {
        const { redis, gateways: [, second] } = world;
        for (const { sid, owner } of await sessions())
            for (const body of ['1']) {
                owner.onPoll = (request, wire) => wire.send(ok(body));
                await goesOn(second, sid);
                await isGone(redis, sid);
            }
    });

    test('with a denial', async () => {
        const { redis, gateways: [, second] } = world;
        for (const { sid, owner } of await sessions()) {
            deniesBy(owner, whole(UNKNOWN_SID));
            assert.equal((await ask(second.port, sidRequest(sid))).status, 400);
            await isGone(redis, sid);
            owner.reset();
        }
    });

    test('not with what only looks like one', async () => {
        const { redis, gateways: [, second] } = world;
        for (const { sid, owner } of await sessions()) {
            owner.onPoll = (request, wire) => wire.send(ok('41'));
            await goesOn(second, sid);
            await goesOn(second, sid, { method: 'POST', body: '41' });
            assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
        }
    });
});

describe('a touch finds its key gone', () => {
    test('all records of the replica come back, once', async (t) => {
        const { redis, gateways: [first], backends: [node], cold } =
            await cluster(t);
        const second = await cold();
        node.onHandshake = (request, wire) => {
            const sid = newSid();
            node.sids.add(sid);
            wire.send(ok(openPacket(sid, { pingInterval: 3000,
                                           pingTimeout: 3000 })));
        };
        const sids = await times(40, 10, () => openSession(second));
        const foreign = await openSession(first);
        const [touched] = sids;
        const before = await Promise.all(sids.map((sid) =>
            redis.hash(keyOf(sid))));
        /* Half of a life of 20 s, and a bit. */
        await new Promise((resolve) => setTimeout(resolve, 10_300));
        await redis.command('DEL', ...sids.map((sid) => keyOf(sid)),
                            keyOf(foreign));
        await goesOn(second, touched);
        await eventually(async () => await second.metric(
            'sidgate_republished_total') >= sids.length - 1, 'all are back');
        const after = await Promise.all(sids.map((sid) =>
            redis.hash(keyOf(sid))));
        for (const [i, { seen, ...rest }] of after.entries()) {
            const { seen: was, ...same } = before[i];
            assert.deepEqual(rest, same);
            assert.ok(i > 0 ? seen >= was : seen > was, `${was}, ${seen}`);
        }
        await livesFor(redis, touched, LEAST_MS);
        for (const sid of sids.slice(1)) {
            const left = await life(redis, sid);
            assert.ok(left > 0 && left < 11_000, `${left} ms`);
        }
        assert.equal(second.events('store_lost').length, 1);
        assert.ok(await second.metric('sidgate_republished_total') <=
            sids.length);
        /* What the other replica alone knew it has not been asked for. */
        assert.equal(await redis.command('EXISTS', keyOf(foreign)), 0);
        assert.equal(first.events('store_lost').length, 0);
        await storeIs(second, true);
        await goesOn(first, foreign);
        await eventually(async () =>
            await redis.command('EXISTS', keyOf(foreign)) === 1, 'its key');
    });
});
