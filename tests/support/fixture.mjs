/* SPDX-License-Identifier: MIT */
/* What most suites need: one gateway before some scripted backends, for all
 * tests of a describe(). */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach } from 'node:test';

import { startBackend } from './backend.mjs';
import { startEngine } from './engine.mjs';
import { startGateway } from './gateway.mjs';
import { connect, eventually, exchange } from './wire.mjs';

export async function startCluster({ count = 1, engine = false, listen,
                                     args = [] })
{
    const backends = [];
    for (let i = 1; i <= count; i++)
        backends.push(await (engine ? startEngine : startBackend)(
            { id: `n${i}` }));
    const gateway = await startGateway({ backends, listen, args });
    return { backends, backend: backends[0], gateway, port: gateway.port };
}

/* Ends a cluster and checks that the gateway went in order. */
export async function stopCluster({ backends, gateway })
{
    for (const backend of backends)
        await backend.stop();
    const end = await gateway.stop();
    assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
}

/* A cluster for one test, which ends the gateway itself. */
export async function withCluster(options, run)
{
    const cluster = await startCluster(options);
    try {
        await run(cluster);
    } finally {
        await cluster.gateway.stop('SIGKILL');
        for (const backend of cluster.backends)
            await backend.stop();
    }
}

/* Call it first within a describe(). The object that it returns has the
 * members of startCluster() once tests run, and open() for connections that
 * are closed after each test. */
export function fixture(options = {})
{
    const cluster = { wires: [] };

    cluster.open = async (more) => {
        const wire = await connect(cluster.port, more);
        cluster.wires.push(wire);
        return wire;
    };

    /* A plain request on a new connection is answered, and by its answer. */
    cluster.stillServes = async (target = '/still-serves') => {
        const response = await exchange(cluster.port,
            `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`);
        assert.equal(response.status, 200);
        return response;
    };

    /* `bytes`, with a request behind them that must not be taken for one, are
     * answered with one of the `allowed` statuses, and nothing else happens. */
    cluster.refuses = async (bytes, allowed) => {
        const wire = await cluster.open();
        wire.send(bytes);
        const response = await wire.response();
        assert.ok(allowed.includes(response.status),
                  `status ${response.status}`);
        assert.match(response.all('connection').join(), /(^|,)close$/);
        const { how, bytes: more } = await wire.rest();
        assert.equal(how, 'fin');
        assert.equal(more.toString('latin1'), '');
        await cluster.stillServes('/after');
        assert.deepEqual(cluster.backend.targets, ['/after']);
        assert.doesNotMatch(cluster.backend.received, /smuggled/);
    };

    /* Ends every connection to a backend, and waits until the gateway has none
     * left to reuse: what comes next goes over a new one. */
    cluster.dropIdle = async () => {
        for (const backend of cluster.backends)
            backend.connections.forEach((wire) => wire.destroy());
        await eventually(async () => (await cluster.gateway.metrics())
            .get('sidgate_idle_backend_connections') === 0, 'no idle one');
    };

    before(async () => {
        Object.assign(cluster, await startCluster(options));
    });
    beforeEach(() => cluster.backends.forEach((backend) => backend.reset()));
    afterEach(() => {
        for (const wire of cluster.wires.splice(0))
            wire.destroy();
        for (const backend of cluster.backends)
            assert.deepEqual(backend.errors.map(String), [],
                             'what reached the backend was malformed');
    });
    after(() => cluster.gateway && stopCluster(cluster));
    return cluster;
}
