/* SPDX-License-Identifier: MIT */
/*
 * What sessions cost a Redis: memory, processor time and replication, with the
 * very commands that a gateway sends. Prints a line for each kind of
 * deployment; docs/redis-sizes.md has them.
 *
 *   SIDGATE_BIN=... node redis-sizes.mjs [sessions] [kind...]
 *
 * Kinds: single, hashed (sids), replica (a master with one), tls, cluster
 * (three masters), replicas (the same with one each). At most 300,000 sessions.
 */
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { makeAuthority, makeCertificate } from '../support/certificates.mjs';
import { newSid, startEngine } from '../support/engine.mjs';
import { startRedisCluster } from '../support/redis-cluster.mjs';
import { quietPort } from '../support/ports.mjs';
import { startRedis } from '../support/redis.mjs';
import { openSession, startReplica, storeIs } from '../support/replicas.mjs';
import { RespClient, encodeCommand } from '../support/resp.mjs';
import { upgraded } from '../support/sessions.mjs';
import { until } from './lib/wait.mjs';

const MOST = 300_000;
const BATCH = 16; /* commands in one write */
const WARM = 60; /* sessions, so that each node has had some */
const PREFIX = 'sidgate:session:';
const HASHED = 64; /* digits */
const MS = 20_000;

/* ---- deployments: {url, masters, stop()} ---- */

async function single(args = []) {
  const redis = await startRedis({ args });
  return { url: redis.url, masters: [redis], stop: () => redis.stop() };
}

async function withReplica() {
  const all = await single();
  const [master] = all.masters;
  const replica = await startRedis({
    args: ['--replicaof', '127.0.0.1', String(master.port)],
  });
  const isOnline = async () =>
    /state=online/.test((await master.info('replication')).slave0);
  await until(isOnline, MS, () => 'a replica');
  return { ...all, stop: () => Promise.all([replica.stop(), all.stop()]) };
}

async function overTls() {
  const authority = makeAuthority();
  const { certificate, key } = makeCertificate(authority);
  const port = await quietPort();
  const all = await single([
    '--tls-port', String(port), '--tls-cert-file', certificate,
    '--tls-key-file', key, '--tls-ca-cert-file', authority.certificate,
    '--tls-auth-clients', 'no',
  ]);
  return { ...all, tlsPort: port };
}

async function cluster(replicas) {
  const made = await startRedisCluster({ masters: 3, replicas });
  const masters = await made.masters();
  return {
    url: made.url,
    masters: masters.map(({ node, ranges }) => Object.assign(node, { ranges })),
    stop: () => made.stop(),
  };
}

const KINDS = {
  single: () => single(),
  hashed: async () => ({ ...(await single()), isHashed: true }),
  replica: withReplica,
  tls: overTls,
  cluster: () => cluster(0),
  replicas: () => cluster(1),
};

/* ---- what a gateway sends ---- */

function slotOf(key) {
  let crc = 0;
  for (const byte of Buffer.from(key)) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++)
      crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc % 16384;
}

function ownerOf({ masters }, key) {
  if (masters.length === 1) return 0;
  const slot = slotOf(key);
  return masters.findIndex(({ ranges }) =>
    ranges.some(({ first, last }) => slot >= first && slot <= last));
}

/* The words of MONITOR's line. */
function wordsOf(line) {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word);
}

/* Lets a gateway bind sessions, upgrade one and end that. Gives {put, renew,
 * end}, a function each that makes the same command for another session; the
 * scripts stay with the nodes. */
async function learn(deployment) {
  const { masters, isHashed, url } = deployment;
  const backend = await startEngine({ id: 'n1' });
  const secret = path.join(masters[0].folder, 'secret');
  writeFileSync(secret, 'x'.repeat(64));
  const monitors = await Promise.all(masters.map((one) => one.monitor()));
  const gateway = await startReplica({
    name: 'gw1',
    url,
    backends: [backend],
    args: isHashed ? ['--hash-sids-file', secret] : [],
  });
  await storeIs(gateway, true);
  for (let i = 0; i < WARM; i++) await openSession(gateway);
  const sid = await openSession(gateway);
  const client = await upgraded(backend, gateway, sid);
  let calls;
  const hasCalls = (count) => async () => {
    const lines = await Promise.all(monitors.map((one) =>
      one.lines(/"EVALSHA" .*session:/i)));
    const all = lines.flat().map(wordsOf);
    const renewal = all.find((words) => words.includes('websocket'));
    calls = all.filter((words) => words[3] === renewal?.[3]);
    return calls.length >= count;
  };
  await until(hasCalls(2), MS, () => 'an upgrade');
  client.destroy();
  await until(hasCalls(3), MS, () => 'an end');
  await gateway.stop();
  await backend.stop();
  monitors.forEach((one) => one.close());
  const [put, renew, end] = calls.map((words) => (key) =>
    encodeCommand(words.map((word, i) => (i === 3 ? key : word))));
  return { put, renew, end };
}

/* ---- measuring ---- */

async function statistics({ masters }) {
  const sum = { memory: 0, rss: 0, cpu: 0, in: 0, replicated: 0, sessions: 0 };
  for (const master of masters) {
    const info = await master.info('everything');
    sum.memory += Number(info.used_memory) - Number(info.mem_clients_normal) -
      Number(info.mem_replication_backlog);
    sum.rss += Number(info.used_memory_rss);
    sum.cpu += Number(info.used_cpu_sys_main_thread) +
      Number(info.used_cpu_user_main_thread);
    sum.in += Number(info.total_net_input_bytes);
    sum.replicated += Number(info.master_repl_offset);
    sum.sessions += await master.command('DBSIZE');
  }
  return sum;
}

async function reach(deployment, { port }) {
  const { tlsPort } = deployment;
  const socket = tlsPort
    ? tls.connect({ port: tlsPort, rejectUnauthorized: false })
    : net.connect(port, '127.0.0.1');
  await new Promise((resolve, reject) => {
    socket.once(tlsPort ? 'secureConnect' : 'connect', resolve);
    socket.once('error', reject);
  });
  return new RespClient(socket);
}

/* All commands, in batches, to each master as fast as it answers. */
async function sendAll(deployment, keys, make) {
  const { masters } = deployment;
  const queues = masters.map(() => []);
  for (const key of keys) queues[ownerOf(deployment, key)].push(key);
  await Promise.all(masters.map(async (master, i) => {
    const client = await reach(deployment, master);
    for (let at = 0; at < queues[i].length; at += BATCH) {
      const batch = queues[i].slice(at, at + BATCH);
      let left = batch.length;
      await new Promise((resolve, reject) => {
        client.onMessage = (value) => {
          if (value !== 1) reject(new Error(`an answer: ${value}`));
          else if (--left === 0) resolve();
        };
        client.socket.write(Buffer.concat(batch.map(make)));
      });
    }
    client.close();
  }));
}

async function step(deployment, keys, make) {
  const before = await statistics(deployment);
  const from = Date.now();
  await sendAll(deployment, keys, make);
  const seconds = (Date.now() - from) / 1000;
  const after = await statistics(deployment);
  const each = (name) => (after[name] - before[name]) / keys.length;
  return {
    memory: each('memory'), rss: each('rss'), us: each('cpu') * 1e6,
    in: each('in'), replicated: each('replicated'), rate: keys.length / seconds,
    sessions: after.sessions,
  };
}

function tell(kind, what, cost) {
  const { us, replicated, rate, memory, rss } = cost;
  console.log(
    `${kind.padEnd(9)}${what.padEnd(7)}` +
      `${us.toFixed(1)} us of Redis, ${(1e6 / us).toFixed(0)} a second of ` +
      `its time (here ${rate.toFixed(0)}), ${cost.in.toFixed(0)} B sent, ` +
      `${replicated.toFixed(0)} B replicated` +
      (what === 'put' ? `, ${memory.toFixed(0)} B of memory, ` +
        `${rss.toFixed(0)} B in RSS` : ''),
  );
}

async function measure(kind, count) {
  const deployment = await KINDS[kind]();
  try {
    const { put, renew, end } = await learn(deployment);
    for (const master of deployment.masters)
      await master.command('FLUSHALL', 'SYNC');
    const name = deployment.isHashed
      ? () => (newSid() + newSid() + newSid() + newSid()).slice(0, HASHED)
      : newSid;
    const keys = Array.from({ length: count }, () => PREFIX + name());
    const cost = await step(deployment, keys, put);
    if (cost.sessions < count)
      throw new Error(`${cost.sessions} of ${count} were written`);
    tell(kind, 'put', cost);
    tell(kind, 'renew', await step(deployment, keys, renew));
    tell(kind, 'end', await step(deployment, keys, end));
  } finally {
    await deployment.stop();
  }
}

const [first, ...rest] = process.argv.slice(2);
const count = Math.min(Number(first ?? MOST), MOST);
/* What tests start does not keep a process alive. */
const alive = setInterval(() => {}, MS);
for (const kind of rest.length ? rest : Object.keys(KINDS)) {
  if (!Object.hasOwn(KINDS, kind)) throw new Error(`no kind: ${kind}`);
  await measure(kind, count);
}
clearInterval(alive);
