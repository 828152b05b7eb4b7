/* SPDX-License-Identifier: MIT */
/* Growing and shrinking move no session. */
import { test } from 'node:test';
import { judged } from './lib/change/findings.mjs';
import { changeScale } from './lib/change/scale.mjs';
import { SHORT } from './lib/change/sizes.mjs';

test('from three nodes to six and back', (t) =>
  judged(t, (findings) => changeScale(SHORT.scale, findings)));
