/* SPDX-License-Identifier: MIT */
/* The access log: the ends of sessions, samples, ids of requests. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { logged, steady } from '../support/access-log.mjs';
import { ok } from '../support/backend.mjs';
import { bytesFor, poll, pollBytes, session, tunnel }
    from '../support/configured.mjs';
import { UNKNOWN_SID } from '../support/engine.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const END = { event: 'session_end' };
const sums = (lines, key) => lines.reduce((sum, one) => sum + one[key], 0);

/* That it is the end of the session whose requests were logged, each of them
 * in its sums. */
async function endsAs({ lines, line }, what)
{
    const end = await line(END);
    await line({ event: 'request', session: end.session, kind: what.kind });
    const { kind, ...more } = what;
    const ofSession = () => lines().filter((one) =>
        one.event === 'request' && one.session === end.session);
    /* A worker writes its line after its answer, the others know of that. */
    await eventually(() => ofSession().length >= end.requests, 'all lines',
                     10_000);
    const all = lines();
    const own = ofSession();
    const { created, duration_s: lived, gateway, ...rest } = steady(end);
    assert.deepEqual(rest, {
        ...END, session: end.session, sid: own[0].sid, backend: 'n1',
        client: '127.0.0.1', eio: 4, transport: 'polling',
        requests: own.length, bytes_in: sums(own, 'bytes_in'),
        bytes_out: sums(own, 'bytes_out'), ...more,
    });
    assert.ok(Date.parse(created) <= Date.parse(end.time));
    assert.equal(lived, (Date.parse(end.time) - Date.parse(created)) / 1000);
    assert.match(gateway, /^[\w.-]+$/);
    assert.equal(all.filter((one) => one.event === END.event).length, 1);
    return own;
}

async function post(gateway, sid, body)
{
    const bytes = pollBytes(sid, { method: 'POST', body });
    return exchange(gateway.port, bytes, 'POST');
}

describe('the end of a session', () => {
    test('by its client\'s close packet', async (t) => {
        const log = await logged(t);
        const { sid } = await session(log.gateway);
        await poll(log.gateway, sid);
        await post(log.gateway, sid, '4hello');
        await post(log.gateway, sid, '1');
        const own = await endsAs(log, { cause: 'client', kind: 'post' });
        assert.equal(own.length, 4);
    });

    test('by its backend\'s close packet', async (t) => {
        const log = await logged(t);
        const { sid } = await session(log.gateway);
        log.node.onPoll = (request, wire) => wire.send(ok('1'));
        await poll(log.gateway, sid);
        await endsAs(log, { cause: 'backend', kind: 'poll' });
    });

    test('that its backend does not know', async (t) => {
        const log = await logged(t, { recovery: 'off' });
        const { sid } = await session(log.gateway);
        log.node.onPoll = (request, wire) => wire.send(UNKNOWN_SID);
        await poll(log.gateway, sid);
        await endsAs(log, { cause: 'denied', kind: 'poll' });
    });

    test('whose backend is dead', async (t) => {
        const log = await logged(t);
        const { sid } = await session(log.gateway);
        await log.node.stop();
        await poll(log.gateway, sid);
        /* What the client is told comes after the end. */
        const { bytes_out: before } = await log.line({ kind: 'handshake' });
        await endsAs(log, { cause: 'unreachable', kind: 'poll',
                            bytes_out: before });
    });

    test('on a websocket, with its bytes', async (t) => {
        const log = await logged(t);
        const { client, upstream } = await tunnel(log.gateway, [log.node]);
        const before = client.total;
        const up = frame(TEXT, 'x'.repeat(1000), { mask: true });
        const down = frame(TEXT, 'y'.repeat(5000));
        client.send(up);
        await upstream.bytes(up.length);
        upstream.send(down);
        await client.bytes(down.length);
        upstream.finish();
        await client.ended();
        client.finish();
        const end = await log.line(END);
        assert.equal(end.cause, 'backend');
        assert.equal(end.transport, 'websocket');
        assert.equal(end.bytes_in, up.length);
        const opened = await log.line({ status: 101 });
        assert.equal(end.bytes_out, client.total - opened.bytes_out);
        assert.ok(before > 0);
    });

    test('with the gateway', async (t) => {
        const log = await logged(t, { shutdown_timeout: '200ms' });
        const { sid } = await session(log.gateway);
        log.node.onPoll = () => undefined;
        const wire = await log.gateway.open();
        wire.send(pollBytes(sid));
        await log.node.request(1);
        await log.gateway.stop('SIGTERM');
        const [end] = log.lines().filter((one) => one.event === END.event);
        assert.equal(end.cause, 'shutdown');
        const held = log.lines().find((one) => one.kind === 'poll');
        assert.equal(held.own, true);
        assert.equal(held.status, 200);
    });
});

describe('samples', () => {
    test('leave out requests, but neither errors nor ends', async (t) => {
        const log = await logged(t, { access_log_sample: 1_000_000,
                                      recovery: 'off' });
        const { gateway, node } = log;
        const { sid } = await session(gateway);
        for (let i = 0; i < 20; i++)
            await poll(gateway, sid);
        node.handler = (request, wire) => wire.send(
            'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n');
        await exchange(gateway.port, bytesFor('/error'));
        node.handler = node.fallback;
        await post(gateway, sid, '1');
        const end = await log.line(END);
        assert.equal(end.requests, 22);
        const error = await log.line({ path: '/error' });
        assert.equal(error.status, 500);
        assert.equal(log.lines().length, 2);
    });

    test('are about one in as many as they say', async (t) => {
        const log = await logged(t, { access_log_sample: 4 });
        const wire = await log.gateway.open();
        for (let i = 0; i < 400; i++) {
            wire.send(bytesFor(`/${i}`));
            await wire.response();
        }
        await log.gateway.stop();
        const count = log.lines().length;
        assert.ok(count > 50 && count < 170, `${count} of 400`);
    });
});

const ID = 'X-Request-Id';
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const fresh = /^[0-9a-f]{32}$/;

/* [name, fields, what the backend gets] */
const IDS = [
    ['none', '', fresh],
    ['a good one', `${ID}: abc-1\r\n`, /^abc-1$/],
    ['the longest', `x-request-id: ${'i'.repeat(128)}\r\n`, /^i{128}$/],
    ['one that is too long', `${ID}: ${'i'.repeat(129)}\r\n`, fresh],
    ['an empty one', `${ID}:\r\n`, fresh],
    ['two', `${ID}: a\r\n${ID}: b\r\n`, fresh],
    ['one with a quote', `${ID}: a"b\r\n`, fresh],
    ['one with a space', `${ID}: a b\r\n`, fresh],
    ['one with other bytes', `${ID}: \xe4\r\n`, fresh],
    ['one for this hop alone', `${ID}: a\r\nConnection: ${ID}\r\n`, fresh],
];

describe('the id of a request', () => {
    test('is the client\'s or a new one, for the backend too', async (t) => {
        const { node, gateway, line } = await logged(t);
        for (const [i, [name, fields, wanted]] of IDS.entries()) {
            await exchange(gateway.port, bytesFor(`/${i}`, { fields }));
            const one = await line({ path: `/${i}` });
            assert.match(one.request_id, wanted, name);
            assert.deepEqual(node.requests[i].all('x-request-id'),
                             [one.request_id], name);
        }
    });

    test('is not touched without an access log', async (t) => {
        const { node, gateway } = await logged(t, { access_log: '' });
        for (const [i, [name, fields]] of IDS.entries()) {
            await exchange(gateway.port, bytesFor(`/${i}`, { fields }));
            const sent = fields.includes('Connection') ? [] :
                [...fields.matchAll(/^x-request-id: *(.*?)\r$/gim)]
                    .map((match) => match[1]);
            assert.deepEqual(node.requests[i].all('x-request-id'), sent, name);
        }
    });
});

describe('trace context', () => {
    test('is passed on as it is, and logged where it is valid', async (t) => {
        const { node, gateway, line } = await logged(t);
        const cases = [[TRACE, TRACE], ['nonsense', undefined],
                       [`${TRACE}-x`, undefined],
                       [`cc${TRACE.slice(2)}-more`, `cc${TRACE.slice(2)}`]];
        for (const [i, [sent, shown]] of cases.entries()) {
            await exchange(gateway.port, bytesFor(`/${i}`, { fields:
                `traceparent: ${sent}\r\ntracestate: a=1,b=2\r\n` }));
            const one = await line({ path: `/${i}` });
            assert.equal(one.traceparent, shown);
            assert.equal(node.requests[i].get('traceparent'), sent);
            assert.equal(node.requests[i].get('tracestate'), 'a=1,b=2');
        }
    });
});
