/* SPDX-License-Identifier: MIT */
/*
 * Every outage of lib/outages.mjs under many sessions:
 * `node outage-soak.mjs --sessions 500 [--policy closed] [--only WORDS]`.
 * Prints one line for each, and ends with 1 if a session was lost.
 */
import { parseArgs } from 'node:util';
import { BOUND_MS, OUTAGES, described, suffer } from './lib/outages.mjs';
import { startReplicated } from './lib/replicas.mjs';

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '500' },
    policy: { type: 'string', default: 'open' },
    replicas: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
  },
});

let ok = true;
for (const [name, outage] of Object.entries(OUTAGES)) {
  if (!name.includes(values.only)) continue;
  const cluster = await startReplicated({
    replicas: Number(values.replicas),
    args: ['--store-outage', values.policy, '--store-timeout', '250ms'],
  });
  try {
    const result = await suffer(cluster, outage, Number(values.sessions));
    const { lost, worst } = result;
    ok &&= lost.length === 0;
    result.lost = lost.length;
    console.log(
      `${name}: ${described(result)}` +
        (worst > BOUND_MS ? ` over ${BOUND_MS} ms` : ''),
    );
    lost.slice(0, 5).forEach((text) => console.log(`  ${text}`));
  } finally {
    await cluster.stop();
  }
}
process.exit(ok ? 0 : 1);
