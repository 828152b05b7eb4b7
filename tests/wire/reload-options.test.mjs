/* SPDX-License-Identifier: MIT */
/* What a reload may change, what it refuses, and what it leaves as it is. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';

import { bytesFor, configured, folder, lives, poll, pollBytes, session, spec,
         specs, spread, startNodes } from '../support/configured.mjs';
import { handshakeRequest } from '../support/engine.mjs';
import { serve } from '../support/operator.mjs';
import { descriptors } from '../support/process.mjs';
import { quietPort } from '../support/ports.mjs';
import { connect, eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const skip = PLAIN_ONLY;
const BASE = { workers: 2, balance: 'round-robin' };

const status = async (gateway, bytes) =>
    (await exchange(gateway.port, bytes)).status;

describe('limits', { skip }, () => {
    async function begin(t, more)
    {
        const [node] = await startNodes(t, 'n1');
        const base = { ...BASE, backend: specs(node) };
        const gateway = await configured(t, { ...base, ...more });
        const one = await session(gateway);
        const change = async (limits) => {
            await gateway.reload({ ...base, ...limits });
            await gateway.settle();
        };
        return { node, gateway, one, change };
    }

    test('max_body', async (t) => {
        const { gateway, one, change } = await begin(t);
        const post = async (size) =>
            (await poll(gateway, one.sid, { body: 'x'.repeat(size) })).status;
        assert.equal(await post(2000), 200);
        await change({ max_body: 1000 });
        assert.equal(await post(1001), 413);
        assert.equal(await post(1000), 200);
        await change({ max_body: '1500' });
        assert.equal(await post(1500), 200);
        await change({});
        assert.equal(await post(2000), 200);
    });

    test('max_head, max_head_fields, max_request_line', async (t) => {
        const { gateway, change } = await begin(t);
        const big = bytesFor('/x', { fields: `A: ${'x'.repeat(3000)}\r\n` });
        const many = bytesFor('/x', { fields: 'A: x\r\n'.repeat(20) });
        const long = bytesFor(`/${'x'.repeat(500)}`);
        for (const bytes of [big, many, long])
            assert.equal(await status(gateway, bytes), 200);
        await change({ max_head: 2000, max_head_fields: 10,
                       max_request_line: 400 });
        assert.equal(await status(gateway, big), 431);
        assert.equal(await status(gateway, many), 431);
        assert.equal(await status(gateway, long), 414);
        await change({});
        for (const bytes of [big, many, long])
            assert.equal(await status(gateway, bytes), 200);
    });

    test('head_timeout and keepalive_timeout', async (t) => {
        const { gateway, change } = await begin(t);
        /* Before that: none of them has to hurry with its first byte. */
        const slow = await gateway.open();
        const idle = await gateway.open();
        for (const wire of [slow, idle]) {
            wire.send(bytesFor('/x'));
            assert.equal((await wire.response()).status, 200);
        }
        await change({ head_timeout: '300ms', keepalive_timeout: '400ms' });
        slow.send('GET /x HTTP/1.1\r\nHo');
        assert.equal((await slow.response()).status, 408);
        idle.send(bytesFor('/x'));
        assert.equal((await idle.response()).status, 200);
        assert.equal(await idle.ended(), 'fin');
        await change({});
        const quiet = await gateway.open();
        quiet.send('GET /x HTTP/1.1\r\nHo');
        await new Promise((resolve) => setTimeout(resolve, 1000));
        quiet.send('st: h\r\n\r\n');
        assert.equal((await quiet.response()).status, 200);
    });

    test('response_timeout', async (t) => {
        const { node, gateway, change } = await begin(t);
        node.onHandshake = () => {};
        await change({ response_timeout: '200ms' });
        assert.equal(await status(gateway, handshakeRequest()), 504);
    });

    test('max_connections', async (t) => {
        const { gateway, change } = await begin(t);
        await change({ max_connections: 3 });
        const wires = [];
        for (let i = 0; i < 3; i++) {
            const wire = await gateway.open();
            wire.send(bytesFor('/x'));
            assert.equal((await wire.response()).status, 200);
            wires.push(wire);
        }
        assert.equal(await status(gateway, bytesFor('/x')), 503);
        await change({ max_connections: 10 });
        assert.equal(await status(gateway, bytesFor('/x')), 200);
        for (const wire of wires) {
            wire.send(bytesFor('/x'));
            assert.equal((await wire.response()).status, 200);
        }
    });

    test('max_sessions_per_address', async (t) => {
        const { gateway, change } = await begin(
            t, { max_sessions_per_address: 5 });
        await change({ max_sessions_per_address: 2 });
        await session(gateway);
        assert.equal(await status(gateway, handshakeRequest()), 429);
        await change({ max_sessions_per_address: 3 });
        await session(gateway);
        assert.equal(await status(gateway, handshakeRequest()), 429);
        assert.deepEqual(gateway.told('restart_needed'), []);
    });

    test('allowed_origin', async (t) => {
        const { gateway, change } = await begin(t);
        const from = (origin) => handshakeRequest().replace(
            'Host: h\r\n', `Host: h\r\nOrigin: ${origin}\r\n`);
        await change({ allowed_origin: ['https://a.example'] });
        assert.equal(await status(gateway, from('https://a.example')), 200);
        assert.equal(await status(gateway, from('https://b.example')), 403);
        await change({ allowed_origin: ['https://b.example'] });
        assert.equal(await status(gateway, from('https://a.example')), 403);
        assert.equal(await status(gateway, from('https://b.example')), 200);
    });

    test('recovery, path, log_level', async (t) => {
        const { node, gateway, change } = await begin(t);
        await change({ recovery: 'off', path: '/else/', log_level: 'debug' });
        assert.equal((await poll(gateway, 'x'.repeat(20),
                                 { path: '/else/' })).status, 400);
        assert.deepEqual(node.probes, []);
        const one = await session(gateway, { path: '/else/' });
        await lives(gateway, one, { path: '/else/' });
        await eventually(() => gateway.told('session_bound').length === 1,
                         'session_bound');
        await change({});
        assert.equal((await poll(gateway, 'y'.repeat(20))).status, 400);
        assert.equal(node.probes.length, 1);
        await session(gateway);
        assert.equal(gateway.told('session_bound').length, 1);
    });
});

describe('flags and the environment', { skip }, () => {
    test('win over the file, also the next one', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const gateway = await configured(t, { backend: specs(n2) }, {
            args: ['--backend', spec(n1), '--workers', '1'],
            env: { SIDGATE_MAX_BODY: '100' },
        });
        const post = async (size) => (await poll(gateway, one.sid,
            { body: 'x'.repeat(size) })).status;
        const one = await session(gateway);
        assert.equal(one.home, 'n1');
        await gateway.reload({ backend: specs(n2), max_body: 10, workers: 3,
                               max_head_fields: 9 });
        await gateway.settle();
        assert.deepEqual(await spread(gateway, 4), { n1: 4 });
        assert.equal(await post(100), 200);
        assert.equal(await post(101), 413);
        /* What neither says is the file's. */
        assert.equal(await status(gateway, bytesFor('/x', {
            fields: 'A: x\r\n'.repeat(12) })), 431);
        assert.deepEqual(gateway.told('restart_needed'), []);
    });
});

describe('what needs a restart', { skip }, () => {
    test('is said, stays as it is, and the rest is changed', async (t) => {
        const [n1, n2] = await startNodes(t, 'n1', 'n2');
        const secret = path.join(folder(t), 'secret');
        writeFileSync(secret, 'correct-horse-battery-staple\n',
                      { mode: 0o600 });
        const gateway = await configured(t, { ...BASE, backend: specs(n1) });
        const tasks = () => readdirSync(`/proc/${gateway.pid}/task`).length;
        const before = tasks();
        const changes = {
            workers: 3, store: 'rediss+sentinel://127.0.0.1:1/m/0',
            store_prefix: 'other', store_ca: secret,
            store_certificate: secret, store_tls_name: 'other',
            store_verify: false, sentinel_user: 'other',
            sentinel_password_file: secret, store_timeout: '1s',
            gateway_name: 'other', seccomp: true, max_sessions: 7,
            hash_sids_file: secret,
            max_connections_per_address: 1000,
            max_sessions_per_address: 1000,
            handshake_rate_per_address: 1000,
        };
        const kept = await session(gateway);
        const next = { ...BASE, ...changes, backend: specs(n1, n2) };
        await gateway.reload(next);
        const options = (lines) => lines.map((line) =>
            / warning restart_needed option=(\S+)$/.exec(line)[1]).sort();
        assert.deepEqual(options(gateway.told('restart_needed')),
            Object.keys(changes).map((key) => key.replaceAll('_', '-')).sort());
        const homes = await spread(gateway, 10);
        assert.deepEqual(Object.keys(homes).sort(), ['n1', 'n2']);
        await lives(gateway, kept);
        assert.equal(tasks(), before);

        /* As it was: nothing to say. */
        const lines = gateway.told('restart_needed').length;
        await gateway.reload({ ...BASE, backend: specs(n1, n2) });
        await gateway.settle();
        assert.equal(gateway.told('restart_needed').length, lines);
    });

    test('the operator listener', async (t) => {
        const file = path.join(folder(t), 'c.json');
        const port = await quietPort();
        writeFileSync(file, '{"admin": "127.0.0.1:0"}');
        const gateway = await serve(t, ['--config', file]);
        writeFileSync(file, `{"admin": "127.0.0.1:${port}", ` +
            '"serve_health": true}');
        process.kill(gateway.pid, 'SIGHUP');
        await eventually(() => / info reloaded /.test(gateway.stderr()),
                         'reloaded');
        assert.match(gateway.stderr(), / restart_needed option=admin\n/);
        await eventually(async () => (await exchange(gateway.port,
            'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')).text.startsWith('ok'),
            'serve_health');
        await assert.rejects(connect(port, { secure: false }), /ECONNREFUSED/);
        (await connect(gateway.admin.port, { secure: false })).destroy();
    });
});

describe('a configuration that is no good', { skip }, () => {
    let taken;

    /* What is wrong with it, and what the line says of that. Backends are new,
     * so that a change would show. */
    const WRONG = {
        'broken JSON': [() => '{"backend": ["n2=127.0.0.1:1"', /JSON|line 1/i],
        'no JSON at all': [() => '', /./],
        'an unknown key': [(good) => ({ ...good, bakend: 'x' }), /bakend/],
        'a wrong value': [(good) => ({ ...good, max_body: 'much' }),
                          /max.body/],
        'a value out of range': [(good) => ({ ...good, head_timeout: '1ms' }),
                                 /head.timeout/],
        'no backend': [({ listen }) => ({ ...BASE, listen }), /backend/],
        'an id twice': [(good) => ({ ...good,
            backend: ['n2=127.0.0.1:1', 'n2=127.0.0.1:2'] }), /n2/],
        'a name that cannot be resolved': [(good) => ({ ...good,
            backend: 'n2=nobody.invalid:80' }), /nobody\.invalid/],
        'an address in use': [(good) => ({ ...good, listen: [
            ...good.listen, `127.0.0.1:${taken}`] }),
            /cannot listen on 127\.0\.0\.1:\d+: Address already in use/],
        'a folder that is not there': [(good) => ({ ...good, listen: [
            ...good.listen, 'unix:/nowhere/s'] }),
            /cannot listen on unix:\/nowhere\/s: No such file/],
        'a certificate that is not there': [(good) => ({ ...good,
            listen: [...good.listen, '127.0.0.1:0,tls'],
            tls_certificate: '/nowhere.pem' }), /\/nowhere\.pem/],
        'an authority that is not there': [(good) => ({ ...good,
            backend: 'n2=127.0.0.1:1,tls', backend_ca: '/nowhere.pem' }),
            /\/nowhere\.pem/],
        'too many backends': [(good) => ({ ...good,
            backend: Array.from({ length: 257 }, (_, i) =>
                `m${i}=127.0.0.1:${i + 1}`) }), /256/],
        'too many backends with those of before': [(good) => ({ ...good,
            backend: Array.from({ length: 256 }, (_, i) =>
                `m${i}=127.0.0.1:${i + 1}`) }), /too many backends/],
        'too many pools': [(good) => ({ ...good,
            pools: Array.from({ length: 16 }, (_, i) => ({ name: `p${i}`,
                host: `h${i}`, backend: 'a=127.0.0.1:1' })) }), /15/],
        'a canary that is no pool': [(good) => ({ ...good,
            canary: 'next,percent=5' }), /next/],
        'a pool without backends': [(good) => ({ ...good,
            pools: [{ name: 'p', host: 'x' }] }), /p\b/],
    };

    for (const [what, [make, pattern]] of Object.entries(WRONG))
        test(`${what}: nothing changes`, async (t) => {
            const other = net.createServer();
            await new Promise((resolve) => other.listen(0, '127.0.0.1',
                                                        resolve));
            t.after(() => other.close());
            taken = other.address().port;
            const unix = path.join(folder(t), 's');
            const [n1, n2] = await startNodes(t, 'n1', 'n2');
            const fresh = await quietPort();
            const first = { ...BASE, backend: specs(n1),
                            listen: ['127.0.0.1:0'] };
            /* Where no name server answers, that is soon. */
            const gateway = await configured(t, first, { listen: [],
                env: { RES_OPTIONS: 'timeout:1 attempts:1' } });
            const kept = await session(gateway);
            const held = await gateway.open();
            held.send(pollBytes(kept.sid));
            assert.equal((await held.response()).status, 200);
            const before = descriptors(gateway.pid).length;
            /* Good by itself, and nothing of it may show. */
            const good = { ...BASE, backend: specs(n2), max_body: 1, listen: [
                '127.0.0.1:0', `127.0.0.1:${fresh}`, `unix:${unix}`] };
            const line = await gateway.refuses(make(good));
            assert.match(line, pattern);

            assert.deepEqual(await spread(gateway, 4), { n1: 4 });
            await lives(gateway, kept);
            held.send(pollBytes(kept.sid));
            assert.equal((await held.response()).text, '4n1');
            assert.equal((await poll(gateway, kept.sid, { body: 'xx' })).status,
                         200);
            await assert.rejects(connect(fresh), /ECONNREFUSED/);
            assert.ok(!existsSync(unix));
            assert.deepEqual(n2.requests, []);
            assert.deepEqual(gateway.told('restart_needed'), []);
            await eventually(() => descriptors(gateway.pid).length <=
                before + 1, `${before} descriptors, ` +
                `now ${descriptors(gateway.pid).length}`, 10_000);

            /* And a good one is taken afterwards. */
            await gateway.reload({ ...first, backend: specs(n2) });
            assert.deepEqual(await spread(gateway, 4), { n2: 4 });
            await lives(gateway, kept);
        });

    test('no file at all: nothing changes', async (t) => {
        const [n1] = await startNodes(t, 'n1');
        const gateway = await configured(t, { ...BASE, backend: specs(n1) });
        rmSync(gateway.file);
        assert.match(await gateway.hangUp(), / reload_failed .*No such file/);
        await session(gateway);
    });
});
