/* SPDX-License-Identifier: MIT */
/* A Redis Cluster at rest: keys where they belong, lists over all shards, one
 * seed that lives, what operators say on any node. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { quietPort } from '../support/ports.mjs';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { goesOn } from '../support/replicas.mjs';
import {
  begin,
  behaves,
  crossOver,
  deployed,
  hearsOn,
} from './lib/deployed.mjs';
import { pause } from './lib/wait.mjs';

const SIDS = 400;
const KEYS = 'sidgate:session:*';
const OWN_KEYS = 'sidgate:[^s]*';
const BEATS_MS = 2500; /* some heartbeats of each gateway */
/* What stands still for seconds has not failed. */
const CALM = ['--cluster-node-timeout', '15000'];

function has({ ranges }, slot) {
  return ranges.some(({ first, last }) => slot >= first && slot <= last);
}

describe('two gateways on a cluster', () => {
  const world = deployed(() => startRedisCluster({ args: CALM }));

  test('each key is asked for where it is', async () => {
    const { deployment, gateways } = world;
    const sids = await begin(world, SIDS);
    await crossOver(gateways, sids);
    const { MOVED, ASK } = await deployment.redirections();
    assert.deepEqual({ MOVED, ASK }, { MOVED: 0, ASK: 0 });
    const masters = await deployment.keysByMaster(KEYS);
    assert.equal(masters.length, 3);
    for (const master of masters) {
      assert.ok(master.keys.length > SIDS / 6, 'a shard has hardly a key');
      for (const key of master.keys) {
        const slot = await master.node.command('CLUSTER', 'KEYSLOT', key);
        assert.ok(has(master, slot), `${key} is in slot ${slot}`);
      }
    }
    assert.equal(masters.flatMap(({ keys }) => keys).length, SIDS);
  });

  behaves(world);

  /* Those of heartbeats, of what operators said, of the list of gateways. */
  test('slots that are half-way are written to', async () => {
    const { deployment, gateways } = world;
    const told = ['replica_left', 'store_error'];
    const count = () =>
      gateways.map(({ events }) => told.map((one) => events(one).length));
    const before = count();
    const masters = await deployment.masters();
    for (const [i, { node: from }] of masters.entries())
      await deployment.moveSlowly({
        from,
        to: masters[(i + 1) % masters.length].node,
        slots: await deployment.usedSlots(from, OWN_KEYS),
        halfway: () => pause(BEATS_MS),
      });
    assert.deepEqual(count(), before, gateways[0].stderr());
  });

  test('an operator is heard on every node', async () => {
    for (const node of world.deployment.nodes) await hearsOn(world, node);
  });

  test('one seed that lives is enough', async () => {
    const { deployment } = world;
    const dead = [await quietPort(), await quietPort()];
    for (const { port } of [deployment.nodes[0], deployment.nodes.at(-1)]) {
      const hosts = [dead[0], port, dead[1]].map((one) => `127.0.0.1:${one}`);
      const gateways = await world.pair(`redis+cluster://${hosts.join(',')}`);
      const sids = await begin({ gateways }, 40);
      await crossOver(gateways, sids);
      for (const sid of sids) await goesOn(world.gateways[0], sid);
    }
  });
});
