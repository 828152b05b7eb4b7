/* SPDX-License-Identifier: MIT */
/* What a page that watches is told, message by message. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { apiOf, assertShape, BACKEND, EVENT, HISTORY, POINT, STATUS }
    from '../support/api.mjs';
import { startEngine } from '../support/engine.mjs';
import { startGateway } from '../support/gateway.mjs';
import { connect } from '../support/wire.mjs';

const MESSAGE_MS = 10_000;
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/* A websocket to the live path; next() is the next message. */
async function watch(t, port)
{
    const wire = await connect(port, { secure: false });
    t.after(() => wire.destroy());
    wire.send('GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n' +
        'Connection: Upgrade\r\nUpgrade: websocket\r\n' +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n` +
        'Sec-WebSocket-Protocol: sidgate-live\r\n\r\n');
    const head = await wire.head();
    assert.equal(head.status, 101);
    assert.equal(head.get('sec-websocket-protocol'), 'sidgate-live');

    async function payload()
    {
        const first = await wire.bytes(2, MESSAGE_MS);
        let length = first[1];
        if (length === 126)
            length = (await wire.bytes(2, MESSAGE_MS)).readUInt16BE();
        else if (length === 127)
            length = Number((await wire.bytes(8, MESSAGE_MS))
                .readBigUInt64BE());
        const bytes = await wire.bytes(length, MESSAGE_MS);
        return { isLast: (first[0] & 0x80) !== 0, bytes };
    }

    /* lws may cut one into several frames. */
    return async function next()
    {
        const parts = [];
        for (;;) {
            const { isLast, bytes } = await payload();
            parts.push(bytes);
            if (isLast)
                return JSON.parse(Buffer.concat(parts).toString());
        }
    };
}

test('messages to a page that watches', async (t) => {
    const engine = await startEngine({ id: 'n1' });
    const gateway = await startGateway({ backends: [engine] });
    t.after(async () => {
        await engine.stop();
        const end = await gateway.stop();
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    });
    const { post } = apiOf(gateway.adminPort);
    const next = await watch(t, gateway.adminPort);
    const first = await next();
    assertShape(first, { status: STATUS, backends: [BACKEND], events: [EVENT],
                         history: HISTORY });
    assert.ok(first.events.some(({ event }) => event === 'ready'));
    assert.equal(first.status.access, 'full');
    await post('backends/n1/drain');
    const seen = [];
    let point;
    let drained = false;
    const began = first.history.points.length;
    while (!point || !drained) {
        const message = await next();
        assertShape(message.status, STATUS);
        assert.equal(message.history, undefined);
        seen.push(...message.events);
        drained ||= message.backends[0].state === 'drained';
        point ??= message.point;
    }
    assertShape(point, POINT);
    assert.deepEqual(seen.map(({ event }) => event)
        .filter((event) => /^(backend_drained|operator_action)$/.test(event)),
                     ['backend_drained', 'operator_action']);
    const known = new Set(first.events.map(({ seq }) => seq));
    assert.ok(seen.every(({ seq }) => !known.has(seq)));
    const { points } = await apiOf(gateway.adminPort).get('history');
    assert.ok(points.slice(began).some(({ time }) => time === point.time));
    /* Another one begins from the beginning. */
    const other = await (await watch(t, gateway.adminPort))();
    assert.ok(other.history.points.length >= 1);
    assert.ok(other.events.length > first.events.length);
});
