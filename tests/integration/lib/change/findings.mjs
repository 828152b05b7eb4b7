/* SPDX-License-Identifier: MIT */
/* What a change brought about: facts to tell, and what should not have been. */
import assert from 'node:assert/strict';
import { Stillness } from '../stillness.mjs';

export const STALL_MS = 4000; /* what a busy machine may do by itself */
export const SLOW_FACTOR = 4; /* with sanitizers */

function some(list) {
  const more = list.length > 4 ? ` … ${list.length} in all` : '';
  return JSON.stringify(list.slice(0, 4)) + more;
}

export class Findings {
  problems = [];
  facts = {};
  logs = ''; /* of the gateways, for whoever looks into a problem */
  still = new Stillness();

  note(facts) {
    Object.assign(this.facts, facts);
  }

  expect(condition, text) {
    if (!condition) this.problems.push(text);
  }

  none(list, what) {
    if (list.length > 0)
      this.problems.push(`${list.length} ${what}: ${some(list)}`);
  }

  equal(actual, expected, what) {
    this.expect(
      actual === expected,
      `${what}: ${actual} instead of ${expected}`,
    );
  }

  /* Nobody but `except` was disconnected or saw an error since then, and no
   * message took longer than `ms`, beside what the machine did. */
  unnoticed(report, { since = 0, except = [], ms = STALL_MS, during } = {}) {
    const involved = new Set(except);
    const others = new Set(
      report.members.map(({ id }) => id).filter((id) => !involved.has(id)),
    );
    const ofOthers = ({ id }) => others.has(id);
    this.none(report.ends(since).filter(ofOthers), `cut ${during}`);
    this.none(report.errors(since).filter(ofOthers), `errors ${during}`);
    const worst = report.worst(others);
    const { at = 0 } = worst;
    this.expect(
      worst.ms - this.still.within(at, at + worst.ms) <= ms,
      `a message waited ${worst.ms} ms ${during}: ${JSON.stringify(worst)}`,
    );
    this.note({ [`longest wait ${during}, ms`]: worst.ms });
  }

  /* Each message of a session that lives came back once, unchanged, in order
   * and from the same node; no visitor failed. */
  whole(report) {
    this.none(report.faults, 'messages lost, doubled or changed');
    this.none(report.missing, 'sessions whose messages did not come back');
    this.none(report.failedVisits, 'failed visits');
    this.note({
      messages: report.sent,
      visits: report.visits.length,
      'longest visit, ms': Math.max(0, ...report.visits.map(({ ms }) => ms)),
    });
  }

  toString() {
    return [
      ...this.problems.map((text) => `PROBLEM ${text}`),
      ...Object.entries(this.facts).map(
        ([name, value]) => `${name}: ${JSON.stringify(value)}`,
      ),
    ].join('\n');
  }
}

/* A scenario as a test: `run(findings)`. */
export async function judged(t, run) {
  const findings = new Findings();
  await run(findings);
  t.diagnostic(String(findings).replaceAll('\n', '; '));
  assert.deepEqual(findings.problems, [], String(findings));
}
