/* SPDX-License-Identifier: MIT */
/* `sidgate ctl top`: on a terminal, on a dumb one, and on none. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { backend, event, fake, reply, status } from
    '../support/ctl-server.mjs';
import { ctl } from '../support/operator.mjs';
import { onTerminal } from '../support/terminal.mjs';
import { eventually } from '../support/wire.mjs';

const ESCAPE = '\u001b';
const EVENTS = Array.from({ length: 20 }, (_, i) => event(
    i + 1, { event: `event_${i + 1}` }));

/* A gateway with so many backends; `more` may answer in its place. */
function gateway(t, { count = 3, more = () => null } = {})
{
    const start = Date.now();
    return fake(t, (asked) => {
        const own = more(asked);
        if (own)
            return own;
        const ms = Date.now() - start;
        const list = Array.from({ length: count }, (_, i) => backend({
            id: `n${i + 1}`, sessions: 100 * (i + 1),
            requests_total: ms / 1000 * 500,
            state: i === 1 ? 'down' : 'up',
            reason: i === 1 ? 'no answer to the check' : '',
        }));
        return reply(200, {
            '/api/v1/status': status(),
            '/api/v1/backends': { backends: list },
            '/api/v1/events': { events: EVENTS, last: 20, lost: 0 },
        }[asked.path]);
    });
}

const live = ['--interval', '100ms'];

function isStopped(pid)
{
    return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

describe('one frame', () => {
    test('without a terminal', async (t) => {
        const { admin, lines } = await gateway(t);
        const run = await ctl(['top', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.equal(run.error, '');
        assert.doesNotMatch(run.out, /[^\n -~]/);
        assert.deepEqual(lines().map((line) => line.split(' ')[1]), [
            '/api/v1/status', '/api/v1/backends', '/api/v1/events?limit=20']);
        const shown = run.out.split('\n');
        assert.match(shown[0], /^gateway {5}gw-a\.3f2c, running for 3h25m, /);
        assert.match(run.out, /\naffinity {4}good: misroutes 0\/s \(0\), /);
        assert.match(run.out, /\nupgrades {4}3\.1\/s, 99\.2 % succeed; 992 of/);
        assert.match(run.out, /\nreplicas {4}2: gw-a\.3f2c\* 1\.2k, gw-b/);
        assert.match(run.out, /\nbusiest {5}n3 has 50\.0 % of the sessions; /);
        const at = shown.findIndex((line) => line.startsWith('BACKEND'));
        assert.match(shown[at + 1], /^n2 .* no answer to the check$/);
        assert.match(shown[at + 2], /^n3 +up +300 #{16} /);
        assert.match(shown[at + 3], /^n1 +up +100 #{5} /);
        assert.match(run.out, /info event_20 backend=n1\n$/);
        assert.doesNotMatch(run.out, /event_12 /);
    });

    test('--once', async (t) => {
        const { admin } = await gateway(t);
        const screen = await onTerminal(t, ['ctl', '--admin', admin, 'top',
                                            '--once']);
        const { code, text } = await screen.ended();
        assert.equal(code, 0);
        assert.ok(!text.includes(ESCAPE));
        assert.match(text, /event_20/);
    });

    test('of 2,000 backends', async (t) => {
        const { admin } = await gateway(t, { count: 2000 });
        const run = await ctl(['top', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.ok(run.out.split('\n').length <= 401);
        assert.match(run.out, /\nand \d+ more\n/);
    });

    for (const [what, path, body] of [
        ['status', '/api/v1/status', {}],
        ['backends', '/api/v1/backends', []],
        ['events', '/api/v1/events', 'x'],
    ])
        test(`no ${what}`, async (t) => {
            const { admin } = await gateway(t, {
                more: (asked) => asked.path === path && reply(200, body) });
            const run = await ctl(['top', '--admin', admin]);
            assert.equal(run.code, 2);
            assert.equal(run.out, '');
            assert.match(run.error, /^sidgate ctl: what came [^\n]+\n$/);
        });

    test('of wrong types', async (t) => {
        const wrong = { a: [null, -1, 1e999, {}, 'x\u001b[2J\n'] };
        const { admin } = await gateway(t, {
            more: ({ path }) => reply(200, {
                '/api/v1/status': { now: wrong, store: 7, replicas: [wrong, 3],
                                    totals: [], gateway: wrong, pid: -1 },
                '/api/v1/backends': { backends: [
                    wrong, 7, null, { id: wrong, state: 'x\u009b\u001b[2J' },
                    { sessions: -5, id: 'y\u001b', drain: 'x' },
                    { sessions: 1e308, id: 'z'.repeat(5000) }] },
                '/api/v1/events': { events: [
                    wrong, 7, null, { fields: wrong },
                    { fields: { '\u001b[1m': '\u001b]0;x\u0007' },
                      event: 'e'.repeat(9000) }], last: 'x' },
            }[path]) });
        const run = await ctl(['top', '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.doesNotMatch(run.out, /[^\n -~]/);
        for (const line of run.out.split('\n'))
            assert.ok(line.length < 512, line);
    });
});

describe('live', () => {
    async function start(t, options = {}, where = {})
    {
        const server = await gateway(t, options);
        const screen = await onTerminal(t, ['ctl', '--admin', server.admin,
                                            'top', ...live], where);
        await eventually(() => screen.frames().length > 3, 'some frames');
        return Object.assign(screen, { server });
    }

    async function endsWell(screen, code = 0)
    {
        const end = await screen.ended();
        assert.equal(end.code, code, end.text.slice(-300));
        assert.equal(end.text.split(`${ESCAPE}[?1049h`).length, 2);
        assert.ok(end.text.includes(`${ESCAPE}[?25h${ESCAPE}[?1049l`));
        assert.match(end.settings, /\sicanon\s/);
        assert.match(end.settings, /\secho\s/);
        return end;
    }

    test('redraws until q', async (t) => {
        const screen = await start(t);
        const shown = screen.frame();
        assert.ok(shown.length <= 24, `${shown.length}`);
        for (const line of shown)
            assert.ok(line.length <= 80, line);
        await eventually(() => /\nn1 .* [45]\d\d +0 /
            .test(screen.frame().join('\n')), 'a rate');
        screen.type('xyz');
        screen.type('q');
        await endsWell(screen);
    });

    for (const [what, stop] of [
        ['Ctrl-C', (screen) => screen.type('\u0003')],
        ['SIGINT', (screen) => process.kill(screen.pid(), 'SIGINT')],
        ['SIGTERM', (screen) => process.kill(screen.pid(), 'SIGTERM')],
        ['Ctrl-\\', (screen) => screen.type('\u001c')],
    ])
        test(`ends with ${what}`, async (t) => {
            const screen = await start(t);
            stop(screen);
            await endsWell(screen);
        });

    test('ends while no answer comes', async (t) => {
        let isSilent = false;
        const screen = await start(t, {
            more: () => isSilent && (() => {}) });
        isSilent = true;
        const before = screen.server.heads.length;
        await eventually(() => screen.server.heads.length > before, 'asked');
        const at = Date.now();
        screen.type('q');
        await endsWell(screen);
        assert.ok(Date.now() - at < 8000);
    });

    test('follows the size', async (t) => {
        const screen = await start(t, { count: 40 });
        assert.ok(screen.frame().some((line) => /^and \d+ more/.test(line)));
        screen.resize(70, 130);
        await eventually(() => screen.frame().length > 60, 'a longer frame');
        assert.ok(!screen.frame().some((line) => /^and \d+ more/.test(line)));
        screen.resize(5, 20);
        await eventually(() => screen.frame().length === 5 &&
            screen.frame().every((line) => line.length <= 20), 'a small one');
        screen.type('q');
        await endsWell(screen);
    });

    test('a gateway that is away, and is back', async (t) => {
        let isAway = false;
        const screen = await start(t, {
            more: () => isAway && ((socket) => socket.destroy()) });
        isAway = true;
        await eventually(() => /^\S+s old: [^\n]+closed/
            .test(screen.frame()[0]), 'it is told', 10_000);
        assert.match(screen.frame()[1], /^gateway/);
        isAway = false;
        await eventually(() => /^gateway/.test(screen.frame()[0]), 'new ones');
        screen.type('q');
        await endsWell(screen);
    });

    test('a gateway that refuses', async (t) => {
        let isRefused = false;
        const screen = await start(t, { more: () => isRefused &&
            reply(401, { error: 'wrong token' }) });
        isRefused = true;
        const { text } = await endsWell(screen, 1);
        assert.match(text, /sidgate ctl: wrong token\r?\n$/);
    });

    test('Ctrl-Z gives the terminal back', async (t) => {
        const screen = await start(t);
        screen.type('\u001a');
        await eventually(() => screen.text().endsWith(
            `${ESCAPE}[?25h${ESCAPE}[?1049l`), 'it gives it back');
        /* It stops a moment later, and whoever continues it before is not
         * heard. */
        await eventually(() => isStopped(screen.pid()), 'it stands still');
        process.kill(screen.pid(), 'SIGCONT');
        const before = screen.frames().length;
        await eventually(() => screen.frames().length > before + 2,
                         'it goes on');
        screen.type('q');
        const { code } = await screen.ended();
        assert.equal(code, 0);
    });

    for (const term of ['dumb', ''])
        test(`no escapes with TERM=${term}`, async (t) => {
            const { admin } = await gateway(t);
            const screen = await onTerminal(
                t, ['ctl', '--admin', admin, 'top', ...live], { term });
            await eventually(
                () => screen.text().split('\ngateway ').length > 3, 'frames');
            screen.type('q');
            const { code, text } = await screen.ended();
            assert.equal(code, 0);
            assert.ok(!text.includes(ESCAPE));
        });
});
