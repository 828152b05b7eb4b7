/* SPDX-License-Identifier: MIT */
/* `sidgate ctl`: the commands that show one answer, and what a hostile gateway
 * may say to any of them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';

import { fake, reply, status } from '../support/ctl-server.mjs';
import { gatewayBinary, spawnGateway } from '../support/gateway.mjs';
import { ctl } from '../support/operator.mjs';
import { eventually } from '../support/wire.mjs';

describe('status', () => {
    test('at a glance', async (t) => {
        const { admin, lines } = await fake(t, [reply(200, status())]);
        const run = await ctl(['status', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.deepEqual(lines(), ['GET /api/v1/status HTTP/1.1']);
        assert.deepEqual(run.out.split('\n'), [
            'gateway     gw-a.3f2c, running for 3h25m, 0.1.0, pid 123, log ' +
                'info',
            'store       redis is up, 2 of 2 connections up',
            'affinity    good: misroutes 0/s (0), unknown sids 0.2/s (3), ' +
                'recoveries 0/s (1)',
            'upgrades    3.1/s, 99.2 % succeed; 992 of 1.0k in all',
            '  failed    refused 1, unreachable 2, stripped 0, probe 5, ' +
                'closed 0',
            'sessions    1.2k here: 231 polling, 1.0k websocket; 3.5k ' +
                'elsewhere; 11 ended/s',
            'traffic     12 handshakes/s, 3.5k requests/s, in 34.6 kB/s, ' +
                'out 3.5 MB/s',
            'connections 1.5k, and 1.0k tunnels; handshakes: half in ' +
                '1.2 ms, 99 % in 19 ms',
            '',
            'REPLICA    SESSIONS  HEARD  SELF',
            'gw-a.3f2c      1.2k      -  this one',
            'gw-b.77aa      3.5k   0.4s  -',
            '']);
    });

    test('nothing has happened yet, and little may be done', async (t) => {
        const { now, store, ...more } = status();
        const { admin } = await fake(t, [reply(200, {
            ...more, access: 'read', phase: 'draining',
            store: { ...store, kind: 'memory', connections: 0 },
            now: { ...now, upgrade_success: null, handshake_p50_ms: null,
                   handshake_p99_ms: null, misroutes_per_s: 0.02 },
        })]);
        const { out } = await ctl(['status', '--admin', admin]);
        assert.match(out, /draining for .*\(this token may only read\)\n/);
        assert.match(out, /\nstore {7}memory is up\n/);
        assert.match(out, /\naffinity {4}BROKEN: misroutes 0\.1\/s /);
        assert.match(out, /, - succeed; /);
        assert.match(out, / half in -, 99 % in -\n/);
    });

    test('replicas', async (t) => {
        const { admin, lines } = await fake(t, [reply(200, status())]);
        const run = await ctl(['replicas', '--admin', admin]);
        assert.equal(run.code, 0);
        assert.match(run.out, /^REPLICA .*\ngw-a\.3f2c .*\ngw-b\.77aa .*\n$/);
        assert.deepEqual(lines(), ['GET /api/v1/status HTTP/1.1']);
    });

    for (const [what, more] of [
        ['no numbers', { now: null }], ['no replicas', { replicas: {} }],
    ])
        test(what, async (t) => {
            const { admin } = await fake(t, [reply(200, status(more))]);
            for (const word of ['status', 'replicas']) {
                const run = await ctl([word, '--admin', admin]);
                assert.equal(run.code, 2);
                assert.equal(run.out, '');
                assert.equal(run.error,
                             'sidgate ctl: what came is no status\n');
            }
        });

    test('of wrong types', async (t) => {
        const wrong = [null, -1, {}, 'x\u001b[2J\n', [[[]]]];
        for (const one of wrong) {
            const all = Object.fromEntries(Object.keys(status()).map((name) =>
                [name, one]));
            const { admin } = await fake(t, [reply(200, {
                ...all, replicas: wrong,
                now: Object.fromEntries(Object.keys(status().now).map(
                    (name) => [name, one])) })]);
            const run = await ctl(['status', '--admin', admin]);
            assert.equal(run.code, 0, run.error);
            assert.doesNotMatch(run.out, /[^\n -~]/);
        }
    });
});

describe('configuration and log level', () => {
    test('config is JSON as it came', async (t) => {
        const body = '{\n  "listen": [\n\t"a"\n  ],\r\n  "x": "\u00e4\u009b"' +
            '\n}\n';
        const { admin, lines } = await fake(t, [reply(200, body)]);
        for (const flags of [[], ['--json']]) {
            const run = await ctl(['config', ...flags, '--admin', admin]);
            assert.equal(run.code, 0, run.error);
            assert.equal(run.out, body.replace('\r', ' ')
                .replace('\u009b', '\\u009b'));
        }
        assert.equal(lines()[0], 'GET /api/v1/config HTTP/1.1');
    });

    test('config that is none', async (t) => {
        const { admin } = await fake(t, [reply(200, '[]')]);
        const run = await ctl(['config', '--admin', admin]);
        assert.equal(run.code, 2);
        assert.equal(run.error, 'sidgate ctl: what came is no ' +
                     'configuration\n');
    });

    test('log-level', async (t) => {
        const { admin, lines } = await fake(t, ({ method }) =>
            reply(200, method === 'GET' ? { level: 'info' } : { ok: true }));
        const told = await ctl(['log-level', '--admin', admin]);
        assert.equal(told.out, 'info\n');
        const set = await ctl(['log-level', 'debug', '--admin', admin]);
        assert.equal(set.out, 'debug\n');
        const json = await ctl(['log-level', '--json', '--admin', admin]);
        assert.equal(json.out, '{"level":"info"}\n');
        assert.deepEqual(lines().slice(0, 2), [
            'GET /api/v1/log HTTP/1.1',
            'POST /api/v1/log?level=debug HTTP/1.1']);
    });

    test('no log level', async (t) => {
        const { admin } = await fake(t, [reply(200, '{"level":7}')]);
        const run = await ctl(['log-level', '--admin', admin]);
        assert.equal(run.code, 2);
        assert.equal(run.out, '');
    });
});

const COMMANDS = [
    ['status'], ['replicas'], ['backends'], ['top'], ['sessions'],
    ['sessions', '--all'], ['session', 'x'], ['kick', 'x'], ['drain', 'n1'],
    ['undrain', 'n1'], ['add', 'n1=a:1'], ['remove', 'n1'], ['reload'],
    ['upgrade'], ['events'], ['events', '--follow'], ['config'],
    ['log-level'], ['log-level', 'info'],
];

/* One for each way to look at an answer. */
const WAYS = [
    ['status'], ['top'], ['sessions', '--all', '--json'], ['session', 'x'],
    ['drain', 'n1'], ['kick', 'x', '--json'], ['upgrade'], ['events'],
    ['events', '--follow'], ['config'], ['log-level'],
];

describe('hostile answers', { concurrency: 2 }, () => {
    const deep = '['.repeat(100_000);
    const HOSTILE = {
        'not JSON': reply(200, 'x\u001b[2J'),
        nothing: reply(200, ''),
        'half of it': reply(200, '{"now":{},"backends":[],"sess'),
        'more behind it': reply(200, '{} {}'),
        'very deep': reply(200, deep),
        'a NUL behind it': reply(200, '{}\u0000'),
        'no HTTP': '\u001b]0;x\u0007\r\n\r\n',
        'closed early': 'HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{"a":',
        'too large': 'HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n{',
        'a redirect': reply(302, '', 'location: http://127.0.0.1:1/\r\n'),
        'an error with escapes': reply(500, { error: 'a\u001b[2J\nb\u009b' }),
        'a huge error': reply(409, { error: 'x'.repeat(1_000_000) }),
    };

    for (const [what, answer] of Object.entries(HOSTILE))
        test(what, async (t) => {
            const { admin } = await fake(t, [answer]);
            const status = /^HTTP\/1.1 ([345])/.test(answer) ? 1 : 2;
            for (const args of WAYS) {
                const run = await ctl([...args, '--admin', admin]);
                const isJson = args.includes('--json');
                assert.equal(run.code, status, `${args}: ${run.error}`);
                assert.match(run.error, /^sidgate ctl: [ -~]+\n$/, `${args}`);
                assert.ok(run.error.length < 600, `${args}`);
                if (!isJson || status === 2)
                    assert.equal(run.out, '', `${args}`);
                else if (run.out !== '')
                    assert.ok(JSON.parse(run.out).error, `${args}`);
            }
        });

    test('any JSON at all, for any command', async (t) => {
        for (const body of ['null', '[{}]', '{}']) {
            const { admin } = await fake(t, [reply(200, body)]);
            for (const args of COMMANDS) {
                const run = await ctl([...args, '--admin', admin]);
                assert.ok([0, 2].includes(run.code), `${args}: ${run.code}`);
                assert.match(run.out + run.error, /^[\n -~]+$/);
            }
        }
    });
});

test('a reader that goes away is no failure', async (t) => {
    const { admin } = await fake(t, ({ query }) => reply(200, {
        sessions: Array.from({ length: 1000 }, () => ({ id: 'x'.repeat(90) })),
        next: `${Number(query.cursor ?? 0) + 1}`, looked_at: 1000 }));
    const run = spawnGateway(['ctl', 'sessions', '--all', '--admin', admin]);
    await eventually(() => run.stdout() !== '', 'rows');
    run.child.stdout.destroy();
    assert.deepEqual(await run.exited, { code: 0, signal: null });
    assert.equal(run.stderr(), '');
});

test('standard output that is full is one', async (t) => {
    const { admin } = await fake(t, [reply(200, status())]);
    const child = spawn('sh', ['-c', 'exec "$0" "$@" >/dev/full',
                               gatewayBinary(), 'ctl', 'status', '--admin',
                               admin], { stdio: ['ignore', 'ignore', 'pipe'] });
    let error = '';
    child.stderr.on('data', (text) => (error += text));
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 2);
    assert.equal(error, 'sidgate ctl: standard output cannot be written\n');
});
