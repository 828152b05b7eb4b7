/* SPDX-License-Identifier: MIT */
/* Redis goes away, and new sessions are to be refused meanwhile. */
import { describe, test } from 'node:test';
import { OUTAGES, outageTest } from './lib/outages.mjs';

const SESSIONS = 24;

describe('no session is lost, but new ones are refused, when', () => {
  for (const [name, outage] of Object.entries(OUTAGES))
    if (outage.refuses)
      test(name, (t) =>
        outageTest(t, outage, { count: SESSIONS, policy: 'closed' }),
      );
});
