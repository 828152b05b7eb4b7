/* SPDX-License-Identifier: MIT */
/* When this process stood still, and with it the machine: what took long
 * meanwhile was nobody's fault. All times are Date.now(). */

const EVERY_MS = 20;
const LONG_MS = 100; /* less is nothing to speak of */
const FOUND_MS = 100; /* until all that waited was read */

/* How many ms of that time the gaps are. */
export function overlap(gaps, from, to) {
  return gaps.reduce((sum, gap) => {
    const both = Math.min(to, gap.to) - Math.max(from, gap.from);
    return sum + Math.max(0, both);
  }, 0);
}

/* Times that were noted by a process with these gaps: what it found at the end
 * of one came in its course, evenly as far as anybody knows. */
export function evened(times, gaps, since) {
  return gaps.reduce((all, { from, to }) => {
    const begin = Math.max(from, since);
    const isLate = (time) => time > from && time <= to + FOUND_MS;
    const count = all.filter(isLate).length;
    let nth = 0;
    return all.map((time) =>
      isLate(time) ? begin + ((to - begin) * (nth++ + 0.5)) / count : time,
    );
  }, times);
}

export class Stillness {
  #gaps = [];
  #last = Date.now();

  constructor() {
    setInterval(() => this.#look(), EVERY_MS).unref();
  }

  #look() {
    const now = Date.now();
    if (now - this.#last > LONG_MS)
      this.#gaps.push({ from: this.#last, to: now });
    this.#last = now;
  }

  /* All such times, as {from, to}. */
  get gaps() {
    this.#look();
    return this.#gaps;
  }

  /* For how many ms of that time it did. */
  within(from, to = Date.now()) {
    return overlap(this.gaps, from, to);
  }

  /* How long ago that was, without it. */
  since(from, to = Date.now()) {
    return to - from - this.within(from, to);
  }
}
