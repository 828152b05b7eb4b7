/* SPDX-License-Identifier: MIT */
/* What two gateways do with any Redis deployment that they share: scripted
 * Engine.IO backends, a few sessions, no load. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { startEngine } from '../../support/engine.mjs';
import {
  goesOn,
  openSession,
  startReplicas,
  stopReplicas,
  storeIs,
  times,
} from '../../support/replicas.mjs';
import {
  apiAt,
  everyPage,
  isKicked,
  upgraded,
} from '../../support/sessions.mjs';
import { until } from './wait.mjs';

const WIDTH = 16;
const SOON_MS = 30_000;
const LISTED = 300;
const PAGE = 70;
/* Who has to wait for a busy Redis is not to ask the backends. */
const PATIENT = ['--store-timeout', '10s'];

export function idOf(sid) {
  return createHash('sha256').update(sid).digest('hex').slice(0, 16);
}

/* Call it within a describe(). Gives an object that has {deployment, backends,
 * gateways} once tests run; url: of the deployment, for the gateways. */
export function deployed(make, url = ({ url: own }) => own) {
  const world = { backends: [], gateways: [], pairs: [] };

  /* Two more gateways. */
  world.pair = async (at) => {
    const pair = await startReplicas({
      redis: world.deployment,
      url: at,
      backends: world.backends,
      args: PATIENT,
    });
    world.pairs.push(pair);
    return pair;
  };

  before(async () => {
    world.deployment = await make();
    for (const id of ['n1', 'n2'])
      world.backends.push(await startEngine({ id }));
    world.gateways = await world.pair(url(world.deployment));
    await areListening(world);
  });

  after(async () => {
    await Promise.all(world.backends.map((backend) => backend.stop()));
    try {
      await stopReplicas(world.pairs.flat());
    } finally {
      await Promise.all(world.pairs.flat().map(({ stop }) => stop('SIGKILL')));
      await world.deployment?.stop();
    }
  });
  return world;
}

/* Sessions that begin through one gateway each, in turn. */
export function begin({ gateways }, count) {
  return times(count, WIDTH, (i) => openSession(gateways[i % gateways.length]));
}

export async function sum(gateways, metric) {
  const all = await Promise.all(gateways.map((one) => one.metric(metric)));
  return all.reduce((total, value) => total + value, 0);
}

/* Each goes on through the gateway that it did not begin with, which finds it
 * in the store. */
export async function crossOver(gateways, sids) {
  const recovered = 'sidgate_routed_total{source="recovery"}';
  const found = 'sidgate_routed_total{source="store"}';
  const before = await sum(gateways, found);
  await times(sids.length, WIDTH, (i) =>
    goesOn(gateways[(i + 1) % gateways.length], sids[i]),
  );
  assert.equal((await sum(gateways, found)) - before, sids.length);
  assert.equal(await sum(gateways, recovered), 0);
}

async function isDrained({ gateways }, id, expected) {
  await until(
    async () => {
      const all = await Promise.all(
        gateways.map((one) => apiAt(one).get('backends')),
      );
      return all.every(({ backends }) =>
        backends.some(
          (one) => one.id === id && (one.state === 'drained') === expected,
        ),
      );
    },
    SOON_MS,
    () => `${id} is ${expected ? 'not ' : ''}drained`,
  );
}

/* The gateways hear what is published: on any node of a cluster, or else on
 * this server. */
async function areListening({ deployment, gateways }, server = null) {
  const servers = deployment.nodes ?? [server ?? (await deployment.master())];
  await until(
    async () => {
      const counts = await Promise.all(
        servers.map((one) =>
          one.command('PUBSUB', 'NUMSUB', 'sidgate:control'),
        ),
      );
      const all = counts.reduce((total, [, count]) => total + count, 0);
      return all >= gateways.length;
    },
    SOON_MS,
    'gateways that listen',
  );
}

/* All gateways have left whatever master they had for this one. */
export async function haveCome({ gateways }, master) {
  const namesOf = async (type) => {
    const text = await master.command('CLIENT', 'LIST', 'TYPE', type);
    return new Set(text.match(/\bname=gw\S+/g));
  };
  await until(
    async () =>
      (await namesOf('normal')).size >= gateways.length &&
      (await namesOf('pubsub')).size >= gateways.length,
    SOON_MS,
    'gateways at the new master',
  );
  await Promise.all(gateways.map((gateway) => storeIs(gateway, true)));
}

/* drain and undrain, said to this server by redis-cli, reach both gateways. */
export async function hearsOn(world, server) {
  await areListening(world, server);
  for (const [word, expected] of [
    ['drain', true],
    ['undrain', false],
  ]) {
    await server.cli('PUBLISH', 'sidgate:control', `${word} n1`);
    await isDrained(world, 'n1', expected);
  }
}

export function behaves(world) {
  test('a session that began elsewhere is found', async () => {
    await crossOver(world.gateways, await begin(world, 100));
  });

  test('both gateways list all sessions', async () => {
    const sids = await begin(world, LISTED);
    const known = new Set(sids.map(idOf));
    for (const gateway of world.gateways)
      for (const limit of [PAGE, 1000]) {
        const rows = await everyPage(gateway, { limit });
        const ids = rows.map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length, 'a session twice');
        assert.equal(ids.filter((id) => known.has(id)).length, LISTED);
      }
  });

  test('a session is kicked through the other gateway', async () => {
    const { gateways, backends, deployment } = world;
    for (const other of [1, 0]) {
      const via = gateways[1 - other];
      const sid = await openSession(via);
      const home = backends.find(({ sids }) => sids.has(sid));
      const client = await upgraded(home, via, sid);
      const { gateways: heard } = await apiAt(gateways[other]).post(
        `sessions/${idOf(sid)}/kick`,
      );
      assert.equal(heard, gateways.length);
      await isKicked(client);
      await until(
        async () => {
          const keys = await deployment.keys(`sidgate:session:${sid}`);
          return keys.length === 0;
        },
        SOON_MS,
        'its record is there',
      );
    }
  });
}
