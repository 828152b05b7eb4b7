/* SPDX-License-Identifier: MIT */
/*
 * Many mixed sessions in random order: `node soak.mjs --sessions 10000`.
 *
 * --sessions N   how many in all (10000)
 * --live N       how many at once (150)
 * --seed N       of the random choices (random; always printed)
 * --seconds N    begin no new session after so long (1200)
 * --servers LIST of 2, 3, 4, python (2,3,4)
 *
 * Ends with 1 if any client or node saw a misroute, if a session failed, or if
 * a gateway had to recover a binding.
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { COMPATIBLE, clientFactory } from './lib/clients.mjs';
import { judge, remaining, startCluster } from './lib/cluster.mjs';
import { exercise } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { Agent, RovingAgent } from './lib/secure.mjs';
import { eachOf, pause } from './lib/wait.mjs';

const DEFAULTS = {
  sessions: 10_000,
  live: 150,
  seconds: 1200,
  servers: ['2', '3', '4'],
};
const REAL_SHARE = 0.15;
const SHARED_POOL = 12;

/* A generator of numbers in [0, 1) that a seed decides (xorshift, 32 bits). */
function randomFrom(seed) {
  let state = seed >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return {
    next,
    below: (limit) => Math.floor(next() * limit),
    pick: (list) => list[Math.floor(next() * list.length)],
  };
}

/* All choices are made before the first session, so that the order in which
 * answers arrive does not change them. */
function plan(random, servers) {
  const server = random.pick(servers);
  if (random.next() < REAL_SHARE)
    return {
      kind: 'real',
      server,
      client: random.pick(COMPATIBLE[server]),
      mode: random.pick(['polling', 'upgrade', 'websocket', 'fallback']),
    };
  const generations = { 2: [3], python: [4] }[server] ?? [3, 4];
  const jsonp = server !== 'python' && random.next() < 0.1;
  return {
    kind: 'raw',
    server,
    eio: random.pick(generations),
    jsonp: jsonp ? random.below(100) : -1,
    how: jsonp
      ? 'polling'
      : random.pick(['polling', 'shared', 'upgrade', 'upgrade', 'websocket']),
    addresses: Array.from(
      { length: 4 },
      () => `127.0.${random.below(200)}.${1 + random.below(250)}`,
    ),
    steps: Array.from({ length: 1 + random.below(6) }, () => ({
      pause: random.below(60),
      length: random.next() < 0.1 ? random.below(30_000) : random.below(200),
    })),
  };
}

async function liveRaw(cluster, how, session, job) {
  if (how === 'websocket') await session.openWebsocket();
  else await session.open();
  await session.connect();
  const me = await session.whoami();
  for (const [i, step] of job.steps.entries()) {
    await pause(step.pause);
    session.localAddress = job.addresses[i % job.addresses.length];
    if (how === 'upgrade' && i === 0) await session.upgrade();
    const text = 'x'.repeat(step.length);
    const [back] = await session.call('echo', text);
    if (back !== text) throw new Error(`${session.sid}: echo differs`);
  }
  const now = await session.whoami();
  if (now.sid !== session.sid || now.node !== me.node)
    throw new Error(`${session.sid}: now on ${now.node} as ${now.sid}`);
  await session.close();
}

async function runRaw(cluster, job) {
  const session = new RawSession({
    port: cluster.port,
    eio: job.eio,
    jsonp: job.jsonp,
    agent: job.how === 'shared' ? cluster.sharedAgent : false,
    localAddress: job.how === 'shared' ? undefined : job.addresses[3],
  });
  try {
    if (job.how === 'shared') job.addresses = [undefined];
    await liveRaw(cluster, job.how, session, job);
  } finally {
    session.abandon();
  }
}

async function runReal(cluster, { client, mode }) {
  const agent = new RovingAgent(['127.0.0.2', '127.0.0.3', '127.0.0.4']);
  const { name, faults, log } = await exercise(clientFactory(client), {
    client,
    mode,
    url: cluster.url,
    options: { agent },
  });
  if (faults.length > 0)
    throw new Error(`${name}: ${faults.join('; ')} [${log.join(' | ')}]`);
}

function describeJob({ kind, server, client, mode, eio, how, jsonp }) {
  return kind === 'real'
    ? `server ${server}, client ${client}, ${mode}`
    : `server ${server}, raw EIO=${eio} ${how}${jsonp >= 0 ? ' JSONP' : ''}`;
}

const SAW_MISROUTE = /Session ID unknown|Invalid session|"code":"?1\b/;

function sumOf(metrics, name) {
  return metrics.reduce((sum, values) => sum + (values.get(name) ?? 0), 0);
}

async function report(clusters, result) {
  const metrics = await Promise.all(
    clusters.map(({ gateway }) => gateway.metrics()),
  );
  result.recovered = sumOf(metrics, 'sidgate_routed_total{source="recovery"}');
  result.recoveryProbes = sumOf(metrics, 'sidgate_recovery_probes_total');
  for (const cluster of clusters) {
    result.stillOpen.push(...(await remaining(cluster)));
    const verdict = judge(await cluster.stats());
    for (const kind of ['misroutes', 'aliens', 'broken'])
      result[kind].push(
        ...verdict[kind].map((entry) => ({ server: cluster.server, ...entry })),
      );
  }
  result.ok =
    [
      result.failures,
      result.misroutes,
      result.aliens,
      result.broken,
      result.stillOpen,
    ].every(({ length }) => length === 0) && result.recovered === 0;
  return result;
}

/* Gives {ok, seed, done, failures, seenByClients, misroutes, aliens, broken,
 * stillOpen, recovered, recoveryProbes, seconds}. */
export async function soak(options = {}) {
  const o = { ...DEFAULTS, ...options };
  const seed = o.seed ?? Math.floor(Math.random() * 2 ** 31);
  const random = randomFrom(seed);
  const jobs = Array.from({ length: o.sessions }, () =>
    plan(random, o.servers),
  );
  const started = Date.now();
  const result = {
    ok: false,
    seed,
    done: 0,
    failures: [],
    seenByClients: 0,
    misroutes: [],
    aliens: [],
    broken: [],
    stillOpen: [],
  };
  o.log?.(`seed ${seed}, ${o.sessions} sessions, ${o.live} at once`);
  const clusters = [];
  try {
    for (const server of o.servers) {
      clusters.push(await startCluster({ server }));
      clusters.at(-1).sharedAgent = new Agent({
        keepAlive: true,
        maxSockets: SHARED_POOL,
      });
    }
    const home = new Map(clusters.map((c) => [c.server, c]));
    await eachOf(jobs, o.live, async (job) => {
      if (Date.now() - started > o.seconds * 1000) return;
      const cluster = home.get(job.server);
      try {
        await (job.kind === 'real' ? runReal : runRaw)(cluster, job);
      } catch (error) {
        const text = `${describeJob(job)}: ${error.message}`;
        result.failures.push(text);
        if (SAW_MISROUTE.test(text)) result.seenByClients++;
      }
      if (++result.done % 1000 === 0) o.log?.(`${result.done} sessions`);
    });
    result.seconds = Math.round((Date.now() - started) / 1000);
    return await report(clusters, result);
  } finally {
    clusters.forEach((cluster) => cluster.sharedAgent?.destroy());
    await Promise.all(clusters.map((cluster) => cluster.stop()));
  }
}

export function summary(result) {
  const lines = [
    `seed ${result.seed}: ${result.done} sessions in ${result.seconds} s`,
    `misroutes seen by clients: ${result.seenByClients}`,
    `misroutes seen by nodes: ${result.misroutes.length}`,
    `sids that no node knew: ${result.aliens.length}`,
    `other refusals by nodes: ${result.broken.length}`,
    `sessions that failed: ${result.failures.length}`,
    `sessions still open: ${result.stillOpen.length}`,
    `bindings recovered: ${result.recovered}`,
  ];
  const details = [
    ...result.failures,
    ...[result.misroutes, result.aliens, result.broken, result.stillOpen]
      .flat()
      .map((entry) => JSON.stringify(entry)),
  ];
  return [...lines, ...details.slice(0, 12)].join('\n');
}

async function main() {
  const { values } = parseArgs({
    options: Object.fromEntries(
      ['sessions', 'live', 'seed', 'seconds', 'servers'].map((name) => [
        name,
        { type: 'string' },
      ]),
    ),
  });
  const options = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      name === 'servers' ? value.split(',') : Number(value),
    ]),
  );
  const result = await soak({ ...options, log: console.log });
  console.log(summary(result));
  process.exit(result.ok ? 0 : 1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
