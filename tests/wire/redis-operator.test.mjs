/* SPDX-License-Identifier: MIT */
/* What an operator types into a shell with redis-cli, run as it stands. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
    cluster as begin, goesOn, openSession, startReplica, storeIs, times,
} from '../support/replicas.mjs';
import { eventually } from '../support/wire.mjs';

/* docs/redis.md has the same ones. */
const COMMANDS = {
    count: "redis-cli --scan --pattern 'sidgate:session:*' | sort -u | wc -l",
    perBackend: `
redis-cli --scan --pattern 'sidgate:session:*' | sort -u |
    sed 's/.*/HGET "&" backend/' | redis-cli | sort | uniq -c`,
    onBackend: `
redis-cli --scan --pattern 'sidgate:session:*' | sort -u |
while read -r key; do
    if [ "$(redis-cli HGET "$key" backend)" = n1 ]; then echo "$key"; fi
done`,
    byAddress: `
redis-cli --scan --pattern 'sidgate:session:*' | sort -u |
while read -r key; do
    if [ "$(redis-cli HGET "$key" client)" = 127.0.0.42 ]; then
        echo "$key $(redis-cli HMGET "$key" backend transport gateway |
            paste -sd' ' -)"
    fi
done`,
    session: 'redis-cli HGETALL "sidgate:session:$SID"',
    life: 'redis-cli PTTL "sidgate:session:$SID"',
    replicas: 'redis-cli SMEMBERS sidgate:gateways',
    replica: `
for id in $(redis-cli SMEMBERS sidgate:gateways); do
    echo "$id: $(redis-cli HGET "sidgate:gateway:$id" backend:n1)"
done`,
    drain: 'redis-cli HSET sidgate:admin n1 drain',
    drainPaced:
        "redis-cli HSET sidgate:admin n1 'drain rate=20 timeout=10m'",
    ready: 'redis-cli HSET sidgate:admin n1 ready',
    forget: 'redis-cli HDEL sidgate:admin n1',
    state: 'redis-cli HGETALL sidgate:admin',
    publishDrain: "redis-cli PUBLISH sidgate:control 'drain n1'",
    publishPaced: "redis-cli PUBLISH sidgate:control " +
        "'drain n1 rate=20 timeout=10m'",
    publishUndrain: "redis-cli PUBLISH sidgate:control 'undrain n1'",
};
const SOON_MS = 20_000; /* one beat, and what a busy machine adds */

const CALM = ['--store-timeout', '8s']; /* which none here waits for */

/* All hear what is published from now on. */
async function cluster(t, options)
{
    const world = await begin(t, { ...options, args: CALM });
    await eventually(async () => (await world.redis.command(
        'PUBSUB', 'NUMSUB', 'sidgate:control'))[1] === world.gateways.length,
        'replicas that listen', SOON_MS);
    return world;
}

/* `isDrained` holds for handshakes through each replica, soon. */
async function settles(gateways, backend, isDrained)
{
    for (const gateway of gateways)
        await eventually(async () => {
            const before = backend.sids.size;
            await times(8, 4, () => openSession(gateway));
            return (backend.sids.size === before) === isDrained;
        }, `${gateway.name}: ${backend.id} ${isDrained ? 'drained' : 'ready'}`,
        SOON_MS);
}

/* The log has it within a moment, and no second time. */
async function toldOnce(gateways, event)
{
    for (const gateway of gateways) {
        await eventually(() => gateway.events(event).length > 0,
                         `${gateway.name}: ${event}`, SOON_MS);
        assert.equal(gateway.events(event).length, 1, gateway.stderr());
    }
}

/* No handshake goes there now. */
async function getsNone(gateways, backend)
{
    const before = backend.sids.size;
    await times(12 * gateways.length, 6, (i) =>
        openSession(gateways[i % gateways.length]));
    assert.equal(backend.sids.size, before, `${backend.id} got a session`);
}

describe('questions', () => {
    test('how many sessions there are, where, and whose', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 2, count: 2 });
        const sids = await times(10, 4, (i) => openSession(gateways[i % 2]));
        const mine = await openSession(gateways[1], { from: '127.0.0.42' });
        const { n1, n2 } = Object.fromEntries(backends.map(({ id, sids: s }) =>
            [id, s]));
        assert.equal((await redis.shell(COMMANDS.count)).trim(), '11');
        assert.deepEqual((await redis.shell(COMMANDS.perBackend)).split('\n')
            .map((line) => line.trim()), [`${n1.size} n1`, `${n2.size} n2`]);
        const onN1 = (await redis.shell(COMMANDS.onBackend)).split('\n');
        assert.deepEqual(onN1.sort(),
            [...sids, mine].filter((sid) => n1.has(sid))
                .map((sid) => `sidgate:session:${sid}`).sort());
        const home = n1.has(mine) ? 'n1' : 'n2';
        assert.match(await redis.shell(COMMANDS.byAddress), new RegExp(
            `^sidgate:session:${mine} ${home} polling gw2\\.[0-9a-f]{8}$`));
        const all = await redis.shell(COMMANDS.session, { SID: mine });
        assert.match(all, new RegExp(`backend\n${home}\n`));
        assert.match(all, /client\n127\.0\.0\.42\n/);
        assert.ok(Number(await redis.shell(COMMANDS.life, { SID: mine })) > 0);
    });

    test('which replicas there are, and what they hold', async (t) => {
        const { redis, backends: [n1], gateways } =
            await cluster(t, { nodes: 1, count: 3 });
        await times(9, 3, (i) => openSession(gateways[i % 3]));
        const ids = (await redis.shell(COMMANDS.replicas)).split('\n').sort();
        assert.equal(ids.length, 3);
        ids.forEach((id, i) =>
            assert.match(id, new RegExp(`^gw${i + 1}\\.[0-9a-f]{8}$`)));
        await eventually(async () => {
            const lines = (await redis.shell(COMMANDS.replica)).split('\n');
            return lines.every((line) => line.endsWith(
                `: 127.0.0.1:${n1.port} sessions=3 state=up`));
        }, 'each tells of its three', SOON_MS);
        const beat = await redis.hash(`sidgate:gateway:${ids[0]}`);
        assert.match(beat.version, /^\d+\.\d+\.\d+/);
        assert.match(beat.started, /^\d{4}-\d\d-\d\dT/);
        assert.match(beat.turn, /^\d+$/);
        assert.ok(await redis.command('PTTL', `sidgate:gateway:${ids[0]}`) > 0);
    });

    test('a replica that ends takes its heartbeat along', async (t) => {
        const { redis, gateways } = await cluster(t, { count: 2 });
        await gateways.pop().stop();
        assert.match(await redis.shell(COMMANDS.replicas), /^gw1\.\S+$/);
        assert.equal((await redis.keys('sidgate:gateway:*')).length, 1);
        await eventually(() => gateways[0].events('replica_left').length > 0,
                         'replica_left', SOON_MS);
    });
});

describe('drain', () => {
    for (const [how, on, off] of [
        ['HSET and ready', 'drain', 'ready'],
        ['HSET and HDEL', 'drain', 'forget'],
        ['HSET with a rate', 'drainPaced', 'ready'],
        ['PUBLISH', 'publishDrain', 'publishUndrain'],
        ['PUBLISH with a rate', 'publishPaced', 'publishUndrain'],
    ])
        test(`by ${how} holds for every replica`, async (t) => {
            const { redis, backends, gateways } =
                await cluster(t, { nodes: 2, count: 2 });
            const [n1] = backends;
            const sids = await times(20, 5, (i) =>
                openSession(gateways[i % 2]));
            await redis.shell(COMMANDS[on]);
            await settles(gateways, n1, true);
            await getsNone(gateways, n1);
            /* Sessions that are there stay there. */
            await times(20, 5, (i) => goesOn(gateways[i % 2], sids[i]));
            await toldOnce(gateways, 'backend_drained');
            await redis.shell(COMMANDS[off]);
            await settles(gateways, n1, false);
            await toldOnce(gateways, 'backend_undrained');
        });

    test('is known to a replica that starts later', async (t) => {
        const { redis, backends, gateways, cold } =
            await cluster(t, { nodes: 2 });
        await redis.shell(COMMANDS.drain);
        await settles(gateways, backends[0], true);
        const other = await cold();
        await eventually(() => other.events('backend_drained').length > 0,
                         'the new one knows', SOON_MS);
        await getsNone([other], backends[0]);
    });

    for (const [how, flushes] of [['HSET', 1], ['PUBLISH', 1], ['HSET', 5]])
        test(`by ${how} outlives FLUSHALL, ${flushes} times`, async (t) => {
            const { redis, backends, gateways } =
                await cluster(t, { nodes: 2, count: 2 });
            await redis.shell(COMMANDS[how === 'HSET' ? 'drain' :
                'publishDrain']);
            await settles(gateways, backends[0], true);
            for (let i = 0; i < flushes; i++) {
                await redis.command('FLUSHALL');
                const end = Date.now() + 700;
                while (Date.now() < end)
                    await getsNone(gateways, backends[0]);
            }
            const end = Date.now() + 2500;
            while (Date.now() < end)
                await getsNone(gateways, backends[0]);
            await eventually(async () =>
                await redis.shell(COMMANDS.state) === 'n1\ndrain',
                'the drain is in Redis again', SOON_MS);
            await getsNone(gateways, backends[0]);
        });

    test('outlives a Redis that starts anew, empty', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 2, count: 2 });
        await redis.shell(COMMANDS.drain);
        await settles(gateways, backends[0], true);
        await redis.kill();
        await getsNone(gateways, backends[0]);
        await redis.restart();
        await Promise.all(gateways.map((gateway) => storeIs(gateway, true)));
        await eventually(async () =>
            await redis.shell(COMMANDS.state) === 'n1\ndrain',
            'the drain is in Redis again', SOON_MS);
        await getsNone(gateways, backends[0]);
    });

    /* As a replica of Redis that lagged, and is the master now, has it. */
    test('is not back when its end was lost', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 2, count: 2 });
        for (const [command, state] of [['publishDrain', 'drain'],
                                        ['publishUndrain', 'ready']]) {
            await redis.shell(COMMANDS[command]);
            await eventually(async () =>
                await redis.shell(COMMANDS.state) === `n1\n${state}`,
                `${state} is in Redis`, SOON_MS);
        }
        await settles(gateways, backends[0], false);
        await redis.command('EVAL', `
            redis.call('HSET', 'sidgate:admin', 'n1', 'drain')
            redis.call('SET', 'sidgate:epoch', 'another')`, 0);
        await eventually(async () =>
            await redis.shell(COMMANDS.state) === 'n1\nready',
            'the end is in Redis again', SOON_MS);
        await new Promise((resolve) => setTimeout(resolve, 2200));
        await settles(gateways, backends[0], false);
        for (const gateway of gateways)
            assert.ok(gateway.events('backend_drained').length <= 1,
                      gateway.stderr());
    });

    test('of the only node is not obeyed to the last', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t);
        const sid = await openSession(gateway);
        await redis.shell(COMMANDS.drain);
        await eventually(() => gateway.events('backend_drained').length > 0,
                         'backend_drained', SOON_MS);
        await goesOn(gateway, sid);
    });

    test('of an unknown node, and junk, changes nothing', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 2, count: 1 });
        for (const [field, value] of [['n9', 'drain'], ['n1', 'drian'],
                                      ['n1', ''], ['', 'drain'],
                                      ['n1\r\nx', 'drain'],
                                      ['x'.repeat(5000), 'drain']])
            await redis.command('HSET', 'sidgate:admin', field, value);
        for (const said of ['drain', 'drain ', 'drain n9', ' drain n1', 'kick',
                            'kick ', 'KICK x', 'x'.repeat(100_000), '\0', '',
                            'undrain', `kick ${'s'.repeat(300)}`,
                            'kick a b', 'drain n1 n2', 'drain n1 rate=',
                            'drain n1 rate=20 timeout=x', 'undrain n1 rate=1',
                            `drain n1 ${'r'.repeat(100)}`])
            await redis.command('PUBLISH', 'sidgate:control', said);
        await new Promise((resolve) => setTimeout(resolve, 2200));
        await settles(gateways, backends[0], false);
        assert.equal(gateways[0].events('backend_drained').length, 0,
                     gateways[0].stderr());
    });

    test('goes on where the key is of a wrong type', async (t) => {
        const { redis, backends, gateways } =
            await cluster(t, { nodes: 2, count: 2 });
        await redis.shell(COMMANDS.drain);
        await settles(gateways, backends[0], true);
        await redis.command('SET', 'sidgate:admin', 'junk');
        await new Promise((resolve) => setTimeout(resolve, 2200));
        await getsNone(gateways, backends[0]);
        const late = await startReplica({ name: 'late', url: redis.url,
                                          backends, args: CALM });
        gateways.push(late);
        await storeIs(late, true);
        await openSession(late);
    });
});
