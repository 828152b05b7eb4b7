/* SPDX-License-Identifier: MIT */
/* Upgrades of the gateway, its signals, and a configuration that changes with
 * them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { closeFrame, frame, TEXT } from '../support/frames.mjs';
import { gatewayBinary, spawnGateway } from '../support/gateway.mjs';
import { connect, folderOf, gone, hasTurned, isGone, openSession, openTunnel,
         polls, signal, upgradable } from '../support/handover.mjs';
import { startLoad } from '../support/handover-load.mjs';
import { ctl, NO_LEAK_CHECK } from '../support/operator.mjs';
import { quietPort } from '../support/ports.mjs';
import { eventually } from '../support/wire.mjs';

const PLAIN = { secure: false };

const start = (t, more) => upgradable(t, { listen: ['127.0.0.1:0'], ...more });

async function echoes(wire, text)
{
    const bytes = frame(TEXT, text, { mask: true });
    wire.send(bytes);
    assert.deepEqual(await wire.bytes(bytes.length), bytes);
}

describe('signals around an upgrade', () => {
    test('SIGTERM to the old process after it', async (t) => {
        const { gateway, backend } = await start(t);
        const wire = await connect(gateway.port, PLAIN);
        const sid = await openSession(gateway.port, { wire });
        const tunnel = await openTunnel(gateway.port, PLAIN);
        wire.send(`GET /socket.io/?EIO=4&transport=polling&sid=${sid}` +
            '&wait=held&n=1 HTTP/1.1\r\nHost: h\r\n\r\n');
        await eventually(() => backend.held.length === 1, 'held');
        const old = await gateway.upgrade();
        process.kill(old, 'SIGTERM');
        await sleep(200);
        await echoes(tunnel, 'unmoved');
        backend.letGo();
        assert.equal((await wire.response()).text, '4n1 1');
        await gone(old, 9000);
        await echoes(tunnel, 'still');
        await polls(gateway.port, sid, PLAIN);
    });

    test('SIGTERM to the new process ends both', async (t) => {
        const { gateway, backend } = await start(t, {
            args: ['--shutdown-timeout', '8s'] });
        const wire = await connect(gateway.port, PLAIN);
        const sid = await openSession(gateway.port, { wire });
        const tunnel = await openTunnel(gateway.port, PLAIN);
        wire.send(`GET /socket.io/?EIO=4&transport=polling&sid=${sid}` +
            '&wait=held&n=1 HTTP/1.1\r\nHost: h\r\n\r\n');
        await eventually(() => backend.held.length === 1, 'held');
        const old = await gateway.upgrade();
        process.kill(gateway.pid, 'SIGTERM');
        const bye = closeFrame(1001);
        assert.deepEqual(await tunnel.bytes(bye.length), bye);
        tunnel.destroy();
        await gone(gateway.pid, 10_000);
        await hasTurned(old); /* it knows that nobody takes the connection */
        assert.ok(!isGone(old));
        backend.letGo();
        const answer = await wire.response();
        assert.equal(answer.text, '4n1 1');
        assert.match(answer.all('connection').join(), /close/);
        wire.finish();
        await gone(old, 9000);
    });

    test('SIGTERM during it', async (t) => {
        for (let i = 0; i < 6; i++) {
            await t.test(`after ${i * 8} ms`, async (inner) => {
                /* One that ends already may be ended by the signal. */
                const { gateway } = await start(inner, { isOrdered: false });
                const tunnel = await openTunnel(gateway.port, PLAIN);
                const old = gateway.pid;
                gateway.begin();
                await sleep(i * 8);
                signal(old, 'SIGTERM');
                /* Either it ends, or the new one has everything. */
                await eventually(() => tunnel.buffer.length > 0 ||
                    / ready .*pid=.* ready .*pid=/s.test(gateway.stderr()),
                    'an outcome', 40_000);
                if (tunnel.buffer.length > 0) {
                    const bye = closeFrame(1001);
                    assert.deepEqual(await tunnel.bytes(bye.length), bye);
                    assert.equal(tunnel.buffer.length, 0);
                    tunnel.destroy();
                    await gone(old);
                } else {
                    gateway.pid = Number(/ upgraded .*\bpid=(\d+)/.exec(
                        gateway.stderr())[1]);
                    await echoes(tunnel, 'there');
                }
            });
        }
    });

    test('SIGHUP and SIGUSR2 again during it', async (t) => {
        const { gateway } = await start(t, { count: 2 });
        const load = await startLoad(gateway.port, PLAIN);
        for (let i = 0; i < 4; i++) {
            const mark = gateway.begin();
            signal(gateway.pid, 'SIGHUP');
            await sleep(i * 10);
            /* It may have come to its end already. */
            signal(gateway.pid, 'SIGHUP');
            signal(gateway.pid, 'SIGUSR2');
            await gateway.logged(/ ready .*\bpid=/, mark);
            const text = gateway.since(mark);
            gateway.pid = Number(/ upgraded .*\bpid=(\d+)/.exec(text)[1]);
            assert.doesNotMatch(text, / reload_failed /);
        }
        await load.settles();
        await load.stop();
    });

    test('ctl upgrade, and what the API says of it', async (t) => {
        const { gateway } = await start(t);
        assert.equal((await gateway.see('/api/v1/upgrade')).state, 'idle');
        const mark = gateway.mark;
        const { code, error } = await ctl(['--admin',
            `127.0.0.1:${gateway.adminPort}`, 'upgrade']);
        assert.equal(code, 0, error);
        const old = await gateway.succeeds(mark);
        const state = await gateway.see('/api/v1/upgrade');
        assert.equal(state.state, 'done');
        assert.equal(state.pid, gateway.pid);
        assert.equal(state.from, old);
        assert.equal((await gateway.get('/readyz')).status, 200);
    });
});

describe('a configuration that changes with the upgrade', () => {
    /* A gateway whose options are in a file: change(values) writes it. */
    async function configured(t, values)
    {
        const file = path.join(folderOf(t), 'sidgate.json');
        const change = (now) => writeFileSync(file, JSON.stringify(
            { listen: ['127.0.0.1:0'], ...now }));
        change(values);
        const world = await start(t, { workers: 0, listen: [],
                                       args: ['--config', file] });
        return { ...world, change };
    }

    test('other numbers of workers', async (t) => {
        const { gateway, change } = await configured(t, { workers: 4 });
        const load = await startLoad(gateway.port, { ...PLAIN, openers: 4 });
        for (const workers of [1, 4, 2, 3, 1, 4]) {
            change({ workers });
            const mark = gateway.mark;
            /* These wait to be accepted, and some of them in between. */
            const waiting = Array.from({ length: 60 }, async (_, i) => {
                await sleep(i * 2);
                return openSession(gateway.port, { ...PLAIN, ms: 20_000 });
            });
            await gateway.upgrade();
            assert.match(gateway.since(mark),
                         new RegExp(` ready .*\\bworkers=${workers} `));
            await Promise.all(waiting);
            await load.settles();
        }
        await load.stop();
    });

    test('a listener comes and goes', async (t) => {
        const unix = path.join(folderOf(t), 'more.sock');
        const { gateway, change } = await configured(t, { workers: 2 });
        const more = `127.0.0.1:${await quietPort()}`;
        const port = Number(more.split(':')[1]);
        const sid = await openSession(gateway.port, PLAIN);
        await assert.rejects(polls(port, sid, PLAIN));
        change({ workers: 2, listen: ['127.0.0.1:0', more, `unix:${unix}`] });
        await gateway.upgrade();
        await polls(port, sid, PLAIN);
        await polls(0, sid, { ...PLAIN, path: unix });
        await polls(gateway.port, sid, PLAIN);
        change({ workers: 2 });
        await gateway.upgrade();
        await polls(gateway.port, sid, PLAIN);
    });

    test('one that is broken, or has no longer what lives', async (t) => {
        const { gateway, change } = await configured(t, { workers: 2 });
        const load = await startLoad(gateway.port, PLAIN);
        for (const bad of [{ workers: 0 }, { no_such: 1 },
                           { listen: ['127.0.0.1:0', '192.0.2.1:1'] },
                           { listen: ['127.0.0.1:0',
                                      '127.0.0.3:0,tls'] }]) {
            change(bad);
            assert.match(await gateway.upgradeFails(), /./);
            await load.settles();
        }
        change({ workers: 3 });
        await gateway.upgrade();
        await load.settles();
        await load.stop();
    });

    test('the operator\'s port of the kernel\'s choice stays', async (t) => {
        const { gateway } = await start(t);
        for (let i = 0; i < 3; i++) {
            await gateway.upgrade();
            assert.equal((await gateway.get('/healthz')).status, 200);
        }
        const ports = [...gateway.stderr().matchAll(
            / ready .*admin=127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
        assert.equal(new Set(ports).size, 1);
        assert.equal(ports.length, 4);
    });
});

describe('where it cannot be done', () => {
    test('with --seccomp', async (t) => {
        const { gateway } = await start(t, { args: ['--seccomp'],
                                             env: NO_LEAK_CHECK });
        const tunnel = await openTunnel(gateway.port, PLAIN);
        const mark = gateway.mark;
        assert.match(await gateway.upgradeFails(), /seccomp/);
        assert.equal(gateway.since(mark).trim().split('\n').length, 1);
        await echoes(tunnel, 'unmoved');
    });

    const unshared = spawnSync('unshare', ['--pid', '--fork', '--kill-child',
                                           'true']);
    test('as process 1', {
        skip: unshared.status !== 0 && `unshare: ${unshared.stderr}`,
    }, async (t) => {
        const run = spawnGateway(['--pid', '--fork', '--kill-child',
            gatewayBinary(), '--listen', '127.0.0.1:0', '--backend',
            '127.0.0.1:9'], {}, '/usr/bin/unshare');
        t.after(async () => {
            run.child.kill('SIGKILL');
            await run.exited;
        });
        await eventually(() => / ready /.test(run.stderr()), 'ready', 30_000);
        const { stdout } = spawnSync('pgrep', ['-P', String(run.child.pid)]);
        process.kill(Number(stdout), 'SIGUSR2');
        await eventually(() => / upgrade_failed /.test(run.stderr()), 'why');
        assert.match(run.stderr(), /process 1 of its container/);
    });
});
