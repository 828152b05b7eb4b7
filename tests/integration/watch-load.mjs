/* SPDX-License-Identifier: MIT */
/*
 * What watching costs: `node watch-load.mjs`. With many websockets, held polls
 * and sessions, a healthy client goes on in turns with nobody watching, and
 * with a live page open, its table of sessions asked for once a second, and a
 * scrape every second.
 *
 * --tunnels N   open websockets (5000)
 * --parked N    held polls (20000)
 * --turns N     of each kind (4)
 * --seconds N   that a turn lasts (10)
 *
 * Each of both needs two descriptors of the gateway. Where the limit is too
 * low, as many are opened as it allows, and the other polling sessions are
 * there without a poll; it says so. Ends with 1 if a scrape takes more than 50
 * ms, or the page more than 2 % of a core.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

import { start, startFloodCluster } from '../support/flood.mjs';
import { startHealthy, summary } from '../support/healthy.mjs';

const { values } = parseArgs({
  options: {
    tunnels: { type: 'string', default: '5000' },
    parked: { type: 'string', default: '20000' },
    turns: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '10' },
  },
});
const turns = Number(values.turns);
const turnMs = Number(values.seconds) * 1000;
const OPEN_MS = 300_000;
const SCRAPE_MS = 50;
const PAGE_SHARE = 0.02;
const PACE_MS = 5; /* between two rounds of the healthy client */

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function descriptorLimit(pid) {
  const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
  return Number(/Max open files +(\d+)/.exec(limits)[1]);
}

/* CPU of the control thread, which is the process' first, in ms. */
function controlMs(pid) {
  const stat = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8');
  return Number(stat.split(' ')[0]) / 1e6;
}

function get(port, path) {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', path, agent: false }, (res) => {
        let length = 0;
        res.on('data', (chunk) => (length += chunk.length));
        res.on('end', () =>
          resolve({ ms: performance.now() - began, length, status: res.statusCode }),
        );
      })
      .on('error', reject);
  });
}

function watch(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/v1/live`, [
    'sidgate-live',
  ]);
  const watcher = { messages: 0, bytes: 0, scrapes: [], lists: [] };
  socket.on('message', (data) => {
    watcher.messages++;
    watcher.bytes += data.length;
  });
  const timer = setInterval(async () => {
    const list = await get(port, '/api/v1/sessions?limit=50');
    watcher.lists.push(list.ms);
  }, 1000);
  const opened = new Promise((resolve, reject) => {
    socket.once('message', resolve); /* it has the history, once */
    socket.on('error', reject);
  });
  watcher.stop = () => {
    clearInterval(timer);
    socket.terminate();
  };
  return { watcher, opened };
}

async function turn(cluster, healthy, isWatched) {
  const { gateway } = cluster;
  const { watcher, opened } = isWatched ? watch(gateway.adminPort) : {};
  await opened;
  healthy.begin();
  const before = controlMs(gateway.pid);
  const messages = watcher?.messages;
  const began = performance.now();
  let n = 0;
  while (performance.now() - began < turnMs) {
    await healthy.round(n++);
    await sleep(PACE_MS);
  }
  const share =
    (controlMs(gateway.pid) - before) / (performance.now() - began);
  const result = { ...summary(healthy.times), share };
  if (watcher) {
    result.messages = watcher.messages - messages;
    result.bytes = watcher.bytes;
    result.lists = watcher.lists;
    watcher.stop();
  }
  return result;
}

const cluster = await startFloodCluster({ args: ['--workers', '1'] });
const { gateway, port } = cluster;
const sitters = start('sitters.mjs');
let isGood = true;
const judge = (what, is, most, unit) => {
  const good = is <= most;
  isGood &&= good;
  console.log(`${good ? 'ok    ' : 'NOT OK'} ${what}: ${is.toFixed(2)} ${unit} (${most})`);
};
try {
  const room = Math.floor((descriptorLimit(gateway.pid) - 200) / 2);
  const tunnels = Math.min(Number(values.tunnels), room - 100);
  const parked = Math.min(Number(values.parked), room - tunnels);
  const idle = Number(values.parked) - parked;
  await sitters.ask({ port, tunnels, parked, idle }, 'opened', OPEN_MS);
  console.log(
    `${tunnels} websockets, ${parked} held polls, ${idle} more polling sessions`,
  );
  const healthy = await startHealthy(port);
  const quiet = [];
  const watched = [];
  for (let i = 0; i < turns; i++) {
    quiet.push(await turn(cluster, healthy, false));
    watched.push(await turn(cluster, healthy, true));
  }
  healthy.stop();
  const scrapes = [];
  for (let i = 0; i < 30; i++)
    scrapes.push(await get(gateway.adminPort, '/metrics'));
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const p = (list, key) => list.map((one) => one[key].toFixed(2)).join(' ');
  console.log(`healthy client, p99 in ms: quiet ${p(quiet, 'p99')}; watched ${p(watched, 'p99')}`);
  console.log(`                p50 in ms: quiet ${p(quiet, 'p50')}; watched ${p(watched, 'p50')}`);
  const lists = watched.flatMap((one) => one.lists);
  console.log(`list of 50 sessions: median ${median(lists).toFixed(2)} ms`);
  console.log(`page: ${watched[0].messages} messages in a turn, ${watched[0].bytes} bytes`);
  const times = scrapes.map(({ ms }) => ms);
  judge('scrape, longest of 30', Math.max(...times), SCRAPE_MS, 'ms');
  const share = (list) => median(list.map((one) => one.share));
  console.log(`control thread: quiet ${(share(quiet) * 100).toFixed(2)} %, watched ${(share(watched) * 100).toFixed(2)} %`);
  judge('page updates', (share(watched) - share(quiet)) * 100, PAGE_SHARE * 100, '% of a core');
} finally {
  sitters.stop();
  await cluster.stop();
}
process.exit(isGood ? 0 : 1);
