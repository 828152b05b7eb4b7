/* SPDX-License-Identifier: MIT */
/* Redis goes away under live sessions. */
import { describe, test } from 'node:test';
import { OUTAGES, outageTest } from './lib/outages.mjs';

const SESSIONS = 60;
const AWAY = [
  'Redis is killed and starts again, empty',
  'Redis is stopped for 5 s',
  'Redis starts again at once',
  'all connections are cut, again and again',
];

describe('no session is lost, and new ones are served, when', () => {
  for (const name of AWAY)
    test(name, (t) =>
      outageTest(t, OUTAGES[name], { count: SESSIONS, policy: 'open' }),
    );
});
