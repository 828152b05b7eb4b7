/* SPDX-License-Identifier: MIT */
/* Turns what clients saw into a failure that can be acted on. */
import assert from 'node:assert/strict';

/* results: those of exercise(); fails with every faulty client's log. */
export function assertNoFaults(cluster, results) {
  for (const { sid, name } of results) cluster.clients.set(sid, name);
  const faulty = results.filter(({ faults }) => faults.length > 0);
  const text = faulty
    .slice(0, 4)
    .map(({ name, node, sid, faults, log }) =>
      [
        `server ${cluster.server}, ${name}, node ${node}, sid ${sid}:`,
        ...faults.map((fault) => `  fault: ${fault}`),
        ...log.map((line) => `    ${line}`),
      ].join('\n'),
    )
    .concat(cluster.nodes.map((node) => node.died()).filter(Boolean))
    .join('\n');
  assert.equal(
    faulty.length,
    0,
    `${faulty.length} of ${results.length} clients misbehaved\n${text}`,
  );
}

/* A cluster that used one node only would prove nothing. */
export async function assertAllNodesUsed(cluster) {
  for (const { name, sessions } of await cluster.stats())
    assert.ok(
      Object.keys(sessions).length > 0,
      `node ${name} of server ${cluster.server} got no session`,
    );
}
