/* SPDX-License-Identifier: MIT */
/* `sidgate ctl sessions`, `session` and `kick`. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';

import { fake, reply, session } from '../support/ctl-server.mjs';
import { gatewayBinary } from '../support/gateway.mjs';
import { ctl } from '../support/operator.mjs';

const SID = 'lv_VI97HAXpY6yYWAAAC';

/* A store of `total` sessions, given `page` at a time. */
function store(t, { total, page = 1000, more = () => ({}) })
{
    return fake(t, ({ query, path }) => {
        assert.equal(path, '/api/v1/sessions');
        const from = Number(query.cursor?.slice(1) ?? 0);
        const count = Math.min(Number(query.limit), page, total - from);
        const sessions = Array.from({ length: count }, (_, i) =>
            session(from + i));
        const at = from + count;
        return reply(200, { scope: 'store', sessions, looked_at: 100,
                            next: at < total ? `c${at}` : null,
                            ...more(query) });
    });
}

const rowsOf = ({ out }) => out.trimEnd().split('\n')
    .map((row) => row.trim().split(/ {2,}/));

describe('the list', () => {
    test('is a table', async (t) => {
        const { admin, lines } = await store(t, { total: 2 });
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.equal(run.error, '');
        assert.deepEqual(rowsOf(run), [
            ['ID', 'SID', 'BACKEND', 'TRANSPORT', 'EIO', 'CLIENT', 'GATEWAY',
             'AGE', 'IDLE', 'REQUESTS', 'IN', 'OUT'],
            ...[0, 1].map((i) => [
                i.toString().padStart(16, '0'), 'abcd...', 'n1', 'websocket',
                '4', '10.0.0.7', 'gw-a.3f2c', '5m12s', '0.2s', '1.2k',
                '512 B', '3.4 MB'])]);
        assert.deepEqual(lines(), ['GET /api/v1/sessions?limit=100 HTTP/1.1']);
    });

    test('of none', async (t) => {
        const { admin } = await store(t, { total: 0 });
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(run.code, 0);
        assert.equal(rowsOf(run).length, 1);
        assert.equal(run.error, '');
    });

    test('of those that ended', async (t) => {
        const { admin, lines } = await fake(t, [reply(200, {
            scope: 'local', looked_at: 1, next: null, sessions: [
                session(1, { ended: '2026-01-02T03:09:17.999Z',
                             cause: 'client', duration_s: 7384,
                             eio: null, requests: null })] })]);
        const run = await ctl(['sessions', '--ended', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.deepEqual(rowsOf(run)[1].slice(4), [
            '-', '10.0.0.7', 'gw-a.3f2c', '2026-01-02T03:09:17Z', '2h03m', '-',
            '512 B', '3.4 MB', 'client']);
        assert.deepEqual(lines(), [
            'GET /api/v1/sessions?ended=true&limit=100 HTTP/1.1']);
    });

    test('with filters', async (t) => {
        const { admin, lines } = await store(t, { total: 3, page: 2 });
        const run = await ctl([
            'sessions', '--admin', admin, '--backend=blue/n1', '--client',
            '2001:db8::1', '--transport', 'polling', '--gateway', 'gw-a',
            '--search', 'a&b=ü', '--limit=7']);
        assert.equal(run.code, 0, run.error);
        const filters = 'backend=blue%2Fn1&client=2001:db8::1&' +
            'transport=polling&gateway=gw-a&search=a%26b%3D%C3%BC';
        assert.deepEqual(lines(), [
            `GET /api/v1/sessions?${filters}&limit=7 HTTP/1.1`,
            `GET /api/v1/sessions?${filters}&limit=5&cursor=c2 HTTP/1.1`]);
    });
});

describe('many pages', () => {
    test('until the limit', async (t) => {
        const { admin, heads } = await store(t, { total: 5000, page: 30 });
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(run.code, 0);
        assert.equal(rowsOf(run).length, 101);
        assert.equal(new Set(run.out.split('\n')).size, 102);
        assert.equal(heads.length, 4);
        assert.equal(run.error, 'sidgate ctl: stopped after 100 sessions, ' +
                     'there may be more (--limit N, --all)\n');
    });

    test('--limit 2500', async (t) => {
        const { admin, lines } = await store(t, { total: 2501 });
        const run = await ctl(['sessions', '--limit', '2500', '--admin',
                               admin]);
        assert.equal(rowsOf(run).length, 2501);
        assert.match(run.error, /stopped after 2500 sessions/);
        assert.deepEqual(lines().map((line) => /limit=(\d+)/.exec(line)[1]),
                         ['1000', '1000', '500']);
    });

    test('exactly as many as there are', async (t) => {
        const { admin } = await store(t, { total: 100 });
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(rowsOf(run).length, 101);
        assert.equal(run.error, '');
    });

    test('--all', async (t) => {
        const { admin } = await store(t, { total: 3210, page: 700 });
        const run = await ctl(['sessions', '--all', '--admin', admin]);
        assert.equal(run.code, 0);
        assert.equal(rowsOf(run).length, 3211);
        assert.equal(run.error, '');
    });

    test('--all --json is one object', async (t) => {
        const { admin } = await store(t, { total: 3210, page: 700, more: () =>
            ({ more: ['\u001b\u009b\u007f"\\', 1.5] }) });
        const run = await ctl(['sessions', '--all', '--json', '--admin',
                               admin]);
        assert.equal(run.code, 0);
        assert.doesNotMatch(run.out, /[\u007f-\u009f\u001b]/);
        const { sessions, ...others } = JSON.parse(run.out);
        assert.deepEqual(sessions, Array.from({ length: 3210 }, (_, i) =>
            session(i)));
        assert.deepEqual(others, { scope: 'store', next: null, looked_at: 500,
                                   more: ['\u001b\u009b\u007f"\\', 1.5] });
    });

    test('--json within the limit', async (t) => {
        const { admin } = await store(t, { total: 500, page: 60 });
        const run = await ctl(['sessions', '--json', '--admin', admin]);
        const answer = JSON.parse(run.out);
        assert.equal(answer.sessions.length, 100);
        assert.equal(answer.next, 'c100');
        assert.match(run.error, /stopped after 100/);
    });

    /* Where a filter leaves nothing of what was looked at. */
    test('empty ones', async (t) => {
        for (const flags of [[], ['--json']]) {
            const { admin, heads } = await fake(t, ({ count }) =>
                reply(200, { sessions: count === 50 ? [session(7)] : [],
                             next: count === 50 ? null : `c${count}`,
                             looked_at: 5000, scope: 'store' }));
            const run = await ctl(['sessions', '--admin', admin, ...flags]);
            assert.equal(run.code, 0, run.error);
            assert.equal(heads.length, 50);
            if (flags.length > 0)
                assert.deepEqual(JSON.parse(run.out), {
                    scope: 'store', next: null, looked_at: 250_000,
                    sessions: [session(7)] });
            else
                assert.equal(rowsOf(run).length, 2);
        }
    });

    test('a cursor that was refused', async (t) => {
        const { admin } = await fake(t, ({ query }) => query.cursor
            ? reply(400, { error: 'cursor is not one that this gateway gave' })
            : reply(200, { sessions: [session(1)], next: 'c', scope: 'x' }));
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(run.code, 1);
        assert.equal(run.error, 'sidgate ctl: cursor is not one that this ' +
                     'gateway gave\n');
    });

    const one = [session(1)];
    const WRONG = {
        'no list': { next: null },
        'a list that is none': { sessions: {}, next: null },
        'no next': { sessions: one },
        'an empty cursor': { sessions: one, next: '' },
        'a cursor of another type': { sessions: one, next: 7 },
        'a cursor that is too long': { sessions: one, next: 'x'.repeat(9000) },
        'a cursor that is too long once encoded': {
            sessions: one, next: '%'.repeat(3000) },
        'more than a page': { sessions: Array(1001).fill(7), next: null },
    };
    for (const [what, answer] of Object.entries(WRONG))
        test(what, async (t) => {
            const { admin } = await fake(t, [reply(200, answer)]);
            const run = await ctl(['sessions', '--all', '--admin', admin]);
            assert.equal(run.code, 2);
            assert.match(run.error, /^sidgate ctl: [^\n]+\n$/);
        });

    test('rows of wrong types', async (t) => {
        const { admin } = await fake(t, [reply(200, { next: null, sessions: [
            7, null, [], 'x', { id: {}, age_s: 'x', bytes_in: -1, eio: [] },
            { id: '\u001b]0;owned\u0007', age_s: 1e308, requests: 1e308,
              bytes_out: 1e308, client: 'x'.repeat(10000) }] })]);
        const run = await ctl(['sessions', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        const rows = rowsOf(run);
        for (const row of rows.slice(1, 6))
            assert.deepEqual(row, Array(12).fill('-'));
        assert.deepEqual(rows[6].slice(7), ['>9999d', '-', '>9999T', '-',
                                            '>9999 PB']);
        assert.equal(rows[6][0], '?]0;owned?');
        assert.match(rows[6][5], /^x{156}\.\.\.$/);
    });
});

/* Runs it with `input` on standard input. */
function ctlWith(input, args)
{
    return new Promise((resolve) => {
        const child = spawn(gatewayBinary(), ['ctl', ...args]);
        let out = '';
        let error = '';
        child.stdout.on('data', (text) => (out += text));
        child.stderr.on('data', (text) => (error += text));
        child.on('close', (code) => resolve({ code, out, error }));
        child.stdin.on('error', () => {});
        child.stdin.end(input);
    });
}

describe('one session', () => {
    const full = session(10, { state: 'live', ping_interval_ms: 25000,
                               ping_timeout_ms: 800 });

    test('all that is known', async (t) => {
        const { admin, lines } = await fake(t, [reply(200, {
            session: full })]);
        const run = await ctl(['session', full.id, '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.deepEqual(lines(), [
            'GET /api/v1/sessions/000000000000000a HTTP/1.1']);
        const shown = new Map(run.out.trimEnd().split('\n').map((line) =>
            [line.slice(0, 18).trim(), line.slice(19)]));
        assert.equal(shown.get('id'), full.id);
        assert.equal(shown.get('state'), 'live');
        assert.equal(shown.get('age'), '5m12s');
        assert.equal(shown.get('ping interval'), '25s');
        assert.equal(shown.get('ping timeout'), '800 ms');
        assert.equal(shown.get('bytes to client'), '3.4 MB');
        assert.ok(!shown.has('ended'));
    });

    test('one that has ended', async (t) => {
        const { admin } = await fake(t, [reply(200, { session: session(1, {
            state: 'ended', cause: 'ping timeout', duration_s: 61,
            ended: '2026-01-02T03:09:17.999Z' }) })]);
        const run = await ctl(['session', '1', '--admin', admin]);
        assert.match(run.out, /\ncause of its end +ping timeout\n/);
        assert.match(run.out, /\nended +2026-01-02T03:09:17\.999Z\n/);
        assert.match(run.out, /\nlasted +1m01s\n/);
    });

    for (const [what, input, asked] of [
        ['a sid', `${SID}\n`, SID],
        ['without a line end', SID, SID],
        ['with CR', `${SID}\r\n`, SID],
        ['the first line', `${SID}\nmore\n`, SID],
        ['odd bytes', 'a/b?c d\u00fc\n', 'a%2Fb%3Fc%20d%C3%BC'],
        ['256 bytes', `${'x'.repeat(256)}\n`, 'x'.repeat(256)],
    ])
        test(`from standard input: ${what}`, async (t) => {
            const { admin, lines } = await fake(t, ({ method }) =>
                method === 'POST' ? reply(200, { ok: true, gateways: 2 })
                    : reply(200, { session: full }));
            const run = await ctlWith(input, ['session', '-', '--admin',
                                              admin]);
            assert.equal(run.code, 0, run.error);
            const kick = await ctlWith(input, ['kick', '-', '--admin', admin]);
            assert.equal(kick.code, 0, kick.error);
            assert.equal(kick.out, 'the session is ended (2 gateways were ' +
                         'told)\n');
            assert.deepEqual(lines(), [
                `GET /api/v1/sessions/${asked} HTTP/1.1`,
                `POST /api/v1/sessions/${asked}/kick HTTP/1.1`]);
        });

    for (const [what, input] of [
        ['nothing', ''], ['an empty line', '\nx\n'],
        ['a line that is too long', 'x'.repeat(300)],
        ['a long line with an end', `${'x'.repeat(300)}\n`],
        ['NUL', '\0'],
    ])
        test(`no sid on standard input: ${what}`, async () => {
            const run = await ctlWith(input, ['kick', '-']);
            assert.equal(run.code, 2);
            assert.match(run.error, /^sidgate ctl: -: [^\n]+\n$/);
        });

    test('a kick says nothing of the sid', async (t) => {
        for (const [body, line] of [
            [{ ok: true, gateways: 1 }, ' (1 gateway was told)'],
            [{ ok: true }, ''], [{ gateways: 'x' }, ''],
            [{ gateways: 1e300 }, ''],
        ]) {
            const { admin } = await fake(t, [reply(200, body)]);
            const run = await ctl(['kick', SID, '--admin', admin]);
            assert.equal(run.code, 0, run.error);
            assert.equal(run.out, `the session is ended${line}\n`);
        }
    });

    for (const [status, error] of [
        [404, 'no session has this id'],
        [429, 'too many kicks in this second'],
        [503, 'the store is away: only this replica was told'],
        [403, 'this token may only read'],
    ])
        test(`refused with ${status}`, async (t) => {
            const { admin } = await fake(t, [reply(status, { error })]);
            for (const word of ['session', 'kick']) {
                const run = await ctl([word, 'x', '--admin', admin]);
                assert.equal(run.code, 1);
                assert.equal(run.out, '');
                assert.equal(run.error, `sidgate ctl: ${error}\n`);
                const json = await ctl([word, 'x', '--json', '--admin',
                                        admin]);
                assert.equal(json.code, 1);
                assert.deepEqual(JSON.parse(json.out), { error });
            }
        });

    test('no session', async (t) => {
        const { admin } = await fake(t, [reply(200, { session: [] })]);
        const run = await ctl(['session', 'x', '--admin', admin]);
        assert.equal(run.code, 2);
        assert.equal(run.error, 'sidgate ctl: what came is no session\n');
    });
});
