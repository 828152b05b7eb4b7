/* SPDX-License-Identifier: MIT */
/* What tests of the operator's list of sessions ask. */

import assert from 'node:assert/strict';

import { apiOf } from './api.mjs';
import { switching, upgradeRequest } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { reach } from './replicas.mjs';
import { eventually, FOREVER } from './wire.mjs';

const POLICY = 1008;
const STORE_MS = 20_000;

/* A row of a list; one that ended; the answer about one session. */
const COMMON = {
    id: /^[0-9a-f]{16}$/, sid: /^(....\.\.\.|\.\.\.|-)$/, backend: 'text',
    transport: /^(polling|websocket)$/, eio: 'count?', client: 'text',
    gateway: 'text', created: 'time', age_s: 'number', seen: 'time',
    idle_s: 'number', requests: 'count?', bytes_in: 'count?',
    bytes_out: 'count?',
};
const END = { ended: 'time', cause: 'text', duration_s: 'number' };
const DETAIL = { state: /^(live|ended)$/, ping_interval_ms: 'count',
                 ping_timeout_ms: 'count' };

export const ROW = { ...COMMON, expires_s: 'number' };
export const ENDED_ROW = { ...COMMON, ...END };
export const SESSION = { session: { ...ROW, ...DETAIL } };
export const ENDED_SESSION = { session: { ...ENDED_ROW, ...DETAIL } };

export function listShape(row)
{
    return { scope: /^(local|store)$/, sessions: [row], looked_at: 'count',
             next: 'text?' };
}

export function apiAt({ adminPort })
{
    return apiOf(adminPort);
}

/* One page; the query as an object. */
export function page(gateway, query = {})
{
    const text = new URLSearchParams(query).toString();
    return apiAt(gateway).get(`sessions${text && `?${text}`}`);
}

/* It reaches Redis for such questions: with the first one it connects, and does
 * not wait long. */
export function asksStore(gateway)
{
    return eventually(async () => (await page(gateway)).scope === 'store',
                      `${gateway.name} lists from the store`, STORE_MS);
}

/* All pages; each but the last is as long as it may be, where `isWhole`: from a
 * Redis it need not be. between: called behind each but the last. */
export async function everyPage(gateway, query = {}, isWhole = false,
                                between = () => {})
{
    const rows = [];
    let cursor = null;
    for (let count = 0; count === 0 || cursor; count++) {
        const one = await page(gateway, { ...query,
                                          ...(cursor && { cursor }) });
        rows.push(...one.sessions);
        cursor = one.next;
        assert.ok(one.sessions.length <= (query.limit ?? 50));
        if (isWhole && cursor)
            assert.equal(one.sessions.length, Number(query.limit ?? 50));
        if (cursor)
            await between(count);
    }
    return rows;
}

/* A session on a websocket that its client never polled for; gives the client's
 * end. */
export async function upgraded(node, gateway, sid)
{
    const engine = node.fallback;
    node.handler = (request, wire) => {
        if (!request.has('upgrade'))
            return engine(request, wire);
        wire.taken = true;
        wire.until(() => wire.fin, 'its end', FOREVER)
            .then(() => wire.finish(), () => {});
        return wire.send(switching(request));
    };
    const client = await reach(gateway.port);
    client.send(upgradeRequest('/socket.io/?EIO=4&transport=websocket' +
        `&sid=${encodeURIComponent(sid)}`));
    assert.equal((await client.head()).status, 101);
    client.send(frame(TEXT, '2probe', { mask: true }));
    client.send(frame(TEXT, '5', { mask: true }));
    return client;
}

/* Its websocket is closed as an operator has it closed. */
export async function isKicked(client)
{
    const close = await client.bytes(4);
    assert.equal(close[0], 0x88);
    assert.equal(close.readUInt16BE(2), POLICY);
    client.destroy();
}
