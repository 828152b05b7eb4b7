/* SPDX-License-Identifier: MIT */
/* A gateway whose own arguments are under test: its ends, its threads, its
 * operator listener. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';

import { startBackend } from './backend.mjs';
import { spawnGateway } from './gateway.mjs';
import { connect, eventually } from './wire.mjs';

const START_MS = 30_000;
const CTL_MS = 120_000;

/* LeakSanitizer looks into its own process as a debugger does, which neither a
 * change of user nor the filter of system calls lets it. */
export const NO_LEAK_CHECK = {
    ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:detect_leaks=0`,
};

function readyLine(run)
{
    return /^\S+ info ready (.*)\n/m.exec(run.stderr())?.[1];
}

/*
 * A gateway with one backend, on a port of 127.0.0.1 where `listen` does not
 * say otherwise, that is stopped after test `t`. Gives {backend, pid, port,
 * admin, stderr(), stdout(), child, stop()}; `admin` is what connect() wants to
 * get to the operator listener.
 */
export async function serve(t, args, { listen = ['127.0.0.1:0'], env } = {})
{
    const backend = await startBackend({ id: 'n1' });
    const run = spawnGateway([
        ...listen.flatMap((one) => ['--listen', one]),
        '--backend', `n1=127.0.0.1:${backend.port}`, ...args], env);
    let ended = false;
    run.exited.then(() => (ended = true), () => (ended = true));

    async function stop(signal = 'SIGTERM')
    {
        if (!ended)
            run.child.kill(signal);
        return run.exited;
    }

    t.after(async () => {
        await backend.stop();
        const { code } = await stop();
        assert.doesNotMatch(run.stderr(), /Sanitizer|runtime error/);
        assert.ok(code === 0 || code === null, run.stderr());
    });
    await eventually(() => ended || readyLine(run), 'ready', START_MS);
    const line = readyLine(run);
    assert.ok(line, run.stderr());
    const value = (key) => new RegExp(`(?:^| )${key}=(\\S+)`).exec(line)[1];
    const portOf = (text) => Number(/:(\d+)$/.exec(text)?.[1] ?? 0);
    const admin = value('admin');
    return {
        backend, line, stop,
        pid: run.child.pid,
        port: portOf(value('listen')),
        admin: admin.startsWith('unix:') ? { path: admin.slice(5) }
            : { port: portOf(admin) },
        stderr: run.stderr,
        stdout: run.stdout,
        child: run.child,
    };
}

/* One that must not start: its one line, and its code. */
export async function refusesToStart(args, env = {})
{
    const run = spawnGateway(args, env);
    const timer = setTimeout(() => run.child.kill('SIGKILL'), START_MS);
    const { code } = await run.exited;
    clearTimeout(timer);
    assert.match(run.stderr(), /^sidgate: [^\n]+\n$/);
    return { code, line: run.stderr().trim() };
}

/* Runs `sidgate ctl`. Gives {code, out, error}. */
export async function ctl(args, env = {})
{
    const run = spawnGateway(['ctl', ...args], env);
    const timer = setTimeout(() => run.child.kill('SIGKILL'), CTL_MS);
    const { code } = await run.exited;
    clearTimeout(timer);
    assert.doesNotMatch(run.stderr(), /Sanitizer|runtime error/);
    return { code, out: run.stdout(), error: run.stderr() };
}

/* What the operator listener answers to raw lines of a head. */
export async function ask({ port, path }, lines)
{
    const wire = await connect(port, { path, secure: false });
    try {
        wire.send(`${lines.join('\r\n')}\r\n\r\n`);
        return await wire.response(lines[0].split(' ')[0]);
    } finally {
        wire.destroy();
    }
}

/* The fields of /proc/PID/task/TID/status of all threads, as Maps. */
export function threads(pid)
{
    return readdirSync(`/proc/${pid}/task`).map((tid) => new Map(
        readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1').split('\n')
            .map((line) => line.split(':\t'))));
}
