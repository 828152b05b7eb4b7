/* SPDX-License-Identifier: MIT */
/* A sid that two backends hand out, through different replicas; and sids that
 * clients of netty-socketio come back with. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, newSid, openPacket, sidRequest, switching,
         UNKNOWN_SID, upgradeRequest } from '../support/engine.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { ask, cluster, goesOn, sidOf } from '../support/replicas.mjs';
import { deniesBy, keyOf, mintsSid, plain, requestsOf, shared,
         whole } from '../support/shared.mjs';
import { eventually, FOREVER } from '../support/wire.mjs';

const NOT_ALLOWED =
    'HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n';
const EMPTY_500 = 'HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n';
const ROUND_ROBIN = ['--balance', 'round-robin'];
const RACES = 20;

/* Handshakes through `gateway` until one got to another backend than `owner`,
 * all of which hand out `sid`; gives the answer and who gave it. */
async function claim({ backends }, gateway, { sid, owner })
{
    const claimers = backends.filter((one) => one !== owner);
    for (const claimer of claimers) {
        mintsSid(claimer, sid);
        claimer.requests = [];
    }
    for (let i = 0; i < backends.length; i++) {
        const response = await ask(gateway.port, handshakeRequest());
        const claimer = claimers.find(({ requests }) => requests.length > 0);
        claimers.forEach((one) => one.mints());
        if (claimer)
            return { response, claimer };
        claimers.forEach((one) => mintsSid(one, sid));
    }
    throw new Error('no handshake reached another backend');
}

function backendOf({ redis }, sid)
{
    return redis.command('HGET', keyOf(sid), 'backend');
}

function putsGet405(owner)
{
    const engine = owner.fallback;
    owner.handler = (request, wire) => request.method === 'PUT' ?
        wire.send(NOT_ALLOWED) : engine(request, wire);
}

/* The same for every way in which a takeover is refused. */
async function isRefused(world, session)
{
    const { gateways: [first, second] } = world;
    const before = await second.metric('sidgate_sid_conflicts_total');
    const told = second.events('sid_conflict').length;
    const { response, claimer } = await claim(world, second, session);
    assert.equal(response.status, 502);
    assert.ok(!response.text.includes(session.sid), response.text);
    assert.equal(await second.metric('sidgate_sid_conflicts_total'),
                 before + 1);
    const lines = second.events('sid_conflict').slice(told);
    assert.equal(lines.length, 1);
    assert.match(lines[0], new RegExp(
        ` owner=${session.owner.id} claimed_by=${claimer.id}$`));
    assert.ok(!lines[0].includes(session.sid), 'the log holds a whole sid');
    assert.equal(await backendOf(world, session.sid), session.owner.id);
    for (const gateway of [first, second])
        assert.equal((await goesOn(gateway, session.sid)).text,
                     `4${session.owner.id}`);
}

/* The claimer has it now, and both replicas know. */
async function isRebound(world, session)
{
    const { gateways: [first, second] } = world;
    const { response, claimer } = await claim(world, second, session);
    assert.equal(sidOf(response), session.sid);
    assert.equal(await backendOf(world, session.sid), claimer.id);
    const before = await first.metric('sidgate_rerouted_total');
    assert.equal((await goesOn(second, session.sid)).text, `4${claimer.id}`);
    assert.equal((await goesOn(first, session.sid)).text, `4${claimer.id}`);
    assert.equal(await first.metric('sidgate_rerouted_total'), before + 1);
    return claimer;
}

describe('a sid of another replica that a second backend mints', () => {
    const world = shared({ nodes: 3, count: 2, args: ROUND_ROBIN });

    test('is refused while its owner knows it', async () => {
        await isRefused(world, await world.session());
    });

    test('is refused where its owner cannot tell', async () => {
        const session = await world.session();
        putsGet405(session.owner);
        await isRefused(world, session);
    });

    test('is refused where its owner is silent', async () => {
        const session = await world.session();
        const engine = session.owner.fallback;
        session.owner.handler = (request, wire) =>
            request.method === 'PUT' ? undefined : engine(request, wire);
        await isRefused(world, session);
    });

    test('is bound anew when its owner denies it', async () => {
        const session = await world.session();
        session.owner.sids.delete(session.sid);
        const claimer = await isRebound(world, session);
        assert.equal(session.owner.probes.length, 1);
        assert.equal(await world.redis.command('HGET', keyOf(session.sid),
                                               'eio'), '4');
        assert.equal(requestsOf(claimer, session.sid).length, 2);
    });

    test('of its own owner stays bound', async () => {
        const { gateways: [first, second], backends } = world;
        const { sid, owner } = await world.session(first);
        for (const backend of backends)
            backend.mint = () => sid;
        let sids = 0;
        for (let i = 0; i < 3; i++) {
            owner.requests = [];
            const { status } = await ask(second.port, handshakeRequest());
            assert.equal(status, owner.requests.length ? 200 : 502);
            sids += status === 200;
        }
        assert.equal(sids, 1);
        assert.equal(await backendOf(world, sid), owner.id);
    });

    test('is refused to a websocket, too', async () => {
        const { gateways: [, second], backends, redis } = world;
        const { sid, owner } = await world.session();
        const told = second.events('sid_conflict').length;
        const before = await redis.hash(keyOf(sid));
        const claimer = backends.find((one) => one !== owner);
        for (const backend of backends)
            backend.handler = (request, wire) => {
                if (!request.has('upgrade'))
                    return backend.fallback(request, wire);
                wire.taken = true;
                wire.until(() => wire.fin, 'its end', FOREVER)
                    .then(() => wire.finish(), () => {});
                return wire.send(switching(request)).send(frame(TEXT,
                    openPacket(backend === claimer ? sid : newSid())));
            };
        for (let i = 0; i < backends.length; i++) {
            const wire = await world.open(second);
            wire.send(upgradeRequest());
            assert.equal((await wire.head()).status, 101);
        }
        await eventually(() =>
            second.events('sid_conflict').slice(told).some((line) =>
                line.endsWith(`claimed_by=${claimer.id}`)), 'the refusal');
        assert.deepEqual(await redis.hash(keyOf(sid)), before);
        assert.equal((await goesOn(second, sid)).text, `4${owner.id}`);
    });

    test('by a client that leaves while the owner is asked', async () => {
        const { gateways: [, second], backends } = world;
        const { sid, owner } = await world.session();
        const engine = owner.fallback;
        const asked = [];
        owner.handler = (request, wire) => request.method === 'PUT' ?
            asked.push(wire) : engine(request, wire);
        backends.filter((one) => one !== owner)
            .forEach((one) => mintsSid(one, sid));
        const wires = [];
        for (let i = 0; i < 6; i++) {
            const wire = await world.open(second);
            wires.push(wire.send(handshakeRequest()));
        }
        await eventually(() => asked.length === 4, 'four questions');
        wires.forEach((wire) => wire.reset());
        await eventually(async () =>
            await second.metric('sidgate_connections') === 0, 'all have left');
        asked.forEach((wire) => wire.send(UNKNOWN_SID));
        await goesOn(second, sid);
        assert.equal(await backendOf(world, sid), owner.id);
    });

    /* Both replicas and two backends at the same time. */
    async function race(prepare)
    {
        const { gateways, backends } = world;
        let clashes = 0;
        for (let i = 0; i < RACES; i++) {
            const { sid, others } = await prepare();
            for (const backend of others)
                backend.onHandshake = (request, wire) => {
                    backend.sids.add(sid);
                    wire.send(ok(openPacket(sid), `X-From: ${backend.id}\r\n`));
                };
            const answers = await Promise.all([0, 1, 0, 1].map((n) =>
                ask(gateways[n].port, handshakeRequest())));
            backends.forEach((backend) => backend.mints());
            const claims = answers.filter((one) => one.status === 502 ||
                one.text.includes(sid));
            const winners = new Set(answers.filter(({ text }) =>
                text.includes(sid)).map((one) => one.get('x-from')));
            assert.ok(claims.length > 0);
            assert.equal(winners.size, 1, [...winners].join());
            assert.deepEqual([...winners], [await backendOf(world, sid)]);
            clashes += claims.some(({ status }) => status === 502);
            for (const gateway of gateways)
                assert.equal((await goesOn(gateway, sid)).text,
                             `4${[...winners][0]}`);
        }
        assert.ok(clashes >= RACES / 4, `only ${clashes} clashes`);
    }

    test('by two backends at once: one of them gets it', () =>
        race(async () => {
            const { sid, owner } = await world.session();
            owner.sids.delete(sid);
            return { sid, others: world.backends.filter((b) => b !== owner) };
        }));

    test('by two backends at once, new: one of them gets it', () =>
        race(() => ({ sid: newSid(), others: world.backends })));
});

describe('with --sid-conflict newest, such a sid', () => {
    const world = shared({ nodes: 3, count: 2, args: [
        ...ROUND_ROBIN, '--sid-conflict', 'newest',
    ] });

    test('is taken from an owner that cannot tell', async () => {
        const session = await world.session();
        putsGet405(session.owner);
        const { response, claimer } = await claim(world, world.gateways[1],
                                                  session);
        assert.equal(sidOf(response), session.sid);
        assert.equal(await backendOf(world, session.sid), claimer.id);
    });

    test('is never taken from one that knows it', async () => {
        await isRefused(world, await world.session());
    });
});

test('a sid whose owner is dead is bound anew', async (t) => {
    const world = await cluster(t, { nodes: 3, count: 2, args: ROUND_ROBIN });
    const { gateways: [first], backends } = world;
    const sid = sidOf(await ask(first.port, handshakeRequest()));
    const owner = backends.find(({ sids }) => sids.has(sid));
    await owner.stop();
    await isRebound(world, { sid, owner });
});

/* netty-socketio takes the sid of the `io` field or cookie for the new
 * session, if it is a UUID. */
function playsNetty(backend)
{
    backend.onHandshake = (request, wire) => {
        const cookie = /(?:^|; *)io=([^;]*)/.exec(request.get('cookie') ?? '');
        const sid = request.get('io') ?? cookie?.[1] ?? randomUUID();
        backend.sids.add(sid);
        wire.send(ok(openPacket(sid)));
    };
}

function hinted(sid, form)
{
    const fields = {
        field: `io: ${sid}\r\n`,
        cookie: `Cookie: a=b; io=${sid}\r\n`,
    }[form];
    return handshakeRequest().replace('\r\n\r\n', `\r\n${fields}\r\n`);
}

describe('netty: a handshake that names', () => {
    const world = shared({ nodes: 3, count: 2, args: ['--netty'] });

    async function bound()
    {
        world.backends.forEach(playsNetty);
        const { sid } = await world.session();
        const owner = world.backends.find(({ sids }) => sids.has(sid));
        owner.requests = [];
        return { sid, owner };
    }

    for (const form of ['field', 'cookie'])
        test(`a bound sid by ${form} goes to its owner`, async () => {
            const { sid, owner } = await bound();
            for (let i = 0; i < 20; i++) {
                const response = await ask(world.gateways[i % 2].port,
                                           hinted(sid, form));
                assert.equal(sidOf(response), sid);
                assert.equal(owner.requests.length, i + 1);
            }
            assert.equal(await backendOf(world, sid), owner.id);
        });

    test('an unbound sid goes by balance', async () => {
        world.backends.forEach(playsNetty);
        const sids = Array.from({ length: 60 }, () => randomUUID());
        for (const [i, sid] of sids.entries())
            assert.equal(sidOf(await ask(world.gateways[i % 2].port,
                hinted(sid, i % 3 ? 'field' : 'cookie'))), sid);
        for (const { id, requests } of world.backends)
            assert.ok(requests.length >= 10, `${id}: ${requests.length}`);
        /* and is bound from then on */
        const [sid] = sids;
        const owner = world.backends.find((one) => one.sids.has(sid));
        await goesOn(world.gateways[1], sid);
        assert.equal(await backendOf(world, sid), owner.id);
    });

    test('a sid that no sid can be goes by balance', async () => {
        world.backends.forEach((backend) => backend.mints());
        for (const odd of ['', ' ', 'x'.repeat(257), 'x'.repeat(3000)])
            for (const form of ['field', 'cookie'])
                sidOf(await ask(world.gateways[0].port, hinted(odd, form)));
    });

    test('its sid is not in the query: that goes on', async () => {
        const { sid, owner } = await bound();
        const other = world.backends.find((one) => one !== owner);
        const { sid: second } = await world.session();
        const holder = world.backends.find(({ sids }) => sids.has(second));
        const response = await ask(world.gateways[0].port,
            sidRequest(second, { fields: `io: ${sid}\r\n` }));
        assert.equal(response.text, `4${holder.id}`);
        assert.ok(other);
    });

    test('an empty 500 of a wrong owner is a denial', async () => {
        const { gateways: [gateway] } = world;
        world.backends.forEach(playsNetty);
        const { sid, owner, other } = await world.moved();
        deniesBy(owner, whole(EMPTY_500));
        assert.equal((await goesOn(gateway, sid)).text, `4${other.id}`);
        assert.equal(requestsOf(owner, sid).length, 1);
    });

    test('a 500 with a body is none', async () => {
        const { gateways: [gateway] } = world;
        world.backends.forEach(playsNetty);
        const { sid, owner } = await world.moved();
        deniesBy(owner, whole(UNKNOWN_SID.replace('400', '500')));
        assert.equal((await ask(gateway.port, sidRequest(sid))).status, 500);
    });
});

/* `plays`: what the backends do with a handshake. */
async function ownerDies(t, plays)
{
    const { redis, gateways, backends } = await cluster(t, { nodes: 3,
        count: 2, args: ['--netty'] });
    backends.forEach(playsNetty);
    const sid = sidOf(await ask(gateways[0].port, handshakeRequest()));
    const owner = backends.find(({ sids }) => sids.has(sid));
    await owner.stop();
    backends.forEach(plays);
    for (const gateway of [...gateways, ...gateways]) {
        const response = await ask(gateway.port, hinted(sid, 'field'));
        const next = backends.find((one) => one !== owner &&
            one.requests.length > 0);
        assert.equal(response.status, 200,
                     JSON.stringify(plain(response)) + gateway.stderr());
        assert.ok(next, 'another one was asked');
    }
    return { redis, gateways, backends, sid, owner };
}

test('netty: the owner is dead, another mints a new sid', (t) =>
    ownerDies(t, (backend) => backend.mints()));

test('netty: the owner is dead, another takes the sid over', async (t) => {
    const { redis, gateways, backends, sid, owner } =
        await ownerDies(t, playsNetty);
    const id = await redis.command('HGET', keyOf(sid), 'backend');
    assert.notEqual(id, owner.id);
    const heir = backends.find((backend) => backend.id === id);
    for (const gateway of gateways)
        assert.equal((await goesOn(gateway, sid)).text, `4${heir.id}`);
});
