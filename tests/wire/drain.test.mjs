/* SPDX-License-Identifier: MIT */
/* Drains with a rate and a deadline, ordered in every way there is. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { assertPace, closed, hold, holds, release, standstill }
    from '../support/drain.mjs';
import { startEngine } from '../support/engine.mjs';
import { startGateway } from '../support/gateway.mjs';
import { cluster, openSession, times } from '../support/replicas.mjs';
import { eventually } from '../support/wire.mjs';

const SOON_MS = 20_000; /* two beats, and what a busy machine adds */
const LONG_MS = 40_000;

/* POST to the operator's API. */
function post(gateway, target)
{
    return new Promise((resolve, reject) => {
        const request = http.request({
            host: '127.0.0.1', port: gateway.adminPort, path: target,
            method: 'POST', agent: false, timeout: 15_000,
        }, (response) => {
            let body = '';
            response.setEncoding('utf8')
                .on('data', (chunk) => (body += chunk))
                .on('end', () => resolve({ status: response.statusCode,
                                           body }));
        });
        request.on('error', reject).end();
    });
}

async function order(gateway, target)
{
    const { status, body } = await post(gateway, target);
    assert.equal(status, 200, body);
}

const lines = (gateway, event) => gateway.stderr().split('\n')
    .filter((line) => new RegExp(`^\\S+ \\w+ ${event}\\b`).test(line));

const logged = (gateway, event, ms = SOON_MS) =>
    eventually(() => lines(gateway, event).length > 0, event, ms);

/* Two backends and a gateway of two workers, without a shared store. */
async function alone(t, { args = [], start } = {})
{
    const backends = [];
    const all = [];
    for (const id of ['n1', 'n2'])
        backends.push(holds(await startEngine({ id })));
    const gateway = await (start?.(backends) ??
        startGateway({ backends, args: ['--workers', '2', ...args] }));
    t.after(async () => {
        release(all);
        await Promise.all(backends.map((backend) => backend.stop()));
        const end = await gateway.stop();
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
    });
    const held = async (count, home) => {
        const some = await hold(gateway, count, home);
        all.push(...some);
        return some;
    };
    return { backends, gateway, held };
}

const at = (sessions, home) => sessions.filter((one) => one.home === home);

/* None of them was closed. */
function untouched(sessions)
{
    assert.deepEqual(closed(sessions).map(({ how }) => how), []);
}

async function allClosed(sessions, ms = LONG_MS)
{
    await eventually(() => closed(sessions).length === sessions.length,
                     `all of ${sessions.length} closed`, ms);
}

describe('one gateway', () => {
    test('closes at the rate that the operator says', async (t) => {
        const { gateway, held } = await alone(t);
        const all = await held(80, 'n1');
        const since = performance.now();
        await order(gateway, '/api/v1/backends/n1/drain?rate=20');
        const mine = at(all, 'n1');
        await allClosed(mine);
        assertPace(mine, 20, since);
        untouched(at(all, 'n2'));
        await logged(gateway, 'backend_empty');
        assert.match(lines(gateway, 'backend_drained')[0],
                     /backend=n1 rate=20 timeout_ms=0$/);
        await sleep(300);
        assert.equal(lines(gateway, 'backend_empty').length, 1);
    });

    test('closes none without a rate, and none at rate 0', async (t) => {
        const { gateway, held } = await alone(t, {
            args: ['--drain-rate', '50'] });
        const all = await held(4, 'n1');
        await order(gateway, '/api/v1/backends/n1/drain?rate=0');
        await sleep(1000);
        untouched(all);
        assert.equal(lines(gateway, 'backend_empty').length, 0);
    });

    test('closes all at the deadline, and none before', async (t) => {
        const { gateway, held } = await alone(t);
        const all = await held(30, 'n1');
        const since = performance.now();
        await order(gateway, '/api/v1/backends/n1/drain?timeout=1s');
        const mine = at(all, 'n1');
        await allClosed(mine);
        for (const { closedAt, how } of mine) {
            assert.equal(how, 'close');
            /* The gateway's clock has whole ms. */
            assert.ok(closedAt - since >= 998, `${closedAt - since} ms`);
            assert.ok(closedAt - since < 6000, `${closedAt - since} ms`);
        }
        untouched(at(all, 'n2'));
        await logged(gateway, 'backend_empty');
    });

    test('undrain stops it in the middle', async (t) => {
        const { gateway, held, backends: [n1] } = await alone(t, {
            args: ['--drain-rate', '5'] });
        const all = await held(40, 'n1');
        const mine = at(all, 'n1');
        await order(gateway, '/api/v1/backends/n1/drain');
        await eventually(() => closed(mine).length >= 4, 'four');
        await order(gateway, '/api/v1/backends/n1/undrain');
        const count = await standstill(mine);
        await sleep(1000);
        assert.equal(closed(mine).length, count);
        assert.ok(count < 38, `${count} closed`);
        untouched(at(all, 'n2'));
        const before = n1.sids.size;
        await times(8, 4, () => openSession(gateway));
        assert.ok(n1.sids.size > before, 'it gets sessions again');
        /* And once more, from the beginning. */
        await order(gateway, '/api/v1/backends/n1/drain?rate=100');
        await allClosed(mine);
        assert.equal(lines(gateway, 'backend_drained').length, 2);
        assert.equal(lines(gateway, 'backend_undrained').length, 1);
    });

    test('undrain stops a deadline', async (t) => {
        const { gateway, held } = await alone(t);
        const all = await held(6, 'n1');
        await order(gateway, '/api/v1/backends/n1/drain?timeout=5s');
        await sleep(300);
        await order(gateway, '/api/v1/backends/n1/undrain');
        await sleep(5500);
        untouched(all);
    });

    test('a backend that is removed is emptied likewise', async (t) => {
        const { gateway, held } = await alone(t, {
            args: ['--drain-rate', '20'] });
        const all = await held(40, 'n1');
        const since = performance.now();
        await order(gateway, '/api/v1/backends/n1/remove');
        const mine = at(all, 'n1');
        await allClosed(mine);
        assertPace(mine, 20, since);
        untouched(at(all, 'n2'));
        await logged(gateway, 'backend_empty');
    });
});

/* A gateway that reads its backends from a file, with `drained` in it. */
function startWithFile(t, backends, drained)
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-drain-'));
    const file = path.join(folder, 'sidgate.json');
    const write = (ids) => writeFileSync(file, JSON.stringify({
        drain_rate: 20,
        backend: backends.map(({ id, port }) =>
            `${id}=127.0.0.1:${port}${ids.includes(id) ? ',drain' : ''}`),
    }));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    write(drained);
    return { write, started: startGateway({
        args: ['--workers', '2', '--config', file] }) };
}

describe('the configuration', () => {
    test('drains from the start', async (t) => {
        const { gateway, backends: [n1, n2] } = await alone(t, {
            start: (backends) => startWithFile(t, backends, ['n1']).started });
        await times(10, 5, () => openSession(gateway));
        assert.equal(n1.sids.size, 0);
        assert.equal(n2.sids.size, 10);
        const { status } = await post(gateway, '/api/v1/backends/n1/undrain');
        assert.equal(status, 409);
        await times(10, 5, () => openSession(gateway));
        assert.equal(n1.sids.size, 0);
    });

    test('drains by a reload, at its rate, and undrains', async (t) => {
        let write;
        const { gateway, held, backends: [n1] } = await alone(t, {
            start: (backends) => {
                const file = startWithFile(t, backends, []);
                write = file.write;
                return file.started;
            } });
        const all = await held(40, 'n1');
        const mine = at(all, 'n1');
        const since = performance.now();
        write(['n1']);
        process.kill(gateway.pid, 'SIGHUP');
        await logged(gateway, 'reloaded');
        await eventually(() => closed(mine).length >= 20, 'half');
        assertPace(closed(mine), 20, since);
        write([]);
        process.kill(gateway.pid, 'SIGHUP');
        await eventually(() => lines(gateway, 'reloaded').length > 1,
                         'reloaded');
        const count = await standstill(mine);
        await sleep(700);
        assert.equal(closed(mine).length, count);
        const before = n1.sids.size;
        await times(8, 4, () => openSession(gateway));
        assert.ok(n1.sids.size > before);
        untouched(at(all, 'n2'));
    });
});

/* Two replicas with two workers each. A store that is given up for a while has
 * its words written anew. */
async function shared(t, args = [])
{
    const all = [];
    t.after(() => release(all));
    const made = await cluster(t, { nodes: 2, count: 2,
                                    args: ['--workers', '2',
                                           '--store-timeout', '10s',
                                           ...args] });
    made.backends.forEach(holds);
    const counts = new Map();
    const held = async (gateway, count, home) => {
        const some = await hold(gateway, count, home);
        all.push(...some);
        counts.set(gateway.name, some.length);
        return some;
    };
    /* Each replica knows how many there are at every one. */
    const known = () => eventually(async () => {
        const said = await Promise.all(made.gateways.map(async (one) =>
            JSON.parse((await one.get('/api/v1/status')).body).replicas));
        return said.flat().every(({ id, sessions }) =>
            sessions === counts.get(id.split('.')[0]));
    }, 'all know', SOON_MS);
    return { ...made, held, known };
}

const admin = (redis) => redis.hash('sidgate:admin');

/* What the shared store says of n1, and of nothing else. */
async function written(redis, n1)
{
    await eventually(async () => (await admin(redis)).n1 === n1,
                     `${n1} is written`, SOON_MS);
    assert.deepEqual(await admin(redis), { n1 });
}

describe('several replicas', () => {
    for (const [how, command] of [
        ['HSET', ['HSET', 'sidgate:admin', 'n1', 'drain rate=20']],
        ['PUBLISH', ['PUBLISH', 'sidgate:control', 'drain n1 rate=20']],
    ])
        test(`${how}: the rate is that of all together`, async (t) => {
            const { redis, gateways, held, known } = await shared(t);
            const all = [...await held(gateways[0], 60, 'n1'),
                         ...await held(gateways[1], 60, 'n1')];
            const mine = at(all, 'n1');
            await known();
            const since = performance.now();
            await redis.command(...command);
            await allClosed(mine);
            assertPace(mine, 20, since);
            untouched(at(all, 'n2'));
            for (const gateway of gateways) {
                await logged(gateway, 'backend_empty');
                assert.match(lines(gateway, 'backend_drained')[0], /rate=20 /);
            }
            await written(redis, 'drain rate=20');
        });

    test('the rate holds however the sessions are spread', async (t) => {
        const { redis, gateways, held, known } = await shared(t);
        const all = [...await held(gateways[0], 90, 'n1'),
                     ...await held(gateways[1], 20, 'n1')];
        const mine = at(all, 'n1');
        await known();
        const since = performance.now();
        await redis.command('HSET', 'sidgate:admin', 'n1', 'drain rate=20');
        await allClosed(mine);
        assertPace(mine, 20, since);
        untouched(at(all, 'n2'));
    });

    test('the deadline and the rate, in any order', async (t) => {
        const { redis, gateways, held } = await shared(t);
        const all = [...await held(gateways[0], 10, 'n1'),
                     ...await held(gateways[1], 10, 'n1')];
        const mine = at(all, 'n1');
        const since = performance.now();
        await redis.command('PUBLISH', 'sidgate:control',
                            'drain n1 timeout=6s rate=2');
        await allClosed(mine);
        const early = mine.filter(({ closedAt }) => closedAt - since < 5950);
        assert.ok(early.length >= 2 && early.length <= 13, `${early.length}`);
        assert.ok(mine.every(({ closedAt }) => closedAt - since < 12_000));
        await written(redis, 'drain rate=2 timeout=6s');
    });

    test('undrain by PUBLISH stops it in the middle', async (t) => {
        const { redis, gateways, held } = await shared(t);
        const all = [...await held(gateways[0], 20, 'n1'),
                     ...await held(gateways[1], 20, 'n1')];
        const mine = at(all, 'n1');
        await redis.command('HSET', 'sidgate:admin', 'n1', 'drain rate=5');
        await eventually(() => closed(mine).length >= 4, 'four');
        await redis.command('PUBLISH', 'sidgate:control', 'undrain n1');
        const count = await standstill(mine);
        await sleep(1200);
        assert.equal(closed(mine).length, count);
        assert.ok(count < 38, `${count} closed`);
        await written(redis, 'ready');
    });

    test('the API of one is heard by all, and by later ones', async (t) => {
        const { redis, gateways, cold } = await shared(t);
        await order(gateways[0],
                    '/api/v1/backends/n1/drain?rate=20&timeout=10m');
        await Promise.all(gateways.map((one) => logged(one,
                                                       'backend_drained')));
        await written(redis, 'drain rate=20 timeout=10m');
        const late = await cold();
        await logged(late, 'backend_drained');
        assert.match(lines(late, 'backend_drained')[0],
                     /rate=20 timeout_ms=600000$/);
        await order(gateways[1], '/api/v1/backends/n1/undrain');
        await Promise.all([...gateways, late].map((one) =>
            logged(one, 'backend_undrained')));
        await written(redis, 'ready');
        await sleep(1000);
        for (const one of [...gateways, late]) {
            assert.equal(lines(one, 'backend_drained').length, 1);
            assert.equal(lines(one, 'backend_undrained').length, 1);
        }
    });

    test('the newest word wins, whoever said it', async (t) => {
        const { redis, gateways } = await shared(t);
        const drained = (isDrained) => eventually(async () => {
            const answers = await Promise.all(gateways.map((one) =>
                one.get('/api/v1/backends')));
            return answers.every(({ body }) =>
                (JSON.parse(body).backends.find(({ id }) => id === 'n1').state
                    === 'drained') === isDrained);
        }, `drained: ${isDrained}`, SOON_MS);
        for (let i = 0; i < 3; i++) {
            await order(gateways[i % 2], '/api/v1/backends/n1/drain');
            await drained(true);
            await redis.command('HSET', 'sidgate:admin', 'n1', 'ready');
            await drained(false);
            await redis.command('HSET', 'sidgate:admin', 'n1', 'drain rate=1');
            await drained(true);
            await order(gateways[i % 2], '/api/v1/backends/n1/undrain');
            await drained(false);
            await written(redis, 'ready');
        }
        /* In one moment. */
        await redis.command('HSET', 'sidgate:admin', 'n1', 'drain rate=2');
        await drained(true);
        await order(gateways[0], '/api/v1/backends/n1/drain');
        await order(gateways[0], '/api/v1/backends/n1/undrain');
        await written(redis, 'ready');
        await redis.command('PUBLISH', 'sidgate:control', 'drain n1 rate=3');
        await drained(true);
        await sleep(1000);
        await drained(true);
        await written(redis, 'drain rate=3');
    });

    test('a command while Redis is away is written when it is back',
         async (t) => {
             const { redis, gateways } = await shared(t);
             await redis.kill();
             await eventually(async () => await gateways[0]
                 .metric('sidgate_store_up') === 0, 'down');
             await order(gateways[0], '/api/v1/backends/n1/drain?rate=7');
             await logged(gateways[0], 'backend_drained');
             await redis.restart();
             await logged(gateways[1], 'backend_drained');
             await written(redis, 'drain rate=7');
             assert.equal(lines(gateways[0], 'backend_undrained').length, 0);
         });

    test('the rate outlives FLUSHALL', async (t) => {
        const { redis, gateways } = await shared(t);
        await redis.command('HSET', 'sidgate:admin', 'n1',
                            'drain timeout=1h rate=1');
        await Promise.all(gateways.map((one) => logged(one,
                                                       'backend_drained')));
        for (let i = 0; i < 3; i++) {
            await redis.command('FLUSHALL');
            await eventually(async () => (await admin(redis)).n1 ===
                'drain rate=1 timeout=1h', 'written again', SOON_MS);
        }
        for (const one of gateways)
            assert.equal(lines(one, 'backend_undrained').length, 0);
    });

    test('words that mean nothing make a plain drain, told once',
         async (t) => {
             const { redis, gateways } = await shared(t);
             await redis.command('HSET', 'sidgate:admin', 'n1',
                                 'drain rate=fast');
             await Promise.all(gateways.map((one) =>
                 logged(one, 'drain_words_ignored')));
             await sleep(2500);
             for (const one of gateways) {
                 assert.equal(lines(one, 'drain_words_ignored').length, 1);
                 await logged(one, 'backend_drained');
                 assert.match(lines(one, 'backend_drained')[0],
                              /rate=0 timeout_ms=0$/);
             }
         });
});

describe('heartbeats', () => {
    const told = async (redis, gateway, id) => {
        const keys = await redis.keys(`sidgate:gateway:${gateway.name}.*`);
        return (await redis.hash(keys[0]))[`backend:${id}`];
    };

    test('tell states and reasons, which concern nobody else', async (t) => {
        const { redis, gateways, backends: [n1] } = await shared(t);
        assert.match(await told(redis, gateways[0], 'n1'),
                     /^127\.0\.0\.1:\d+ sessions=0 state=up$/);
        /* Another replica that finds n1 ill, and says so in words of a later
         * time as well. */
        const beat = ['version', '9', 'started', '2026-01-31T12:00:00.000Z',
                      'turn', '1'];
        for (const gateway of [n1, { id: 'n2', port:
            Number(/:(\d+) /.exec(await told(redis, gateways[0], 'n2'))[1]) }])
            beat.push(`backend:${gateway.id}`, `127.0.0.1:${gateway.port} ` +
                'sessions=5 state=down mood=bad why=timeout_after_2000_ms');
        await redis.command('HSET', 'sidgate:gateway:other', ...beat);
        await redis.command('SADD', 'sidgate:gateways', 'other');
        await Promise.all(gateways.map((one) => eventually(() =>
            lines(one, 'replica_joined').some((line) => /=other$/.test(line)),
            'joined', SOON_MS)));
        await sleep(1000);
        const before = n1.sids.size;
        await times(20, 5, (i) => openSession(gateways[i % 2]));
        assert.ok(n1.sids.size > before);
        assert.match(await told(redis, gateways[0], 'n1'), / state=up$/);
    });

    test('a drained one says so', async (t) => {
        const { redis, gateways } = await shared(t);
        await redis.command('HSET', 'sidgate:admin', 'n1', 'drain');
        await eventually(async () =>
            / state=drained( held=0 closed=0)? why=operator$/.test(
                await told(redis, gateways[1], 'n1')), 'drained', SOON_MS);
    });

    test('one that a replica takes away gets no sessions through any',
         async (t) => {
             const { redis, gateways, backends: [n1], held } = await shared(t);
             const all = await held(gateways[0], 2, 'n1');
             await order(gateways[0], '/api/v1/backends/n1/remove');
             await eventually(async () => / state=removed /.test(
                 await told(redis, gateways[0], 'n1')), 'removed', SOON_MS);
             await eventually(async () => / state=unagreed /.test(
                 await told(redis, gateways[1], 'n1')), 'unagreed', SOON_MS);
             const before = n1.sids.size;
             await times(12, 4, (i) => openSession(gateways[i % 2]));
             assert.equal(n1.sids.size, before);
             untouched(all);
         });
});
