/* SPDX-License-Identifier: MIT */
/* The access log: what is said of each request. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { logged, steady } from '../support/access-log.mjs';
import { startBackend } from '../support/backend.mjs';
import { bytesFor, poll, pollBytes, session, spec, tunnel }
    from '../support/configured.mjs';
import { upgradeRequest } from '../support/engine.mjs';
import { connect, eventually, exchange, IS_TLS } from '../support/wire.mjs';

const HEX_ID = /^[0-9a-f]{16}$/;
const COMMON = { event: 'request', client: '127.0.0.1', tls: IS_TLS,
                 protocol: 'HTTP/1.1', host: 'h' };

async function send(at, bytes, method = 'GET')
{
    const wire = await connect(at.port);
    try {
        wire.send(bytes);
        const answer = await wire.response(method);
        return Object.assign(answer, { length: wire.total });
    } finally {
        wire.destroy();
    }
}

const agent = (id) => `User-Agent: ${id}\r\n`;

describe('the line of a request', () => {
    test('of each kind', async (t) => {
        const { node, gateway, line } = await logged(t);
        const { sid } = await session(gateway, { fields: agent('shake') });
        const shaken = await line({ user_agent: 'shake' });
        const own = { session: shaken.session, sid: `${sid.slice(0, 4)}...`,
                      eio: 4, transport: 'polling', backend: 'n1' };
        assert.match(shaken.session, HEX_ID);
        assert.match(shaken.request_id, /^[0-9a-f]{32}$/);
        assert.deepEqual(steady(shaken), {
            ...COMMON, ...own, method: 'GET', path: '/socket.io/',
            kind: 'handshake', status: 200, route: 'new',
            bytes_in: shaken.bytes_in, bytes_out: shaken.bytes_out,
            request_id: shaken.request_id, user_agent: 'shake',
        });

        const get = pollBytes(sid, { fields: agent('poll') });
        const polled = await send(gateway, get);
        const { request_id: id, ...more } =
            steady(await line({ user_agent: 'poll' }));
        assert.deepEqual(more, {
            ...COMMON, ...own, method: 'GET', path: '/socket.io/',
            kind: 'poll', status: 200, route: 'store',
            bytes_in: get.length, bytes_out: polled.length,
            user_agent: 'poll',
        });
        assert.notEqual(id, shaken.request_id);

        const post = pollBytes(sid, { method: 'POST', body: '4hello',
                                      fields: agent('post') });
        await send(gateway, post);
        const posted = await line({ kind: 'post' });
        assert.equal(posted.bytes_in, post.length);
        assert.equal(posted.method, 'POST');
        assert.equal(posted.session, shaken.session);

        await send(gateway, bytesFor('/page?secret=1',
                                     { fields: agent('page') }));
        const page = await line({ user_agent: 'page' });
        assert.equal(page.kind, 'other');
        assert.equal(page.path, '/page');
        assert.equal(page.route, 'any');
        for (const key of ['session', 'sid', 'eio', 'transport'])
            assert.ok(!(key in page), key);
        assert.equal(node.targets.length, 4);
    });

    test('of websockets', async (t) => {
        const { node, gateway, line } = await logged(t);
        const { client } = await tunnel(gateway, [node]);
        const first = await line({ status: 101 });
        assert.equal(first.kind, 'handshake');
        assert.equal(first.transport, 'websocket');
        assert.ok(!('end' in first) && !('own' in first));
        client.destroy();

        const { sid } = await session(gateway);
        node.onPoll = (request, wire) => wire.send(
            'HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno');
        const target = `/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
        await send(gateway, upgradeRequest(target));
        const refused = await line({ kind: 'upgrade' });
        assert.equal(refused.status, 400);
        assert.equal(refused.transport, 'websocket');
        assert.equal(refused.sid, `${sid.slice(0, 4)}...`);
        assert.ok(!('own' in refused));
    });

    test('counts bytes as they came and went', async (t) => {
        const { node, gateway, line } = await logged(t);
        const big = 'x'.repeat(300_000);
        node.handler = (request, wire) => wire.send(
            'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
            `${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`);
        const bytes = 'PUT /chunks HTTP/1.1\r\nHost: h\r\n' +
            'Transfer-Encoding: chunked\r\n\r\n' +
            `5;a=b\r\nhello\r\n${big.length.toString(16)}\r\n${big}\r\n` +
            '0\r\nTrailer: x\r\n\r\n';
        const answer = await send(gateway, bytes, 'PUT');
        const one = await line({ path: '/chunks' });
        assert.equal(one.bytes_in, bytes.length);
        assert.equal(one.bytes_out, answer.length);
    });

    test('says whether its client spoke TLS, which adds no bytes', async (t) => {
        const { gateway, line } = await logged(t, {},
            { listen: ['127.0.0.1:0,tls', '127.0.0.1:0,redirect'] });
        const bytes = bytesFor('/tls');
        const wire = await connect(gateway.port, { secure: true });
        wire.send(bytes);
        await wire.response();
        const one = await line({ path: '/tls' });
        assert.equal(one.tls, true);
        assert.equal(one.bytes_in, bytes.length);
        assert.equal(one.bytes_out, wire.total);
        wire.destroy();
        await exchange(gateway.ports[1], bytes, 'GET', { secure: false });
        const { status, path, own, tls } = await line({ status: 308 });
        assert.deepEqual({ status, path, own, tls },
                         { status: 308, path: '/tls', own: true, tls: false });
    });

    test('is one for each of those that are pipelined', async (t) => {
        const { gateway, lines, line } = await logged(t);
        const wire = await gateway.open();
        const posts = Array.from({ length: 20 }, (_, i) => bytesFor(`/p${i}`,
            { method: 'POST', body: 'b'.repeat(i * 10) }));
        wire.send(posts.join(''));
        for (let i = 0; i < 20; i++)
            assert.equal((await wire.response()).status, 200);
        await line({ path: '/p19' });
        const all = lines();
        assert.deepEqual(all.map((one) => one.path),
                         posts.map((_, i) => `/p${i}`));
        assert.deepEqual(all.map((one) => one.bytes_in),
                         posts.map((post) => post.length));
        assert.equal(all.reduce((sum, one) => sum + one.bytes_out, 0),
                     wire.total);
        assert.equal(new Set(all.map((one) => one.request_id)).size, 20);
    });

    test('names the client that a trusted proxy names', async (t) => {
        const { gateway, line } = await logged(t,
            { trusted_proxy: ['127.0.0.1'] });
        await send(gateway, bytesFor('/x',
            { fields: 'X-Forwarded-For: 2001:db8::7\r\n' }));
        assert.equal((await line({ path: '/x' })).client, '2001:db8::7');
    });

    test('is text, too', async (t) => {
        const { gateway, file } = await logged(t,
            { access_log_format: 'text' });
        await send(gateway, bytesFor('/a%20b', { fields: agent('a b=c"d') }));
        await eventually(() => readFileSync(file).length > 0, 'a line');
        assert.match(readFileSync(file, 'latin1'), new RegExp(
            '^time=\\S+Z event=request client=127\\.0\\.0\\.1 method=GET ' +
            'path=/a%20b kind=other status=200 backend=n1 route=any ' +
            'bytes_in=\\d+ bytes_out=\\d+ duration_ms=\\d+\\.\\d{3} ' +
            'first_byte_ms=\\d+\\.\\d{3} worker=[01] tls=(true|false) ' +
            'protocol=HTTP/1\\.1 request_id=[0-9a-f]{32} host=h ' +
            'user_agent="a b=c\\\\"d"\\n$'));
    });
});

const LONG = 'x'.repeat(70_000);

/* [name, bytes, what its line says] */
const REFUSED = [
    ['an unknown sid', pollBytes('n1.unknown-sid'),
     { status: 400, kind: 'poll', sid: 'n1.u...', transport: 'polling' }],
    ['two sids', bytesFor('/socket.io/?EIO=4&transport=polling&sid=a&sid=b'),
     { status: 400, kind: 'other', path: '/socket.io/' }],
    ['a body that is too long', bytesFor('/long',
        { method: 'POST', body: 'x'.repeat(2000) }),
     { status: 413, path: '/long', method: 'POST' }],
    ['a head that is too long', bytesFor('/', { fields: `A: ${LONG}\r\n` }),
     { status: 431 }],
    ['a target that is too long', bytesFor(`/${LONG}`), { status: 414 }],
    ['no request', 'what is this\r\n\r\n', { status: 400 }],
    ['a method that is not allowed', 'TRACE / HTTP/1.1\r\nHost: h\r\n\r\n',
     { status: 405 }],
    ['a host that is nobody\'s', bytesFor('/', { host: 'else' }),
     { status: 404, host: 'else', method: 'GET' }],
    ['a page of another origin', bytesFor('/socket.io/?EIO=4',
        { fields: 'Origin: http://evil\r\n' }),
     { status: 403, kind: 'handshake' }],
    ['broken chunks', 'POST /chunks HTTP/1.1\r\nHost: h\r\n' +
     'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
     { status: 400, path: '/chunks', method: 'POST' }],
];

describe('an answer of sidgate\'s own', () => {
    for (const [name, bytes, what] of REFUSED) {
        test(`to ${name}`, async (t) => {
            const { gateway, lines, line } = await logged(t, {
                max_body: 1000, host: ['h'], allowed_origin: ['http://good'] });
            const answer = await send(gateway, bytes);
            assert.equal(answer.status, what.status);
            const one = await line({ own: true });
            assert.deepEqual({ ...one, ...what }, one);
            assert.equal(one.bytes_out, answer.length);
            assert.equal(one.route, 'none');
            assert.ok(!('backend' in one) && !('end' in one));
            assert.equal(lines().length, 1);
        });
    }

    test('of a backend that is not there, or answers nonsense', async (t) => {
        const bad = await startBackend({ id: 'bad', handler: (request, wire) =>
            wire.send('nonsense\r\n\r\n') });
        t.after(() => bad.stop());
        const { node, gateway, line, config } = await logged(t);
        await node.stop();
        await send(gateway, bytesFor('/gone'));
        const gone = await line({ path: '/gone' });
        assert.equal(gone.status, 503);
        assert.equal(gone.own, true);
        await gateway.reload({ ...config, backend: [spec(bad)] });
        await send(gateway, bytesFor('/bad'));
        const { status, backend, own } = await line({ path: '/bad' });
        assert.deepEqual({ status, backend, own },
                         { status: 502, backend: 'bad', own: true });
    });

    test('to a head that does not come to its end', async (t) => {
        const { gateway, line } = await logged(t, { head_timeout: '100ms' });
        const wire = await gateway.open();
        wire.send('GET / HT');
        assert.equal((await wire.response()).status, 408);
        const one = await line({ status: 408 });
        assert.ok(!('method' in one) && !('bytes_in' in one));
    });

    test('to one that asks too often', async (t) => {
        const { gateway, line } = await logged(t,
            { max_sessions_per_address: 1 });
        await session(gateway);
        await send(gateway, bytesFor('/socket.io/?EIO=4&transport=polling'));
        const one = await line({ status: 429 });
        assert.equal(one.kind, 'handshake');
        assert.ok(!('session' in one));
    });
});

describe('what does not end as it should', () => {
    test('is aborted by its client', async (t) => {
        const { node, gateway, line } = await logged(t);
        const { sid } = await session(gateway);
        node.onPoll = () => undefined;
        const wire = await connect(gateway.port);
        wire.send(pollBytes(sid));
        await node.request(1);
        wire.reset();
        const held = await line({ end: 'aborted' });
        assert.equal(held.kind, 'poll');
        assert.equal(held.status, 0);
        assert.equal(held.bytes_out, 0);
        assert.equal(held.sid, `${sid.slice(0, 4)}...`);
        assert.ok(!('first_byte_ms' in held));

        const half = await connect(gateway.port);
        half.finish('POST /half HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n' +
                    '\r\nabc');
        const cut = await line({ path: '/half' });
        assert.equal(cut.end, 'aborted');
        half.destroy();
    });

    test('is cut by its backend', async (t) => {
        const { node, gateway, line } = await logged(t);
        node.handler = (request, wire) => {
            wire.taken = true;
            wire.finish('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
        };
        const wire = await gateway.open();
        wire.send(bytesFor('/cut'));
        await wire.rest();
        const one = await line({ path: '/cut' });
        assert.equal(one.end, 'cut');
        assert.equal(one.status, 200);
        assert.equal(one.bytes_out, wire.total);
    });
});

describe('hostile values', () => {
    const EVIL = ['a"},{"event":"forged', 'a\\', '\x9b2J\x80', '\xff\xfe',
                  'tab\there', '%0a%0d', 'x=y z', '{"a":1}',
                  '\xe2\x80\xa8line'];

    test('forge no line and stay what they were', async (t) => {
        const { gateway, line, lines } = await logged(t);
        for (const [i, evil] of EVIL.entries()) {
            const bytes = bytesFor(`/${i}`, { fields:
                `User-Agent: ${evil}\r\nX-Request-Id: ${evil}\r\n` +
                `traceparent: ${evil}\r\n` });
            assert.equal((await send(gateway, bytes)).status, 200);
            const one = await line({ path: `/${i}` });
            assert.equal(one.user_agent, evil);
            assert.ok(!('traceparent' in one));
        }
        assert.equal(lines().length, EVIL.length);
        assert.ok(lines().every((one) => one.event === 'request'));
    });

    test('are cut', async (t) => {
        const { gateway, line } = await logged(t);
        await send(gateway, bytesFor(`/${'p'.repeat(400)}?q`,
                                     { fields: agent('u'.repeat(400)) }));
        const one = await line({ status: 200 });
        assert.equal(one.path, `/${'p'.repeat(255)}...`);
        assert.equal(one.user_agent, `${'u'.repeat(128)}...`);
    });
});

describe('no line', () => {
    test('has a sid', async (t) => {
        const { node, gateway, line, file } = await logged(t);
        const { sid } = await session(gateway);
        await poll(gateway, sid);
        await send(gateway, pollBytes(sid, { method: 'POST', body: '1' }),
                   'POST');
        await line({ event: 'session_end' });
        const other = await tunnel(gateway, [node]);
        other.client.finish();
        other.upstream.finish();
        await line({ event: 'session_end', transport: 'websocket' });
        const text = readFileSync(file, 'latin1') + gateway.stderr();
        for (const one of [sid, other.sid])
            assert.ok(!text.includes(one.slice(0, 5)));
    });
});
