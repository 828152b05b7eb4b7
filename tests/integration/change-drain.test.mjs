/* SPDX-License-Identifier: MIT */
/* A drained node's sessions are closed at a rate that the others can take. */
import { test } from 'node:test';
import { changeDrain } from './lib/change/drain.mjs';
import { judged } from './lib/change/findings.mjs';
import { SHORT } from './lib/change/sizes.mjs';

for (const by of ['ctl', 'redis'])
  test(`paced close by ${by}`, (t) =>
    judged(t, (findings) => changeDrain({ ...SHORT.drain, by }, findings)));
