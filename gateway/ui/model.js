/* SPDX-License-Identifier: MIT */
/* What the gateway has told so far. */

const POINTS_MAX = 180;
const EVENTS_MAX = 500;
const SAMPLE_EVERY_MS = 5000;
const SAMPLES_MAX = 180;

export class Model {
  status = null;
  backends = [];
  points = []; /* oldest first */
  stepS = 5;
  events = []; /* oldest first */
  samples = []; /* totals as they were, oldest first */

  take({ status, backends, history, point, events }) {
    if (history) {
      /* Another process counts from nothing. */
      if (status?.started !== this.status?.started) {
        this.events = [];
        this.samples = [];
      }
      this.points = history.points.slice(-POINTS_MAX);
      this.stepS = history.step_s;
    }
    if (point) this.#addPoint(point);
    if (backends) this.backends = backends;
    if (status) this.#addStatus(status);
    if (events) this.addEvents(events);
  }

  #addPoint(point) {
    if (this.points.at(-1)?.time === point.time) this.points.pop();
    this.points.push(point);
    if (this.points.length > POINTS_MAX) this.points.shift();
  }

  #addStatus(status) {
    this.status = status;
    const now = performance.now();
    const last = this.samples.at(-1);
    if (last && now - last.at < SAMPLE_EVERY_MS) return;
    this.samples.push({ at: now, totals: status.totals });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  addEvents(events) {
    const have = new Set(this.events.map(({ seq }) => seq));
    const fresh = events.filter(({ seq }) => !have.has(seq));
    if (fresh.length === 0) return;
    this.events = [...this.events, ...fresh]
      .sort((a, b) => a.seq - b.seq)
      .slice(-EVENTS_MAX);
  }

  /* How far the points reach back, in seconds. */
  get reachS() {
    return this.points.length * this.stepS;
  }

  /* Failures of upgrades while the page looked on, or, where there were none,
   * since the start of the process. */
  upgradeFailures() {
    const total = this.status.totals.upgrade_failures;
    const before = this.samples[0]?.totals.upgrade_failures ?? {};
    const recent = Object.entries(total).map(([why, number]) => [
      why,
      Math.max(0, number - (before[why] ?? 0)),
    ]);
    const isAny = recent.some(([, number]) => number > 0);
    return isAny ? recent : Object.entries(total);
  }
}
