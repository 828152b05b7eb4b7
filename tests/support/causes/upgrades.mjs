/* SPDX-License-Identifier: MIT */
/* What upgrades move: each failure its own reason, and no other. */

import assert from 'node:assert/strict';

import { ok } from '../backend.mjs';
import { engineError, upgradeRequest } from '../engine.mjs';
import { closeFrame, frame, TEXT } from '../frames.mjs';
import { upgradeTarget } from './world.mjs';

const ENGINE = {};
const PROBE = frame(TEXT, '2probe', { mask: true });
const UPGRADE = frame(TEXT, '5', { mask: true });
const REASONS = ['refused', 'unreachable', 'stripped', 'probe', 'closed'];

const series = (name, more = '') =>
    `upgrade_${name}_total{backend="n1"${more}}`;
const failure = (reason) => series('failures', `,reason="${reason}"`);

/* All series of upgrades: what is not said to move stands still. */
function counts({ attempts = 1, successes = 0, reason })
{
    assert.ok(reason === undefined || REASONS.includes(reason));
    return {
        [series('attempts')]: attempts,
        [series('successes')]: successes,
        ...Object.fromEntries(REASONS.map((one) =>
            [failure(one), one === reason ? 1 : 0])),
    };
}

async function probed(world, sid)
{
    const ends = await world.websocket(sid);
    ends.client.send(PROBE);
    await ends.upstream.bytes(PROBE.length);
    return ends;
}

async function whole(world, sid)
{
    const ends = await probed(world, sid);
    ends.client.send(UPGRADE);
    await ends.upstream.bytes(UPGRADE.length);
    return ends;
}

/* A session whose upgrade is answered like this. */
function refusal(status, answer)
{
    return {
        name: `refused with ${status}`, needs: ENGINE, ends: true,
        moves: counts({ reason: 'refused' }),
        prepare: (world) => world.session(),
        cause: async (world, sid) => {
            world.backend.handler = (request, wire) => wire.send(answer);
            const got = await world.ask(upgradeRequest(upgradeTarget(sid)));
            assert.equal(got.status, status);
        },
    };
}

/* One that is open, and then ends like this. */
const ending = (name, reason, begin, end) => ({
    name, needs: ENGINE, ends: true,
    moves: counts({ reason }),
    prepare: (world) => world.session(),
    cause: async (world, sid) => end(await begin(world, sid)),
});

const opened = (world, sid) => world.websocket(sid);

/* One end leaves, and the other one as it sees that. */
async function leave(one, other, bytes)
{
    one.finish(bytes);
    await other.ended();
    other.finish();
}

export const upgrades = [
    {
        name: 'one that succeeds', needs: ENGINE,
        moves: { ...counts({ successes: 1 }), tunnels: 1,
                 'sessions{backend="n1",transport="polling"}': -1,
                 'sessions{backend="n1",transport="websocket"}': 1,
                 'request_duration_seconds_count{kind="upgrade"}': 1,
                 upgrade_unknown_sid_total: 0, handshakes_total: 0 },
        prepare: (world) => world.session(),
        cause: whole,
    }, {
        name: 'one that succeeded and ends', needs: ENGINE, ends: true,
        moves: { ...counts({ successes: 1 }),
                 'sessions{backend="n1",transport="polling"}': -1 },
        prepare: (world) => world.session(),
        cause: async (world, sid) => {
            const { client, upstream } = await whole(world, sid);
            await leave(client, upstream);
        },
    },
    refusal(400, engineError(3, 'Bad request')),
    refusal(403, 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'),
    refusal(503, 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n' +
            '\r\n'),
    refusal(200, ok('hello')),
    {
        name: 'a backend that cannot be reached', needs: { ...ENGINE },
        fresh: true,
        moves: counts({ reason: 'unreachable' }),
        prepare: async (world) => {
            const sid = await world.session();
            await world.backend.stop();
            return sid;
        },
        cause: async (world, sid) => {
            const wire = await world.open();
            wire.send(upgradeRequest(upgradeTarget(sid)));
            assert.notEqual((await wire.head()).status, 101);
        },
    }, {
        name: 'a backend that closes without an answer', needs: ENGINE,
        ends: true,
        moves: counts({ reason: 'unreachable' }),
        prepare: (world) => world.session(),
        cause: async (world, sid) => {
            world.backend.handler = (request, wire) => {
                wire.taken = true;
                wire.destroy();
            };
            const got = await world.ask(upgradeRequest(upgradeTarget(sid)));
            assert.equal(got.status, 502);
        },
    }, {
        name: 'the Upgrade header is lost', needs: ENGINE, ends: true,
        moves: counts({ reason: 'stripped' }),
        prepare: (world) => world.session(),
        cause: (world, sid) => world.ask(
            `GET ${upgradeTarget(sid)} HTTP/1.1\r\nHost: h\r\n` +
            'Connection: keep-alive\r\nSec-WebSocket-Version: 13\r\n\r\n'),
    },
    ending('the client leaves before any frame', 'closed', opened,
           ({ client, upstream }) => leave(client, upstream)),
    ending('the client is reset before any frame', 'closed', opened,
           ({ client }) => client.reset()),
    ending('the backend leaves before any frame', 'closed', opened,
           ({ client, upstream }) => leave(upstream, client)),
    ending('a close frame comes first', 'closed', opened,
           ({ client, upstream }) => leave(client, upstream,
                                           closeFrame(1001, { mask: true }))),
    ending('the client leaves behind its probe', 'probe', probed,
           ({ client, upstream }) => leave(client, upstream)),
    ending('the backend leaves behind the probe', 'probe', probed,
           ({ client, upstream }) => leave(upstream, client)),
    ending('the probe is answered, but no 5 comes', 'probe', probed,
           async ({ client, upstream }) => {
               upstream.send(frame(TEXT, '3probe'));
               await client.bytes(8);
               await leave(client, upstream, closeFrame(1000, { mask: true }));
           }),
    {
        name: 'the client leaves before the answer', needs: ENGINE, ends: true,
        moves: counts({ reason: 'closed' }),
        prepare: (world) => world.session(),
        cause: async (world, sid) => {
            world.backend.handler = () => {};
            const wire = await world.open();
            wire.send(upgradeRequest(upgradeTarget(sid)));
            await world.backend.request(1);
            wire.reset();
        },
    }, {
        name: 'a second websocket of an upgraded session', needs: ENGINE,
        moves: { ...counts({ attempts: 0 }), tunnels: 1 },
        prepare: async (world) => {
            const sid = await world.session();
            await whole(world, sid);
            return sid;
        },
        cause: (world, sid) => world.websocket(sid),
    }, {
        name: 'a websocket that begins a session', needs: ENGINE,
        moves: { ...counts({ attempts: 0 }), handshakes_total: 1,
                 'sessions{backend="n1",transport="websocket"}': 1,
                 'request_duration_seconds_count{kind="handshake"}': 1 },
        cause: (world) => world.live('begins-with-it'),
    }, {
        name: 'nobody holds its sid', needs: ENGINE,
        moves: { ...counts({ attempts: 0 }), upgrade_unknown_sid_total: 1,
                 unknown_sid_total: 1 },
        cause: async (world) => {
            const got = await world.ask(upgradeRequest(
                upgradeTarget('nobody-knows-it')));
            assert.equal(got.status, 400);
        },
    },
];
