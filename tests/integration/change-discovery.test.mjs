/* SPDX-License-Identifier: MIT */
/* Addresses of a DNS name come and go, and sessions stay. */
import { test } from 'node:test';
import { changeDiscovery } from './lib/change/discovery.mjs';
import { judged } from './lib/change/findings.mjs';
import { SHORT } from './lib/change/sizes.mjs';

test('nodes by a DNS name', (t) =>
  judged(t, (findings) => changeDiscovery(SHORT.discovery, findings)));
