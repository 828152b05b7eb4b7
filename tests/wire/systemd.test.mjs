/* SPDX-License-Identifier: MIT */
/* The service manager: what it is told, its watchdog, and its sockets. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
    existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startBackend } from '../support/backend.mjs';
import { gatewayBinary } from '../support/gateway.mjs';
import { isSanitized } from '../support/process.mjs';
import { connect, eventually, exchange, inTime } from '../support/wire.mjs';

const SERVICE = fileURLToPath(new URL('../support/service.py',
                                      import.meta.url));
const START_MS = 30_000;
const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';
const PLAIN = { secure: false };

function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-service-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

function environment()
{
    return Object.fromEntries(Object.entries(process.env)
        .filter(([name]) => !/^(SIDGATE|LISTEN|WATCHDOG|NOTIFY)_/.test(name)));
}

/*
 * A gateway with one backend under tests/support/service.py with these
 * `options`. Gives {backend, pid, ports, messages, told(line), stderr(),
 * stop(), ended}: messages are {from, lines}, told resolves to the first one with that
 * line behind those that are there already.
 */
async function serve(t, options, args)
{
    const backend = await startBackend({ id: 'n1' });
    t.after(() => backend.stop());
    const child = spawn('python3', [
        SERVICE, ...options, folder(t), gatewayBinary(),
        '--backend', `n1=127.0.0.1:${backend.port}`, ...args,
    ], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let text = '';
    let code = null;
    child.stdout.setEncoding('utf8').on('data', (chunk) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    const ended = new Promise((resolve) => child.once('close', (status) => {
        code = status;
        resolve(status);
    }));
    const whole = () => out.split('\n').slice(0, -1).map(JSON.parse);
    const run = {
        backend, ended,
        stderr: () => text,
        get messages() { return whole().slice(1); },
        stop: async (signal = 'SIGTERM') => {
            if (code === null)
                child.kill(signal);
            return ended;
        },
        told: async (line, since = 0) => {
            const find = () => whole().slice(1 + since)
                .find(({ lines }) => lines.includes(line));
            await eventually(() => find() || code !== null, line, START_MS);
            assert.ok(find(), `${line} was not told: ${out}${text}`);
            return find();
        },
    };
    t.after(async () => {
        await run.stop();
        assert.doesNotMatch(text, /Sanitizer|runtime error/);
    });
    await eventually(() => whole().length > 0 || code !== null, 'a process',
                     START_MS);
    assert.ok(whole().length > 0, text);
    return Object.assign(run, whole()[0]);
}

const ANY = ['--listen', '127.0.0.1:0'];

describe('notification', () => {
    for (const options of [[], ['--abstract']]) {
        test(`of start and end ${options}`, async (t) => {
            const run = await serve(t, options, ANY);
            const ready = await run.told('READY=1');
            assert.equal(ready.from, run.pid);
            assert.ok(ready.lines.some((line) => /^STATUS=./.test(line)));
            assert.match(run.stderr(), / info ready /);
            assert.deepEqual(run.messages, [ready]);
            assert.equal(await run.stop(), 0);
            assert.equal((await run.told('STOPPING=1')).from, run.pid);
            assert.equal(run.messages.filter(({ lines }) =>
                lines.includes('STOPPING=1')).length, 1);
        });
    }

    test('of the end while sessions go on', async (t) => {
        const run = await serve(t, [], [
            '--listen', '127.0.0.1:0', '--shutdown-delay', '1h']);
        await run.told('READY=1');
        process.kill(run.pid, 'SIGTERM');
        await run.told('STOPPING=1');
        process.kill(run.pid, 'SIGTERM');
        assert.equal(await run.ended, 0);
    });

    test('of a reload', async (t) => {
        const file = path.join(folder(t), 'sidgate.json');
        writeFileSync(file, '{"log_level": "info"}');
        const run = await serve(t, [], [...ANY, '--config', file]);
        await run.told('READY=1');
        for (const config of ['{"log_level": "debug"}', '{"log_levl": 1}']) {
            writeFileSync(file, config);
            const since = run.messages.length;
            const from = process.hrtime.bigint();
            process.kill(run.pid, 'SIGHUP');
            await run.told('READY=1', since);
            const [reloading, ready] = run.messages.slice(since);
            assert.equal(reloading.lines[0], 'RELOADING=1');
            assert.deepEqual(ready.lines[0], 'READY=1');
            const [, us] = /^MONOTONIC_USEC=(\d+)$/.exec(reloading.lines[1]);
            /* To the millisecond. */
            assert.ok(BigInt(us) >= from / 1000n - 1000n, `${us} ${from}`);
            assert.ok(BigInt(us) <= process.hrtime.bigint() / 1000n);
        }
        await eventually(() => / error reload_failed .*log_levl/
            .test(run.stderr()), 'it is told');
    });

    test('a start that fails tells nothing', async (t) => {
        const run = await serve(t, [], ['--listen', '192.0.2.1:1']);
        assert.equal(await run.ended, 1);
        assert.ok(!run.messages.some(({ lines }) =>
            lines.includes('READY=1')), run.stderr());
    });
});

describe('watchdog', () => {
    const beats = (run) => run.messages
        .filter(({ lines }) => lines.includes('WATCHDOG=1'));

    test('hears of us twice in its time', async (t) => {
        const run = await serve(t, ['--watchdog', '600000'], ANY);
        await run.told('READY=1');
        await inTime(async () => {
            const before = beats(run).length;
            const start = Date.now();
            await eventually(() => beats(run).length >= before + 6, 'beats',
                             START_MS);
            const each = (Date.now() - start) / 6;
            /* Those that were held up come all at once. */
            return each > 200 ? each : Infinity;
        }, isSanitized(run.pid) ? 5000 : 450);
        assert.ok(beats(run).every(({ from }) => from === run.pid));
    });

    test('is left alone where there is none', async (t) => {
        const run = await serve(t, [], ANY);
        await run.told('READY=1');
        process.kill(run.pid, 'SIGTERM');
        await run.ended;
        assert.equal(beats(run).length, 0);
    });
});

describe('sockets', () => {
    async function expectServed(run, where)
    {
        const answer = await exchange(where.port ?? 0, GET, 'GET',
                                      { ...PLAIN, ...where });
        assert.equal(answer.status, 200);
        assert.equal(answer.text, '/a');
    }

    test('are taken, and others opened beside them', async (t) => {
        const file = path.join(folder(t), 's');
        const run = await serve(
            t, ['--socket', '127.0.0.1:0', '--socket', `unix:${file}`], [
                '--workers', '2',
                '--listen', '127.0.0.1:0', '--listen', `unix:${file}`,
                '--listen', '127.0.0.1:PORT0']);
        await run.told('READY=1');
        await expectServed(run, { port: run.ports[0] });
        await expectServed(run, { path: file });
        const [, own] = / ready listen=127\.0\.0\.1:(\d+) /.exec(run.stderr());
        assert.notEqual(Number(own), run.ports[0]);
        await expectServed(run, { port: Number(own) });
        for (const fd of [3, 4]) {
            const info = readFileSync(`/proc/${run.pid}/fdinfo/${fd}`, 'utf8');
            const flags = parseInt(/^flags:\s+(\d+)$/m.exec(info)[1], 8);
            assert.ok(flags & 0o2000000, `${fd} is open for children`);
        }
        /* Who opened it will use it again. */
        assert.equal(await run.stop(), 0);
        assert.ok(existsSync(file), 'the file is gone');
    });

    test('who waits there from before is let in', async (t) => {
        const run = await serve(t, ['--socket', '127.0.0.1:0'], [
            '--listen', '127.0.0.1:PORT0', '--workers', '2']);
        const waiting = [];
        for (let i = 0; i < 20; i++) {
            const wire = await connect(run.ports[0], PLAIN);
            wire.send(GET);
            waiting.push(wire);
        }
        await run.told('READY=1');
        for (const wire of waiting) {
            assert.equal((await wire.response('GET')).status, 200);
            wire.destroy();
        }
    });

    test('of IPv6', async (t) => {
        const run = await serve(t, ['--socket', '[::1]:0'], [
            '--listen', '[::1]:PORT0']);
        await run.told('READY=1');
        await expectServed(run, { port: run.ports[0], host: '::1' });
    });

    test('that nobody wants end the start', async (t) => {
        const run = await serve(t, ['--socket', '127.0.0.1:0'], ANY);
        assert.equal(await run.ended, 1);
        assert.match(run.stderr(), new RegExp(
            '^sidgate: LISTEN_FDS: 127\\.0\\.0\\.1:' + run.ports[0] +
            ' is not one of the addresses to listen on\n$'));
    });

    test('twice for one address end the start', async (t) => {
        const file = path.join(folder(t), 's');
        const run = await serve(
            t, ['--socket', '127.0.0.1:0', '--socket', `unix:${file}`],
            ['--listen', '127.0.0.1:PORT0']);
        assert.equal(await run.ended, 1);
        assert.match(run.stderr(), /LISTEN_FDS: unix:.* is not one of/);
    });

    test('of another process are not ours', async (t) => {
        const run = await serve(
            t, ['--socket', '127.0.0.1:0', '--listen-pid', '1'], ANY);
        await run.told('READY=1');
    });

    test('outlive a reload', async (t) => {
        const file = path.join(folder(t), 'sidgate.json');
        writeFileSync(file, '{}');
        const run = await serve(t, ['--socket', '127.0.0.1:0'], [
            '--listen', '127.0.0.1:PORT0', '--config', file]);
        await run.told('READY=1');
        writeFileSync(file, '{"max_connections": 1000}');
        const since = run.messages.length;
        process.kill(run.pid, 'SIGHUP');
        await run.told('READY=1', since);
        await expectServed(run, { port: run.ports[0] });
    });
});

describe('upgrade', () => {
    test('the new process is the main one, and beats', async (t) => {
        const run = await serve(t, [
            '--socket', '127.0.0.1:0', '--watchdog', '1000000'], [
            '--listen', '127.0.0.1:PORT0']);
        await run.told('READY=1');
        const since = run.messages.length;
        process.kill(run.pid, 'SIGUSR2');
        const main = () => run.messages.slice(since).find(({ lines }) =>
            lines.some((line) => /^MAINPID=\d+$/.test(line)));
        await eventually(main, 'MAINPID', START_MS);
        /* Only the main process is listened to. */
        assert.equal(main().from, run.pid);
        const next = Number(main().lines.find((line) => /^MAINPID=/.test(line))
            .slice(8));
        assert.notEqual(next, run.pid);
        await eventually(() => run.messages.some(({ from, lines }) =>
            from === next && lines.includes('WATCHDOG=1')), 'its beat',
                         START_MS);
        const answer = await exchange(run.ports[0], GET, 'GET', PLAIN);
        assert.equal(answer.status, 200);
        assert.equal(await run.stop(), 0);
        assert.equal((await run.told('STOPPING=1')).from, next);
    });
});
