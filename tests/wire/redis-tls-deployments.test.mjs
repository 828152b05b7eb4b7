/* SPDX-License-Identifier: MIT */
/* Sentinels and a cluster that speak nothing but TLS: the shared map's work
 * over them, and what is said where they are not believed or do not believe. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { certificateFolder, makeAuthority, makeCertificate }
    from '../support/certificates.mjs';
import { startEngine } from '../support/engine.mjs';
import { NO_LEAK_CHECK, threads } from '../support/operator.mjs';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { goesOn, openSession, startReplica, startReplicas, stopReplicas,
         storeIs, times } from '../support/replicas.mjs';
import { startSentinels } from '../support/sentinels.mjs';
import { apiAt, asksStore, everyPage } from '../support/sessions.mjs';
import { keyOf } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const SKIP = { skip: IS_TLS && 'the clients here speak none' };
const COUNT = 60;
const NAME = 'redis.example';
const SOON_MS = 30_000;
/* Nothing here is to be late, on a busy machine either. */
const CALM = ['--store-timeout', '8s'];

function put(name, text)
{
    const file = path.join(certificateFolder(), name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
}

const ofSentinels = makeAuthority({ name: 'Authority of Sentinels' });
const ofServers = makeAuthority({ name: 'Authority of servers' });
const both = put('both-authorities.pem', [ofSentinels, ofServers]
    .map(({ certificate }) => readFileSync(certificate, 'utf8')).join(''));
const SECRETS = { server: 'of-the-servers-77', sentinel: 'of-sentinels-88' };
const files = Object.fromEntries(Object.entries({ ...SECRETS, wrong: 'no-9' })
    .map(([name, text]) => [name, put(`${name}-password`, text)]));

let backends;

before(async () => (backends = await Promise.all(
    ['n1', 'n2'].map((id) => startEngine({ id })))));
after(() => Promise.all(backends.map((backend) => backend.stop())));

async function start(t, url, { name = 'gw9', args, ...more })
{
    const gateway = await startReplica({ ...more, name, url, backends,
                                         args: [...args, ...CALM] });
    t.after(() => stopReplicas([gateway]));
    return gateway;
}

async function end(gateways, deployment)
{
    try {
        await stopReplicas(gateways ?? []);
    } finally {
        await deployment?.stop();
    }
}

/* Sessions through each of two gateways are found through the other, listed by
 * both, and one is kicked; gives the rest. */
async function findListKick(gateways, keys)
{
    const sids = await times(COUNT, 8, (i) => openSession(gateways[i % 2]));
    await goOn(gateways, sids);
    const all = await keys(keyOf('*'));
    assert.ok(all.length >= COUNT);
    for (const gateway of gateways) {
        await asksStore(gateway);
        assert.equal((await everyPage(gateway)).length, all.length);
    }
    const kicked = sids.pop();
    await apiAt(gateways[0]).post(`sessions/${kicked}/kick`);
    await eventually(async () => (await keys(keyOf(kicked))).length === 0,
                     'its key is gone', SOON_MS);
    return sids;
}

/* Each where it was not bound, and no gateway has to ask around. */
async function goOn(gateways, sids)
{
    await times(sids.length, 8, (i) => goesOn(gateways[(i + 1) % 2], sids[i]));
    for (const { metric } of gateways)
        assert.equal(await metric('sidgate_unknown_sid_total'), 0);
}

/* So often was each server connected to once more. */
async function attempts(servers, count)
{
    const received = async (server) =>
        Number((await server.info('stats')).total_connections_received);
    await Promise.all(servers.map(async (server) => {
        const before = await received(server);
        await eventually(async () => await received(server) >= before + count,
                         'further attempts', SOON_MS);
    }));
}

/* In one line each, however often they try, and they serve meanwhile. One of
 * them gets so far that `servers` count its connections. */
async function say(t, { url, servers, cases })
{
    const running = await Promise.all(cases.map(async ([args, pattern, to]) =>
        ({ pattern, gateway: await start(t, to ?? url, { args }) })));
    for (const { pattern, gateway } of running) {
        await eventually(() => gateway.events('store_down').length > 0,
                         `store_down ${pattern}`, SOON_MS);
        assert.match(gateway.events('store_down')[0], pattern);
        await goesOn(gateway, await openSession(gateway));
    }
    await attempts(servers, 4);
    for (const { gateway } of running) {
        assert.equal(gateway.events('store_down').length, 1, gateway.stderr());
        assert.equal(gateway.events('store_up').length, 0, gateway.stderr());
        for (const secret of Object.values(SECRETS))
            assert.ok(!gateway.stderr().includes(secret));
    }
}

/* sidgate reaches it, and a session gets there. */
async function works(gateway, keys)
{
    await storeIs(gateway, true);
    assert.equal(gateway.events('store_down').length, 0, gateway.stderr());
    const sid = await openSession(gateway);
    await eventually(async () => (await keys(keyOf(sid))).length === 1,
                     'its key', SOON_MS);
}

describe('rediss+sentinel, with passwords', SKIP, () => {
    const leaf = { names: [NAME], ips: ['127.0.0.1'] };
    const tlsOf = (authority) => ({ ...makeCertificate(authority, leaf),
                                    ca: both });
    const flags = ({ ca = both, server = 'server', sentinel = 'sentinel' } =
        {}) => ['--store-ca', ca, '--store-password-file', files[server],
                '--sentinel-password-file', files[sentinel]];
    let deployment;
    let url;
    let gateways;
    let sids;
    const keys = (pattern) => deployment.keys(pattern);

    before(async () => {
        deployment = await startSentinels({
            replicas: 1,
            args: ['--tls-replication', 'yes', '--requirepass', SECRETS.server,
                   '--masterauth', SECRETS.server],
            lines: ['sentinel down-after-milliseconds mymaster 20000',
                    'tls-replication yes',
                    `requirepass ${SECRETS.sentinel}`,
                    `sentinel auth-pass mymaster ${SECRETS.server}`],
            server: { tls: tlsOf(ofServers), password: SECRETS.server },
            watcher: { tls: tlsOf(ofSentinels), password: SECRETS.sentinel },
        });
        url = deployment.url.replace('redis', 'rediss');
        gateways = await startReplicas({ url, backends,
                                         args: [...flags(), ...CALM] });
    });
    after(() => end(gateways, deployment));

    test('sessions are found, listed and kicked', async () => {
        sids = await findListKick(gateways, keys);
    });

    test('what is wrong is said in a line', async (t) => {
        const named = url.replaceAll('127.0.0.1', 'localhost');
        await say(t, { url, servers: deployment.sentinels, cases: [
            [flags({ ca: ofServers.certificate }),
             /Sentinel 127.0.0.1:\d+: TLS: its certificate is of an unknown/],
            [flags({ ca: ofSentinels.certificate }),
             /why="127.0.0.1:\d+: TLS: its certificate is of an unknown/],
            [flags(),
             /Sentinel localhost:\d+: TLS: its certificate is not for localh/,
             named],
            [flags({ sentinel: 'wrong' }),
             /Sentinel 127.0.0.1:\d+: wrong password/],
            [flags({ server: 'wrong' }), /why="127.0.0.1:\d+: wrong password/],
            [flags().slice(0, 4),
             /Sentinel 127.0.0.1:\d+: a password is needed/],
        ] });
        const mended = [...flags(), '--store-tls-name', NAME];
        await works(await start(t, named, { args: mended }), keys);
        await goOn(gateways, sids);
    });

    test('a failover is followed, and costs nothing', async () => {
        const is = await deployment.failover();
        await goOn(gateways, sids);
        await eventually(async () => (await is.command('CLIENT', 'LIST'))
            .match(/name=gw\d/g)?.length >= 2, 'gateways at the new master',
            SOON_MS);
        for (const gateway of gateways) {
            await storeIs(gateway, true);
            await works({ ...gateway, events: () => [] },
                        (pattern) => is.keys(pattern));
        }
        const kept = new Set(await is.keys(keyOf('*')));
        assert.ok(sids.every((sid) => kept.has(keyOf(sid))), 'a lost session');
    });
});

function startNodes()
{
    const leaf = makeCertificate(ofServers, { names: [NAME], ips: [],
                                              peer: true });
    return startRedisCluster({
        replicas: 0, args: ['--tls-cluster', 'yes',
                            /* Nobody fails here. */
                            '--cluster-node-timeout', '15000'],
        tls: { ...leaf, ca: ofServers.certificate },
    });
}

describe('rediss+cluster, of nodes with one name', SKIP, () => {
    const CA = ['--store-ca', ofServers.certificate];
    const NAMED = [...CA, '--store-tls-name', NAME];
    /* While the Sentinels find each other, which takes them seconds. */
    const beginning = IS_TLS ? null : startNodes();
    beginning?.catch(() => {});
    let nodes;
    let url;
    let gateways;
    let sids;
    const keys = (pattern) => nodes.keys(pattern);

    before(async () => {
        nodes = await beginning;
        url = nodes.url.replace('redis', 'rediss');
        gateways = await startReplicas({ url, backends,
                                         args: [...NAMED, ...CALM] });
    });
    after(() => end(gateways, nodes));

    test('sessions are found, listed and kicked', async () => {
        sids = await findListKick(gateways, keys);
        for (const { keys: own } of await nodes.keysByMaster(keyOf('*')))
            assert.ok(own.length > 0, 'a master without a session');
    });

    test('what is wrong is said in a line', (t) => say(t, {
        url, servers: nodes.nodes,
        cases: [
            [['--store-ca', ofSentinels.certificate, '--store-tls-name', NAME],
             /127.0.0.1:\d+: TLS: its certificate is of an unknown authority/],
            [CA, /127.0.0.1:\d+: TLS: its certificate is not for this address/],
            [[...NAMED, '--store-password-file', files.wrong],
             /127.0.0.1:\d+: a password is given, but it has none/],
        ],
    }));

    test('slots move, and sessions with them', async () => {
        const [from, to] = (await nodes.masters()).map(({ node }) => node);
        /* Those that the other gateway has not asked for yet. */
        sids.unshift(...await times(COUNT, 8, (i) =>
            openSession(gateways[i % 2])));
        const halfway = () => goOn(gateways, sids);
        const { keys: moved, ASK } = await nodes.redirected(() =>
            nodes.moveSlowly({ from, to, slots: 40, halfway }));
        assert.ok(moved > 0 && ASK > 0, `${moved} keys moved, ${ASK} ASK`);
        await goOn([...gateways].reverse(), sids);
        const kept = new Set(await keys(keyOf('*')));
        assert.ok(sids.every((sid) => kept.has(keyOf(sid))), 'a lost session');
    });

    test('with --seccomp new connections are made', async (t) => {
        const gateway = await start(t, url.replaceAll('127.0.0.1',
                                                      'localhost'), {
            name: 'gw3', args: [...NAMED, '--seccomp'], env: NO_LEAK_CHECK });
        const isFiltered = () => threads(gateway.pid).every((thread) =>
            thread.get('Seccomp') === '2');
        await works(gateway, keys);
        assert.ok(isFiltered());
        /* So many that each master has some. */
        await times(COUNT, 8, () => openSession(gateway));
        await times(sids.length, 8, (i) => goesOn(gateway, sids[i]));
        const idsAt = async (node) =>
            [...(await node.command('CLIENT', 'LIST')).matchAll(
                /^id=(\d+) .* name=gw3/gm)].map(([, id]) => Number(id));
        for (const { node } of await nodes.masters()) {
            const last = Math.max(...await idsAt(node));
            assert.ok(last > 0, 'no connection');
            await node.command('CLIENT', 'KILL', 'SKIPME', 'yes');
            await times(sids.length, 8, (i) => goesOn(gateway, sids[i]));
            await eventually(async () =>
                (await idsAt(node)).some((id) => id > last),
                'a new connection', SOON_MS);
        }
        await storeIs(gateway, true);
        await goOn([gateway, gateway], sids);
        assert.ok(isFiltered());
    });
});
