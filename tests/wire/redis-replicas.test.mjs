/* SPDX-License-Identifier: MIT */
/* Replicas that share a Redis: who finds a session, at what price, and which
 * backend a handshake gets. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { handshakeRequest, newSid, sidRequest, startEngine } from
    '../support/engine.mjs';
import { sessionsOf } from '../support/gateway.mjs';
import {
    ask, cluster as begin, goesOn, openSession, reach, startReplica as replica,
    storeIs, times, together,
} from '../support/replicas.mjs';
import { apiAt } from '../support/sessions.mjs';
import { eventually } from '../support/wire.mjs';

const AT_ONCE = 50;
const BUSY_MS = 20_000;
const CALM = ['--store-timeout', '8s']; /* which none here waits for */

function cluster(t, { args = [], ...more } = {})
{
    return begin(t, { ...more, args: [...args, ...CALM] });
}

function startReplica({ args = [], ...more })
{
    return replica({ ...more, args: [...args, ...CALM] });
}

function keyOf(sid)
{
    return `sidgate:session:${sid}`;
}

async function lookups(monitor)
{
    return (await monitor.lines(/"HMGET" "sidgate:session:/i)).length;
}

function probes(backends)
{
    return backends.reduce((sum, backend) => sum + backend.probes.length, 0);
}

async function unknowns(gateways, which)
{
    const all = await Promise.all(gateways.map(({ metric }) => metric(which)));
    return all.reduce((sum, value) => sum + value, 0);
}

describe('a session of another replica', () => {
    test('is found at once by each of three', async (t) => {
        const { gateways, backends } = await cluster(t, { nodes: 3, count: 3 });
        await times(300, 32, async (i) => {
            const from = `127.0.0.${1 + i % 100}`;
            const sid = await openSession(gateways[i % 3], { from });
            for (let hop = 1; hop <= 3; hop++)
                await goesOn(gateways[(i + hop) % 3], sid,
                             { from: `127.0.1.${1 + (i + hop) % 100}` });
        });
        assert.equal(probes(backends), 0, 'a backend was asked');
        assert.equal(await unknowns(gateways,
            'sidgate_routed_total{source="recovery"}'), 0);
        assert.equal(await unknowns(gateways, 'sidgate_unknown_sid_total'), 0);
    });

    test(`asked for ${AT_ONCE} times at once costs one lookup`, async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t);
        const other = await cold();
        const sid = await openSession(gateway);
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const wires = await Promise.all(Array.from({ length: AT_ONCE }, () =>
            reach(other.port)));
        wires.forEach((wire) => wire.send(sidRequest(sid,
            { method: 'POST', body: '4x' })));
        for (const wire of wires)
            assert.equal((await wire.response('POST', BUSY_MS)).status, 200);
        wires.forEach((wire) => wire.destroy());
        assert.equal(await lookups(monitor), 1);
    });

    test('is found by each of several workers', async (t) => {
        const { redis, backends, gateways, cold } = await cluster(t, {
            nodes: 2, count: 2, args: ['--workers', '2'] });
        await times(100, 20, async (i) => {
            const sid = await openSession(gateways[i % 2]);
            for (let hop = 1; hop <= 4; hop++)
                await goesOn(gateways[(i + hop) % 2], sid);
        });
        assert.equal(probes(backends), 0);
        const other = await cold();
        const sid = await openSession(gateways[0]);
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        await times(AT_ONCE, AT_ONCE, () => goesOn(other, sid,
            { method: 'POST', body: '4x', ms: BUSY_MS }));
        assert.ok(await lookups(monitor) <= 2, 'more than one for each worker');
    });

    test('gone from Redis is recovered once for all', async (t) => {
        const { redis, backends, gateways: [gateway], cold } =
            await cluster(t, { nodes: 3 });
        const other = await cold();
        const sid = await openSession(gateway);
        await redis.command('DEL', keyOf(sid));
        const answers = await Promise.all(Array.from({ length: AT_ONCE }, () =>
            ask(other.port, sidRequest(sid, { method: 'POST', body: '4x' }),
                { method: 'POST', ms: BUSY_MS })));
        assert.deepEqual(answers.map(({ status }) => status),
                         Array(AT_ONCE).fill(200));
        /* Those that come late are not asked any more: the owner has spoken. */
        await eventually(() => probes(backends) > 0, 'the owner was asked');
        assert.ok(backends.every((one) => one.probes.length <= 1),
                  'one was asked twice');
        await eventually(() => redis.command('EXISTS', keyOf(sid)),
                         'the record is back');
    });

    test('whose record names nobody is recovered', async (t) => {
        const { redis, backends, gateways: [gateway], cold } =
            await cluster(t, { nodes: 2 });
        const wrong = ['n9', '', 'n1\nx', '127.0.0.1:1', 'x'.repeat(200)];
        const sids = [];
        for (const backend of wrong) {
            const sid = await openSession(gateway);
            sids.push(sid);
            await redis.command('HSET', keyOf(sid), 'backend', backend);
        }
        const junk = await openSession(gateway);
        await redis.command('DEL', keyOf(junk));
        await redis.command('RPUSH', keyOf(junk), 'not', 'a', 'hash');
        const other = await cold();
        for (const sid of [...sids, junk])
            await goesOn(other, sid, { ms: BUSY_MS });
        assert.ok(probes(backends) > 0);
        await eventually(async () =>
            await redis.command('TYPE', keyOf(junk)) === 'hash',
            'the wrong type is replaced');
        assert.match((await redis.hash(keyOf(junk))).backend, /^n[12]$/);
    });

    test('whose record names another node is set right', async (t) => {
        const { redis, backends, gateways: [gateway], cold } =
            await cluster(t, { nodes: 2 });
        const sid = await openSession(gateway);
        const owner = backends.find(({ sids }) => sids.has(sid));
        const other = backends.find(({ sids }) => !sids.has(sid));
        await redis.command('HSET', keyOf(sid), 'backend', other.id);
        const late = await cold();
        /* The first request finds out; a backend has denied it by then. */
        await ask(late.port, sidRequest(sid), { ms: BUSY_MS });
        await goesOn(late, sid, { ms: BUSY_MS });
        await eventually(async () =>
            (await redis.hash(keyOf(sid))).backend === owner.id,
            'the record names the owner');
    });
});

describe('sids that nobody has', () => {
    test('are looked up within a budget, others go on', async (t) => {
        const rate = 2; /* of questions; of lookups ten times as many */
        const { redis, backends, gateways: [gateway], cold } =
            await cluster(t, { nodes: 2,
                               args: ['--recovery-rate', String(rate)] });
        const victim = await openSession(gateway);
        await redis.command('DEL', keyOf(victim));
        const other = await cold();
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const started = Date.now();
        const flood = await times(600, 50, async () => {
            const wire = await reach(other.port, '127.0.0.66');
            return wire.send(sidRequest(newSid()));
        });
        const before = Date.now();
        await goesOn(other, victim, { from: '127.0.0.77', ms: BUSY_MS });
        const waited = Date.now() - before;
        /* The flood waits for minutes. */
        assert.ok(waited < 10_000, `the session waited ${waited} ms`);
        let cost = 0;
        await eventually(async () => {
            cost = await lookups(monitor);
            return cost > 100;
        }, 'lookups of the flood');
        const seconds = (Date.now() - started) / 1000;
        const budget = 10 * rate + Math.ceil(seconds * rate) + 5;
        assert.ok(cost <= 10 * budget, `${cost} lookups in ${seconds} s`);
        assert.ok(probes(backends) <= budget * 2,
                  `${probes(backends)} probes in ${seconds} s`);
        flood.forEach((wire) => wire.reset());
    });

    test('get code 1 where there is budget', async (t) => {
        const { gateways } = await cluster(t, { nodes: 2, count: 2 });
        for (const gateway of gateways) {
            const answer = await ask(gateway.port, sidRequest(newSid()));
            assert.equal(answer.status, 400);
            assert.equal(JSON.parse(answer.text).code, 1);
        }
    });

    test('are no burden where the rate has no limit', async (t) => {
        const { gateways: [gateway] } = await cluster(t, {
            args: ['--recovery-rate', '0'] });
        const answers = await times(1000, 50, () =>
            ask(gateway.port, sidRequest(newSid()), { ms: BUSY_MS }));
        assert.ok(answers.every(({ status }) => status === 400));
    });
});

describe('handshakes', () => {
    test('spread over all replicas as over one', async (t) => {
        const { backends, gateways } = await cluster(t, { nodes: 3, count: 3 });
        const total = 900; /* so many that chance levels out */
        await times(total, 60, (i) => openSession(gateways[i % 3],
                                                  { ms: BUSY_MS }));
        const counts = backends.map(({ sids }) => sids.size);
        assert.equal(counts.reduce((sum, n) => sum + n), total);
        assert.ok(Math.max(...counts) <= 1.3 * Math.min(...counts),
                  `uneven: ${counts}`);
    });

    test('of one replica level out what another gave', async (t) => {
        const { backends, gateways: [one, two] } =
            await cluster(t, { nodes: 2, count: 2 });
        /* 60 sessions that only n1 has, by way of gw1. */
        const [n1, n2] = backends;
        const sids = await times(120, 20, () => openSession(one));
        const gone = sids.filter((sid) => n2.sids.has(sid));
        for (const sid of gone) {
            assert.equal((await ask(one.port, sidRequest(sid,
                { method: 'POST', body: '1' }), { method: 'POST' })).status,
                200);
            n2.sids.delete(sid);
        }
        await eventually(async () =>
            sessionsOf(await one.metrics(), 'n2') === 0, 'none on n2');
        const first = n1.sids.size;
        await eventually(async () => {
            const known = await apiAt(two).get('backends');
            return Object.entries({ n1: first, n2: 0 }).every(([id, count]) =>
                known.backends.find((one) => one.id === id)
                    .sessions_elsewhere === count);
        }, 'the other one knows', BUSY_MS);
        await times(first, 10, () => openSession(two));
        const counts = [n1.sids.size, n2.sids.size];
        assert.ok(Math.max(...counts) <= 1.3 * Math.min(...counts),
                  `uneven: ${counts}`);
    });

    async function differing(t, more = [])
    {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 3, count: 1, args: more });
        const [n1, n2] = backends;
        const narrow = (name) => startReplica({
            name, url: redis.url, backends: [n1, n2], args: more });
        const second = await narrow('gw2');
        gateways.push(second);
        await together(gateways);
        return { redis, backends, gateways };
    }

    test('go to a node only when every replica knows it', async (t) => {
        const { redis, backends, gateways } = await differing(t);
        const [one, two] = gateways;
        const [, , n3] = backends;
        n3.sids.clear();
        await times(60, 10, () => openSession(one));
        assert.equal(n3.sids.size, 0, 'n3 got sessions');
        await two.stop();
        /* Its heartbeat is gone with it; n3 is everybody's again. */
        await eventually(async () => {
            await times(6, 6, () => openSession(one));
            return n3.sids.size > 0;
        }, 'n3 gets sessions', BUSY_MS);
        gateways.pop();
        const third = await startReplica({ name: 'gw3', url: redis.url,
                                           backends });
        gateways.push(third);
        await storeIs(third, true);
        await eventually(() => one.events('replica_joined').length >= 2,
                         'gw3 joined');
        const before = n3.sids.size;
        await times(60, 10, (i) => openSession([one, third][i % 2]));
        assert.ok(n3.sids.size > before, 'n3 got no session');
    });

    test('go there if all that both know are drained', async (t) => {
        const { redis, backends, gateways: [one] } = await differing(t);
        await redis.command('HSET', 'sidgate:admin', 'n1', 'drain', 'n2',
                            'drain');
        await eventually(() => one.events('backends_disagreed').length === 1,
                         'the log says so');
        const before = backends[2].sids.size;
        await times(10, 5, () => openSession(one));
        assert.equal(backends[2].sids.size, before + 10);
    });

    test('go there at once without the agreement', async (t) => {
        const { backends, gateways: [one] } =
            await differing(t, ['--backend-agreement=false']);
        await times(30, 10, () => openSession(one));
        assert.ok(backends[2].sids.size > 0);
    });

    test('a session on a node that a replica lacks', async (t) => {
        const { backends, gateways: [one, two] } =
            await differing(t, ['--backend-agreement=false']);
        const [, , n3] = backends;
        let sid;
        do
            sid = await openSession(one);
        while (!n3.sids.has(sid));
        /* It asks the nodes that it knows, and says that none has it. */
        const answer = await ask(two.port, sidRequest(sid), { ms: BUSY_MS });
        assert.equal(answer.status, 400);
        await goesOn(one, sid);
    });

    test('one id with two addresses is told', async (t) => {
        const { redis, backends, gateways } = await cluster(t, { nodes: 2 });
        const [n1, n2] = backends;
        const stranger = await startEngine({ id: 'n2' });
        backends.push(stranger);
        const odd = await startReplica({ name: 'gw2', url: redis.url,
                                         backends: [n1, stranger] });
        gateways.push(odd);
        await together(gateways);
        for (const gateway of gateways)
            await eventually(() =>
                gateway.events('backend_mismatch').length > 0,
                `${gateway.name} logs backend_mismatch`);
        assert.match(gateways[0].events('backend_mismatch')[0], /\bn2\b/);
        n2.sids.clear();
        await times(20, 10, () => openSession(gateways[0]));
        assert.equal(n2.sids.size, 0, 'a disputed node got sessions');
        assert.ok(n1.sids.size >= 20);
    });

    test('stop for a moment only when a replica is killed', async (t) => {
        const { gateways, backends } = await cluster(t, { nodes: 2, count: 2 });
        const [one, two] = gateways;
        const sids = await times(40, 10, (i) => openSession(gateways[i % 2]));
        await two.stop('SIGKILL');
        gateways.pop();
        await times(40, 10, (i) => goesOn(one, sids[i]));
        await times(20, 10, () => openSession(one));
        assert.equal(probes(backends), 0);
        /* A heartbeat lives for 10 s. */
        await eventually(() => one.events('replica_left').length > 0,
                         'replica_left', 60_000);
        const answer = await ask(one.port, handshakeRequest());
        assert.equal(answer.status, 200);
    });
});
