/* SPDX-License-Identifier: MIT */
/*
 * Everything that changes under a crowd, at full size:
 * `node change-soak.mjs [SCENARIO ...]`; all of them where none is named.
 *
 *   nodes                      a node is killed, one stopped, one comes back
 *   drain-ctl, drain-redis     a paced close
 *   reload, reload-redis       another configuration, again and again
 *   upgrade, upgrade-redis     another program, again and again
 *   upgrade-fails, upgrade-fails-redis   one that crashes or hangs
 *   upgrade-tls                tunnels that cannot be handed over
 *   discovery                  addresses of a DNS name come and go
 *   scale                      from three nodes to six and back
 *
 * --sessions N, --tunnels N, --polling N, --reloads N, --upgrades N, --rate N,
 * --stop-ms N, --slow-start-ms N, --processes N: instead of what sizes.mjs
 * has. --short: begin with the sizes of the tests.
 *
 * Prints what was seen; ends with 1 if anything was lost.
 */
import { parseArgs } from 'node:util';
import { changeDiscovery } from './lib/change/discovery.mjs';
import { changeDrain } from './lib/change/drain.mjs';
import { Findings } from './lib/change/findings.mjs';
import { changeNodes } from './lib/change/nodes.mjs';
import { changeReload } from './lib/change/reload.mjs';
import { changeScale } from './lib/change/scale.mjs';
import { LONG, SHORT } from './lib/change/sizes.mjs';
import {
  changeUpgrade,
  changeUpgradeFails,
  changeUpgradeSecure,
} from './lib/change/upgrade.mjs';

const SCENARIOS = {
  nodes: [changeNodes, 'nodes'],
  'drain-ctl': [changeDrain, 'drain', { by: 'ctl' }],
  'drain-redis': [changeDrain, 'drain', { by: 'redis' }],
  reload: [changeReload, 'reload', { replicas: 0 }],
  'reload-redis': [changeReload, 'reload', { replicas: 2 }],
  upgrade: [changeUpgrade, 'upgrade', { replicas: 0 }],
  'upgrade-redis': [changeUpgrade, 'upgrade', { replicas: 2 }],
  'upgrade-fails': [changeUpgradeFails, 'upgradeFails', { replicas: 0 }],
  'upgrade-fails-redis': [changeUpgradeFails, 'upgradeFails', { replicas: 2 }],
  'upgrade-tls': [changeUpgradeSecure, 'upgradeSecure'],
  discovery: [changeDiscovery, 'discovery'],
  scale: [changeScale, 'scale'],
};

const NUMBERS = {
  sessions: 'sessions',
  tunnels: 'tunnels',
  polling: 'polling',
  reloads: 'reloads',
  upgrades: 'upgrades',
  rate: 'rate',
  'stop-ms': 'stopMs',
  'slow-start-ms': 'slowStartMs',
  processes: 'processes',
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    ...Object.fromEntries(
      Object.keys(NUMBERS).map((name) => [name, { type: 'string' }]),
    ),
  },
});
const given = Object.fromEntries(
  Object.entries(NUMBERS)
    .filter(([name]) => values[name] !== undefined)
    .map(([name, field]) => [field, Number(values[name])]),
);
const wanted = positionals.length ? positionals : Object.keys(SCENARIOS);

let ok = true;
for (const name of wanted) {
  if (!SCENARIOS[name]) throw new Error(`no scenario ${name}`);
  const [run, size, more] = SCENARIOS[name];
  const findings = new Findings();
  const began = Date.now();
  await run({ ...(values.short ? SHORT : LONG)[size], ...more, ...given },
    findings).catch((error) => findings.expect(false, error.stack));
  const seconds = Math.round((Date.now() - began) / 1000);
  const verdict = findings.problems.length === 0 ? 'ok' : 'NOT OK';
  console.log(`== ${name}: ${verdict}, ${seconds} s\n${findings}`);
  if (findings.problems.length > 0) console.log(findings.logs);
  ok &&= findings.problems.length === 0;
}
process.exit(ok ? 0 : 1);
