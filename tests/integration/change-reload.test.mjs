/* SPDX-License-Identifier: MIT */
/* Another configuration costs no request, no tunnel, and nothing that stays. */
import { test } from 'node:test';
import { judged } from './lib/change/findings.mjs';
import { changeReload } from './lib/change/reload.mjs';
import { SHORT } from './lib/change/sizes.mjs';

for (const [store, replicas] of [
  ['memory', 0],
  ['Redis', 2],
])
  test(`reloads with the store in ${store}`, (t) =>
    judged(t, (findings) =>
      changeReload({ ...SHORT.reload, replicas }, findings),
    ));
