/* SPDX-License-Identifier: MIT */
/* Defects that were found once: bindings that end too early, recovery that
 * errs, signals, and what the kernel refuses. */

import assert from 'node:assert/strict';
import { fork, spawnSync } from 'node:child_process';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ok } from '../support/backend.mjs';
import { engineError, handshakeRequest, newSid, sidRequest, switching,
         upgradeRequest } from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { frame, openTunnel, TEXT } from '../support/frames.mjs';
import { sessionsOf, startGateway } from '../support/gateway.mjs';
import { cpuMs, spentLimit, suspend } from '../support/process.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const DONE = { code: 0, signal: null };
const ONE_WORKER = ['--workers', '1'];
const UNKNOWN = '{"code":1,"message":"Session ID unknown"}';
const OPTIONS = 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n';
const support = (name) =>
    fileURLToPath(new URL(`../support/${name}`, import.meta.url));

/* Likewise, before a backend that is none of ours. */
async function withGateway(backends, args, run)
{
    const gateway = await startGateway({ backends, args });
    try {
        await run(gateway);
    } finally {
        await gateway.stop('SIGKILL');
    }
}

async function session({ port })
{
    const open = await exchange(port, handshakeRequest());
    return JSON.parse(open.text.slice(1)).sid;
}

async function sessionCount({ gateway, backends })
{
    const metrics = await gateway.metrics();
    return backends.reduce((sum, { id }) => sum + sessionsOf(metrics, id), 0);
}

describe('a session after its upgrade', () => {
    const gateway = fixture({ engine: true,
                              args: [...ONE_WORKER, '--recovery', 'off'] });

    const upgrades = async () => (await gateway.gateway.metrics())
        .get('sidgate_upgrade_successes_total{backend="n1"}');

    /* A tunnel with the session's sid through which the client sends the two
     * frames of an upgrade. */
    async function upgrade(sid)
    {
        const { backend } = gateway;
        let upstream;
        backend.handler = (request, wire) => {
            backend.handler = backend.fallback;
            wire.taken = true;
            upstream = wire;
            wire.send(switching(request));
        };
        const client = await gateway.open();
        client.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket' +
                                   `&sid=${sid}`));
        assert.equal((await client.head()).status, 101);
        for (const text of ['2probe', '5']) {
            const bytes = frame(TEXT, text, { mask: true });
            client.send(bytes);
            await upstream.bytes(bytes.length);
        }
        return { client, upstream };
    }

    async function end({ client, upstream })
    {
        client.finish();
        await upstream.ended();
        upstream.finish();
        await client.ended();
    }

    const LATE = [['200', () => ok('6')],
                  ['400 code 3', () => engineError(3, 'Bad request')]];
    for (const [name, answer] of LATE) {
        it(`keeps its binding through a late poll: ${name}`, async () => {
            await eventually(async () => await sessionCount(gateway) === 0,
                             'no session');
            const before = await upgrades();
            const sid = await session(gateway);
            const own = await upgrade(sid);
            gateway.backend.onPoll = (request, wire) => wire.send(answer());
            await exchange(gateway.port, sidRequest(sid));
            assert.equal(await sessionCount(gateway), 1);
            /* Were it a polling session again, a second tunnel would take it
             * for its own, and its end would end the session. */
            const second = await upgrade(sid);
            await end(second);
            await eventually(async () => (await gateway.gateway.metrics())
                .get('sidgate_tunnels') === 1, 'the end of a tunnel');
            assert.equal(await upgrades(), before + 1);
            assert.equal(await sessionCount(gateway), 1);
            gateway.backend.onPoll = (request, wire) => wire.send(ok('4on'));
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, '4on');
            await end(own);
            await eventually(async () => await sessionCount(gateway) === 0,
                             'the end of the session');
        });
    }
});

describe('recovery', () => {
    const gateway = fixture({ count: 3, engine: true,
                              args: ['--recovery-timeout', '20s'] });

    function onProbe(backend, answer)
    {
        backend.handler = (request, wire) => {
            if (request.method !== 'PUT')
                return backend.fallback(request, wire);
            backend.requests.splice(backend.requests.indexOf(request), 1);
            backend.probes.push(request);
            return answer(wire);
        };
    }

    const asked = () => gateway.backends.map((b) => b.probes.length);
    const reached = () => gateway.backends.flatMap((b) => b.requests);

    const ROWS = [
        ['closes the connection', (wire) => {
            wire.taken = true;
            wire.finish();
        }],
        ['resets the connection', (wire) => {
            wire.taken = true;
            wire.reset();
        }],
        ['closes it within its answer', (wire) => {
            wire.taken = true;
            wire.finish('HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n' +
                        '\r\n{');
        }],
        ['answers 503', (wire) => wire.send(
            'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n')],
        ['answers 502 with a text', (wire) => wire.send(
            'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\noh!')],
    ];
    for (const [name, answer] of ROWS) {
        it(`of an owner that ${name}: 503, not code 1`, async () => {
            const sid = newSid();
            gateway.backends[1].sids.add(sid);
            onProbe(gateway.backends[1], answer);
            const response = await exchange(gateway.port, sidRequest(sid));
            assert.equal(response.status, 503);
            assert.deepEqual(asked(), [1, 1, 1]);
            assert.deepEqual(reached(), []);
            /* And nothing of that is remembered. */
            gateway.backends[1].handler = gateway.backends[1].fallback;
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, '4n2');
        });
    }

    it('of two owners: 503, and neither gets the request', async () => {
        const sid = newSid();
        gateway.backends[0].sids.add(sid);
        gateway.backends[2].sids.add(sid);
        const response = await exchange(gateway.port,
            sidRequest(sid, { method: 'POST', body: '4x' }));
        assert.equal(response.status, 503);
        assert.deepEqual(reached(), []);
    });

    it('asks for no sid of less than 16 bytes', async () => {
        for (const sid of ['7', 'x'.repeat(15)]) {
            gateway.backends[0].sids.add(sid);
            const response = await exchange(gateway.port, sidRequest(sid));
            assert.equal(response.status, 400);
            assert.equal(response.text, UNKNOWN);
        }
        assert.deepEqual(asked(), [0, 0, 0]);
        assert.deepEqual(reached(), []);
        const long = 'x'.repeat(16);
        gateway.backends[0].sids.add(long);
        const poll = await exchange(gateway.port, sidRequest(long));
        assert.equal(poll.text, '4n1');
    });
});

describe('--netty', () => {
    const gateway = fixture({ count: 2, engine: true, args: ['--netty'] });
    const refuse = (body) => (request, wire) => wire.send(
        'HTTP/1.1 500 Internal Server Error\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`);

    async function answers(status, text, sid, how)
    {
        const response = await exchange(gateway.port, sidRequest(sid, how));
        assert.equal(response.status, status);
        assert.equal(response.text, text);
    }

    for (const how of [{}, { method: 'POST', body: '4x' }]) {
        const method = how.method || 'GET';
        it(`an empty 500 to a ${method} ends the binding`, async () => {
            const before = await sessionCount(gateway);
            const sid = await session(gateway);
            assert.equal(await sessionCount(gateway), before + 1);
            const owner = gateway.backends.find((b) => b.sids.has(sid));
            owner.onPoll = owner.onPost = refuse('');
            await answers(500, '', sid, how);
            await eventually(async () => await sessionCount(gateway) === before,
                             'the end of the session');
            owner.requests = [];
            await answers(400, UNKNOWN, sid, how);
            assert.deepEqual(owner.targets, []);
            assert.deepEqual(gateway.backends.flatMap((b) => b.probes), []);
        });
    }

    it('a 500 with a text does not', async () => {
        const sid = await session(gateway);
        const owner = gateway.backends.find((b) => b.sids.has(sid));
        owner.onPoll = refuse('oh');
        await answers(500, 'oh', sid);
        owner.onPoll = (request, wire) => wire.send(ok('4still'));
        await answers(200, '4still', sid);
    });

    it('no backend is asked whose a sid is', async () => {
        const sid = newSid();
        gateway.backends[1].sids.add(sid);
        await answers(400, UNKNOWN, sid);
        for (const { probes, targets } of gateway.backends)
            assert.deepEqual([probes, targets], [[], []]);
    });
});

describe('signals', () => {
    it('a second SIGTERM within --shutdown-delay: the end, at once', () =>
        withCluster({ args: ['--shutdown-delay', '10s'] }, async (c) => {
            const kept = await connect(c.port);
            const first = Date.now();
            process.kill(c.gateway.pid, 'SIGTERM');
            await eventually(async () =>
                (await c.gateway.get('/readyz')).status === 503, 'not ready');
            assert.deepEqual(await c.gateway.stop('SIGTERM'), DONE);
            assert.ok(Date.now() - first < 8000, 'it waited');
            await kept.ended();
            kept.destroy();
        }));

    it('SIGHUP ends neither the process nor its tunnels', () =>
        withCluster({}, async (c) => {
            const { client, upstream } = await openTunnel(c);
            process.kill(c.gateway.pid, 'SIGHUP');
            await eventually(() => c.gateway.stderr().includes(' reloaded '),
                             'a word on it');
            const hello = frame(TEXT, 'hello', { mask: true });
            client.send(hello);
            assert.deepEqual(await upstream.bytes(hello.length), hello);
            const response = await exchange(c.port, OPTIONS);
            assert.equal(response.status, 200);
            client.destroy();
            upstream.destroy();
            assert.deepEqual(await c.gateway.stop(), DONE);
        }));

    it('SIGTERM: all that waits to be accepted is served', () =>
        withCluster({ args: ONE_WORKER }, async (c) => {
            const COUNT = 300; /* more than it accepts in one turn */
            await suspend(c.gateway.pid);
            const wires = [];
            for (let i = 0; i < COUNT; i++) {
                const wire = await connect(c.port);
                wire.send(`GET /${i} HTTP/1.1\r\nHost: h\r\n\r\n`);
                wires.push(wire);
            }
            process.kill(c.gateway.pid, 'SIGTERM');
            process.kill(c.gateway.pid, 'SIGCONT');
            const texts = await Promise.all(wires.map((wire) =>
                wire.response().then(({ text }) => text, String)));
            wires.forEach((wire) => wire.destroy());
            assert.deepEqual(texts, wires.map((_, i) => `/${i}`));
            let end;
            c.gateway.exited.then((how) => (end = how));
            await eventually(() => end, 'its end');
            assert.deepEqual(end, DONE);
        }));
});

describe('what the kernel refuses', () => {
    it('descriptors: who waits is told so, and it goes on when there are some',
       () => withCluster({ args: ONE_WORKER }, async (c) => {
           const { pid } = c.gateway;
           const inside = [];
           const ask = async (wire) =>
               (await wire.send(OPTIONS).response('OPTIONS')).status;
           for (let i = 0; i < 8; i++) {
               inside.push(await connect(c.port));
               assert.equal(await ask(inside.at(-1)), 200);
           }
           const limit = spentLimit(pid);
           const { stderr, status } = spawnSync('prlimit',
               ['--pid', `${pid}`, `--nofile=${limit}:${limit}`],
               { encoding: 'utf8' });
           assert.equal(status, 0, stderr);
           const wires = [];
           for (let i = 0; i < 16; i++) {
               wires.push(await connect(c.port));
               wires.at(-1).send(OPTIONS);
           }
           const before = cpuMs(pid);
           await new Promise((resolve) => setTimeout(resolve, 1000));
           const spent = cpuMs(pid) - before;
           assert.ok(spent < 200, `${spent} ms of CPU in a second`);
           const statuses = await Promise.all(wires.map((wire) =>
               wire.response('OPTIONS').then((got) => got.status,
                                                   () => 'reset')));
           const shed = statuses.filter((one) => one === 503).length;
           assert.ok(shed > 0, statuses.join());
           assert.ok(!statuses.includes(200), statuses.join());
           for (const wire of inside)
               assert.equal(await ask(wire), 200);
           [...inside, ...wires].forEach((wire) => wire.destroy());
           await eventually(async () => {
               const wire = await connect(c.port);
               wire.send(OPTIONS);
               const got = await wire.response('OPTIONS');
               wire.destroy();
               return got.status === 200;
           }, 'served again');
           const metrics = await c.gateway.metrics();
           assert.ok(metrics.get('sidgate_accept_errors_total') > 0);
           assert.ok(metrics.get(
               'sidgate_limited_total{limit="descriptors"}') >= shed);
           assert.deepEqual(await c.gateway.stop(), DONE);
       }));

    const isolated = [['-n'], ['-rn']]
        .find((how) => spawnSync('unshare', [...how, 'true']).status === 0);
    it('local ports: 503, counted, and no fault of the backend',
       { skip: !isolated && 'unshare is not permitted' }, () => {
           const script = 'ip link set lo up && exec "$0" "$1"';
           const { status, stdout, stderr } = spawnSync('unshare',
               [...isolated, 'sh', '-c', script, process.execPath,
                support('few-ports.mjs')],
               { encoding: 'utf8', timeout: 60000 });
           assert.equal(status, 0, stdout + stderr);
       });
});

/* A backend of which the test decides when it runs, and what it has said. */
async function startGreeter()
{
    const child = fork(support('greeter.mjs'));
    const said = [];
    child.on('message', (what) => said.push(what));
    try {
        await eventually(() => said.length > 0, 'its port');
    } catch (error) {
        child.kill('SIGKILL');
        throw error;
    }
    return { child, port: said[0].port, said };
}

describe('a backend that answers before it reads', () => {
    let greeter;
    after(() => greeter?.child.kill('SIGKILL'));

    /* The SYN of the gateway is dropped, since the backend's queue is full;
     * it is repeated while the gateway is held, which so meets connection and
     * answer in one event. */
    it('while sidgate connects: the answer is not lost', async () => {
        greeter = await startGreeter();
        await suspend(greeter.child.pid);
        await withGateway([{ id: 'n1', port: greeter.port }],
            [...ONE_WORKER, '--connect-timeout', '20s', '--response-timeout',
             '3s'],
            async (c) => {
                const fillers = [await connect(greeter.port),
                                 await connect(greeter.port)];
                const ports = fillers.map(({ socket }) => socket.localPort);
                const client = await connect(c.port);
                client.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
                await eventually(async () => (await c.metrics())
                    .get('sidgate_backend_connects_total{backend="n1"}') === 1,
                                 'an attempt to connect');
                await suspend(c.pid);
                process.kill(greeter.child.pid, 'SIGCONT');
                await eventually(() => greeter.said.some(({ remotePort }) =>
                    remotePort && !ports.includes(remotePort)), 'its greeting',
                                 10000);
                process.kill(c.pid, 'SIGCONT');
                const response = await client.response();
                assert.equal(response.status, 200);
                assert.equal(response.text, 'greeting');
                [client, ...fillers].forEach((wire) => wire.destroy());
            });
    });
});
