/* SPDX-License-Identifier: MIT */
/* A master and its Sentinels with few sessions: one Sentinel that lives, what
 * operators say, masters that give way or stand still. */
import { describe, test } from 'node:test';
import { quietPort } from '../support/ports.mjs';
import { times, goesOn } from '../support/replicas.mjs';
import { startSentinels } from '../support/sentinels.mjs';
import {
  begin,
  behaves,
  crossOver,
  deployed,
  haveCome,
  hearsOn,
} from './lib/deployed.mjs';

const SESSIONS = 40;

describe('two gateways on Sentinels', () => {
  const world = deployed(startSentinels);

  behaves(world);

  test('an operator is heard on the master', async () => {
    await hearsOn(world, await world.deployment.master());
  });

  /* All is there on the new master, and is written there; a session that began
   * before goes on through either gateway. */
  async function isFollowed(before, sids) {
    const { deployment, gateways } = world;
    const now = await deployment.switched(before);
    await haveCome(world, now);
    await times(sids.length, 8, (i) => goesOn(gateways[i % 2], sids[i]));
    await crossOver(gateways, await begin(world, SESSIONS));
    await hearsOn(world, now);
  }

  test('a master that is told to give way is left', async () => {
    const { deployment } = world;
    const before = await deployment.master();
    const sids = await begin(world, SESSIONS);
    await deployment.failover();
    await isFollowed(before, sids);
  });

  test('a master that stands still is left, also when it is back', async () => {
    const { deployment } = world;
    const before = await deployment.master();
    const sids = await begin(world, SESSIONS);
    await before.pause();
    await haveCome(world, await deployment.switched(before));
    before.resume();
    await isFollowed(before, sids);
    await deployment.settled();
    await isFollowed(before, sids);
  });

  test('one Sentinel that lives is enough', async () => {
    const { deployment } = world;
    const [first, , last] = deployment.sentinels;
    await Promise.all([first, last].map((one) => deployment.kill(one)));
    const dead = await quietPort();
    const urls = [
      deployment.url,
      `redis+sentinel://127.0.0.1:${dead},127.0.0.1:` +
        `${deployment.sentinels[1].port}/${deployment.name}`,
    ];
    for (const url of urls) {
      const gateways = await world.pair(url);
      await crossOver(gateways, await begin({ gateways }, SESSIONS));
    }
  });
});
