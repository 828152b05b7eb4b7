/* SPDX-License-Identifier: MIT */
/* What limits move: each its own series, and no other limit's. */

import assert from 'node:assert/strict';

import { handshakeRequest } from '../engine.mjs';
import { BINARY, frameHead } from '../frames.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const POST = 'POST /x HTTP/1.1\r\nHost: h\r\n';
const MUCH = 60_000_000;

const limit = (name, by = 1) => ({ [`limited_total{limit="${name}"}`]: by });

/* A row that ends with an answer of this status to these bytes. */
function refused(name, status, args, bytes, more = {})
{
    const { moves, ...rest } = more;
    return {
        name: `${name}: ${status}`,
        needs: { plain: true, args },
        moves: { ...limit(name), ...moves },
        cause: async (world) => assert.equal(
            (await world.ask(bytes)).status, status),
        ...rest,
    };
}

const SIZES = { plain: true, args: [
    '--max-body', '100000', '--allowed-origin', 'https://page.example'] };

/* A gateway at which nothing else is over as soon. */
const short = (option, ...more) =>
    ({ plain: true, args: [option, '600ms', ...more] });

/* Those that all can be met at one gateway. */
const atOne = [
    refused('request_line', 414, [],
            `GET /${'a'.repeat(9000)} HTTP/1.1\r\n\r\n`,
            { moves: { bad_requests_total: 1 } }),
    refused('head', 431, [],
            `GET /x HTTP/1.1\r\nHost: h\r\nA: ${'a'.repeat(17000)}\r\n\r\n`),
    refused('body', 413, [], `${POST}Content-Length: 100001\r\n\r\n`),
    refused('origin', 403, [], handshakeRequest().replace('\r\n\r\n',
        '\r\nOrigin: https://evil.example\r\n\r\n')),
].map((row) => ({ ...row, needs: SIZES }));

const times = [
    refused('head_timeout', 408, [], 'GET /x HTTP/1.1\r\nHo',
            { needs: short('--head-timeout') }),
    refused('body_timeout', 408, [], `${POST}Content-Length: 9\r\n\r\nhel`,
            { needs: short('--body-timeout', '--min-body-rate', '0') }),
    refused('response_timeout', 504, [], GET, {
        needs: short('--response-timeout'),
        prepare: (world) => (world.backend.handler = () => {}),
    }),
    {
        name: 'idle_timeout', moves: limit('idle_timeout'),
        needs: short('--keepalive-timeout'),
        cause: async (world) => (await world.open()).ended(),
    }, {
        name: 'write_timeout', moves: limit('write_timeout'),
        needs: short('--write-timeout'),
        cause: async (world) => {
            world.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.send('HTTP/1.1 200 OK\r\n' +
                          `Content-Length: ${MUCH}\r\n\r\n`);
                wire.send(Buffer.alloc(MUCH));
            };
            (await world.open({ paused: true })).send(GET);
        },
    },
];

/* Long enough that some of it comes: none would be another limit. */
const DRIP = { plain: true, args: ['--min-body-rate', '10000',
                                   '--body-timeout', '4s'] };
const STREAMS = { plain: true, args: ['--max-streamed-bodies', '1'] };
const FULL = { args: ['--max-sessions-per-backend', '1', '--queue-timeout',
                      '200ms'] };

export const limits = [
    ...atOne,
    ...times,
    {
        name: 'max_connections',
        needs: { plain: true, args: ['--max-connections', '1'] },
        moves: limit('max_connections'),
        prepare: (world) => world.ask(GET),
        cause: async (world) => assert.equal(
            (await (await world.open()).response()).status, 503),
    }, {
        name: 'connections_per_address',
        needs: { plain: true, args: ['--max-connections-per-address', '1'] },
        moves: limit('connections_per_address'),
        prepare: (world) => world.ask(GET),
        cause: async (world) => assert.equal(
            (await (await world.open()).response()).status, 429),
    }, {
        name: 'sessions_per_address',
        needs: { args: ['--max-sessions-per-address', '1'] },
        moves: { ...limit('sessions_per_address'), handshakes_total: 0 },
        prepare: (world) => world.session(),
        cause: async (world) => assert.equal(
            (await world.ask(handshakeRequest())).status, 429),
    }, {
        name: 'handshake_rate',
        needs: { args: ['--handshake-rate-per-address', '1'] },
        moves: limit('handshake_rate'),
        prepare: async (world) => {
            for (let i = 0; i < 10; i++)
                await world.session();
        },
        /* After some seconds there is room for some more. */
        cause: async (world) => {
            let status;
            for (let i = 0; i < 10 && status !== 429; i++)
                ({ status } = await world.ask(handshakeRequest()));
            assert.equal(status, 429);
        },
    }, {
        name: 'requests_per_connection',
        needs: { plain: true, args: ['--max-requests-per-connection', '1'] },
        moves: limit('requests_per_connection'),
        cause: (world) => world.ask(GET),
    }, {
        name: 'sessions_per_backend', needs: FULL,
        moves: { ...limit('sessions_per_backend'), handshakes_queued_total: 1,
                 handshakes_total: 1 },
        prepare: (world) => world.session(),
        cause: async (world) => assert.equal(
            (await world.ask(handshakeRequest())).status, 503),
    }, {
        name: 'streamed_bodies', needs: STREAMS,
        moves: limit('streamed_bodies'),
        cause: async (world) => {
            world.backend.early = (request, wire) => (wire.taken = true);
            const start = `${POST}Content-Length: 200000\r\n\r\n` +
                'x'.repeat(100000);
            (await world.open()).send(start);
            await world.backend.request(0);
            assert.equal((await world.ask(start)).status, 503);
        },
    }, {
        name: 'body_rate', needs: DRIP,
        moves: limit('body_rate'),
        cause: async (world) => {
            const wire = await world.open();
            wire.send(`${POST}Content-Length: 60000\r\n\r\n`);
            const drip = setInterval(() => wire.send('abc'), 40);
            try {
                assert.equal((await wire.response()).status, 408);
            } finally {
                clearInterval(drip);
            }
        },
    }, {
        name: 'tcp_timeout',
        needs: { args: ['--tcp-user-timeout', '500ms'] },
        moves: limit('tcp_timeout'),
        cause: async (world) => {
            const { client, upstream } = await world.websocket();
            client.socket.pause();
            upstream.send(frameHead(BINARY, MUCH));
            upstream.send(Buffer.alloc(MUCH));
        },
    },
];
