/* SPDX-License-Identifier: MIT */
/* When this process stood still, and with it the machine: what took long
 * meanwhile was nobody's fault. All times are Date.now(). */

const EVERY_MS = 20;
const LONG_MS = 100; /* less is nothing to speak of */

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

  /* For how many ms of that time it did. */
  within(from, to = Date.now()) {
    this.#look();
    return this.#gaps.reduce((sum, gap) => {
      const both = Math.min(to, gap.to) - Math.max(from, gap.from);
      return sum + Math.max(0, both);
    }, 0);
  }

  /* How long ago that was, without it. */
  since(from, to = Date.now()) {
    return to - from - this.within(from, to);
  }
}
