/* SPDX-License-Identifier: MIT */
/* What only looks like a denial passes as it is, small or huge, though the
 * replica's cache might be wrong. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { engineError, newSid, sidRequest,
         UNKNOWN_SID } from '../support/engine.mjs';
import { ask } from '../support/replicas.mjs';
import {
    answer, chunked, DENIAL, deniesBy, keyOf, plain, requestsOf, shared, whole,
} from '../support/shared.mjs';

const NODES = { nodes: 2 };
const MEGABYTE = 1 << 20;

describe('what is no denial passes whole:', () => {
    const world = shared(NODES);
    const big = 'big '.repeat(MEGABYTE / 4);
    const cases = {
        'an empty 400': answer(400, ''),
        'an empty 400 in chunks': chunked(400, []),
        'another code': engineError(3, 'Bad request'),
        'a 400 of HTML': answer(400, '<h1>Session ID unknown</h1>'),
        'a small 500': answer(500, 'oops'),
        'an empty 500': answer(500, ''),
        'a 500 that reads like a denial': answer(500, DENIAL),
        'a 400 of 511 bytes': answer(400, 'x'.repeat(511)),
        'a 400 of 512 bytes': answer(400, 'x'.repeat(512)),
        'a 400 of 513 bytes': answer(400, 'x'.repeat(513)),
        'a 400 of 100 KB': answer(400, 'x'.repeat(100_000)),
        'a 400 of 1 MB': answer(400, big),
        'a 400 of 1 MB in chunks': chunked(400, [big.slice(0, 600),
                                                 big.slice(600)]),
        'a 500 of 1 MB': answer(500, big),
        'a compressed 400': answer(400, DENIAL, 'Content-Encoding: x\r\n'),
        'a 401': answer(401, DENIAL),
        'a 404': answer(404, DENIAL),
    };

    for (const [what, bytes] of Object.entries(cases))
        test(what, async () => {
            const { redis, gateways: [gateway] } = world;
            const { sid, owner, other } = await world.moved();
            deniesBy(owner, whole(bytes));
            const wire = await world.open(gateway);
            wire.send(sidRequest(sid));
            const response = await wire.response('GET', 15_000);
            assert.equal(response.status, Number(bytes.slice(9, 12)));
            const body = bytes.slice(bytes.indexOf('\r\n\r\n') + 4);
            const text = bytes.includes('chunked') && body.length > 10 ? big :
                bytes.includes('chunked') ? '' : body;
            assert.ok(response.text === text, `${response.text.length} bytes`);
            assert.equal(requestsOf(other, sid).length, 0);
            assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
            owner.reset();
            owner.sids.add(sid);
            wire.send(sidRequest(sid));
            assert.equal((await wire.response()).text, `4${owner.id}`);
        });

    test('one that does not end', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner } = await world.moved();
        deniesBy(owner, (wire) => {
            wire.send('HTTP/1.1 400 X\r\nContent-Length: 2000\r\n\r\n' +
                'x'.repeat(1000));
        });
        const wire = await world.open(gateway);
        wire.send(sidRequest(sid));
        assert.equal((await wire.head()).status, 400);
        await wire.bytes(1000);
    });

    test('one that is cut short becomes a 502', async () => {
        const { gateways: [gateway] } = world;
        const { sid, owner } = await world.moved();
        deniesBy(owner, (wire) => wire.finish(
            `HTTP/1.1 400 X\r\nContent-Length: 99\r\n\r\n${DENIAL}`));
        assert.equal((await ask(gateway.port, sidRequest(sid))).status, 502);
    });

    for (const method of ['HEAD', 'OPTIONS', 'PUT', 'DELETE'])
        test(`the answer to ${method}`, async () => {
            const { redis, gateways: [gateway] } = world;
            const { sid, owner, other } = await world.moved();
            const body = method === 'HEAD' ? '' : DENIAL;
            deniesBy(owner, whole('HTTP/1.1 400 X\r\nContent-Length: ' +
                `${DENIAL.length}\r\n\r\n${body}`));
            const wire = await world.open(gateway);
            wire.send(sidRequest(sid, { method }));
            const response = await wire.response(method);
            assert.deepEqual(plain(response), { status: 400, text: body });
            assert.equal(requestsOf(other, sid).length, 0);
            assert.equal(await redis.command('EXISTS', keyOf(sid)), 1);
            owner.reset();
            owner.sids.add(sid);
            wire.send(sidRequest(sid));
            assert.equal((await wire.response()).text, `4${owner.id}`);
        });

    test('a plain request is no business of sessions', async () => {
        const { gateways: [gateway], backends } = world;
        for (const backend of backends)
            deniesBy(backend, whole(UNKNOWN_SID));
        const response = await ask(gateway.port,
            `GET /plain?sid=${newSid()} HTTP/1.1\r\nHost: h\r\n\r\n`);
        assert.deepEqual(plain(response), { status: 400, text: DENIAL });
    });
});
