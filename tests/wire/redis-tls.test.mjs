/* SPDX-License-Identifier: MIT */
/* Redis over TLS: whom sidgate believes, what it says of others, and the whole
 * of a shared map's work over it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { certificateFolder, makeAuthority, makeCertificate, makeClient,
         makeExpired } from '../support/certificates.mjs';
import { newSid, startEngine } from '../support/engine.mjs';
import { quietPort } from '../support/ports.mjs';
import { startRedis, tlsArgs } from '../support/redis.mjs';
import { cluster, goesOn, openSession, startReplica, storeIs, times }
    from '../support/replicas.mjs';
import { apiAt, asksStore, everyPage } from '../support/sessions.mjs';
import { isGone, keyOf } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const authority = makeAuthority();
const stranger = makeAuthority({ name: 'Another authority' });
const SAID_MS = 30_000;
const CA = ['--store-ca', authority.certificate];
/* No test waits for a timeout of the store but where it says so, and none shall
 * come. */
const CALM = ['--store-timeout', '8s'];
const certificates = {
    good: makeCertificate(authority),
    expired: makeExpired(authority),
    other: makeCertificate(authority, { names: ['redis.example'], ips: [] }),
    address: makeCertificate(authority, { names: [], ips: ['127.0.0.1'] }),
};

/* With `pair`; more: for redis-server. Its url(host) is that of TLS. */
async function startSecure(pair, more = [])
{
    const port = await quietPort();
    const redis = await startRedis({ args: [
        ...tlsArgs(port, { ...pair, ca: authority.certificate }), ...more,
    ] });
    return Object.assign(redis, {
        tlsPort: port,
        tlsUrl: (host = '127.0.0.1') => `rediss://${host}:${port}/0`,
    });
}

let backend;

before(async () => (backend = await startEngine({ id: 'n1' })));
after(() => backend.stop());

async function start(t, url, args = CA, timing = CALM)
{
    const gateway = await startReplica({ name: 'gw1', url, args: [
        ...args, ...timing], backends: [backend] });
    t.after(async () => {
        const end = await gateway.stop();
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
    });
    return gateway;
}

async function works(gateway, redis)
{
    await storeIs(gateway, true);
    assert.doesNotMatch(gateway.stderr(), /why="?TLS/);
    const sid = await openSession(gateway);
    assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
}

/* It says so, and serves handshakes meanwhile. What it says again and again is
 * in one line; a busy machine may make it say something else in between. */
async function says(gateway, pattern)
{
    const reasons = () => gateway.events('store_down')
        .map((line) => line.slice(line.indexOf(' why=')));
    await eventually(() => reasons().some((why) => pattern.test(why)),
                     `store_down ${pattern}`, SAID_MS);
    await goesOn(gateway, await openSession(gateway));
    const all = reasons();
    assert.ok(all.every((why, i) => why !== all[i - 1]), gateway.stderr());
}

describe('who answers as rediss', () => {
    const all = {};

    before(() => Promise.all(Object.entries(certificates).map(
        async ([name, pair]) => (all[name] = await startSecure(pair)))));
    after(() => Promise.all(Object.values(all).map((one) => one.stop())));

    for (const [what, which, host, args] of [
        ['is known by its address', 'good', '127.0.0.1', CA],
        ['is known by its name', 'good', 'localhost', CA],
        ['has a certificate for its address alone', 'address', '127.0.0.1',
         CA],
        ['has the name that it should have', 'other', '127.0.0.1',
         [...CA, '--store-tls-name', 'redis.example']],
        ['is not looked at, of a wrong name', 'other', '127.0.0.1',
         ['--store-verify=false']],
        ['is not looked at, of the past', 'expired', 'localhost',
         ['--store-verify=false']],
    ])
        test(what, async (t) => {
            const redis = all[which];
            await works(await start(t, redis.tlsUrl(host), args), redis);
        });

    for (const [what, which, host, args, pattern] of [
        ['is of an authority that is not ours', 'good', '127.0.0.1',
         ['--store-ca', stranger.certificate],
         /TLS: its certificate is of an unknown authority/],
        ['is of an authority that the system has not', 'good', '127.0.0.1', [],
         /TLS: its certificate is of an unknown authority/],
        ['is of the past', 'expired', '127.0.0.1', CA,
         /TLS: its certificate has expired/],
        ['has the name of another', 'other', 'localhost', CA,
         /TLS: its certificate is not for localhost/],
        ['has another address', 'other', '127.0.0.1', CA,
         /TLS: its certificate is not for this address/],
        ['has not the name that it should have', 'good', '127.0.0.1',
         [...CA, '--store-tls-name', 'redis.example'],
         /TLS: its certificate is not for redis.example/],
    ])
        test(what, async (t) => {
            await says(await start(t, all[which].tlsUrl(host), args), pattern);
        });

    test('speaks no TLS', async (t) => {
        await says(await start(t, `rediss://127.0.0.1:${all.good.port}/0`, CA,
                               []), /no TLS connection in time/);
    });

    test('speaks TLS, and is taken for one that does not', async (t) => {
        await says(await start(t, `redis://127.0.0.1:${all.good.tlsPort}/0`, []),
                   /closed without a word: if it speaks TLS, use rediss:/);
    });

    test('speaks something else', async (t) => {
        const server = net.createServer((socket) => {
            socket.on('error', () => {}).resume();
            socket.end('SSH-2.0-OpenSSH_9.2\r\n');
        });
        server.listen(0, '127.0.0.1').unref();
        await once(server, 'listening');
        t.after(() => server.close());
        await says(await start(t, `rediss://127.0.0.1:${server.address().port}`),
                   /TLS: wrong version number/);
    });

    test('hangs up', async (t) => {
        const server = net.createServer((socket) => {
            socket.on('error', () => {});
            socket.once('data', () => socket.end());
        });
        server.listen(0, '127.0.0.1').unref();
        await once(server, 'listening');
        t.after(() => server.close());
        await says(await start(t, `rediss://127.0.0.1:${server.address().port}`),
                   /TLS: closed by the peer/);
    });
});

describe('a Redis that wants a certificate', () => {
    const client = makeClient(authority);
    const wrong = makeClient(stranger);
    const shown = ['--store-certificate',
                   `${client.certificate},key=${client.key}`];

    for (const [version, none, unknown] of [
        ['TLSv1.3', /TLS: it refuses: certificate required/,
         /TLS: it refuses: unknown ca/],
        ['TLSv1.2', /TLS: it refuses: handshake failure/,
         /TLS: it refuses: unknown ca/],
    ])
        test(`with ${version}`, async (t) => {
            const redis = await startSecure(certificates.good, [
                '--tls-auth-clients', 'yes', '--tls-protocols', version]);
            t.after(() => redis.stop());
            await says(await start(t, redis.tlsUrl()), none);
            await says(await start(t, redis.tlsUrl(), [
                ...CA, '--store-certificate', wrong.pem]), unknown);
            await works(await start(t, redis.tlsUrl(), [...CA, ...shown]),
                        redis);
        });
});

describe('a reload', () => {
    test('uses the authorities that are in the file then', async (t) => {
        const redis = await startSecure(certificates.good);
        t.after(() => redis.stop());
        const file = path.join(certificateFolder(), 'changing-ca.pem');
        const put = async (gateway, event) => {
            const count = gateway.events(event).length;
            process.kill(gateway.pid, 'SIGHUP');
            await eventually(() => gateway.events(event).length > count,
                             event, SAID_MS);
        };
        copyFileSync(stranger.certificate, file);
        const gateway = await start(t, redis.tlsUrl(), ['--store-ca', file]);
        await says(gateway, /unknown authority/);
        copyFileSync(authority.certificate, file);
        await put(gateway, 'reloaded');
        await storeIs(gateway, true);

        /* Connections that are open stay. */
        copyFileSync(stranger.certificate, file);
        await put(gateway, 'reloaded');
        const sid = await openSession(gateway);
        assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
        const before = gateway.events('store_down').length;
        await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME',
                            'yes');
        await eventually(() => gateway.events('store_down').slice(before)
            .some((line) => /unknown authority/.test(line)),
            'another store_down', SAID_MS);

        /* What is no good is not used. */
        copyFileSync(authority.certificate, file);
        await put(gateway, 'reloaded');
        await storeIs(gateway, true);
        writeFileSync(file, 'nothing');
        await put(gateway, 'reload_failed');
        await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME',
                            'yes');
        await eventually(async () => (await redis.command('CLIENT', 'LIST',
            'TYPE', 'normal')).includes('name=gw1'), 'a new connection');
        await storeIs(gateway, true);
    });
});

describe('replicas over TLS', { skip: IS_TLS }, () => {
    async function begin(t)
    {
        const port = await quietPort();
        return cluster(t, {
            nodes: 2, count: 2, args: [...CA, ...CALM, '--workers', '2'],
            url: () => `rediss://127.0.0.1:${port}/0`,
            redis: tlsArgs(port, { ...certificates.good,
                                   ca: authority.certificate }),
        });
    }

    test('find, list and kick', async (t) => {
        const { redis, gateways } = await begin(t);
        const [first, second] = gateways;
        const sids = await times(120, 8, (i) => openSession(gateways[i % 2]));
        await times(120, 8, (i) => goesOn(gateways[(i + 1) % 2], sids[i]));
        for (const { metric } of gateways)
            assert.equal(await metric('sidgate_unknown_sid_total'), 0);
        for (const gateway of gateways) {
            await asksStore(gateway);
            assert.equal((await everyPage(gateway, { limit: 100 })).length,
                         120);
        }
        const { session } = await apiAt(second).get(`sessions/${sids[0]}`);
        assert.match(session.gateway, /^gw1\./);
        await apiAt(second).post(`sessions/${sids[0]}/kick`);
        await isGone(redis, sids[0], SAID_MS);
        await apiAt(first).fails('GET', `sessions/${newSid()}`, 404);
        const clients = await redis.command('CLIENT', 'LIST', 'TYPE', 'normal');
        const plain = clients.split('\n').filter((line) =>
            line.includes(`laddr=127.0.0.1:${redis.port}`));
        assert.deepEqual(plain, [], 'nobody is on the plain port');
    });

    test('live through an outage, and write again what it lost', async (t) => {
        const { redis, gateways } = await begin(t);
        const sids = await times(100, 8, (i) => openSession(gateways[i % 2]));
        await redis.kill();
        await Promise.all(gateways.map((gateway) => storeIs(gateway, false)));
        sids.push(...await times(20, 8, (i) => openSession(gateways[i % 2])));
        await times(100, 8, (i) => goesOn(gateways[i % 2], sids[i]));
        await redis.restart();
        await Promise.all(gateways.map((gateway) => storeIs(gateway, true)));
        await eventually(async () =>
            (await redis.keys(keyOf('*'))).length === sids.length,
            'all sessions are there again', SAID_MS);
        await times(sids.length, 8, (i) => goesOn(gateways[(i + 1) % 2],
                                                  sids[i]));
        for (const gateway of gateways) {
            await asksStore(gateway);
            assert.equal((await everyPage(gateway)).length, sids.length);
        }
    });
});
