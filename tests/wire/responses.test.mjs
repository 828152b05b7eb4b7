/* SPDX-License-Identifier: MIT */
/* Backends' answers are parsed as strictly as requests: what is malformed
 * becomes a clean 502 and nothing of it reaches a client; what is cut short
 * stays visibly short. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { fixture } from '../support/fixture.mjs';
import { parseChunked, parseHead } from '../support/http1.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: h\r\n\r\n';
const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';

const status = (text) => `${text}\r\nContent-Length: 4\r\n\r\nevil`;
const fields = (text, body = 'evil') =>
    `HTTP/1.1 200 OK\r\n${text}\r\n\r\n${body}`;

const BAD = [
    ['status 99', status('HTTP/1.1 99 X')],
    ['status 099', status('HTTP/1.1 099 X')],
    ['status 000', status('HTTP/1.1 000 X')],
    ['status 600', status('HTTP/1.1 600 X')],
    ['status 999', status('HTTP/1.1 999 X')],
    ['status of four digits', status('HTTP/1.1 2000 X')],
    ['status of one digit', status('HTTP/1.1 2 X')],
    ['a status that is no number', status('HTTP/1.1 2x0 X')],
    ['a negative status', status('HTTP/1.1 -200 X')],
    ['no status', status('HTTP/1.1 OK')],
    ['no space before the status', status('HTTP/1.1200 OK')],
    ['two spaces before the status', status('HTTP/1.1  200 OK')],
    ['version 2.0', status('HTTP/2.0 200 OK')],
    ['version 1.2', status('HTTP/1.2 200 OK')],
    ['version 3.0', status('HTTP/3.0 200 OK')],
    ['version 1.10', status('HTTP/1.10 200 OK')],
    ['version 1', status('HTTP/1 200 OK')],
    ['a version in lower case', status('http/1.1 200 OK')],
    ['a space before the version', status(' HTTP/1.1 200 OK')],
    ['a tab for a space', status('HTTP/1.1\t200\tOK')],
    ['a status in hex', status('HTTP/1.1 0xC8 OK')],
    ['a status with a plus', status('HTTP/1.1 +20 OK')],
    ['a status with a comma', status('HTTP/1.1 200,OK')],
    ['a request', 'GET /evil HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a TLS alert', '\x15\x03\x01\x00\x02\x02\x46\r\n\r\nevil'],
    ['a frame of HTTP/2', '\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\nevil'],
    ['nothing but empty lines', '\r\n\r\n\r\n\r\nevil'],
    ['version 0.9', status('HTTP/0.9 200 OK')],
    ['another protocol', status('ICY 200 OK')],
    ['a body without a head', '<html>\r\nevil\r\n\r\n</html>'],
    ['an empty line before the status line',
     `\r\n${status('HTTP/1.1 200 OK')}`],
    ['LF behind the status line',
     'HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\nevil'],
    ['LF for the empty line', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\nevil'],
    ['NUL in the reason', status('HTTP/1.1 200 O\x00K')],
    ['CR in the reason', status('HTTP/1.1 200 O\rK')],
    ['LF in the reason', status('HTTP/1.1 200 O\nK')],
    ['ESC in the reason', status('HTTP/1.1 200 O\x1bK')],
    ['a reason of 64 KiB', status(`HTTP/1.1 200 ${'O'.repeat(65536)}`)],

    ['both lengths', fields('Content-Length: 4\r\nTransfer-Encoding: chunked',
                            '4\r\nevil\r\n0\r\n\r\n')],
    ['both lengths, the other way', fields('Transfer-Encoding: chunked\r\n' +
        'Content-Length: 4', '4\r\nevil\r\n0\r\n\r\n')],
    ['two equal lengths', fields('Content-Length: 4\r\nContent-Length: 4')],
    ['two lengths', fields('Content-Length: 4\r\nContent-Length: 3')],
    ['a list of lengths', fields('Content-Length: 4, 4')],
    ['a length with a plus', fields('Content-Length: +4')],
    ['a negative length', fields('Content-Length: -4')],
    ['an empty length', fields('Content-Length:')],
    ['a length in hex', fields('Content-Length: 0x4')],
    ['a length with letters', fields('Content-Length: 4x')],
    ['a length with a space in it', fields('Content-Length: 4 4')],
    ['a length in quotes', fields('Content-Length: "4"')],
    ['a length with a fraction', fields('Content-Length: 4.0')],
    ['a length of white space', fields('Content-Length: \t ')],
    ['a folded length', fields('Content-Length:\r\n 4')],
    ['an empty length before a good one',
     fields('Content-Length:\r\nContent-Length: 4')],
    ['a length and an unknown coding',
     fields('Content-Length: 4\r\nTransfer-Encoding: cow')],
    ['a length of 2^64 + 4', fields('Content-Length: 18446744073709551620')],
    ['an unknown coding', fields('Transfer-Encoding: gzip')],
    ['an empty coding', fields('Transfer-Encoding:')],
    ['identity', fields('Transfer-Encoding: identity')],
    ['a coding that ends in chunked', fields('Transfer-Encoding: xchunked',
                                             '4\r\nevil\r\n0\r\n\r\n')],
    ['chunked with a parameter', fields('Transfer-Encoding: chunked;a=b',
                                        '4\r\nevil\r\n0\r\n\r\n')],
    ['a comma behind chunked', fields('Transfer-Encoding: chunked,',
                                      '4\r\nevil\r\n0\r\n\r\n')],
    ['chunked in two fields', fields('Transfer-Encoding: chunked\r\n' +
        'Transfer-Encoding: chunked', '4\r\nevil\r\n0\r\n\r\n')],
    ['identity, then chunked in a second field',
     fields('Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
            '4\r\nevil\r\n0\r\n\r\n')],
    ['chunked behind a vertical tab', fields('Transfer-Encoding: \x0bchunked',
                                             '4\r\nevil\r\n0\r\n\r\n')],
    ['gzip, chunked', fields('Transfer-Encoding: gzip, chunked',
                             '4\r\nevil\r\n0\r\n\r\n')],
    ['chunked, gzip', fields('Transfer-Encoding: chunked, gzip')],
    ['chunked twice', fields('Transfer-Encoding: chunked, chunked',
                             '4\r\nevil\r\n0\r\n\r\n')],
    ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\n' +
     'Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n'],
    ['a folded coding', fields('Transfer-Encoding:\r\n chunked',
                               '4\r\nevil\r\n0\r\n\r\n')],

    ['NUL in a value', fields('A: \x00\r\nContent-Length: 4')],
    ['a control character in a value', fields('A: \x01\r\nContent-Length: 4')],
    ['bare CR in a value', fields('A: b\rC: d\r\nContent-Length: 4')],
    ['bare LF behind a field', fields('A: b\nContent-Length: 4')],
    ['obs-fold', fields('A: b\r\n c\r\nContent-Length: 4')],
    ['obs-fold with a tab', fields('A: b\r\n\tc\r\nContent-Length: 4')],
    ['obs-fold before the first field',
     fields(' A: b\r\nContent-Length: 4')],
    ['a tab before the colon', fields('Content-Length\t: 4')],
    ['a space in a name', fields('A b: c\r\nContent-Length: 4')],
    ['NUL in a name', fields('A\x00b: c\r\nContent-Length: 4')],
    ['DEL in a value', fields('A: \x7f\r\nContent-Length: 4')],
    ['a second head behind bare CR',
     fields('A: b\r\rHTTP/1.1 200 OK\r\nContent-Length: 4')],
    ['a status line for a field',
     fields('HTTP/1.1 200 OK\r\nContent-Length: 4')],
    ['a space before the colon', fields('Content-Length : 4')],
    ['an empty name', fields(': b\r\nContent-Length: 4')],
    ['a line without a colon', fields('A\r\nContent-Length: 4')],
    ['a byte over 0x7f in a name', fields('\xe9: b\r\nContent-Length: 4')],
    ['a field of 64 KiB', fields(`A: ${'b'.repeat(65536)}\r\n` +
                                 'Content-Length: 4')],
    ['2000 fields', fields('A: b\r\n'.repeat(2000) + 'Content-Length: 4')],
    ['a field of 20 KB', fields(`A: ${'b'.repeat(20000)}\r\n` +
                                'Content-Length: 4')],
    ['a name of 20 KB', fields(`${'A'.repeat(20000)}: b\r\n` +
                               'Content-Length: 4')],
    ['101 fields', fields('A: b\r\n'.repeat(100) + 'Content-Length: 4')],
    ['gzip in a 204', 'HTTP/1.1 204 X\r\nTransfer-Encoding: gzip\r\n\r\n'],
    ['two lengths in a 304', 'HTTP/1.1 304 X\r\nContent-Length: 4\r\n' +
     'Content-Length: 5\r\n\r\n'],
    ['both lengths in a 204', 'HTTP/1.1 204 X\r\nContent-Length: 4\r\n' +
     'Transfer-Encoding: chunked\r\n\r\n'],
    ['an interim one with bare LF',
     'HTTP/1.1 103 X\nLink: </evil>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil'],
    ['an interim one with both lengths',
     'HTTP/1.1 103 X\r\nContent-Length: 4\r\nTransfer-Encoding: chunked' +
     `\r\n\r\n${EVIL}`],

    ['a 101 that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\n' +
     'Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nevil'],
    ['a 101 to h2c', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n' +
     'Connection: Upgrade\r\n\r\n'],
    ['a 101 without an Upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['a 101 and then a 200', `HTTP/1.1 101 X\r\n\r\n${EVIL}`],
];

const ENDS = [
    ['nothing', '', 'finish'],
    ['nothing, by RST', '', 'reset'],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le', 'finish'],
    ['half a head, by RST', 'HTTP/1.1 200 OK\r\nContent-Le', 'reset'],
    ['a head without its empty line', 'HTTP/1.1 200 OK\r\nA: b\r\n', 'finish'],
    ['a body without a head', '<html>evil</html>', 'finish'],
    ['only a 100', 'HTTP/1.1 100 Continue\r\n\r\n', 'finish'],
];

/* After a 502 the connection ends, or the next answer is the next. */
async function endsOrGoesOn(wire)
{
    wire.send(NEXT);
    try {
        const response = await wire.response();
        assert.equal(response.status, 200);
        assert.equal(response.text, '/next');
    } catch (error) {
        assert.ok(wire.over && wire.buffer.length === 0, error);
    }
}

async function bad502(gateway, answer)
{
    const { backend } = gateway;
    backend.handler = (request, wire) => {
        backend.handler = backend.fallback;
        wire.taken = true;
        answer(wire);
    };
    const wire = await gateway.open();
    wire.send(GET);
    let response = await wire.response();
    while (response.status < 200 && response.status !== 101)
        response = await wire.response();
    assert.equal(response.status, 502);
    assert.doesNotMatch(response.text, /evil/);
    await endsOrGoesOn(wire);
    /* No other client suffers. */
    await gateway.stillServes('/after');
    assert.equal(backend.targets.filter((t) => t === '/x').length, 1);
}

describe('malformed responses', () => {
    const gateway = fixture();

    for (const [name, bytes] of BAD) {
        it(`${name}: 502`, () => bad502(gateway, (wire) => wire.send(bytes)));
    }

    for (const [name, bytes, how] of ENDS) {
        it(`a backend that ends after ${name}: 502`, async () => {
            /* On a new connection: a reused one may have just timed out. */
            await gateway.dropIdle();
            await bad502(gateway, (wire) => {
                wire.send(bytes);
                wire[how]();
            });
        });
    }

    it('are counted', async () => {
        const count = async () => [...await gateway.gateway.metrics()]
            .filter(([name]) => name.includes('backend_bad_responses_total'))
            .reduce((sum, [, value]) => sum + value, 0);
        const before = await count();
        await bad502(gateway, (wire) => wire.send('junk junk junk\r\n\r\n'));
        assert.equal(await count(), before + 1);
    });

    it('no endless run of interim ones', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send('HTTP/1.1 102 Processing\r\n\r\n'.repeat(5000));
        };
        const wire = await gateway.open();
        wire.send(GET);
        let count = 0;
        let response;
        do {
            response = await wire.response();
            count++;
        } while (response.status === 102);
        assert.equal(response.status, 502);
        assert.ok(count < 100, `${count} interim responses`);
    });
});

/* Chunked bodies whose framing breaks: what was good may have gone out, a
 * clean end may not. */
const BROKEN_CHUNKS = [
    ['no number', 'x\r\nevil\r\n0\r\n\r\n'],
    ['CVE-2013-2070: a size of 2^64', `1${'0'.repeat(16)}\r\nevil`],
    ['a size of 2^64 + 4', `1${'0'.repeat(15)}4\r\nevil\r\n0\r\n\r\n`],
    ['a negative size', '-4\r\nevil\r\n0\r\n\r\n'],
    ['LF ends a size', '4\nevil\r\n0\r\n\r\n'],
    ['nothing behind a chunk', '4\r\nevil0\r\n\r\n'],
    ['LF behind a chunk', '4\r\nevil\n0\r\n\r\n'],
    ['an endless extension', `4;${'a'.repeat(40000)}\r\nevil\r\n0\r\n\r\n`],
    ['a malformed trailer', '4\r\nevil\r\n0\r\nA\r\n\r\n'],
    ['a trailer with bare LF', '4\r\nevil\r\n0\r\nA: b\n\r\n'],
];

/* Resolves to 502 or to 'cut', after the client's connection ended. */
async function cutOr502(wire)
{
    const { bytes } = await wire.rest();
    const head = parseHead(bytes, 'response');
    assert.ok(head, `no head in ${JSON.stringify(bytes.toString('latin1'))}`);
    if (head.status === 502)
        return { status: 502 };
    const body = bytes.subarray(head.size);
    if (head.has('content-length'))
        assert.ok(body.length < Number(head.get('content-length')));
    else
        assert.ok(head.has('transfer-encoding') && !parseChunked(body),
                  'a clean end of what was cut');
    return { status: 'cut', body };
}

describe('broken chunks of a response', () => {
    const gateway = fixture();

    for (const [name, chunks] of BROKEN_CHUNKS) {
        for (const [when, first] of [['at once', ''],
                                     ['after good ones', '2\r\nok\r\n']]) {
            it(`${name}, ${when}`, async () => {
                gateway.backend.handler = (request, wire) => {
                    wire.taken = true;
                    wire.send(fields('Transfer-Encoding: chunked',
                                     first + chunks));
                };
                const wire = await gateway.open();
                wire.send('GET /x HTTP/1.1\r\nHost: h\r\n' +
                          'Connection: close\r\n\r\n');
                await cutOr502(wire);
                gateway.backend.reset();
                await gateway.stillServes();
            });
        }
    }
});

const CUTS = [
    ['a length', 'Content-Length: 10', 'hello'],
    ['a length, no byte of it', 'Content-Length: 10', ''],
    ['a long length', 'Content-Length: 2000000', 'a'.repeat(1000000)],
    ['chunked, behind a chunk', 'Transfer-Encoding: chunked', '5\r\nhello\r\n'],
    ['chunked, within a chunk', 'Transfer-Encoding: chunked', '9\r\nhello'],
    ['chunked, within the end', 'Transfer-Encoding: chunked',
     '5\r\nhello\r\n0\r\n'],
];

describe('responses that the backend cuts short', () => {
    const gateway = fixture();

    for (const [name, field, body] of CUTS) {
        for (const how of ['finish', 'reset']) {
            it(`${name}, by ${how}: the client sees it`, async () => {
                const wire = await gateway.open();
                gateway.backend.handler = async (request, upstream) => {
                    upstream.taken = true;
                    upstream.send(fields(field, body));
                    await wire.until(() => wire.total > 0, 'a part');
                    upstream[how]();
                };
                wire.send(GET);
                assert.equal((await cutOr502(wire)).status, 'cut');
            });
        }
    }

    it('until its end, by RST: no clean end', async () => {
        const wire = await gateway.open();
        gateway.backend.handler = async (request, upstream) => {
            upstream.taken = true;
            upstream.send('HTTP/1.1 200 OK\r\n\r\nhello');
            await wire.until(() => wire.buffer.includes('hello'), 'hello');
            upstream.reset();
        };
        wire.send(GET);
        const { how, bytes } = await wire.rest();
        const head = parseHead(bytes, 'response');
        assert.ok(how === 'rst' || (head.has('transfer-encoding') &&
                  !parseChunked(bytes.subarray(head.size))));
    });
});

const EXTRA = [
    ['a body on HEAD', 'HEAD', 200, 'Content-Length: 70\r\n'],
    ['a body on 204', 'GET', 204, ''],
    ['a body on 304', 'GET', 304, ''],
    ['bytes behind a length', 'GET', 200, 'Content-Length: 0\r\n'],
    ['a length and a body on 204', 'GET', 204, 'Content-Length: 40\r\n'],
    ['a length and a body on 304', 'GET', 304, 'Content-Length: 40\r\n'],
    ['a body on 304 to HEAD', 'HEAD', 304, ''],
    ['a chunked body on HEAD', 'HEAD', 200, 'Transfer-Encoding: chunked\r\n'],
    ['bytes behind the end of chunks', 'GET', 200,
     'Transfer-Encoding: chunked\r\n\r\n0\r\n'],
];

describe('bytes that belong to no response', () => {
    const gateway = fixture();

    for (const [name, method, code, more] of EXTRA) {
        it(`${name}: the connection to the backend ends`, async () => {
            const { backend } = gateway;
            backend.handler = (request, wire) => {
                backend.handler = backend.fallback;
                wire.taken = true;
                wire.send(`HTTP/1.1 ${code} X\r\n${more}\r\n${EVIL}`);
            };
            const wire = await gateway.open();
            wire.send(`${method} /x HTTP/1.1\r\nHost: h\r\n\r\n${NEXT}`);
            const response = await wire.response(method);
            assert.equal(response.status, code);
            assert.ok(code !== 204 || !response.has('content-length'));
            assert.equal((await wire.response()).text, '/next');
            await backend.requests[0].wire.ended();
            assert.equal(wire.buffer.length, 0);
        });
    }

    it('on an idle connection: it ends, the next answer is right', async () => {
        const { backend } = gateway;
        await gateway.stillServes('/first');
        const { wire: upstream } = backend.requests[0];
        upstream.send(EVIL);
        await upstream.ended();
        const response = await gateway.stillServes('/second');
        assert.equal(response.text, '/second');
        assert.notEqual(backend.requests[1].wire, upstream);
    });

    it('CVE-2026-33555: a short body does not poison the pool', async () => {
        const { backend } = gateway;
        backend.handler = (request, upstream) => {
            backend.handler = backend.fallback;
            upstream.send(fields('Content-Length: 100', 'hello'));
        };
        const wire = await gateway.open();
        wire.send(GET);
        await wire.upTo('hello');
        const { wire: upstream } = backend.requests[0];
        wire.reset();
        await upstream.ended(4000);
        assert.equal((await gateway.stillServes('/next')).text, '/next');
    });

    it('a response with Connection: close ends its connection', async () => {
        const { backend } = gateway;
        backend.handler = (request, wire) =>
            wire.send(ok('bye', 'Connection: close\r\n'));
        const wire = await gateway.open();
        wire.send(GET);
        const response = await wire.response();
        assert.equal(response.text, 'bye');
        assert.ok(!response.has('connection'));
        await backend.requests[0].wire.ended();
        backend.reset();
        wire.send(NEXT);
        assert.equal((await wire.response()).text, '/next');
    });
});

const UNUSUAL = [
    ['no reason, but its space',
     'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok'],
    ['a reason in Latin-1', 'HTTP/1.1 200 Tr\xe8s bien\r\n' +
     'Content-Length: 2\r\n\r\nok'],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a tab within a value', fields('A: b\tc\r\nContent-Length: 2', 'ok')],
    ['an extension of a chunk', fields('Transfer-Encoding: chunked',
                                       '2;a=b\r\nok\r\n0\r\n\r\n')],
    ['status 299', 'HTTP/1.1 299 X\r\nContent-Length: 2\r\n\r\nok'],
    ['status 599', 'HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nok'],
];

describe('unusual but valid responses', () => {
    const gateway = fixture();

    for (const [name, bytes] of UNUSUAL) {
        for (const size of [bytes.length, 1]) {
            it(`${name}, in pieces of ${size}`, async () => {
                gateway.backend.handler = (request, wire) =>
                    wire.sendPieces(bytes, size);
                const wire = await gateway.open();
                wire.send(GET);
                assert.equal((await wire.response()).text, 'ok');
            });
        }
    }
});
