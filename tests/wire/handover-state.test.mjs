/* SPDX-License-Identifier: MIT */
/* What a gateway knows goes along with its upgrade: sessions, backends and
 * their states, limits; with and without a shared store. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { handshakeRequest, startEngine } from '../support/engine.mjs';
import { connect, echoes, gone, openSession, openTunnel, polls, upgradable }
    from '../support/handover.mjs';
import { startLoad } from '../support/handover-load.mjs';
import { startRedis } from '../support/redis.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const PLAIN = { secure: false };
const COUNT = 30;
/* In MONITOR; what a script does in its turn is not among them. */
const SESSION_WRITE =
    /^\S+ \[\d+ [^l].*\] "(EVALSHA|SET|HSET)" .*sidgate:session:/i;

const start = (t, more) => upgradable(t, { listen: ['127.0.0.1:0'], ...more });

const probes = (backends) =>
    backends.reduce((sum, one) => sum + one.probes.length, 0);

async function stateOf(gateway, id)
{
    const { backends } = await gateway.see('/api/v1/backends');
    return backends.find((one) => one.id === id);
}

async function open(gateway, count = COUNT)
{
    const sids = [];
    for (let i = 0; i < count; i++)
        sids.push(await openSession(gateway.port, PLAIN));
    return sids;
}

describe('without a shared store', () => {
    test('sessions are known, counted once, and end', async (t) => {
        const { gateway, backends } = await start(t, { count: 3 });
        const sids = await open(gateway);
        const tunnel = await openTunnel(gateway.port, PLAIN);
        for (let i = 0; i < 3; i++) {
            await gateway.upgrade();
            assert.equal(await gateway.sessions(), COUNT + 1);
            for (const sid of sids)
                await polls(gateway.port, sid, PLAIN);
        }
        assert.equal(probes(backends), 0);
        tunnel.destroy();
        await eventually(async () => await gateway.sessions() === COUNT,
                         'the tunnel\'s is gone');
    });

    test('drained backends stay drained, and undrain works', async (t) => {
        const { gateway, backends } = await start(t, { count: 2 });
        const sids = await open(gateway, 10);
        await gateway.api('/api/v1/backends/n1/drain');
        await gateway.upgrade();
        assert.equal((await stateOf(gateway, 'n1')).state, 'drained');
        const before = backends[0].sids.size;
        await open(gateway, 10);
        assert.equal(backends[0].sids.size, before);
        for (const sid of sids)
            await polls(gateway.port, sid, PLAIN);
        await gateway.api('/api/v1/backends/n1/undrain');
        await gateway.upgrade();
        await open(gateway, 20);
        assert.ok(backends[0].sids.size > before);
    });

    test('one that is down stays down, without a check', async (t) => {
        const { gateway, backends } = await start(t, { count: 2,
            args: ['--health-check', 'tcp', '--health-interval', '400ms',
                   '--health-timeout', '400ms',
                   '--health-fall', '2'] });
        await backends[0].stop();
        await gateway.logged(/ backend_down /);
        const mark = await gateway.begin();
        await gateway.succeeds(mark);
        await open(gateway, 10);
        assert.equal(backends[1].sids.size, 10);
        assert.equal((await stateOf(gateway, 'n1')).state, 'down');
    });

    test('one added at run time stays, with its sessions', async (t) => {
        const { gateway, backends } = await start(t);
        const more = echoes(await startEngine({ id: 'n2' }));
        t.after(() => more.stop());
        await gateway.api(
            `/api/v1/backends?spec=n2=127.0.0.1:${more.port}`);
        const sids = await open(gateway, 10);
        assert.ok(more.sids.size > 0);
        for (let i = 0; i < 2; i++) {
            await gateway.upgrade();
            for (const sid of sids)
                await polls(gateway.port, sid, PLAIN);
        }
        const before = more.sids.size;
        await open(gateway, 10);
        assert.ok(more.sids.size > before);
        assert.equal(probes([...backends, more]), 0);
    });

    test('limits of an address count what has come along', async (t) => {
        const { gateway } = await start(t, { args: [
            '--max-connections-per-address', '3',
            '--max-sessions-per-address', '2'] });
        const tunnel = await openTunnel(gateway.port, PLAIN);
        const idle = await connect(gateway.port, PLAIN);
        await openSession(gateway.port, { wire: idle });
        const { status } = await exchange(gateway.port, handshakeRequest(),
                                          'GET', PLAIN);
        assert.equal(status, 429);
        await gone(await gateway.upgrade(), 9000);
        idle.send(handshakeRequest());
        assert.equal((await idle.response()).status, 429, 'sessions');
        const third = await connect(gateway.port, PLAIN);
        third.send(handshakeRequest());
        assert.equal((await third.response()).status, 429, 'sessions');
        const fourth = await connect(gateway.port, PLAIN);
        fourth.send('GET /other HTTP/1.1\r\nHost: h\r\n\r\n');
        assert.equal((await fourth.response()).status, 429, 'connections');
        tunnel.destroy();
        await eventually(async () =>
            await gateway.metric('sidgate_tunnels') === 0, 'no tunnel', 9000);
        await eventually(async () => (await exchange(gateway.port,
            handshakeRequest(), 'GET', PLAIN)).status === 200, 'room again');
    });
});

describe('with Redis', () => {
    /* Two replicas, of which the first is to be upgraded. */
    async function replicas(t)
    {
        const redis = await startRedis();
        t.after(() => redis.stop());
        /* A store that is given up for a while is asked, and written to, once
         * more. */
        const args = (name) => ['--store', redis.url, '--gateway-name', name,
                                '--store-timeout', '10s'];
        const world = await start(t, { count: 2, args: args('gw1') });
        const other = await start(t, { backends: world.backends,
                                       args: args('gw2') });
        for (const { gateway } of [world, other])
            await gateway.logged(/ replica_joined /, 0, 15_000);
        return { ...world, redis, other: other.gateway };
    }

    test('the replica lives on, its sessions are counted once', async (t) => {
        const { gateway, other, redis, backends } = await replicas(t);
        const mine = await open(gateway);
        const theirs = await open(other, 10);
        const tunnel = await openTunnel(gateway.port, PLAIN);
        const total = COUNT + 11;
        const members = (await redis.keys('sidgate:*'))
            .filter((key) => !key.includes(':session:')).sort();
        const monitor = await redis.monitor();
        t.after(() => monitor.close());
        const log = other.mark;
        for (let i = 0; i < 3; i++) {
            await monitor.lines(SESSION_WRITE);
            monitor.clear();
            await gone(await gateway.upgrade(), 9000);
            await sleep(1500);
            const written = await monitor.lines(SESSION_WRITE);
            assert.ok(written.length < COUNT, 'nothing is written again');
            assert.equal(await gateway.sessions() + await other.sessions(),
                         total);
            for (const sid of [...mine, ...theirs]) {
                await polls(gateway.port, sid, PLAIN);
                await polls(other.port, sid, PLAIN);
            }
        }
        assert.deepEqual((await redis.keys('sidgate:*'))
            .filter((key) => !key.includes(':session:')).sort(), members);
        assert.equal((await redis.keys('sidgate:session:*')).length, total);
        assert.doesNotMatch(other.since(log), / replica_(gone|left|joined) /);
        assert.equal(probes(backends), 0);
        tunnel.destroy();
        await eventually(async () =>
            (await redis.keys('sidgate:session:*')).length === total - 1,
            'its key is gone', 10_000);
    });

    test('drains of all replicas stay', async (t) => {
        const { gateway, other, backends } = await replicas(t);
        await other.api('/api/v1/backends/n1/drain');
        await eventually(async () =>
            (await stateOf(gateway, 'n1')).state === 'drained',
                         'drained here, too');
        await gateway.upgrade();
        const before = backends[0].sids.size;
        await open(gateway, 10);
        assert.equal(backends[0].sids.size, before);
        await other.api('/api/v1/backends/n1/undrain');
        await eventually(async () =>
            (await stateOf(gateway, 'n1')).state === 'up',
                         'undrained here, too');
    });

    test('a load of everything, both replicas upgraded in turn', async (t) => {
        const { gateway, other, backends } = await replicas(t);
        const loads = [await startLoad(gateway.port, PLAIN),
                       await startLoad(other.port, PLAIN)];
        for (let i = 0; i < 3; i++)
            for (const one of [gateway, other]) {
                await one.upgrade();
                for (const load of loads)
                    await load.settles();
            }
        for (const load of loads)
            await load.stop();
        assert.equal(probes(backends), 0);
    });

    test('while Redis is away', async (t) => {
        const { gateway, redis } = await replicas(t);
        const load = await startLoad(gateway.port, PLAIN);
        await redis.kill();
        await sleep(300);
        load.forget();
        await gateway.upgrade();
        await load.settles();
        t.diagnostic(`longest stall ${load.longest()} ms`);
        await redis.restart();
        await load.settles();
        await load.stop();
    });
});
