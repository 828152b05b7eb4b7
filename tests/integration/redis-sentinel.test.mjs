/* SPDX-License-Identifier: MIT */
/*
 * Three Sentinels, a master and two replicas: masters that die under load, and
 * what replicas take their places. How many sessions and handshakes:
 * lib/failover.mjs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startSentinels } from '../support/sentinels.mjs';
import { underLoad } from './lib/failover.mjs';
import { pause } from './lib/wait.mjs';

const LAG_MS = 2500;
const LATE = 40; /* sessions that begin while the replica lags */

/* Those on the master are not written to the replica any more; then the master
 * dies, and the replica takes its place. Gives what was lost. */
async function promoteLagging(load, deployment, lagging) {
  const before = await deployment.master();
  await lagging.cutOff();
  const late = await load.crowd.join(load.mix(LATE));
  await pause(LAG_MS);
  const lost = await load.missing(lagging);
  await deployment.kill(before);
  const now = await deployment.switched(before);
  assert.equal(now.port, lagging.port, deployment.logs());
  await lagging.letIn();
  return { lost: lost.length, young: late.length };
}

test('no session is lost when masters die', (t) =>
  underLoad(t, startSentinels, async (load, deployment, findings) => {
    const [first, ...others] = deployment.servers;
    await load.during(
      'when the master is killed',
      findings,
      async () => {
        await deployment.kill(first);
        await deployment.switched(first);
      },
      { recovers: true },
    );
    await load.during('when it comes back', findings, () =>
      deployment.restart(first),
    );
    await deployment.settled();
    const second = await deployment.master();
    const lagging = others.find((one) => one !== second);
    const cost = await load.during(
      'when a replica that lags takes its place',
      findings,
      () => promoteLagging(load, deployment, lagging),
      { recovers: true },
    );
    findings.expect(cost.lost >= LATE, 'hardly a record was lost');
    findings.expect(cost.republished >= LATE, 'little was written again');
  }));
