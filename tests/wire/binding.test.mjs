/* SPDX-License-Identifier: MIT */
/* The life of a binding: who may take a sid over, what ends it, and how the
 * owner of an unknown one is found. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, newSid, openPacket, parameters, sidRequest,
         upgradeRequest } from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const ROUND_ROBIN = { count: 2, engine: true,
                      args: ['--balance', 'round-robin'] };

function ownerAndOther({ backends }, sid)
{
    const owner = backends.find((b) => b.sids.has(sid));
    return { owner, other: backends.find((b) => b !== owner) };
}

async function newSession(gateway, framed = (packet) => packet)
{
    const sid = newSid();
    for (const backend of gateway.backends) {
        backend.onHandshake = (request, wire) => {
            backend.sids.add(sid);
            wire.send(ok(framed(openPacket(sid))));
        };
    }
    assert.equal((await exchange(gateway.port, handshakeRequest())).status,
                 200);
    gateway.backends.forEach((backend) => backend.mints());
    return { sid, ...ownerAndOther(gateway, sid) };
}

describe('a sid that a second backend mints', () => {
    const gateway = fixture(ROUND_ROBIN);

    /* Handshakes until `other` got one, which mints `sid` then. */
    async function mintAt(other, sid)
    {
        other.mint = () => sid;
        for (let i = 0; i < 20; i++) {
            const before = other.requests.length;
            const response = await exchange(gateway.port, handshakeRequest());
            if (other.requests.length > before)
                return response;
        }
        throw new Error('the other backend got no handshake');
    }

    it('is refused with 502 while its owner knows it', async () => {
        const { sid, owner, other } = await newSession(gateway);
        const response = await mintAt(other, sid);
        assert.equal(response.status, 502);
        assert.doesNotMatch(response.text, /sid/);
        assert.ok(owner.probes.length > 0, 'the owner was not asked');
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.text, `4${owner.id}`);
        const metrics = await gateway.gateway.metrics();
        assert.ok(metrics.get('sidgate_sid_conflicts_total') > 0);
        assert.ok(!gateway.gateway.stderr().includes(sid));
    });

    it('is bound anew when its owner denies it', async () => {
        const { sid, owner, other } = await newSession(gateway);
        owner.sids.delete(sid);
        assert.equal((await mintAt(other, sid)).status, 200);
        for (let i = 0; i < 3; i++) {
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, `4${other.id}`);
        }
    });

    it('by its own owner: stays bound', async () => {
        const { sid, owner } = await newSession(gateway);
        const response = await mintAt(owner, sid);
        assert.equal(response.status, 200);
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.text, `4${owner.id}`);
    });
});

const EIO4 = (packet) => packet;
const EIO3 = (packet) => `${packet.length}:${packet}`;
const JSONP = (packet) => `___eio[0](${JSON.stringify(packet)});`;

/* The framing of the session's open packet; what is POSTed or polled. */
const CLOSES = [
    ['a close packet POSTed', EIO4, '1', null],
    ['a close packet POSTed behind others', EIO4, '4hello\x1e1', null],
    ['a close packet POSTed by EIO3', EIO3, '1:1', null],
    ['a close packet POSTed behind others by EIO3', EIO3, '6:4hello1:1', null],
    ['a close packet POSTed by JSONP', JSONP, 'd=1', null],
    ['a close packet polled', EIO4, null, '1'],
    ['a close packet polled behind others', EIO4, null, '4hello\x1e6\x1e1'],
    ['a close packet polled by EIO3', EIO3, null, '6:4hello1:1'],
    ['a close packet polled by JSONP', JSONP, null, JSONP('1')],
];

describe('a binding ends with', () => {
    const gateway = fixture(ROUND_ROBIN);

    /* sidgate knows nothing of the sid: it has to ask whose it is. Soon
     * enough, since nothing waits for the store to forget; so the owner knows
     * the sid again here, lest its denial ends what has not ended yet. */
    async function isUnbound({ sid, owner })
    {
        owner.sids.add(sid);
        owner.onPoll = (request, wire) => wire.send(ok('4found'));
        owner.probes = [];
        await eventually(async () => {
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, '4found');
            return owner.probes.length > 0;
        }, 'the question whose it is', 4000);
    }

    for (const [name, framed, posted, polled] of CLOSES) {
        it(name, async () => {
            const session = await newSession(gateway, framed);
            const { sid, owner } = session;
            owner.onPoll = (request, wire) => wire.send(ok(polled));
            const more = framed === JSONP ? '&j=0' : '';
            const request = posted === null ? sidRequest(sid, { more }) :
                sidRequest(sid, { method: 'POST', body: posted, more });
            const response = await exchange(gateway.port, request);
            assert.equal(response.text, posted === null ? polled : 'ok');
            await isUnbound(session);
        });
    }

    it('a POST that only looks like a close goes on', async () => {
        const { sid, owner } = await newSession(gateway);
        for (const body of ['41', '4\x1e41', '2:41', '4hello 1', '11']) {
            await exchange(gateway.port,
                           sidRequest(sid, { method: 'POST', body }));
            owner.requests = [];
            const poll = await exchange(gateway.port, sidRequest(sid));
            assert.equal(poll.text, `4${owner.id}`);
            assert.equal(owner.probes.length, 0, body);
        }
    });

    it('the word of its owner, on a poll and on a POST', async () => {
        for (const [method, body] of [['GET', ''], ['POST', '4x']]) {
            const session = await newSession(gateway);
            const { sid, owner } = session;
            owner.sids.delete(sid);
            const response = await exchange(gateway.port,
                sidRequest(sid, { method, body }));
            assert.equal(response.status, 400);
            assert.match(response.text, /"code":1/);
            await isUnbound(session);
        }
    });

    it('not with other errors of its owner', async () => {
        const { sid, owner } = await newSession(gateway);
        for (const status of ['400 Bad Request', '500 Oh', '502 No',
                              '404 No']) {
            owner.onPoll = (request, wire) => wire.send(
                `HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`);
            await exchange(gateway.port, sidRequest(sid));
        }
        owner.onPoll = (request, wire) => wire.send(ok('4still'));
        owner.probes = [];
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.text, '4still');
        assert.equal(owner.probes.length, 0);
    });
});

describe('an unknown sid is asked for', () => {
    const gateway = fixture({ count: 3, engine: true });

    it('and goes to its owner, once', async () => {
        const [, owner] = gateway.backends;
        const sid = newSid();
        owner.sids.add(sid);
        const post = await exchange(gateway.port,
            sidRequest(sid, { method: 'POST', body: '4hello' }));
        assert.equal(post.text, 'ok');
        assert.deepEqual(gateway.backends.map((b) => b.requests.length),
                         [0, 1, 0]);
        assert.equal(owner.requests[0].text, '4hello');
        for (const { probes } of gateway.backends)
            assert.ok(probes.length <= 1);
    });

    it('by a request without effect', async () => {
        const sid = newSid();
        const response = await exchange(gateway.port, sidRequest(sid,
            { fields: 'Cookie: secret=1\r\nAuthorization: x\r\n' }));
        assert.equal(response.status, 400);
        for (const { probes } of gateway.backends) {
            assert.equal(probes.length, 1);
            const [probe] = probes;
            assert.equal(probe.method, 'PUT');
            assert.ok(probe.target.startsWith('/socket.io/?'));
            const query = parameters(probe.target);
            assert.equal(query.get('EIO'), '4');
            assert.equal(query.get('transport'), 'polling');
            assert.equal(query.get('sid'), sid);
            assert.equal(probe.bodySize, 0);
            assert.equal(probe.get('host'), 'h');
            assert.ok(!probe.has('cookie') && !probe.has('authorization'));
        }
    });

    it('with its bytes as they were', async () => {
        const sid = 'a b&c=d+e%f/\u00e9-0123456789';
        const [owner] = gateway.backends;
        owner.sids.add(sid);
        const response = await exchange(gateway.port, sidRequest(sid));
        assert.equal(response.text, `4${owner.id}`);
    });

    it('once it is found, it is bound', async () => {
        const [, , owner] = gateway.backends;
        const sid = newSid();
        owner.sids.add(sid);
        await exchange(gateway.port, sidRequest(sid));
        for (const backend of gateway.backends)
            backend.probes = [];
        await exchange(gateway.port, sidRequest(sid));
        assert.equal(owner.requests.length, 2);
        assert.deepEqual(gateway.backends.flatMap((b) => b.probes), []);
    });

    it('but not a short one', async () => {
        const response = await exchange(gateway.port, sidRequest('7'));
        assert.equal(response.status, 400);
        assert.deepEqual(gateway.backends.flatMap((b) => b.probes), []);
    });

    it('on an upgrade too: text when nobody knows it', async () => {
        const wire = await gateway.open();
        wire.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket&sid=' +
                                 newSid()));
        const response = await wire.response();
        assert.equal(response.status, 400);
        assert.equal(response.text, 'Session ID unknown');
        assert.equal(await wire.ended(), 'fin');
    });

    it('and found later by a handshake of that sid', async () => {
        const sid = newSid();
        assert.equal((await exchange(gateway.port, sidRequest(sid))).status,
                     400);
        for (const backend of gateway.backends)
            backend.mint = () => sid;
        await exchange(gateway.port, handshakeRequest());
        const { owner } = ownerAndOther(gateway, sid);
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.text, `4${owner.id}`);
    });

    it('is counted', async () => {
        const count = async () => (await gateway.gateway.metrics())
            .get('sidgate_recovery_probes_total');
        const before = await count();
        await exchange(gateway.port, sidRequest(newSid()));
        await eventually(async () => await count() === before + 3, 'probes');
    });
});
