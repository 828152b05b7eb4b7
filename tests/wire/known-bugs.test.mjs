/* SPDX-License-Identifier: MIT */
/* Defects that other gateways and servers had, each under its name. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { newSid, upgradeRequest, WS_KEY, wsAccept }
    from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { closeFrame, frame, frames, openTunnel, pour, TEXT }
    from '../support/frames.mjs';

const HOST = 'Host: h\r\n';
const NEXT = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;
const TARGET = '/socket.io/?EIO=4&transport=websocket';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

const get = (fields = '', target = '/x') =>
    `GET ${target} HTTP/1.1\r\n${HOST}${fields}\r\n`;
const post = (fields, body = '') =>
    `POST /x HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
const upgrade = (fields, target = TARGET) =>
    `GET ${target} HTTP/1.1\r\n${HOST}Connection: Upgrade\r\n` +
    `Upgrade: websocket\r\n${fields}\r\n`;
const KEY = `Sec-WebSocket-Key: ${WS_KEY}\r\n`;
const VERSION = 'Sec-WebSocket-Version: 13\r\n';

const BAD = [400];
const CODING = [400, 501];
const LONG = [400, 413, 431];

/* Requests of which nothing may reach a backend. */
const REFUSED = [
    ['CVE-2023-25725 (HAProxy): an empty name hides the fields behind it',
     `POST /x HTTP/1.1\r\n: x\r\n${HOST}Content-Length: ${NEXT.length}\r\n` +
     '\r\n', BAD],
    ['CVE-2023-25725 (HAProxy): an empty name between two fields',
     post(`Content-Length: 0\r\n:\r\n${CHUNKED}`), BAD],
    ['CVE-2023-40225 (HAProxy): an empty Content-Length',
     post('Content-Length:\r\n'), BAD],
    ['CVE-2023-40225 (HAProxy): an empty Content-Length and a good one',
     post(`Content-Length:\r\nContent-Length: ${NEXT.length}\r\n`), BAD],
    ['CVE-2021-40346 (HAProxy): the length of a name spills over',
     post(`Content-Length0${'a'.repeat(255)}:\r\n` +
          `Content-Length: ${NEXT.length}\r\nContent-Length: 0\r\n`), BAD],
    ['CVE-2023-45539 (HAProxy): # hides the end of the target',
     get('', '/x#.png'), BAD],
    ['HAProxy 4837e9989: LF ends the line of a chunk size',
     post(CHUNKED, '5\nhello\r\n0\r\n\r\n'), BAD],
    ['HAProxy 4837e9989: LF ends the line of the last chunk size',
     post(CHUNKED, '5\r\nhello\r\n0\n\r\n'), BAD],
    ['HAProxy 196a7df44: Transfer-Encoding without chunked',
     post('Transfer-Encoding: gzip\r\n'), CODING],
    ['HAProxy 196a7df44: Transfer-Encoding without chunked, and a length',
     post('Transfer-Encoding: gzip\r\nContent-Length: 5\r\n', 'hello'),
     CODING],
    ['CVE-2013-2028 (nginx): a chunk size that becomes negative',
     post(CHUNKED, 'ffffffffffffffed\r\nhello\r\n0\r\n\r\n'), LONG],
    ['CVE-2013-2028 (nginx): a chunk size that wraps round',
     post(CHUNKED, '10000000000000005\r\nhello\r\n0\r\n\r\n'), LONG],
    ['CVE-2022-32213 (llhttp): a coding that only ends in chunked',
     post('Transfer-Encoding: chunkedchunked\r\n', '0\r\n\r\n'), CODING],
    ['CVE-2022-32213 (llhttp): another coding behind chunked',
     post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'), CODING],
    ['CVE-2022-32213 (llhttp): two Transfer-Encoding fields',
     post(`${CHUNKED}Transfer-Encoding: identity\r\n`, '0\r\n\r\n'), CODING],
    ['CVE-2022-32215 (llhttp): a folded Transfer-Encoding',
     post('Transfer-Encoding: chunked\r\n , identity\r\n', '0\r\n\r\n'), BAD],
    ['CVE-2022-32215 (llhttp): a Transfer-Encoding of several lines',
     post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'), BAD],
    ['CVE-2024-22019 (Node.js): an endless chunk extension',
     post(CHUNKED, `5;${'a'.repeat(200000)}`), LONG],
    ['CVE-2024-22019 (Node.js): extensions of many chunks',
     post(CHUNKED, `1;${'a'.repeat(200)}\r\na\r\n`.repeat(2000)), LONG],
    ['CVE-2023-38697 (protocol-http1): a length with a plus',
     post('Content-Length: +5\r\n', 'hello'), BAD],
    ['CVE-2023-38697 (protocol-http1): a length with 0x',
     post('Content-Length: 0x5\r\n', 'hello'), BAD],
    ['CVE-2023-38697 (protocol-http1): a chunk size with a plus',
     post(CHUNKED, '+5\r\nhello\r\n0\r\n\r\n'), BAD],
    ['CVE-2023-38697 (protocol-http1): a chunk size with 0x',
     post(CHUNKED, '0x5\r\nhello\r\n0\r\n\r\n'), BAD],
    ['CVE-2026-40562 (Gazelle): Content-Length wins over Transfer-Encoding',
     post(`Content-Length: 5\r\n${CHUNKED}`, '0\r\n\r\n'), BAD],
    ['Varnish, Envoy <= 1.8: a tunnel for an unknown websocket version',
     upgrade(`Sec-WebSocket-Version: 777\r\n${KEY}`), [426]],
    ['Varnish, Envoy <= 1.8: a tunnel for a websocket without a key',
     upgrade(VERSION), BAD],
    ['CVE-2024-37890 (ws): more fields than Node.js keeps, Upgrade is lost',
     `GET ${TARGET} HTTP/1.1\r\n${HOST}${'x: \r\n'.repeat(2000)}` +
     `Connection: Upgrade\r\nUpgrade: websocket\r\n${VERSION}${KEY}\r\n`,
     [431]],
    ['CVE-2021-32640 (ws): Sec-WebSocket-Protocol that takes minutes to read',
     upgrade(`${VERSION}${KEY}Sec-WebSocket-Protocol: a${' '.repeat(60000)}` +
             'b\r\n'), [431]],
    ['CVE-2022-21676 (engine.io): an invalid frame for a sid of nobody',
     upgradeRequest(`${TARGET}&sid=${newSid()}`) + '\xf0\x80\x00\x00\x00\x00',
     BAD],
    ['CVE-2022-21676 (engine.io): an invalid frame with a repeated sid',
     upgradeRequest(`${TARGET}&sid=a&sid=b`) + '\xf0\x80\x00\x00\x00\x00',
     BAD],
];

describe('requests that broke others', () => {
    const gateway = fixture({ args: ['--recovery', 'off'] });

    for (const [name, bytes, allowed] of REFUSED) {
        it(`${name}: ${allowed.join(' or ')}`,
           () => gateway.refuses(bytes + NEXT, allowed));
    }

    it('CVE-2019-20372 (nginx): the body of a refused request is the next one',
       async () => {
           for (const [bytes, status] of [
               [`POST /socket.io/?EIO=4&sid=a&sid=b HTTP/1.1\r\n${HOST}` +
                `Content-Length: ${NEXT.length}\r\n\r\n${NEXT}`, 400],
               [`OPTIONS * HTTP/1.1\r\n${HOST}Content-Length: ` +
                `${NEXT.length}\r\n\r\n${NEXT}`, 200],
               [`POST /x#y HTTP/1.1\r\n${HOST}Content-Length: ` +
                `${NEXT.length}\r\n\r\n${NEXT}`, 400],
           ]) {
               const wire = await gateway.open();
               wire.finish(bytes);
               assert.equal((await wire.response()).status, status);
               assert.equal((await wire.rest()).bytes.length, 0);
               await gateway.stillServes('/after');
               assert.deepEqual(gateway.backend.targets.splice(0), ['/after']);
               gateway.backend.reset();
           }
       });

    it('CVE-2026-33555 (HAProxy): a short body poisons a pooled connection',
       async () => {
           gateway.backend.early = (head, wire) => {
               wire.taken = true;
           };
           const body = 'x'.repeat(100000);
           const wire = await gateway.open();
           wire.send(post('Content-Length: 200000\r\n', body));
           const { wire: upstream } = await gateway.backend.request();
           wire.finish();
           await upstream.ended();
           gateway.backend.reset();
           await gateway.stillServes('/after');
           assert.notEqual(gateway.backend.requests[0].wire, upstream);
           /* One that is short never takes a connection. */
           const short = await gateway.open();
           short.finish(post('Content-Length: 100\r\n'));
           await short.ended();
           assert.deepEqual(gateway.backend.targets, ['/after']);
       });

    for (const [cve, server] of [['CVE-2022-31813', 'Apache'],
                                 ['CVE-2024-45410', 'Traefik']]) {
        it(`${cve} (${server}): Connection lists what sidgate adds`,
           async () => {
               const wire = await gateway.open();
               wire.send(get('Connection: close, X-Forwarded-For, ' +
                             'X-Forwarded-Host, X-Forwarded-Proto, Via, Host' +
                             '\r\nX-Forwarded-For: 1.2.3.4\r\n'));
               assert.equal((await wire.response()).text, '/x');
               const [request] = gateway.backend.requests;
               assert.equal(request.get('x-forwarded-for'), '127.0.0.1');
               assert.equal(request.get('x-forwarded-host'), 'h');
               assert.ok(request.has('x-forwarded-proto'));
               assert.equal(request.get('host'), 'h');
           });
    }

    it('CVE-2024-37890 (ws): Upgrade behind as many fields as may be',
       async () => {
           gateway.backend.handler = (request, wire) =>
               wire.send('HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n');
           const wire = await gateway.open();
           wire.send(`GET ${TARGET} HTTP/1.1\r\n${HOST}` +
                     `${'x: \r\n'.repeat(95)}Connection: Upgrade\r\n` +
                     `Upgrade: websocket\r\n${VERSION}${KEY}\r\n`);
           assert.equal((await wire.response()).status, 400);
           const [request] = gateway.backend.requests;
           assert.equal(request.get('upgrade'), 'websocket');
           assert.ok(request.headers.length < 200);
       });

    it('CVE-2022-21676 (engine.io): frames come before the 101', async () => {
        gateway.backend.handler = (request, wire) =>
            wire.send('HTTP/1.1 400 X\r\nContent-Length: 2\r\n\r\nno');
        const wire = await gateway.open();
        wire.send(upgradeRequest() + '\xf0\x80\x00\x00\x00\x00');
        assert.equal((await wire.response()).status, 400);
        await wire.ended();
        assert.ok(!gateway.backend.received.includes('\xf0'));
    });

    for (const first of ['\xf0', '\xe1', '\xa1', '\x90']) {
        const name = Buffer.from(first, 'latin1').toString('hex');
        it(`CVE-2022-21676 (engine.io): an invalid frame, ${name}, in a tunnel`,
           async () => {
               const { client, upstream } = await openTunnel(gateway);
               client.send(`${first}\x80\x00\x00\x00\x00`);
               const close = await client.bytes(4);
               assert.deepEqual(close, closeFrame(1002));
               client.finish(frame(TEXT, 'more', { mask: true }));
               assert.equal(await upstream.ended(), 'fin');
               assert.equal(upstream.buffer.length, 0);
           });
    }
});

describe('answers that broke others', () => {
    const gateway = fixture();

    async function answered(bytes, request = get())
    {
        gateway.backend.handler = (_, wire) => {
            gateway.backend.handler = gateway.backend.fallback;
            wire.send(bytes);
        };
        const wire = await gateway.open();
        wire.send(request);
        return wire;
    }

    it('CVE-2024-23326 (Envoy): a 200 to an upgrade is not a tunnel',
       async () => {
           const wire = await answered(
               'HTTP/1.1 200 OK\r\nConnection: Upgrade\r\n' +
               'Upgrade: websocket\r\nContent-Length: 2\r\n\r\nok',
               upgradeRequest() + NEXT);
           assert.equal((await wire.response()).text, 'ok');
           wire.send(NEXT);
           await wire.ended();
           assert.equal(wire.buffer.length, 0);
           await gateway.stillServes('/after');
           assert.doesNotMatch(gateway.backend.received, /smuggled/);
       });

    it('HAProxy 5f36bfe42: a refused upgrade leaves nothing of itself',
       async () => {
           const wire = await answered(
               'HTTP/1.1 401 X\r\nConnection: Upgrade\r\nUpgrade: ' +
               `websocket\r\nSec-WebSocket-Accept: ${wsAccept(WS_KEY)}` +
               '\r\nContent-Length: 2\r\n\r\nno', upgradeRequest());
           const response = await wire.response();
           assert.equal(response.status, 401);
           assert.ok(!response.has('upgrade'));
           assert.ok(!/upgrade/i.test(response.all('connection').join()));
           wire.send(frame(TEXT, 'hello', { mask: true }));
           await wire.ended();
           const { wire: upstream } = gateway.backend.requests[0];
           assert.equal(upstream.buffer.length, 0);
       });

    for (const size of ['ffffffffffffffed', '10000000000000005']) {
        it(`CVE-2013-2070 (nginx): a chunk of ${size} from a backend`,
           async () => {
               const wire = await answered('HTTP/1.1 200 OK\r\n' +
                   `${CHUNKED}\r\n${size}\r\nhello\r\n0\r\n\r\n`,
                   get('Connection: close\r\n'));
               const { bytes } = await wire.rest();
               assert.doesNotMatch(bytes.toString('latin1'), /\r\n0\r\n\r\n$/);
               await gateway.stillServes();
           });
    }

    it('CVE-2026-33555 (HAProxy): an answer that is longer than it says',
       async () => {
           const wire = await answered(ok('') + ok('evil'));
           assert.equal((await wire.response()).text, '');
           assert.equal((await gateway.stillServes('/after')).text, '/after');
           assert.equal(wire.buffer.length, 0);
       });
});

describe('tunnels that broke others', () => {
    const gateway = fixture();

    for (const [from, to] of [['upstream', 'client'], ['client', 'upstream']]) {
        for (const how of ['finish', 'reset', 'destroy']) {
            it(`CVE-2025-62409 (Envoy): ${from} ends by ${how} while much ` +
               'waits for it', async () => {
                const ends = await openTunnel(gateway);
                ends[from].socket.pause();
                const mask = to === 'client';
                pour(ends[to], frames(20e6, { mask })).catch(() => {});
                await gateway.stillServes();
                ends[from][how]();
                if (how !== 'finish')
                    await ends[to].ended(6000);
                await gateway.stillServes();
                ends[from].destroy();
                await ends[to].ended(6000);
            });
        }
    }
});
