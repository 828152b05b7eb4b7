/* SPDX-License-Identifier: MIT */
/* Request bodies: broken framing never makes a request whole, never becomes
 * the next one; good framing is taken off and written anew. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { connect, FOREVER } from '../support/wire.mjs';

const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
const HEAD = 'POST /x HTTP/1.1\r\nHost: h\r\n';
const chunked = (body) => `${HEAD}Transfer-Encoding: chunked\r\n\r\n${body}`;

const BAD = [400];
const LARGE = [400, 413];
const LONG = [400, 413, 431];

const CASES = [
    ['an empty chunk size', '\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size that is no number', 'g\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size with a plus', '+5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a negative size', '-5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size with 0x', '0x5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size with h', '5h\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size with an underscore', '0_5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size with a comma', '5,5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size in quotes', '"5"\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size in fullwidth digits',
     '\xef\xbc\x95\r\nhello\r\n0\r\n\r\n', BAD],
    ['a size of -0', '-0\r\n\r\n', BAD],
    ['an extension without a size', ';a=b\r\nhello\r\n0\r\n\r\n', BAD],
    ['a space before the size', ' 5\r\nhello\r\n0\r\n\r\n', BAD],
    ['a tab before the size', '\t5\r\nhello\r\n0\r\n\r\n', BAD],
    ['junk behind the size', '5 x\r\nhello\r\n0\r\n\r\n', BAD],
    ['CVE-2013-2028: a size of 2^64',
     `1${'0'.repeat(16)}\r\nhello\r\n0\r\n\r\n`, LARGE],
    ['a size of 2^64 + 5', `1${'0'.repeat(15)}5\r\nhello\r\n0\r\n\r\n`, LARGE],
    ['a size of 20 digits', `${'f'.repeat(20)}\r\nhello\r\n0\r\n\r\n`, LARGE],
    ['a size of 2^65 + 5', `2${'0'.repeat(15)}5\r\nhello\r\n0\r\n\r\n`, LARGE],
    ['4837e9989: LF ends a size', '5\nhello\r\n0\r\n\r\n', BAD],
    ['CR alone ends a size', '5\rhello\r\n0\r\n\r\n', BAD],
    ['CR CR LF ends a size', '5\r\r\nhello\r\n0\r\n\r\n', BAD],
    ['LF CR LF ends a size', '5\n\r\nhello\r\n0\r\n\r\n', BAD],
    ['CR alone behind a chunk', '5\r\nhello\r0\r\n\r\n', BAD],
    ['an empty line behind a chunk', '5\r\nhello\r\n\r\n0\r\n\r\n', BAD],
    ['CR CR LF behind a chunk', '5\r\nhello\r\r\n0\r\n\r\n', BAD],
    ['two bytes for CRLF behind a chunk', '5\r\nhelloXX0\r\n\r\n', BAD],
    ['a space behind the last size', '5\r\nhello\r\n0 x\r\n\r\n', BAD],
    ['a request for the last chunk',
     '5\r\nhello\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n', BAD],
    ['CR alone ends the body', '5\r\nhello\r\n0\r\n\rX', BAD],
    ['LF behind a chunk', '5\r\nhello\n0\r\n\r\n', BAD],
    ['nothing behind a chunk', '5\r\nhello0\r\n\r\n', BAD],
    ['a chunk longer than its size', '3\r\nhello\r\n0\r\n\r\n', BAD],
    ['a chunk shorter than its size', '6\r\nhello\r\n0\r\n\r\n', BAD],
    ['LF ends the last size', '5\r\nhello\r\n0\n\r\n', BAD],
    ['LF ends the body', '5\r\nhello\r\n0\r\n\n', BAD],
    ['LF in an extension', '5;a=b\nc\r\nhello\r\n0\r\n\r\n', BAD],
    ['LF in a quoted extension', '5;a="\n"\r\nhello\r\n0\r\n\r\n', BAD],
    ['ESC in an extension', '5;a=\x1b\r\nhello\r\n0\r\n\r\n', BAD],
    ['CR in an extension', '5;a=b\rc\r\nhello\r\n0\r\n\r\n', BAD],
    ['NUL in an extension', '5;a=\x00\r\nhello\r\n0\r\n\r\n', BAD],
    ['NUL behind a size', '5\x00\r\nhello\r\n0\r\n\r\n', BAD],
    ['CVE-2024-22019: an endless extension',
     `5;${'a'.repeat(40000)}\r\nhello\r\n0\r\n\r\n`, LONG],
    ['a size of endless zeros', `${'0'.repeat(40000)}5\r\nhello\r\n0\r\n\r\n`,
     LONG],
    ['a trailer without a colon', '5\r\nhello\r\n0\r\nA\r\n\r\n', BAD],
    ['a trailer with a space before the colon',
     '5\r\nhello\r\n0\r\nA : b\r\n\r\n', BAD],
    ['a folded trailer', '5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n', BAD],
    ['a trailer with an empty name', '5\r\nhello\r\n0\r\n: b\r\n\r\n', BAD],
    ['a trailer with NUL', '5\r\nhello\r\n0\r\nA: \x00\r\n\r\n', BAD],
    ['a trailer with a control character',
     '5\r\nhello\r\n0\r\nA: \x01\r\n\r\n', BAD],
    ['a trailer with a name that is no token',
     '5\r\nhello\r\n0\r\nA(: b\r\n\r\n', BAD],
    ['a trailer that is folded at once', '5\r\nhello\r\n0\r\n A: b\r\n\r\n',
     BAD],
    ['a request for a trailer',
     '5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n', BAD],
    ['4000 trailers',
     `5\r\nhello\r\n0\r\n${'A: b\r\n'.repeat(4000)}\r\n`, LONG],
    ['a trailer with bare LF', '5\r\nhello\r\n0\r\nA: b\n\r\n', BAD],
    ['a trailer with bare CR', '5\r\nhello\r\n0\r\nA: b\rc\r\n\r\n', BAD],
    ['a trailer of 64 KiB',
     `5\r\nhello\r\n0\r\nA: ${'b'.repeat(65536)}\r\n\r\n`, LONG],
    ['trailers of 64 KiB',
     `5\r\nhello\r\n0\r\n${'Aaaa: bbbbbbbb\r\n'.repeat(4096)}\r\n`, LONG],
];

describe('malformed chunked request bodies', () => {
    const gateway = fixture();

    for (const [name, body, allowed] of CASES) {
        it(`${name}: ${allowed.join(' or ')}`,
           () => gateway.refuses(chunked(body) + NEXT, allowed));
    }

    /* An extension ends with its line, whatever it says of that. */
    it('CRLF in a quoted extension ends it, or is refused', async () => {
        const wire = await gateway.open();
        wire.send(chunked('5;a="\r\nhello\r\n0\r\n\r\n"\r\nhello\r\n0\r\n' +
                          '\r\n') + NEXT);
        let response = await wire.response();
        if (response.status === 200) {
            assert.equal(gateway.backend.requests[0].text, 'hello');
            response = await wire.response();
        }
        assert.equal(response.status, 400);
        assert.equal((await wire.rest()).bytes.length, 0);
        assert.doesNotMatch(gateway.backend.received, /smuggled/);
    });
});

const CUT = [
    ['a length', `${HEAD}Content-Length: 10\r\n\r\nhello`],
    ['a length, nothing of it', `${HEAD}Content-Length: 10\r\n\r\n`],
    ['chunked within a chunk', chunked('5\r\nhel')],
    ['chunked behind a chunk', chunked('5\r\nhello\r\n')],
    ['chunked within the last line', chunked('5\r\nhello\r\n0\r\n')],
    ['a length, long', `${HEAD}Content-Length: 300000\r\n\r\n` +
     'a'.repeat(200000)],
    ['chunked, long', chunked(`30d40\r\n${'a'.repeat(200000)}\r\n`)],
];

/* For `early`: keeps the head of a request whose body is never whole. */
async function bodyThenAnswer(head, wire)
{
    await wire.body(head, { ms: FOREVER });
    wire.send(ok(head.target));
}

function wholeTargets({ backend })
{
    return backend.requests.filter(({ framing }) => framing)
        .map(({ target }) => target);
}

describe('request bodies that the client cuts short', () => {
    const gateway = fixture();

    for (const [name, bytes] of CUT) {
        for (const how of ['FIN', 'RST']) {
            it(`${name}, by ${how}`, async () => {
                gateway.backend.early = bodyThenAnswer;
                const wire = await gateway.open();
                wire.send(bytes);
                /* What is long streams: the backend has its start. */
                if (bytes.length > 100000)
                    await gateway.backend.request();
                if (how === 'FIN')
                    wire.finish();
                else
                    wire.reset();
                await wire.ended();
                for (const request of gateway.backend.requests)
                    await request.wire.ended();
                await gateway.stillServes();
                assert.deepEqual(wholeTargets(gateway), ['/still-serves']);
            });
        }
    }
});

const GOOD = [
    ['no body', `${HEAD}Content-Length: 0\r\n\r\n`, ''],
    ['a length', `${HEAD}Content-Length: 5\r\n\r\nhello`, 'hello'],
    ['one chunk', chunked('5\r\nhello\r\n0\r\n\r\n'), 'hello'],
    ['some chunks', chunked('1\r\nh\r\n003\r\nell\r\n1\r\no\r\n0\r\n\r\n'),
     'hello'],
    ['sizes in both cases', chunked(`A\r\n${'a'.repeat(10)}\r\n` +
        `b\r\n${'b'.repeat(11)}\r\n0\r\n\r\n`),
     'a'.repeat(10) + 'b'.repeat(11)],
    ['no chunk but the last', chunked('0\r\n\r\n'), ''],
    ['extensions', chunked('5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n'), 'hello'],
    ['trailers', chunked('5\r\nhello\r\n0\r\nX-Trailer: evil\r\n' +
                         'Content-Length: 99\r\n\r\n'), 'hello'],
    ['trailers that would change its meaning',
     chunked('5\r\nhello\r\n0\r\nHost: evil\r\nTransfer-Encoding: evil\r\n' +
             'X-Forwarded-For: evil\r\nConnection: evil\r\n\r\n'), 'hello'],
    ['a body with a GET', 'GET /x HTTP/1.1\r\nHost: h\r\n' +
     `Content-Length: ${NEXT.length}\r\n\r\n${NEXT}`, NEXT],
    ['chunks with a GET', 'GET /x HTTP/1.1\r\nHost: h\r\n' +
     `Transfer-Encoding: chunked\r\n\r\n${NEXT.length.toString(16)}\r\n` +
     `${NEXT}\r\n0\r\n\r\n`, NEXT],
    ['a body with an OPTIONS', 'OPTIONS /x HTTP/1.1\r\nHost: h\r\n' +
     `Content-Length: ${NEXT.length}\r\n\r\n${NEXT}`, NEXT],
    ['a body with a DELETE', 'DELETE /x HTTP/1.1\r\nHost: h\r\n' +
     `Content-Length: ${NEXT.length}\r\n\r\n${NEXT}`, NEXT],
    ['names that only look like framing', `${HEAD}Content-Length: 5\r\n` +
     'Transfer_Encoding: chunked\r\nContent_Length: 99\r\n' +
     'X-Transfer-Encoding: chunked\r\nTE: chunked\r\n' +
     'Content-Encoding: chunked\r\n\r\nhello', 'hello'],
    ['a field of a length in a value',
     `${HEAD}A: Content-Length: 99\r\nContent-Length: 5\r\n\r\nhello`,
     'hello'],
    ['CRLF in a body', `${HEAD}Content-Length: 8\r\n\r\n\r\n0\r\n\r\n\r`,
     '\r\n0\r\n\r\n\r'],
    ['every byte', `${HEAD}Content-Length: 256\r\n\r\n` +
     String.fromCharCode(...Array(256).keys()),
     String.fromCharCode(...Array(256).keys())],
];

describe('good request bodies', () => {
    const gateway = fixture();

    for (const [name, bytes, body] of GOOD) {
        it(`${name}: whole, and the next request is the next`, async () => {
            const wire = await gateway.open();
            const next = 'GET /next HTTP/1.1\r\nHost: h\r\n\r\n';
            wire.send(bytes + next);
            assert.equal((await wire.response()).text, '/x');
            assert.equal((await wire.response()).text, '/next');
            const [request] = gateway.backend.requests;
            assert.equal(request.text, body);
            assert.deepEqual(request.trailers, []);
            assert.doesNotMatch(gateway.backend.received, /evil|a=b/);
        });

        it(`${name}: in single bytes`, async () => {
            const wire = await gateway.open();
            await wire.sendPieces(bytes);
            assert.equal((await wire.response()).text, '/x');
            assert.equal(gateway.backend.requests[0].text, body);
        });
    }

    it('a large one streams: its start is there before its end', async () => {
        const part = 'a'.repeat(100000);
        const forms = [
            [`${HEAD}Content-Length: 200000\r\n\r\n${part}`, part],
            [chunked(`186a0\r\n${part}\r\n`), `186a0\r\n${part}\r\n0\r\n\r\n`],
        ];
        for (const [first, last] of forms) {
            gateway.backend.reset();
            gateway.backend.early = async (head, wire) => {
                await wire.until(() => wire.buffer.length >= 90000, 'a part');
                client.send(last);
                await wire.body(head);
                wire.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
            };
            const client = await gateway.open();
            client.send(first);
            assert.equal((await client.response()).status, 200);
            assert.equal(gateway.backend.requests[0].text, part + part);
        }
    });

    it('an answer before the end of a large one comes through', async () => {
        gateway.backend.early = (head, wire) => {
            wire.taken = true;
            wire.send('HTTP/1.1 413 Large\r\nContent-Length: 0\r\n' +
                      'Connection: close\r\n\r\n');
        };
        const wire = await gateway.open();
        wire.send(`${HEAD}Content-Length: 300000\r\n\r\n` +
                  'a'.repeat(100000));
        assert.equal((await wire.response()).status, 413);
        wire.destroy();
    });
});

const OWN = [
    ['OPTIONS *', 'OPTIONS * HTTP/1.1', 200],
    ['a repeated sid', 'POST /socket.io/?EIO=4&transport=polling&sid=a&sid=b ' +
     'HTTP/1.1', 400],
    ['a sid that is too long', 'POST /socket.io/?EIO=4&transport=polling&sid=' +
     `${'a'.repeat(257)} HTTP/1.1`, 400],
    ['a sid that nobody knows', 'POST /socket.io/?EIO=4&transport=polling&' +
     'sid=aaaaaaaaaaaaaaaaaaaa HTTP/1.1', 400],
    ['TRACE', 'TRACE /x HTTP/1.1', [400, 405, 501]],
];
const LONG_NEXT = NEXT.repeat(4000);

describe('bodies of requests that sidgate answers itself', () => {
    const gateway = fixture({ engine: true, args: ['--recovery', 'off'] });

    for (const [name, first, status] of OWN) {
        for (const [how, body] of [['short', NEXT], ['long', LONG_NEXT]]) {
            const forms = [
                ['a length', `Content-Length: ${body.length}\r\n\r\n${body}`],
                ['chunks', 'Transfer-Encoding: chunked\r\n\r\n' +
                 `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
            ];
            for (const [form, rest] of forms) {
                it(`${name}, ${how}, by ${form}: never a request`, async () => {
                    const wire = await gateway.open();
                    wire.send(`${first}\r\nHost: h\r\n${rest}` +
                              'GET /behind HTTP/1.1\r\nHost: h\r\n\r\n');
                    const response = await wire.response();
                    assert.ok([status].flat().includes(response.status),
                              `status ${response.status}`);
                    /* It ends, or the next answer is that of the next. */
                    if (response.get('connection') !== 'close')
                        assert.equal((await wire.response()).status, 200);
                    wire.finish();
                    const { bytes } = await wire.rest();
                    assert.equal(bytes.length, 0, bytes.toString('latin1'));
                    await gateway.stillServes();
                    assert.ok(!gateway.backend.received.includes('/smuggled'));
                });
            }
        }
    }
});

describe('an answer before the end of its request', () => {
    const gateway = fixture({ args: ['--workers', '1'] });
    const ROWS = [
        ['200 with a length', ok('early')],
        ['200 in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n' +
         '\r\n5\r\nearly\r\n0\r\n\r\n'],
        ['413 that keeps the connection',
         'HTTP/1.1 413 X\r\nContent-Length: 5\r\n\r\nearly'],
        ['500 that ends it', 'HTTP/1.1 500 X\r\nConnection: close\r\n' +
         'Content-Length: 5\r\n\r\nearly'],
    ];
    const total = LONG_NEXT.length;

    for (const [name, answer] of ROWS) {
        it(`${name}: neither connection carries another request`, async () => {
            let upstream;
            gateway.backend.early = (head, wire) => {
                gateway.backend.early = null;
                upstream = wire;
                wire.taken = true;
                wire.send(answer);
            };
            const wire = await gateway.open();
            wire.send(`${HEAD}Content-Length: ${total}\r\n\r\n` +
                      LONG_NEXT.slice(0, 70000));
            const response = await wire.response();
            assert.equal(response.text, 'early');
            wire.send(LONG_NEXT.slice(70000));
            wire.send('GET /behind HTTP/1.1\r\nHost: h\r\n\r\n');
            await gateway.stillServes('/other');
            const { bytes } = await wire.rest();
            if (bytes.length > 0)
                assert.match(bytes.toString('latin1'), /\/behind$/);
            await upstream.ended();
            assert.ok(gateway.backend.requests.every((request) =>
                request.target === '/x' || request.wire !== upstream));
            assert.ok(!gateway.backend.targets.includes('/smuggled'));
        });
    }
});

describe('the limit of a request body', () => {
    const gateway = fixture({ args: ['--max-body', '100000'] });

    for (const [name, bytes] of [
        ['announced', `${HEAD}Content-Length: 100001\r\n\r\n`],
        ['announced and sent', `${HEAD}Content-Length: 100001\r\n\r\n` +
         'a'.repeat(100001)],
        ['in one chunk', chunked(`186a1\r\n${'a'.repeat(100001)}\r\n`)],
        ['in many chunks',
         chunked(`2710\r\n${'a'.repeat(10000)}\r\n`.repeat(11))],
    ]) {
        it(`one over it, ${name}: 413, and it never is whole`, async () => {
            gateway.backend.early = bodyThenAnswer;
            const wire = await gateway.open();
            wire.send(bytes);
            const response = await wire.response();
            assert.equal(response.status, 413);
            assert.equal(response.get('connection'), 'close');
            assert.equal(await wire.ended(), 'fin');
            for (const request of gateway.backend.requests)
                await request.wire.ended();
            await gateway.stillServes();
            assert.deepEqual(wholeTargets(gateway), ['/still-serves']);
        });
    }

    it('one over it, whole in one piece: it never is the next request',
       async () => {
           await withCluster({ args: ['--max-body', '10'] }, async (other) => {
               const inner = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
               const wire = await connect(other.port);
               wire.send(chunked(`${inner.length.toString(16)}\r\n${inner}\r\n` +
                                 '0\r\n\r\n'));
               assert.equal((await wire.response()).status, 413);
               const { how, bytes } = await wire.rest();
               assert.equal(how, 'fin');
               assert.equal(bytes.length, 0);
               assert.deepEqual(other.backend.targets, []);
               const metrics = await other.gateway.metrics();
               assert.equal(metrics.get('sidgate_limited_total{limit="body"}'),
                            1);
               assert.equal(metrics.get('sidgate_bad_requests_total'), 1);
           });
       });

    it('one of just that size passes', async () => {
        for (const bytes of [
            `${HEAD}Content-Length: 100000\r\n\r\n${'a'.repeat(100000)}`,
            chunked(`186a0\r\n${'a'.repeat(100000)}\r\n0\r\n\r\n`),
        ]) {
            const wire = await gateway.open();
            wire.send(bytes);
            assert.equal((await wire.response()).status, 200);
        }
    });
});

describe('Expect: 100-continue', () => {
    const gateway = fixture();
    const head = `${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`;

    it('is answered by sidgate and not passed on', async () => {
        const wire = await gateway.open();
        wire.send(head);
        assert.equal((await wire.response()).status, 100);
        wire.send('hello');
        const response = await wire.response();
        assert.equal(response.text, '/x');
        const [request] = gateway.backend.requests;
        assert.equal(request.text, 'hello');
        assert.ok(!request.has('expect'));
    });

    it('needs no wait: a body sent at once is taken', async () => {
        const wire = await gateway.open();
        wire.send(`${head}hello`);
        let response = await wire.response();
        if (response.status === 100)
            response = await wire.response();
        assert.equal(response.text, '/x');
        assert.equal(gateway.backend.requests[0].text, 'hello');
    });

    it('gets no 100 in HTTP/1.0', async () => {
        const wire = await gateway.open();
        wire.send(`POST /x HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\n` +
                  'Content-Length: 5\r\n\r\nhello');
        assert.equal((await wire.response()).status, 200);
    });
});
