/* SPDX-License-Identifier: MIT */
/* Active health checks: which backends get new sessions, and that living ones
 * go on whatever the checks say. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { afterEach, describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { certificateFolder, testCertificates }
    from '../support/certificates.mjs';
import { handshakeRequest, newSid, sidRequest, startEngine }
    from '../support/engine.mjs';
import { startGateway } from '../support/gateway.mjs';
import { descriptors } from '../support/process.mjs';
import { quietPort } from '../support/ports.mjs';
import { putTlsBefore } from '../support/tls-backend.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const PATH = '/health?deep=1';
const CHECKED_MS = 30_000;
/* Where many checks are to come, and none that is late may count. */
const OFTEN = { interval: '200ms', timeout: '200ms', fall: '20' };
/* Flags: `more` instead of, or beside, what is usual here. The nodes are this
 * very process, which a busy machine may hold up for a second or two. */
function checks(more = {})
{
    return Object.entries({ check: 'http', path: PATH, interval: '3s',
                            timeout: '3s', rise: '1', fall: '1', ...more })
        .flatMap(([name, value]) => [`--health-${name}`, value]);
}

const SICK = 'HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n';
const { authority, server } = testCertificates();
const closing = [];

afterEach(async () => {
    for (const close of closing.splice(0).reverse())
        await close();
});

/* An Engine.IO backend that answers checks with `health`, or not at all where
 * that is null, but with those of `script` first, one each. `checks` has the
 * time of each; sids say whose they are. */
async function startNode(id, more = {})
{
    const node = await startEngine({ id, ...more });
    const engine = node.fallback;
    node.health = ok('fine');
    node.script = [];
    node.checks = [];
    node.mint = () => `${id}.${newSid()}`;
    node.handler = node.fallback = (request, wire) => {
        if (request.target !== PATH)
            return engine(request, wire);
        node.requests.splice(node.requests.indexOf(request), 1);
        node.checks.push({ at: performance.now(), request });
        const health = node.script.shift() ?? node.health;
        if (health !== null)
            wire.send(health);
        return undefined;
    };
    closing.push(() => node.stop());
    return node;
}

async function startFor(backends, { args = checks(), env } = {})
{
    const gateway = await startGateway(
        { backends, env, args: [
            '--workers', '1', '--balance', 'round-robin', ...args] });
    closing.push(async () => {
        const { code } = await gateway.stop();
        assert.equal(code, 0, gateway.stderr());
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
    });
    return gateway;
}

async function start({ count = 2, ...more } = {})
{
    const nodes = [];
    for (let i = 1; i <= count; i++)
        nodes.push(await startNode(`n${i}`));
    return { nodes, gateway: await startFor(nodes, more) };
}

/* Whole lines of an event about a backend. */
function told(gateway, event, id)
{
    return gateway.stderr().split('\n').slice(0, -1).filter(
        (line) => line.includes(` ${event} backend=${id} `));
}

function turns(gateway, event, id, times = 1)
{
    return eventually(() => told(gateway, event, id).length >= times,
        `${event} of ${id} in ${gateway.stderr()}`, CHECKED_MS);
}

/* Resolves once so many more checks have come. */
function checked(node, more = 1)
{
    const wanted = node.checks.length + more;
    return eventually(() => node.checks.length >= wanted,
        `${more} more checks of ${node.id}`, CHECKED_MS);
}

async function handshake(gateway)
{
    const answer = await exchange(gateway.port, handshakeRequest());
    assert.equal(answer.status, 200);
    return /"sid":"([^"]+)"/.exec(answer.body.toString())[1];
}

/* Which nodes so many handshakes were given to. */
async function handshakes(gateway, count)
{
    const seen = new Set();
    for (let i = 0; i < count; i++)
        seen.add((await handshake(gateway)).split('.')[0]);
    return [...seen].sort();
}

function post(gateway, target)
{
    return new Promise((resolve, reject) => {
        const request = http.request(
            { host: '127.0.0.1', port: gateway.adminPort, path: target,
              method: 'POST', agent: false, timeout: 15_000 },
            (response) => {
                response.resume();
                response.on('end', () => resolve(response.statusCode));
            });
        request.on('error', reject);
        request.on('timeout', () => request.destroy(new Error('no answer')));
        request.end();
    });
}

describe('a backend that is down', () => {
    it('gets no new sessions, and its own go on', async () => {
        const { nodes: [n1, n2], gateway } = await start();
        let sid;
        do
            sid = await handshake(gateway);
        while (!sid.startsWith('n1.'));
        n1.health = SICK;
        await turns(gateway, 'backend_down', 'n1');
        assert.match(told(gateway, 'backend_down', 'n1')[0],
                     /warning .* why="status 503"/);
        assert.deepEqual(await handshakes(gateway, 20), ['n2']);
        for (let i = 0; i < 5; i++) {
            const answer = await exchange(gateway.port, sidRequest(sid));
            assert.equal(answer.body.toString(), '4n1');
        }
        n1.health = ok();
        await turns(gateway, 'backend_up', 'n1');
        assert.match(told(gateway, 'backend_up', 'n1')[0],
                     /info .* why="1 good check"/);
        assert.deepEqual(await handshakes(gateway, 20), ['n1', 'n2']);
        assert.equal(told(gateway, 'backend_down', 'n2').length, 0);
        assert.ok(n2.checks.length > 0);
    });

    it('gets them all the same when all are', async () => {
        const { nodes, gateway } = await start();
        for (const node of nodes)
            node.health = SICK;
        await turns(gateway, 'backend_down', 'n1');
        await turns(gateway, 'backend_down', 'n2');
        assert.deepEqual(await handshakes(gateway, 20), ['n1', 'n2']);
    });

    it('is found though it takes connections and is silent', async () => {
        const { nodes: [n1], gateway } = await start();
        n1.health = null;
        await turns(gateway, 'backend_down', 'n1');
        assert.match(told(gateway, 'backend_down', 'n1')[0],
                     /why="timeout after 3000 ms"/);
        assert.deepEqual(await handshakes(gateway, 10), ['n2']);
        n1.health = ok();
        await turns(gateway, 'backend_up', 'n1');
    });

    it('counts rows of checks', async () => {
        const { nodes: [n1], gateway } = await start({ args: checks(
            { rise: '3', fall: '4' }) });
        /* Nothing comes of these, however many they are. */
        const neither = Array.from({ length: 60 }, (_, i) =>
            (i % 3 === 2 ? SICK : ok()));
        const are = (down, up) => assert.deepEqual(
            ['backend_down', 'backend_up'].map((event) =>
                told(gateway, event, 'n1').length), [down, up]);
        n1.script = [SICK, SICK, SICK, ...neither];
        await checked(n1, 7);
        are(0, 0);
        n1.script = [SICK, SICK, SICK, SICK, ...neither];
        await turns(gateway, 'backend_down', 'n1');
        await checked(n1, 6);
        are(1, 0);
        n1.script = [ok(), ok(), ok(), ...neither];
        await turns(gateway, 'backend_up', 'n1');
        assert.match(told(gateway, 'backend_up', 'n1')[0],
                     /why="3 good checks"/);
        are(1, 1);
    });
});

describe('a check', () => {
    it('is a GET that ends with its answer\'s head', async () => {
        const { nodes: [n1], gateway } = await start({ count: 1,
            args: checks(OFTEN), env: { http_proxy: 'http://127.0.0.1:9' } });
        n1.health = 'HTTP/1.1 200 OK\r\n\r\nand no end of it';
        await checked(n1, 4);
        const { request } = n1.checks.at(-1);
        assert.equal(request.method, 'GET');
        assert.equal(request.get('host'), `127.0.0.1:${n1.port}`);
        assert.equal(request.get('user-agent'), 'sidgate-health');
        assert.equal(request.get('connection'), 'close');
        assert.equal(told(gateway, 'backend_down', 'n1').length, 0);
    });

    it('wants a status of the range', async () => {
        const { nodes: [n1], gateway } = await start(
            { count: 1, args: checks({ status: '420-426' }) });
        await turns(gateway, 'backend_down', 'n1');
        assert.match(told(gateway, 'backend_down', 'n1')[0], /"status 200"/);
        n1.health = 'HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n';
        await turns(gateway, 'backend_up', 'n1');
    });

    it('follows nobody elsewhere', async () => {
        const { nodes: [n1, n2], gateway } = await start(
            { args: checks({ status: '200' }) });
        n1.health = 'HTTP/1.1 302 There\r\nContent-Length: 0\r\n' +
            `Location: http://127.0.0.1:${n2.port}/there\r\n\r\n`;
        await turns(gateway, 'backend_down', 'n1');
        assert.match(told(gateway, 'backend_down', 'n1')[0], /"status 302"/);
        assert.deepEqual(n2.targets, []);
    });

    it('comes at an interval that is never quite the same', async () => {
        const { nodes: [n1] } = await start({ count: 1,
            args: checks({ interval: '500ms', timeout: '500ms' }) });
        let gaps;
        /* Twelve in a row, since this process may be slow with some. */
        const isEven = () => {
            const times = n1.checks.slice(-12).map(({ at }) => at);
            gaps = times.slice(1).map((at, i) => at - times[i]);
            const mean = (times.at(-1) - times[0]) / gaps.length;
            return times.length === 12 && mean > 450 && mean < 700 &&
                Math.min(...gaps) > 300 &&
                gaps.filter((gap) => Math.abs(gap - 500) > 15).length > 2;
        };
        await eventually(isEven, 'such gaps', 90_000).catch((error) =>
            assert.fail(`${error.message}: ${gaps}`));
    });

    it('may be a connect alone', async () => {
        const port = await quietPort();
        const node = await startNode('n1');
        const gateway = await startFor(
            [node, { id: 'n2', port }], { args: checks({ check: 'tcp' }) });
        await turns(gateway, 'backend_down', 'n2');
        assert.match(told(gateway, 'backend_down', 'n2')[0],
                     /why="connection refused"/);
        assert.deepEqual(await handshakes(gateway, 10), ['n1']);
        await startNode('n2', { port });
        await turns(gateway, 'backend_up', 'n2');
        assert.deepEqual(await handshakes(gateway, 20), ['n1', 'n2']);
        assert.equal(told(gateway, 'backend_down', 'n1').length, 0);
    });

    it('leaves no descriptor behind on a port that comes and goes',
       async () => {
        const port = await quietPort();
        const node = await startNode('n1');
        const gateway = await startFor(
            [node, { id: 'n2', port }], { args: checks({ interval: '500ms',
                                                         timeout: '500ms' }) });
        let before = 0;
        for (let i = 1; i <= 6; i++) {
            await turns(gateway, 'backend_down', 'n2', i);
            if (i === 2)
                before = descriptors(gateway.pid).length;
            const comes = await startNode('n2', { port });
            await turns(gateway, 'backend_up', 'n2', i);
            closing.pop();
            await comes.stop();
        }
        await turns(gateway, 'backend_down', 'n2', 7);
        await eventually(() => descriptors(gateway.pid).length <= before + 2,
            `at most ${before + 2} descriptors`);
    });

    it('ends for a backend that is removed', async () => {
        const { nodes: [n1, n2], gateway } = await start(
            { args: checks(OFTEN) });
        await checked(n1);
        assert.equal(await post(gateway, '/api/v1/backends/n1/remove'), 200);
        const connections = () => n1.connections.length;
        await checked(n2, 5);
        const before = connections();
        await checked(n2, 15);
        assert.equal(connections(), before);
        assert.equal(told(gateway, 'backend_down', 'n1').length, 0);
    });

    it('begins for a backend that is added, at once', async () => {
        const { gateway } = await start({ count: 1,
                                          args: checks({ interval: '1h' }) });
        const node = await startNode('n2');
        assert.equal(await post(gateway, '/api/v1/backends?spec=' +
            encodeURIComponent(`n2=127.0.0.1:${node.port}`)), 200);
        await checked(node);
    });
});

describe('a reload', () => {
    it('ends checks, and begins them', async () => {
        const file = path.join(certificateFolder(), 'health.json');
        const write = (check) => writeFileSync(file, JSON.stringify(
            { health_check: check, health_path: PATH,
              health_interval: '1s', health_timeout: '1s' }));
        write('http');
        const { nodes: [n1, n2], gateway } = await start(
            { args: ['--config', file] });
        n1.health = SICK;
        await turns(gateway, 'backend_down', 'n1');
        write('off');
        process.kill(gateway.pid, 'SIGHUP');
        await turns(gateway, 'backend_up', 'n1');
        assert.deepEqual(await handshakes(gateway, 20), ['n1', 'n2']);
        const before = n1.checks.length + n2.checks.length;
        write('http');
        process.kill(gateway.pid, 'SIGHUP');
        await turns(gateway, 'backend_down', 'n1', 2);
        assert.ok(n1.checks.length + n2.checks.length > before);
    });
});

describe('backends with TLS', () => {
    async function startTls(more, args = ['--backend-ca',
                                          authority.certificate])
    {
        const nodes = [await startNode('n1'), await startNode('n2')];
        const fronts = [];
        for (const node of nodes) {
            const front = await putTlsBefore(node, server);
            fronts.push(front);
            closing.push(() => front.stop());
        }
        const gateway = await startFor(fronts.map(({ port }, i) => ({
            id: `n${i + 1}`, port: `${port},tls${more[i]}` })),
            { args: [...checks(), '--connect-timeout', '20s', ...args] });
        return { nodes, fronts, gateway };
    }

    it('are verified as for traffic', async () => {
        const { nodes: [n1, n2], gateway } = await startTls(
            ['', ',name=somebody.example']);
        await turns(gateway, 'backend_down', 'n2');
        assert.match(told(gateway, 'backend_down', 'n2')[0],
                     /why="certificate verify failed: hostname mismatch"/);
        await checked(n1, 2);
        assert.equal(told(gateway, 'backend_down', 'n1').length, 0);
        assert.equal(n2.checks.length, 0);
        assert.deepEqual(await handshakes(gateway, 5), ['n1']);
    });

    it('are believed unseen where that is wanted', async () => {
        const { nodes, gateway } = await startTls(
            [',verify=off', ''], []);
        await turns(gateway, 'backend_down', 'n2');
        await checked(nodes[0], 2);
        assert.equal(told(gateway, 'backend_down', 'n1').length, 0);
        assert.equal(nodes[1].checks.length, 0);
    });
});

describe('many that hang', () => {
    it('delay no check of the others for long', async () => {
        const held = [];
        const hung = [];
        for (let i = 0; i < 60; i++) {
            const silent = net.createServer((socket) => {
                held.push(socket.on('error', () => {}));
            }).listen(0, '127.0.0.1');
            await once(silent, 'listening');
            hung.push({ id: `hung${i}`, port: silent.address().port });
            closing.push(() => silent.close());
        }
        closing.push(() => held.forEach((socket) => socket.destroy()));
        const node = await startNode('good');
        const gateway = await startFor([...hung, node], { args: checks(
            { interval: '1s', timeout: '1s', rise: '2', fall: '5' }) });
        await eventually(() => hung.every(({ id }) =>
            told(gateway, 'backend_down', id).length > 0), 'all down', 60_000);
        const before = node.checks.length;
        await checked(node, 3);
        assert.equal(told(gateway, 'backend_down', 'good').length, 0);
        assert.ok(before > 0);
        assert.deepEqual(await handshakes(gateway, 5), ['good']);
    });
});
