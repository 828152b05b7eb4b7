/* SPDX-License-Identifier: MIT */
/* Sids on the wire: learned from answers in every framing, read from queries
 * as the backend reads them, and sidgate's own Engine.IO errors. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';

import { handshakeRequest, newSid, openPacket, sidRequest, upgradeRequest }
    from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { bytesOf, exchange } from '../support/wire.mjs';

const ARGS = ['--balance', 'round-robin', '--recovery', 'off'];
const utf8 = (text) => Buffer.from(text).toString('latin1');
const quoted = (text) => JSON.stringify(text).slice(1, -1);
const EIO3 = (packet) => `${packet.length}:${packet}2:40`;
const BINARY3 = (packet) => '\x00' + [...String(packet.length)]
    .map((digit) => String.fromCharCode(Number(digit))).join('') +
    `\xff${packet}\x01\x04\xff\x04\x01\x02\x03`;
const JSONP = (payload) => `___eio[7]("${quoted(payload)}");`;

function plain(body, fields = '')
{
    return `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${fields}` +
        `Content-Length: ${body.length}\r\n\r\n${body}`;
}

function chunked(body, size, fields = '')
{
    let text = '';
    for (let at = 0; at < body.length; at += size) {
        const part = body.slice(at, at + size);
        text += `${part.length.toString(16)}\r\n${part}\r\n`;
    }
    return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${fields}\r\n` +
        `${text}0\r\n\r\n`;
}

const coded = (body, how) => how(bytesOf(body)).toString('latin1');
const GZIP = 'Content-Encoding: gzip\r\n';
const DEFLATE = 'Content-Encoding: deflate\r\n';

/* [name, the body made of an open packet, the response made of that] */
const FRAMINGS = [
    ['EIO4', (p) => p, plain],
    ['EIO4 with more packets', (p) => `${p}\x1e4hello`, plain],
    ['EIO3', EIO3, plain],
    ['EIO3, alone', (p) => `${p.length}:${p}`, plain],
    ['EIO3, binary', BINARY3, plain],
    ['JSONP', JSONP, plain],
    ['JSONP of EIO3', (p) => JSONP(EIO3(p)), plain],
    ['a newline behind the JSON', (p) => `${p}\n`, plain],
    ['one chunk', (p) => p, (b) => chunked(b, 1000)],
    ['chunks of a byte', (p) => p, (b) => chunked(b, 1)],
    ['chunks of 7 bytes, EIO3', EIO3, (b) => chunked(b, 7)],
    ['up to the end of the connection', (p) => p,
     (b) => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${b}`],
    ['gzip', (p) => coded(p, gzipSync), (b) => plain(b, GZIP)],
    ['gzip in chunks', (p) => coded(p, gzipSync), (b) => chunked(b, 5, GZIP)],
    ['deflate', (p) => coded(p, deflateSync), (b) => plain(b, DEFLATE)],
    ['a long packet', (p) => p.replace('"upgrades"',
        `"x":"${'y'.repeat(5000)}","upgrades"`), plain],
];

const SIDS = [
    ['escapes', () => `a"b\\c/${newSid()}`],
    ['letters beyond ASCII', () => `s\u00e9ance-\u4e2d-${newSid()}`],
    ['what queries escape', () => `a b&c=d+e%f#g?${newSid()}`],
    ['256 bytes', () => newSid() + 'x'.repeat(236)],
    ['one byte', () => '7'],
    ['the name of an object member', () => '__proto__'],
];

async function ask(gateway, bytes)
{
    return exchange(gateway.port, bytes);
}

/* Every request with the sid goes to the backend that answered the handshake:
 * on new connections, by poll and by POST. */
async function goesToOwner(gateway, sid)
{
    const [owner] = gateway.backends.filter((b) => b.sids.has(sid));
    const others = gateway.backends.filter((b) => b !== owner);
    others.forEach((b) => (b.requests = []));
    for (let i = 0; i < 3; i++) {
        const poll = await ask(gateway, sidRequest(sid));
        assert.equal(poll.text, `4${owner.id}`);
        const post = await ask(gateway, sidRequest(sid,
            { method: 'POST', body: '4hello' }));
        assert.equal(post.text, 'ok');
    }
    for (const other of others)
        assert.deepEqual(other.targets, []);
}

function answerHandshakes(gateway, sid, response, pieces = false)
{
    for (const backend of gateway.backends) {
        backend.onHandshake = async (request, wire) => {
            backend.sids.add(sid);
            await wire.sendPieces(response, pieces ? 1 : response.length);
            if (response.includes('Connection: close'))
                wire.finish();
        };
    }
}

describe('learning', () => {
    const gateway = fixture({ count: 2, engine: true, args: ARGS });

    for (const [name, framed, answered] of FRAMINGS) {
        for (const pieces of [false, true]) {
            if (pieces && name === 'a long packet')
                continue;
            it(`${name}${pieces ? ', a byte at a time' : ''}`, async () => {
                const sid = newSid();
                const body = framed(openPacket(sid));
                answerHandshakes(gateway, sid, answered(body), pieces);
                const response = await ask(gateway, handshakeRequest());
                assert.equal(response.status, 200);
                assert.equal(response.text, body);
                await goesToOwner(gateway, sid);
            });
        }
    }

    for (const [name, make] of SIDS) {
        it(`a sid of ${name}`, async () => {
            const sid = make();
            const body = utf8(openPacket(sid));
            answerHandshakes(gateway, sid, plain(body));
            assert.equal((await ask(gateway, handshakeRequest())).text, body);
            await goesToOwner(gateway, sid);
        });
    }

    it('the JSON may escape any letter', async () => {
        const sid = newSid();
        const escaped = [...sid].map((c) => '\\u' +
            c.charCodeAt(0).toString(16).padStart(4, '0')).join('');
        answerHandshakes(gateway, sid,
                         plain(openPacket(sid).replace(sid, escaped)));
        await ask(gateway, handshakeRequest());
        await goesToOwner(gateway, sid);
    });

    it('asks for no compression, in handshakes only', async () => {
        const field = 'Accept-Encoding: gzip\r\n';
        const open = await ask(gateway, handshakeRequest().replace(
            'Host: h\r\n', `Host: h\r\n${field}`));
        const { sid } = JSON.parse(open.text.slice(1));
        await ask(gateway, sidRequest(sid, { fields: field }));
        const [owner] = gateway.backends.filter((b) => b.requests.length > 0);
        const [handshake, poll] = owner.requests;
        assert.equal(handshake.get('accept-encoding'), 'identity');
        assert.equal(poll.get('accept-encoding'), 'gzip');
    });

    const NOT_OPEN = [
        ['text', () => plain('hello')],
        ['nothing', () => plain('')],
        ['a message', (sid) => plain(`4{"sid":"${sid}"}`)],
        ['JSON without a packet', (sid) => plain(`{"sid":"${sid}"}`)],
        ['broken JSON', (sid) => plain(`0{"sid":"${sid}",`)],
        ['a sid that is no string', () => plain('0{"sid":12345678901234567}')],
        ['an open packet behind another', (sid) =>
            plain(`4x\x1e${openPacket(sid)}`)],
        ['an open packet in a 404', (sid) => plain(openPacket(sid))
            .replace('200 OK', '404 No')],
        ['a sid deep in the JSON', (sid) => plain(`0{"a":{"sid":"${sid}"}}`)],
        ['a sid of 257 bytes', () => plain(openPacket('x'.repeat(257)))],
        ['gzip that is none', (sid) => plain(openPacket(sid), GZIP)],
        ['a length that is wrong', (sid) => plain(`9:${openPacket(sid)}`)],
    ];
    for (const [name, answered] of NOT_OPEN) {
        it(`${name} passes unchanged and binds nothing`, async () => {
            const sid = newSid();
            const bytes = answered(sid);
            answerHandshakes(gateway, sid, bytes);
            const response = await ask(gateway, handshakeRequest());
            assert.equal(response.text, bytes.split('\r\n\r\n')[1]);
            assert.match(bytes, new RegExp(`^HTTP/1.1 ${response.status} `));
            assert.equal((await ask(gateway, sidRequest(sid))).status, 400);
        });
    }
});

describe('routing', () => {
    const gateway = fixture({ count: 2, engine: true, args: ARGS });

    /* One session at each backend; each worker of the gateway goes round
     * them by itself. */
    async function twoSessions()
    {
        const sids = new Map();
        for (let i = 0; i < 20 && sids.size < 2; i++) {
            const open = await ask(gateway, handshakeRequest());
            const { sid } = JSON.parse(open.text.slice(1));
            sids.set(gateway.backends.find((b) => b.sids.has(sid)).id, sid);
        }
        assert.equal(sids.size, 2);
        return [...sids].map(([id, sid]) => ({ sid, id }));
    }

    it('is by each request of a connection, pipelined too', async () => {
        const sessions = await twoSessions();
        const order = [0, 1, 1, 0, 1, 0, 0, 1].map((i) => sessions[i]);
        const wire = await gateway.open();
        wire.send(order.map(({ sid }) => sidRequest(sid)).join(''));
        for (const { id } of order)
            assert.equal((await wire.response()).text, `4${id}`);
    });

    it('finds a sid wherever and however it stands', async () => {
        const [{ sid, id }] = await twoSessions();
        const hex = [...sid].map((c) => `%${c.charCodeAt(0).toString(16)}`)
            .join('');
        for (const query of [`sid=${sid}`, `EIO=4&sid=${sid}&t=x`,
                             `s%69d=${sid}`, `%73%69%64=${sid}`, `sid=${hex}`,
                             `a=sid&sid=${sid}`, `xsid=a&sid=${sid}`,
                             `&&sid=${sid}&`, `sid=${sid}&SID=other`]) {
            for (const path of ['/socket.io/', '/engine.io/']) {
                const target = `${path}?${query}`;
                for (let i = 0; i < 2; i++) {
                    const got = await ask(gateway,
                        `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`);
                    assert.equal(got.text, `4${id}`, target);
                }
            }
        }
        const owner = gateway.backends.find((b) => b.id === id);
        assert.ok(owner.targets.includes(`/socket.io/?s%69d=${sid}`));
    });

    for (const query of ['sid=a&sid=a', 'sid=a&sid=b', 'sid=&sid=a',
                         'sid=a&s%69d=b', `sid=${'x'.repeat(257)}`,
                         'sid=a%00b', 'sid=a%0ab', 'sid=%7f', 'sid=%']) {
        it(`${query.slice(0, 20)}: code 3, no backend sees it`, async () => {
            const response = await ask(gateway, 'GET /socket.io/?EIO=4&' +
                `transport=polling&${query} HTTP/1.1\r\nHost: h\r\n\r\n`);
            assert.equal(response.status, 400);
            assert.equal(response.text, '{"code":3,"message":"Bad request"}');
            assert.deepEqual(gateway.backends.flatMap((b) => b.targets), []);
        });
    }

    for (const query of ['sid=', 'xsid=abc', 'SID=abc', 'sid[]=abc', 'sid']) {
        it(`${query} is no sid: a handshake`, async () => {
            const open = await ask(gateway, handshakeRequest(`&${query}`));
            assert.match(open.text, /^0\{"sid":/);
        });
    }

    it('other paths have no sids', async () => {
        for (const backend of gateway.backends)
            backend.handler = (request, wire) => wire.send(plain('other'));
        for (const target of ['/x?sid=abc', '/socket.io?sid=abc&sid=b']) {
            const response = await ask(gateway,
                `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`);
            assert.equal(response.text, 'other');
        }
    });
});

const UNKNOWN = '{"code":1,"message":"Session ID unknown"}';

describe('an unknown sid', () => {
    const gateway = fixture({ count: 2, engine: true, args: ARGS });

    for (const sid of [newSid(), '7', 'x'.repeat(256), '__proto__']) {
        it(`${sid.slice(0, 20)} on polling: code 1 as JSON`, async () => {
            const response = await ask(gateway, sidRequest(sid));
            assert.equal(response.status, 400);
            assert.equal(response.text, UNKNOWN);
            assert.match(response.get('content-type'), /^application\/json/);
            assert.equal(response.get('access-control-allow-origin'), '*');
            assert.ok(!response.has('access-control-allow-credentials'));
        });
    }

    it('of a page of another origin: that page may read it', async () => {
        const origin = 'https://page.example';
        const response = await ask(gateway, sidRequest(newSid(),
            { fields: `Origin: ${origin}\r\n` }));
        assert.equal(response.get('access-control-allow-origin'), origin);
        assert.equal(response.get('access-control-allow-credentials'), 'true');
    });

    it('on a POST: its body is not the next request', async () => {
        const wire = await gateway.open();
        wire.send(sidRequest(newSid(), { method: 'POST',
            body: 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n' }));
        wire.send(handshakeRequest());
        assert.equal((await wire.response()).text, UNKNOWN);
        if (!wire.over)
            await wire.response().then(
                (next) => assert.match(next.text, /^0\{/),
                () => assert.ok(wire.over));
        const targets = gateway.backends.flatMap((b) => b.targets);
        assert.ok(!targets.includes('/smuggled'));
    });

    it('on an upgrade: text, as servers answer it, and the end', async () => {
        const wire = await gateway.open();
        wire.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket&sid=' +
                                 newSid()) + handshakeRequest());
        const response = await wire.response();
        assert.equal(response.status, 400);
        assert.equal(response.reason, 'Bad Request');
        assert.equal(response.text, 'Session ID unknown');
        assert.equal(await wire.ended(), 'fin');
        assert.deepEqual(gateway.backends.flatMap((b) => b.targets), []);
    });

    it('is counted', async () => {
        const count = async () =>
            (await gateway.gateway.metrics()).get('sidgate_unknown_sid_total');
        const before = await count();
        await ask(gateway, sidRequest(newSid()));
        assert.equal(await count(), before + 1);
    });
});
