/* SPDX-License-Identifier: MIT */
/* Every byte in every place of a response: it is legal there, and the client
 * gets the response, or it gets a 502 or one that is visibly cut short. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { parseBody, parseHead } from '../support/http1.mjs';
import { IS_TLS } from '../support/wire.mjs';

const AT_ONCE = 16;
/* TLS changes nothing about bytes: there, some stand for their likes. */
const BYTES = Array.from({ length: 256 }, (_, code) =>
    String.fromCharCode(code)).filter((byte) =>
    !IS_TLS || !/[b-df-yB-DF-Y2-46-8\x82-\x9f\xa1-\xfe]/.test(byte));

const among = (pattern) => (byte) => pattern.test(byte);
const none = () => false;

const TOKEN = among(/[!#$%&'*+.^_`|~0-9A-Za-z-]/);
const VALUE = among(/[\t\x20-\x7e\x80-\xff]/);
const BLANK = among(/[\t ]/);
const HEX = among(/[0-9a-fA-F]/);

const answer = (line, fields = '') =>
    `${line}\r\n${fields}Content-Length: 5\r\n\r\nhello`;
const fields = (text) => answer('HTTP/1.1 200 OK', text);
const framed = (text, body = 'hello') =>
    `HTTP/1.1 200 OK\r\n${text}\r\n\r\n${body}`;
const chunked = (body) => framed('Transfer-Encoding: chunked', body);

/* [the place, the response with a byte in it, when it is legal, when either
 * verdict is right, which bytes are left out]. */
const PLACES = [
    ['before the status line', (b) => `${b}${fields('')}`, none],
    ['the major version', (b) => answer(`HTTP/${b}.1 200 OK`), among(/1/)],
    ['the minor version', (b) => answer(`HTTP/1.${b} 200 OK`), among(/[01]/),
     among(/[2-9]/)],
    ['behind the version', (b) => answer(`HTTP/1.1${b}200 OK`), among(/ /)],
    ['a digit of the status', (b) => answer(`HTTP/1.1 2${b}6 OK`),
     among(/[1-9]/), none, among(/0/)],
    ['behind the status', (b) => answer(`HTTP/1.1 200${b}OK`), among(/ /)],
    ['within the reason', (b) => answer(`HTTP/1.1 200 O${b}K`), VALUE],
    ['behind the reason', (b) => answer(`HTTP/1.1 200 OK${b}`), VALUE],
    ['between CR and LF', (b) => answer(`HTTP/1.1 200 OK\r${b}`), none,
     none, among(/\n/)],
    ['before a name', (b) => fields(`${b}A: c\r\n`), TOKEN],
    ['within a name', (b) => fields(`A${b}B: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['behind a name', (b) => fields(`A${b}: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['before a value', (b) => fields(`A:${b}c\r\n`), VALUE],
    ['within a value', (b) => fields(`A: b${b}c\r\n`), VALUE],
    ['behind a value', (b) => fields(`A: b${b}\r\n`), VALUE],
    ['before a line of the head', (b) => fields(`A: b\r\n${b}\r\n`), none],
    ['before a length', (b) => framed(`Content-Length: ${b}5`),
     (b) => BLANK(b) || b === '0', none, among(/[1-9]/)],
    ['within a length', (b) => framed(`Content-Length: 0${b}5`),
     among(/0/), none, among(/[1-9]/)],
    ['behind a length', (b) => framed(`Content-Length: 5${b}`), among(/ /),
     among(/\t/), among(/[0-9]/)],
    ['before a coding', (b) => framed(`Transfer-Encoding: ${b}chunked`,
                                      '5\r\nhello\r\n0\r\n\r\n'), BLANK],
    ['within a coding', (b) => framed(`Transfer-Encoding: chun${b}ked`,
                                      '5\r\nhello\r\n0\r\n\r\n'), none],
    ['behind a coding', (b) => framed(`Transfer-Encoding: chunked${b}`,
                                      '5\r\nhello\r\n0\r\n\r\n'), BLANK],
    ['before a chunk size', (b) => chunked(`${b}5\r\nhello\r\n0\r\n\r\n`),
     among(/0/), none, HEX],
    ['behind a chunk size', (b) => chunked(`5${b}\r\nhello\r\n0\r\n\r\n`),
     none, among(/[; \t]/), HEX],
    ['within a chunk extension',
     (b) => chunked(`5;a${b}b\r\nhello\r\n0\r\n\r\n`),
     among(/[=0-9a-zA-Z]/), VALUE],
    ['behind a chunk', (b) => chunked(`5\r\nhello${b}\n0\r\n\r\n`),
     among(/\r/)],
    ['for LF behind a chunk', (b) => chunked(`5\r\nhello\r${b}0\r\n\r\n`),
     among(/\n/)],
    ['behind the last size', (b) => chunked(`5\r\nhello\r\n0${b}\n\r\n`),
     among(/\r/)],
    ['for the last CR', (b) => chunked(`5\r\nhello\r\n0\r\n${b}\n`),
     among(/\r/)],
    ['within a value of a trailer',
     (b) => chunked(`5\r\nhello\r\n0\r\nA: b${b}c\r\n\r\n`), VALUE],
];

/* Whole, refused, or cut: what the client can tell of all that came. */
function verdict(bytes)
{
    const head = parseHead(bytes, 'response');
    if (!head)
        return `no head in ${JSON.stringify(bytes.toString('latin1'))}`;
    if (head.status === 502)
        return 'refused';
    const rest = bytes.subarray(head.size);
    const body = parseBody(rest, head, { method: 'GET', ended: true });
    if (!body)
        return 'cut';
    if (body.text !== 'hello' || body.bodySize !== rest.length)
        return `${head.status} with ${JSON.stringify(rest.toString('latin1'))}`;
    return 'passed';
}

describe('each byte', () => {
    const gateway = fixture();
    let answers;

    async function wrong([, make, isLegal, isFree = none], byte)
    {
        const code = byte.charCodeAt(0);
        answers[code] = make(byte);
        const wire = await gateway.open();
        wire.send(`GET /${code} HTTP/1.1\r\nHost: h\r\n` +
                  'Connection: close\r\n\r\n');
        const { how, bytes } = await wire.rest();
        wire.destroy();
        let what;
        try {
            what = verdict(bytes);
        } catch (error) {
            what = String(error);
        }
        const wanted = isLegal(byte) ? /^passed$/ : /^(refused|cut)$/;
        const isRight = isFree(byte) ? /^(passed|refused|cut)$/.test(what) :
            wanted.test(what);
        return isRight ? [] : [`${JSON.stringify(byte)}: ${what} (${how})`];
    }

    for (const place of PLACES) {
        const [name, , , , skip = none] = place;
        it(name, async () => {
            answers = [];
            gateway.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.finish(answers[Number(request.target.slice(1))]);
            };
            const bad = [];
            const wanted = BYTES.filter((byte) => !skip(byte));
            for (let i = 0; i < wanted.length; i += AT_ONCE)
                bad.push(...(await Promise.all(wanted.slice(i, i + AT_ONCE)
                    .map((byte) => wrong(place, byte)))).flat());
            assert.deepEqual(bad, []);
            assert.equal(gateway.backend.requests.length, wanted.length);
            gateway.backend.reset();
            await gateway.stillServes();
        });
    }
});
