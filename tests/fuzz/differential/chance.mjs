/* SPDX-License-Identifier: MIT */
/* Chance that a seed repeats. */

const WORDS = 2 ** 32;

export class Chance {
    constructor(seed)
    {
        this.state = seed >>> 0;
    }

    /* mulberry32 */
    word()
    {
        this.state = (this.state + 0x6d2b79f5) >>> 0;
        let x = this.state;
        x = Math.imul(x ^ (x >>> 15), x | 1);
        x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
        return (x ^ (x >>> 14)) >>> 0;
    }

    /* 0 to n - 1 */
    below(n)
    {
        return Math.floor(this.word() / WORDS * n);
    }

    between(low, high)
    {
        return low + this.below(high - low + 1);
    }

    /* true once in n times */
    once(n)
    {
        return this.below(n) === 0;
    }

    of(list)
    {
        return list[this.below(list.length)];
    }

    /* Nobody writes this by accident. */
    token()
    {
        return `N${this.word().toString(16).padStart(8, '0')}` +
            this.word().toString(16).padStart(8, '0');
    }

    text(length)
    {
        let out = '';
        while (out.length < length)
            out += this.word().toString(36);
        return out.slice(0, length);
    }
}
