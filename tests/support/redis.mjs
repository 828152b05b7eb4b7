/* SPDX-License-Identifier: MIT */
/* Starts a real redis-server in a temporary folder, and ends it. */

import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { suspend } from './process.mjs';
import { connectResp } from './resp.mjs';
import { eventually } from './wire.mjs';

const READY_MS = 20_000;
const CLI_MS = 20_000;
const READY_LINE = /Ready to accept connections/;
/* Below the ports that the kernel gives to connections: one that tries a port
 * of its own range while nobody listens there may reach itself. */
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;
const children = new Set();
const folders = new Set();

process.on('exit', () => {
    for (const child of children)
        child.kill('SIGKILL');
    for (const folder of folders)
        rmSync(folder, { recursive: true, force: true });
});

function isFree(port)
{
    return new Promise((resolve) => {
        const server = net.createServer();
        server.once('error', () => resolve(false));
        server.listen(port, '127.0.0.1', () =>
            server.close(() => resolve(true)));
    });
}

/* A port on which nobody listens, and which no connection is given. */
export async function quietPort()
{
    for (let i = 0; i < 200; i++) {
        const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
        if (await isFree(port))
            return port;
    }
    throw new Error('no free port');
}

function run(file, args, env)
{
    return new Promise((resolve, reject) => {
        execFile(file, args, { env: { ...process.env, ...env },
                               timeout: CLI_MS, maxBuffer: 64 << 20 },
                 (error, stdout, stderr) => {
                     if (error)
                         reject(new Error(`${args.join(' ')}: ` +
                             `${error.message}\n${stderr}${stdout}`));
                     else
                         resolve(stdout.replace(/\n$/, ''));
                 });
    });
}

class Redis {
    #args;
    #child = null;
    #client = null;
    #exited = null;

    constructor(port, folder, args)
    {
        this.port = port;
        this.folder = folder;
        this.path = path.join(folder, 'redis.sock');
        this.#args = args;
        this.password = '';
        this.output = '';
    }

    get pid()
    {
        return this.#child.pid;
    }

    get url()
    {
        return `redis://127.0.0.1:${this.port}/0`;
    }

    /* Resolves once it serves. */
    start()
    {
        const child = spawn('redis-server', [
            '--port', String(this.port), '--bind', '127.0.0.1', '-::1',
            '--unixsocket', this.path, '--dir', this.folder,
            '--save', '', '--appendonly', 'no', ...this.#args,
        ], { stdio: ['ignore', 'pipe', 'pipe'] });
        this.#child = child;
        this.output = '';
        children.add(child);
        this.#exited = new Promise((resolve) => {
            child.once('error', resolve);
            child.once('close', resolve);
        }).finally(() => children.delete(child));
        return this.#ready(child);
    }

    #ready(child)
    {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                child.kill('SIGKILL');
                reject(new Error(`redis-server is not ready: ${this.output}`));
            }, READY_MS);
            const look = (text) => {
                this.output = (this.output + text).slice(-50_000);
                if (!READY_LINE.test(this.output))
                    return;
                clearTimeout(timer);
                child.unref();
                child.stdout.unref();
                child.stderr.unref();
                resolve(this);
            };
            child.stdout.setEncoding('utf8').on('data', look);
            child.stderr.setEncoding('utf8').on('data', look);
            this.#exited.then(() => {
                clearTimeout(timer);
                reject(new Error(`redis-server ended: ${this.output}`));
            });
        });
    }

    #environment()
    {
        return this.password ? { REDISCLI_AUTH: this.password } : {};
    }

    /* What redis-cli prints. */
    cli(...args)
    {
        return run('redis-cli', ['-p', String(this.port), ...args.map(String)],
                   this.#environment());
    }

    /* Runs shell in which redis-cli, wherever it is called, talks to this
     * server. */
    async shell(text, env = {})
    {
        const real = await run('sh', ['-c', 'command -v redis-cli'], {});
        const bin = path.join(this.folder, 'bin');
        mkdirSync(bin, { recursive: true });
        writeFileSync(path.join(bin, 'redis-cli'),
            `#!/bin/sh\nexec ${real} -p ${this.port} "$@"\n`,
            { mode: 0o755 });
        return run('sh', ['-c', text], {
            ...this.#environment(), PATH: `${bin}:${process.env.PATH}`, ...env,
        });
    }

    /* Another connection, logged in. */
    async connect()
    {
        const client = await connectResp({ path: this.path });
        if (this.password)
            await client.command('AUTH', this.password);
        return client;
    }

    /* As cli, without a process for each; gives the reply's value. */
    async command(...args)
    {
        if (!this.#client || this.#client.socket.destroyed)
            this.#client = await this.connect();
        return this.#client.command(...args);
    }

    async keys(pattern = '*')
    {
        const found = new Set();
        let cursor = '0';
        do {
            const [next, keys] = await this.command('SCAN', cursor, 'MATCH',
                                                    pattern, 'COUNT', 1000);
            keys.forEach((key) => found.add(key));
            cursor = next;
        } while (cursor !== '0');
        return [...found];
    }

    /* The fields of a hash as an object. */
    async hash(key)
    {
        const flat = await this.command('HGETALL', key);
        return Object.fromEntries(flat.flatMap((name, i) =>
            i % 2 ? [] : [[name, flat[i + 1]]]));
    }

    /* Calls of each command since the server's start. */
    async commandstats()
    {
        const text = await this.command('INFO', 'commandstats');
        return new Map([...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
            .map(([, name, calls]) => [name, Number(calls)]));
    }

    /*
     * Every command that the server carries out from now on, as the lines of
     * MONITOR. lines(pattern) gives those so far that match, after all that
     * came before the call has been told.
     */
    async monitor()
    {
        const client = await this.connect();
        const all = [];
        client.onMessage = (line) => all.push(line);
        await client.command('MONITOR');
        client.socket.unref();
        let mark = 0;
        return {
            lines: async (pattern) => {
                const word = `mark-${process.pid}-${mark++}`;
                await this.command('ECHO', word);
                await eventually(() => all.some((line) => line.includes(word)),
                                 'MONITOR told everything');
                return all.filter((line) => pattern.test(line));
            },
            clear: () => all.splice(0),
            close: () => client.close(),
        };
    }

    /* Returns when it does nothing any more. */
    pause()
    {
        return suspend(this.pid);
    }

    resume()
    {
        process.kill(this.pid, 'SIGCONT');
    }

    async kill()
    {
        this.#client?.close();
        for (const one of [this.#child, this.#child.stdout,
                           this.#child.stderr])
            one.ref();
        this.#child.kill('SIGKILL');
        await this.#exited;
    }

    /* Empty, on the same port; it may have been killed before. */
    async restart()
    {
        await this.kill();
        rmSync(this.path, { force: true });
        await this.start();
    }

    async stop()
    {
        await this.kill();
        rmSync(this.folder, { recursive: true, force: true });
        folders.delete(this.folder);
    }
}

/* args: more for redis-server. */
export async function startRedis({ args = [], port } = {})
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-redis-'));
    folders.add(folder);
    const redis = new Redis(port ?? await quietPort(), folder, args);
    return redis.start();
}
