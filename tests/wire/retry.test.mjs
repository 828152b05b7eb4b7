/* SPDX-License-Identifier: MIT */
/* What is sent a second time, and what never is. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, sidRequest } from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { exchange } from '../support/wire.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const POST = 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello';

function copies({ backend }, target = '/x')
{
    return backend.targets.filter((seen) => seen === target).length;
}

/* Leaves one idle connection to the backend, and gives it. */
async function primed(gateway)
{
    await gateway.stillServes('/prime');
    return gateway.backend.requests.at(-1).wire;
}

/* The backend ends the connection of each request to /x that `ends` tells. */
function endOn(gateway, ends, how, first = '')
{
    gateway.backend.handler = (request, wire) => {
        if (request.target !== '/x' || !ends(wire)) {
            wire.send(ok(request.target));
            return;
        }
        wire.taken = true;
        wire.send(first);
        wire[how]();
    };
}

for (const how of ['finish', 'reset']) {
    describe(`a backend that ends its connection by ${how}`, () => {
        const gateway = fixture();

        it('on a POST: 502, and one copy was sent', async () => {
            for (let i = 0; i < 3; i++) {
                gateway.backend.reset();
                await primed(gateway);
                endOn(gateway, () => true, how);
                assert.equal((await exchange(gateway.port, POST)).status, 502);
                await gateway.stillServes();
                assert.equal(copies(gateway), 1);
            }
        });

        it('on a POST in chunks: 502, one copy', async () => {
            await primed(gateway);
            endOn(gateway, () => true, how);
            const response = await exchange(gateway.port,
                'POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked' +
                '\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
            assert.equal(response.status, 502);
            await gateway.stillServes();
            assert.equal(copies(gateway), 1);
        });

        it('a reused one, on a GET: sent again on a new one', async () => {
            const old = await primed(gateway);
            endOn(gateway, (wire) => wire === old, how);
            const response = await exchange(gateway.port, GET);
            assert.equal(response.text, '/x');
            assert.ok(copies(gateway) <= 2);
            assert.notEqual(gateway.backend.requests.at(-1).wire, old);
        });

        it('again and again, on a GET: two copies at most', async () => {
            await primed(gateway);
            endOn(gateway, () => true, how);
            assert.equal((await exchange(gateway.port, GET)).status, 502);
            await gateway.stillServes();
            assert.ok(copies(gateway) <= 2);
            const wires = gateway.backend.requests
                .filter(({ target }) => target === '/x').map((r) => r.wire);
            assert.equal(new Set(wires).size, wires.length);
        });

        it('a new one, on a GET: one copy', async () => {
            await gateway.dropIdle();
            endOn(gateway, () => true, how);
            assert.equal((await exchange(gateway.port, GET)).status, 502);
            await gateway.stillServes();
            assert.equal(copies(gateway), 1);
        });

        it('a reused one, within its head: 502, one copy', async () => {
            await primed(gateway);
            endOn(gateway, () => true, how, 'HTTP/1.1 200');
            assert.equal((await exchange(gateway.port, GET)).status, 502);
            await gateway.stillServes();
            /* An RST may overtake the bytes before it. */
            assert.ok(copies(gateway) <= (how === 'reset' ? 2 : 1));
        });
    });
}

describe('a session at a backend that ends connections', () => {
    const gateway = fixture({ engine: true });

    async function session()
    {
        const open = await exchange(gateway.port, handshakeRequest());
        return JSON.parse(open.text.slice(1)).sid;
    }

    it('a POST is sent once, and answered with 502', async () => {
        const sid = await session();
        gateway.backend.onPost = (request, wire) => {
            wire.taken = true;
            wire.reset();
        };
        const response = await exchange(gateway.port,
            sidRequest(sid, { method: 'POST', body: '4hello' }));
        assert.equal(response.status, 502);
        assert.equal((await exchange(gateway.port, sidRequest(sid))).status,
                     200);
        const posts = gateway.backend.requests
            .filter(({ method }) => method === 'POST');
        assert.equal(posts.length, 1);
    });

    it('a poll on a reused connection is sent again, once', async () => {
        const sid = await session();
        const old = gateway.backend.requests.at(-1).wire;
        gateway.backend.onPoll = (request, wire) => {
            if (wire !== old)
                return wire.send(ok('4again'));
            wire.taken = true;
            return wire.reset();
        };
        const response = await exchange(gateway.port, sidRequest(sid));
        assert.equal(response.text, '4again');
        assert.ok(gateway.backend.requests.length <= 3);
    });

    it('after it went away and came back, all goes on', async () => {
        const sid = await session();
        for (const wire of gateway.backend.connections)
            wire.destroy();
        for (let i = 0; i < 3; i++) {
            const response = await exchange(gateway.port, sidRequest(sid));
            assert.equal(response.text, '4n1');
        }
    });
});
