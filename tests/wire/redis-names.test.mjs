/* SPDX-License-Identifier: MIT */
/* A Redis that is given by name. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { startEngine } from '../support/engine.mjs';
import { gatewayBinary, startGateway } from '../support/gateway.mjs';
import { startRedis } from '../support/redis.mjs';
import { openSession } from '../support/replicas.mjs';
import { eventually } from '../support/wire.mjs';

const RESOLVER = path.join(path.dirname(gatewayBinary()),
                           '../tests/libodd_resolver.so');
const WORKERS = 2;

/* Takes connections as long as its backlog has room, and says nothing. */
const SILENT = `
import socket, sys, time
port = int(sys.argv[1])
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.77', port))
server.listen(0)
held = []
for _ in range(6):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(('127.0.0.77', port))
    held.append(one)
print('full', flush=True)
time.sleep(60)
`;

async function beginSilence(t, port)
{
    const child = spawn('python3', ['-c', SILENT, String(port)],
                        { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
}

function threads({ pid })
{
    return readdirSync(`/proc/${pid}/task`).length;
}

describe('the name of a Redis', { skip: !existsSync(RESOLVER) }, () => {
    async function begin(t, name)
    {
        const redis = await startRedis();
        t.after(() => redis.stop());
        const backend = await startEngine({ id: 'n1' });
        t.after(() => backend.stop());
        const start = async () => {
            const gateway = await startGateway({
                backends: [backend], env: { LD_PRELOAD: RESOLVER },
                args: ['--workers', String(WORKERS),
                       '--store', `redis://${name}:${redis.port}/0`] });
            t.after(() => gateway.stop('SIGKILL'));
            return gateway;
        };
        return { redis, start };
    }

    async function works(gateway, redis)
    {
        await eventually(async () =>
            (await gateway.metrics()).get('sidgate_store_up') === WORKERS,
            `the store is up:\n${gateway.stderr()}`, 60_000);
        await openSession(gateway);
        /* At once; or again, where a busy machine held up the first time. */
        await eventually(async () =>
            (await redis.keys('sidgate:session:*')).length === 1, 'its key');
    }

    test('with a first address that keeps silent', async (t) => {
        const { redis, start } = await begin(t, 'two.test');
        await beginSilence(t, redis.port);
        await works(await start(), redis);
    });

    test('that takes longer to resolve than a connection may', async (t) => {
        const { redis, start } = await begin(t, 'slow.test');
        await works(await start(), redis);
    });

    test('that does not resolve takes one thread for each worker', async (t) => {
        const { start } = await begin(t, 'hang.test');
        const gateway = await start();
        /* Main, and for each worker one that resolves. */
        const most = 1 + 2 * WORKERS;
        await eventually(() => /control_down/.test(gateway.stderr()),
                         'it has given up once');
        await eventually(() => threads(gateway) === most, 'all resolve');
        /* Some attempts later. */
        await new Promise((resolve) => setTimeout(resolve, 4000));
        assert.ok(threads(gateway) <= most, `${threads(gateway)} threads`);
        assert.equal((await gateway.stop()).code, 0);
    });
});
