/* SPDX-License-Identifier: MIT */
/* The most sessions that a backend may have, who waits for a place, and the
 * share of a backend that has just come. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { configured, lives, poll, session, shake, spec, specs, spread,
         startNodes, tunnel } from '../support/configured.mjs';
import { handshakeRequest, UNKNOWN_SID } from '../support/engine.mjs';
import { times } from '../support/replicas.mjs';
import { eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;
const QUEUED = 'sidgate_handshakes_queued_total';
const REFUSED = 'sidgate_limited_total{limit="sessions_per_backend"}';

/* n1 and n2 with one place each. */
async function begin(t, more = {})
{
    const nodes = await startNodes(t, 'n1', 'n2');
    const base = { workers: 1, backend: specs(...nodes),
                   max_sessions_per_backend: 1, queue_timeout: '20s', ...more };
    const gateway = await configured(t, base);
    const metric = async (name) => (await gateway.metrics()).get(name);
    /* A handshake that waits: its connection. */
    const waits = async () => {
        const before = await metric(QUEUED);
        const wire = await gateway.open();
        wire.send(handshakeRequest());
        await eventually(async () => await metric(QUEUED) === before + 1,
                         'one more in the queue');
        return wire;
    };
    const end = ({ sid }) => poll(gateway, sid, { body: '1' });
    return { nodes, base, gateway, metric, waits, end };
}

async function served(wire)
{
    const { status, text } = await wire.response('GET', 15_000);
    assert.equal(status, 200, text);
    const { sid } = JSON.parse(text.slice(1));
    return { sid, home: sid.split('.')[0] };
}

describe('a limit of sessions', { skip }, () => {
    test('of all, and a backend\'s own', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await configured(t, { workers: 1, queue_length: 0,
            backend: [spec(n1, ',max=5'), spec(n2)],
            max_sessions_per_backend: 3 });
        assert.deepEqual(await spread(gateway, 8), { n1: 5, n2: 3 });
        const answer = await shake(gateway);
        assert.equal(answer.status, 503);
        assert.equal(answer.get('retry-after'), '1');
        assert.equal((await gateway.metrics()).get(REFUSED), 1);
        assert.equal(n1.requests.length + n2.requests.length, 8);
    });

    test('is for handshakes alone', async (t) => {
        const { gateway } = await begin(t, { queue_length: 0 });
        const one = await session(gateway);
        const two = await session(gateway);
        for (let i = 0; i < 3; i++) {
            await lives(gateway, one);
            await lives(gateway, two);
            assert.equal((await exchange(gateway.port,
                'GET /x HTTP/1.1\r\nHost: h\r\n\r\n')).status, 200);
        }
    });

    test('handshakes under way count, and give their place back', async (t) => {
        const { nodes, gateway, metric } = await begin(t, { queue_length: 0 });
        for (const node of nodes)
            node.onHandshake = () => {};
        const wires = [];
        for (const node of nodes) {
            const wire = await gateway.open();
            wire.send(handshakeRequest());
            wires.push(wire);
            await eventually(() => nodes.flatMap((one) => one.requests).length
                === wires.length, node.id);
        }
        assert.equal((await shake(gateway)).status, 503);
        /* One client goes, one is refused by the server. */
        wires[0].destroy();
        for (const node of nodes)
            node.onHandshake = (request, wire) => wire.send(UNKNOWN_SID);
        await eventually(async () => (await shake(gateway)).status === 400,
                         'a place');
        for (const node of nodes)
            node.mints();
        await session(gateway);
        assert.equal((await shake(gateway)).status, 503);
        assert.ok(await metric(REFUSED) >= 2);
    });

    test('websockets have places as polls do', async (t) => {
        const { nodes, gateway } = await begin(t, { queue_length: 0 });
        const [n1] = nodes;
        const upgrades = n1.onHandshake;
        assert.ok(upgrades);
        const one = await tunnel(gateway, nodes);
        const two = await tunnel(gateway, nodes);
        assert.notEqual(one.home, two.home);
        assert.equal((await shake(gateway)).status, 503);
        one.client.destroy();
        one.upstream.destroy();
        await eventually(async () => {
            const answer = await shake(gateway);
            return answer.status === 200 && answer.home === one.home;
        }, 'its place');
    });

    test('holds over several workers', async (t) => {
        const [n1] = await startNodes(t, 'n1');
        const gateway = await configured(t, { workers: 4, queue_length: 0,
            backend: specs(n1), max_sessions_per_backend: 20 });
        const answers = await times(120, 40, () => shake(gateway));
        const good = answers.filter(({ status }) => status === 200).length;
        /* Workers that look at the same moment may each take the last one. */
        assert.ok(good >= 20 && good <= 23, `${good} of 20`);
        assert.equal(n1.sids.size, good);
    });
});

describe('the queue', { skip }, () => {
    test('waits for a session that ends, the oldest first', async (t) => {
        const { nodes, gateway, waits, end, metric } = await begin(t);
        const first = [await session(gateway), await session(gateway)];
        const wires = [await waits(), await waits(), await waits()];
        assert.equal(nodes[0].requests.length + nodes[1].requests.length, 2);
        let free = first[0];
        for (const wire of wires) {
            await end(free);
            const next = await served(wire);
            assert.equal(next.home, free.home);
            free = next;
        }
        await lives(gateway, first[1]);
        assert.equal(await metric(REFUSED), 0);
        assert.equal(await metric(QUEUED), 3);
    });

    test('who comes later is not before who waits', async (t) => {
        const { gateway, waits, end } = await begin(t);
        const one = await session(gateway);
        const two = await session(gateway);
        const wire = await waits();
        const late = await waits();
        await Promise.all([end(one), served(wire)]);
        assert.equal(late.total, 0);
        await end(two);
        await served(late);
    });

    test('503 and Retry-After when the time is over', async (t) => {
        const { gateway, metric } = await begin(t, { queue_timeout: '700ms' });
        await spread(gateway, 2);
        const start = performance.now();
        const answer = await shake(gateway);
        const took = performance.now() - start;
        assert.equal(answer.status, 503);
        assert.equal(answer.get('retry-after'), '1');
        assert.ok(took >= 680 && took < 8000, `${took} ms`);
        assert.deepEqual([await metric(QUEUED), await metric(REFUSED)], [1, 1]);
    });

    test('has a length', async (t) => {
        const { gateway, metric, waits, end } = await begin(
            t, { queue_length: 2 });
        const one = await session(gateway);
        await session(gateway);
        const wires = [await waits(), await waits()];
        for (let i = 0; i < 3; i++) {
            const answer = await shake(gateway, { ms: 4500 });
            assert.equal(answer.status, 503);
            assert.equal(answer.get('retry-after'), '1');
        }
        assert.deepEqual([await metric(QUEUED), await metric(REFUSED)], [2, 3]);
        await end(one);
        await served(wires[0]);
        /* There is room again. */
        await waits();
        assert.equal((await shake(gateway)).status, 503);
    });

    test('a client that leaves gives its place in it back', async (t) => {
        const { nodes, gateway, waits, end, metric } = await begin(
            t, { queue_length: 1 });
        const one = await session(gateway);
        await session(gateway);
        for (let i = 0; i < 3; i++) {
            (await waits()).reset();
            await eventually(async () => await metric(
                'sidgate_client_aborts_total') === i + 1, 'it left');
        }
        const wire = await waits();
        await end(one);
        await served(wire);
        /* No handshake of those that left has come. */
        assert.equal([...nodes[0].sids, ...nodes[1].sids].length, 3);
    });

    test('a client that has shut its side is served all the same',
         async (t) => {
        const { gateway, waits, end } = await begin(t);
        const one = await session(gateway);
        await session(gateway);
        const wire = (await waits()).finish();
        await new Promise((resolve) => setTimeout(resolve, 200));
        await end(one);
        await served(wire);
    });

    test('a websocket waits as well', async (t) => {
        const { nodes, gateway, end, metric } = await begin(t);
        const one = await session(gateway);
        await session(gateway);
        const opened = tunnel(gateway, nodes);
        await eventually(async () => await metric(QUEUED) === 1, 'it waits');
        await end(one);
        assert.equal((await opened).home, one.home);
    });

    test('requests on other connections go on meanwhile', async (t) => {
        const { gateway, waits } = await begin(t);
        const one = await session(gateway);
        await session(gateway);
        await waits();
        for (let i = 0; i < 5; i++)
            await lives(gateway, one);
    });

    test('a reload that gives more places, or a backend', async (t) => {
        const { nodes, base, gateway, waits } = await begin(t);
        const [n3] = await startNodes(t, 'n3');
        await spread(gateway, 2);
        const wires = [await waits(), await waits(), await waits()];
        await gateway.reload({ ...base, max_sessions_per_backend: 2 });
        await served(wires[0]);
        await served(wires[1]);
        assert.equal(wires[2].total, 0);
        await gateway.reload({ ...base, max_sessions_per_backend: 2,
                               backend: specs(...nodes, n3) });
        assert.equal((await served(wires[2])).home, 'n3');
    });

    test('one that is well and full is waited for, not one that is down',
         async (t) => {
        const { nodes, gateway, waits, end } = await begin(t, {
            health_check: 'tcp', health_interval: '2s',
            health_timeout: '2s', health_fall: 1 });
        await nodes[1].stop();
        await eventually(() => gateway.told('backend_down').length > 0,
                         'n2 is down');
        assert.match(gateway.told('backend_down')[0], / backend=n2 /);
        const one = await session(gateway);
        assert.equal(one.home, 'n1');
        const wire = await waits();
        await end(one);
        assert.equal((await served(wire)).home, 'n1');
    });

    test('ends with the gateway', async (t) => {
        const { gateway, waits } = await begin(t, { queue_timeout: '2s' });
        await spread(gateway, 2);
        const wire = await waits();
        const stopped = gateway.stop();
        assert.equal((await wire.response('GET', 15_000)).status, 503);
        assert.equal((await stopped).code, 0);
    });
});

describe('slow start', { skip }, () => {
    const SLOW_MS = 6000;
    const BASE = { workers: 1, slow_start: `${SLOW_MS}ms` };

    /* Handshakes until so long after the last reload: the share of `id` in each
     * tenth of the time. */
    async function shares(gateway, id, ms)
    {
        const [since] = gateway.told('reloaded').at(-1).split(' ');
        const tenthNow = () =>
            Math.floor(10 * (Date.now() - Date.parse(since)) / ms);
        const tenths = Array.from({ length: 10 }, () => [0, 0]);
        for (let tenth; (tenth = tenthNow()) < 10;) {
            const one = await session(gateway);
            /* It may stand for another time if this one stood still. */
            if (tenthNow() === tenth)
                tenths[tenth][one.home === id ? 0 : 1]++;
            await poll(gateway, one.sid, { body: '1' });
        }
        return tenths;
    }

    /* A share is within the bounds, but for chance where a slow machine has
     * had few: `mean` is what it is on average. */
    function isWithin([mine, others], least, most, mean)
    {
        const count = mine + others;
        /* Few are no normal distribution: three more. */
        const chance = 5 * Math.sqrt(count * mean) + 3;
        return mine <= Math.max(count * most, count * mean + chance) &&
            mine >= Math.min(count * least, count * mean - chance);
    }

    const textOf = (tenths) => tenths.map(([mine, others]) =>
        `${mine}/${mine + others}`).join(' ');

    /* `whole` is its share when all of the time is over. */
    for (const [balance, whole] of [['round-robin', 1 / 2],
                                    ['random-two', 1 / 2]])
        test(`a new one's share grows, ${balance}`, async (t) => {
            const [n1, n2] = await startNodes(t, 'n1', 'n2');
            const gateway = await configured(t, { ...BASE, balance,
                                                  backend: specs(n1) });
            await gateway.reload({ ...BASE, balance, backend: specs(n1, n2) });
            const got = await shares(gateway, 'n2', SLOW_MS);
            const text = textOf(got);
            const isShare = (tenth, least, most, mean) => assert.ok(isWithin(
                got[tenth], whole * least, whole * most, whole * mean), text);
            /* In the first tenth of the time a twentieth on average. */
            isShare(0, 0, 0.2, 0.05);
            isShare(1, 0, 0.4, 0.15);
            isShare(4, 0.1, 0.9, 0.45);
            isShare(9, 0.45, 1 / whole, 0.95);
            const sum = got.reduce(([a, b], [mine, others]) =>
                [a + mine, b + others]);
            /* Of the tenths that it was in; half of it where all are alike. */
            const mean = whole * got.reduce((weight, [mine, others], i) =>
                weight + (mine + others) * (i + 0.5) / 10, 0) /
                (sum[0] + sum[1]);
            assert.ok(isWithin(sum, mean * 0.4, mean * 1.6, mean), text);
        });

    test('of an empty one among full ones, least-sessions', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await configured(t, { ...BASE, backend: specs(n1) });
        await spread(gateway, 300);
        await gateway.reload({ ...BASE, backend: specs(n1, n2) });
        const got = await shares(gateway, 'n2', SLOW_MS);
        assert.ok(isWithin(got[0], 0, 0.3, 0.05) &&
                  isWithin(got[2], 0, 0.6, 0.25) &&
                  isWithin(got[9], 0.6, 1, 0.95), textOf(got));
    });

    test('none for those of the start, and none where there is no other',
         async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const slow = { ...BASE, slow_start: '1h', balance: 'round-robin' };
        const gateway = await configured(t, { ...slow,
                                              backend: specs(n1, n2) });
        assert.deepEqual(await spread(gateway, 20), { n1: 10, n2: 10 });
        const [n3] = await startNodes(t, 'n3');
        await gateway.reload({ ...slow, backend: specs(n1, n3) });
        assert.deepEqual(await spread(gateway, 20), { n1: 20 });
        await gateway.reload({ ...slow, backend: specs(n3) });
        assert.deepEqual(await spread(gateway, 20), { n3: 20 });
    });

    test('other requests are no part of it', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const slow = { ...BASE, slow_start: '1h', balance: 'round-robin' };
        const gateway = await configured(t, { ...slow, backend: specs(n1) });
        await gateway.reload({ ...slow, backend: specs(n1, n2) });
        for (let i = 0; i < 10; i++)
            await exchange(gateway.port, 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
        assert.deepEqual([n1.requests.length, n2.requests.length], [5, 5]);
    });
});
