/* SPDX-License-Identifier: MIT */
/*
 * Three masters with a replica each, under load: slots move, a node comes and
 * goes. How many sessions and handshakes: lib/failover.mjs.
 *
 * TRYAGAIN is not among what a real node answers here: only commands with
 * several keys get it.
 */
import { test } from 'node:test';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { underLoad } from './lib/failover.mjs';
import { pause, until } from './lib/wait.mjs';

const MOVED_SLOTS = 1000;
const HALFWAY_MS = 3000;
const ASKED_MS = 20_000;
const ADDED_SLOTS = 300;
const USED_MS = 1000;
/* What stands still for seconds has not failed. */
const CALM = ['--cluster-node-timeout', '15000'];

/* For a while, and until somebody met a slot that is half-way. */
async function sentOn(cluster) {
  await pause(HALFWAY_MS);
  await until(
    async () => (await cluster.redirections()).ASK > 0,
    ASKED_MS,
    'nobody was sent on by ASK',
  );
}

function moveSlots(cluster) {
  return cluster.redirected(async () => {
    const [from, , to] = await cluster.masters();
    return cluster.moveSlowly({
      from: from.node,
      to: to.node,
      slots: MOVED_SLOTS,
      halfway: () => sentOn(cluster),
    });
  });
}

async function addNode(cluster, slots) {
  const [from] = await cluster.masters();
  const to = await cluster.add(CALM);
  await cluster.reshard({ from: from.node, to, slots });
  await pause(USED_MS);
  return to;
}

async function removeNode(cluster, from) {
  const [{ node: to }] = (await cluster.masters()).filter(
    ({ node }) => node !== from,
  );
  const slots = await cluster.slotsOf(from);
  await cluster.reshard({ from, to, slots: slots.length });
  await cluster.remove(from);
}

async function scenario(load, cluster, findings) {
  let node;
  const cost = await load.during('when slots move', findings, () =>
    moveSlots(cluster),
  );
  findings.expect(cost.keys > 0, 'no slot that moved had a session');
  await load.during('when a node is added', findings, async () => {
    node = await addNode(cluster, ADDED_SLOTS);
  });
  await load.during('when a node is removed', findings, () =>
    removeNode(cluster, node),
  );
}

test('no session is lost or asked for when slots move', (t) =>
  underLoad(t, () => startRedisCluster({ args: CALM }), scenario));
