/* SPDX-License-Identifier: MIT */
/* Another program takes everything over, and what it cannot take stays. */
import { test } from 'node:test';
import { judged } from './lib/change/findings.mjs';
import { SHORT } from './lib/change/sizes.mjs';
import {
  changeUpgrade,
  changeUpgradeFails,
  changeUpgradeSecure,
} from './lib/change/upgrade.mjs';

const STORES = [
  ['memory', 0],
  ['Redis', 2],
];

for (const [store, replicas] of STORES)
  test(`upgrades with the store in ${store}`, (t) =>
    judged(t, (findings) =>
      changeUpgrade({ ...SHORT.upgrade, replicas }, findings),
    ));

for (const [store, replicas] of STORES)
  test(`upgrades that fail, with the store in ${store}`, (t) =>
    judged(t, (findings) =>
      changeUpgradeFails({ ...SHORT.upgradeFails, replicas }, findings),
    ));

test('tunnels of TLS stay where they are', (t) =>
  judged(t, (findings) => changeUpgradeSecure(SHORT.upgradeSecure, findings)));
