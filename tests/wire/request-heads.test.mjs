/* SPDX-License-Identifier: MIT */
/* Request heads that an intermediary must refuse: nothing of them reaches a
 * backend, and what follows them is not taken for a request. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';

const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
const HOST = 'Host: h\r\n';

/* A request with this line; these fields; this body. */
const line = (text) => `${text}\r\n${HOST}\r\n`;
const fields = (text) => `GET /x HTTP/1.1\r\n${HOST}${text}\r\n`;
const host = (text) => `GET /x HTTP/1.1\r\nHost: ${text}\r\n\r\n`;
const post = (text, body = '') =>
    `POST /x HTTP/1.1\r\n${HOST}${text}\r\n\r\n${body}`;

const BAD = [400];
const CODING = [400, 501];
const METHOD = [400, 405, 501];
const VERSION = [400, 505];

const CASES = [
    /* the request line */
    ['no version', line('GET /x'), VERSION],
    ['a version only', line('HTTP/1.1'), METHOD],
    ['two spaces before the target', line('GET  /x HTTP/1.1'), BAD],
    ['two spaces behind the target', line('GET /x  HTTP/1.1'), BAD],
    ['a space behind the version', line('GET /x HTTP/1.1 '), BAD],
    ['a space before the method', line(' GET /x HTTP/1.1'), METHOD],
    ['a tab for a space', line('GET\t/x HTTP/1.1'), METHOD],
    ['a space in the target', line('GET /x y HTTP/1.1'), BAD],
    ['version 1.1x', line('GET /x HTTP/1.1x'), VERSION],
    ['version 11', line('GET /x HTTP/11'), VERSION],
    ['version 1.', line('GET /x HTTP/1.'), VERSION],
    ['version 0.9', line('GET /x HTTP/0.9'), VERSION],
    ['version 2.0', line('GET /x HTTP/2.0'), VERSION],
    ['version 3.1', line('GET /x HTTP/3.1'), VERSION],
    ['version 1.2', line('GET /x HTTP/1.2'), VERSION],
    ['version 3.0', line('GET /x HTTP/3.0'), VERSION],
    ['version 1.01', line('GET /x HTTP/1.01'), VERSION],
    ['version 01.1', line('GET /x HTTP/01.1'), VERSION],
    ['version 1,1', line('GET /x HTTP/1,1'), VERSION],
    ['version 65537.1', line('GET /x HTTP/65537.1'), VERSION],
    ['a version with a space in it', line('GET /x HTTP/ 1.1'), VERSION],
    ['HTTP/0.9, as it was', 'GET /x\r\n', VERSION],
    ['HTTP/0.9 behind an absolute-form', 'GET http://h/x\r\n', VERSION],
    ['version +1.1', line('GET /x HTTP/+1.1'), VERSION],
    ['version in lower case', line('GET /x http/1.1'), VERSION],
    ['another protocol', line('GET /x ICE/1.0'), VERSION],
    ['an empty method', line(' /x HTTP/1.1'), METHOD],
    ['a method with a separator', line('G(T /x HTTP/1.1'), METHOD],
    ['an unknown method', line('GETX /x HTTP/1.1'), METHOD],
    ['a method in lower case', line('get /x HTTP/1.1'), METHOD],
    ['a method with a space in it', line('GE T /x HTTP/1.1'), METHOD],
    ['a method with NUL', line('GE\x00T /x HTTP/1.1'), METHOD],
    ['a request line of spaces', line('   '), METHOD],
    ['a status line', line('HTTP/1.1 200 OK'), METHOD],
    ['PRI alone', line('PRI * HTTP/1.1'), METHOD],
    ['CONNECT in authority-form without Host',
     'CONNECT h:443 HTTP/1.1\r\n\r\n', METHOD],
    ['CONNECT to a path', line('CONNECT /x HTTP/1.1'), METHOD],
    ['TRACE with Max-Forwards', 'TRACE /x HTTP/1.1\r\nHost: h\r\n' +
     'Max-Forwards: 0\r\n\r\n', METHOD],
    ['CONNECT', 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n', METHOD],
    ['TRACE', line('TRACE /x HTTP/1.1'), METHOD],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
     [400, 405, 501, 505]],
    ['a TLS hello', '\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03' +
     'a'.repeat(32) + '\x00\x00\x04\x13\x01\x13\x02\x01\x00\r\n\r\n', METHOD],

    /* the target */
    ['CVE-2023-45539: # in the target', line('GET /x#y HTTP/1.1'), BAD],
    ['# at the end of the target', line('GET /x# HTTP/1.1'), BAD],
    ['a byte over 0x7f in the target', line('GET /\xc3\xa9 HTTP/1.1'), BAD],
    ['NUL in the target', line('GET /x\x00y HTTP/1.1'), BAD],
    ['DEL in the target', line('GET /x\x7f HTTP/1.1'), BAD],
    ['bare CR in the request line', line('GET /x\ry HTTP/1.1'), BAD],
    ['a target without a slash', line('GET x HTTP/1.1'), BAD],
    ['* with GET', line('GET * HTTP/1.1'), BAD],
    ['* with POST', `POST * HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`,
     BAD],
    ['* and more with OPTIONS', line('OPTIONS *x HTTP/1.1'), BAD],
    ['*?x with OPTIONS', line('OPTIONS *?x HTTP/1.1'), BAD],
    ['a query alone', line('GET ?x HTTP/1.1'), BAD],
    ['a fragment alone', line('GET # HTTP/1.1'), BAD],
    ['a backslash for the slash', line('GET \\x HTTP/1.1'), BAD],
    ['an encoded slash for the slash', line('GET %2fx HTTP/1.1'), BAD],
    ['a tab in the target', line('GET /x\ty HTTP/1.1'), BAD],
    ['a vertical tab in the target', line('GET /x\x0by HTTP/1.1'), BAD],
    ['a form feed in the target', line('GET /x\x0cy HTTP/1.1'), BAD],
    ['bare LF in the target', line('GET /x\ny HTTP/1.1'), BAD],
    ['a no-break space in the target', line('GET /x\xa0y HTTP/1.1'), BAD],
    ['an overlong slash in the target', line('GET /\xc0\xaf HTTP/1.1'), BAD],
    ['a request line in the target',
     line('GET /x HTTP/1.1 /y HTTP/1.1'), BAD],
    ['authority-form with OPTIONS', line('OPTIONS h:80 HTTP/1.1'), BAD],
    ['an authority as the target of GET', line('GET h:80 HTTP/1.1'), BAD],
    ['absolute-form with another authority',
     line('GET http://other/x HTTP/1.1'), BAD],
    ['absolute-form with another port', line('GET http://h:81/x HTTP/1.1'),
     BAD],
    ['absolute-form with user information', line('GET http://u@h/x HTTP/1.1'),
     BAD],
    ['absolute-form without an authority', line('GET http:///x HTTP/1.1'),
     BAD],
    ['absolute-form of another scheme', line('GET file://h/x HTTP/1.1'), BAD],
    ['absolute-form with one slash', line('GET http:/h/x HTTP/1.1'), BAD],
    ['absolute-form without slashes', line('GET http:h/x HTTP/1.1'), BAD],
    ['absolute-form of websockets', line('GET ws://h/x HTTP/1.1'), BAD],
    ['absolute-form with a fragment', line('GET http://h#y HTTP/1.1'), BAD],
    ['absolute-form with a backslash', line('GET http://h\\@i/ HTTP/1.1'), BAD],
    ['absolute-form with a space', line('GET http://h /x HTTP/1.1'), BAD],
    ['absolute-form with a longer authority',
     line('GET http://h.evil/x HTTP/1.1'), BAD],
    ['absolute-form with a shorter authority',
     'GET http://h/x HTTP/1.1\r\nHost: h.example\r\n\r\n', BAD],
    ['absolute-form with an encoded authority',
     line('GET http://%68/x HTTP/1.1'), BAD],
    ['absolute-form without Host', 'GET http://h/x HTTP/1.1\r\n\r\n', BAD],
    ['absolute-form and two Hosts',
     `GET http://h/x HTTP/1.1\r\n${HOST}Host: i\r\n\r\n`, BAD],
    ['OPTIONS in absolute-form with another authority',
     line('OPTIONS http://other HTTP/1.1'), BAD],

    /* Host */
    ['no Host', 'GET /x HTTP/1.1\r\n\r\n', BAD],
    ['no Host with OPTIONS *', 'OPTIONS * HTTP/1.1\r\n\r\n', BAD],
    ['two Hosts with OPTIONS *',
     `OPTIONS * HTTP/1.1\r\n${HOST}Host: i\r\n\r\n`, BAD],
    ['an empty Host and another', `GET /x HTTP/1.1\r\nHost:\r\n${HOST}\r\n`,
     BAD],
    ['two Hosts, the second folded', `GET /x HTTP/1.1\r\n${HOST} Host: i\r\n` +
     '\r\n', BAD],
    ['two Hosts, one with a space before the colon',
     `GET /x HTTP/1.1\r\n${HOST}Host : i\r\n\r\n`, BAD],
    ['two Hosts in one', 'GET /x HTTP/1.1\r\nHost: h, i\r\n\r\n', BAD],
    ['two Hosts', fields('Host: other\r\n'), BAD],
    ['two equal Hosts', fields(HOST), BAD],
    ['two Hosts in HTTP/1.0', 'GET /x HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n',
     BAD],
    ['Host with a space', 'GET /x HTTP/1.1\r\nHost: h i\r\n\r\n', BAD],
    ['Host with a path', 'GET /x HTTP/1.1\r\nHost: h/i\r\n\r\n', BAD],
    ['Host with user information', 'GET /x HTTP/1.1\r\nHost: u@h\r\n\r\n',
     BAD],
    ['Host with #', 'GET /x HTTP/1.1\r\nHost: h#i\r\n\r\n', BAD],
    ['Host with a scheme', host('http://h'), BAD],
    ['Host with a query', host('h?i'), BAD],
    ['Host with a backslash', host('h\\i'), BAD],
    ['Host with a tab', host('h\ti'), BAD],
    ['Host with NUL', host('h\x00i'), BAD],
    ['Host with a quote', host('h"i'), BAD],
    ['Host with angle brackets', host('<h>'), BAD],
    ['Host with braces', host('{h}'), BAD],
    ['Host with a caret', host('h^i'), BAD],
    ['Host with a bar', host('h|i'), BAD],
    ['Host with a backquote', host('h`i'), BAD],
    ['Host with DEL', host('h\x7f'), BAD],
    ['Host with bare LF in it', 'GET /x HTTP/1.1\r\nHost: h\ni\r\n\r\n', BAD],
    ['Host with a port that is no number', host('h:x'), BAD],
    ['Host with a port with a sign', host('h:+80'), BAD],
    ['Host with two ports', host('h:80:80'), BAD],
    ['Host with a port over 65535', host('h:65536'), BAD],
    ['Host with a port of ten digits', host('h:9999999999'), BAD],
    ['Host with a port and no name', host(':80'), BAD],
    ['Host with an open bracket', host('[::1'), BAD],
    ['Host with a closing bracket', host('::1]'), BAD],
    ['Host with an IPv6 address without brackets', host('::1'), BAD],
    ['Host with empty brackets', host('[]'), BAD],
    ['Host with brackets around a name', host('[h]'), BAD],
    ['Host with more behind the bracket', host('[::1]h'), BAD],
    ['Host with a zone', host('[fe80::1%25lo]'), BAD],
    ['Host with a broken escape', host('h%'), BAD],
    ['Host with an encoded slash', host('h%2fi'), BAD],
    ['Host with an encoded NUL', host('h%00'), BAD],
    ['Host with an encoded line', host('h%0d%0aA:%20b'), BAD],
    ['Host of 300 letters', host('h'.repeat(300)), BAD],
    ['Host with a byte over 0x7f', 'GET /x HTTP/1.1\r\nHost: h\xe9\r\n\r\n',
     BAD],

    /* fields */
    ['bare LF behind the request line', `GET /x HTTP/1.1\n${HOST}\r\n`, BAD],
    ['bare LF behind a field', `GET /x HTTP/1.1\r\nHost: h\n\r\n`, BAD],
    ['bare LF for the empty line', `GET /x HTTP/1.1\r\n${HOST}\n`, BAD],
    ['bare LF everywhere', 'GET /x HTTP/1.1\nHost: h\n\n', BAD],
    ['bare CR in a value', fields('A: b\rC: d\r\n'), BAD],
    ['bare CR at the end of a field', fields('A: b\r\r\n'), BAD],
    ['NUL in a value', fields('A: b\x00c\r\n'), BAD],
    ['a control character in a value', fields('A: b\x01c\r\n'), BAD],
    ['ESC in a value', fields('A: \x1b[2J\r\n'), BAD],
    ['DEL in a value', fields('A: b\x7f\r\n'), BAD],
    ['NUL in a name', fields('A\x00b: c\r\n'), BAD],
    ['a byte over 0x7f in a name', fields('\xc0: c\r\n'), BAD],
    ['a separator in a name', fields('A(b: c\r\n'), BAD],
    ['a quote in a name', fields('"A": c\r\n'), BAD],
    ['a space in a name', fields('A b: c\r\n'), BAD],
    ['obs-fold with a space', fields('A: b\r\n c\r\n'), BAD],
    ['obs-fold with a tab', fields('A: b\r\n\tc\r\n'), BAD],
    ['obs-fold before the first field', `GET /x HTTP/1.1\r\n ${HOST}\r\n`, BAD],
    ['a space before the colon', fields('A : b\r\n'), BAD],
    ['a tab before the colon', fields('A\t: b\r\n'), BAD],
    ['CVE-2023-25725: an empty name hides what follows',
     `POST /x HTTP/1.1\r\n${HOST}: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
     BAD],
    ['a line without a colon', fields('A\r\n'), BAD],
    ['an empty name and an empty value', fields(':\r\n'), BAD],
    ['a name of a space', fields(' : b\r\n'), BAD],
    ['a comment for a name', fields('(A): b\r\n'), BAD],
    ['a second request line', fields('GET /y HTTP/1.1\r\n'), BAD],
    ['bare CR for CRLF', `GET /x HTTP/1.1\rHost: h\r\r\n`, BAD],
    ['bare CR for the empty line', `GET /x HTTP/1.1\r\n${HOST}\rX: y\r\n\r\n`,
     BAD],
    ['LF CR for CRLF', `GET /x HTTP/1.1\n\rHost: h\n\r\n\r`, BAD],
    ['a coding behind bare LF', post('A: b\nTransfer-Encoding: chunked',
                                     '0\r\n\r\n'), BAD],
    ['a coding behind bare CR', post('A: b\rTransfer-Encoding: chunked',
                                     '0\r\n\r\n'), BAD],
    ['a coding behind NUL', post('A: b\x00Transfer-Encoding: chunked',
                                 '0\r\n\r\n'), BAD],
    ['a folded length', post('Content-Length:\r\n 5', 'hello'), BAD],
    ['obs-fold with nothing on its line', fields('A: b\r\n \r\n'), BAD],
    ['obs-fold of a long run', fields(`A: b${'\r\n c'.repeat(50)}\r\n`), BAD],

    /* Content-Length */
    ['CVE-2023-40225: an empty length', post('Content-Length:', 'hello'), BAD],
    ['a length of white space', post('Content-Length: \t', 'hello'), BAD],
    ['CVE-2023-38697: a length with a plus',
     post('Content-Length: +5', 'hello'), BAD],
    ['a negative length', post('Content-Length: -5', 'hello'), BAD],
    ['a length in hex', post('Content-Length: 0x5', 'hello'), BAD],
    ['a length with letters', post('Content-Length: 5abc', 'hello'), BAD],
    ['a length with a fraction', post('Content-Length: 5.0', 'hello'), BAD],
    ['a length with an exponent', post('Content-Length: 1e3', 'hello'), BAD],
    ['a length with a space in it', post('Content-Length: 5 5', 'hello'), BAD],
    ['a length in quotes', post('Content-Length: "5"', 'hello'), BAD],
    ['a list of equal lengths', post('Content-Length: 5, 5', 'hello'), BAD],
    ['a list of lengths', post('Content-Length: 5, 6', 'hello'), BAD],
    ['a list with an empty element', post('Content-Length: 5,', 'hello'), BAD],
    ['a list that starts empty', post('Content-Length: ,5', 'hello'), BAD],
    ['a comma alone', post('Content-Length: ,', 'hello'), BAD],
    ['a length with a semicolon', post('Content-Length: 5;', 'hello'), BAD],
    ['a length with an underscore', post('Content-Length: 1_0', 'hello'), BAD],
    ['a length in octal with 0o', post('Content-Length: 0o5', 'hello'), BAD],
    ['a length in fullwidth digits',
     post('Content-Length: \xef\xbc\x95', 'hello'), BAD],
    ['a length behind NUL', post('Content-Length: \x005', 'hello'), BAD],
    ['a length before NUL', post('Content-Length: 5\x00', 'hello'), BAD],
    ['a length behind a vertical tab', post('Content-Length: \x0b5', 'hello'),
     BAD],
    ['a length of -0', post('Content-Length: -0'), BAD],
    ['an empty length before a good one',
     post('Content-Length:\r\nContent-Length: 5', 'hello'), BAD],
    ['three lengths', post('Content-Length: 5\r\nContent-Length: 5\r\n' +
                           'Content-Length: 5', 'hello'), BAD],
    ['two lengths with a GET', fields('Content-Length: 0\r\n' +
                                      'Content-Length: 0\r\n'), BAD],
    ['a space before the colon of the length',
     post('Content-Length : 5', 'hello'), BAD],
    ['an empty length with a GET', fields('Content-Length: \r\n'), BAD],
    ['a length in HTTP/1.0 that is none',
     'POST /x HTTP/1.0\r\nContent-Length: x\r\n\r\nhello', BAD],
    ['two equal lengths', post('Content-Length: 5\r\nContent-Length: 5',
                               'hello'), BAD],
    ['two lengths', post('Content-Length: 5\r\ncontent-length: 0', 'hello'),
     BAD],
    ['a length of 2^64', post('Content-Length: 18446744073709551616'), BAD],
    ['a length of 2^64 + 5', post('Content-Length: 18446744073709551621',
                                  'hello'), BAD],
    ['a length of 30 digits', post(`Content-Length: ${'9'.repeat(30)}`), BAD],
    ['CVE-2021-40346: a length behind a name of 256 and more bytes',
     post(`Content-Length0${'a'.repeat(255)}:\r\nContent-Length: 5\r\n` +
          'Content-Length: 0', 'hello'), BAD],

    /* Transfer-Encoding */
    ['CVE-2026-40562: a length, then chunked',
     post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), BAD],
    ['chunked, then a length',
     post('Transfer-Encoding: chunked\r\nContent-Length: 5', '0\r\n\r\n'), BAD],
    ['196a7df44: an unknown coding', post('Transfer-Encoding: gzip'), CODING],
    ['identity', post('Transfer-Encoding: identity'), CODING],
    ['gzip, then chunked', post('Transfer-Encoding: gzip, chunked',
                                '0\r\n\r\n'), CODING],
    ['chunked, then gzip', post('Transfer-Encoding: chunked, gzip',
                                '0\r\n\r\n'), CODING],
    ['chunked twice in a list', post('Transfer-Encoding: chunked, chunked',
                                     '0\r\n\r\n'), CODING],
    ['chunked in two fields',
     post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
          '0\r\n\r\n'), CODING],
    ['chunked, then identity in a second field',
     post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
          '0\r\n\r\n'), CODING],
    ['CVE-2022-32213: a coding that ends in chunked',
     post('Transfer-Encoding: xchunked', '0\r\n\r\n'), CODING],
    ['a coding that starts with chunked',
     post('Transfer-Encoding: chunkedx', '0\r\n\r\n'), CODING],
    ['chunked with a parameter', post('Transfer-Encoding: chunked;a=b',
                                      '0\r\n\r\n'), CODING],
    ['chunked in quotes', post('Transfer-Encoding: "chunked"', '0\r\n\r\n'),
     CODING],
    ['chunked behind a vertical tab',
     post('Transfer-Encoding: \x0bchunked', '0\r\n\r\n'), CODING],
    ['an empty coding', post('Transfer-Encoding:', '0\r\n\r\n'), CODING],
    ['a comma behind chunked', post('Transfer-Encoding: chunked,',
                                    '0\r\n\r\n'), CODING],
    ['a comma before chunked', post('Transfer-Encoding: ,chunked',
                                    '0\r\n\r\n'), CODING],
    ['chunked in single quotes', post("Transfer-Encoding: 'chunked'",
                                      '0\r\n\r\n'), CODING],
    ['identity, chunked', post('Transfer-Encoding: identity, chunked',
                               '0\r\n\r\n'), CODING],
    ['chunked, identity', post('Transfer-Encoding: chunked, identity',
                               '0\r\n\r\n'), CODING],
    ['chunked with a space in it', post('Transfer-Encoding: chun ked',
                                        '0\r\n\r\n'), CODING],
    ['chunked and a word', post('Transfer-Encoding: chunked x',
                                '0\r\n\r\n'), CODING],
    ['chunked before NUL', post('Transfer-Encoding: chunked\x00',
                                '0\r\n\r\n'), CODING],
    ['chunked before a no-break space',
     post('Transfer-Encoding: chunked\xa0', '0\r\n\r\n'), CODING],
    ['chunked with a dotted capital',
     post('Transfer-Encoding: chun\xe2\x84\xaaed', '0\r\n\r\n'), CODING],
    ['an empty coding before chunked in a second field',
     post('Transfer-Encoding:\r\nTransfer-Encoding: chunked', '0\r\n\r\n'),
     CODING],
    ['cow, then chunked in a second field',
     post('Transfer-Encoding: cow\r\nTransfer-Encoding: chunked',
          '0\r\n\r\n'), CODING],
    ['a length and an unknown coding',
     post('Content-Length: 5\r\nTransfer-Encoding: cow', 'hello'), CODING],
    ['a length of 0 and chunked',
     post('Content-Length: 0\r\nTransfer-Encoding: chunked', '0\r\n\r\n'),
     BAD],
    ['an empty length and chunked',
     post('Content-Length:\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), BAD],
    ['a length and chunked with a GET', fields('Content-Length: 5\r\n' +
     'Transfer-Encoding: chunked\r\n'), BAD],
    ['a length and chunked with OPTIONS *',
     `OPTIONS * HTTP/1.1\r\n${HOST}Content-Length: 5\r\n` +
     'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', BAD],
    ['a length and a folded coding',
     post('Content-Length: 5\r\nTransfer-Encoding:\r\n chunked', 'hello'), BAD],
    ['a coding that NUL ends', post('Content-Length: 5\r\n' +
     'Transfer-Encoding\x00: chunked', 'hello'), BAD],
    ['a coding in quotes for a name', post('Content-Length: 5\r\n' +
     '"Transfer-Encoding": chunked', 'hello'), BAD],
    ['a coding and a length in HTTP/1.0',
     'POST /x HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n' +
     'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', CODING],
    ['an unknown coding in HTTP/1.0',
     'POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: cow\r\n\r\n', CODING],
    ['CVE-2022-32215: a folded coding',
     post('Transfer-Encoding:\r\n chunked', '0\r\n\r\n'), BAD],
    ['a space before the colon of the coding',
     post('Transfer-Encoding : chunked', '0\r\n\r\n'), BAD],
    ['a coding in HTTP/1.0', 'POST /x HTTP/1.0\r\nHost: h\r\n' +
     'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', CODING],
    ['an unknown coding with a GET', fields('Transfer-Encoding: cow\r\n'),
     CODING],
];

describe('malformed request heads', () => {
    const gateway = fixture();

    for (const [name, bytes, allowed] of CASES) {
        it(`${name}: ${allowed.join(' or ')}`,
           () => gateway.refuses(bytes + NEXT, allowed));
    }

    it('are refused as well when they come a byte at a time', async () => {
        const bytes = post('Content-Length: 5\r\nTransfer-Encoding: chunked',
                           '0\r\n\r\n');
        const wire = await gateway.open();
        await wire.sendPieces(bytes);
        assert.equal((await wire.response()).status, 400);
        assert.equal(await wire.ended(), 'fin');
    });

    it('behind a good request do not spoil its answer', async () => {
        const wire = await gateway.open();
        wire.send(fields('') + fields('A : b\r\n') + NEXT);
        assert.equal((await wire.response()).text, '/x');
        assert.equal((await wire.response()).status, 400);
        assert.equal((await wire.rest()).bytes.length, 0);
        assert.deepEqual(gateway.backend.targets, ['/x']);
    });

    it('cut off by the client reach nobody', async () => {
        for (const bytes of ['G', 'GET /cut HTTP/1.1\r\nHost: h\r\n']) {
            const wire = await gateway.open();
            wire.finish(bytes);
            await wire.ended();
        }
        await gateway.stillServes();
        assert.deepEqual(gateway.backend.targets, ['/still-serves']);
    });

    it('are counted', async () => {
        const name = 'sidgate_bad_requests_total';
        const before = (await gateway.gateway.metrics()).get(name);
        const wire = await gateway.open();
        wire.send(line('GET /x#y HTTP/1.1'));
        await wire.response();
        const now = (await gateway.gateway.metrics()).get(name);
        assert.equal(now, before + 1);
    });
});

const GOOD = [
    ['an empty line before the request', '\r\n' + fields('')],
    ['HTTP/1.0 without Host', 'GET /x HTTP/1.0\r\n\r\n'],
    ['a tab within a value', fields('A: b\tc\r\n')],
    ['no space behind the colon', fields('A:b\r\n')],
    ['white space around a value', fields('A: \t b \t \r\n')],
    ['an empty value', fields('A:\r\n')],
    ['a name of odd tokens', fields("!#$%&'*+-.^_`|~9: b\r\n")],
    ['chunked in capitals', post('TRANSFER-ENCODING: CHUNKED',
                                 '5\r\nhello\r\n0\r\n\r\n')],
    ['a length with zeros before it', post('Content-Length: 0005', 'hello')],
    ['Host with a port', 'GET /x HTTP/1.1\r\nHost: h.example:8080\r\n\r\n'],
    ['Host as an IPv6 address', 'GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n'],
];

describe('unusual but valid request heads', () => {
    const gateway = fixture();

    for (const [name, bytes] of GOOD) {
        it(name, async () => {
            const wire = await gateway.open();
            wire.send(bytes);
            assert.equal((await wire.response()).text, '/x');
            assert.equal(gateway.backend.requests.length, 1);
        });
    }
});
