/* SPDX-License-Identifier: MIT */
/* How the process starts and ends. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, sidRequest } from '../support/engine.mjs';
import { withCluster } from '../support/fixture.mjs';
import { closeFrame, frame, openTunnel, TEXT } from '../support/frames.mjs';
import { spawnGateway } from '../support/gateway.mjs';
import { connect, eventually, exchange, gate } from '../support/wire.mjs';

const DONE = { code: 0, signal: null };

/* Sends SIGTERM and waits until the gateway has acted on it. Gives
 * {stopped}, the promise of its end. */
async function drain({ gateway })
{
    const stopped = gateway.stop();
    await eventually(() => gateway.get('/readyz')
        .then(({ status }) => status === 503, () => true), 'not ready');
    return { stopped };
}

async function heldPoll(cluster, answer = '4late')
{
    const open = await exchange(cluster.port, handshakeRequest());
    const { sid } = JSON.parse(open.text.slice(1));
    const late = gate();
    cluster.backend.onPoll = async (request, wire) => {
        await late.opened;
        wire.send(ok(answer));
    };
    const wire = await connect(cluster.port);
    wire.send(sidRequest(sid));
    await cluster.backend.request(1);
    return { wire, late };
}

describe('SIGTERM', () => {
    it('with nothing open: exit 0', () => withCluster({}, async (cluster) => {
        assert.deepEqual(await cluster.gateway.stop(), DONE);
    }));

    it('with idle connections: exit 0', () => withCluster({}, async (c) => {
        const wire = await connect(c.port);
        wire.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
        await wire.response();
        const silent = await connect(c.port);
        const stopped = c.gateway.stop();
        for (const idle of [wire, silent]) {
            assert.equal(await idle.ended(), 'fin');
            idle.destroy();
        }
        assert.deepEqual(await stopped, DONE);
    }));

    it('held polls finish', () => withCluster({
        engine: true, args: ['--workers', '1'],
    }, async (c) => {
        const { wire, late } = await heldPoll(c);
        const idle = await connect(c.port);
        const { stopped } = await drain(c);
        /* By then the worker has heard of it. */
        assert.equal(await idle.ended(), 'fin');
        idle.destroy();
        assert.equal(wire.total, 0);
        late.open();
        const response = await wire.response();
        assert.equal(response.text, '4late');
        assert.equal(response.get('connection'), 'close');
        assert.equal(await wire.ended(), 'fin');
        wire.destroy();
        assert.deepEqual(await stopped, DONE);
    }));

    it('a response in the middle is finished', () => withCluster({},
        async (c) => {
            let upstream;
            c.backend.handler = (request, wire) => {
                upstream = wire;
                wire.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello');
            };
            const wire = await connect(c.port);
            wire.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
            await wire.until(() => wire.buffer.includes('hello'), 'hello');
            const { stopped } = await drain(c);
            upstream.send('world');
            assert.equal((await wire.response()).text, 'helloworld');
            assert.equal(await wire.ended(), 'fin');
            wire.destroy();
            assert.deepEqual(await stopped, DONE);
        }));

    it('websockets get a close frame, at a boundary of frames', () =>
        withCluster({}, async (c) => {
            const { client, upstream } = await openTunnel(c);
            const message = frame(TEXT, 'x'.repeat(300));
            upstream.send(message.subarray(0, 100));
            await client.until(() => client.buffer.length >= 100, 'a half');
            const { stopped } = await drain(c);
            upstream.send(message.subarray(100));
            assert.deepEqual(await client.bytes(message.length), message);
            const head = await client.bytes(2);
            assert.equal(head[0], 0x88);
            const payload = await client.bytes(head[1]);
            assert.equal(payload.readUInt16BE(0), 1001);
            const answer = closeFrame(1001, { mask: true });
            client.send(answer);
            assert.deepEqual(await upstream.bytes(answer.length), answer);
            upstream.finish(closeFrame(1001));
            const { bytes } = await client.rest();
            assert.equal(bytes.length, 0, 'bytes behind the close frame');
            client.destroy();
            assert.deepEqual(await stopped, DONE);
        }));

    it('idle websockets get it at once', () => withCluster({}, async (c) => {
        const ends = [];
        for (let i = 0; i < 5; i++)
            ends.push(await openTunnel(c));
        const stopped = c.gateway.stop();
        for (const { client, upstream } of ends) {
            const bytes = await client.bytes(4);
            assert.deepEqual([...bytes.subarray(0, 1), ...bytes.subarray(2)],
                             [0x88, 1001 >> 8, 1001 & 255]);
            client.finish(closeFrame(1001, { mask: true }));
            await upstream.ended();
            upstream.finish();
        }
        assert.deepEqual(await stopped, DONE);
    }));

    it('--shutdown-timeout ends what does not: a held poll by a close packet',
       () => withCluster(
        { engine: true, args: ['--shutdown-timeout', '500ms'] },
        async (c) => {
            const { wire } = await heldPoll(c);
            const start = Date.now();
            assert.deepEqual(await c.gateway.stop(), DONE);
            assert.ok(Date.now() - start < 15_000);
            const response = await wire.response();
            assert.equal(response.status, 200);
            assert.equal(response.text, '1');
            assert.equal(response.get('connection'), 'close');
            await wire.ended();
            wire.destroy();
        }));

    it('--shutdown-delay: not ready, but still serving', () => withCluster(
        { args: ['--shutdown-delay', '1h'] }, async (c) => {
            const kept = await connect(c.port);
            kept.send('GET /kept HTTP/1.1\r\nHost: h\r\n\r\n');
            await kept.response();
            const stopped = c.gateway.stop();
            await eventually(async () =>
                (await c.gateway.get('/readyz')).status === 503, 'not ready');
            kept.send('GET /kept HTTP/1.1\r\nHost: h\r\n\r\n');
            const last = await kept.response();
            assert.equal(last.get('connection'), 'close');
            assert.equal(await kept.ended(), 'fin');
            const response = await exchange(c.port,
                'GET /new HTTP/1.1\r\nHost: h\r\n\r\n');
            assert.equal(response.text, '/new');
            assert.equal(response.get('connection'), 'close');
            kept.destroy();
            await c.gateway.stop();
            assert.deepEqual(await stopped, DONE);
        }));

    it('--shutdown-delay: the end comes behind it', () => withCluster(
        { args: ['--shutdown-delay', '1s'] }, async (c) => {
            const start = Date.now();
            assert.deepEqual(await c.gateway.stop(), DONE);
            const ms = Date.now() - start;
            assert.ok(ms >= 990, `after ${ms} ms`);
        }));
});

describe('starting', () => {
    it('a second gateway on the same port fails with one line', () =>
        withCluster({}, async (c) => {
            for (const args of [
                ['--listen', `127.0.0.1:${c.port}`],
                ['--listen', '127.0.0.1:0', '--admin',
                 `127.0.0.1:${c.gateway.adminPort}`],
            ]) {
                const second = spawnGateway(
                    [...args, '--backend', '127.0.0.1:1']);
                const { code } = await second.exited;
                assert.notEqual(code, 0);
                const lines = second.stderr().trim().split('\n');
                assert.equal(lines.length, 1, second.stderr());
                const port = args.at(-1).split(':')[1];
                assert.match(lines[0], new RegExp(`:${port}\\b`));
            }
            const response = await exchange(c.port,
                'GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
            assert.equal(response.text, '/x');
        }));

    for (const args of [['--nonsense'], ['--workers', '0'],
                        ['--listen', '127.0.0.1:0'],
                        ['--listen', '127.0.0.1:0', '--backend', 'x=1']]) {
        it(`${args.join(' ')}: one line, no start`, async () => {
            const run = spawnGateway(args);
            const { code } = await run.exited;
            assert.notEqual(code, 0);
            assert.equal(run.stderr().trim().split('\n').length, 1,
                         run.stderr());
        });
    }
});
