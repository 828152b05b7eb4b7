/* SPDX-License-Identifier: MIT */
/* Both directions, for so many streams or so long, and what was kept. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Chance } from './chance.mjs';
import { pieces } from './mutate.mjs';
import { RequestRun } from './request-run.mjs';
import { ResponseRun, plan } from './response-run.mjs';
import { answer } from './responses.mjs';

const BATCH = 1000;
const KEPT = fileURLToPath(new URL('../corpus/differential', import.meta.url));
const FINDS = fileURLToPath(
    new URL('../../../build/fuzz/differential', import.meta.url));

/* Keeps the bytes of a mismatch as a file of the form that replay() reads. */
function keep(name, bytes)
{
    mkdirSync(FINDS, { recursive: true });
    const path = join(FINDS, name);
    writeFileSync(path, bytes);
    return path;
}

class Fuzz {
    constructor(seed, say)
    {
        this.seed = seed;
        this.say = say;
        this.count = 0;
        this.finds = 0;
    }

    async start()
    {
        this.requests = await new RequestRun((why, bytes) =>
            this.#mismatch(why, bytes.length ? [['requests', bytes]] : []))
            .start();
        this.responses = await new ResponseRun((why, plans) =>
            this.#mismatch(why, plans.map(({ method, bytes }) => ['responses',
                Buffer.concat([Buffer.from(`${method}\n`), bytes])]))).start();
        return this;
    }

    #mismatch(why, messages)
    {
        const number = this.finds++;
        this.say(`mismatch ${number}: ${why.slice(0, 4000)}`);
        messages.forEach(([kind, bytes], i) => this.say('  in ' +
            keep(`${kind}-${this.seed}-${number}.${i}`, bytes)));
    }

    /* Stream `n` is the same for the same seed, whatever came before. */
    #chance()
    {
        return new Chance(Math.imul(this.seed, 1000003) + this.count);
    }

    async #batch(run, size)
    {
        let left = size;
        await run.lanes(() => {
            if (left-- <= 0)
                return null;
            this.count++;
            const chance = this.#chance();
            return () => run.random(chance);
        });
        await run.check();
    }

    async random({ streams = Infinity, ms = Infinity, progress = () => {} })
    {
        const end = Date.now() + ms;
        while (this.count < streams && Date.now() < end) {
            const size = Math.min(BATCH, Math.ceil((streams - this.count) / 2));
            await this.#batch(this.requests, size);
            await this.#batch(this.responses, size);
            progress(this);
        }
    }

    /* Each kept stream in several cuts, which must all come to the same. */
    async replay(folder = KEPT)
    {
        let count = 0;
        for (const [kind, replay] of [['requests', (b) => this.#request(b)],
            ['responses', (b) => this.#response(b)]]) {
            for (const name of readdirSync(join(folder, kind))) {
                await replay(readFileSync(join(folder, kind, name)));
                count++;
            }
        }
        return count;
    }

    async #request(bytes)
    {
        const single = Array.from(bytes.subarray(0, 3000),
                                  (_, i) => bytes.subarray(i, i + 1));
        for (const list of [[bytes], [...single, bytes.subarray(3000)],
            pieces(bytes, this.#chance())])
            await this.requests.one({ bytes, list, until: 0, about: 'kept' });
    }

    /* Before and behind it stand answers that are right. */
    async #response(file)
    {
        const line = file.indexOf('\n');
        const method = file.toString('latin1', 0, line);
        const bytes = file.subarray(line + 1);
        const chance = new Chance(1);
        const right = () => {
            const token = chance.token();
            const one = answer(chance, token, 'GET');
            return plan('GET', token, one, [one]);
        };
        const single = Array.from(bytes.subarray(0, 3000),
                                  (_, i) => bytes.subarray(i, i + 1));
        for (const list of [[bytes], [...single, bytes.subarray(3000)]])
            await this.responses.one([right(),
                plan(method, chance.token(), bytes, list), right()]);
    }

    async stop()
    {
        await this.requests.stop();
        await this.responses.stop();
    }

    get text()
    {
        return ['requests', 'responses'].map((kind) => {
            const { sums, rss } = this[kind];
            return `${kind}: ${sums.streams} streams, ${sums.requests} ` +
                `requests, ${sums.refusals} refusals, ${sums.mismatches} ` +
                `mismatches, RSS ${(rss / 2 ** 20).toFixed(1)} MiB`;
        }).join('\n');
    }

    get rss()
    {
        return Math.max(this.requests.rss, this.responses.rss);
    }
}

export function startFuzz(seed, say = console.log)
{
    return new Fuzz(seed >>> 0, say).start();
}
