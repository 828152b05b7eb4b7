/* SPDX-License-Identifier: MIT */
/* Which pages may open sessions, what pages can read of sidgate's own answers,
 * health for balancers, and the way to https. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { handshakeRequest, sidRequest, switching, upgradeRequest }
    from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const FORBIDDEN = '{"code":4,"message":"Forbidden"}';
const TARGET = '/socket.io/?EIO=4&transport=websocket';
const get = (target, fields = '', method = 'GET') =>
    `${method} ${target} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;

const ALLOWED = ['https://a.example', 'https://A.EXAMPLE',
                 'https://a.example:443', 'http://localhost:3000',
                 'https://x.b.example', 'https://x.y.b.example'];
const REFUSED = ['https://evil.example', 'http://a.example',
                 'https://a.example:444', 'https://a.example.evil',
                 'https://evil-a.example', 'https://sub.a.example',
                 'https://b.example', 'https://xb.example',
                 'https://x.b.example.evil', 'https://b.example@evil.example',
                 'http://localhost', 'http://localhost:30000', 'null', '*',
                 'a.example', 'https://a.example/', 'https://a.example/x',
                 'https://a.example https://evil.example', 'file://',
                 'https://', '://a.example', 'https://*.b.example',
                 'https://a.example, https://evil.example',
                 'https://evil.example#.b.example'];

describe('--allowed-origin', () => {
    const world = fixture({ engine: true, args: [
        '--allowed-origin', 'https://a.example',
        '--allowed-origin', 'http://localhost:3000',
        '--allowed-origin', 'https://*.b.example'] });
    const handshake = (origin) => handshakeRequest().replace('\r\n\r\n',
        `\r\nOrigin: ${origin}\r\n\r\n`);

    const accepts = () => (world.backend.onHandshake = (request, wire) => {
        wire.taken = true;
        wire.send(switching(request));
    });

    for (const origin of ALLOWED) {
        it(`${origin} is let in`, async () => {
            const response = await exchange(world.port, handshake(origin));
            assert.equal(response.status, 200);
            assert.equal(world.backend.requests[0].get('origin'), origin);
            accepts();
            const wire = await world.open();
            wire.send(upgradeRequest(TARGET, `Origin: ${origin}\r\n`));
            assert.equal((await wire.head()).status, 101);
        });
    }

    for (const origin of REFUSED) {
        it(`${origin} is not`, async () => {
            const response = await exchange(world.port, handshake(origin));
            assert.equal(response.status, 403);
            assert.equal(response.text, FORBIDDEN);
            assert.ok(!response.has('access-control-allow-origin'));
            accepts();
            const wire = await world.open();
            wire.send(upgradeRequest(TARGET, `Origin: ${origin}\r\n`));
            assert.equal((await wire.response()).status, 403);
            assert.equal(await wire.ended(), 'fin');
            assert.deepEqual(world.backend.targets, []);
        });
    }

    it('two Origins are not, whatever they are', async () => {
        for (const origins of [['https://a.example', 'https://evil.example'],
                               ['https://evil.example', 'https://a.example']]) {
            const response = await exchange(world.port,
                handshake(origins.join('\r\nOrigin: ')));
            assert.ok([400, 403].includes(response.status),
                      `status ${response.status}`);
        }
        assert.deepEqual(world.backend.targets, []);
    });

    it('programs, which send none, are let in', async () => {
        const response = await exchange(world.port, handshakeRequest());
        assert.equal(response.status, 200);
    });

    it('polls and POSTs of a session are asked as well', async () => {
        const open = await exchange(world.port, handshakeRequest());
        const { sid } = JSON.parse(open.text.slice(1));
        for (const method of ['GET', 'POST']) {
            const response = await exchange(world.port, sidRequest(sid,
                { method, body: '4x', fields: 'Origin: https://evil\r\n' }));
            assert.equal(response.status, 403);
        }
        assert.equal(world.backend.requests.length, 1);
    });

    /* Some servers decode the path, or part parameters at semicolons. */
    for (const target of ['/socket%2eio/?EIO=4&transport=websocket',
                          '/%73ocket.io%2F?EIO=4&transport=websocket',
                          '/socket.io/?x;EIO=4;transport=websocket',
                          '/socket.io/']) {
        it(`${target} is asked as well`, async () => {
            accepts();
            const wire = await world.open();
            wire.send(upgradeRequest(target, 'Origin: https://evil\r\n'));
            assert.equal((await wire.response()).status, 403);
            assert.deepEqual(world.backend.targets, []);
        });
    }

    /* [what a request without Origin says, its query, may it] */
    const SCRIPTS = [
        ['', 'EIO=4&transport=polling', 200],
        ['', 'EIO=3&transport=polling&j=0', 403],
        ['Referer: https://evil.example/', 'EIO=3&transport=polling&j=0', 403],
        ['Referer: https://a.example.evil/', 'EIO=3&transport=polling&j=0',
         403],
        ['Referer: https://a.example/x?y', 'EIO=3&transport=polling&j=0', 200],
        ['Referer: https://a.example', 'EIO=3&transport=polling&%6A=0', 200],
        ['Sec-Fetch-Site: same-origin', 'EIO=3&transport=polling&j=0', 200],
        ['Sec-Fetch-Site: none', 'EIO=4&transport=polling', 200],
        ['Sec-Fetch-Site: cross-site', 'EIO=4&transport=polling', 403],
        ['Sec-Fetch-Site: same-site', 'EIO=4&transport=polling', 403],
        ['Sec-Fetch-Site: cross-site\r\nReferer: https://evil.example/a.example',
         'EIO=4&transport=polling', 403],
        ['Sec-Fetch-Site: same-site\r\nReferer: https://x.b.example/',
         'EIO=4&transport=polling&j=1', 200],
    ];

    for (const [fields, query, status] of SCRIPTS) {
        it(`a script, ${fields || 'no fields'}, ${query}: ${status}`,
           async () => {
               const response = await exchange(world.port, get(
                   `/socket.io/?${query}`, fields && `${fields}\r\n`));
               assert.equal(response.status, status);
               assert.ok(!response.has('access-control-allow-origin') ||
                         status === 200);
           });
    }

    it('the client library is for every script tag', async () => {
        const response = await exchange(world.port,
            get('/socket.io/socket.io.js', 'Sec-Fetch-Site: cross-site\r\n'));
        assert.notEqual(response.status, 403);
    });

    it('other paths are for everyone', async () => {
        const response = await exchange(world.port,
            get('/page', 'Origin: https://evil.example\r\n'));
        assert.equal(response.status, 200);
    });

    it('is counted', async () => {
        const name = 'sidgate_limited_total{limit="origin"}';
        const count = async () => (await world.gateway.metrics()).get(name);
        const before = await count();
        await exchange(world.port, handshake('https://evil.example'));
        await eventually(async () => await count() > before, 'it is counted');
        assert.equal(await count(), before + 1);
    });
});

describe("sidgate's own errors", () => {
    const world = fixture({ engine: true, args: ['--recovery', 'off'] });
    const ROWS = [
        ['an unknown sid', sidRequest('a'.repeat(20)), 400],
        ['a repeated sid', get('/socket.io/?EIO=4&sid=a&sid=b'), 400],
    ];

    for (const [name, bytes, status] of ROWS) {
        it(`${name}: a page can read it`, async () => {
            const origin = 'https://page.example';
            const response = await exchange(world.port,
                bytes.replace('\r\n\r\n', `\r\nOrigin: ${origin}\r\n\r\n`));
            assert.equal(response.status, status);
            assert.equal(response.get('access-control-allow-origin'), origin);
            assert.ok([undefined, 'true'].includes(
                response.get('access-control-allow-credentials')));
        });

        it(`${name}: an Origin puts nothing else there`, async () => {
            const wire = await world.open();
            wire.send(bytes.replace('\r\n\r\n',
                '\r\nOrigin: x\rSet-Cookie: y\r\n\r\n'));
            const response = await wire.response();
            assert.equal(response.status, 400);
            assert.ok(!response.has('set-cookie'));
        });
    }
});

/* An answer that does not fit must not leave its place to the next one. */
it('an Origin of 60 KB is answered, and in its place', async (t) => {
    await withCluster({ args: ['--max-head', '64k', '--recovery', 'off'] },
                      async ({ port }) => {
        const wire = await connect(port);
        t.after(() => wire.destroy());
        wire.send(sidRequest('a'.repeat(20)).replace('\r\n\r\n',
            `\r\nOrigin: https://${'a'.repeat(60_000)}\r\n\r\n`) +
            get('*', '', 'OPTIONS'));
        assert.equal((await wire.response()).status, 400);
        assert.equal((await wire.response('OPTIONS')).status, 200);
    });
});

describe('--serve-health', () => {
    const world = fixture({ args: ['--serve-health', '--shutdown-delay',
                                   '20s'] });

    for (const path of ['/healthz', '/readyz']) {
        it(`answers ${path}, and nothing that is like it`, async () => {
            for (const [bytes, method] of [[get(path)],
                                           [get(`${path}?x`)],
                                           [get(path, '', 'HEAD'), 'HEAD']])
                assert.equal((await exchange(world.port, bytes, method))
                    .status, 200);
            assert.deepEqual(world.backend.targets, []);
            for (const other of [`${path}/`, `${path}x`, `/x${path}`])
                assert.equal((await exchange(world.port, get(other))).text,
                             other);
            assert.equal((await exchange(world.port,
                get(path, 'Content-Length: 0\r\n', 'POST'))).text, path);
        });
    }

    it('/metrics is not there', async () => {
        assert.equal((await exchange(world.port, get('/metrics'))).text,
                     '/metrics');
    });

    it('/readyz says no once SIGTERM has come', async () => {
        process.kill(world.gateway.pid, 'SIGTERM');
        await eventually(async () => (await exchange(world.port,
            get('/readyz'))).status === 503, 'not ready');
        assert.equal((await exchange(world.port, get('/healthz'))).status,
                     200);
    });
});

describe('without --serve-health', () => {
    const world = fixture();

    it('the backend is asked', async () => {
        for (const path of ['/healthz', '/readyz'])
            assert.equal((await exchange(world.port, get(path))).text, path);
    });
});

const ASKED = 'GET /a?b=c HTTP/1.1\r\nHost: ';
const WAYS = [
    ['a name', `${ASKED}a.example\r\n\r\n`, 'https://a.example/a?b=c'],
    ['a port', `${ASKED}a.example:8080\r\n\r\n`, 'https://a.example/a?b=c'],
    ['an address', `${ASKED}192.0.2.1:80\r\n\r\n`, 'https://192.0.2.1/a?b=c'],
    ['IPv6', `${ASKED}[2001:db8::1]\r\n\r\n`, 'https://[2001:db8::1]/a?b=c'],
    ['IPv6 and a port', `${ASKED}[2001:db8::1]:80\r\n\r\n`,
     'https://[2001:db8::1]/a?b=c'],
    ['two slashes', 'GET //evil.example HTTP/1.1\r\nHost: h\r\n\r\n',
     'https://h//evil.example'],
    ['absolute-form', 'GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n',
     'https://h/x'],
    ['an upgrade', upgradeRequest('/x'), 'https://h/x'],
    ['a POST', 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello',
     'https://h/x'],
];
const NO_WAY = [
    ['no Host', 'GET /x HTTP/1.0\r\n\r\n'],
    ['a Host with user information', 'GET /x HTTP/1.1\r\nHost: a@b\r\n\r\n'],
    ['a Host with a path', 'GET /x HTTP/1.1\r\nHost: evil/y?\r\n\r\n'],
    ['a Host with a line', 'GET /x HTTP/1.1\r\nHost: a\rSet-Cookie: b\r\n\r\n'],
    ['a Host with a port that is none',
     'GET /x HTTP/1.1\r\nHost: a:80@evil\r\n\r\n'],
    ['two Hosts', 'GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['absolute-form to elsewhere',
     'GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a target with CR', 'GET /x\rA:b HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n'],
];

for (const [listen, port] of [['127.0.0.1:0,redirect', ''],
                              ['127.0.0.1:0,redirect=8443', ':8443']]) {
    describe(`a listener with ${listen.split(',')[1]}`, () => {
        const world = fixture({ listen: [listen] });

        async function answer(bytes)
        {
            const wire = await connect(world.port, { secure: false });
            world.wires.push(wire);
            wire.send(`${bytes}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n`);
            const response = await wire.response();
            const { how, bytes: more } = await wire.rest();
            assert.equal(how, 'fin');
            assert.equal(more.length, 0);
            assert.equal(world.backend.connections.length, 0);
            return response;
        }

        for (const [name, bytes, location] of WAYS) {
            it(`${name}: 308`, async () => {
                const response = await answer(bytes);
                assert.equal(response.status, 308);
                assert.equal(response.get('location'), location.replace(
                    /^(https:\/\/(?:\[.*?\]|[^/:]+))/, `$1${port}`));
            });
        }

        it('a target that no answer can hold: 414', async () => {
            await withCluster({ listen: [listen], args: [
                '--max-request-line', '64k', '--max-head', '64k'] },
                              async (other) => {
                const response = await exchange(other.port,
                    get(`/${'a'.repeat(30_000)}`), 'GET', { secure: false });
                assert.equal(response.status, 414);
            });
        });

        for (const [name, bytes] of NO_WAY) {
            it(`${name}: 400`, async () => {
                const response = await answer(bytes);
                assert.equal(response.status, 400);
                assert.ok(!response.has('location'));
            });
        }
    });
}
