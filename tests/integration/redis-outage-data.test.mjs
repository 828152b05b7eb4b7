/* SPDX-License-Identifier: MIT */
/* Redis is there, but what was in it is lost or cannot be written. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertClean } from './lib/cluster.mjs';
import {
  OUTAGES,
  Traffic,
  allWritten,
  boundOf,
  openOne,
  outageTest,
  startControl,
} from './lib/outages.mjs';
import { RovingSession, startReplicated } from './lib/replicas.mjs';
import { eachOf } from './lib/wait.mjs';

const SESSIONS = 60;
const DATA = [
  'FLUSHALL',
  'FLUSHALL, again and again',
  'a wrong type at the keys of sessions',
  'the memory is full',
  'the password changes',
];

describe('no session is lost, and new ones are served, when', () => {
  for (const name of DATA)
    test(name, (t) =>
      outageTest(t, OUTAGES[name], { count: SESSIONS, policy: 'open' }),
    );

  /* The websockets of the killed one end with it, and its clients begin anew;
   * those on polling have no request under way. */
  test('one of two replicas is killed, and all keys with it', async (t) => {
    const cluster = await startReplicated();
    t.after(() => cluster.stop());
    const [stays, goes] = cluster.gateways;
    const polling = await eachOf(
      Array.from({ length: SESSIONS }),
      16,
      async () => {
        const session = new RovingSession({ ports: [goes.port] });
        await session.open();
        await session.connect();
        session.node = (await session.whoami()).node;
        return session;
      },
    );
    cluster.ports.splice(0, 2, stays.port);
    const others = await eachOf(Array.from({ length: 20 }), 8, (_, i) =>
      openOne(cluster, i),
    );
    const traffic = new Traffic();
    others.forEach((session) => traffic.add(session));
    const control = await startControl(cluster);

    const [, flushed] = await Promise.all([
      goes.stop('SIGKILL'),
      cluster.redis.command('FLUSHALL'),
    ]);
    assert.equal(flushed, 'OK');
    cluster.gateways.pop();
    for (const session of polling) {
      session.way.ports = cluster.ports;
      traffic.add(session);
    }
    await allWritten(cluster, [...others, ...polling]);
    const result = await traffic.stop();
    result.control = await control.stop();
    t.diagnostic(JSON.stringify(result));
    assert.deepEqual(result.lost, []);
    const bound = boundOf(cluster, result.control);
    assert.ok(result.worst < bound, JSON.stringify(result));
    assert.ok(
      (await stays.metric('sidgate_routed_total{source="recovery"}')) >=
        SESSIONS,
    );
    await eachOf([...others, ...polling], 16, (session) => session.close());
    await assertClean(cluster);
  });
});
