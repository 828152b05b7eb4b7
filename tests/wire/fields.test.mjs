/* SPDX-License-Identifier: MIT */
/* What is passed on of a head, what is added, what is taken away; targets
 * byte for byte. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { SCHEME } from '../support/wire.mjs';

const request = (target, fields = '', method = 'GET') =>
    `${method} ${target} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;

/* What the backend gets of a request with these fields. */
async function sentUp(gateway, fields, head = request('/x', fields))
{
    const wire = await gateway.open();
    wire.send(head);
    assert.equal((await wire.response()).status, 200);
    return gateway.backend.requests.at(-1);
}

/* What the client gets of a response with these fields. */
async function sentDown(gateway, fields)
{
    gateway.backend.handler = (_, wire) => wire.send(
        `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${fields}\r\nok`);
    const wire = await gateway.open();
    wire.send(request('/x'));
    const response = await wire.response();
    assert.equal(response.text, 'ok');
    return response;
}

const HOP = ['Keep-Alive: timeout=5', 'Proxy-Connection: keep-alive',
             'TE: gzip', 'Trailer: X-A', 'Upgrade: h2c',
             'Proxy-Authorization: Basic eDp5'];

describe('fields of requests', () => {
    const gateway = fixture();

    it('pass unchanged, repeated and in order', async () => {
        const fields = 'X-A: 1\r\nx-b: two\r\nX-A: 3\r\nCookie: a=b; c=d\r\n' +
            'Authorization: Bearer x\r\nX-Empty:\r\nX-Tab: a\tb\r\n';
        const got = await sentUp(gateway, fields);
        assert.deepEqual(got.all('x-a'), ['1', '3']);
        assert.equal(got.get('x-b'), 'two');
        assert.equal(got.get('cookie'), 'a=b; c=d');
        assert.equal(got.get('authorization'), 'Bearer x');
        assert.equal(got.get('x-empty'), '');
        assert.equal(got.get('x-tab'), 'a\tb');
    });

    it('keep bytes of Latin-1 and UTF-8', async () => {
        const got = await sentUp(gateway, 'X-A: \xe9\xff\x80 \xc3\xa9\r\n');
        assert.equal(got.get('x-a'), '\xe9\xff\x80 \xc3\xa9');
    });

    it('Host stays what it was', async () => {
        const got = await sentUp(gateway, '',
            'GET /x HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n');
        assert.equal(got.get('host'), 'Example.com:8080');
    });

    it('lose those that are for the next hop alone', async () => {
        const got = await sentUp(gateway, `${HOP.join('\r\n')}\r\n`);
        for (const name of ['keep-alive', 'proxy-connection', 'te', 'trailer',
                            'upgrade'])
            assert.ok(!got.has(name), name);
    });

    it('lose those that Connection lists', async () => {
        const got = await sentUp(gateway, 'X-A: 1\r\nX-B: 2\r\nX-C: 3\r\n' +
            'Connection: keep-alive, x-a , ,X-B\r\n');
        assert.ok(!got.has('x-a') && !got.has('x-b'));
        assert.equal(got.get('x-c'), '3');
        assert.ok(!/x-a/i.test(got.all('connection').join()));
    });

    it('lose those that a second Connection lists', async () => {
        const got = await sentUp(gateway, 'Connection: X-A\r\nX-A: 1\r\n' +
            'Connection: X-B\r\nX-B: 2\r\n');
        assert.ok(!got.has('x-a') && !got.has('x-b'));
    });

    it('CVE-2022-31813, CVE-2024-45410: Connection strips none of those ' +
       'that carry weight', async () => {
        const wire = await gateway.open();
        wire.send('POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n' +
            'Connection: Host, Content-Length, X-Forwarded-For, ' +
            'X-Forwarded-Proto, X-Forwarded-Host, Via\r\n\r\nhello');
        assert.equal((await wire.response()).status, 200);
        const [got] = gateway.backend.requests;
        assert.equal(got.text, 'hello');
        assert.equal(got.get('host'), 'h');
        assert.equal(got.get('x-forwarded-for'), '127.0.0.1');
        assert.equal(got.get('x-forwarded-proto'), SCHEME);
        assert.equal(got.get('x-forwarded-host'), 'h');
        assert.match(got.all('via').join(), /1\.1 sidgate$/);
    });

    it('Connection cannot strip Transfer-Encoding', async () => {
        const wire = await gateway.open();
        wire.send('POST /x HTTP/1.1\r\nHost: h\r\n' +
            'Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n' +
            '\r\n5\r\nhello\r\n0\r\n\r\n');
        assert.equal((await wire.response()).text, '/x');
        assert.equal(gateway.backend.requests[0].text, 'hello');
    });

    it('say who asked, whatever the client claims', async () => {
        const got = await sentUp(gateway, 'X-Forwarded-For: 1.2.3.4\r\n' +
            'x-forwarded-for: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n' +
            'X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n' +
            'Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n');
        assert.equal(got.get('x-forwarded-for'), '127.0.0.1');
        assert.equal(got.get('x-forwarded-proto'), SCHEME);
        assert.equal(got.get('x-forwarded-host'), 'h');
        for (const name of ['forwarded', 'x-real-ip', 'x-forwarded-port'])
            assert.ok(!got.has(name), name);
    });

    /* Servers that hand fields on as variables take one for the other. */
    it('say so in no other spelling', async () => {
        const got = await sentUp(gateway, 'X_Forwarded_For: 1.2.3.4\r\n' +
            'X-Forwarded_For: 1.2.3.4\r\nX_Forwarded_Proto: evil\r\n' +
            'X_Forwarded_Host: evil\r\nX_Real_IP: 1.2.3.4\r\n');
        const text = JSON.stringify(got.headers);
        assert.ok(!/1\.2\.3\.4|evil/.test(text), text);
    });

    it('get Via behind the others', async () => {
        assert.equal((await sentUp(gateway, '')).get('via'), '1.1 sidgate');
        const got = await sentUp(gateway, 'Via: 1.0 other\r\n');
        assert.equal(got.all('via').join(', '), '1.0 other, 1.1 sidgate');
    });

    it('an upgrade to h2c goes on as a plain request', async () => {
        const got = await sentUp(gateway, 'Connection: Upgrade, ' +
            'HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n');
        assert.equal(got.target, '/x');
        assert.ok(!got.has('upgrade') && !got.has('http2-settings'));
        assert.ok(!/upgrade/i.test(got.all('connection').join()));
    });

    for (const token of ['TLS/1.0', 'websocket, h2c', 'h2c, websocket',
                         'foo', 'websocket2']) {
        it(`Upgrade: ${token} does not reach the backend`, async () => {
            const got = await sentUp(gateway,
                `Connection: Upgrade\r\nUpgrade: ${token}\r\n`);
            assert.ok(!got.has('upgrade'));
        });
    }

    it('a GET without a body gets no length', async () => {
        const got = await sentUp(gateway, '');
        assert.ok(!got.has('content-length') && !got.has('transfer-encoding'));
    });
});

describe('fields of responses', () => {
    const gateway = fixture();

    it('pass unchanged, repeated and in order', async () => {
        const got = await sentDown(gateway, 'Set-Cookie: a=b\r\n' +
            'set-cookie: c=d\r\nX-A: \xe9\r\nETag: "x"\r\nX-Empty:\r\n');
        assert.deepEqual(got.all('set-cookie'), ['a=b', 'c=d']);
        assert.equal(got.get('x-a'), '\xe9');
        assert.equal(got.get('etag'), '"x"');
        assert.equal(got.get('x-empty'), '');
    });

    it('lose those that are for this hop alone', async () => {
        const got = await sentDown(gateway, 'Keep-Alive: timeout=5\r\n' +
            'Proxy-Connection: keep-alive\r\nConnection: keep-alive, X-A\r\n' +
            'X-A: 1\r\nX-B: 2\r\nUpgrade: h2c\r\n');
        for (const name of ['keep-alive', 'proxy-connection', 'x-a', 'upgrade'])
            assert.ok(!got.has(name), name);
        assert.equal(got.get('x-b'), '2');
    });

    it('Connection cannot strip the length', async () => {
        const got = await sentDown(gateway, 'Connection: Content-Length\r\n');
        assert.equal(got.text, 'ok');
    });

    it('get a Date where there is none', async () => {
        const got = await sentDown(gateway, '');
        const age = Date.now() - Date.parse(got.get('date'));
        assert.ok(Math.abs(age) < 60000, got.get('date'));
        assert.match(got.get('date'), /^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/);
    });

    it('keep the Date that is there', async () => {
        const date = 'Tue, 15 Nov 1994 08:12:31 GMT';
        assert.equal((await sentDown(gateway, `Date: ${date}\r\n`)).get('date'),
                     date);
    });
});

const TARGETS = ['/', '/a//b', '/a/../b', '/./a', '//a', '/%2e%2e/%2F', '/%zz',
                 '/%', '/a%00b', '/a?b=c&b=c', '/a?', '/?', '/a?b?c', '/a;b=c',
                 '/a?x=http://b/', '/~!$&\'()*+,;=:@', '/a[b]{c}|^`"<>\\',
                 '/?q=%C3%A9+%20', `/${'a'.repeat(4000)}`];

describe('targets', () => {
    const gateway = fixture();

    for (const target of TARGETS) {
        it(`${target.slice(0, 30)} arrives byte for byte`, async () => {
            const wire = await gateway.open();
            wire.send(request(target));
            assert.equal((await wire.response()).text, target);
        });
    }

    for (const [form, target] of [['http://h/a?b', '/a?b'], ['http://h', '/'],
                                  ['http://h/', '/'], ['HTTP://H/x', '/x'],
                                  ['http://h//x', '//x'], ['https://h/x', '/x'],
                                  ['http://h/%2e%2e/', '/%2e%2e/']]) {
        it(`${form} becomes ${target}`, async () => {
            const wire = await gateway.open();
            wire.send(request(form));
            assert.equal((await wire.response()).text, target);
            assert.equal(gateway.backend.requests[0].get('host'), 'h');
        });
    }

    it('OPTIONS * is answered by sidgate', async () => {
        const wire = await gateway.open();
        wire.send(request('*', '', 'OPTIONS') + request('/next'));
        const response = await wire.response();
        assert.ok([200, 204].includes(response.status));
        assert.match(response.get('allow'), /GET/);
        assert.equal(response.bodySize, 0);
        assert.equal((await wire.response()).text, '/next');
        assert.deepEqual(gateway.backend.targets, ['/next']);
    });

    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        it(`${method} of another path is passed on`, async () => {
            const wire = await gateway.open();
            wire.send(request('/x', '', method));
            assert.equal((await wire.response()).text, '/x');
            assert.equal(gateway.backend.requests[0].method, method);
        });
    }
});
