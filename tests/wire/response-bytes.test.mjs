/* SPDX-License-Identifier: MIT */
/* Every byte in every place of a response: it is legal there, and the client
 * gets the response, or it gets a 502 or one that is visibly cut short. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
    VALUE, among, chunkPlaces, fieldPlaces, lengthPlaces, none, tryPlace,
} from '../support/each-byte.mjs';
import { fixture } from '../support/fixture.mjs';
import { parseBody, parseHead } from '../support/http1.mjs';

const answer = (line, fields = '') =>
    `${line}\r\n${fields}Content-Length: 5\r\n\r\nhello`;
const fields = (text) => answer('HTTP/1.1 200 OK', text);
const framed = (text, body) =>
    `HTTP/1.1 200 OK\r\n${text}\r\n\r\n${body}`;
const chunked = (body) => framed('Transfer-Encoding: chunked', body);

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
    ...fieldPlaces(fields),
    ...lengthPlaces(framed),
    ...chunkPlaces(chunked),
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

    async function tell(text, byte)
    {
        const code = byte.charCodeAt(0);
        answers[code] = text;
        const wire = await gateway.open();
        wire.send(`GET /${code} HTTP/1.1\r\nHost: h\r\n` +
                  'Connection: close\r\n\r\n');
        const { bytes } = await wire.rest();
        wire.destroy();
        return verdict(bytes);
    }

    for (const place of PLACES) {
        it(place[0], async () => {
            answers = [];
            gateway.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.finish(answers[Number(request.target.slice(1))]);
            };
            const { tried, wrong } = await tryPlace(place, tell);
            assert.deepEqual(wrong, []);
            assert.equal(gateway.backend.requests.length, tried);
            gateway.backend.reset();
            await gateway.stillServes();
        });
    }
});
