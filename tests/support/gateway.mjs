/* SPDX-License-Identifier: MIT */
/* Starts the real sidgate and stops it. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import http from 'node:http';
import { fileURLToPath } from 'node:url';

import { testCertificates } from './certificates.mjs';
import { quietPort } from './ports.mjs';
import { IS_TLS } from './wire.mjs';

const READY_MS = 30_000;
const STOP_MS = 40_000;
const READY_LINE = /^\S+ info ready (.*)$/m;
const children = new Set();

/* The binary under test: $SIDGATE_BIN, else that of the release preset. */
export function gatewayBinary()
{
    return process.env.SIDGATE_BIN ||
        fileURLToPath(new URL('../../build/release/gateway/sidgate',
                              import.meta.url));
}

function killAll()
{
    for (const child of children)
        child.kill('SIGKILL');
}

process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.once(signal, () => process.exit(1));

/* The runner's own SIDGATE_* (SIDGATE_BIN is one) are not the gateway's. */
function cleanEnvironment(env)
{
    const own = Object.entries(process.env)
        .filter(([name]) => !name.startsWith('SIDGATE_'));
    return { ...Object.fromEntries(own), ...env };
}

/* Every port in the value of a log line's `key`; none is that of a unix
 * socket. */
function portsOf(line, key)
{
    const value = new RegExp(`(?:^| )${key}=(\\S+)`).exec(line)?.[1] ?? '';
    return [...value.matchAll(/:(\d+)(?=,|$)/g)].map((m) => Number(m[1]));
}

/* Those of all listeners but the first have lines of their own. */
function listenPorts(line, stderr)
{
    const more = stderr.matchAll(/^\S+ info listening (.*)$/gm);
    return [...portsOf(line, 'listen'),
            ...[...more].flatMap((m) => portsOf(m[1], 'address'))];
}

/* The flags for listeners, and certificates where one of them needs some. */
function listenArgs(listen, args)
{
    const flags = listen.flatMap((one) => ['--listen', one]);
    if (listen.some((one) => /,tls\b/.test(one)) &&
        !args.includes('--tls-certificate'))
        flags.push('--tls-certificate', testCertificates().server.pem);
    return flags;
}

/* Spawns the binary, or another one, with exactly `args`. Gives {child,
 * stderr(), exited}, where `exited` resolves to {code, signal} once stderr is
 * read to its end. */
export function spawnGateway(args, env = {}, binary = gatewayBinary())
{
    if (!existsSync(binary))
        throw new Error(`no sidgate at ${binary}: build it or set SIDGATE_BIN`);
    const child = spawn(binary, args, {
        env: cleanEnvironment(env),
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    let out = '';
    children.add(child);
    child.stderr.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    child.stdout.setEncoding('utf8').on('data', (chunk) => (out += chunk));
    const exited = new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, signal) => {
            children.delete(child);
            resolve({ code, signal });
        });
    });
    return { child, exited, stderr: () => text, stdout: () => out };
}

function within(promise, ms, what)
{
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(what())), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function readyLine(run)
{
    return new Promise((resolve, reject) => {
        const look = () => {
            const match = READY_LINE.exec(run.stderr());
            /* A line without its newline may lack the second port. */
            if (match && run.stderr().indexOf('\n', match.index) >= 0)
                resolve(match[1]);
        };
        run.child.stderr.on('data', look);
        run.exited.then(({ code, signal }) => reject(new Error(
            `sidgate ended (${signal || code}) before it was ready:\n` +
            run.stderr())), reject);
    });
}

/* One request on its own connection to the operator plane. */
export function adminGet(port, path)
{
    return new Promise((resolve, reject) => {
        const request = http.get(
            { host: '127.0.0.1', port, path, agent: false, timeout: 15_000 },
            (response) => {
                let body = '';
                response.setEncoding('utf8');
                response.on('data', (chunk) => (body += chunk));
                response.on('error', reject);
                response.on('end', () =>
                    resolve({ status: response.statusCode, body }));
            });
        request.on('timeout', () =>
            request.destroy(new Error(`admin ${path}: no answer`)));
        request.on('error', reject);
    });
}

/* Prometheus text to a Map of `name` or `name{labels}` to number. */
export function parseMetrics(text)
{
    const values = new Map();
    for (const line of text.split('\n')) {
        const match = /^([^#\s{]+(?:\{.*\})?)\s+(\S+)/.exec(line);
        if (match)
            values.set(match[1], Number(match[2]));
    }
    return values;
}

/* The sessions of a backend in what parseMetrics() gave, whatever their
 * transport; undefined where the backend is not named. */
export function sessionsOf(metrics, id)
{
    const [polling, websocket] = ['polling', 'websocket'].map((transport) =>
        metrics.get(`sidgate_sessions{backend="${id}",` +
                    `transport="${transport}"}`));
    return polling === undefined ? undefined : polling + websocket;
}

async function someListener()
{
    return [`127.0.0.1:${await quietPort()}${IS_TLS ? ',tls' : ''}`];
}

/*
 * backends: [{id, port, host}], id and host may be left out; listen: where;
 * args: further arguments; env: further environment; binary: what to run, where
 * it is not the one under test itself. Resolves when sidgate says that it is
 * ready, rejects with its stderr if it ends or is silent for too long.
 *
 * Gives {port, ports, adminPort, pid, stderr(), metrics(), get(path), stop()};
 * ports are those of all listeners in order, port is the first. stop may be
 * called more than once and resolves to {code, signal}.
 */
export async function startGateway({ backends = [], listen, args = [],
                                     env = {}, binary } = {})
{
    const argv = [...listenArgs(listen ?? await someListener(), args),
                  '--admin', `127.0.0.1:${await quietPort()}`];
    for (const { id, port, host = '127.0.0.1' } of backends)
        argv.push('--backend', `${id ? `${id}=` : ''}${host}:${port}`);
    const run = spawnGateway([...argv, ...args], env, binary);
    let line;
    try {
        line = await within(readyLine(run), READY_MS, () =>
            `sidgate was not ready in ${READY_MS} ms:\n${run.stderr()}`);
    } catch (error) {
        run.child.kill('SIGKILL');
        throw error;
    }
    /* A test that forgets to stop its gateway ends all the same, and the
     * gateway with it. */
    run.child.unref();
    run.child.stderr.unref();
    run.child.stdout.unref();
    const ports = listenPorts(line, run.stderr());
    const [adminPort] = portsOf(line, 'admin');
    const get = (path) => adminGet(adminPort, path);

    async function metrics()
    {
        return parseMetrics((await get('/metrics')).body);
    }

    async function stop(signal = 'SIGTERM')
    {
        if (children.has(run.child))
            run.child.kill(signal);
        try {
            return await within(run.exited, STOP_MS, () =>
                `sidgate did not end in ${STOP_MS} ms after ${signal}:\n` +
                run.stderr());
        } catch (error) {
            run.child.kill('SIGKILL');
            throw error;
        }
    }

    return {
        port: ports[0],
        ports,
        adminPort,
        pid: run.child.pid,
        exited: run.exited,
        stderr: run.stderr,
        get,
        metrics,
        stop,
    };
}
