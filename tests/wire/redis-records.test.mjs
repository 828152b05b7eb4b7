/* SPDX-License-Identifier: MIT */
/* What is in Redis while sessions live, what each costs, and the ways to reach
 * a Redis. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, openPacket, switching, upgradeRequest } from
    '../support/engine.mjs';
import { startFakeRedis } from '../support/fake-redis.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import {
    ask, closeSession, cluster as begin, goesOn, openSession, reach, sidOf,
    startReplica, storeIs, times,
} from '../support/replicas.mjs';
import { eventually, gate } from '../support/wire.mjs';

const SESSIONS = 500;
const WIDTH = 25;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const SESSION_LINE = /"sidgate:session:/;

function keyOf(sid, prefix = 'sidgate')
{
    return `${prefix}:session:${sid}`;
}

/* No test here waits for a timeout of the store, and none shall come. */
function cluster(t, { args = [], ...more } = {})
{
    return begin(t, { ...more, args: [...args, '--store-timeout', '8s'] });
}

function noSessions(redis, prefix = 'sidgate')
{
    return eventually(async () =>
        (await redis.keys(keyOf('*', prefix))).length === 0,
        'no session key left', 30_000);
}

/* Commands about sessions that came from replicas: not from a script, nor from
 * the test, which uses the socket. */
async function sessionCommands(monitor)
{
    const lines = await monitor.lines(SESSION_LINE);
    return lines.filter((line) => !/ lua\]| unix:/.test(line))
        .map((line) => /"(\w+)"/.exec(line)[1].toUpperCase());
}

describe('the record of a session', () => {
    test('holds what an operator wants to know', async (t) => {
        const { redis, backends, gateways: [gateway] } = await cluster(t);
        const before = Date.now();
        const sid = await openSession(gateway, { from: '127.0.0.7' });
        const after = Date.now();
        const { created, seen, gateway: holder, ...rest } =
            await redis.hash(keyOf(sid));
        assert.deepEqual(rest, {
            v: '1', backend: backends[0].id, eio: '4', transport: 'polling',
            ping_interval: '25000', ping_timeout: '20000',
            client: '127.0.0.7',
        });
        assert.match(holder, /^gw1\.[0-9a-f]{8}$/);
        for (const time of [created, seen]) {
            assert.match(time, ISO);
            assert.ok(Date.parse(time) >= before &&
                      Date.parse(time) <= after, time);
        }
        const life = await redis.command('PTTL', keyOf(sid));
        assert.ok(life > 80_000 && life <= 90_000, `lives for ${life} ms`);
    });

    test('is there before the client has its sid', async (t) => {
        const { redis, backends } = await cluster(t, { count: 0 });
        const fake = await startFakeRedis(redis);
        t.after(() => fake.stop());
        const gateway = await startReplica({ name: 'gw1', url: fake.url,
            backends, args: ['--store-timeout', '10s'] });
        t.after(() => gateway.stop('SIGKILL'));
        await storeIs(gateway, true);
        const { open, opened } = gate();
        fake.answer = async ({ args, right }) => {
            if (args.some((arg) => arg.startsWith('sidgate:session:')))
                await opened;
            return right();
        };
        const client = await reach(gateway.port);
        client.send(handshakeRequest());
        await backends[0].request();
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.equal(client.total, 0, 'answered before Redis did');
        open();
        const sid = sidOf(await client.response());
        client.destroy();
        assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
    });

    test('goes when the client says goodbye', async (t) => {
        const { redis, gateways } = await cluster(t, { count: 2 });
        const sids = await times(SESSIONS, WIDTH, (i) =>
            openSession(gateways[i % 2]));
        const keys = await redis.keys(keyOf('*'));
        assert.equal(keys.length, SESSIONS);
        const lives = await Promise.all(keys.map((key) =>
            redis.command('PTTL', key)));
        assert.ok(lives.every((life) => life > 0), 'a key without expiry');
        await times(SESSIONS, WIDTH, (i) =>
            closeSession(gateways[(i + 1) % 2], sids[i]));
        await noSessions(redis);
    });

    test('says websocket after the upgrade, and goes with it', async (t) => {
        const { redis, backends: [backend], gateways: [gateway] } =
            await cluster(t);
        const sid = await openSession(gateway);
        const engine = backend.fallback;
        let upstream;
        backend.handler = (request, wire) => {
            if (!request.has('upgrade'))
                return engine(request, wire);
            wire.taken = true;
            upstream = wire;
            return wire.send(switching(request));
        };
        const client = await reach(gateway.port);
        client.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket' +
            `&sid=${encodeURIComponent(sid)}`));
        assert.equal((await client.head()).status, 101);
        client.send(frame(TEXT, '2probe', { mask: true }));
        client.send(frame(TEXT, '5', { mask: true }));
        await eventually(async () =>
            (await redis.hash(keyOf(sid))).transport === 'websocket',
            'transport=websocket');
        assert.ok(await redis.command('PTTL', keyOf(sid)) > 0);
        upstream.finish();
        client.destroy();
        await noSessions(redis);
    });

    test('is renewed when its life runs out, and given one', async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t);
        const [short, endless] = [await openSession(gateway),
                                  await openSession(gateway)];
        const other = await cold();
        /* Less than half of a life, and enough until it is used. */
        await redis.command('PEXPIRE', keyOf(short), 30_000);
        await redis.command('PERSIST', keyOf(endless));
        for (const sid of [short, endless]) {
            await goesOn(other, sid);
            await eventually(async () =>
                await redis.command('PTTL', keyOf(sid)) > 60_000,
                'a longer life');
        }
        assert.equal(await other.metric(
            'sidgate_routed_total{source="recovery"}'), 0);
    });

    test('of a sid with odd bytes works like any other', async (t) => {
        const { redis, backends: [backend], gateways: [gateway], cold } =
            await cluster(t);
        const odd = ['a b', 'a*b?[c]', '%', 'quo"te', "it's", 'ä', '$1\\r\\n',
                     'x'.repeat(256)];
        const other = await cold();
        for (const sid of odd) {
            backend.mint = () => sid;
            backend.onHandshake = (request, wire) => {
                backend.sids.add(sid);
                wire.send(ok(Buffer.from(openPacket(sid)).toString('latin1')));
            };
            assert.equal((await ask(gateway.port,
                'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n' +
                'Host: h\r\n\r\n')).status, 200);
            await goesOn(other, sid);
            await closeSession(other, sid);
        }
        await noSessions(redis);
        assert.equal(await other.metric(
            'sidgate_routed_total{source="recovery"}'), 0);
    });
});

describe('what a session costs Redis', () => {
    test('one command to begin, one to end, none between', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t);
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const sids = await times(50, 10, () => openSession(gateway));
        assert.deepEqual(await sessionCommands(monitor),
                         Array(50).fill('EVALSHA'));
        monitor.clear();
        await times(500, 10, (i) => goesOn(gateway, sids[i % 50]));
        await times(100, 10, (i) => goesOn(gateway, sids[i % 50],
            { method: 'POST', body: '4x' }));
        assert.deepEqual(await sessionCommands(monitor), []);
        await times(50, 10, (i) => closeSession(gateway, sids[i]));
        await noSessions(redis);
        assert.deepEqual(await sessionCommands(monitor),
                         Array(50).fill('EVALSHA'));
        assert.ok(await gateway.metric(
            'sidgate_routed_total{source="cache"}') >= 650);
    });

    test('one lookup for a replica that has not seen it', async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t);
        const other = await cold();
        const sid = await openSession(gateway);
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        for (let i = 0; i < 20; i++)
            await goesOn(other, sid);
        assert.deepEqual(await sessionCommands(monitor), ['HMGET', 'PTTL']);
        assert.equal(await other.metric(
            'sidgate_routed_total{source="store"}'), 1);
        assert.equal(await other.metric(
            'sidgate_routed_total{source="cache"}'), 19);
        assert.equal(await other.metric('sidgate_store_lookups_total'), 1);
    });

    test('nothing at all while nobody comes, but for the beat', async (t) => {
        const { redis } = await cluster(t, { count: 2 });
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const start = performance.now();
        await new Promise((resolve) => setTimeout(resolve, 3000));
        const lines = (await monitor.lines(/./)).filter((line) =>
            !/ lua\]| unix:/.test(line));
        const text = () => `${lines.length} commands, ${beats} beats:\n` +
            lines.slice(0, 20).join('\n');
        /* A script in each turn; two replicas, a turn each 0.8 s, and one more
         * for who has just joined; at most eight commands each, those of turns
         * under way at the beginning and the end too. */
        const beats = lines.filter((line) => /"EVALSHA"/i.test(line)).length;
        const turns = 2 * (Math.ceil((performance.now() - start) / 800) + 2);
        assert.ok(beats > 0, 'no beat at all');
        assert.ok(beats <= turns, text());
        assert.ok(lines.length <= 8 * (beats + 2), text());
    });
});

describe('with hashed sids', () => {
    function secretFile(t)
    {
        const file = path.join(os.tmpdir(), `secret-${process.pid}-` +
            randomBytes(4).toString('hex'));
        writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600 });
        t.after(() => rmSync(file));
        return file;
    }

    /* All keys and values, as text. */
    async function everything(redis)
    {
        const dump = [];
        for (const key of await redis.keys()) {
            const type = await redis.command('TYPE', key);
            const read = { hash: 'HGETALL', set: 'SMEMBERS',
                           string: 'GET' }[type];
            assert.ok(read, `${key} is a ${type}`);
            dump.push(key, ...[await redis.command(read, key)].flat());
        }
        return dump.join('\n');
    }

    test('no sid is in Redis, nor ever sent there', async (t) => {
        const file = secretFile(t);
        const { redis, gateways, cold } = await cluster(t, { count: 2,
            args: ['--hash-sids-file', file] });
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const sids = await times(40, 10, (i) => openSession(gateways[i % 2]));
        const other = await cold();
        await times(40, 10, (i) => goesOn(other, sids[i]));
        const keys = await redis.keys(keyOf('*'));
        assert.equal(keys.length, 40);
        for (const key of keys)
            assert.match(key, /^sidgate:session:[0-9a-f]{64}$/);
        const text = await everything(redis);
        const said = (await monitor.lines(/./)).join('\n');
        for (const sid of sids) {
            assert.ok(!text.includes(sid), 'a sid is in Redis');
            assert.ok(!said.includes(sid), 'a sid was sent to Redis');
        }
        assert.equal(await other.metric(
            'sidgate_routed_total{source="store"}'), 40);
        await times(40, 10, (i) => closeSession(gateways[i % 2], sids[i]));
        await noSessions(redis);
    });
});

describe('ways to reach a Redis:', () => {
    async function works(t, options)
    {
        const { redis, gateways, cold } = await cluster(t, options);
        const other = await cold();
        const sid = await openSession(gateways[0]);
        await goesOn(other, sid);
        assert.equal(await other.metric(
            'sidgate_routed_total{source="store"}'), 1);
        return { redis, gateways, sid };
    }

    test('a unix socket', async (t) => {
        await works(t, { url: (redis) => `redis+unix://${redis.path}` });
    });

    test('a unix socket and a database', async (t) => {
        const { redis, sid } = await works(t, {
            url: (redis) => `redis+unix://${redis.path}?db=5`,
        });
        assert.equal(await redis.cli('-n', 5, 'EXISTS', keyOf(sid)), '1');
    });

    test('IPv6', async (t) => {
        const has = Object.values(os.networkInterfaces()).flat()
            .some(({ address }) => address === '::1');
        if (!has)
            return t.skip('this machine has no ::1');
        return works(t, { url: (redis) => `redis://[::1]:${redis.port}` });
    });

    test('a name', async (t) => {
        await works(t, { url: (redis) => `redis://localhost:${redis.port}/0` });
    });

    test('user and password', async (t) => {
        const { redis } = await works(t, {
            redis: ['--user', 'gate', 'on', '>p@ss:w/rd', '~sidgate:*',
                    '&sidgate:*', '+@all'],
            url: ({ port }) =>
                `redis://gate:p%40ss%3Aw%2Frd@127.0.0.1:${port}/0`,
        });
        const clients = await redis.command('CLIENT', 'LIST');
        assert.match(clients, /user=gate/);
    });

    test('database 3', async (t) => {
        const { redis, sid } = await works(t, {
            url: ({ port }) => `redis://127.0.0.1:${port}/3`,
        });
        assert.equal(await redis.cli('-n', 3, 'EXISTS', keyOf(sid)), '1');
        assert.equal(await redis.cli('-n', 0, 'DBSIZE'), '0');
    });

    test('a prefix', async (t) => {
        const { redis, sid } = await works(t, {
            args: ['--store-prefix', 'app-7:x'],
        });
        assert.equal(await redis.command('EXISTS', keyOf(sid, 'app-7:x')), 1);
        assert.deepEqual((await redis.keys())
            .filter((key) => !key.startsWith('app-7:x:')), []);
    });

    test('two prefixes are two worlds', async (t) => {
        const { redis, gateways: [gateway], cold } = await cluster(t);
        const other = await cold(['--store-prefix', 'other']);
        const sid = await openSession(other);
        assert.equal(await redis.command('EXISTS', keyOf(sid, 'other')), 1);
        assert.equal(await redis.command('EXISTS', keyOf(sid)), 0);
        assert.equal(gateway.events('replica_joined').length, 0);
    });

    test('clients have names there', async (t) => {
        const { redis } = await works(t, {});
        assert.match(await redis.command('CLIENT', 'LIST'), / name=\S*gw1/);
    });
});
