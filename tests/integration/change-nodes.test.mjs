/* SPDX-License-Identifier: MIT */
/* A node's death costs its own sessions, and nothing else. */
import { test } from 'node:test';
import { judged } from './lib/change/findings.mjs';
import { changeNodes } from './lib/change/nodes.mjs';
import { SHORT } from './lib/change/sizes.mjs';

test('a node dies, one stands still, one comes back', (t) =>
  judged(t, (findings) => changeNodes(SHORT.nodes, findings)));
