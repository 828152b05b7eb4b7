/* SPDX-License-Identifier: MIT */
/* A tunnel opens only after a valid websocket request and the right 101. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, switching, upgradeRequest, WS_KEY, wsAccept }
    from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { gate } from '../support/wire.mjs';

const TARGET = '/socket.io/?EIO=4&transport=websocket';
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
const HELLO = frame(TEXT, 'hello');
const HELLO_UP = frame(TEXT, 'hello up', { mask: true });

/* An upgrade request of just these fields. */
const upgrade = (fields, line = `GET ${TARGET} HTTP/1.1`) =>
    `${line}\r\nHost: h\r\n${fields.join('\r\n')}\r\n\r\n`;
const CONNECTION = 'Connection: Upgrade';
const UPGRADE = 'Upgrade: websocket';
const VERSION = 'Sec-WebSocket-Version: 13';
const KEY = `Sec-WebSocket-Key: ${WS_KEY}`;
const ACCEPT = `Sec-WebSocket-Accept: ${wsAccept(WS_KEY)}`;

/* Answers an upgrade with 101 and keeps the connection. */
function accept(request, wire, more = '')
{
    wire.taken = true;
    wire.send(switching(request));
    wire.send(more);
}

const VALID = [
    ['the usual fields', upgradeRequest()],
    ['another path', upgradeRequest('/chat?x=y')],
    ['fields in another case', upgrade(['connection: keep-alive, uPGRADE',
        'upgrade: WebSocket', 'sec-websocket-version: 13',
        `sec-websocket-key: ${WS_KEY}`])],
    ['tokens in two Connection fields', upgrade(['Connection: keep-alive',
        CONNECTION, UPGRADE, VERSION, KEY])],
    ['a target in absolute-form', upgrade([CONNECTION, UPGRADE, VERSION, KEY],
        `GET http://h${TARGET} HTTP/1.1`)],
    ['white space around its values', upgrade(['Connection:  Upgrade ',
        'Upgrade: \twebsocket', 'Sec-WebSocket-Version:13 ',
        `Sec-WebSocket-Key:  ${WS_KEY} `])],
    ['a length of 0', upgrade([CONNECTION, UPGRADE, VERSION, KEY,
                               'Content-Length: 0'])],
];

const REFUSED = [
    ['version 12', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 12'],
     [426]],
    ['version 8', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 8'],
     [426]],
    ['no version', [CONNECTION, UPGRADE, KEY], [400, 426]],
    ['an empty version', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version:'],
     [400, 426]],
    ['a list of versions',
     [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 13, 8'], [400, 426]],
    ['two versions', [CONNECTION, UPGRADE, KEY, VERSION, VERSION], [400, 426]],
    ['version 14', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 14'],
     [426]],
    ['version 0', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 0'],
     [426]],
    ['version 013', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 013'],
     [400, 426]],
    ['version +13', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: +13'],
     [400, 426]],
    ['version 13.0', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 13.0'],
     [400, 426]],
    ['version 269', [CONNECTION, UPGRADE, KEY, 'Sec-WebSocket-Version: 269'],
     [400, 426]],
    ['a wrong version and no key', [CONNECTION, UPGRADE,
     'Sec-WebSocket-Version: 8'], [400, 426]],
    ['the version of hybi-00', [CONNECTION, UPGRADE,
     'Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5',
     'Sec-WebSocket-Key2: 12998 5 Y3 1  .P00'], [400, 426]],
    ['no key', [CONNECTION, UPGRADE, VERSION], [400]],
    ['an empty key', [CONNECTION, UPGRADE, VERSION, 'Sec-WebSocket-Key:'],
     [400]],
    ['a key of 15 bytes', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA'], [400]],
    ['a key of 17 bytes', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA='], [400]],
    ['a key without padding', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ'], [400]],
    ['a key with other letters', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhl!HNhbXBsZSBub25jZQ=='], [400]],
    ['two keys', [CONNECTION, UPGRADE, VERSION, KEY, KEY], [400]],
    ['two keys in one', [CONNECTION, UPGRADE, VERSION,
     `${KEY}, ${WS_KEY}`], [400]],
    ['a key in base64url', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhl-HNhbXBsZSBub25jZQ=='], [400]],
    ['a key with a space in it', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhlIHNhbXBs SBub25jZQ=='], [400]],
    ['a key with padding in it', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhlIHNhbX==ZSBub25jZQ=='], [400]],
    ['a key with three paddings', [CONNECTION, UPGRADE, VERSION,
     'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ==='], [400]],
    ['a key of 4000 bytes', [CONNECTION, UPGRADE, VERSION,
     `Sec-WebSocket-Key: ${'A'.repeat(3998)}==`], [400]],
    ['a length that is none', [CONNECTION, UPGRADE, VERSION, KEY,
     'Content-Length: x'], [400]],
    ['two Hosts', [CONNECTION, UPGRADE, VERSION, KEY, 'Host: i'], [400]],
    ['a body', [CONNECTION, UPGRADE, VERSION, KEY, 'Content-Length: 5'],
     [400]],
    ['chunks', [CONNECTION, UPGRADE, VERSION, KEY,
                'Transfer-Encoding: chunked'], [400]],
];

const PLAIN = [
    ['HTTP/1.0', upgrade([CONNECTION, UPGRADE, VERSION, KEY],
                         `GET ${TARGET} HTTP/1.0`)],
    ['no Connection', upgrade([UPGRADE, VERSION, KEY])],
    ['another Connection', upgrade(['Connection: keep-alive', UPGRADE, VERSION,
                                    KEY])],
    ['no Upgrade', upgrade([CONNECTION, VERSION, KEY])],
    ['another Upgrade', upgrade([CONNECTION, 'Upgrade: h2c', VERSION, KEY])],
    ['an empty Upgrade', upgrade([CONNECTION, 'Upgrade:', VERSION, KEY])],
    ['an Upgrade with a version', upgrade([CONNECTION, 'Upgrade: websocket/13',
                                           VERSION, KEY])],
    ['websocket and h2c', upgrade([CONNECTION, 'Upgrade: websocket, h2c',
                                   VERSION, KEY])],
    ['h2c and websocket', upgrade([CONNECTION, 'Upgrade: h2c, websocket',
                                   VERSION, KEY])],
    ['h2c and websocket in two fields', upgrade([CONNECTION, 'Upgrade: h2c',
                                                 UPGRADE, VERSION, KEY])],
    ['websocket and h2c in two fields', upgrade([CONNECTION, UPGRADE,
                                                 'Upgrade: h2c', VERSION,
                                                 KEY])],
    ['h2c and its settings', upgrade(['Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'])],
    ['TLS/1.0', upgrade([CONNECTION, 'Upgrade: TLS/1.0'])],
    ['HTTP/2.0', upgrade([CONNECTION, 'Upgrade: HTTP/2.0'])],
    ['only Connection: close', upgrade(['Connection: close', UPGRADE, VERSION,
                                        KEY])],
    ['Connection: Upgrades', upgrade(['Connection: Upgrades', UPGRADE, VERSION,
                                      KEY])],
];

describe('upgrade requests', () => {
    const gateway = fixture();

    for (const [name, bytes] of VALID) {
        it(`with ${name} open a tunnel`, async () => {
            gateway.backend.handler = accept;
            const wire = await gateway.open();
            wire.send(bytes);
            const head = await wire.head();
            assert.equal(head.status, 101);
            assert.match(head.get('connection'), /^upgrade$/i);
            assert.equal(head.get('upgrade').toLowerCase(), 'websocket');
            assert.equal(head.get('sec-websocket-accept'), wsAccept(WS_KEY));
            const [request] = gateway.backend.requests;
            assert.match(request.get('connection'), /^upgrade$/i);
            assert.equal(request.get('upgrade').toLowerCase(), 'websocket');
            assert.equal(request.get('sec-websocket-key'), WS_KEY);
            wire.send(HELLO_UP);
            assert.deepEqual(await request.wire.bytes(HELLO_UP.length),
                             HELLO_UP);
            request.wire.send(HELLO);
            assert.deepEqual(await wire.bytes(HELLO.length), HELLO);
        });
    }

    for (const [name, fields, allowed] of REFUSED) {
        it(`with ${name}: ${allowed.join(' or ')}`, async () => {
            gateway.backend.handler = accept;
            const wire = await gateway.open();
            wire.send(upgrade(fields) + SMUGGLED);
            const response = await wire.response();
            assert.ok(allowed.includes(response.status),
                      `status ${response.status}`);
            if (response.status === 426)
                assert.equal(response.get('sec-websocket-version'), '13');
            assert.equal(await wire.ended(), 'fin');
            assert.equal(wire.buffer.length, 0);
            gateway.backend.reset();
            await gateway.stillServes();
            assert.deepEqual(gateway.backend.targets, ['/still-serves']);
        });
    }

    for (const [name, bytes] of PLAIN) {
        it(`with ${name} are plain requests`, async () => {
            gateway.backend.handler = (request, wire) => wire.send(ok('plain'));
            const wire = await gateway.open();
            wire.send(bytes);
            assert.equal((await wire.response()).text, 'plain');
            const [request] = gateway.backend.requests;
            assert.ok(!request.has('upgrade'));
            assert.ok(!request.has('http2-settings'));
            assert.ok(!/upgrade/i.test(request.all('connection').join()));
        });

        it(`with ${name}: a 101 to that is a 502`, async () => {
            gateway.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.send('HTTP/1.1 101 Switching Protocols\r\nConnection: ' +
                          `Upgrade\r\nUpgrade: websocket\r\n${ACCEPT}\r\n\r\n`);
            };
            const wire = await gateway.open();
            wire.send(bytes);
            assert.equal((await wire.response()).status, 502);
            wire.send(HELLO_UP);
            const { wire: upstream } = gateway.backend.requests[0];
            await upstream.ended();
            assert.equal(upstream.buffer.length, 0);
        });
    }

    it('by POST never reach a backend as upgrades', async () => {
        const wire = await gateway.open();
        wire.send(upgrade([CONNECTION, UPGRADE, VERSION, KEY],
                          `POST ${TARGET} HTTP/1.1`));
        const response = await wire.response();
        assert.ok([200, 400, 405].includes(response.status));
        assert.ok(!gateway.backend.requests.some((r) => r.has('upgrade')));
    });

    it('carry what the two ends agree on', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request, 'Sec-WebSocket-Protocol: b\r\n' +
                'Sec-WebSocket-Extensions: permessage-deflate\r\n' +
                'Set-Cookie: io=x\r\n'));
        };
        const wire = await gateway.open();
        wire.send(upgradeRequest(TARGET, 'Sec-WebSocket-Protocol: a, b\r\n' +
            'Sec-WebSocket-Extensions: permessage-deflate\r\n' +
            'Origin: http://page\r\nCookie: c=d\r\n'));
        const head = await wire.head();
        assert.equal(head.get('sec-websocket-protocol'), 'b');
        assert.equal(head.get('sec-websocket-extensions'),
                     'permessage-deflate');
        assert.equal(head.get('set-cookie'), 'io=x');
        const [request] = gateway.backend.requests;
        assert.equal(request.get('sec-websocket-protocol'), 'a, b');
        assert.equal(request.get('origin'), 'http://page');
        assert.equal(request.get('cookie'), 'c=d');
    });
});

const BAD_101 = [
    ['another key', [CONNECTION, UPGRADE,
                     `Sec-WebSocket-Accept: ${wsAccept('other')}`]],
    ['its letters in lower case', [CONNECTION, UPGRADE, ACCEPT.toLowerCase()]],
    ['more behind it', [CONNECTION, UPGRADE, `${ACCEPT}=`]],
    ['nothing', [CONNECTION, UPGRADE, 'Sec-WebSocket-Accept:']],
    ['none', [CONNECTION, UPGRADE]],
    ['a right and a wrong one', [CONNECTION, UPGRADE,
                                 'Sec-WebSocket-Accept: x', ACCEPT]],
    ['no Upgrade', [CONNECTION, ACCEPT]],
    ['two Upgrades', [CONNECTION, UPGRADE, 'Upgrade: h2c', ACCEPT]],
    ['a list of Upgrades', [CONNECTION, 'Upgrade: websocket, h2c', ACCEPT]],
    ['the right one twice', [CONNECTION, UPGRADE, ACCEPT, ACCEPT]],
    ['the key itself', [CONNECTION, UPGRADE,
                        `Sec-WebSocket-Accept: ${WS_KEY}`]],
    ['NUL behind it', [CONNECTION, UPGRADE, `${ACCEPT}\x00`]],
    ['Upgrade: h2c', [CONNECTION, 'Upgrade: h2c', ACCEPT]],
];

describe('answers to upgrade requests', () => {
    const gateway = fixture();

    for (const [name, fields] of BAD_101) {
        it(`a 101 with ${name} for its accept: 502`, async () => {
            gateway.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.send('HTTP/1.1 101 Switching Protocols\r\n' +
                          `${fields.join('\r\n')}\r\n\r\nevil`);
            };
            const wire = await gateway.open();
            wire.send(upgradeRequest());
            const response = await wire.response();
            assert.equal(response.status, 502);
            assert.doesNotMatch(response.text, /evil/);
            wire.send(HELLO_UP);
            await gateway.backend.requests[0].wire.ended();
            assert.equal(gateway.backend.requests[0].wire.buffer.length, 0);
        });
    }

    for (const [status, reason] of [[200, 'OK'], [400, 'Bad Request'],
                                    [401, 'Unauthorized'], [403, 'Forbidden'],
                                    [426, 'Upgrade Required'], [503, 'No']]) {
        it(`CVE-2024-23326, 5f36bfe42: ${status} opens no tunnel`, async () => {
            gateway.backend.handler = (request, wire) => wire.send(
                `HTTP/1.1 ${status} ${reason}\r\nContent-Length: 5\r\n` +
                'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
            const wire = await gateway.open();
            wire.send(upgradeRequest() + SMUGGLED);
            const response = await wire.response();
            assert.equal(response.status, status);
            assert.equal(response.text, 'hello');
            assert.notEqual(await wire.ended(), null);
            assert.equal(wire.buffer.length, 0);
            gateway.backend.reset();
            await gateway.stillServes();
            assert.doesNotMatch(gateway.backend.received, /smuggled/);
        });
    }

    it('a refusal without early bytes stays in step', async () => {
        gateway.backend.handler = (request, wire) => wire.send(
            'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
        const wire = await gateway.open();
        wire.send(upgradeRequest());
        const response = await wire.response();
        assert.equal(response.text, 'no');
        gateway.backend.reset();
        if (response.get('connection') === 'close') {
            assert.equal(await wire.ended(), 'fin');
        } else {
            wire.send('GET /next HTTP/1.1\r\nHost: h\r\n\r\n');
            assert.equal((await wire.response()).text, '/next');
        }
    });

    it('early bytes reach the backend only behind its 101', async () => {
        const held = gate();
        gateway.backend.handler = async (request, wire) => {
            if (request.target !== TARGET)
                return wire.send(ok(request.target));
            await held.opened;
            return accept(request, wire);
        };
        const wire = await gateway.open();
        wire.send(upgradeRequest() + HELLO_UP.toString('latin1'));
        const { wire: upstream } = await gateway.backend.request();
        wire.send(HELLO_UP);
        /* All workers have been through their events since. */
        for (let i = 0; i < 10; i++)
            await gateway.stillServes();
        assert.equal(upstream.buffer.length, 0);
        held.open();
        assert.equal((await wire.head()).status, 101);
        assert.deepEqual(await upstream.bytes(2 * HELLO_UP.length),
                         Buffer.concat([HELLO_UP, HELLO_UP]));
    });

    it('bytes right behind the 101 are not lost', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request) + HELLO.toString('latin1'));
        };
        const wire = await gateway.open();
        wire.send(upgradeRequest());
        await wire.head();
        assert.deepEqual(await wire.bytes(HELLO.length), HELLO);
    });

    it('a 101 a byte at a time', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            return wire.sendPieces(switching(request) +
                                   HELLO.toString('latin1'));
        };
        const wire = await gateway.open();
        await wire.sendPieces(upgradeRequest());
        assert.equal((await wire.head()).status, 101);
        assert.deepEqual(await wire.bytes(HELLO.length), HELLO);
    });

    it('an interim response before the 101 is no answer', async () => {
        gateway.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' +
                      switching(request));
        };
        const wire = await gateway.open();
        wire.send(upgradeRequest());
        let head = await wire.head();
        if (head.status === 103)
            head = await wire.head();
        assert.equal(head.status, 101);
    });

    it('a client that leaves before the 101 is seen to leave', async () => {
        gateway.backend.handler = () => {};
        const wire = await gateway.open();
        wire.send(upgradeRequest());
        const { wire: upstream } = await gateway.backend.request();
        wire.reset();
        await upstream.ended(4000);
    });

    it('a backend that leaves instead: 502', async () => {
        for (const how of ['finish', 'reset']) {
            gateway.backend.handler = (request, wire) => {
                wire.taken = true;
                wire[how]();
            };
            const wire = await gateway.open();
            wire.send(upgradeRequest());
            assert.equal((await wire.response()).status, 502);
        }
    });
});

describe('an upgrade of a session', () => {
    const gateway = fixture({ count: 2, engine: true,
                              args: ['--balance', 'round-robin'] });

    it('goes to the backend of its sid, target unchanged', async () => {
        for (let i = 0; i < 4; i++) {
            const wire = await gateway.open();
            wire.send(handshakeRequest());
            const { sid } = JSON.parse((await wire.response()).text.slice(1));
            const owner = gateway.backends.find((b) => b.sids.has(sid));
            owner.onPoll = accept;
            const target = `/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
            wire.send(upgradeRequest(target));
            assert.equal((await wire.head()).status, 101);
            assert.equal(owner.requests.at(-1).target, target);
        }
    });
});
