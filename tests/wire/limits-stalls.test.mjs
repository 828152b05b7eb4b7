/* SPDX-License-Identifier: MIT */
/* Who stands still is told from who is made to wait: a client that does not
 * read is closed, a backend that does not is waited for. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { upgradeRequest } from '../support/engine.mjs';
import { withCluster } from '../support/fixture.mjs';
import { limits, startFloodCluster } from '../support/flood.mjs';
import { frame, frameHead, openTunnel, TEXT } from '../support/frames.mjs';
import { suspend } from '../support/process.mjs';
import { connect, eventually, inTime, IS_TLS, PLAIN_ONLY }
    from '../support/wire.mjs';

/* Longer than a busy machine may hold up this process, or itself. */
const LIMIT_MS = 3000;
const CLIENT_TIMES = ['--write-timeout', `${LIMIT_MS}ms`, '--body-timeout',
                      `${LIMIT_MS}ms`];
const TIMES = [...CLIENT_TIMES, '--response-timeout', '60s'];
const PIECE = Buffer.alloc(65536, 'x');

async function withFlood(args, run)
{
    const cluster = await startFloodCluster({ isTls: IS_TLS, args });
    try {
        await run(cluster);
    } finally {
        process.kill(cluster.backend.pid, 'SIGCONT');
        await cluster.stop();
    }
}

/* A websocket session of the flood's backend, its open packet read. */
async function openEcho(cluster)
{
    const wire = await connect(cluster.port);
    wire.send(upgradeRequest());
    assert.equal((await wire.head()).status, 101);
    await wire.upTo('}');
    return wire;
}

async function echoes(wire, text)
{
    wire.send(frame(TEXT, `4${text}`, { mask: true }));
    await wire.upTo(`4${text}`);
}

/* Resolves to whether there was room again within `ms`. */
function drains(socket, ms)
{
    return new Promise((resolve) => {
        const onDrain = () => {
            clearTimeout(timer);
            resolve(true);
        };
        const timer = setTimeout(() => {
            socket.off('drain', onDrain);
            resolve(false);
        }, ms);
        socket.once('drain', onDrain);
    });
}

/* Writes until nothing was taken for a while; how much was written. What the
 * kernel took of a TLS connection, node does not tell. Before one look this
 * process may have stood still, but not before all. */
async function fill(wire)
{
    let sent = 0;
    const taken = () => wire.raw.bytesWritten - wire.raw.writableLength;
    for (let same = 0; same < 5;) {
        const last = taken();
        while (!wire.socket.writableNeedDrain && sent < 1e8) {
            wire.socket.write(PIECE);
            sent += PIECE.length;
        }
        const hasRoom = await drains(wire.socket, 100);
        same = hasRoom || last !== taken() ? 0 : same + 1;
    }
    assert.ok(sent < 1e8, `everything was taken ${wire.describe()}`);
    return sent;
}

const still = (times) =>
    new Promise((resolve) => setTimeout(resolve, LIMIT_MS * times));

describe('stalls', () => {
    it('a websocket client that does not read is closed, others go on', () =>
        withFlood(TIMES, async (cluster) => {
            const other = await openEcho(cluster);
            const deaf = await openEcho(cluster);
            deaf.socket.pause();
            deaf.send(frame(TEXT, '4pour', { mask: true }));
            let n = 0;
            await eventually(async () => {
                await inTime(async () => {
                    const start = performance.now();
                    await echoes(other, `n${n++}`);
                    return performance.now() - start;
                }, 1000);
                return (await limits(cluster.gateway)).write_timeout === 1;
            }, 'closed by its limit', LIMIT_MS * 10);
            await eventually(async () => (await cluster.gateway.metrics())
                .get('sidgate_tunnels') === 1, 'one tunnel');
            await echoes(other, 'after');
            deaf.socket.resume();
            await deaf.ended();
            assert.equal((await limits(cluster.gateway)).write_timeout, 1);
            other.destroy();
        }));

    it('a slow websocket client that reads on is not', () =>
        withCluster({ args: TIMES }, async (cluster) => {
            const { client, upstream } = await openTunnel(cluster);
            const total = 20e6;
            const end = performance.now() + 4 * LIMIT_MS;
            let count = 0;
            client.sink = (chunk) => (count += chunk.length);
            client.socket.pause();
            upstream.send(frameHead(2, total));
            upstream.send(Buffer.alloc(total));
            while (performance.now() < end) {
                await new Promise((resolve) => setTimeout(resolve, 200));
                if (!client.socket.read(200_000))
                    client.socket.read();
                assert.ok(!client.over, client.describe());
            }
            assert.ok(count < total, 'it was not slow');
            client.socket.resume();
            await client.until(() => count >= total, 'all of it', 20_000);
            client.destroy();
        }));

    it('a tunnel whose backend stands still is left open', () =>
        withFlood(TIMES, async (cluster) => {
            const wire = await openEcho(cluster);
            await suspend(cluster.backend.pid);
            wire.send(frame(TEXT, '4first', { mask: true }));
            const length = 40e6;
            wire.send(frameHead(2, length, true));
            await fill(wire);
            await still(2);
            assert.ok(!wire.over, wire.describe());
            process.kill(cluster.backend.pid, 'SIGCONT');
            await wire.upTo('4first');
            const { write_timeout: closed } = await limits(cluster.gateway);
            assert.equal(closed, 0);
            wire.destroy();
        }));

    it('a streamed body that its backend does not take is no 408',
        { skip: PLAIN_ONLY }, () =>
        withCluster({ args: TIMES }, async (cluster) => {
            const length = 30e6;
            let upstream;
            cluster.backend.early = (head, wire) => {
                wire.taken = true;
                wire.socket.pause();
                upstream = wire;
            };
            const client = await connect(cluster.port);
            client.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
                        `Content-Length: ${length}\r\n\r\n`);
            const sent = await fill(client);
            await still(1.5);
            assert.ok(!client.over, client.describe());
            assert.equal(client.total, 0, client.describe());
            let come = 0;
            upstream.sink = (chunk) => (come += chunk.length);
            come = upstream.buffer.length;
            upstream.socket.resume();
            for (let left = length - sent; left > 0; left -= PIECE.length)
                client.socket.write(PIECE.subarray(0, Math.min(left, 65536)));
            await upstream.until(() => come >= length, 'the body', 20_000);
            upstream.send(ok('taken'));
            assert.equal((await client.response('POST')).text, 'taken');
            const counted = await limits(cluster.gateway);
            assert.equal(counted.body_timeout + counted.body_rate, 0);
            client.destroy();
        }));

    it('one that its backend never takes ends after --response-timeout: 504',
        { skip: PLAIN_ONLY }, () => withCluster({ args: [...CLIENT_TIMES,
            '--response-timeout', '5s'] }, async (cluster) => {
            cluster.backend.early = (head, wire) => {
                wire.taken = true;
                wire.socket.pause();
            };
            const client = await connect(cluster.port);
            client.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
                        'Content-Length: 30000000\r\n\r\n');
            await fill(client);
            const { status } = await client.response('POST', 30_000);
            assert.equal(status, 504);
            client.destroy();
        }));

    it('a streamed body whose client stands still: 408 and not 504', () =>
        withCluster({ args: ['--body-timeout', '1s', '--response-timeout',
                             '500ms'] }, async (cluster) => {
            cluster.backend.early = (head, wire) => {
                wire.taken = true;
            };
            const client = await connect(cluster.port);
            client.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
                        'Content-Length: 1000000\r\n\r\n');
            client.send(PIECE).send(PIECE);
            assert.equal((await client.response('POST')).status, 408);
            const counted = await limits(cluster.gateway);
            assert.equal(counted.response_timeout, 0);
            assert.equal(counted.body_timeout + counted.body_rate, 1);
            client.destroy();
        }));

    for (const [form, fields] of [['of a length', 'Content-Length: 100\r\n'],
        ['in chunks', 'Transfer-Encoding: chunked\r\n'], ['to the end', '']]) {
        it(`a response ${form} that stops half-way is cut, visibly`, () =>
            withCluster({ args: ['--response-timeout', `${LIMIT_MS}ms`] },
                        async (cluster) => {
                cluster.backend.handler = (request, wire) => {
                    wire.taken = true;
                    wire.send(`HTTP/1.1 200 OK\r\n${fields}\r\n` +
                        (form === 'in chunks' ? '4\r\nhalf\r\n' : 'half'));
                };
                const client = await connect(cluster.port);
                const start = Date.now();
                client.send('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
                const head = await client.head();
                assert.equal(head.status, 200);
                await client.upTo('half');
                const how = await client.ended(LIMIT_MS * 5);
                const took = Date.now() - start;
                assert.ok(took > LIMIT_MS * 0.8, `${took} ms`);
                assert.ok(how === 'rst' || head.get('content-length') ||
                          !client.buffer.includes('0\r\n\r\n'),
                          client.describe());
                if (!head.get('content-length') &&
                    !head.get('transfer-encoding'))
                    assert.equal(how, 'rst');
                await eventually(async () => (await limits(cluster.gateway))
                    .response_timeout === 1, 'a count');
                client.destroy();
            }));
    }
});
