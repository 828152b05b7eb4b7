/* SPDX-License-Identifier: MIT */
/* The Socket.IO clients of three generations, and the Python one. */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { PYTHON, pathOf, spawnChild } from './cluster.mjs';
import { IS_TLS, TRUST, TRUST_ENV } from './secure.mjs';
import { within } from './wait.mjs';

const require = createRequire(import.meta.url);

export function clientFactory(client) {
  const library = require(`client${client}`);
  const io = library.io ?? library;
  if (!IS_TLS) return io;
  return (url, options) => io(url, { ...TRUST, ...options });
}

/* The file that a page loads. */
export function clientBundle(client) {
  return require.resolve(`client${client}/dist/socket.io.js`);
}

/* Which clients each server's nodes can talk to; allowEIO3 is on. */
export const COMPATIBLE = {
  2: ['2'],
  3: ['2', '3', '4'],
  4: ['2', '3', '4'],
  python: ['3', '4'],
};

/*
 * Runs clients/python_client.py; each of `runs` is {mode}, the answers are
 * like those of exercise(). o: {seconds} keeps each session for that long.
 */
export async function exercisePython(url, runs, { seconds = 0 } = {}) {
  const { child, exited, stderr } = spawnChild(
    PYTHON,
    [pathOf('clients/python_client.py'), JSON.stringify({ url, runs, seconds })],
    TRUST_ENV,
  );
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (text) =>
    lines.push(JSON.parse(text)),
  );
  try {
    const how = await within(
      exited,
      60_000 + seconds * 1000,
      'the Python client to end',
    );
    if (how !== 0 || lines.length !== runs.length)
      throw new Error(
        `Python client ended (${how}) after ${lines.length} of ` +
          `${runs.length} results:\n${stderr()}`,
      );
  } finally {
    child.kill('SIGKILL');
  }
  return lines;
}
