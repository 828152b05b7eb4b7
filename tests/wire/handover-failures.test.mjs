/* SPDX-License-Identifier: MIT */
/* A new process that does not get through: the old one goes on whole. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { folderOf, gone, isGone, isStopped, program, signal, upgradable }
    from '../support/handover.mjs';
import { startLoad } from '../support/handover-load.mjs';
import { descriptors } from '../support/process.mjs';
import { eventually } from '../support/wire.mjs';

const SOURCE = fileURLToPath(new URL('../support/halt_at.c', import.meta.url));
const PLAIN = { secure: false };
const STEPS_MAX = 200;
const PATIENCE_MS = 2000; /* of the old process, at the least */
const LONG_MS = 240_000;

/* A gateway that lives while programs in its place come to nothing. */
async function start(t, more = {})
{
    const own = program(t);
    const world = await upgradable(t, { listen: ['127.0.0.1:0'], count: 2,
                                        binary: own.path, ...more });
    const load = await startLoad(world.gateway.port,
                                 { ...PLAIN, tunnels: 10, pollers: 5 });
    return { ...world, program: own, load };
}

/* It serves everybody, and an upgrade to the real program succeeds. */
async function isWhole({ gateway, program: own, load })
{
    await load.settles();
    own.becomes(null);
    await gateway.upgrade();
    await load.settles();
    await load.stop();
}

/* The last process that was started is gone. */
async function childIsGone(gateway)
{
    await gone(gateway.all.at(-1));
    assert.notEqual(gateway.all.at(-1), gateway.pid);
}

const python = (text) => `#!/usr/bin/env python3
import os, socket, struct, sys, time
s = socket.socket(fileno=int(os.environ["SIDGATE_UPGRADE_FD"]))
def send(type, body=b""):
    s.send(bytes([type]) + body)
def hello(version=1):
    send(1, struct.pack("QQ", version, os.getpid()))
${text}
`;

describe('programs that are none', () => {
    const cases = [
        ['ends at once', '#!/bin/sh\nexit 3\n', /ended/],
        ['is killed at once', '#!/bin/sh\nkill -9 $$\n', /ended/],
        ['is another program', '#!/bin/sh\nexec true\n', /ended/],
        ['speaks rubbish', python('s.send(b"what do you want")\n' +
            'time.sleep(60)'), /does not answer as it should/],
        ['says too much', python('s.send(b"\\1" * 150000)\ntime.sleep(60)'),
         /version|as it should/],
        ['says nothing in a message', python('s.send(b"")\ntime.sleep(60)'),
         /ended|as it should/],
        ['is of another version', python('hello(99)\ntime.sleep(60)'),
         /version/],
        ['greets twice', python('hello()\nhello()\ntime.sleep(60)'),
         /as it should/],
        ['says COMMITTED first', python('send(14)\ntime.sleep(60)'),
         /as it should/],
        ['is prepared too early', python('hello()\nsend(12)\ntime.sleep(60)'),
         /as it should/],
        ['says why it fails', python('hello()\nsend(19, b"no \\"luck\\"")\n' +
            'time.sleep(60)'), /no .*luck/],
        ['opens and ends', python('hello()\nsend(6)'), /ended/],
        ['opens and is prepared before the rest',
         python('hello()\nsend(6)\nsend(12)\ntime.sleep(60)'), /./],
        ['sends descriptors', python('socket.send_fds(s, [b"x"], [0, 1])\n' +
            'time.sleep(60)'), /as it should/],
        ['sends too many descriptors',
         python('socket.send_fds(s, [b"x"], [0] * 50)\ntime.sleep(60)'), /./],
    ];
    for (const [name, text, why] of cases)
        test(`one that ${name}`, { timeout: LONG_MS }, async (t) => {
            const world = await start(t);
            world.program.becomes(text);
            assert.match(await world.gateway.upgradeFails(), why);
            await childIsGone(world.gateway);
            await isWhole(world);
        });

    test('one that cannot be run', async (t) => {
        const world = await start(t);
        world.program.becomes('#!/bin/sh\nexit 0\n', 0o644);
        assert.match(await world.gateway.upgradeFails(), /cannot be run/);
        world.program.becomes('#!/no/such/interpreter\n');
        assert.match(await world.gateway.upgradeFails(), /cannot be started/);
        await isWhole(world);
    });

    test('nothing stays open after many of them', async (t) => {
        const world = await start(t);
        const { gateway } = world;
        await world.load.stop();
        await eventually(async () =>
            await gateway.metric('sidgate_connections') === 0, 'idle');
        const open = descriptors(gateway.pid).length;
        for (const [, text] of cases) {
            world.program.becomes(text);
            await gateway.upgradeFails();
        }
        await eventually(() => descriptors(gateway.pid).length <= open,
                         'nothing stays open');
    });

    test('one that says nothing: no second upgrade meanwhile', async (t) => {
        const world = await start(t);
        const { gateway } = world;
        world.program.becomes('#!/bin/sh\nexec sleep 100\n');
        const mark = gateway.begin();
        await gateway.logged(/ upgrade_begun /, mark);
        assert.match(await gateway.upgradeFails(), /under way already/);
        await world.load.settles();
        assert.equal((await gateway.see('/api/v1/upgrade')).state, 'starting');
        signal(gateway.all.at(-1), 'SIGKILL');
        await gateway.logged(/ upgrade_failed why=.*ended/, mark);
        assert.equal((await gateway.see('/api/v1/upgrade')).state, 'failed');
        await isWhole(world);
    });

    test('the next attempt comes before the end of the last one',
         async (t) => {
        const world = await start(t);
        for (let i = 0; i < 5; i++) {
            world.program.becomes(python('send(14)\ntime.sleep(60)'));
            await world.gateway.upgradeFails();
            world.program.becomes(null);
            await world.gateway.upgrade();
        }
        await isWhole(world);
    });

    test('SIGTERM while it says nothing ends both', async (t) => {
        const world = await start(t);
        const { gateway } = world;
        world.program.becomes('#!/bin/sh\nexec sleep 100\n');
        const mark = gateway.begin();
        await gateway.logged(/ upgrade_begun /, mark);
        await world.load.stop();
        await gateway.end();
        assert.ok(gateway.all.length === 2 && gateway.all.every(isGone));
    });
});

describe('a new process that breaks at any step', () => {
    /* What it is: the real one with the library before it. */
    function halting(t, own)
    {
        const library = path.join(folderOf(t), 'halt_at.so');
        execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-D_GNU_SOURCE', '-o',
                             library, SOURCE, '-ldl'], { timeout: 60_000 });
        return (at, how) => own.becomes('#!/bin/bash\n' +
            `export LD_PRELOAD=${library} HALT_AT=${at} HALT_HOW=${how}\n` +
            'export ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0\n' +
            `exec -a ${own.path} ${own.real} "$@"\n`);
    }

    /* Resolves when it stops, or when there is an end without that. */
    async function outcome(gateway, mark)
    {
        let how;
        await eventually(() => {
            const text = gateway.since(mark);
            how = isStopped(gateway.all.at(-1)) ? 'stopped' :
                / (ready|upgrade_failed) .*\n/.exec(text)?.[1];
            return how;
        }, 'it stops', 40_000);
        return how;
    }

    /* It was given up, which may be only when it was stopped for long: where
     * this machine stood still. The step is taken again. */
    async function again(gateway, began)
    {
        const ms = performance.now() - began;
        assert.ok(ms >= PATIENCE_MS, `given up after ${ms} ms`);
        await childIsGone(gateway);
        return null;
    }

    /* Breaks at each step in turn, up to the first that is past the end.
     * once(gateway, mark, began) settles one attempt; it gives whether that
     * was the end, and null where the step has to be taken again. */
    async function eachStep(t, how, once)
    {
        const world = await start(t, { isOrdered: false });
        const { gateway, load } = world;
        const halts = halting(t, world.program);
        await load.settles();
        let step = 1;
        for (let isDone = false; !isDone;) {
            assert.ok(step < STEPS_MAX, 'no end of steps');
            halts(step, how);
            const began = performance.now();
            const mark = gateway.begin();
            await gateway.logged(/ upgrade_begun .*\n/, mark);
            isDone = await once(gateway, mark, began);
            await load.settles();
            step += isDone !== null;
        }
        t.diagnostic(`${step - 2} steps`);
        assert.ok(step > 20, `only ${step} steps`);
        await isWhole(world);
    }

    for (const how of ['exit', 'kill'])
        test(`${how}`, { timeout: LONG_MS }, (t) => eachStep(t, how,
            async (gateway, mark) => {
                await gateway.logged(/ (upgrade_failed|ready) .*\n/, mark);
                if (/ ready /.test(gateway.since(mark))) {
                    await gateway.succeeds(mark);
                    return true;
                }
                await childIsGone(gateway);
                assert.doesNotMatch(gateway.since(mark), / handed_over /);
                return false;
            }));

    test('stopped for a moment', { timeout: LONG_MS }, (t) => eachStep(t,
        'stop', async (gateway, mark, began) => {
            const how = await outcome(gateway, mark);
            await sleep(20);
            if (how === 'stopped')
                signal(gateway.all.at(-1), 'SIGCONT');
            await gateway.logged(/ (upgrade_failed|ready) .*\n/, mark);
            if (/ upgrade_failed /.test(gateway.since(mark)))
                return again(gateway, began);
            await gateway.succeeds(mark);
            return how === 'ready';
        }));

    test('stopped, then killed', { timeout: LONG_MS }, (t) => eachStep(t,
        'stop', async (gateway, mark, began) => {
            const how = await outcome(gateway, mark);
            if (how === 'upgrade_failed')
                return again(gateway, began);
            if (how === 'ready') {
                await gateway.succeeds(mark);
                return true;
            }
            await sleep(20);
            if (/ handed_over /.test(gateway.since(mark))) {
                signal(gateway.all.at(-1), 'SIGCONT');
                await gateway.succeeds(mark);
                return true;
            }
            signal(gateway.all.at(-1), 'SIGKILL');
            await gateway.logged(/ upgrade_failed /, mark);
            return false;
        }));

    test('stopped for ever with everything in its hands', async (t) => {
        const world = await start(t, { isOrdered: false });
        const { gateway, load, program: own } = world;
        const halts = halting(t, own);
        /* Which step says COMMITTED differs by what is idle: it is among the
         * last ones of a hand-over. */
        let last = 0;
        for (let step = 1; last === 0; step++) {
            halts(step, 'exit');
            const mark = gateway.begin();
            await gateway.logged(/ (upgrade_failed|ready) .*\n/, mark);
            if (/ ready /.test(gateway.since(mark))) {
                await gateway.succeeds(mark);
                last = step - 1;
            }
        }
        let failures = 0;
        /* A hand-over may have fewer steps than the one before. */
        for (let step = last; step > last - 10 &&
             (failures === 0 || step >= last - 1); step--) {
            halts(step, 'stop');
            const mark = gateway.begin();
            await gateway.logged(/ (upgrade_failed|ready) .*\n/, mark, 30_000);
            if (/ ready /.test(gateway.since(mark))) {
                await gateway.succeeds(mark);
            } else {
                failures++;
                await childIsGone(gateway);
            }
            await load.settles(30_000);
        }
        assert.ok(failures > 0);
        await isWhole(world);
    });
});
