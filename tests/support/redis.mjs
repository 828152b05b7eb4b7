/* SPDX-License-Identifier: MIT */
/* Starts a real redis-server in a temporary folder, and ends it. */

import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync }
    from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { quietPort } from './ports.mjs';
import { suspend } from './process.mjs';
import { connectResp } from './resp.mjs';
import { eventually } from './wire.mjs';

const READY_MS = 20_000;
const CLI_MS = 20_000;
const READY_LINE = /Ready to accept connections|\+monitor master/;
const children = new Set();
const folders = new Set();

process.on('exit', () => {
    for (const child of children)
        child.kill('SIGKILL');
    for (const folder of folders)
        rmSync(folder, { recursive: true, force: true });
});

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

/* Names and values in turn. */
export function objectOf(flat)
{
    return Object.fromEntries(flat.flatMap((name, i) =>
        i % 2 ? [] : [[name, flat[i + 1]]]));
}

/* What a redis-server needs that speaks TLS on `port`; the files of what it
 * shows, and of whom it believes. */
export function tlsArgs(port, { certificate, key, ca })
{
    return ['--tls-port', String(port), '--tls-cert-file', certificate,
            '--tls-key-file', key, '--tls-ca-cert-file', ca,
            '--tls-auth-clients', 'no'];
}

/* For redis-cli. */
export function tlsFlags(tls)
{
    return tls ? ['--tls', '--cacert', tls.ca] : [];
}

class Redis {
    output = '';
    #args;
    #head = [];
    #child = null;
    #client = null;
    #exited = null;

    constructor(port, folder, { args, sentinel, tls, password })
    {
        this.port = port;
        this.folder = folder;
        this.tls = tls;
        this.password = password;
        this.path = path.join(folder, 'redis.sock');
        this.#args = args;
        if (!sentinel)
            return;
        const file = path.join(folder, 'sentinel.conf');
        writeFileSync(file, sentinel, { mode: 0o600 });
        this.#head = [file, '--sentinel'];
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
            ...this.#head, '--port', this.tls ? '0' : String(this.port),
            '--bind', '127.0.0.1', '-::1', '--unixsocket', this.path,
            '--dir', this.folder, '--save', '', '--appendonly', 'no',
            ...(this.tls ? tlsArgs(this.port, this.tls) : []), ...this.#args,
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
            let isReady = false;
            const look = (text) => {
                this.output = (this.output + text).slice(-50_000);
                /* Once: kill() waits for what is let go of here. */
                if (isReady || !READY_LINE.test(this.output))
                    return;
                isReady = true;
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
        return run('redis-cli', ['-p', String(this.port),
                                 ...tlsFlags(this.tls), ...args.map(String)],
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
        const client = await connectResp(this.tls ?
            { port: this.port, ca: readFileSync(this.tls.ca) } :
            { path: this.path });
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
        return objectOf(await this.command('HGETALL', key));
    }

    /* The lines `name:value` of a section of INFO as an object. */
    async info(section)
    {
        const text = await this.command('INFO', section);
        return Object.fromEntries([...text.matchAll(/^(\w+):(.*?)\r?$/gm)]
            .map(([, name, value]) => [name, value]));
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

    /* Nothing that its master writes comes to this replica any more. */
    async cutOff()
    {
        await this.command('CONFIG', 'SET', 'masterauth', 'none-of-it');
        await this.command('CLIENT', 'KILL', 'TYPE', 'master');
        await eventually(async () => (await this.info('replication'))
            .master_link_status === 'down', 'a link that is down');
    }

    /* Ends that; while it is a master itself it has nobody to follow. */
    letIn()
    {
        return this.command('CONFIG', 'SET', 'masterauth', '');
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

/* args: more for redis-server; sentinel: the configuration of a Sentinel, which
 * is started in place of a server that keeps data; tls: as tlsArgs() has it,
 * and nothing in clear; password: what `args` or `sentinel` make it want. */
export async function startRedis({ args = [], port, sentinel = '', tls,
                                   password = '' } = {})
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-redis-'));
    folders.add(folder);
    const redis = new Redis(port ?? await quietPort(), folder,
                            { args, sentinel, tls, password });
    return redis.start();
}
