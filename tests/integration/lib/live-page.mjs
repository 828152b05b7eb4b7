/* SPDX-License-Identifier: MIT */
/* The live page in a browser, and what went wrong there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { listenQuietly } from '../../support/ports.mjs';
import { launchBrowser } from './browser.mjs';
import { clientFactory } from './clients.mjs';
import { openClient, settle } from './exercise.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const GRAVE = ['serious', 'critical'];

/* Said of what a page may not do, before any of its own scripts runs. */
function tellViolations() {
  document.addEventListener('securitypolicyviolation', (event) =>
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`),
  );
}

/* Gives {open(url, options), stop()}. Each page has a context of its own. */
export async function startWatcher() {
  const browser = await launchBrowser();

  /* options: of the context; how: {prepare(page)} before it loads. */
  async function open(url, options = {}, { prepare } = {}) {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    const page = await context.newPage();
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.stack));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()))
        faults.push(message.text());
    });
    await page.addInitScript(tellViolations);
    await prepare?.(page);
    await page.goto(url);
    page.setDefaultTimeout(10_000);
    return Object.assign(page, {
      faults,
      shows: (selector, text) =>
        page
          .locator(selector, text ? { hasText: text } : {})
          .first()
          .waitFor({ state: 'visible' }),
      /* Nothing was reported but what `allowed` matches. */
      assertClean(allowed = /^$/) {
        const others = faults.filter((fault) => !allowed.test(fault));
        assert.deepEqual(others, []);
      },
      done: () => context.close(),
    });
  }

  return { open, stop: () => browser.close() };
}

export async function opened(page) {
  await page.shows('#app');
  await page.shows('#link[data-state="live"]');
}

/* axe's rules find nothing grave in what is shown now. Evaluated through the
 * debugger, which the page's policy has no say in. */
export async function assertAccessible(page, where) {
  if (!(await page.evaluate(() => 'axe' in window)))
    await page.evaluate(readFileSync(AXE, 'utf8'));
  const { violations, passes } = await page.evaluate(() =>
    window.axe.run({ resultTypes: ['violations'] }),
  );
  assert.ok(passes.length > 10, `axe looked at ${where}`);
  const grave = violations
    .filter(({ impact }) => GRAVE.includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`);
  assert.deepEqual(grave, [], where);
}

/* No part of the page is wider than the window. */
export async function assertFits(page) {
  const over = await page.evaluate(
    () => document.documentElement.scrollWidth - window.innerWidth,
  );
  assert.ok(over <= 0, `${over} pixels too wide`);
}

/* Real clients, which go on after a session's end. Each has {me, io, ends}. */
export async function startClients(url, modes) {
  return Promise.all(
    modes.map(async (mode) => {
      const io = clientFactory('4');
      const handle = openClient(io, { client: '4', url, mode });
      const ends = [];
      handle.socket.on('disconnect', (reason) => ends.push(reason));
      const me = await settle(handle);
      return { handle, me, ends, close: handle.close };
    }),
  );
}

/* A way to the operator listener that can be closed and opened again. */
export async function startWay(adminPort) {
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(adminPort, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => sockets.delete(socket));
      socket.pipe(other);
    }
  });
  const way = {
    port: 0,
    open: () =>
      new Promise((resolve) => server.listen(way.port, '127.0.0.1', resolve)),
    close() {
      sockets.forEach((socket) => socket.destroy());
      return new Promise((resolve) => server.close(resolve));
    },
  };
  way.port = await listenQuietly(server);
  return way;
}
