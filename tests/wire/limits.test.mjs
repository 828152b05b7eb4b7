/* SPDX-License-Identifier: MIT */
/* Each limit has its own status; nothing is ever cut and used. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, sidRequest } from '../support/engine.mjs';
import { fixture, startCluster, stopCluster } from '../support/fixture.mjs';
import { quietPort } from '../support/ports.mjs';
import { exchange, gate } from '../support/wire.mjs';

const a = (count) => 'a'.repeat(count);
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';

const SIZES = [
    ['a request line of 9000 bytes',
     `GET /${a(9000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
    ['a request line without an end', `GET /${a(9000)}`, 414],
    ['a request line of 60000 bytes',
     `GET /${a(60000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
    ['a method without an end', a(20000), 414],
    ['a value of 17000 bytes',
     `GET /x HTTP/1.1\r\nHost: h\r\nA: ${a(17000)}\r\n\r\n`, 431],
    ['a name of 17000 bytes',
     `GET /x HTTP/1.1\r\nHost: h\r\n${a(17000)}: b\r\n\r\n`, 431],
    ['a head without an end',
     `GET /x HTTP/1.1\r\nHost: h\r\n${`A: ${a(100)}\r\n`.repeat(90)}` +
     `B: ${a(9000)}`, 431],
    ['a value of 70000 bytes',
     `GET /x HTTP/1.1\r\nHost: h\r\nA: ${a(70000)}\r\n\r\n`, 431],
    ['101 fields',
     `GET /x HTTP/1.1\r\nHost: h\r\n${'A: b\r\n'.repeat(100)}\r\n`, 431],
    ['1000 fields',
     `GET /x HTTP/1.1\r\nHost: h\r\n${'A: b\r\n'.repeat(999)}\r\n`, 431],
];

describe('sizes of a head', () => {
    const gateway = fixture();

    for (const [name, bytes, status] of SIZES) {
        it(`${name}: ${status}`, async () => {
            const wire = await gateway.open();
            wire.send(bytes);
            const response = await wire.response();
            assert.equal(response.status, status);
            assert.equal(response.get('connection'), 'close');
            assert.equal(await wire.ended(), 'fin');
            assert.equal(wire.buffer.length, 0);
            await gateway.stillServes();
            assert.deepEqual(gateway.backend.targets, ['/still-serves']);
        });
    }

    it('up to the limits a head passes whole', async () => {
        const target = `/${a(8000)}`;
        const wire = await gateway.open();
        wire.send(`GET ${target} HTTP/1.1\r\nHost: h\r\n` +
                  `B: ${a(7500)}\r\n\r\n`);
        assert.equal((await wire.response()).text, target);
        assert.equal(gateway.backend.requests[0].get('b'), a(7500));
        wire.send(`GET /x HTTP/1.1\r\nHost: h\r\n${'A: b\r\n'.repeat(99)}\r\n`);
        assert.equal((await wire.response()).text, '/x');
        assert.equal(gateway.backend.requests[1].all('a').length, 99);
    });

    it('a large head of a response passes whole', async () => {
        gateway.backend.handler = (request, wire) =>
            wire.send(ok('ok', `B: ${a(15000)}\r\n`));
        const wire = await gateway.open();
        wire.send(GET);
        assert.equal((await wire.response()).get('b'), a(15000));
    });
});

/* Sends a byte now and then until the connection ends: never idle. */
async function drip(wire, bytes, ms)
{
    for (const byte of bytes) {
        if (wire.over || wire.total > 0)
            return;
        wire.send(byte);
        await wire.until(() => wire.total > 0, 'an answer', ms).catch(() => {});
    }
}

describe('times', () => {
    const gateway = fixture({
        engine: true,
        args: ['--head-timeout', '2500ms', '--body-timeout', '2500ms',
               '--response-timeout', '3s', '--keepalive-timeout', '4s'],
    });

    it('a head that drips in: 408, counted from its first byte', async () => {
        const wire = await gateway.open();
        const start = Date.now();
        await drip(wire, `GET /x HTTP/1.1\r\nHost: h\r\nA: ${a(200)}`, 50);
        const response = await wire.response();
        const took = Date.now() - start;
        assert.equal(response.status, 408);
        assert.equal(response.get('connection'), 'close');
        assert.equal(await wire.ended(), 'fin');
        assert.ok(took >= 2400 && took < 12_000, `${took} ms`);
        assert.deepEqual(gateway.backend.targets, []);
    });

    it('a second head that drips in: 408', async () => {
        const wire = await gateway.open();
        wire.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
        gateway.backend.handler = (request, up) => up.send(ok('x'));
        assert.equal((await wire.response()).text, 'x');
        wire.history = [];
        wire.total = 0;
        await drip(wire, `GET /y HTTP/1.1\r\nHost: h\r\nA: ${a(200)}`, 50);
        assert.equal((await wire.response()).status, 408);
    });

    it('a body without progress: 408, and no backend sees it', async () => {
        const wire = await gateway.open();
        wire.send('POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n' +
                  'hello');
        const response = await wire.response();
        assert.equal(response.status, 408);
        assert.equal(response.get('connection'), 'close');
        assert.deepEqual(gateway.backend.targets, []);
    });

    it('an idle connection ends, without an answer to nothing', async () => {
        const wire = await gateway.open();
        gateway.backend.handler = (request, up) => up.send(ok('x'));
        wire.send(GET);
        assert.equal((await wire.response()).text, 'x');
        const { how, bytes } = await wire.rest();
        assert.equal(how, 'fin');
        assert.equal(bytes.length, 0);
    });

    it('a silent backend: 504; a poll outlives that', async () => {
        const { backend } = gateway;
        const open = await exchange(gateway.port, handshakeRequest());
        const { sid } = JSON.parse(open.text.slice(1));
        const late = gate();
        backend.onPoll = async (request, up) => {
            await late.opened;
            up.send(ok('6'));
        };
        const poll = await gateway.open();
        poll.send(sidRequest(sid));
        await backend.request(1);
        backend.handler = () => {};
        const plain = await gateway.open();
        plain.send(GET);
        const response = await plain.response();
        assert.equal(response.status, 504);
        await backend.requests.find((r) => r.target === '/x').wire.ended();
        late.open();
        assert.equal((await poll.response()).text, '6');
        /* The operator is told that polls get more than was asked for. */
        assert.equal(gateway.gateway.stderr().match(
            /warning response_timeout_raised \S+ configured_ms=3000 polls_ms=/g)
            ?.length, 1);
    });
});

describe('no backend', () => {
    it('that can be reached: 502 or 503, later one is found', async () => {
        const cluster = await startCluster({ engine: true });
        try {
            await cluster.backend.stop();
            for (const bytes of [GET, handshakeRequest()]) {
                const response = await exchange(cluster.port, bytes);
                assert.ok([502, 503].includes(response.status));
            }
        } finally {
            await stopCluster({ ...cluster, backends: [] });
        }
    });

    it('at one address: handshakes go to another', async () => {
        const dead = { id: 'dead', port: await quietPort() };
        const cluster = await startCluster({
            engine: true,
            args: ['--balance', 'round-robin', '--backend',
                   `dead=127.0.0.1:${dead.port}`],
        });
        try {
            for (let i = 0; i < 6; i++) {
                const response = await exchange(cluster.port,
                                                handshakeRequest());
                assert.equal(response.status, 200, `handshake ${i}`);
            }
            assert.equal(cluster.backend.requests.length, 6);
        } finally {
            await stopCluster(cluster);
        }
    });
});
