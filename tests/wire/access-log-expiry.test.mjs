/* SPDX-License-Identifier: MIT */
/* Sessions that nobody ends, here or at all. A record lives for 20 s at least,
 * so this takes as long. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { logged } from '../support/access-log.mjs';
import { ok } from '../support/backend.mjs';
import { session } from '../support/configured.mjs';
import { openPacket, newSid } from '../support/engine.mjs';
import { cluster, openSession } from '../support/replicas.mjs';
import { upgraded } from '../support/sessions.mjs';
import { eventually } from '../support/wire.mjs';

const LIFE_S = 20;
/* Lives go by one clock, what is told of them by another. */
const CLOCKS_S = 0.05;

describe('for the life of its record', { concurrency: true }, () => {
    test('the end of a session that expired', async (t) => {
        const { node, gateway, lines, line } = await logged(t);
        node.onHandshake = (request, wire) => wire.send(ok(
            openPacket('n1.short', { pingInterval: 1, pingTimeout: 1 })));
        await session(gateway);
        const first = await line({ kind: 'handshake' });
        await eventually(() => lines().length > 1, 'the end', 60_000);
        const end = lines()[1];
        assert.equal(end.event, 'session_end');
        assert.equal(end.cause, 'expired');
        assert.equal(end.session, first.session);
        assert.equal(end.requests, 1);
        assert.equal(end.bytes_out, first.bytes_out);
        assert.ok(end.duration_s >= LIFE_S - CLOCKS_S,
                  `${end.duration_s} s`);
    });

    test('one that lives on at another replica has not expired', async (t) => {
        const { backends: [node], gateways: [gw1, gw2] } =
            await cluster(t, { count: 2 });
        node.onHandshake = (request, wire) => {
            const sid = newSid();
            node.sids.add(sid);
            wire.send(ok(openPacket(sid, { pingInterval: 1, pingTimeout: 1 })));
        };
        const moved = await openSession(gw1);
        const gone = await openSession(gw1);
        assert.notEqual(moved, gone);
        const client = await upgraded(node, gw2, moved);
        const ended = (gateway, cause) => gateway.metric(
            `sidgate_sessions_ended_total{cause="${cause}"}`);
        await eventually(async () => await ended(gw1, 'expired') > 0,
                         'the end of the one that is gone', 60_000);
        /* Both records were written in one moment: a second is enough. */
        await new Promise((resolve) => setTimeout(resolve, 1500));
        assert.equal(await ended(gw1, 'expired'), 1);
        assert.equal(await ended(gw2, 'expired'), 0);
        client.destroy();
        await eventually(async () => await ended(gw2, 'client') === 1,
                         'its end');
    });
});
