/* SPDX-License-Identifier: MIT */
/*
 * The examples under deploy/, run as they stand: gateways share their sessions,
 * Redis' users have the rights that they need and are refused nothing, and
 * nothing is left behind.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startEngine } from '../support/engine.mjs';
import { gatewayBinary } from '../support/gateway.mjs';
import { areFree, quietPorts } from '../support/ports.mjs';
import { goesOn, openSession, times } from '../support/replicas.mjs';
import { apiAt, everyPage, isKicked, upgraded } from '../support/sessions.mjs';
import { until } from './lib/wait.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PORTS = 16;
const CLI_MS = 20_000;
const READY_MS = 120_000;
const SOON_MS = 60_000;
/* A failover that failed, and Sentinels that rest after a stand-still. */
const FAILOVER_MS = 120_000;
const TRIES = 20;
/* But for what a new master says until it has a replica. */
const REFUSED = /NOPERM|no permission|store_error(?!.*NOREPLICAS)/;
const WIDTH = 4;
const SESSIONS = 24;

/* Two ports for gateways; those of their operators are 1000 above. */
async function webPorts() {
  for (let i = 0; i < TRIES; i++) {
    const web = await quietPorts(2);
    if (await areFree(web + 1000, 2)) return web;
  }
  throw new Error('no free ports');
}

/* One that runs, with its own backend. */
class Example {
  output = '';

  constructor(which, isTls) {
    this.which = which;
    this.isTls = isTls;
  }

  async start() {
    this.first = await quietPorts(PORTS);
    this.web = await webPorts();
    this.backend = await startEngine({ id: 'n1' });
    this.child = spawn(
      path.join(ROOT, 'deploy', this.which, 'start.sh'),
      [
        ...(this.isTls ? ['--tls'] : []),
        '--port', this.first, '--web', this.web, '--workers', '2',
        '--backend', `n1=127.0.0.1:${this.backend.port}`,
      ].map(String),
      { env: { ...process.env, SIDGATE: gatewayBinary() } },
    );
    for (const stream of [this.child.stdout, this.child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (this.output += text));
    this.exited = new Promise((resolve) =>
      this.child.once('close', (code) => resolve((this.code = code ?? -1))),
    );
    await until(
      () => this.output.includes('Ctrl-C') || this.code !== undefined,
      READY_MS,
      () => this.output,
    );
    assert.equal(this.code, undefined, this.output);
    this.folder = /passwords: (\S+)/.exec(this.output)[1];
    this.gateways = [0, 1].map((i) => ({
      name: `gw-${i + 1}`,
      port: this.web + i,
      adminPort: this.web + 1000 + i,
    }));
  }

  log(i) {
    return readFileSync(path.join(this.folder, `gateway-${i + 1}.log`), 'utf8');
  }

  /* What redis-cli prints, as the administrator. */
  cli(port, ...args) {
    const file = (name) => path.join(this.folder, 'tls', name);
    const tls = ['--tls', '--cacert', file('ca.pem'), '--cert',
                 file('gateway.pem'), '--key', file('gateway.key')];
    return this.run('redis-cli', ['-p', port, ...(this.isTls ? tls : []),
                                  ...args]);
  }

  run(file, args, env = {}) {
    const password = readFileSync(path.join(this.folder, 'admin.password'));
    return new Promise((resolve, reject) => {
      execFile(
        file,
        args.map(String),
        {
          timeout: CLI_MS,
          env: { ...process.env, REDISCLI_AUTH: String(password).trim(),
                 ...env },
        },
        (error, stdout) => (error ? reject(error) : resolve(stdout.trim())),
      );
    });
  }

  get ports() {
    return Array.from({ length: 6 }, (_, i) => this.first + i);
  }

  /* Those of servers that have sessions to keep. */
  async masters() {
    const roles = await Promise.all(
      this.ports.map((port) => this.cli(port, 'ROLE').catch(() => '')),
    );
    return this.ports.filter((_, i) => roles[i].startsWith('master'));
  }

  async keys() {
    const all = await Promise.all(
      (await this.masters()).map((port) =>
        this.cli(port, '--scan', '--pattern', 'sidgate:session:*'),
      ),
    );
    /* While its table grows SCAN may give a key twice. */
    return [
      ...new Set(all.flatMap((text) => text.split('\n').filter(Boolean))),
    ];
  }

  pidOf(port) {
    return this.cli(port, 'INFO', 'server').then((text) =>
      Number(/process_id:(\d+)/.exec(text)[1]),
    );
  }

  /* Nobody was refused anything. */
  async refusedNothing() {
    for (const port of this.ports) {
      const text = await this.cli(port, 'ACL', 'LOG').catch(() => '');
      assert.equal(text, '', `${port}: ${text}`);
    }
    for (const i of [0, 1])
      assert.doesNotMatch(this.log(i), REFUSED);
  }

  async stop() {
    this.child?.kill('SIGINT');
    await this.exited;
    await this.backend.stop();
  }
}

/* Begun through one gateway and gone on through the other. */
async function crossOver({ gateways }, count = SESSIONS) {
  const sids = await times(count, WIDTH, (i) => openSession(gateways[i % 2]));
  await times(count, WIDTH, (i) => goesOn(gateways[(i + 1) % 2], sids[i]));
  return sids;
}

async function kick({ gateways, backend }) {
  const sid = await openSession(gateways[0]);
  const client = await upgraded(backend, gateways[0], sid);
  let id;
  await until(
    async () =>
      (id = (await everyPage(gateways[1])).find(
        ({ transport }) => transport === 'websocket',
      )?.id),
    SOON_MS,
    'a websocket in the list',
  );
  const { gateways: heard } = await apiAt(gateways[1]).post(
    `sessions/${id}/kick`,
  );
  assert.equal(heard, 2);
  await isKicked(client);
}

/* Both gateways say so of their backend. */
async function areAll(example, state) {
  for (const [i, gateway] of example.gateways.entries())
    await until(
      async () =>
        (await apiAt(gateway).get('backends')).backends[0].state === state,
      SOON_MS,
      () => `not ${state}\n${example.log(i)}`,
    );
}

async function drainAndBack(example) {
  await apiAt(example.gateways[0]).post('backends/n1/drain');
  await areAll(example, 'drained');
  await apiAt(example.gateways[0]).post('backends/n1/undrain');
  await areAll(example, 'up');
}

/* What one of the masters had is there again. */
async function loseAndWrite(example) {
  const [master] = await example.masters();
  const before = (await example.keys()).length;
  await example.cli(master, 'FLUSHALL');
  await example.cli(master, 'SCRIPT', 'FLUSH');
  await until(
    async () => {
      await openSession(example.gateways[0]);
      return (await example.keys()).length > before;
    },
    SOON_MS,
    () => `${before} sessions\n${example.log(0)}`,
  );
}

/* As docs/redis-nodes.md has it; here redis-cli is told the port. */
const ALL_SESSIONS = `
redis-cli -p "$PORT" CLUSTER NODES |
    awk '$3 ~ /master$/ { sub("@.*", "", $2); print $2 }' |
    while IFS=: read -r host port; do
        redis-cli -h "$host" -p "$port" --scan --pattern 'sidgate:session:*'
    done | sort -u`;

/* By hand, with redis-cli at any node. */
async function listAndDrain(example) {
  const port = example.ports.at(-1);
  const listed = await example.run('sh', ['-c', ALL_SESSIONS], { PORT: port });
  assert.deepEqual(listed.split('\n').sort(), (await example.keys()).sort());
  await example.cli(port, '-c', 'HSET', 'sidgate:admin', 'n1', 'drain');
  assert.equal(await example.cli(port, '-c', 'HGETALL', 'sidgate:admin'),
               'n1\ndrain');
  await areAll(example, 'drained');
  await example.cli(port, 'PUBLISH', 'sidgate:control', 'undrain n1');
  await areAll(example, 'up');
}

async function killMaster(example, sids) {
  const [master] = await example.masters();
  const count = (await example.masters()).length;
  process.kill(await example.pidOf(master), 'SIGKILL');
  await until(
    async () => (await example.masters()).length === count,
    FAILOVER_MS,
    () => 'a replica that is a master',
  );
  await times(sids.length, WIDTH, (i) =>
    goesOn(example.gateways[i % 2], sids[i]),
  );
  await until(
    async () => (await example.keys()).length >= sids.length,
    SOON_MS,
    () => example.log(0),
  );
}

async function run(t, which, isTls, work) {
  const example = new Example(which, isTls);
  t.after(() => example.stop());
  await example.start();
  const sids = await crossOver(example);
  await work?.(example, sids);
  await example.refusedNothing();
  example.child.kill('SIGINT');
  await example.exited;
  assert.equal(example.code, 130, example.output);
  assert.equal(existsSync(example.folder), false, 'its folder');
  assert.ok(await areFree(example.first, PORTS), 'its ports');
  assert.ok(await areFree(example.web, 2), "the gateways' ports");
}

describe('examples', { concurrency: true }, () => {
  for (const which of ['sentinel', 'cluster']) {
    test(which, (t) =>
      run(t, which, false, async (example, sids) => {
        await kick(example);
        await drainAndBack(example);
        if (which === 'cluster') await listAndDrain(example);
        await loseAndWrite(example);
        await example.refusedNothing();
        await killMaster(example, sids);
      }));

    test(`${which} with TLS`, (t) => run(t, which, true));
  }
});
