/* SPDX-License-Identifier: MIT */
/*
 * Slow and half-open clients in full numbers before a real Engine.IO server,
 * over TCP and over TLS: `node hostile-load.mjs`. At once there are 500 heads,
 * 500 bodies and 500 readers that are too slow, and 2,000 connections that say
 * nothing, while a healthy client goes on; then 20,000 connects and resets.
 *
 * --share N     part of these numbers (1)
 * --over LIST   of tcp, tls (tcp,tls)
 * --short       limits of 2 s in place of the defaults, which take 80 s
 * --runs N      floods over each before one whose times are too long counts
 *               (3): other load on the machine makes them so too
 *
 * Ends with 1 if anything was not as it should be.
 */
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import {
  flood,
  floodKinds,
  judgeFlood,
  startFloodCluster,
  storm,
} from '../support/flood.mjs';
import { isSanitized } from '../support/process.mjs';

const CONNECTS = 20_000;
const LEAK_MAX = 2 * 1024 * 1024;
const FLOOD_MS = 150_000;
const STORM_MS = 120_000;
const SHORT = [
  ['--head-timeout', '2s', '--body-timeout', '2s'],
  ['--write-timeout', '2s', '--keepalive-timeout', '3s'],
].flat();

const { values } = parseArgs({
  options: {
    share: { type: 'string', default: '1' },
    over: { type: 'string', default: 'tcp,tls' },
    short: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
  },
});
const share = Number(values.share);

/* That of socket.io 4. */
function engineIo() {
  const require = createRequire(import.meta.url);
  return createRequire(require.resolve('server4')).resolve('engine.io');
}

const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
const ms = ({ p50, p99, max }) =>
  `p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}, max ${max.toFixed(0)} ms`;

function tell(result) {
  const { count, together, quiet, loud, times, rss, limited, ended } = result;
  const some = Object.entries(limited).filter(([, n]) => n > 0);
  console.log(`  ${count} clients, ${together} of them at once`);
  console.log(`  healthy client, quiet: ${ms(quiet)} (${quiet.count})`);
  console.log(`  healthy client, flood: ${ms(loud)} (${loud.count})`);
  const slowest = Object.entries(times).map(
    ([what, { max }]) => `${what} ${max.toFixed(0)}`,
  );
  console.log(`  its slowest, in ms: ${slowest.join(', ')}`);
  console.log(
    `  RSS: ${mib(rss.before)} MiB, at most ${mib(rss.peak)}, then ` +
      `${mib(rss.after)}: ${Math.round((rss.peak - rss.before) / count)} ` +
      'bytes for each',
  );
  console.log(`  closed by ${some.map((e) => e.join(' ')).join(', ')}`);
  console.log(`  as they saw it: ${JSON.stringify(ended)}`);
}

async function floods(cluster, isTls, isExact) {
  const kinds = floodKinds(share, isTls);
  for (let run = 1; ; run++) {
    const result = await flood(cluster, {
      kinds,
      isTls,
      quietRounds: 200,
      ms: FLOOD_MS,
    });
    tell(result);
    const faults = judgeFlood(result, { kinds, isTls, isExact });
    if (faults.some((text) => !text.startsWith('p99')) || run >= values.runs)
      return faults;
    if (faults.length === 0) return faults;
    console.log(`  again, since ${faults.join('; ')}`);
  }
}

async function storms(cluster, isTls, isExact) {
  const count = Math.round(CONNECTS * share);
  const faults = [];
  /* What is allocated once is there after the first. */
  await storm(cluster, { isTls, count: count / 5, ms: STORM_MS });
  const started = Date.now();
  const { stormed, descriptors, rss } = await storm(cluster, {
    isTls,
    count,
    ms: STORM_MS,
  });
  console.log(
    `  ${stormed} connects and resets in ${Date.now() - started} ms: ` +
      `descriptors ${descriptors.join(' -> ')}, ` +
      `RSS ${rss.map(mib).join(' -> ')} MiB`,
  );
  if (stormed < count * 0.99) faults.push(`only ${stormed} connected`);
  if (descriptors[1] > descriptors[0]) faults.push('descriptors leaked');
  if (isExact && rss[1] - rss[0] >= LEAK_MAX) faults.push('memory leaked');
  return faults;
}

async function over(isTls) {
  console.log(`${isTls ? 'TLS' : 'TCP'}:`);
  const cluster = await startFloodCluster({
    isTls,
    args: values.short ? SHORT : [],
    engineIo: engineIo(),
  });
  const isExact = !isSanitized(cluster.gateway.pid);
  const faults = await floods(cluster, isTls, isExact);
  faults.push(...(await storms(cluster, isTls, isExact)));
  const end = await cluster.stop();
  if (end.code !== 0) faults.push(`it ended so: ${JSON.stringify(end)}`);
  faults.forEach((text) => console.log(`  WRONG: ${text}`));
  return faults.length;
}

let wrong = 0;
for (const name of values.over.split(',')) wrong += await over(name === 'tls');
console.log(wrong > 0 ? `${wrong} faults` : 'all is as it should be');
process.exit(wrong > 0 ? 1 : 0);
