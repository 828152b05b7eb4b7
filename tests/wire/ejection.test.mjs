/* SPDX-License-Identifier: MIT */
/* Passive ejection: what brings it about, what cannot, and its end. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { configured, lives, poll, session, sessionAt, shake, specs, spread,
         startNodes } from '../support/configured.mjs';
import { startEngine } from '../support/engine.mjs';
import { answer } from '../support/shared.mjs';
import { eventually, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;
const BAD = answer(503, 'no');
/* Not as many as there are backends, so that each backend sees all. */
const CLIENTS = [1, 2, 3, 4, 5, 6, 7].map((n) => `127.0.0.${n}`);

async function begin(t, more = {}, ids = ['n1', 'n2'])
{
    const nodes = await startNodes(t, ...ids);
    const gateway = await configured(t, { workers: 1, balance: 'round-robin',
        eject_time: '1h', ...more, backend: specs(...nodes) });
    return { nodes, gateway };
}

/* Its handshakes are answered with this from now on; gives the way back. */
function answers(node, bytes)
{
    const was = node.onHandshake;
    node.onHandshake = (request, wire) => wire.send(bytes);
    return () => (node.onHandshake = was);
}

/* So many handshakes, of each client in turn. */
async function come(gateway, count, clients = CLIENTS)
{
    for (let i = 0; i < count; i++)
        await shake(gateway, { from: clients[i % clients.length] });
}

/* Handshakes until so many were ejected. That another backend is well is noted
 * once a second. */
function untilEjected(gateway, count = 1)
{
    return eventually(async () => {
        await come(gateway, 7);
        return ejected(gateway).length >= count;
    }, `${count} ejected`, 15_000);
}

async function failures(gateway)
{
    return (await gateway.metrics()).get(
        'sidgate_backend_connect_errors_total{backend="n1"}');
}

/* Handshakes, one after the other, until so many failed to get to n1. */
function untilFailed(gateway, count)
{
    return eventually(async () => {
        await session(gateway);
        return await failures(gateway) >= count;
    }, `${count} failures`);
}

/* As long as it would take to eject. */
async function neverEjected(gateway, clients)
{
    const start = performance.now();
    while (performance.now() - start < 1300)
        await come(gateway, 14, clients);
    assert.deepEqual(ejected(gateway), []);
}

function ejected(gateway)
{
    return gateway.told('backend_ejected').map((line) =>
        / backend=(\S+) /.exec(line)[1]);
}

describe('failed connects', { skip }, () => {
    test('five in a row eject, and nobody notices', async (t) => {
        const { nodes: [n1], gateway } = await begin(t);
        await n1.stop();
        const start = performance.now();
        await eventually(async () => {
            assert.equal((await session(gateway)).home, 'n2');
            return ejected(gateway).length > 0;
        }, 'ejected', 30_000);
        /* One a second at most is tried, so not at once. */
        assert.ok(performance.now() - start > 3000);
        assert.match(gateway.told('backend_ejected')[0],
            / warning .* backend=n1 why="connect failures" for_ms=3600000$/);
        assert.equal(await failures(gateway), 5);
        await spread(gateway, 20);
        assert.equal(await failures(gateway), 5);
    });

    test('fewer do not, with a good one between them', async (t) => {
        const { nodes: [n1], gateway } = await begin(t,
                                                     { eject_failures: 2 });
        const { port } = n1;
        await n1.stop();
        await untilFailed(gateway, 1);
        const again = await startEngine({ id: 'n1', port });
        again.mint = () => `n1.again-${Math.random()}`;
        t.after(() => again.stop());
        await eventually(async () => (await session(gateway)).home === 'n1',
                         'it is back');
        await again.stop();
        await untilFailed(gateway, 2);
        assert.deepEqual(ejected(gateway), []);
    });

    test('of the only one: 503, and it is tried again', async (t) => {
        const { nodes: [n1], gateway } = await begin(
            t, { eject_failures: 1 }, ['n1']);
        const { port } = n1;
        await n1.stop();
        for (let i = 0; i < 4; i++)
            assert.equal((await shake(gateway)).status, 503);
        assert.deepEqual(ejected(gateway), []);
        const again = await startEngine({ id: 'n1', port });
        again.mint = () => 'n1.0123456789abcdef';
        t.after(() => again.stop());
        await session(gateway);
    });
});

describe('5xx to handshakes', { skip }, () => {
    test('of several clients, while another is well, eject', async (t) => {
        const { nodes: [n1, n2], gateway } = await begin(t);
        const kept = await sessionAt(gateway, 'n1');
        answers(n1, BAD);
        await untilEjected(gateway);
        assert.deepEqual(ejected(gateway), ['n1']);
        assert.match(gateway.told('backend_ejected')[0],
                     / why="5xx to handshakes" for_ms=3600000$/);
        n1.requests = [];
        assert.deepEqual(await spread(gateway, 20), { n2: 20 });
        assert.deepEqual(n1.requests, []);
        await lives(gateway, kept);
        assert.ok(n2.requests.length >= 20);
    });

    test('of one client alone never do', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, { eject_failures: 2 });
        answers(n1, BAD);
        await neverEjected(gateway, CLIENTS.slice(0, 1));
        /* Nor of two, where three are wanted. */
        const { nodes: [other], gateway: second } = await begin(t);
        answers(other, BAD);
        await neverEjected(second, CLIENTS.slice(0, 2));
    });

    test('of one client that writes other addresses never do', async (t) => {
        const { nodes: [n1], gateway } = await begin(t);
        answers(n1, BAD);
        const start = performance.now();
        for (let i = 0; performance.now() - start < 1300; i = (i + 1) % 250)
            await shake(gateway, { fields:
                `X-Forwarded-For: 192.0.2.${i}\r\nX-Real-IP: 192.0.2.${i}\r\n` +
                `Forwarded: for=192.0.2.${i}\r\n` });
        assert.deepEqual(ejected(gateway), []);
    });

    test('where all give them nobody is ejected', async (t) => {
        const { nodes, gateway } = await begin(t);
        nodes.forEach((node) => answers(node, BAD));
        await neverEjected(gateway);
        assert.equal((await shake(gateway)).text, 'no');
    });

    test('with a good one between them do not', async (t) => {
        const { nodes: [n1], gateway } = await begin(t);
        let n = 0;
        const good = n1.onHandshake;
        n1.onHandshake = (request, wire) =>
            (n++ % 5 === 4 ? good(request, wire) : wire.send(BAD));
        await neverEjected(gateway);
    });

    for (const [what, bytes] of [['4xx', answer(400, 'no')],
                                 ['3xx', answer(302, '')]])
        test(`${what} do not`, async (t) => {
            const { nodes: [n1], gateway } = await begin(
                t, { eject_failures: 1 });
            answers(n1, bytes);
            await come(gateway, 30);
            assert.deepEqual(ejected(gateway), []);
        });

    test('5xx to requests of sessions, and to others, do not', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, { eject_failures: 1 });
        const one = await sessionAt(gateway, 'n1');
        n1.onPoll = n1.onPost = (request, wire) => wire.send(BAD);
        for (let i = 0; i < 12; i++) {
            await poll(gateway, one.sid);
            await poll(gateway, one.sid, { body: '4x' });
        }
        assert.deepEqual(ejected(gateway), []);
        const homes = await spread(gateway, 10);
        assert.deepEqual(homes, { n1: 5, n2: 5 });
    });

    test('0 failures: never', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, { eject_failures: 0 });
        answers(n1, BAD);
        await neverEjected(gateway);
    });
});

describe('the floor', { skip }, () => {
    test('never the last one', async (t) => {
        const { nodes: [n1, n2], gateway } = await begin(
            t, { max_ejected: 100 });
        answers(n1, BAD);
        await untilEjected(gateway);
        assert.deepEqual(ejected(gateway), ['n1']);
        answers(n2, BAD);
        const start = performance.now();
        while (performance.now() - start < 1300)
            await come(gateway, 14);
        await n2.stop();
        await come(gateway, 14);
        assert.deepEqual(ejected(gateway), ['n1']);
    });

    test('never more than the share', async (t) => {
        const ids = ['n1', 'n2', 'n3', 'n4', 'n5'];
        const { nodes, gateway } = await begin(t, { max_ejected: 40 }, ids);
        for (const node of nodes.slice(0, 4))
            answers(node, BAD);
        await untilEjected(gateway, 2);
        const start = performance.now();
        while (performance.now() - start < 1300)
            await come(gateway, 35);
        assert.equal(new Set(ejected(gateway)).size, 2);
        assert.equal(ejected(gateway).length, 2);
        assert.ok(!ejected(gateway).includes('n5'));
    });

    test('a drained one is nobody who could take over', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const [spec1, spec2] = specs(n1, n2);
        const base = { workers: 1, balance: 'round-robin', eject_time: '1h' };
        const gateway = await configured(t, { ...base,
                                              backend: [spec1, spec2] });
        await spread(gateway, 4);
        await gateway.reload({ ...base, backend: [spec1, `${spec2},drain`] });
        answers(n1, BAD);
        await neverEjected(gateway);
    });
});

describe('readmission', { skip }, () => {
    test('after its time; the next time is twice as long', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, { eject_time: '2s' });
        const heal = answers(n1, BAD);
        await untilEjected(gateway);
        assert.deepEqual(ejected(gateway), ['n1']);
        heal();
        await eventually(async () => (await session(gateway)).home === 'n1',
                         'it is back', 15_000);
        const [from, to] = ['ejected', 'readmitted'].map((event) =>
            Date.parse(gateway.told(`backend_${event}`)[0].split(' ')[0]));
        assert.ok(to - from > 1900, `${to - from} ms`);
        assert.match(gateway.told('backend_readmitted')[0],
                     / info .* backend=n1 why="its time is over"$/);
        answers(n1, BAD);
        await untilEjected(gateway, 2);
        const waits = gateway.told('backend_ejected').map((line) =>
            / for_ms=(\d+)$/.exec(line)[1]);
        assert.deepEqual(waits, ['2000', '4000']);
    });

    test('by a check that finds it well', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, {
            health_check: 'tcp', health_interval: '1s',
            health_timeout: '900ms' });
        const heal = answers(n1, BAD);
        await untilEjected(gateway);
        heal();
        await eventually(() => gateway.told('backend_readmitted').length > 0,
                         'readmitted', 10_000);
        assert.match(gateway.told('backend_readmitted')[0],
                     / why="a check found it well"$/);
        assert.deepEqual(await spread(gateway, 10), { n1: 5, n2: 5 });
    });

    test('with slow start', async (t) => {
        const { nodes: [n1], gateway } = await begin(t, {
            eject_time: '500ms', slow_start: '1h' });
        const heal = answers(n1, BAD);
        await untilEjected(gateway);
        assert.deepEqual(ejected(gateway), ['n1']);
        heal();
        await eventually(async () => {
            await session(gateway);
            return gateway.told('backend_readmitted').length > 0;
        }, 'readmitted', 10_000);
        const { n1: homes = 0 } = await spread(gateway, 40);
        assert.ok(homes <= 3, `${homes} of 40`);
    });
});
