/* SPDX-License-Identifier: MIT */
/* Every byte in every place of a request: it is legal there, and the request
 * arrives, or nothing of it does. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { IS_TLS } from '../support/wire.mjs';

const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
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
const REFUSED = [400, 405, 414, 431, 501, 505];

const get = (fields) => `GET /x HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const post = (fields, body) =>
    `POST /x HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked', body);

/*
 * [the place, the request with a byte in it, when it is legal, when either
 * verdict is right]. `skip` leaves out bytes that make another request of it.
 */
const PLACES = [
    ['before the method', (b) => `${b}${get('')}`, none, among(/[\r\n]/)],
    ['within the method', (b) => `G${b}T /x HTTP/1.1\r\nHost: h\r\n\r\n`,
     among(/E/)],
    ['behind the method', (b) => `GET${b} /x HTTP/1.1\r\nHost: h\r\n\r\n`,
     none],
    ['before the target', (b) => `GET ${b}/x HTTP/1.1\r\nHost: h\r\n\r\n`,
     among(/\//)],
    ['within the target', (b) => `GET /x${b}y HTTP/1.1\r\nHost: h\r\n\r\n`,
     among(/[!"$-~]/)],
    ['within the query', (b) => `GET /x?y=${b} HTTP/1.1\r\nHost: h\r\n\r\n`,
     among(/[!"$-~]/)],
    ['behind the target', (b) => `GET /x ${b}HTTP/1.1\r\nHost: h\r\n\r\n`,
     none],
    ['the major version', (b) => `GET /x HTTP/${b}.1\r\nHost: h\r\n\r\n`,
     among(/1/)],
    ['the minor version', (b) => `GET /x HTTP/1.${b}\r\nHost: h\r\n\r\n`,
     among(/1/), among(/[2-9]/), among(/0/)],
    ['behind the version', (b) => `GET /x HTTP/1.1${b}\r\nHost: h\r\n\r\n`,
     none],
    ['between CR and LF', (b) => `GET /x HTTP/1.1\r${b}\nHost: h\r\n\r\n`,
     none],
    ['before a name', (b) => get(`${b}A: c\r\n`), TOKEN],
    ['within a name', (b) => get(`A${b}B: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['behind a name', (b) => get(`A${b}: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['a name', (b) => get(`${b}: c\r\n`), TOKEN],
    ['before a value', (b) => get(`A:${b}c\r\n`), VALUE],
    ['within a value', (b) => get(`A: b${b}c\r\n`), VALUE],
    ['behind a value', (b) => get(`A: b${b}\r\n`), VALUE],
    ['before a line of the head', (b) => get(`A: b\r\n${b}\r\n`), none],
    ['within Host', (b) => `GET /x HTTP/1.1\r\nHost: h${b}i\r\n\r\n`,
     among(/[0-9A-Za-z._~-]/), among(/[!$&'()*+,;=]/)],
    ['before a length', (b) => post(`Content-Length: ${b}5`, 'hello'),
     (b) => BLANK(b) || b === '0', none, among(/[1-9]/)],
    ['within a length', (b) => post(`Content-Length: 0${b}5`, 'hello'),
     among(/0/), none, among(/[1-9]/)],
    ['behind a length', (b) => post(`Content-Length: 5${b}`, 'hello'),
     among(/ /), among(/\t/), among(/[0-9]/)],
    ['before a coding', (b) => post(`Transfer-Encoding: ${b}chunked`,
                                    '5\r\nhello\r\n0\r\n\r\n'), BLANK],
    ['within a coding', (b) => post(`Transfer-Encoding: chun${b}ked`,
                                    '5\r\nhello\r\n0\r\n\r\n'), none],
    ['behind a coding', (b) => post(`Transfer-Encoding: chunked${b}`,
                                    '5\r\nhello\r\n0\r\n\r\n'), BLANK],
    ['before a chunk size', (b) => chunked(`${b}5\r\nhello\r\n0\r\n\r\n`),
     among(/0/), none, HEX],
    ['behind a chunk size', (b) => chunked(`5${b}\r\nhello\r\n0\r\n\r\n`),
     none, among(/[; \t]/), HEX],
    ['a chunk size', (b) => chunked(`${b}\r\nhello\r\n0\r\n\r\n`),
     among(/5/), none, none],
    ['within a chunk extension',
     (b) => chunked(`5;a${b}b\r\nhello\r\n0\r\n\r\n`),
     among(/[=0-9a-zA-Z]/), VALUE],
    ['within a quoted chunk extension',
     (b) => chunked(`5;a="b${b}c"\r\nhello\r\n0\r\n\r\n`),
     among(/[\x20!#-[\]-~]/), VALUE],
    ['behind a chunk', (b) => chunked(`5\r\nhello${b}\n0\r\n\r\n`),
     among(/\r/)],
    ['for LF behind a chunk', (b) => chunked(`5\r\nhello\r${b}0\r\n\r\n`),
     among(/\n/)],
    ['behind the last size', (b) => chunked(`5\r\nhello\r\n0${b}\n\r\n`),
     among(/\r/), none, none],
    ['for the last CR', (b) => chunked(`5\r\nhello\r\n0\r\n${b}\n`),
     among(/\r/)],
    ['within a name of a trailer',
     (b) => chunked(`5\r\nhello\r\n0\r\nA${b}B: c\r\n\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['within a value of a trailer',
     (b) => chunked(`5\r\nhello\r\n0\r\nA: b${b}c\r\n\r\n`), VALUE],
];

const shown = (byte) => JSON.stringify(byte);

describe('each byte', () => {
    const gateway = fixture();

    /* What happened: 'passed', 'refused', or what went wrong. */
    async function verdict(bytes)
    {
        const wire = await gateway.open();
        wire.send(bytes + NEXT);
        const response = await wire.response();
        if (response.status === 200) {
            const next = await wire.response();
            return next.text === '/smuggled' ? 'passed' :
                `the next answer is ${next.status}`;
        }
        if (!REFUSED.includes(response.status))
            return `status ${response.status}`;
        const { how, bytes: more } = await wire.rest();
        wire.destroy();
        if (how !== 'fin' || more.length > 0)
            return `${how}, ${more.length} bytes behind ${response.status}`;
        return 'refused';
    }

    async function wrong([, make, isLegal, isFree = none], byte)
    {
        const what = await verdict(make(byte)).catch(String);
        const wanted = isLegal(byte) ? 'passed' : 'refused';
        const isRight = isFree(byte) ? /^(passed|refused)$/.test(what) :
            what === wanted;
        return { what, bad: isRight ? [] : [`${shown(byte)}: ${what}`] };
    }

    for (const place of PLACES) {
        const [name, , , , skip = none] = place;
        it(name, async () => {
            const bad = [];
            let passed = 0;
            const wanted = BYTES.filter((byte) => !skip(byte));
            for (let i = 0; i < wanted.length; i += AT_ONCE) {
                const all = await Promise.all(wanted.slice(i, i + AT_ONCE)
                    .map((byte) => wrong(place, byte)));
                bad.push(...all.flatMap((one) => one.bad));
                passed += all.filter((one) => one.what === 'passed').length;
            }
            assert.deepEqual(bad, []);
            const { targets } = gateway.backend;
            /* As many as were answered, each followed by its next one. */
            assert.equal(targets.length, 2 * passed);
            assert.equal(targets.filter((one) => one === '/smuggled').length,
                         passed);
        });
    }
});
