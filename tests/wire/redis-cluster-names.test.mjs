/* SPDX-License-Identifier: MIT */
/* A cluster whose nodes are known by name: one name, three ports, and each
 * connection goes to its own. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startEngine } from '../support/engine.mjs';
import { openSession, startReplica, stopReplicas, storeIs,
         times } from '../support/replicas.mjs';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const SIDS = 60;
const NAMED = ['--cluster-announce-hostname', 'localhost',
               '--cluster-preferred-endpoint-type', 'hostname',
               /* Nobody fails here: a busy machine's nodes have time. */
               '--cluster-node-timeout', '15000'];

function hosts(slots)
{
    return new Set(slots.map(([, , [host]]) => host));
}

test('nodes with one name are told apart', { skip: IS_TLS }, async (t) => {
    const redis = await startRedisCluster({ masters: 3, replicas: 0,
                                            args: NAMED });
    t.after(() => redis.stop());
    const backend = await startEngine({ id: 'n1' });
    t.after(() => backend.stop());
    const [node] = redis.nodes;
    /* Whichever of them is asked for the map. */
    await eventually(async () => {
        const maps = await Promise.all(redis.nodes.map((one) =>
            one.command('CLUSTER', 'SLOTS')));
        return maps.map(hosts).every((names) =>
            names.size === 1 && names.has('localhost'));
    }, 'names', 60_000);
    const gateway = await startReplica({ name: 'gw1', backends: [backend],
        args: ['--store-timeout', '5s'],
        url: `redis+cluster://127.0.0.1:${node.port}` });
    t.after(() => gateway.stop('SIGKILL'));
    await storeIs(gateway, true);
    await times(SIDS, 8, () => openSession(gateway));
    assert.equal(await gateway.metric('sidgate_sessions_unwritten_total'), 0);
    let all = 0;
    for (const { keys } of await redis.keysByMaster('sidgate:session:*')) {
        assert.ok(keys.length > 0, 'a master has no key');
        all += keys.length;
    }
    assert.equal(all, SIDS);
    await stopReplicas([gateway]);
});
