/* SPDX-License-Identifier: MIT */
/* The operator's API: what its answers are made of, and what it refuses.
 * Sessions have a file of their own. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { apiOf, assertShape, BACKENDS, EVENTS, HISTORY, namesIn, request,
         STATUS } from '../support/api.mjs';
import { handshakeRequest, newSid, sidRequest, startEngine, switching,
         UNKNOWN_SID, upgradeRequest } from '../support/engine.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { startGateway } from '../support/gateway.mjs';
import { startRedis } from '../support/redis.mjs';
import { startReplicas, stopReplicas } from '../support/replicas.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const POINT_MS = 20_000; /* 5 s, and what a busy machine adds */
const DOCUMENT = new URL('../../docs/api.md', import.meta.url);

/* A gateway with engines of these ids, which are gone after test `t`.
 * logs(...): its log has a line with this in it. */
async function begin(t, { ids = ['n1', 'n2'], workers = 2, args = [] } = {})
{
    const engines = [];
    for (const id of ids)
        engines.push(await startEngine({ id }));
    const gateway = await startGateway({
        backends: engines,
        args: ['--workers', `${workers}`, '--gateway-name', 'gw-a',
               '--balance', 'round-robin', ...args] });
    t.after(async () => {
        for (const engine of engines)
            await engine.stop();
        const end = await gateway.stop();
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    });
    return { gateway, engines, port: gateway.port,
             logs: (what) => eventually(() => gateway.stderr().includes(what),
                                        what),
             ...apiOf(gateway.adminPort) };
}

async function open(port)
{
    const { status, text } = await exchange(port, handshakeRequest());
    assert.equal(status, 200, text);
    return JSON.parse(text.slice(1)).sid;
}

/* A websocket for a session, up to the head of the answer. */
async function upgrade(t, port, sid)
{
    const wire = await connect(port);
    t.after(() => wire.destroy());
    wire.send(upgradeRequest(
        `/socket.io/?EIO=4&transport=websocket&sid=${sid}`));
    return { wire, head: await wire.head() };
}

/* Makes an engine accept websockets for sids. */
function accepts(engine)
{
    const polls = engine.onPoll;
    engine.onPoll = (asked, wire, sid) => {
        if (asked.get('upgrade') === undefined)
            return polls(asked, wire, sid);
        wire.taken = true;
        wire.send(switching(asked));
        return undefined;
    };
}

test('the status of one that just began', async (t) => {
    const { get, gateway } = await begin(t);
    const status = await get('status');
    assertShape(status, STATUS);
    assert.match(status.gateway, /^gw-a\.[0-9a-f]{8}$/);
    assert.deepEqual(
        [status.name, status.pid, status.workers, status.phase, status.access],
        ['gw-a', gateway.pid, 2, 'running', 'full']);
    assert.deepEqual(status.store, { kind: 'memory', state: 'up',
                                     connections_up: 0, connections: 0 });
    assert.deepEqual(status.replicas, [{ id: status.gateway, is_self: true,
                                         sessions: 0, heard_s: null }]);
    assert.ok(Math.abs(Date.parse(status.started) - Date.now()) < 60_000);
    assert.equal(status.now.upgrade_success, null);
    assert.equal(status.now.handshake_p50_ms, null);
    assert.equal(status.totals.handshakes, 0);
});

test('what clients do shows in status, backends and history', async (t) => {
    const { get, port, engines } = await begin(t, { workers: 1 });
    engines.forEach(accepts);
    for (let i = 0; i < 4; i++)
        await open(port);
    const [[sid], [other]] = engines.map(({ sids }) => [...sids]);
    const { wire, head } = await upgrade(t, port, sid);
    assert.equal(head.status, 101);
    wire.send(frame(TEXT, '2probe', { mask: true }));
    wire.send(frame(TEXT, '5', { mask: true }));
    engines[1].onPoll = (_, to) => to.send(UNKNOWN_SID);
    const refused = await upgrade(t, port, other);
    assert.equal(refused.head.status, 400);
    await exchange(port, sidRequest(newSid()));
    const rates = () => get('status').then(({ now }) => now);
    let totals;
    await eventually(async () => {
        ({ totals } = await get('status'));
        return totals.upgrade_successes === 1 && totals.unknown_sid === 1;
    }, 'all counted');
    /* Rates are those of a second that is over. */
    await eventually(async () => (await rates()).upgrade_success === 0.5,
                     'the upgrade');
    assert.equal(totals.handshakes, 4);
    assert.equal(totals.sessions_begun, 4);
    assert.equal(totals.upgrade_attempts, 2);
    assert.equal(totals.upgrade_failures.refused, 1);
    assert.equal(totals.unknown_sid, 1);
    await eventually(async () => (await rates()).sessions_websocket === 1,
                     'a websocket');
    assert.equal((await rates()).tunnels, 1);
    const { backends } = await get('backends');
    assert.equal(backends[0].sessions, 2);
    assert.equal(backends[0].sessions_websocket, 1);
    assert.equal(backends[0].upgrade_successes, 1);
    assert.equal(backends[1].upgrade_attempts, 1);
    assert.equal(backends[1].upgrade_successes, 0);
    assert.ok(backends[1].requests_total >= 3);
    /* A rate forgets in seconds. */
    let now;
    await eventually(async () => {
        await open(port);
        now = await rates();
        return now.handshakes_per_s > 0;
    }, 'a rate');
    assert.ok(now.handshake_p50_ms <= now.handshake_p99_ms);
    assert.ok(now.bytes_out_per_s > 0);
    let history;
    await eventually(async () => {
        await open(port);
        history = await get('history');
        return history.points.at(-1)?.sessions_websocket === 1;
    }, 'a point', POINT_MS);
    assertShape(history, HISTORY);
    assert.equal(history.step_s, 5);
    assert.ok(history.points.some(({ handshakes_per_s }) =>
        handshakes_per_s > 0));
});

describe('backends', () => {
    test('have a history', async (t) => {
        const { get, engines } = await begin(t, { args: [
            '--health-check', 'tcp', '--health-interval', '400ms',
            '--health-timeout', '400ms', '--health-fall', '2'] });
        const one = async (id) => (await get('backends')).backends
            .find((backend) => backend.id === id);
        assertShape(await get('backends'), BACKENDS);
        const states = async (id) => (await one(id)).history
            .map(({ state }) => state);
        assert.deepEqual(await states('n1'), ['up']);
        const { port } = engines[1];
        await engines[1].stop();
        await eventually(async () => (await states('n2'))[0] === 'down',
                         'down', 15_000);
        const { reason, time } = (await one('n2')).history[0];
        assert.match(reason, /refused/);
        assert.ok(Math.abs(Date.parse(time) - Date.now()) < 20_000);
        engines[1] = await startEngine({ id: 'n2', port });
        await eventually(async () => (await states('n2'))[0] === 'up', 'up');
        assert.deepEqual(await states('n2'), ['up', 'down', 'up']);
        assert.deepEqual(await states('n1'), ['up']);
    });

    test('show how far a drain is', async (t) => {
        const { get, post, port } = await begin(t, { workers: 1 });
        const one = async () => (await get('backends')).backends[0];
        for (let i = 0; i < 20; i++)
            await open(port);
        assert.equal((await one()).drain, null);
        await post('backends/n1/drain?rate=1000000&timeout=1h');
        assert.equal((await one()).drain.sessions_at_start, 10);
        await eventually(async () => (await one()).history[0].state ===
            'drained', 'its change');
        await eventually(async () => (await one()).drain.rate === 1000000,
                         'its rate');
        const { drain, history } = await one();
        assertShape(await get('backends'), BACKENDS);
        assert.equal(drain.sessions_at_start, 10);
        assert.ok(drain.deadline_s > 3500 && drain.deadline_s <= 3600);
        assert.ok(drain.since_s >= 0 && drain.since_s < 20);
        assert.equal(history[0].reason, 'by the operator');
        await post('backends/n1/undrain');
        assert.equal((await one()).drain, null);
    });

    test('that come anew begin anew', async (t) => {
        const { get, post } = await begin(t);
        await post('backends?spec=n9%3D127.0.0.1:9');
        const one = async () => (await get('backends')).backends
            .find(({ id }) => id === 'n9');
        await eventually(async () => (await one()).history.length === 1,
                         'its first state');
        assert.equal((await one()).source, 'operator');
        await post('backends/n9/remove');
        await eventually(async () => (await one()).history.length === 2,
                         'removed');
        assert.equal((await one()).history[0].state, 'removed');
    });
});

describe('events', () => {
    test('are the lines of the log', async (t) => {
        const { get, post, port, logs } = await begin(t, { workers: 1 });
        /* A backend without any would be told to be empty, sooner or later. */
        for (let i = 0; i < 2; i++)
            await open(port);
        const first = await get('events');
        assertShape(first, EVENTS);
        assert.equal(first.lost, 0);
        const ready = first.events.find(({ event }) => event === 'ready');
        assert.equal(ready.fields.backends, '2');
        assert.equal(ready.level, 'info');
        await post('backends/n1/drain');
        const { events, last } = await get(`events?after=${first.last}`);
        assert.deepEqual(events.map(({ event }) => event),
                         ['backend_drained', 'operator_action']);
        assert.equal(events[0].fields.backend, 'n1');
        assert.equal(events[1].seq, last);
        for (const { event, time } of events)
            await logs(`${time} info ${event} `);
        assert.deepEqual((await get(`events?after=${last}`)).events, []);
    });

    test('by level, and as many as are wanted', async (t) => {
        const { get, post } = await begin(t);
        for (let i = 0; i < 3; i++)
            await post('log?level=info');
        assert.deepEqual((await get('events?level=error')).events, []);
        const all = await get('events?after=0&limit=500');
        const some = await get('events?after=0&limit=2');
        assert.deepEqual(some.events, all.events.slice(0, 2));
        assert.equal(some.last, all.last);
        const newest = await get('events?limit=2');
        assert.deepEqual(newest.events, all.events.slice(-2));
    });

    test('are lost when there are too many', async (t) => {
        const { get, post } = await begin(t);
        const { last: before } = await get('events');
        for (let i = 0; i < 300; i++)
            await post('log?level=info');
        const { events, last, lost } = await get('events?after=0&limit=1');
        assert.equal(last, before + 600);
        assert.equal(lost, last - 512);
        assert.equal(events[0].seq, lost + 1);
        const tail = await get(`events?after=${last - 10}`);
        assert.equal(tail.lost, 0);
        assert.equal(tail.events.length, 10);
        assert.equal((await get('events?limit=500')).events.length, 500);
    });
});

test('the level of the log, until the next reload', async (t) => {
    const { get, post, logs } = await begin(t, { args: [
        '--log-level', 'warning'] });
    const level = async () => (await get('log')).level;
    assert.equal(await level(), 'warning');
    assert.deepEqual(await post('log?level=debug'), { ok: true });
    assert.equal(await level(), 'debug');
    assert.equal((await get('status')).log_level, 'debug');
    await logs(' info log_level_changed from=warning to=debug\n');
    await post('backends/n1/drain');
    await logs(' info backend_drained ');
    await post('log?level=error');
    await logs(' info log_level_changed from=debug to=error\n');
    await post('reload');
    assert.equal(await level(), 'warning');
});

test('the configuration has no secrets', async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-api-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const secrets = ['admin-token-in-a-file', 'read-token-in-its-file',
                     'hash-secret-hash-secret-hash-secret', 'in-the-url'];
    const file = (i) => {
        const name = path.join(folder, `file-${i}`);
        writeFileSync(name, secrets[i], { mode: 0o600 });
        return name;
    };
    const { gateway } = await begin(t, { args: [
        '--admin-token-file', file(0), '--admin-read-token-file', file(1),
        '--hash-sids-file', file(2),
        '--store', `redis://user:${secrets[3]}@127.0.0.1:1/0`] });
    const paths = ['config', 'status', 'backends', 'events', 'history', 'log'];
    for (const token of secrets.slice(0, 2)) {
        const { get, fails } = apiOf(gateway.adminPort, {
            Authorization: `Bearer ${token}` });
        const config = await get('config');
        assert.equal(config.gateway_name, 'gw-a');
        assert.equal(config.admin_token_file, path.join(folder, 'file-0'));
        assert.match(config.store, /^redis:\/\/user:\S+@127\.0\.0\.1:1\/0$/);
        for (const one of paths) {
            const text = JSON.stringify(await get(one));
            for (const secret of secrets)
                assert.ok(!text.includes(secret), `${secret} in ${one}`);
        }
        const status = await get('status');
        const isReader = token === secrets[1];
        assert.equal(status.access, isReader ? 'read' : 'full');
        assert.deepEqual([status.store.kind, status.store.state],
                         ['redis', 'down']);
        assert.deepEqual([status.store.connections_up,
                          status.store.connections], [0, 2]);
        if (isReader)
            await fails('POST', 'log?level=debug', 403);
    }
    await apiOf(gateway.adminPort).fails('GET', 'status', 401);
    for (const secret of secrets)
        assert.ok(!gateway.stderr().includes(secret), secret);
});

test('replicas know of each other', async (t) => {
    const redis = await startRedis();
    const engine = await startEngine({ id: 'n1' });
    const gateways = await startReplicas({
        redis, backends: [engine], args: ['--store-timeout', '8s'] });
    t.after(async () => {
        await stopReplicas(gateways);
        await engine.stop();
        await redis.stop();
    });
    for (let i = 0; i < 3; i++)
        await open(gateways[0].port);
    const statusOf = ({ adminPort }) => apiOf(adminPort).get('status');
    await eventually(async () => (await statusOf(gateways[1])).replicas
        .some(({ is_self, sessions }) => !is_self && sessions === 3),
                     'three sessions', 10_000);
    const [first, second] = [await statusOf(gateways[0]),
                             await statusOf(gateways[1])];
    assertShape(second, STATUS);
    assert.deepEqual(second.store, { kind: 'redis', state: 'up',
                                     connections_up: 1, connections: 1 });
    assert.deepEqual(second.replicas.map(({ id }) => id),
                     [second.gateway, first.gateway]);
    assert.ok(second.replicas[1].heard_s < 10);
    assert.equal(second.now.sessions_elsewhere, 3);
});

test('an empty query asks for nothing', async (t) => {
    const { get, fails } = await begin(t, { ids: ['n1'] });
    for (const query of ['?', '?&', '?limit=5&', '?&&limit=5'])
        assert.deepEqual((await get(`sessions${query}`)).sessions, []);
    assert.equal((await get('status?')).phase, 'running');
    assert.equal(await fails('GET', 'sessions?%2Fx', 400),
                 'unknown parameter /x');
});

describe('what is wrong', () => {
    const BAD = [
        ['GET', 'events?after=x', 400, 'after is not the seq of an event'],
        ['GET', 'events?limit=501', 400,
         'limit is not a whole number, from 1 to 500'],
        ['GET', 'events?level=fatal', 400,
         'level is not error, warning, info or debug'],
        ['GET', 'status?x=1', 400, 'unknown parameter x'],
        ['GET', 'sessions?transport=ws', 400,
         'transport is not polling or websocket'],
        ['GET', 'sessions?limit=0', 400,
         'limit is not a whole number, from 1 to 1000'],
        ['GET', 'sessions?ended=yes', 400, 'ended is not true or false'],
        ['GET', `sessions?cursor=${'x'.repeat(64)}`, 400,
         'cursor is not one that this gateway gave'],
        ['GET', `sessions?search=${'x'.repeat(128)}`, 400,
         'search is not a text of at most 127 bytes'],
        ['GET', 'sessions?limit=1&limit=2', 400,
         'limit is given more than once'],
        ['GET', `sessions/${'x'.repeat(257)}`, 400,
         'this is not the id of a session'],
        ['POST', 'log', 400, 'level is missing'],
        ['POST', 'log?level=loud', 400,
         'level is not error, warning, info or debug'],
        ['POST', 'backends/n1/drain?rate=-1', 400,
         'rate is not a whole number, from 0 to 1000000'],
        ['POST', 'backends/n7/drain', 404, 'there is no backend n7'],
        ['GET', 'nothing', 404, 'not found'],
        ['GET', '', 404, 'not found'],
    ];

    test('is answered with one line', async (t) => {
        const { fails, gateway } = await begin(t);
        for (const [method, target, status, line] of BAD)
            assert.equal(await fails(method, target, status), line);
        const old = await request(gateway.adminPort, 'GET', '/api/backends');
        assert.equal(old.status, 404);
    });

    test('other methods', async (t) => {
        const { gateway } = await begin(t);
        const allowed = {
            status: 'GET, HEAD', history: 'GET, HEAD', events: 'GET, HEAD',
            config: 'GET, HEAD', sessions: 'GET, HEAD',
            'sessions/x': 'GET, HEAD', log: 'GET, HEAD, POST',
            backends: 'GET, HEAD, POST', upgrade: 'GET, HEAD, POST',
            reload: 'POST', 'sessions/x/kick': 'POST',
        };
        for (const [target, methods] of Object.entries(allowed))
            for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
                if (methods.split(', ').includes(method))
                    continue;
                const answer = await request(gateway.adminPort, method,
                                             `/api/v1/${target}`);
                assert.equal(answer.status, 405, `${method} ${target}`);
                assert.equal(answer.headers.allow, methods);
                assert.equal(answer.json.error, 'method not allowed');
            }
    });
});

test('docs/api.md names all that answers have', async (t) => {
    const { get, post, port } = await begin(t);
    const text = readFileSync(DOCUMENT, 'utf8');
    const names = new Set();
    await open(port);
    await post('backends/n1/drain');
    const { sessions: [{ id }] } = await get('sessions');
    for (const one of ['status', 'backends', 'events', 'history', 'log',
                       'upgrade', 'sessions', `sessions/${id}`])
        namesIn(await get(one)).forEach((name) => names.add(name));
    assert.ok(names.size > 60, [...names].join());
    for (const name of names)
        assert.ok(text.includes(`\`${name}\``), name);
});
