/* SPDX-License-Identifier: MIT */
/* Headless Chromium on a page whose origin is not the gateway's. */
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { clientBundle } from './clients.mjs';
import { isOver, pathOf } from './cluster.mjs';
import { browserFlags } from './secure.mjs';
import { until } from './wait.mjs';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const END_MS = 15_000;
const LOAD_MS = 120_000; /* many at once on a busy machine */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(':')];
  const found = folders
    .flatMap((folder) => NAMES.map((name) => path.join(folder, name)))
    .find((file) => existsSync(file));
  if (!found) throw new Error('no Chromium found: set CHROMIUM to its path');
  return found;
}

function answer(req, res) {
  const client = /^\/client([234])\.(html|js)$/.exec(req.url);
  if (req.url === '/exercise.js') {
    res.setHeader('Content-Type', 'text/javascript');
    res.end(readFileSync(pathOf('lib/exercise.js')));
  } else if (client?.[2] === 'js') {
    res.setHeader('Content-Type', 'text/javascript');
    res.end(readFileSync(clientBundle(client[1])));
  } else if (client) {
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    res.end(
      '<!doctype html><title>client</title>' +
        `<script src="/client${client[1]}.js"></script>`,
    );
  } else {
    res.writeHead(404).end();
  }
}

/* Chromium itself. */
export function launchBrowser() {
  return chromium.launch({
    executablePath: executable(),
    args: [...FLAGS, ...browserFlags()],
    timeout: 30_000,
  });
}

/*
 * Gives {page(client), exercise(cluster, o), stop()}. Each page has a context
 * of its own, so that no connection is shared with another. Chromium's profile
 * is a new temporary folder, which Playwright makes and removes.
 */
export async function startBrowser() {
  const server = http.createServer(answer);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const closeServer = () => {
    server.closeAllConnections();
    server.close();
  };
  let browser;
  try {
    browser = await launchBrowser();
  } catch (error) {
    closeServer();
    throw error;
  }

  async function page(client) {
    const context = await browser.newContext();
    const opened = await context.newPage();
    await opened.goto(`${origin}/client${client}.html`, { timeout: LOAD_MS });
    return opened;
  }

  /* exercise() of lib/exercise.js, run in a page, which stays until the node
   * has seen the client's farewell. */
  async function exercise(cluster, o) {
    const opened = await page(o.client);
    try {
      const result = await opened.evaluate(
        async (what) => {
          const library = await import('/exercise.js');
          return library.exercise(window.io, what);
        },
        { ...o, url: cluster.url },
      );
      if (result.node)
        await until(() => isOver(cluster, result), END_MS, '').catch(() =>
          result.faults.push(`session open ${END_MS} ms after its close`),
        );
      return { ...result, name: `Chromium ${result.name}` };
    } finally {
      await opened.context().close();
    }
  }

  async function stop() {
    await browser.close();
    closeServer();
  }

  return { page, exercise, stop };
}
