/* SPDX-License-Identifier: MIT */
/* `sidgate ctl events`, once and going on. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { event, fake, reply } from '../support/ctl-server.mjs';
import { spawnGateway } from '../support/gateway.mjs';
import { ctl } from '../support/operator.mjs';
import { eventually } from '../support/wire.mjs';

describe('once', () => {
    test('as lines', async (t) => {
        const { admin, lines } = await fake(t, [reply(200, {
            events: [
                event(1),
                event(2, { level: 'warning', event: 'x', fields: {
                    why: 'a b', none: '', n: 5, deep: { a: [1] }, yes: true,
                    quote: 'a"b', odd: '\u001b[2J\u009b\u202e' } }),
                event(3, { fields: {} }), event(4, { fields: 'x' }),
            ], last: 4, lost: 9 })]);
        const run = await ctl(['events', '--limit=7', '--level', 'info',
                               '--admin', admin]);
        assert.equal(run.code, 0, run.error);
        assert.deepEqual(lines(), [
            'GET /api/v1/events?limit=7&level=info HTTP/1.1']);
        const at = '2026-01-02T03:04:05.678Z';
        assert.deepEqual(run.out.split('\n'), [
            `${at} info backend_up backend=n1`,
            `${at} warning x why="a b" none="" n=5 deep={"a":[1]} yes=true ` +
                'quote="a"b" odd="?[2J?????"',
            `${at} info backend_up`, `${at} info backend_up`, '']);
    });

    test('--json is the answer', async (t) => {
        const body = JSON.stringify({ events: [event(1)], last: 1, lost: 0 });
        const { admin } = await fake(t, [reply(200, body)]);
        const run = await ctl(['events', '--json', '--admin', admin]);
        assert.equal(run.out, `${body}\n`);
    });

    for (const [what, answer] of Object.entries({
        'no list': { last: 1 },
        'no last': { events: [] },
        'a wrong last': { events: [], last: -1 },
        'a huge last': { events: [], last: 1e300 },
        'no seq': { events: [{ event: 'x' }], last: 1 },
        'a seq that is no whole number': { events: [event(1.5)], last: 2 },
        'an event that is none': { events: [7], last: 2 },
    }))
        test(what, async (t) => {
            const { admin } = await fake(t, [reply(200, answer)]);
            for (const flags of [[], ['--json'], ['--follow']]) {
                const run = await ctl(['events', ...flags, '--admin', admin]);
                assert.equal(run.code, 2);
                assert.equal(run.out, '');
                assert.equal(run.error, 'sidgate ctl: what came is no list ' +
                             'of events\n');
            }
        });
});

describe('--follow', { concurrency: 4 }, () => {
    /* Logs events; what is asked for is answered as the contract has it. */
    async function start(t, { args = [], keeps = 512, answer } = {})
    {
        const log = { last: 0, all: [], isAway: false };
        const add = (count) => {
            for (let i = 0; i < count; i++)
                log.all.push(event(++log.last, { event: `e${log.last}` }));
            log.all.splice(0, log.all.length - keeps);
        };
        add(3);
        const server = await fake(t, ({ query }) => {
            const own = answer?.(query, log);
            if (own || log.isAway)
                return own || ((socket) => socket.destroy());
            const limit = Number(query.limit);
            if (query.after === undefined)
                return reply(200, { events: log.all.slice(-limit),
                                    last: log.last, lost: 0 });
            const after = Number(query.after);
            const events = log.all.filter(({ seq }) => seq > after);
            const first = events[0]?.seq ?? log.last + 1;
            return reply(200, { events: events.slice(0, limit),
                                last: log.last,
                                lost: Math.max(0, first - after - 1) });
        });
        const run = spawnGateway(['ctl', 'events', '--follow', '--admin',
                                  server.admin, ...args]);
        t.after(() => run.child.kill('SIGKILL'));
        const said = (text) => eventually(
            () => run.stdout().includes(text), `${text} in ${run.stdout()}`,
            15_000);
        await said('e3');
        return { ...run, log, add, said, heads: server.heads };
    }

    const names = (run) => [...run.stdout().matchAll(/ e(\d+)/g)]
        .map((match) => Number(match[1]));
    const upTo = (count) => Array.from({ length: count }, (_, i) => i + 1);

    for (const signal of ['SIGINT', 'SIGTERM'])
        test(`until ${signal}`, async (t) => {
            const run = await start(t);
            run.add(2);
            await run.said('e5');
            run.child.kill(signal);
            assert.deepEqual(await run.exited, { code: 0, signal: null });
            assert.deepEqual(names(run), upTo(5));
            assert.equal(run.stderr(), '');
            assert.match(run.heads[0], /^GET \/api\/v1\/events\?limit=100 /);
            assert.match(run.heads[1],
                         /^GET \/api\/v1\/events\?after=3&limit=500 /);
        });

    test('until nobody reads', async (t) => {
        const run = await start(t);
        run.child.stdout.destroy();
        const { code } = await run.exited;
        assert.equal(code, 0);
        assert.equal(run.stderr(), '');
    });

    test('until Ctrl-C while no answer comes', async (t) => {
        let isSilent = false;
        const run = await start(t, { answer: () => isSilent && (() => {}) });
        isSilent = true;
        const before = run.heads.length;
        await eventually(() => run.heads.length > before, 'it asks');
        const at = Date.now();
        run.child.kill('SIGINT');
        assert.equal((await run.exited).code, 0);
        assert.ok(Date.now() - at < 8000);
    });

    test('more at a time than one answer holds', async (t) => {
        const run = await start(t, { keeps: 5000 });
        run.add(1800);
        await run.said('e1803');
        run.child.kill('SIGINT');
        await run.exited;
        assert.deepEqual(names(run), upTo(1803));
        assert.doesNotMatch(run.stdout(), /lost/);
    });

    test('what is lost is told', async (t) => {
        const run = await start(t, { keeps: 10 });
        run.add(110);
        await run.said('e113');
        run.child.kill('SIGINT');
        await run.exited;
        assert.deepEqual(names(run), [1, 2, 3, ...upTo(113).slice(-10)]);
        assert.match(run.stdout(), /\n-- 100 lost here: [^\n]+--\n/);
    });

    test('--json: one object a line', async (t) => {
        const run = await start(t, { keeps: 10, args: ['--json'] });
        run.add(20);
        await run.said('"e23"');
        run.log.all = [];
        run.log.last = 0;
        run.add(1);
        await run.said('"began_anew":');
        await eventually(() => run.stdout().split('"e1"').length === 3, 'e1');
        run.child.kill('SIGINT');
        await run.exited;
        const said = run.stdout().trimEnd().split('\n').map(JSON.parse);
        assert.deepEqual(said[3], { lost: 10 });
        assert.deepEqual(said[4], event(14, { event: 'e14' }));
        assert.deepEqual(said.at(-2), { began_anew: 1 });
        assert.deepEqual(said.at(-1), event(1, { event: 'e1' }));
    });

    test('--level, and --limit at first', async (t) => {
        const run = await start(t, { args: ['--level=info', '--limit', '2'] });
        run.add(4);
        await run.said('e7');
        run.child.kill('SIGINT');
        await run.exited;
        assert.deepEqual(names(run), [2, 3, 4, 5, 6, 7]);
        assert.match(run.heads[0], /events\?limit=2&level=info /);
        assert.match(run.heads[1], /events\?after=3&limit=500&level=info /);
    });

    test('a gateway that is started anew', async (t) => {
        const run = await start(t);
        run.log.isAway = true;
        await eventually(() => run.stderr() !== '', 'it is told', 10_000);
        const before = run.heads.length;
        await eventually(() => run.heads.length > before + 1, 'it goes on');
        run.log.isAway = false;
        run.log.all = [];
        run.log.last = 0;
        run.add(2);
        await run.said('the gateway began anew');
        await eventually(() => names(run).length === 5, 'all');
        run.child.kill('SIGINT');
        assert.equal((await run.exited).code, 0);
        assert.deepEqual(names(run), [1, 2, 3, 1, 2]);
        assert.match(run.stderr(), /^sidgate ctl: [^\n]+\n$/);
    });

    test('refused later on', async (t) => {
        let isRefused = false;
        const run = await start(t, { answer: () => isRefused &&
            reply(401, { error: 'wrong token' }) });
        isRefused = true;
        assert.equal((await run.exited).code, 1);
        assert.equal(run.stderr(), 'sidgate ctl: wrong token\n');
    });

    test('nobody there at first', async (t) => {
        const { admin } = await fake(t, [(socket) => socket.destroy()]);
        const run = await ctl(['events', '--follow', '--admin', admin]);
        assert.equal(run.code, 2);
        assert.match(run.error, /^sidgate ctl: [^\n]+\n$/);
    });
});
