/* SPDX-License-Identifier: MIT */
/* Every byte in every place of a request: it is legal there, and the request
 * arrives, or nothing of it does. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
    among, chunkPlaces, fieldPlaces, lengthPlaces, none, tryPlace,
} from '../support/each-byte.mjs';
import { fixture } from '../support/fixture.mjs';

const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
const REFUSED = [400, 405, 414, 431, 501, 505];

const get = (fields) => `GET /x HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const post = (fields, body) =>
    `POST /x HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked', body);

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
    ...fieldPlaces(get),
    ['within Host', (b) => `GET /x HTTP/1.1\r\nHost: h${b}i\r\n\r\n`,
     among(/[0-9A-Za-z._~-]/), among(/[!$&'()*+,;=]/)],
    ...lengthPlaces(post),
    ...chunkPlaces(chunked),
];

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

    for (const place of PLACES) {
        it(place[0], async () => {
            const { passed, wrong } = await tryPlace(place, verdict);
            assert.deepEqual(wrong, []);
            const { targets } = gateway.backend;
            /* As many as were answered, each followed by its next one. */
            assert.equal(targets.length, 2 * passed);
            assert.equal(targets.filter((one) => one === '/smuggled').length,
                         passed);
        });
    }
});
