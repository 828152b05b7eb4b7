/* SPDX-License-Identifier: MIT */
/* FIN is not RST: the backend sees of its client what it would see without a
 * gateway. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, sidRequest } from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { eventually, exchange, gate, inTime } from '../support/wire.mjs';

const SOON_MS = 4000; /* less than what may stand still */
const get = (target) => `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`;

describe('a client that ends its side', () => {
    const gateway = fixture({ engine: true });

    async function held()
    {
        const { backend } = gateway;
        const before = backend.requests.length;
        const open = await exchange(gateway.port, handshakeRequest());
        const { sid } = JSON.parse(open.text.slice(1));
        const late = gate();
        backend.onPoll = async (request, up) => {
            up.taken = true;
            await late.opened;
            if (!up.closed)
                up.send(ok('4late'));
        };
        const wire = await gateway.open();
        wire.send(sidRequest(sid));
        const { wire: upstream } = await backend.request(before + 1);
        return { wire, upstream, late };
    }

    it('by FIN still gets the answer to its poll', async () => {
        const { wire, late } = await held();
        wire.finish();
        await gateway.gateway.metrics();
        late.open();
        assert.equal((await wire.response()).text, '4late');
    });

    it('by FIN: the backend sees a half-close, within 1 s', () =>
        inTime(async () => {
            const { wire, upstream, late } = await held();
            const start = performance.now();
            wire.finish();
            await upstream.until(() => upstream.fin, 'FIN');
            const took = performance.now() - start;
            assert.equal(upstream.error, null);
            late.open();
            assert.equal((await wire.response()).text, '4late');
            upstream.finish();
            assert.equal(await wire.ended(), 'fin');
            return took;
        }, 1000));

    it('by FIN: the backend may answer by the end', async () => {
        const { wire, upstream } = await held();
        wire.finish();
        await upstream.until(() => upstream.fin, 'FIN', SOON_MS);
        upstream.destroy();
        await wire.ended(SOON_MS);
    });

    it('by RST: the backend sees it within 1 s', () =>
        inTime(async () => {
            const { wire, upstream } = await held();
            const start = performance.now();
            wire.reset();
            await upstream.ended();
            return performance.now() - start;
        }, 1000));

    it('by FIN, with its requests sent in one go, gets all answers',
       async () => {
           gateway.backend.handler = (request, up) =>
               up.send(ok(request.target));
           const wire = await gateway.open();
           wire.finish(get('/a') + get('/b') + get('/c'));
           for (const target of ['/a', '/b', '/c'])
               assert.equal((await wire.response()).text, target);
           assert.equal(await wire.ended(SOON_MS), 'fin');
       });

    it('by FIN behind two requests: the backend sees it with the second',
       async () => {
           const { backend } = gateway;
           const late = gate();
           backend.handler = async (request, up) => {
               up.taken = request.target === '/b';
               if (up.taken)
                   await late.opened;
               up.send(ok(request.target));
           };
           const wire = await gateway.open();
           wire.finish(get('/a') + get('/b'));
           const { wire: upstream } = await backend.request(1);
           await upstream.until(() => upstream.fin, 'FIN', SOON_MS);
           late.open();
           assert.equal((await wire.response()).text, '/a');
           assert.equal((await wire.response()).text, '/b');
           assert.equal(await wire.ended(SOON_MS), 'fin');
       });

    it('by RST behind two requests: the backend sees it with the second',
       async () => {
           const { backend } = gateway;
           backend.handler = (request, up) => {
               if (request.target === '/a')
                   up.send(ok('/a'));
           };
           const wire = await gateway.open();
           wire.send(get('/a') + get('/b'));
           const { wire: upstream } = await backend.request(1);
           await wire.response();
           wire.reset();
           await upstream.ended(SOON_MS);
       });

    it('by FIN within a head, behind a request, gets its answer', async () => {
        gateway.backend.handler = (request, up) => up.send(ok('/a'));
        const wire = await gateway.open();
        wire.finish(`${get('/a')}GET /b HTTP/1.1\r\nHo`);
        assert.equal((await wire.response()).text, '/a');
        const { bytes } = await wire.rest(SOON_MS);
        /* It may be told so. */
        assert.match(bytes.toString('latin1'), /^(HTTP\/1.1 400 [^]*)?$/);
    });

    it('by FIN behind a POST gets its answer', async () => {
        gateway.backend.handler = (request, up) => up.send(ok(request.text));
        const wire = await gateway.open();
        wire.finish('POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n' +
                    '\r\nhello');
        assert.equal((await wire.response()).text, 'hello');
    });

    it('by RST in the middle of a response: the backend sees it', async () => {
        gateway.backend.handler = (request, up) => {
            up.taken = true;
            up.send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello');
        };
        const wire = await gateway.open();
        wire.send(get('/x'));
        await wire.upTo('hello');
        const { wire: upstream } = gateway.backend.requests[0];
        wire.reset();
        await upstream.ended(SOON_MS);
    });

    it('by RST while its response is stuck: the backend sees it', async () => {
        gateway.backend.handler = (request, up) => {
            up.taken = true;
            up.send('HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n');
            up.send(Buffer.alloc(40000000));
        };
        const wire = await gateway.open({ paused: true });
        wire.send(get('/x'));
        const { wire: upstream } = await gateway.backend.request();
        wire.reset();
        await upstream.ended(SOON_MS);
    });

    it('is counted when it aborts', async () => {
        const count = async () => (await gateway.gateway.metrics())
            .get('sidgate_client_aborts_total');
        /* Of others before it none is to be counted any more. */
        await eventually(async () => (await gateway.gateway.metrics())
            .get('sidgate_connections') === 0, 'no connection');
        const before = await count();
        const { wire, upstream } = await held();
        wire.reset();
        await upstream.ended(SOON_MS);
        await eventually(async () => await count() === before + 1, 'a count');
    });

    it('while idle leaves no connection behind', async () => {
        const open = async () =>
            (await gateway.gateway.metrics()).get('sidgate_connections');
        gateway.backend.handler = (request, up) => up.send(ok('x'));
        for (const how of ['finish', 'reset']) {
            const wire = await gateway.open();
            wire.send(get('/x'));
            await wire.response();
            wire[how]();
            if (how === 'finish')
                assert.equal(await wire.ended(SOON_MS), 'fin');
        }
        await eventually(async () => await open() === 0, 'no connection');
    });
});
