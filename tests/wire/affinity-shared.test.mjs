/* SPDX-License-Identifier: MIT */
/* A replica whose cache names the wrong backend: the client does not notice,
 * unless the shared store knows no better. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ok } from '../support/backend.mjs';
import {
    sidRequest, switching, UNKNOWN_SID, upgradeRequest,
} from '../support/engine.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { ask, goesOn, storeIs } from '../support/replicas.mjs';
import {
    answer, chunked, DENIAL, deniesBy, isGone, keyOf, plain, requestsOf,
    shared, whole,
} from '../support/shared.mjs';
import { eventually } from '../support/wire.mjs';

const NODES = { nodes: 2, count: 2 };

function upgradeOf(sid)
{
    return upgradeRequest('/socket.io/?EIO=4&transport=websocket&sid=' +
        encodeURIComponent(sid));
}

/* `bytes` in pieces of `size`, each read by itself. */
function inPieces(bytes, size)
{
    return (wire) => wire.sendPieces(bytes, size);
}

const DENIALS = {
    'with a length': whole(UNKNOWN_SID),
    'chunked': whole(chunked(400, [DENIAL])),
    'in several chunks': whole(chunked(400, [...DENIAL])),
    'byte by byte': inPieces(UNKNOWN_SID, 1),
    'chunked, byte by byte': inPieces(chunked(400, [DENIAL]), 1),
    'with a head and then a body': inPieces(UNKNOWN_SID,
        UNKNOWN_SID.indexOf('{')),
    'that closes': whole(answer(400, DENIAL, 'Connection: close\r\n')),
    'up to the end of the connection': (wire) => wire.finish(
        `HTTP/1.1 400 X\r\nConnection: close\r\n\r\n${DENIAL}`),
    'with spaces': whole(answer(400, '{ "message": "x", "code": 1 }')),
    'of older servers': whole(answer(400, '{"code":1,"message":"x"}')),
    'as text': whole(answer(400, 'Session ID unknown')),
    'of python': whole(answer(400, '"Invalid session abc"')),
    'behind an interim answer':
        whole(`HTTP/1.1 102 Processing\r\n\r\n${UNKNOWN_SID}`),
    'of 512 bytes': whole(answer(400, DENIAL.padEnd(512))),
};

/* Of upgrades at one backend: [tried, ended]. */
async function upgradesAt(gateway, { id })
{
    const name = /^sidgate_upgrade_(attempts|successes|failures)_total/;
    const sums = [0, 0];
    for (const [key, value] of await gateway.metrics()) {
        const [, what] = name.exec(key) ?? [];
        if (what && key.includes(`backend="${id}"`))
            sums[what === 'attempts' ? 0 : 1] += value;
    }
    return sums;
}

/* Each of these is sent through the replica whose cache is wrong. */
const REQUESTS = {
    'a poll': { method: 'GET' },
    'a POST': { method: 'POST', body: '4hello' },
    'an empty POST': { method: 'POST', body: '' },
    'a POST of 60 KiB': { method: 'POST', body: `4${'x'.repeat(61_439)}` },
};

describe('the cache is wrong, and the old owner denies', () => {
    const world = shared(NODES);

    /* The request goes to the new owner, once and whole. */
    async function isRerouted(options, denial)
    {
        const { gateways: [gateway] } = world;
        const { sid, owner, other } = await world.moved();
        deniesBy(owner, denial);
        const before = await gateway.metric('sidgate_rerouted_total');
        const wire = await world.open(gateway);
        wire.send(sidRequest(sid, options));
        let response = await wire.response(options.method);
        if (response.status === 102)
            response = await wire.response(options.method);
        const text = options.method === 'POST' ? 'ok' : `4${other.id}`;
        assert.deepEqual(plain(response), { status: 200, text });
        assert.equal(requestsOf(owner, sid).length, 1);
        assert.equal(requestsOf(other, sid).length, 1);
        const [request] = other.requests;
        assert.equal(request.method, options.method);
        assert.equal(request.text, options.body ?? '');
        assert.equal(await gateway.metric('sidgate_rerouted_total'),
                     before + 1);
        await goesOn(gateway, sid);
        assert.equal(requestsOf(owner, sid).length, 1,
                     'the cache is still wrong');
    }

    for (const [form, denial] of Object.entries(DENIALS))
        test(`a poll, denied ${form}`, () =>
            isRerouted({ method: 'GET' }, denial));

    for (const [what, options] of Object.entries(REQUESTS))
        test(what, () => isRerouted(options, whole(UNKNOWN_SID)));

    test('a chunked POST', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner, other } = await world.moved();
        const wire = await world.open(gateway);
        wire.send(`POST /socket.io/?EIO=4&sid=${sid} HTTP/1.1\r\nHost: h\r\n` +
            'Transfer-Encoding: chunked\r\n\r\n');
        await wire.sendPieces('3\r\n4he\r\n3\r\nllo\r\n0\r\n\r\n', 4);
        assert.equal((await wire.response('POST')).text, 'ok');
        assert.equal(requestsOf(owner, sid).length, 1);
        assert.deepEqual(requestsOf(other, sid).map(({ text }) => text),
                         ['4hello']);
    });

    test('a POST that says goodbye ends the session there', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid, other } = await world.moved();
        const response = await ask(gateway.port,
            sidRequest(sid, { method: 'POST', body: '1' }));
        assert.equal(response.text, 'ok');
        assert.deepEqual(requestsOf(other, sid).map(({ text }) => text),
                         ['1']);
        await isGone(redis, sid);
    });

    test('a poll that is answered with goodbye does, too', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid, other } = await world.moved();
        other.onPoll = (request, wire) => wire.send(ok('1'));
        const { text } = await ask(gateway.port, sidRequest(sid));
        assert.equal(text, '1');
        await isGone(redis, sid);
    });

    test('requests in a row on one connection', async () => {
        const { gateways: [gateway] } = world;
        const one = await world.moved();
        const two = await world.moved();
        const three = await world.session();
        const wire = await world.open(gateway);
        wire.send(sidRequest(one.sid) +
            sidRequest(two.sid, { method: 'POST', body: '4two' }) +
            sidRequest(three.sid) + sidRequest(one.sid));
        assert.equal((await wire.response()).text, `4${one.other.id}`);
        assert.equal((await wire.response()).text, 'ok');
        assert.equal((await wire.response()).text, `4${three.owner.id}`);
        assert.equal((await wire.response()).text, `4${one.other.id}`);
    });

    test('fifty sessions at once', async () => {
        const { gateways: [gateway] } = world;
        const moved = [];
        for (let i = 0; i < 50; i++)
            moved.push(await world.moved());
        await Promise.all(moved.map(async ({ sid, other }) =>
            assert.equal((await goesOn(gateway, sid)).text, `4${other.id}`)));
    });

    test('fifty requests of one session at once', async () => {
        const { gateways: [gateway] } = world;
        const { sid, other } = await world.moved();
        const texts = await Promise.all(Array.from({ length: 50 }, async () =>
            (await goesOn(gateway, sid)).text));
        assert.deepEqual(texts, Array(50).fill(`4${other.id}`));
    });

    for (const [form, denial] of [
        ['in JSON', whole(UNKNOWN_SID)],
        ['as text', whole('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n' +
            'Content-type: text/html\r\nContent-Length: 18\r\n\r\n' +
            'Session ID unknown')],
        ['as text, byte by byte, to the end', async (wire) => {
            await wire.sendPieces('HTTP/1.1 400 Bad Request\r\n' +
                'Connection: close\r\n\r\nSession ID unknown');
            wire.finish();
        }],
    ])
        test(`an upgrade, denied ${form}`, async () => {
            const { gateways: [gateway] } = world;
            const { sid, owner, other } = await world.moved();
            deniesBy(owner, denial);
            let upstream;
            other.handler = (request, wire) => {
                wire.taken = true;
                upstream = wire;
                wire.send(switching(request));
            };
            const wire = await world.open(gateway);
            const probe = frame(TEXT, '2probe', { mask: true });
            /* early bytes, too, which no server may see before its 101 */
            wire.send(upgradeOf(sid)).send(probe);
            assert.equal((await wire.head()).status, 101);
            assert.deepEqual(await upstream.bytes(probe.length), probe);
            const pong = frame(TEXT, '3probe');
            upstream.send(pong);
            assert.deepEqual(await wire.bytes(pong.length), pong);
            assert.equal(requestsOf(owner, sid).length, 1);
            assert.equal(requestsOf(other, sid).length, 1);
            upstream.finish();
        });

    /* Also where the session turns out to be on websocket already, so that the
     * second one is no upgrade. */
    for (const [transport, tried] of [['polling', 1], ['websocket', 0]])
        test(`the upgrade of one on ${transport} is counted where it was tried`,
             async () => {
            const { redis, gateways: [gateway] } = world;
            const { sid, owner, other } = await world.moved();
            await redis.command('HSET', keyOf(sid), 'transport', transport);
            const [[was], [wasOther]] = [await upgradesAt(gateway, owner),
                                         await upgradesAt(gateway, other)];
            deniesBy(owner, whole(UNKNOWN_SID));
            other.handler = (request, wire) => wire.finish(switching(request));
            const wire = await world.open(gateway);
            wire.send(upgradeOf(sid));
            assert.equal((await wire.head()).status, 101);
            await wire.ended();
            wire.destroy();
            await eventually(async () => {
                const [at, atOther] = [await upgradesAt(gateway, owner),
                                       await upgradesAt(gateway, other)];
                return at[0] === was + 1 && at[1] === at[0] &&
                    atOther[0] === wasOther + tried &&
                    atOther[1] === atOther[0];
            }, 'each has its end');
        });

    test('a new owner that denies as well: the client sees that', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid, owner, other } = await world.moved();
        other.sids.delete(sid);
        const response = await ask(gateway.port, sidRequest(sid));
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
        assert.equal(requestsOf(owner, sid).length, 1);
        assert.equal(requestsOf(other, sid).length, 1);
        await isGone(redis, sid);
    });

    test('a new owner that fails: the client sees that', async () => {
        const { gateways: [gateway] } = world;
        const { sid, other } = await world.moved();
        other.onPoll = (request, wire) => wire.send(answer(500, 'broken'));
        const response = await ask(gateway.port, sidRequest(sid));
        assert.deepEqual(plain(response), { status: 500, text: 'broken' });
    });

    test('a new owner that nobody here knows', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid } = await world.moved();
        await redis.command('HSET', keyOf(sid), 'backend', 'n77');
        const response = await ask(gateway.port, sidRequest(sid));
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
    });

    test('a POST of 200 KB is not sent twice', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner, other } = await world.moved();
        const body = `4${'y'.repeat(200_000)}`;
        const response = await ask(gateway.port,
            sidRequest(sid, { method: 'POST', body }));
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
        assert.equal(requestsOf(owner, sid).length, 1);
        assert.equal(requestsOf(other, sid).length, 0);
        /* from now on it goes to where the store says */
        assert.equal((await goesOn(gateway, sid)).text, `4${other.id}`);
    });

    test('a client that leaves while the store is asked', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid, owner } = await world.moved();
        await redis.pause();
        try {
            const wire = await world.open(gateway);
            wire.send(sidRequest(sid));
            await owner.request(0);
            wire.reset();
            await eventually(async () =>
                await gateway.metric('sidgate_connections') === 0, 'its end');
        } finally {
            redis.resume();
        }
        await eventually(() => goesOn(gateway, sid).then(() => true,
                                                         () => false),
                         'the session goes on', 10_000);
    });

});

describe('the cache is wrong, and the store is silent', () => {
    const world = shared({ ...NODES, args: ['--store-timeout', '2s'] });

    test('the backends are asked', async () => {
        const { redis, gateways: [gateway] } = world;
        const { sid, other } = await world.moved();
        await redis.pause();
        try {
            assert.equal((await goesOn(gateway, sid)).text, `4${other.id}`);
        } finally {
            redis.resume();
        }
        await storeIs(gateway, true);
        assert.equal((await goesOn(gateway, sid)).text, `4${other.id}`);
    });
});

describe('the old owner is dead', () => {
    const world = shared({ nodes: 3, count: 1 });

    /* One of them stops, and another one has its session. */
    test('its sessions go where the store says', async () => {
        const { gateways: [gateway], redis, backends } = world;
        const sessions = [];
        for (let i = 0; i < 12; i++)
            sessions.push(await world.session());
        const [{ owner: dead }] = sessions;
        const heir = backends.find((one) => one !== dead);
        const lost = sessions.filter(({ owner }) => owner === dead)
            .map(({ sid }) => sid);
        assert.ok(lost.length >= 3, `${lost.length} sessions`);
        for (const sid of lost.slice(1)) {
            heir.sids.add(sid);
            await redis.command('HSET', keyOf(sid), 'backend', heir.id);
        }
        await dead.stop();
        const [unmoved, polled, posted] = lost;
        const before = await gateway.metric('sidgate_rerouted_total');
        assert.equal((await goesOn(gateway, polled)).text, `4${heir.id}`);
        const body = `4${'z'.repeat(2000)}`;
        await goesOn(gateway, posted, { method: 'POST', body });
        assert.deepEqual(requestsOf(heir, posted).map(({ text }) => text),
                         [body]);
        assert.equal(await gateway.metric('sidgate_rerouted_total'),
                     before + 2);
        const response = await ask(gateway.port, sidRequest(unmoved));
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
        await isGone(redis, unmoved);
    });
});

describe('the store knows nothing else', () => {
    const world = shared(NODES);

    async function denied(gateway, { sid, owner }, denial = UNKNOWN_SID)
    {
        owner.sids.delete(sid);
        deniesBy(owner, whole(denial));
        const wire = await world.open(gateway);
        wire.send(sidRequest(sid));
        return { wire, response: await wire.response() };
    }

    test('the denial comes as it was, the connection goes on', async () => {
        const { redis, gateways: [first, second] } = world;
        const session = await world.session(first);
        const { owner, other, sid } = session;
        await goesOn(second, sid);
        const { wire, response } = await denied(first, session,
            answer(400, DENIAL, 'X-From: n\r\nContent-Type: a/b\r\n'));
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
        assert.equal(response.get('x-from'), 'n');
        assert.equal(response.get('content-type'), 'a/b');
        assert.ok(!response.has('connection'));
        await isGone(redis, sid);
        owner.reset();
        const { sid: next, owner: holder } = await world.session(first);
        wire.send(sidRequest(next));
        assert.equal((await wire.response()).text, `4${holder.id}`);
        /* the other replica still goes by its cache, and hears it as well */
        const again = await denied(second, { sid, owner });
        assert.deepEqual(plain(again.response),
                         { status: 400, text: DENIAL });
        assert.equal(requestsOf(other, sid).length, 0);
        const unknown = await first.metric('sidgate_unknown_sid_total');
        owner.reset();
        assert.equal((await ask(first.port, sidRequest(sid))).status, 400);
        assert.equal(await first.metric('sidgate_unknown_sid_total'),
                     unknown + 1, 'nobody has it');
    });

    test('what stands in the pipeline is answered next', async () => {
        const { gateways: [gateway] } = world;
        const gone = await world.session();
        const { sid, owner } = await world.session();
        gone.owner.sids.delete(gone.sid);
        const wire = await world.open(gateway);
        wire.send(sidRequest(gone.sid) + sidRequest(sid) +
            sidRequest(gone.sid, { method: 'POST', body: '4x' }) +
            sidRequest(sid, { method: 'POST', body: '4y' }));
        assert.deepEqual(plain(await wire.response()),
                         { status: 400, text: DENIAL });
        assert.equal((await wire.response()).text, `4${owner.id}`);
        assert.deepEqual(plain(await wire.response()),
                         { status: 400, text: DENIAL });
        assert.equal((await wire.response()).text, 'ok');
    });

    test('on an upgrade: text, and the end', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner } = await world.session();
        deniesBy(owner, whole('HTTP/1.1 400 Bad Request\r\n' +
            'Connection: close\r\nContent-Length: 18\r\n\r\n' +
            'Session ID unknown'));
        const wire = await world.open(gateway);
        wire.send(upgradeOf(sid));
        assert.deepEqual(plain(await wire.response()),
                         { status: 400, text: 'Session ID unknown' });
        assert.equal(await wire.ended(), 'fin');
    });

    test('to a client of HTTP/1.0: the end', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner } = await world.session();
        owner.sids.delete(sid);
        const wire = await world.open(gateway);
        wire.send(sidRequest(sid).replace('HTTP/1.1', 'HTTP/1.0'));
        assert.deepEqual(plain(await wire.response()),
                         { status: 400, text: DENIAL });
        assert.equal(await wire.ended(), 'fin');
    });
});
