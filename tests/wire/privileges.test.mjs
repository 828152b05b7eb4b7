/* SPDX-License-Identifier: MIT */
/* The rights that sidgate gives up: its user, no_new_privs, system calls. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
    chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync,
    writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { testCertificates } from '../support/certificates.mjs';
import { frame, openTunnel, TEXT } from '../support/frames.mjs';
import { gatewayBinary } from '../support/gateway.mjs';
import {
    NO_LEAK_CHECK as env, ask, refusesToStart, serve, threads,
} from '../support/operator.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const ROOT_ONLY = process.getuid() !== 0 && 'only root can become another';
const ANY = ['--listen', '127.0.0.1:0', '--backend', '127.0.0.1:1'];
const ADMIN = ['--admin', '127.0.0.1:0'];

const idOf = (flag, name) =>
    Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
const NOBODY = idOf('-u', 'nobody');
const ITS_GROUP = idOf('-g', 'nobody');

function folder(t, owner)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-privileges-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    if (owner !== undefined)
        chownSync(name, owner, owner);
    return name;
}

async function serves({ backend, port, path: file, secure = false })
{
    const answer = await exchange(port,
        'GET /plain HTTP/1.1\r\nHost: h\r\n\r\n', 'GET',
        { path: file, secure });
    assert.equal(answer.status, 200);
    assert.ok(backend.targets.includes('/plain'));
}

/* All threads, of which there are some. */
function everyThread(pid, name, test)
{
    const all = threads(pid);
    assert.ok(all.length >= 2, 'no workers');
    for (const thread of all)
        assert.ok(test(thread.get(name)), `${name}: ${thread.get(name)}`);
}

const isFour = (id) => (value) => value === Array(4).fill(id).join('\t');

function isDropped(pid, uid, gid)
{
    everyThread(pid, 'Uid', isFour(uid));
    everyThread(pid, 'Gid', isFour(gid));
    everyThread(pid, 'Groups',
                (value) => !value.trim().split(' ').includes('0'));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
        everyThread(pid, set, (value) => /^0+$/.test(value));
}

describe('--user', () => {
    const USERS = [
        ['nobody', NOBODY, ITS_GROUP],
        ['nobody:12345', NOBODY, 12345],
        [`${NOBODY}`, NOBODY, ITS_GROUP],
        ['4000000:12345', 4000000, 12345],
    ];
    for (const [user, uid, gid] of USERS)
        test(`${user} it is, in all threads`, { skip: ROOT_ONLY },
             async (t) => {
            const gateway = await serve(t, [...ADMIN, '--user', user,
                                            '--workers', '3'], { env });
            isDropped(gateway.pid, uid, gid);
            await serves(gateway);
            assert.equal((await ask(gateway.admin, [
                'GET /metrics HTTP/1.1', 'Host: localhost'])).status, 200);
            const { code } = await gateway.stop();
            assert.equal(code, 0);
        });

    test('low ports are bound before', { skip: ROOT_ONLY }, async (t) => {
        const port = await lowPort();
        const adminPort = await lowPort(port);
        const gateway = await serve(t, [
            '--admin', `127.0.0.1:${adminPort}`, '--user', 'nobody'],
            { listen: [`127.0.0.1:${port}`], env });
        assert.equal(gateway.port, port);
        assert.equal(gateway.admin.port, adminPort);
        isDropped(gateway.pid, NOBODY, ITS_GROUP);
        await serves(gateway);
    });

    test('files that root alone may read are read before',
         { skip: ROOT_ONLY }, async (t) => {
        const file = path.join(folder(t), 'token');
        writeFileSync(file, 'correct-horse-battery', { mode: 0o600 });
        const gateway = await serve(t, [
            ...ADMIN, '--admin-token-file', file, '--user', 'nobody'],
            { env });
        assert.equal((await ask(gateway.admin, [
            'GET /metrics HTTP/1.1', 'Host: h',
            'Authorization: Bearer correct-horse-battery'])).status, 200);
    });

    test('unix sockets are handed over', { skip: ROOT_ONLY }, async (t) => {
        const home = folder(t, NOBODY);
        const files = ['admin', 'clients'].map((one) => path.join(home, one));
        const gateway = await serve(t, [
            '--admin', `unix:${files[0]}`, '--user', 'nobody:12345'],
            { listen: [`unix:${files[1]},mode=0640`, '127.0.0.1:0'], env });
        for (const file of files) {
            assert.equal(statSync(file).uid, NOBODY);
            assert.equal(statSync(file).gid, 12345);
        }
        assert.equal(statSync(files[0]).mode & 0o777, 0o600);
        assert.equal(statSync(files[1]).mode & 0o777, 0o640);
        await serves({ ...gateway, path: files[1] });
        await gateway.stop();
        assert.ok(!existsSync(files[0]), 'the file is left');
    });

    const REFUSED = {
        'no-such-user': 'there is no such user',
        'nobody:no-such-group': 'there is no such group',
        'root': 'root would keep all its rights',
        '0:12345': 'root would keep all its rights',
        '4000000': 'a number without an entry needs a group',
    };
    for (const [user, why] of Object.entries(REFUSED))
        test(`${user} is refused`, async () => {
            const { code, line } =
                await refusesToStart([...ANY, '--user', user]);
            assert.equal(code, 1);
            assert.equal(line, `sidgate: user ${user}: ${why}`);
        });

    test('only root can', async (t) => {
        const isRoot = process.getuid() === 0;
        const { status, stderr } = isRoot ?
            asNobody(t, [...ANY, '--user', '4000000:1']) :
            spawnSync(gatewayBinary(), [...ANY, '--user', '4000000:1'],
                      { encoding: 'utf8', timeout: 60_000 });
        assert.equal(status, 1, stderr);
        assert.equal(stderr, 'sidgate: user 4000000:1: ' +
                             'only root can become another\n');
    });
});

/* Runs a copy of the binary, for the original may be out of its reach. */
function asNobody(t, args)
{
    const copy = path.join(folder(t, NOBODY), 'sidgate');
    execFileSync('cp', [gatewayBinary(), copy]);
    chmodSync(copy, 0o755);
    return spawnSync(copy, args, { uid: NOBODY, gid: ITS_GROUP,
                                   encoding: 'utf8', timeout: 60_000,
                                   env: { ...process.env, ...env } });
}

async function lowPort(other)
{
    /* Not all who look at the same time at the same one. */
    const first = 600 + Math.floor(Math.random() * 400);
    for (let i = 0; i < 400; i++) {
        const port = 600 + (first + i) % 400;
        const isFree = port !== other && await new Promise((resolve) => {
            const server = net.createServer();
            server.once('error', () => resolve(false));
            server.listen(port, '127.0.0.1',
                          () => server.close(() => resolve(true)));
        });
        if (isFree)
            return port;
    }
    throw new Error('no low port is free');
}

/* The binary under test as another command starts it. */
async function startedBy(t, command, run)
{
    const script = path.join(folder(t), 'sidgate');
    const before = process.env.SIDGATE_BIN;
    writeFileSync(script, `#!/bin/sh\nexec ${command} ` +
        `'${path.resolve(gatewayBinary())}' "$@"\n`, { mode: 0o755 });
    process.env.SIDGATE_BIN = script;
    try {
        return await run();
    } finally {
        if (before === undefined)
            delete process.env.SIDGATE_BIN;
        else
            process.env.SIDGATE_BIN = before;
    }
}

const HAS_SETPRIV = spawnSync('setpriv', ['--version']).status === 0;

describe('no_new_privs', () => {
    test('is always set', async (t) => {
        const gateway = await serve(t, ADMIN);
        everyThread(gateway.pid, 'NoNewPrivs', (value) => value === '1');
        everyThread(gateway.pid, 'Seccomp', (value) => value === '0');
        await serves(gateway);
    });

    const VARIANTS = [[], ['--seccomp'],
                      ...(ROOT_ONLY ? [] : [['--user', 'nobody']])];
    for (const args of VARIANTS)
        test(`set before the start, ${args.join(' ') || 'no option'}`,
             { skip: !HAS_SETPRIV && 'there is no setpriv' }, async (t) => {
            const gateway = await startedBy(t, 'setpriv --no-new-privs',
                () => serve(t, [...ADMIN, ...args], { env }));
            everyThread(gateway.pid, 'NoNewPrivs', (value) => value === '1');
            await serves(gateway);
        });

    test('without any right from the start',
         { skip: ROOT_ONLY || (!HAS_SETPRIV && 'there is no setpriv') },
         async (t) => {
        const gateway = await startedBy(t,
            'setpriv --no-new-privs --bounding-set=-all --inh-caps=-all',
            () => serve(t, ADMIN, { env }));
        await serves(gateway);
    });
});

describe('--seccomp', () => {
    test('is there in all threads, and nothing is missing', async (t) => {
        const gateway = await serve(t, [...ADMIN, '--seccomp',
                                        '--workers', '3'], { env });
        everyThread(gateway.pid, 'NoNewPrivs', (value) => value === '1');
        everyThread(gateway.pid, 'Seccomp', (value) => value === '2');
        await serves(gateway);
        const { client, upstream } = await openTunnel(gateway,
                                                      { secure: false });
        const question = frame(TEXT, 'question', { mask: true });
        client.send(question);
        assert.deepEqual(await upstream.bytes(question.length), question);
        client.destroy();
        upstream.destroy();
        assert.equal((await ask(gateway.admin, [
            'GET /metrics HTTP/1.1', 'Host: localhost'])).status, 200);
        const { code } = await gateway.stop();
        assert.equal(code, 0);
    });

    test('lets names of stores be looked up', async (t) => {
        let callers = 0;
        const store = net.createServer((socket) => {
            callers++;
            socket.destroy();
        });
        await new Promise((resolve) => store.listen(0, 'localhost', resolve));
        t.after(() => store.close());
        const gateway = await serve(t, [
            ...ADMIN, '--seccomp', '--store',
            `redis://localhost:${store.address().port}/0`], { env });
        const first = callers;
        await eventually(() => callers > first, 'a connection', 20_000);
        await serves(gateway);
    });

    test('goes with --user and TLS', { skip: ROOT_ONLY }, async (t) => {
        const gateway = await serve(t, [
            ...ADMIN, '--seccomp', '--user', 'nobody',
            '--tls-certificate', testCertificates().server.pem],
            { listen: ['127.0.0.1:0,tls'], env });
        isDropped(gateway.pid, NOBODY, ITS_GROUP);
        everyThread(gateway.pid, 'Seccomp', (value) => value === '2');
        await serves({ ...gateway, secure: true });
    });
});
