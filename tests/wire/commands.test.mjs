/* SPDX-License-Identifier: MIT */
/* What an operator may ask of a running gateway, through the API and through
 * `sidgate ctl`. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { assertShape, BACKENDS } from '../support/api.mjs';
import { handshakeRequest, startEngine } from '../support/engine.mjs';
import { ask, ctl, serve } from '../support/operator.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const TOKEN = 'correct-horse-battery-staple';
/* Each worker takes turns by itself: of six handshakes one of two workers gets
 * three, and so all backends. */
const LOCAL = ['--admin', '127.0.0.1:0', '--balance', 'round-robin',
               '--workers', '2'];

function file(t, text)
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-commands-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const name = path.join(folder, 'file');
    writeFileSync(name, text, { mode: 0o600 });
    return name;
}

async function engine(t, id)
{
    const backend = await startEngine({ id });
    t.after(() => backend.stop());
    return backend;
}

/* A gateway with the backend n1 of serve() and the engines n2 and n3. Gives
 * also ctl(...args), and list(), the backends by their ids. */
async function begin(t, args = [], options = {})
{
    const n2 = await engine(t, 'n2');
    const n3 = await engine(t, 'n3');
    const gateway = await serve(t, [
        '--backend', `n2=127.0.0.1:${n2.port}`,
        '--backend', `n3=127.0.0.1:${n3.port}`, ...LOCAL, ...args], options);
    const admin = `127.0.0.1:${gateway.admin.port}`;
    return {
        ...gateway, n2, n3,
        ctl: (...words) => ctl([...words, '--admin', admin]),
        list: () => list(gateway),
        post: (target) => post(gateway, target),
    };
}

async function post({ admin }, target, ...fields)
{
    const answer = await ask(admin, [
        `POST ${target} HTTP/1.1`, 'Host: localhost', ...fields]);
    assert.equal(answer.get('content-type'), 'application/json');
    return { status: answer.status, ...JSON.parse(answer.text) };
}

async function list({ admin }, ...fields)
{
    const answer = await ask(admin, [
        'GET /api/v1/backends HTTP/1.1', 'Host: localhost', ...fields]);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.get('content-type'), 'application/json');
    const body = JSON.parse(answer.text);
    return Object.assign(
        Object.fromEntries(body.backends.map((one) => [one.id, one])),
        { body });
}

const handshake = (port) => exchange(port, handshakeRequest(), 'GET',
                                     { secure: false });

/* Which of them got a handshake, of `count` in a row. */
async function whoGets({ port, backend, n2, n3 }, count = 6)
{
    const all = { n1: backend, n2, n3 };
    const before = Object.entries(all)
        .map(([id, { requests }]) => [id, requests.length]);
    for (let i = 0; i < count; i++)
        await handshake(port);
    return before.filter(([id, had]) => all[id].requests.length > had)
        .map(([id]) => id);
}

test('the list of backends', async (t) => {
    const gateway = await begin(t, ['--gateway-name', 'gw-a',
                                    '--max-sessions-per-backend', '70']);
    const { body, n1, n2 } = await gateway.list();
    assert.match(body.gateway, /^gw-a/);
    assert.match(body.version, /^\d+\.\d+\.\d+$/);
    assert.equal(body.pid, gateway.pid);
    assert.deepEqual(body.backends.map(({ id }) => id), ['n1', 'n2', 'n3']);
    assertShape(body, BACKENDS);
    for (const [name, value] of Object.entries({
        id: 'n1', pool: 'default',
        address: `127.0.0.1:${gateway.backend.port}`, state: 'up', reason: '',
        weight: 1, max_sessions: 70, sessions: 0, handshakes: 0,
        sessions_elsewhere: 0, source: 'config', drain: null }))
        assert.equal(n1[name], value, name);
    assert.equal(n2.sessions, 0);
    while ((await gateway.list()).n2.sessions < 2)
        await handshake(gateway.port);
    const run = await gateway.ctl('backends');
    assert.equal(run.code, 0, run.error);
    assert.match(run.out, /^ID +POOL +ADDRESS +STATE +SESSIONS /);
    assert.match(run.out, /\nn2 +default +127\.0\.0\.1:\d+ +up +2 +0 +0 /);
});

test('HEAD and bodies', async (t) => {
    const { admin } = await begin(t);
    const head = await ask(admin, ['HEAD /api/v1/backends HTTP/1.1',
                                   'Host: localhost']);
    assert.equal(head.status, 200);
    assert.equal(head.text, '');
    const answer = await ask(admin, [
        'POST /api/v1/backends/n1/drain HTTP/1.1', 'Host: localhost',
        'Content-Length: 9', '', 'rate=7&x=']);
    assert.equal(answer.status, 200, answer.text);
});

describe('drain', () => {
    test('gives no new sessions, until undrain', async (t) => {
        const gateway = await begin(t);
        assert.deepEqual(await whoGets(gateway), ['n1', 'n2', 'n3']);
        assert.deepEqual(await gateway.post('/api/v1/backends/n2/drain'),
                         { status: 200, ok: true });
        let { n2 } = await gateway.list();
        assert.equal(n2.state, 'drained');
        assert.equal(n2.reason, 'by the operator');
        assert.deepEqual([n2.drain.rate, n2.drain.deadline_s], [0, null]);
        assert.deepEqual(await whoGets(gateway), ['n1', 'n3']);
        assert.deepEqual(await gateway.post('/api/v1/backends/n2/undrain'),
                         { status: 200, ok: true });
        ({ n2 } = await gateway.list());
        assert.equal(n2.state, 'up');
        assert.equal(n2.drain, null);
        assert.deepEqual(await whoGets(gateway), ['n1', 'n2', 'n3']);
    });

    test('by ctl, with rate and timeout', async (t) => {
        const gateway = await begin(t);
        const run = await gateway.ctl('drain', 'n2', '--rate', '20',
                                      '--timeout', '5m');
        assert.deepEqual([run.code, run.out], [0, 'n2 gets no new sessions\n']);
        await eventually(async () => {
            const { drain } = (await gateway.list()).n2;
            return drain?.rate === 20 && drain.deadline_s > 290 &&
                drain.deadline_s <= 300;
        }, 'rate and deadline');
        assert.match((await gateway.ctl('backends')).out,
                     /\nn2 .* drained .* 20\/s, \S+ left +by the operator\n/);
        const end = await gateway.ctl('undrain', 'n2');
        assert.deepEqual([end.code, end.out],
                         [0, 'n2 gets new sessions again\n']);
        assert.equal((await gateway.list()).n2.drain, null);
        await eventually(() =>
            / operator_action action=drain target=n2 status=200 /
                .test(gateway.stderr()), 'it is told');
    });

    test('of the configuration is not ended by a command', async (t) => {
        const n9 = await engine(t, 'n9');
        const gateway = await begin(t, [
            '--backend', `n9=127.0.0.1:${n9.port},drain`]);
        assert.equal((await gateway.list()).n9.reason, 'by the configuration');
        const answer = await gateway.post('/api/v1/backends/n9/undrain');
        assert.equal(answer.status, 409);
        assert.match(answer.error, /^the configuration drains n9/);
        await gateway.post('/api/v1/backends/n9/drain');
        assert.equal((await gateway.list()).n9.reason,
                     'by the operator and by the configuration');
    });

    test('of nobody', async (t) => {
        const gateway = await begin(t);
        for (const verb of ['drain', 'undrain', 'remove']) {
            assert.deepEqual(
                await gateway.post(`/api/v1/backends/n8/${verb}`),
                { status: 404, error: 'there is no backend n8' });
            const run = await gateway.ctl(verb, 'n8');
            assert.deepEqual(
                [run.code, run.error],
                [1, 'sidgate ctl: there is no backend n8\n']);
        }
    });
});

describe('add and remove', () => {
    test('a backend at run time', async (t) => {
        const gateway = await begin(t);
        const n9 = await engine(t, 'n9');
        const spec = `n9=127.0.0.1:${n9.port},weight=3,max=500`;
        const run = await gateway.ctl('add', spec);
        assert.deepEqual([run.code, run.out], [0, `${spec} is added\n`]);
        const { n9: told } = await gateway.list();
        assert.deepEqual(
            [told.source, told.weight, told.max_sessions, told.pool],
            ['operator', 3, 500, 'default']);
        await eventually(async () => {
            await handshake(gateway.port);
            return n9.requests.length > 0;
        }, 'a handshake');
        const sessions = async () => (await gateway.list()).n9?.sessions;
        await eventually(async () => await sessions() > 0, 'a session');

        const end = await gateway.ctl('remove', 'n9');
        assert.equal(end.code, 0, end.error);
        const { n9: leaving } = await gateway.list();
        assert.equal(leaving.state, 'removed');
        assert.equal(leaving.reason, 'until its last session has ended');
        const had = n9.requests.length;
        await whoGets(gateway, 12);
        assert.equal(n9.requests.length, had);

        /* It may come back, as it was or with another weight. */
        assert.equal((await gateway.ctl('add', spec)).code, 0);
        assert.equal((await gateway.list()).n9.state, 'up');
    });

    test('the same again is well; another address is not', async (t) => {
        const gateway = await begin(t);
        const { port } = gateway.n2;
        const add = (spec) => gateway.post(
            `/api/v1/backends?spec=${encodeURIComponent(spec)}`);
        assert.equal((await add(`n2=127.0.0.1:${port},weight=9`)).status, 200);
        const { n2 } = await gateway.list();
        assert.deepEqual([n2.weight, n2.source], [9, 'config']);
        const { status, error } = await add(`n2=127.0.0.1:${port + 1}`);
        assert.equal(status, 409);
        assert.match(error, /n2 .*127\.0\.0\.1/);
        assert.equal((await gateway.list()).n2.address, `127.0.0.1:${port}`);
    });

    test('one that speaks TLS where none does', async (t) => {
        const gateway = await begin(t);
        for (const part of ['tls,name=a.example', 'tls,verify=off']) {
            const { status, error } = await gateway.post(
                `/api/v1/backends?spec=n9=127.0.0.1:1,${part}`);
            assert.equal(status, 409);
            assert.match(error, /TLS/);
        }
        assert.equal((await gateway.list()).n9, undefined);
    });

    test('what is no backend, or no pool', async (t) => {
        const gateway = await begin(t);
        for (const spec of ['n9', 'n9=', '=127.0.0.1:1', 'n9=127.0.0.1:0',
                            'n 9=127.0.0.1:1', 'a/b=127.0.0.1:1',
                            'n9=127.0.0.1:1,weight=0', 'n9=127.0.0.1:1,x',
                            'n9=nowhere.invalid:1',
                            `${'n'.repeat(64)}=127.0.0.1:1`]) {
            const answer = await gateway.post(
                `/api/v1/backends?spec=${encodeURIComponent(spec)}`);
            assert.equal(answer.status, 400, spec);
            assert.match(answer.error, /^[^\n]+$/);
        }
        const answer = await gateway.post(
            '/api/v1/backends?spec=n9=127.0.0.1:1&pool=green');
        assert.deepEqual(answer, { status: 404,
                                   error: 'there is no pool green' });
        assert.deepEqual(Object.keys(await gateway.list()),
                         ['n1', 'n2', 'n3', 'body']);
    });

    test('in a pool', async (t) => {
        const blue = await engine(t, 'b1');
        const gateway = await begin(t, ['--config', file(t, JSON.stringify({
            pools: [{ name: 'blue', host: ['blue.example'],
                      backend: [`b1=127.0.0.1:${blue.port}`] }] }))]);
        const run = await gateway.ctl('add', 'b2=127.0.0.1:1', '--pool',
                                      'blue');
        assert.equal(run.code, 0, run.error);
        const told = (await gateway.list())['blue/b2'];
        assert.deepEqual([told.pool, told.source], ['blue', 'operator']);
        const long = await gateway.ctl(
            'add', `${'n'.repeat(60)}=127.0.0.1:2`, '--pool', 'blue');
        assert.equal(long.code, 1);
        assert.match(long.error, /too long/);
        assert.equal((await gateway.ctl('drain', 'blue/b1')).code, 0);
        assert.equal((await gateway.list())['blue/b1'].state, 'drained');
        assert.equal((await gateway.ctl('remove', 'blue/b2')).code, 0);
        const last = await gateway.ctl('remove', 'blue/b1');
        assert.deepEqual([last.code, last.error], [
            1, 'sidgate ctl: blue/b1 is the last backend of pool blue\n']);
    });

    test('all but the last one', async (t) => {
        const gateway = await begin(t);
        assert.equal((await gateway.ctl('remove', 'n1')).code, 0);
        assert.equal((await gateway.ctl('remove', 'n2')).code, 0);
        assert.equal((await gateway.ctl('remove', 'n2')).code, 0);
        const answer = await gateway.post('/api/v1/backends/n3/remove');
        assert.deepEqual(answer, {
            status: 409, error: 'n3 is the last backend of pool default' });
        assert.deepEqual(await whoGets(gateway), ['n3']);
        assert.equal((await gateway.ctl('reload')).code, 0);
        await eventually(async () => {
            const { n1, n2 } = await gateway.list();
            return n1.state === 'up' && n2.state === 'up';
        }, 'those of the configuration');
    });
});

describe('states', () => {
    const stateOf = async (gateway, id) => (await gateway.list())[id].state;

    test('down, by checks', async (t) => {
        const gateway = await begin(t, [
            '--health-check', 'tcp', '--health-interval', '400ms',
            '--health-timeout', '400ms',
            '--health-fall', '2']);
        await gateway.n2.stop();
        await eventually(async () => await stateOf(gateway, 'n2') === 'down',
                         'down');
        assert.match((await gateway.list()).n2.reason, /refused/);
        assert.equal(await stateOf(gateway, 'n3'), 'up');
    });

    test('refused, for a second', async (t) => {
        const gateway = await begin(t);
        await gateway.n2.stop();
        let n2;
        await eventually(async () => {
            await handshake(gateway.port);
            ({ n2 } = await gateway.list());
            return n2.state === 'refused';
        }, 'refused');
        assert.match(n2.reason, /^a connection failed \d+ ms ago$/);
        await eventually(async () => await stateOf(gateway, 'n2') === 'up',
                         'up again');
    });

    test('ejected', async (t) => {
        const gateway = await begin(t, ['--eject-failures', '1',
                                        '--eject-time', '1h']);
        await gateway.n2.stop();
        await eventually(async () => {
            await handshake(gateway.port);
            return await stateOf(gateway, 'n2') === 'ejected';
        }, 'ejected');
        assert.match((await gateway.list()).n2.reason,
                     /; for (3600|359\d) s more$/);
    });

    test('slow start', async (t) => {
        const gateway = await begin(t, ['--slow-start', '1h']);
        const n9 = await engine(t, 'n9');
        await gateway.ctl('add', `n9=127.0.0.1:${n9.port}`);
        const told = (await gateway.list()).n9;
        assert.deepEqual([told.state, told.reason], ['up', 'slow start, 0 %']);
    });
});

describe('reload', () => {
    test('tells what is wrong, and changes nothing', async (t) => {
        const config = file(t, '{"queue_length": 5}');
        const gateway = await begin(t, ['--config', config]);
        writeFileSync(config, '{"queue_lenght": 5}');
        const answer = await gateway.post('/api/v1/reload');
        assert.equal(answer.status, 409);
        assert.match(answer.error, /unknown key queue_lenght$/);
        const run = await gateway.ctl('reload');
        assert.equal(run.code, 1);
        assert.equal(run.error, `sidgate ctl: ${answer.error}\n`);
        writeFileSync(config, '{"queue_length": 6}');
        const good = await gateway.ctl('reload');
        assert.deepEqual([good.code, good.out],
                         [0, 'the configuration is in effect\n']);
        await eventually(() => / info reloaded /.test(gateway.stderr()),
                         'it is told');
    });

    test('keeps what an operator added', async (t) => {
        const gateway = await begin(t);
        await gateway.ctl('add', 'n9=127.0.0.1:1');
        assert.equal((await gateway.ctl('reload')).code, 0);
        assert.equal((await gateway.list()).n9.state, 'up');
    });
});

describe('who may', () => {
    const TARGETS = ['/api/v1/backends/n1/drain', '/api/v1/reload',
                     '/api/v1/upgrade',
                     '/api/v1/backends?spec=n9=127.0.0.1:1'];

    test('with a token only', async (t) => {
        const token = file(t, `${TOKEN}\n`);
        const gateway = await begin(t, ['--admin-token-file', token]);
        const bearer = `Authorization: Bearer ${TOKEN}`;
        for (const target of TARGETS)
            for (const fields of [[], ['Authorization: Bearer x']])
                assert.deepEqual(await post(gateway, target, ...fields),
                                 { status: 401,
                                   error: 'a bearer token is needed' });
        const backends = await list(gateway, bearer);
        assert.deepEqual(backends.body.backends.map(({ state }) => state),
                         ['up', 'up', 'up']);
        const refused = await gateway.ctl('drain', 'n1');
        assert.deepEqual(
            [refused.code, refused.error],
            [1, 'sidgate ctl: a bearer token is needed\n']);
        const run = await gateway.ctl('drain', 'n1', '--admin-token-file',
                                      token);
        assert.equal(run.code, 0, run.error);
        assert.equal((await list(gateway, bearer)).n1.state, 'drained');
        assert.ok(!gateway.stderr().includes(TOKEN));
    });

    test('no page of another site', async (t) => {
        const gateway = await begin(t);
        const { port } = gateway.admin;
        const foreign = [
            ['Origin: http://evil.example'], ['Origin: null'],
            ['Origin: http://localhost:1'], ['Sec-Fetch-Site: cross-site'],
            ['Sec-Fetch-Site: same-site'],
            [`Origin: http://localhost:${port}`, 'Sec-Fetch-Site: cross-site'],
        ];
        for (const target of [...TARGETS,
                              '/api/v1/backends/n1/drain%0dXHost:x'])
            for (const fields of foreign) {
                const answer = await ask(gateway.admin, [
                    `POST ${target} HTTP/1.1`, `Host: localhost:${port}`,
                    ...fields]);
                assert.ok([400, 403].includes(answer.status), target);
            }
        for (const target of TARGETS)
            assert.equal((await ask(gateway.admin, [
                `POST ${target} HTTP/1.1`, 'Host: evil.example'])).status, 403);
        assert.ok((await gateway.list()).body.backends
            .every(({ state }) => state === 'up'));
        assert.equal((await post(
            gateway, '/api/v1/backends/n1/drain',
            `Origin: http://localhost`, 'Sec-Fetch-Site: same-origin'))
            .status, 200);
    });

    test('by the right method', async (t) => {
        const { admin } = await begin(t);
        const allowed = {
            '/api/v1/backends': 'GET, HEAD, POST',
            '/api/v1/upgrade': 'GET, HEAD, POST',
            '/api/v1/reload': 'POST', '/api/v1/backends/n1/drain': 'POST',
            '/api/v1/backends/n1/undrain': 'POST',
            '/api/v1/backends/n1/remove': 'POST',
        };
        for (const [target, methods] of Object.entries(allowed))
            for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
                const answer = await ask(admin, [
                    `${method} ${target} HTTP/1.1`, 'Host: localhost',
                    'Content-Length: 0']);
                const is = methods.split(', ').includes(method);
                assert.equal(answer.status, is ? 200 : 405, target);
                assert.equal(answer.get('allow'), is ? undefined : methods);
            }
    });
});

describe('upgrade', () => {
    test('by ctl', async (t) => {
        const gateway = await begin(t);
        const run = await gateway.ctl('upgrade');
        assert.equal(run.code, 0, run.error + gateway.stderr());
        const told = /^upgraded: pid (\d+) -> (\d+) in \d+ ms\n$/.exec(run.out);
        assert.ok(told, run.out);
        const next = Number(told[2]);
        /* It holds the output that serve() reads to its end. */
        try {
            assert.equal(Number(told[1]), gateway.pid);
            assert.equal((await gateway.list()).body.pid, next);
            assert.deepEqual(await whoGets(gateway), ['n1', 'n2', 'n3']);
        } finally {
            process.kill(next, 'SIGTERM');
        }
    });
});
