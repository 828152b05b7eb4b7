/* SPDX-License-Identifier: MIT */
/* `sidgate ctl`: its command line, what it asks, what it makes of answers. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { backend, fake, file, folder, OK, reply } from
    '../support/ctl-server.mjs';
import { ctl } from '../support/operator.mjs';
import { quietPort } from '../support/ports.mjs';

const TOKEN = 'correct-horse-battery-staple';

describe('command line', () => {
    const WRONG = {
        'ctl: a command is missing': [],
        'x: unknown command': ['x'],
        '-x: unknown command': ['-x'],
        '--x: unknown option': ['--x', 'backends'],
        'drain: its argument is missing': ['drain'],
        'add: its argument is missing': ['add', '--pool', 'p'],
        'b: unexpected argument': ['drain', 'a', 'b'],
        'a: unexpected argument': ['reload', 'a'],
        'rate: no option of this command': ['undrain', 'a', '--rate', '1'],
        'pool: no option of this command': ['drain', 'a', '--pool=p'],
        'all: no option of this command': ['backends', '--all'],
        'drain: its argument is empty': ['drain', ''],
        '--json=1: takes no value': ['backends', '--json=1'],
        '--x: unexpected argument': ['reload', '--', '--x'],
        '--limit: 0 is not between 1 and 1000000': ['sessions', '--limit=0'],
        '--limit: 1x is not between 1 and 1000000': ['sessions', '--limit=1x'],
        '--limit: -1 is not between 1 and 1000000': ['sessions', '--limit=-1'],
        '--limit:  1 is not between 1 and 500': ['events', '--limit= 1'],
        '--limit: 501 is not between 1 and 500': ['events', '--limit=501'],
        '--limit: 99999999999999999999 is not': [
            'events', '--follow', '--limit=99999999999999999999'],
        '--all and --limit exclude each other': ['sessions', '--all',
                                                 '--limit=5'],
        '--interval: 1 is not between 100ms and 1h': ['top', '--interval=1'],
        '--interval: x is not between 100ms and 1h': ['top', '--interval=x'],
        'top has no --json': ['top', '--json'],
        '--rate: needs a value': ['drain', 'a', '--rate'],
        '--rate=2: given more than once': ['drain', 'a', '--rate=1',
                                           '--rate=2'],
        '--admin: x is not host:port': ['backends', '--admin', 'x'],
        '--admin-token-file: /none: cannot be read':
            ['backends', '--admin-token-file', '/none'],
        '/none: cannot be read': ['backends', '--config', '/none'],
        '(admin is off)': ['backends', '--admin', 'off'],
        'name the port that the gateway got': ['backends', '--admin',
                                               '127.0.0.1:0'],
    };

    for (const [line, args] of Object.entries(WRONG)) {
        test(line, async () => {
            const run = await ctl(args);
            assert.equal(run.code, 2);
            assert.equal(run.out, '');
            assert.match(run.error, /^sidgate ctl: [^\n]+\n$/);
            assert.ok(run.error.includes(line), run.error);
        });
    }

    test('--help', async () => {
        const run = await ctl(['--help']);
        assert.equal(run.code, 0);
        assert.equal(run.error, '');
        for (const name of ['status', 'top [--once] [--interval TIME]',
                            'backends', 'replicas', 'session ID|SID|-',
                            'kick ID|SID|-', 'events [--limit N] [--follow] ' +
                            '[--level LEVEL]', 'config', 'log-level [LEVEL]',
                            'drain ID [--rate N] [--timeout TIME]',
                            'undrain ID', 'add SPEC [--pool NAME]',
                            'remove ID', 'reload', 'upgrade'])
            assert.ok(run.out.includes(`\n  ${name}\n`), name);
        assert.match(run.out, /\n {2}sessions \[--backend ID\]/);
        assert.match(run.out, /Others see a command line/);
        for (const line of run.out.split('\n'))
            assert.ok(line.length < 80, line);
    });

    test('nobody there', async () => {
        const port = await quietPort();
        const run = await ctl(['reload', '--admin', `127.0.0.1:${port}`]);
        assert.equal(run.code, 2);
        assert.equal(run.error, 'sidgate ctl: cannot connect to ' +
                     `127.0.0.1:${port}: Connection refused\n`);
    });

    test('no such socket', async (t) => {
        const run = await ctl(['reload', '--admin', `unix:${folder(t)}/s`]);
        assert.equal(run.code, 2);
        assert.match(run.error, /cannot connect to unix:.*: No such file/);
    });
});

describe('what is asked', () => {
    const ASKED = {
        'POST /api/v1/backends/n1/drain': ['drain', 'n1'],
        'POST /api/v1/backends/n1/drain?rate=20&timeout=5m':
            ['drain', 'n1', '--timeout=5m', '--rate', '20'],
        'POST /api/v1/backends/blue%2Fn1/undrain': ['undrain', 'blue/n1'],
        'POST /api/v1/backends/%5B::1%5D:80/remove': ['remove', '[::1]:80'],
        'POST /api/v1/backends/a%3Fb%26c%20%25/remove': ['remove', 'a?b&c %'],
        'POST /api/v1/backends?spec=n1%3D%5B::1%5D:80,weight%3D2,tls':
            ['add', 'n1=[::1]:80,weight=2,tls'],
        'POST /api/v1/backends?spec=n1%3Da:1&pool=blue':
            ['add', 'n1=a:1', '--pool', 'blue'],
        'POST /api/v1/reload': ['reload'],
        'POST /api/v1/log?level=debug': ['log-level', 'debug'],
        'POST /api/v1/sessions/0123456789abcdef/kick': [
            'kick', '0123456789abcdef'],
        'POST /api/v1/sessions/--a%2Fb/kick': ['kick', '--', '--a/b'],
    };

    for (const [line, args] of Object.entries(ASKED)) {
        test(line, async (t) => {
            const { admin, heads, lines } = await fake(t, [OK]);
            const run = await ctl(['--admin', admin, ...args]);
            assert.equal(run.code, 0, run.error);
            assert.equal(run.error, '');
            assert.match(run.out, /^[^\n]+\n$/);
            assert.deepEqual(lines(), [`${line} HTTP/1.1`]);
            assert.ok(heads[0].includes('\r\nHost: 127.0.0.1\r\n'), heads[0]);
            assert.ok(heads[0].includes('\r\nContent-Length: 0\r\n'));
            assert.ok(heads[0].includes('\r\nConnection: close\r\n'));
            assert.doesNotMatch(heads[0], /authorization/i);
        });
    }

    test('options may come first', async (t) => {
        const { admin, lines } = await fake(t, [OK]);
        const run = await ctl(['--admin', admin, '--rate', '1', 'drain', 'n']);
        assert.equal(run.code, 0, run.error);
        assert.deepEqual(lines(), [
            'POST /api/v1/backends/n/drain?rate=1 HTTP/1.1']);
    });

    test('--json gives what came', async (t) => {
        const body = '{"backends":[{"id":"n1"}],"x":"\\u001b"}';
        const { admin } = await fake(t, [reply(200, body)]);
        const run = await ctl(['backends', '--json', '--admin', admin]);
        assert.equal(run.code, 0);
        assert.equal(run.out, `${body}\n`);
    });
});

describe('whom to ask', () => {
    const asks = async ({ heads }, args, env) => {
        const run = await ctl(args, env);
        assert.equal(run.code, 0, run.error);
        return heads.at(-1);
    };
    const bearer = (token) => `\r\nAuthorization: Bearer ${token}\r\n`;

    test('a unix socket', async (t) => {
        const gateway = await fake(t, [OK], { path: `${folder(t)}/s` });
        const head = await asks(gateway, ['reload', '--admin', gateway.admin]);
        assert.ok(head.includes('\r\nHost: localhost\r\n'));
    });

    test('by the environment', async (t) => {
        const gateway = await fake(t, [OK]);
        const head = await asks(gateway, ['reload'], {
            SIDGATE_ADMIN: gateway.admin,
            SIDGATE_ADMIN_TOKEN_FILE: file(t, `${TOKEN}\n`),
            SIDGATE_LISTEN: 'whatever',
        });
        assert.ok(head.includes(bearer(TOKEN)), head);
    });

    test('by the configuration file', async (t) => {
        const gateway = await fake(t, [OK]);
        const config = file(t, `{ // where
            "admin": "${gateway.admin}", "backend": ["n1=127.0.0.1:1"],
            "store": "redis://127.0.0.1:1/0",
            "store_password_file": "/none",
            "pools": [{ "name": "blue", "backend": ["nowhere.invalid:1"] }],
            "admin_token_file": "${file(t, TOKEN)}" }`, 'sidgate.json');
        assert.ok((await asks(gateway, ['reload', '--config', config]))
            .includes(bearer(TOKEN)));
        assert.ok((await asks(gateway, ['reload'], { SIDGATE_CONFIG: config }))
            .includes(bearer(TOKEN)));
        const other = 'another-token-of-some-length';
        assert.ok((await asks(gateway, [
            'reload', '--config', config, '--admin-token-file',
            file(t, other)])).includes(bearer(other)));
    });

    test('the command line wins', async (t) => {
        const gateway = await fake(t, [OK]);
        await asks(gateway, ['reload', '--admin', gateway.admin],
                   { SIDGATE_ADMIN: '127.0.0.1:1' });
        await asks(gateway, ['reload'],
                   { SIDGATE_ADMIN: gateway.admin, SIDGATE_CONFIG: file(
                       t, '{"admin": "127.0.0.1:1"}') });
    });

    test('a file with a mistake', async (t) => {
        const run = await ctl(['reload', '--config', file(t, '{"admn": 1}')]);
        assert.equal(run.code, 2);
        assert.match(run.error, /unknown key admn\n$/);
    });

    test('a file without a listener', async (t) => {
        const run = await ctl(['reload', '--config', file(t, '{}')]);
        assert.equal(run.code, 2);
        assert.match(run.error, /admin is off/);
    });

    test('a token that is too short', async (t) => {
        const run = await ctl(['reload', '--admin-token-file', file(t, 'x')]);
        assert.equal(run.code, 2);
        assert.match(run.error, /shorter than 16/);
    });
});

test('the list is an aligned table', async (t) => {
    const { admin, lines } = await fake(t, [reply(200, {
        gateway: 'gw-a', version: '1', pid: 7, backends: [
            backend(),
            backend({ id: 'blue/a-longer-one', state: 'drained',
                      reason: 'by the operator', max_sessions: 20000,
                      source: 'discovery', sessions: 123,
                      drain: { rate: 20, deadline_s: 90, closed: 277,
                               sessions_at_start: 400 } }),
            backend({ id: 'n3', drain: { rate: 0, deadline_s: null } }),
            backend({ id: 'n4', drain: { rate: 5, deadline_s: null } }),
            backend({ id: 'n5', drain: { rate: 0, deadline_s: 4 } }),
            { id: 'n6\u001b[2J\n\u009b\u202e' },
        ] })]);
    const run = await ctl(['backends', '--admin', admin]);
    assert.equal(run.code, 0, run.error);
    assert.deepEqual(lines(), ['GET /api/v1/backends HTTP/1.1']);
    const rows = run.out.trimEnd().split('\n');
    const middle = ['3', '2', '12', '4.6k', '2', '75.0 %', '1'];
    const first = ['default', '10.0.0.1:80', 'up', ...middle, '-', 'config'];
    assert.deepEqual(rows.map((row) => row.split(/ {2,}/)), [
        ['ID', 'POOL', 'ADDRESS', 'STATE', 'SESSIONS', 'WEBSOCKET',
         'ELSEWHERE', 'REQUESTS', 'ERRORS', 'UPGRADED', 'WEIGHT', 'MAX',
         'SOURCE', 'DRAIN', 'REASON'],
        ['n1', ...first, '-', '-'],
        ['blue/a-longer-one', 'default', '10.0.0.1:80', 'drained', '123',
         ...middle.slice(1), '20.0k', 'discovery', '69.2 %, 20/s, 1m30s left',
         'by the operator'],
        ['n3', ...first, 'on', '-'],
        ['n4', ...first, '5.0/s', '-'],
        ['n5', ...first, '4.0s left', '-'],
        ['n6?[2J??????', ...Array(14).fill('-')],
    ]);
    const at = rows[0].indexOf('STATE');
    for (const row of rows)
        assert.equal(row[at - 1], ' ', row);
    const end = rows[0].indexOf('SESSIONS') + 'SESSIONS'.length;
    for (const row of rows)
        assert.match(row.slice(0, end), /\S$/, row);
});

describe('refusals', () => {
    const REFUSED = {
        'there is no backend n9': reply(404, '{"error":"there is no backend ' +
                                             'n9"}'),
        'a ?[2J b': reply(409, '{"error":"a \\u001b[2J b"}'),
        'the gateway answers with status 403': reply(403, 'no\n'),
        'the gateway answers with status 500': reply(500, ''),
        'the gateway answers with status 503': reply(503, '{"error":7}'),
    };

    for (const [line, answer] of Object.entries(REFUSED)) {
        test(line, async (t) => {
            const { admin } = await fake(t, [answer]);
            for (const args of [['drain', 'n9'], ['backends'], ['upgrade']]) {
                const run = await ctl([...args, '--admin', admin]);
                assert.equal(run.code, 1);
                assert.equal(run.error, `sidgate ctl: ${line}\n`);
                assert.equal(run.out, '');
            }
        });
    }
});

describe('what is no answer', () => {
    const head = 'HTTP/1.1 200 OK\r\n';
    const BAD = {
        nothing: '',
        'half a head': head,
        'no HTTP': 'SSH-2.0-OpenSSH\r\n\r\n',
        'no length': `${head}\r\n{}`,
        chunks: `${head}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
        'two lengths': `${head}Content-Length: 2\r\nContent-Length: 3\r\n` +
            '\r\n{}',
        'a negative length': `${head}Content-Length: -2\r\n\r\n{}`,
        'a huge length': `${head}Content-Length: 4194305\r\n\r\n{}`,
        'a longer length': `${head}Content-Length: 3\r\n\r\n{}`,
        'a shorter length': `${head}Content-Length: 1\r\n\r\n{}`,
        'a bare LF': 'HTTP/1.1 200 OK\nContent-Length: 2\n\n{}',
        'a folded field': `${head}A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}`,
        'status 100': 'HTTP/1.1 100 C\r\nContent-Length: 0\r\n\r\n',
        'a head without end': `${head}A: ${'x'.repeat(40000)}`,
        'many fields': `${head}${'A: b\r\n'.repeat(200)}\r\n`,
    };

    for (const [what, bytes] of Object.entries(BAD)) {
        test(what, async (t) => {
            const { admin } = await fake(t, [bytes]);
            const run = await ctl(['reload', '--admin', admin]);
            assert.equal(run.code, 2, run.out);
            assert.match(run.error, /^sidgate ctl: [^\n]+\n$/);
            assert.equal(run.out, '');
        });
    }

    test('a list that is none', async (t) => {
        for (const body of ['', '[]', '{}', '{"backends":{}}', '{"backends":[}',
                            '[[[[[[[[', '\u0000', '{"backends":[]} x',
                            '{"backends":[]}\u0000']) {
            const { admin } = await fake(t, [reply(200, body)]);
            const run = await ctl(['backends', '--admin', admin]);
            assert.equal(run.code, 2);
            assert.match(run.error, /no list of backends\n$|is not JSON\n$/);
        }
    });

    test('a body of 4 MiB, in pieces', async (t) => {
        const body = `{"ok":true${' '.repeat(4 * 1024 * 1024 - 11)}}`;
        const { admin } = await fake(t, [(socket) => {
            socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n');
            for (let at = 0; at < body.length; at += 50000)
                socket.write(body.slice(at, at + 50000));
        }]);
        const run = await ctl(['reload', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
    });

    test('silence, and a trickle, for 10 s', async (t) => {
        const silent = await fake(t, [() => {}]);
        const trickle = await fake(t, [(socket) => {
            socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
            const timer = setInterval(() => socket.write('x'), 200);
            socket.on('close', () => clearInterval(timer));
        }]);
        const start = Date.now();
        const runs = await Promise.all([silent, trickle].map(
            ({ admin }) => ctl(['reload', '--admin', admin])));
        const ms = Date.now() - start;
        assert.ok(ms >= 9500 && ms < 20000, `${ms}`);
        for (const run of runs) {
            assert.equal(run.code, 2);
            assert.match(run.error, /no answer: Connection timed out\n$/);
        }
    });
});

describe('upgrade', () => {
    const state = (more) => reply(200, JSON.stringify(more));
    const IDLE = state({ state: 'idle', pid: 10, error: '' });
    const STARTING = state({ state: 'starting', pid: 10 });
    const DONE = state({ state: 'done', pid: 11, from: 10 });
    const BEGUN = reply(202, '{"ok":true}');

    test('waits for the new process', async (t) => {
        const { admin, lines } = await fake(t, [
            IDLE, BEGUN, STARTING, STARTING,
            state({ state: 'done', pid: 10 }), (socket) => socket.destroy(),
            DONE]);
        const run = await ctl(['upgrade', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.match(run.out, /^upgraded: pid 10 -> 11 in \d+ ms\n$/);
        assert.deepEqual(lines(), [
            'GET /api/v1/upgrade HTTP/1.1', 'POST /api/v1/upgrade HTTP/1.1',
            ...Array(5).fill('GET /api/v1/upgrade HTTP/1.1')]);
    });

    test('one that was done before is none', async (t) => {
        const { admin } = await fake(t, [
            DONE, BEGUN, DONE, state({ state: 'starting', pid: 11 }),
            state({ state: 'done', pid: 12, from: 11 })]);
        const run = await ctl(['upgrade', '--admin', admin]);
        assert.match(run.out, /^upgraded: pid 11 -> 12 in \d+ ms\n$/);
    });

    test('failed', async (t) => {
        const { admin } = await fake(t, [
            IDLE, BEGUN, STARTING,
            state({ state: 'failed', pid: 10, error: 'it crashed' })]);
        const run = await ctl(['upgrade', '--admin', admin]);
        assert.equal(run.code, 1);
        assert.equal(run.error,
                     'sidgate ctl: the upgrade failed: it crashed\n');
        assert.equal(run.out, '');
    });

    test('refused', async (t) => {
        const { admin } = await fake(t, [
            IDLE, reply(409, '{"error":"one is under way"}')]);
        const run = await ctl(['upgrade', '--admin', admin]);
        assert.equal(run.code, 1);
        assert.equal(run.error, 'sidgate ctl: one is under way\n');
    });

    test('a state that is none', async (t) => {
        for (const body of ['{}', '{"state":1,"pid":2}', '{"state":"idle"}']) {
            const { admin } = await fake(t, [reply(200, body)]);
            const run = await ctl(['upgrade', '--admin', admin]);
            assert.equal(run.code, 2);
            assert.match(run.error, /no state of an upgrade/);
        }
    });
});
