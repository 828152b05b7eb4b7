/* SPDX-License-Identifier: MIT */
/* Real balancers with a fault of their own each, before nodes at given ports.
 * Their programs are on PATH or below build/tools (scripts/get-tools.sh). */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { listenQuietly, quietPort } from '../../support/ports.mjs';
import { spawnChild } from './cluster.mjs';
import { until } from './wait.mjs';

const READY_MS = 30_000;
const TOOLS = fileURLToPath(new URL('../../../build/tools/bin', import.meta.url));

function find(name) {
  const folders = [TOOLS, ...process.env.PATH.split(':'), '/usr/sbin'];
  const found = folders
    .map((folder) => path.join(folder, name))
    .find((file) => existsSync(file));
  if (!found) throw new Error(`${name} is missing: scripts/get-tools.sh ${name}`);
  return found;
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

/* Between finding a port and taking it somebody else may: then once more. */
async function start(name, args, write) {
  for (let tries = 0; ; tries++) {
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-balancer-'));
    const port = await quietPort();
    const file = path.join(folder, 'conf');
    writeFileSync(file, write(port, folder));
    const { child, exited, stderr } = spawnChild(find(name), args(file, folder));
    const stop = async () => {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    };
    let ended = false;
    exited.then(() => (ended = true));
    await until(
      async () => ended || (await listens(port)),
      READY_MS,
      `${name} listens`,
    );
    if (!ended) return { port, stop };
    await stop();
    if (tries === 2) throw new Error(`${name} ended: ${stderr()}`);
  }
}

/*
 * balance, sticky, servers: lines of its backend; options of each server line
 * by its number; timeouts of clients, servers and tunnels.
 */
export function startHaproxy(
  nodes,
  { balance = 'roundrobin', lines = [], server = () => '', timeout = '60s' } = {},
) {
  const config = (port) => `
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client ${timeout}
    timeout server ${timeout}
    timeout tunnel ${timeout}
frontend clients
    bind 127.0.0.1:${port}
    default_backend nodes
backend nodes
    balance ${balance}
${lines.map((line) => `    ${line}`).join('\n')}
${nodes.map((one, i) => `    server n${i} 127.0.0.1:${one.port} ${server(i)}`).join('\n')}
`;
  return start('haproxy', (file) => ['-db', '-f', file], config);
}

/* What one HAProxy can do: it learns the sid from the handshake's answer. */
export const SID_LEARNING = [
  'stick-table type string len 64 size 1m expire 90s',
  'stick match urlp(sid)',
  'http-request set-var(txn.new) bool(true) unless { urlp(sid) -m found }',
  'http-response wait-for-body time 5s if { var(txn.new) -m bool }',
  `stick store-response 'res.body,field(4,\\")' if { var(txn.new) -m bool }`,
];

/* hash: a key; upgrades: whether the Upgrade field is passed on. */
export function startNginx(
  nodes,
  { lines = [], upgrades = true, timeout = '60s' } = {},
) {
  const fields = upgrades
    ? `proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;`
    : '';
  const config = (port, folder) => `
daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr error;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path ${folder}/body;
    proxy_temp_path ${folder}/proxy;
    fastcgi_temp_path ${folder}/fastcgi;
    uwsgi_temp_path ${folder}/uwsgi;
    scgi_temp_path ${folder}/scgi;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream nodes {
        ${lines.join('\n        ')}
        ${nodes.map(({ port: to }) => `server 127.0.0.1:${to};`).join('\n        ')}
    }
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            ${fields}
            proxy_read_timeout ${timeout};
        }
    }
}
`;
  return start(
    'nginx',
    (file, folder) => ['-p', folder, '-c', file, '-e', 'stderr'],
    config,
  );
}

/* Balances connections without a look into them: choose(n) gives the port for
 * the nth; change(bytes, to) may alter or withhold what a client sends. */
export async function startRelay(choose, change = (bytes) => bytes) {
  const open = new Set();
  let count = 0;
  const server = net.createServer((client) => {
    const node = net.connect(choose(count++), '127.0.0.1');
    const end = () => {
      client.destroy();
      node.destroy();
      open.delete(end);
    };
    open.add(end);
    for (const socket of [client, node])
      socket.on('error', end).on('close', end);
    client.on('data', (bytes) => {
      const passed = change(bytes, { client, node });
      if (passed) node.write(passed);
    });
    node.on('data', (bytes) => client.write(bytes));
  });
  const port = await listenQuietly(server);
  return {
    port,
    async stop() {
      for (const end of open) end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
