/* SPDX-License-Identifier: MIT */
/* Three real Socket.IO nodes behind one sidgate, and what went wrong there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startGateway } from '../../support/gateway.mjs';
import { quietPorts } from '../../support/ports.mjs';
import { S } from './secure.mjs';
import { until, within } from './wait.mjs';

const READY_MS = 60_000; /* three at once on a busy machine */
/* The interpreter that has Debian's python3-socketio and python3-aiohttp. */
export const PYTHON = process.env.SIDGATE_PYTHON || '/usr/bin/python3';
export const SERVERS = ['2', '3', '4', 'python'];
const children = new Set();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export function pathOf(file) {
  return fileURLToPath(new URL(`../${file}`, import.meta.url));
}

/* Starts a child whose standard input, once closed, tells it to end. */
export function spawnChild(command, args, env = {}) {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stderr = '';
  children.add(child);
  child.stdin.on('error', () => {});
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr = (stderr + text).slice(-20_000);
  });
  const exited = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal || code));
  }).finally(() => children.delete(child));
  return { child, exited, stderr: () => stderr };
}

async function nodeCommand(server, name, options) {
  const json = JSON.stringify(options);
  if (server === 'python') {
    const port = String(await quietPorts(2));
    return [PYTHON, [pathOf('servers/python_node.py'), name, port, json]];
  }
  return [process.execPath, [pathOf('servers/node.mjs'), server, name, json]];
}

function getJson(port, path, method = 'GET') {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, path, method, agent: false, timeout: 10_000 },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text) => (body += text));
        response.on('error', reject);
        response.on('end', () => resolve(JSON.parse(body)));
      },
    );
    request.on('timeout', () =>
      request.destroy(new Error(`node control ${path}: no answer`)),
    );
    request.on('error', reject).end();
  });
}

/* One node, which the caller stops: stop() is SIGKILL. */
export async function startNode(server, name, options) {
  const [command, args] = await nodeCommand(server, name, options);
  const { child, exited, stderr } = spawnChild(command, args);
  const firstLine = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    exited.then((how) =>
      reject(new Error(`node ${name} ended (${how}):\n${stderr()}`)),
    );
  });
  const line = await within(
    firstLine,
    READY_MS,
    `node ${server} to listen`,
  ).catch((error) => {
    child.kill('SIGKILL'); /* else it would keep the whole run alive */
    throw error;
  });
  const { port, control } = JSON.parse(line);
  const state = { stopping: false, died: '' };
  exited.then((how) => {
    if (!state.stopping) state.died = `${name} died (${how}): ${stderr()}`;
  });
  return {
    name,
    server,
    port,
    pid: child.pid,
    died: () => state.died,
    stats: () => getJson(control, '/stats'),
    emit: (event) => getJson(control, `/emit?event=${event}`, 'POST'),
    signal: (signal) => child.kill(signal),
    async stop() {
      state.stopping = true;
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/*
 * server: 2, 3, 4 or python; options: for Engine.IO, and tls (node.mjs);
 * gateway: {args, env} for startGateway, or null for a cluster whose test
 * starts gateways itself.
 */
export async function startCluster({
  server = '4',
  count = 3,
  options = {},
  gateway = {},
} = {}) {
  const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
  const started = await Promise.allSettled(
    names.map((name) => startNode(server, name, options)),
  );
  const nodes = started.flatMap(({ value }) => (value ? [value] : []));
  const stopNodes = () => Promise.all(nodes.map((node) => node.stop()));
  const cluster = {
    server,
    nodes,
    gateway: null,
    clients: new Map(), /* sid -> what the client was, for reports */
    backends: nodes.map(({ name, port }) => ({
      id: name,
      port: options.tls ? `${port},tls` : port,
    })),
    get port() {
      return cluster.gateway.port;
    },
    get url() {
      return `http${S}://127.0.0.1:${cluster.port}`;
    },
    stats: () => Promise.all(nodes.map((node) => node.stats())),
    async stop() {
      /* Nodes first: a gateway told to end may wait for its sessions. */
      await stopNodes();
      await cluster.gateway?.stop();
    },
  };
  try {
    const failed = started.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
    if (gateway)
      cluster.gateway = await startGateway({
        backends: cluster.backends,
        ...gateway,
      });
  } catch (error) {
    await stopNodes();
    throw error;
  }
  return cluster;
}

/* Its node has a poll of it to answer. */
export async function isPolled(cluster, { node, sid }) {
  const { stats } = cluster.nodes.find(({ name }) => name === node);
  return (await stats()).polled.includes(sid);
}

export async function isOver(cluster, { node, sid }) {
  const { stats } = cluster.nodes.find(({ name }) => name === node);
  return (await stats()).sessions[sid][1] !== null;
}

export function liveSids(stats) {
  return Object.entries(stats.sessions)
    .filter(([, [, closedAt]]) => closedAt === null)
    .map(([sid]) => sid);
}

/*
 * What went wrong, from the nodes' own records:
 *   misroutes  code 1 to a sid that another node had opened
 *   aliens     code 1 to a sid that no node ever opened
 *   late       code 1 by the owner itself, after the session's end, or any
 *              refusal by it long after that
 *   broken     any other refusal of a request with a sid
 */
const LONG_AFTER_MS = 1000;

function kindOf(refusal, name, home) {
  const closedAt = home?.sessions[refusal.sid][1] ?? Infinity;
  const isOwner = home?.name === name;
  if (isOwner && refusal.at > closedAt + LONG_AFTER_MS) return 'late';
  if (!refusal.unknown) return 'broken';
  if (!home) return 'aliens';
  return isOwner ? 'late' : 'misroutes';
}

export function judge(allStats) {
  const owner = new Map();
  for (const stats of allStats)
    for (const sid of Object.keys(stats.sessions)) owner.set(sid, stats);
  const verdict = { misroutes: [], aliens: [], late: [], broken: [] };
  for (const { name, refusals } of allStats)
    for (const refusal of refusals) {
      const home = owner.get(refusal.sid);
      const entry = { node: name, owner: home?.name, ...refusal };
      if (home) entry.session = home.sessions[refusal.sid];
      verdict[kindOf(refusal, name, home)].push(entry);
    }
  return verdict;
}

function list(entries) {
  return entries
    .slice(0, 8)
    .map((entry) => '    ' + JSON.stringify(entry))
    .concat(entries.length > 8 ? [`    … ${entries.length} in all`] : [])
    .join('\n');
}

/* Waits until no node has an open session; gives those that remain. */
export async function remaining(cluster, ms = 30_000) {
  let live = [];
  await until(
    async () => {
      const all = await cluster.stats();
      live = all.flatMap((stats) =>
        liveSids(stats).map((sid) => ({
          node: stats.name,
          sid,
          client: cluster.clients.get(sid),
        })),
      );
      return live.length === 0;
    },
    ms,
    '',
  ).catch(() => {});
  return live;
}

/* Every session has ended on its node, and no node refused what it should not.
 * `late` ones are let pass: a client's last request may cross the end. */
export async function assertClean(cluster, { allow = ['late'] } = {}) {
  const open = await remaining(cluster);
  const verdict = { ...judge(await cluster.stats()), 'still open': open };
  for (const entry of Object.values(verdict).flat())
    entry.client ??= cluster.clients.get(entry.sid);
  const faults = Object.entries(verdict)
    .filter(([kind, entries]) => !allow.includes(kind) && entries.length > 0)
    .map(([kind, entries]) => `  ${kind}:\n${list(entries)}`);
  assert.equal(
    faults.length,
    0,
    `nodes of server ${cluster.server} saw:\n${faults.join('\n')}`,
  );
}
