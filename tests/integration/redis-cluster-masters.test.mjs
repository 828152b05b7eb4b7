/* SPDX-License-Identifier: MIT */
/* Three masters with a replica each, under load: one dies and comes back, one
 * gives way, one dies whose replica lags. How many sessions and handshakes:
 * lib/failover.mjs. */
import { test } from 'node:test';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { underLoad } from './lib/failover.mjs';
import { pause } from './lib/wait.mjs';

const KEYS = 'sidgate:session:*';
const LATE = 40; /* sessions that begin while the replica lags */
const LAG_MS = 2000;
/* Who dies is missed after it; who stands still for a second or two is not. */
const CALM = ['--cluster-node-timeout', '5000'];

const start = () => startRedisCluster({ args: CALM });

async function killMaster(cluster) {
  const [master] = await cluster.masters();
  const [replica] = await cluster.replicasOf(master);
  await cluster.kill(master.node);
  await cluster.takenOver(replica);
  return master.node;
}

function failover(cluster) {
  return cluster.redirected(async () => {
    const [, master] = await cluster.masters();
    const [replica] = await cluster.replicasOf(master);
    await cluster.failover(replica);
  });
}

/* What this master was told last is not in its replica when it dies. */
async function loseWrites(load, cluster) {
  const [, , master] = await cluster.masters();
  const [replica] = await cluster.replicasOf(master);
  await replica.cutOff();
  const late = await load.crowd.join(load.mix(LATE));
  await pause(LAG_MS);
  const held = new Set(await replica.keys(KEYS));
  const lost = (await master.node.keys(KEYS)).filter((key) => !held.has(key));
  await cluster.kill(master.node);
  await cluster.takenOver(replica);
  await replica.letIn();
  return { lost: lost.length, young: late.length };
}

test('no session is lost when a master dies', (t) =>
  underLoad(t, start, async (load, cluster, findings) => {
    let dead;
    await load.during(
      'when a master is killed',
      findings,
      async () => {
        dead = await killMaster(cluster);
      },
      { recovers: true },
    );
    await load.during('when it comes back', findings, async () => {
      await cluster.restart(dead);
      await cluster.agreed();
    });
    await load.during('when a replica is made the master', findings, () =>
      failover(cluster),
    );
    const cost = await load.during(
      'when a replica that lags takes its place',
      findings,
      () => loseWrites(load, cluster),
      { recovers: true },
    );
    findings.expect(cost.lost > 0, 'no record was lost');
    findings.expect(cost.republished > 0, 'nothing was written again');
  }));
