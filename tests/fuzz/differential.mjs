/* SPDX-License-Identifier: MIT */
/* Mutated messages through a real gateway, in both directions; what it made of
 * them is compared with Node's parser and with a strict reader.
 *
 *   node tests/fuzz/differential.mjs [--minutes N] [--streams N] [--seed N]
 *
 * Ends with 1 on a mismatch, whose bytes are then in build/fuzz/differential.
 */

import { parseArgs } from 'node:util';

import { startFuzz } from './differential/run.mjs';

const SAY_MS = 60_000;
const { values } = parseArgs({ options: {
    minutes: { type: 'string' },
    streams: { type: 'string' },
    seed: { type: 'string' },
} });
const seed = Number(values.seed ?? Date.now() % 2 ** 32);
const streams = Number(values.streams ?? Infinity);
const minutes = Number(values.minutes ?? (values.streams ? Infinity : 10));
if ([seed, streams, minutes].some(Number.isNaN)) {
    console.error('usage: differential.mjs [--minutes N] [--streams N] ' +
        '[--seed N]');
    process.exit(2);
}

console.log(`seed ${seed}`);
const fuzz = await startFuzz(seed);
let said = Date.now();
console.log(`${await fuzz.replay()} kept streams`);
await fuzz.random({ streams, ms: minutes * 60_000, progress: () => {
    if (Date.now() - said < SAY_MS)
        return;
    said = Date.now();
    console.log(fuzz.text);
} });
await fuzz.stop();
console.log(fuzz.text);
process.exit(fuzz.finds > 0 ? 1 : 0);
