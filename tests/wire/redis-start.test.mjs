/* SPDX-License-Identifier: MIT */
/* The daemon starts whatever Redis is like, says what is wrong in one line,
 * works by its policy, and uses Redis once that is right. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';

import { handshakeRequest, startEngine } from '../support/engine.mjs';
import { quietPort } from '../support/ports.mjs';
import { startRedis } from '../support/redis.mjs';
import {
    ask, goesOn, openSession, startReplica, storeIs,
} from '../support/replicas.mjs';
import { eventually } from '../support/wire.mjs';

const SECRET = 'open-Sesame-77';
const SAID_MS = 30_000;
/* Where what is wrong shows at once, and nothing shall be late. */
const CALM = ['--store-timeout', '8s'];

async function start(t, url, args = CALM)
{
    const backend = await startEngine({ id: 'n1' });
    const gateway = await startReplica({ name: 'gw1', url,
                                         backends: [backend], args });
    t.after(async () => {
        await backend.stop();
        const end = await gateway.stop();
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
        assert.ok(!gateway.stderr().includes(SECRET), 'a password is logged');
    });
    return { backend, gateway };
}

async function redisFor(t, options)
{
    const redis = await startRedis(options);
    t.after(() => redis.stop());
    return redis;
}

/* The reason is logged, once, and handshakes are served all the same. */
async function saysWhy(gateway, pattern)
{
    await eventually(() => gateway.events('store_down').length > 0,
                     'store_down', SAID_MS);
    const [line] = gateway.events('store_down');
    assert.match(line, /why=/);
    assert.match(line, pattern);
    const sid = await openSession(gateway);
    await goesOn(gateway, sid);
    return sid;
}

/* `sid` began without Redis; now it gets there by itself. */
async function usesIt(gateway, redis, sid)
{
    await storeIs(gateway, true);
    await eventually(() => gateway.events('store_up').length > 0,
                     'it is told');
    await eventually(() => redis.command('EXISTS', `sidgate:session:${sid}`),
                     'the session is written');
    const next = await openSession(gateway);
    assert.equal(await redis.command('EXISTS', `sidgate:session:${next}`), 1);
}

describe('Redis at the start:', () => {
    test('nobody listens', async (t) => {
        const port = await quietPort();
        const { gateway } = await start(t, `redis://127.0.0.1:${port}/0`);
        const sid = await saysWhy(gateway, /refused/i);
        /* A few attempts later it is still one line. */
        await new Promise((resolve) => setTimeout(resolve, 2000));
        assert.ok(gateway.events('store_down').length <= 2, gateway.stderr());
        const redis = await redisFor(t, { port });
        await usesIt(gateway, redis, sid);
    });

    test('nobody listens, and the policy is closed', async (t) => {
        const port = await quietPort();
        const { gateway } = await start(t, `redis://127.0.0.1:${port}/0`, [
            '--store-outage', 'closed', ...CALM]);
        const answer = await ask(gateway.port, handshakeRequest());
        assert.equal(answer.status, 503);
        const redis = await redisFor(t, { port });
        await storeIs(gateway, true);
        const sid = await openSession(gateway);
        assert.equal(await redis.command('EXISTS', `sidgate:session:${sid}`),
                     1);
    });

    test('the socket is not there', async (t) => {
        const { gateway } = await start(t, 'redis+unix:///tmp/no-such.sock');
        await saysWhy(gateway, /no such file/i);
    });

    test('a name that does not exist', async (t) => {
        const { gateway } = await start(t, 'redis://no-such-host.invalid/0',
                                        []);
        await saysWhy(gateway, /store_down/);
    });

    test('it answers nothing', async (t) => {
        const redis = await redisFor(t);
        await redis.pause();
        /* It is waited for four times as long. */
        const { gateway } = await start(t, redis.url,
                                        ['--store-timeout', '3s']);
        const sid = await saysWhy(gateway, /store_down/);
        redis.resume();
        await usesIt(gateway, redis, sid);
    });

    test('a wrong password', async (t) => {
        const redis = await redisFor(t, { args: ['--requirepass', SECRET] });
        redis.password = SECRET;
        const { gateway } = await start(t,
            `redis://:not-${SECRET}@127.0.0.1:${redis.port}/0`);
        const sid = await saysWhy(gateway, /wrong password/);
        await redis.command('CONFIG', 'SET', 'requirepass', `not-${SECRET}`);
        redis.password = `not-${SECRET}`;
        await usesIt(gateway, redis, sid);
    });

    test('no password where one is needed', async (t) => {
        const redis = await redisFor(t, { args: ['--requirepass', SECRET] });
        redis.password = SECRET;
        const { gateway } = await start(t, redis.url);
        const sid = await saysWhy(gateway, /password is needed/);
        await redis.command('CONFIG', 'SET', 'requirepass', '');
        await usesIt(gateway, redis, sid);
    });

    test('a password from a file', async (t) => {
        const redis = await redisFor(t, { args: ['--requirepass', SECRET] });
        redis.password = SECRET;
        const file = path.join(redis.folder, 'password');
        writeFileSync(file, `${SECRET}\n`, { mode: 0o600 });
        const { gateway } = await start(t, redis.url, [
            '--store-password-file', file, ...CALM]);
        rmSync(file);
        await storeIs(gateway, true);
        const sid = await openSession(gateway);
        assert.equal(await redis.command('EXISTS', `sidgate:session:${sid}`),
                     1);
    });

    test('a user without rights', async (t) => {
        const redis = await redisFor(t);
        await redis.command('ACL', 'SETUSER', 'weak', 'on', `>${SECRET}`,
                            '~sidgate:*', '+ping', '+hmget');
        const { gateway } = await start(t,
            `redis://weak:${SECRET}@127.0.0.1:${redis.port}/0`);
        const sid = await saysWhy(gateway, /permission/);
        await redis.command('ACL', 'SETUSER', 'weak', 'on', '~sidgate:*',
                            '&sidgate:*', '+@all');
        await usesIt(gateway, redis, sid);
    });

    test('a database that it has not', async (t) => {
        const redis = await redisFor(t);
        const { gateway } = await start(t,
            `redis://127.0.0.1:${redis.port}/77`);
        await saysWhy(gateway, /no database 77/);
    });

    test('a read-only replica, which becomes the master', async (t) => {
        const master = await redisFor(t);
        const redis = await redisFor(t, {
            args: ['--replicaof', '127.0.0.1', String(master.port)] });
        await eventually(async () => /master_link_status:up/.test(
            await redis.command('INFO', 'replication')), 'it replicates',
            60_000);
        const { gateway } = await start(t, redis.url);
        let sid = await openSession(gateway);
        await goesOn(gateway, sid);
        await eventually(() => gateway.events('store_down').length > 0,
                         'store_down', SAID_MS);
        assert.match(gateway.events('store_down').at(-1), /read-only/);
        sid = await openSession(gateway);
        await redis.command('REPLICAOF', 'NO', 'ONE');
        await usesIt(gateway, redis, sid);
    });

    test('a node of a Redis Cluster', async (t) => {
        /* Its second port would be one that connections are given. */
        const redis = await redisFor(t, { args: [
            '--cluster-enabled', 'yes',
            '--cluster-port', String(await quietPort()),
        ] });
        const { gateway } = await start(t, redis.url);
        await saysWhy(gateway, /Cluster/);
    });

    test('something that is no Redis at all', async (t) => {
        const server = net.createServer((socket) => {
            socket.on('error', () => {}).resume();
            socket.end('SSH-2.0-OpenSSH_9.2\r\n');
        });
        server.listen(0, '127.0.0.1').unref();
        await once(server, 'listening');
        t.after(() => server.close());
        const { gateway } = await start(t,
            `redis://127.0.0.1:${server.address().port}/0`);
        await saysWhy(gateway, /not Redis/);
    });
});
