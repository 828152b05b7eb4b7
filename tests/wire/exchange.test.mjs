/* SPDX-License-Identifier: MIT */
/* Good exchanges: kept connections, pipelining, framing both ways, interim
 * responses, HTTP/1.0. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { fixture } from '../support/fixture.mjs';
import { gate } from '../support/wire.mjs';

const get = (target, fields = '') =>
    `GET ${target} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

describe('kept connections', () => {
    const gateway = fixture();

    it('carry one request after another, on both sides', async () => {
        const wire = await gateway.open();
        for (let i = 0; i < 20; i++) {
            wire.send(get(`/${i}`));
            assert.equal((await wire.response()).text, `/${i}`);
        }
        assert.ok(gateway.backend.fresh.length <= 1);
    });

    it('answer pipelined requests in order', async () => {
        const wire = await gateway.open();
        const targets = Array.from({ length: 50 }, (_, i) => `/${i}`);
        wire.send(targets.map((target) => get(target)).join(''));
        for (const target of targets)
            assert.equal((await wire.response()).text, target);
    });

    it('keep the order when the first answer is slow', async () => {
        const slow = gate();
        gateway.backend.handler = async (request, wire) => {
            if (request.target === '/slow')
                await slow.opened;
            wire.send(ok(request.target));
        };
        const wire = await gateway.open();
        wire.send(get('/slow') + get('/fast'));
        await gateway.backend.request();
        assert.equal(wire.total, 0);
        slow.open();
        assert.equal((await wire.response()).text, '/slow');
        assert.equal((await wire.response()).text, '/fast');
    });

    it('take pipelined requests in any pieces', async () => {
        const wire = await gateway.open();
        const post = 'POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n' +
            '\r\nabc';
        await wire.sendPieces(get('/a') + post + get('/b'), 7);
        for (const target of ['/a', '/p', '/b'])
            assert.equal((await wire.response()).text, target);
        assert.equal(gateway.backend.requests[1].text, 'abc');
    });

    it('end when the client asks for it', async () => {
        const wire = await gateway.open();
        wire.send(get('/last', 'Connection: close\r\n') + get('/smuggled'));
        const response = await wire.response();
        assert.equal(response.text, '/last');
        assert.equal(response.get('connection'), 'close');
        assert.equal(await wire.ended(), 'fin');
        await gateway.stillServes();
        assert.deepEqual(gateway.backend.targets, ['/last', '/still-serves']);
    });

    it('are not shared: each client gets its own answers', async () => {
        const wires = await Promise.all(
            Array.from({ length: 20 }, () => gateway.open()));
        await Promise.all(wires.map(async (wire, n) => {
            for (let i = 0; i < 10; i++) {
                wire.send(get(`/${n}/${i}`));
                assert.equal((await wire.response()).text, `/${n}/${i}`);
            }
        }));
    });

    it('do not end with an error of the backend', async () => {
        gateway.backend.handler = (request, wire) => wire.send(
            'HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno');
        const wire = await gateway.open();
        for (let i = 0; i < 3; i++) {
            wire.send(get('/x'));
            const response = await wire.response();
            assert.equal(response.status, 500);
            assert.equal(response.reason, 'Oh');
            assert.equal(response.text, 'no');
        }
    });
});

const BODIES = [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld',
     'helloworld'],
    ['an empty length', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ''],
    ['chunks', `${CHUNKED}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n`,
     'helloworld'],
    ['only the last chunk', `${CHUNKED}0\r\n\r\n`, ''],
    ['chunks with extensions and trailers',
     `${CHUNKED}5;a=b\r\nhello\r\n0;c\r\nX-Trailer: evil\r\n\r\n`, 'hello'],
    ['500 KB', `HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n` +
     'abcde'.repeat(100000), 'abcde'.repeat(100000)],
    ['500 KB in a chunk', `${CHUNKED}7a120\r\n${'abcde'.repeat(100000)}\r\n` +
     '0\r\n\r\n', 'abcde'.repeat(100000)],
];

describe('bodies of responses', () => {
    const gateway = fixture();

    for (const [name, bytes, body] of BODIES) {
        it(`${name}: whole, without trailers`, async () => {
            gateway.backend.handler = (request, wire) => wire.send(bytes);
            const wire = await gateway.open();
            for (let i = 0; i < 2; i++) {
                wire.send(get('/x'));
                const response = await wire.response();
                assert.equal(response.text, body);
                assert.deepEqual(response.trailers, []);
                assert.ok(!response.has('x-trailer'));
            }
        });
    }

    it('up to the end of the connection: whole, with a clean end', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.finish('HTTP/1.1 200 OK\r\n\r\nhello');
        };
        const wire = await gateway.open();
        wire.send(get('/x'));
        const response = await wire.response();
        assert.equal(response.text, 'hello');
        if (response.framing === 'chunked') {
            gateway.backend.reset();
            wire.send(get('/next'));
            assert.equal((await wire.response()).text, '/next');
        }
    });

    for (const [name, head, first, last] of [
        ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n', 'hello',
         'world'],
        ['chunks', CHUNKED, '5\r\nhello\r\n', '5\r\nworld\r\n0\r\n\r\n'],
        ['no length', 'HTTP/1.1 200 OK\r\n\r\n', 'hello', 'world'],
    ]) {
        it(`${name}: each piece is there before the next is sent`, async () => {
            const wire = await gateway.open();
            const saw = (text) => wire.until(
                () => Buffer.concat(wire.history).includes(text), text);
            gateway.backend.handler = async (request, upstream) => {
                upstream.taken = true;
                upstream.send(head);
                await saw('\r\n\r\n');
                upstream.send(first);
                await saw('hello');
                upstream.finish(last);
            };
            wire.send(get('/x'));
            assert.equal((await wire.response()).text, 'helloworld');
        });
    }

    for (const [name, method, head, length] of [
        ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n',
         '12345'],
        ['HEAD of chunks', 'HEAD', CHUNKED, undefined],
        ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
        ['304', 'GET', 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
         undefined],
        ['304 with a length', 'GET',
         'HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n', '77'],
    ]) {
        it(`${name}: none, and the next answer follows`, async () => {
            gateway.backend.handler = (request, wire) => wire.send(
                request.target === '/x' ? head : ok(request.target));
            const wire = await gateway.open();
            wire.send(`${method} /x HTTP/1.1\r\nHost: h\r\n\r\n` +
                      get('/next'));
            const response = await wire.response(method);
            assert.equal(response.bodySize, 0);
            if (length !== undefined)
                assert.equal(response.get('content-length'), length);
            assert.equal((await wire.response()).text, '/next');
        });
    }

    it('204 carries no length of any kind', async () => {
        gateway.backend.handler = (request, wire) => wire.send(
            'HTTP/1.1 204 No Content\r\n\r\n');
        const wire = await gateway.open();
        wire.send(get('/x'));
        const response = await wire.response();
        assert.ok(!response.has('content-length'));
        assert.ok(!response.has('transfer-encoding'));
    });
});

describe('interim responses', () => {
    const gateway = fixture();
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';

    it('are passed on before the final one', async () => {
        const wire = await gateway.open();
        gateway.backend.handler = async (request, upstream) => {
            upstream.send(hints);
            await wire.until(() => wire.total > 0, 'the hints');
            upstream.send(ok('final'));
        };
        wire.send(get('/x') + get('/y'));
        for (let i = 0; i < 2; i++) {
            const early = await wire.response();
            assert.equal(early.status, 103);
            assert.equal(early.get('link'), '</a>');
            assert.equal((await wire.response()).text, 'final');
        }
    });

    it('and the final one in one segment', async () => {
        gateway.backend.handler = (request, wire) =>
            wire.send(hints + hints + ok('final'));
        const wire = await gateway.open();
        wire.send(get('/x'));
        assert.equal((await wire.response()).status, 103);
        assert.equal((await wire.response()).status, 103);
        assert.equal((await wire.response()).text, 'final');
    });

    it('never go to HTTP/1.0', async () => {
        gateway.backend.handler = (request, wire) =>
            wire.send(hints + ok('final'));
        const wire = await gateway.open();
        wire.send('GET /x HTTP/1.0\r\nHost: h\r\n\r\n');
        assert.equal((await wire.response()).text, 'final');
    });
});

describe('HTTP/1.0 clients', () => {
    const gateway = fixture();

    it('without keep-alive: the connection ends', async () => {
        const wire = await gateway.open();
        wire.send('GET /x HTTP/1.0\r\nHost: h\r\n\r\n');
        const response = await wire.response();
        assert.equal(response.text, '/x');
        assert.notEqual(response.get('connection'), 'keep-alive');
        assert.equal(await wire.ended(), 'fin');
    });

    it('with keep-alive: it stays, and the response says so', async () => {
        const wire = await gateway.open();
        for (const target of ['/a', '/b']) {
            wire.send(`GET ${target} HTTP/1.0\r\nHost: h\r\n` +
                      'Connection: keep-alive\r\n\r\n');
            const response = await wire.response();
            assert.equal(response.text, target);
            assert.equal(response.get('connection').toLowerCase(),
                         'keep-alive');
        }
    });

    it('get chunks unwrapped, up to the end of the connection', async () => {
        gateway.backend.handler = (request, wire) => wire.send(
            `${CHUNKED}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n`);
        const wire = await gateway.open();
        wire.send('GET /x HTTP/1.0\r\nHost: h\r\n' +
                  'Connection: keep-alive\r\n\r\n');
        const response = await wire.response();
        assert.ok(!response.has('transfer-encoding'));
        assert.equal(response.text, 'helloworld');
        if (response.framing === 'close')
            assert.equal(await wire.ended(), 'fin');
    });

    it('are spoken for in HTTP/1.1', async () => {
        const wire = await gateway.open();
        wire.send('GET /x HTTP/1.0\r\nHost: h\r\n\r\n');
        await wire.response();
        const [request] = gateway.backend.requests;
        assert.equal(request.version, '1.1');
        assert.equal(request.get('host'), 'h');
        assert.match(request.all('via').join(), /^1\.0 sidgate$/);
    });
});
