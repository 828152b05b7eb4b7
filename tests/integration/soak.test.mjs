/* SPDX-License-Identifier: MIT */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak, summary } from './soak.mjs';

const SESSIONS = 1000;

test(`${SESSIONS} mixed sessions`, { timeout: 400_000 }, async (t) => {
  const result = await soak({
    sessions: SESSIONS,
    live: 60,
    seconds: 180,
    servers: ['2', '3', '4'],
    log: (text) => t.diagnostic(text),
  });
  assert.ok(result.ok, summary(result));
  assert.equal(result.done, SESSIONS, 'out of time');
});
