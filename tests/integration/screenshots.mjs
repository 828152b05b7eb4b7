/* SPDX-License-Identifier: MIT */
/*
 * Pictures of the live page: `node screenshots.mjs [--seconds N] FOLDER`. Of
 * two replicas with a Redis and three nodes, while real clients come and go,
 * one node is being drained and another one has been away.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { clientFactory } from './lib/clients.mjs';
import { ctl } from './lib/ctl.mjs';
import { startWatcher, opened } from './lib/live-page.mjs';
import { withPalette } from './lib/png.mjs';
import { startReplicated } from './lib/replicas.mjs';
import { pause, until } from './lib/wait.mjs';

const SIZE_MAX = 150_000;
const CROWD = 60;
const COMES_MS = 400;
const DRAIN_S = 12; /* before the pictures */

const PICTURES = {
  'live-light': {
    colorScheme: 'light',
    viewport: { width: 1180, height: 1400 },
  },
  'live-dark': { colorScheme: 'dark', viewport: { width: 1180, height: 1400 } },
  'live-phone': {
    colorScheme: 'light',
    viewport: { width: 360, height: 1000 },
  },
};

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '180' } },
  allowPositionals: true,
});
const [folder = 'docs/images'] = positionals;
const seconds = Number(values.seconds);
const io = clientFactory('4');

/* Those who are there; each says something now and then. */
class Crowd {
  #there = new Set();
  #timers = [];

  constructor(port) {
    this.url = `http://127.0.0.1:${port}`;
    for (let i = 0; i < CROWD; i++) this.#join();
    this.#every(COMES_MS, () => this.#join());
    this.#every(COMES_MS, () => this.#leave());
    this.#every(50, () => this.#speak());
  }

  #every(ms, act) {
    this.#timers.push(setInterval(act, ms));
  }

  #join() {
    const polls = Math.random() < 0.3;
    this.#there.add(
      io(this.url, {
        forceNew: true,
        transports: polls ? ['polling'] : ['polling', 'websocket'],
        reconnectionDelay: 200,
      }),
    );
  }

  #any() {
    return [...this.#there][Math.floor(Math.random() * this.#there.size)];
  }

  /* As many as there were at first, give or take a few. */
  #leave() {
    if (this.#there.size < CROWD - 8 * Math.random()) return;
    const one = this.#any();
    this.#there.delete(one);
    one.disconnect();
  }

  #speak() {
    this.#any().volatile.emit('say', 'something');
  }

  end() {
    this.#timers.forEach(clearInterval);
    for (const one of this.#there) one.disconnect();
  }
}

/* Node n3 is held for a while, then n2 drained. */
async function play({ nodes, gateways }) {
  const [gateway] = gateways;
  const half = Math.max(0, (seconds - DRAIN_S) / 2) * 1000;
  await pause(half);
  nodes[2].signal('SIGSTOP');
  await until(
    () => gateway.events('backend_down').length > 0,
    30_000,
    'a node that is down',
  );
  nodes[2].signal('SIGCONT');
  await pause(half);
  await ctl(gateway, 'drain', 'n2', '--rate', '1', '--timeout', '10m');
  await pause(DRAIN_S * 1000);
}

async function takePictures(watcher, { adminPort }) {
  mkdirSync(folder, { recursive: true });
  for (const [name, options] of Object.entries(PICTURES)) {
    const file = path.join(folder, `${name}.png`);
    const page = await watcher.open(`http://127.0.0.1:${adminPort}/`, options);
    await opened(page);
    await page.shows('#sessions-body tr');
    const picture = withPalette(await page.screenshot());
    page.assertClean();
    await page.done();
    writeFileSync(file, picture);
    console.log(`${file}: ${picture.length} bytes`);
    if (picture.length > SIZE_MAX) process.exitCode = 1;
  }
}

const cluster = await startReplicated({
  args: [
    ...['--health-check', 'http', '--health-path', '/healthz'],
    ...['--health-interval', '500ms', '--health-timeout', '500ms'],
  ],
});
const watcher = await startWatcher();
const crowd = new Crowd(cluster.port);
try {
  await play(cluster);
  await takePictures(watcher, cluster.gateways[0]);
} finally {
  crowd.end();
  await watcher.stop();
  await cluster.stop();
}
process.exit();
