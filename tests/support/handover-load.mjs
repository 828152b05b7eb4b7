/* SPDX-License-Identifier: MIT */
/* What goes on while a gateway is upgraded: echoing tunnels, polls and new
 * sessions, of which nothing may be lost. */

import assert from 'node:assert/strict';

import { sidRequest } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { connect, openSession, openTunnel, polls } from './handover.mjs';
import { eventually } from './wire.mjs';

/* A tunnel that sends numbered frames and checks each that comes back. */
class Echo {
    constructor(wire)
    {
        this.wire = wire;
        this.waiting = []; /* {bytes, at} */
        this.sent = 0;
        this.back = 0;
        this.longest = 0;
        this.fault = null;
        this.rest = Buffer.alloc(0);
        wire.sink = (chunk) => this.#take(chunk);
    }

    #take(chunk)
    {
        this.rest = Buffer.concat([this.rest, chunk]);
        while (this.waiting.length > 0 &&
               this.rest.length >= this.waiting[0].bytes.length) {
            const { bytes, at } = this.waiting.shift();
            const got = this.rest.subarray(0, bytes.length);
            if (!got.equals(bytes))
                this.fault ??= `${this.back}: ${got.toString('hex')}`;
            this.rest = this.rest.subarray(bytes.length);
            this.longest = Math.max(this.longest, performance.now() - at);
            this.back++;
        }
        if (this.waiting.length === 0 && this.rest.length > 0)
            this.fault ??= `more came: ${this.rest.toString('hex')}`;
    }

    say()
    {
        const bytes = frame(TEXT, `n${this.sent++}`, { mask: true });
        this.waiting.push({ bytes, at: performance.now() });
        this.wire.send(bytes);
    }
}

/*
 * Tunnels that echo, polls and new sessions, all at once and for as long as it
 * runs. Gives {check(), stop(), longest()}; check and stop reject when
 * anything was lost.
 */
export async function startLoad(port, { tunnels = 20, pollers = 10,
                                        openers = 1, every = 30,
                                        secure } = {})
{
    const more = secure === undefined ? {} : { secure };
    const echoing = [];
    for (let i = 0; i < tunnels; i++)
        echoing.push(new Echo(await openTunnel(port, more)));
    const faults = [];
    let isOver = false;
    let answers = 0;
    let opened = 0;
    let slowest = 0;
    const timer = setInterval(() => echoing.forEach((one) => one.say()),
                              every);
    timer.unref(); /* a test that fails does not stop it */

    async function poller()
    {
        const wire = await connect(port, more);
        const sid = await openSession(port, { wire });
        for (let n = 0; !isOver; n++) {
            const began = performance.now();
            wire.send(sidRequest(sid, { more: `&n=${n}&wait=100` }));
            const got = await wire.response('GET', 20_000);
            assert.match(`${got.status} ${got.text}`,
                         new RegExp(`^200 4n\\d+ ${n}$`));
            slowest = Math.max(slowest, performance.now() - began - 100);
            wire.send(sidRequest(sid, { method: 'POST', body: `4${n}` }));
            const sent = await wire.response('POST', 20_000);
            assert.equal(`${sent.status} ${sent.text}`, '200 ok');
            answers += 2;
        }
        wire.destroy();
    }

    async function opener()
    {
        while (!isOver) {
            await polls(port, await openSession(port, { ...more, ms: 20_000 }),
                        { ...more, ms: 20_000 });
            opened++;
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    }

    const running = [
        ...Array.from({ length: pollers }, poller),
        ...Array.from({ length: openers }, opener),
    ].map((one) => one.catch((error) => faults.push(String(error))));

    function check()
    {
        assert.deepEqual(faults, []);
        for (const { wire, fault } of echoing) {
            assert.equal(fault, null);
            assert.ok(!wire.over, `a tunnel ended: ${wire.describe()}`);
        }
    }

    /* Everything that has been sent up to now comes back. */
    async function settles(ms = 20_000)
    {
        const marks = echoing.map(({ sent }) => sent);
        const wanted = answers + 2 * pollers;
        const sessions = opened + openers;
        await eventually(() => {
            check();
            return echoing.every(({ back }, i) => back >= marks[i]) &&
                (pollers === 0 || answers >= wanted) &&
                (openers === 0 || opened >= sessions);
        }, 'everything back', ms);
    }

    async function stop()
    {
        clearInterval(timer);
        isOver = true;
        try {
            await Promise.all(running);
            await eventually(() => echoing.every(({ waiting }) =>
                waiting.length === 0), 'all echoes', 20_000);
            check();
        } finally {
            echoing.forEach(({ wire }) => wire.destroy());
        }
    }

    return {
        echoing, check, settles, stop,
        counts: () => ({ answers, opened }),
        longest: () => Math.round(Math.max(slowest,
            ...echoing.map(({ longest }) => longest))),
        forget: () => {
            slowest = 0;
            echoing.forEach((one) => (one.longest = 0));
        },
    };
}
