/* SPDX-License-Identifier: MIT */
/* What the life of sessions moves: how they are found, and what ends them. */

import assert from 'node:assert/strict';

import { ok } from '../backend.mjs';
import { handshakeRequest, newSid, sidRequest } from '../engine.mjs';
import { frame } from '../frames.mjs';
import { eventually } from '../wire.mjs';

const ENGINE = {};
const RATED = { count: 2, args: ['--recovery-rate', '1'] };
const NEWEST = { count: 2, args: ['--sid-conflict', 'newest'] };
const TWO = { count: 2 };
const SLOW_READER = { args: ['--write-timeout', '300ms'] };
const MUCH = 60_000_000;
const END_MS = 30_000;

const polling = (by) => ({ 'sessions{backend="n1",transport="polling"}': by });
const websocket = (by) =>
    ({ 'sessions{backend="n1",transport="websocket"}': by });
const ended = (cause) => ({ [`sessions_ended_total{cause="${cause}"}`]: 1 });
const timed = (kind) =>
    ({ [`request_duration_seconds_count{kind="${kind}"}`]: 1 });

const begin = (world) => world.session();
const live = (world) => world.live('lives-on-websocket');

/* The two ends of a websocket, of which the first leaves first. */
async function leave(one, other)
{
    one.finish();
    await other.ended();
    other.finish();
}

/* Both backends hand out the same sid. */
async function sameSid(world)
{
    for (const backend of world.backends)
        backend.mint = () => 'minted-by-both';
    await world.session();
    return world.backends.find(({ sids }) => sids.size > 0);
}

async function commands(world, what)
{
    assert.equal(await world.order(`/api/v1/backends/${what}`), 200);
}

async function killWith(world, sid)
{
    assert.equal(await world.order(
        `/api/v1/sessions/${encodeURIComponent(sid)}/kick`), 200);
}

const routes = [
    {
        name: 'a handshake', needs: ENGINE,
        moves: { handshakes_total: 1, sessions_learned_total: 1,
                 ...polling(1), ...timed('handshake') },
        cause: begin,
    }, {
        name: 'a poll', needs: ENGINE,
        moves: { 'routed_total{source="store"}': 1, ...timed('poll') },
        prepare: begin,
        cause: (world, sid) => world.poll(sid),
    }, {
        name: 'a POST', needs: ENGINE,
        moves: { 'routed_total{source="store"}': 1, ...timed('post') },
        prepare: begin,
        cause: (world, sid) => world.post(sid, '4hello'),
    }, {
        name: 'a sid that only its backend knows', needs: TWO,
        moves: { 'routed_total{source="recovery"}': 1,
                 recovery_probes_total: (n) => n >= 1,
                 ...polling(1) },
        cause: async (world) => {
            const sid = newSid();
            world.backend.sids.add(sid);
            assert.equal((await world.poll(sid)).status, 200);
        },
    }, {
        name: 'a sid that nobody knows', needs: TWO,
        moves: { unknown_sid_total: 1, recovery_probes_total: 2,
                 'routed_total{source="recovery"}': 0,
                 upgrade_unknown_sid_total: 0,
                 'backend_unknown_sid_total{backend="n1"}': 0,
                 'backend_unknown_sid_total{backend="n2"}': 0 },
        cause: async (world) =>
            assert.equal((await world.poll(newSid())).status, 400),
    }, {
        name: 'many of them', needs: RATED,
        moves: { recovery_waits_total: (n) => n >= 1 },
        /* Ten need not wait, and one more with each second. */
        cause: (world) => Promise.all(Array.from({ length: 14 }, () =>
            world.poll(newSid()))),
    }, {
        name: 'two sids in one request', needs: ENGINE,
        moves: { duplicate_sid_total: 1 },
        cause: async (world) => assert.equal(
            (await world.ask(sidRequest('a', { more: '&sid=b' }))).status, 400),
    }, {
        name: 'a sid that another backend has', needs: TWO, fresh: true,
        moves: { sid_conflicts_total: 1, ...polling(0),
                 'sessions{backend="n2",transport="polling"}': 0 },
        prepare: sameSid,
        cause: async (world) => assert.equal(
            (await world.ask(handshakeRequest())).status, 502),
    },
];

const ends = [
    {
        name: 'its client says so', needs: ENGINE,
        moves: { ...ended('client'), ...polling(-1) },
        prepare: begin,
        cause: (world, sid) => world.post(sid, '1'),
    }, {
        name: 'its client leaves the websocket', needs: ENGINE, ends: true,
        moves: ended('client'),
        prepare: live,
        cause: (world, { client, upstream }) => leave(client, upstream),
    }, {
        name: 'its backend says so', needs: ENGINE,
        moves: { ...ended('backend'), ...polling(-1) },
        prepare: begin,
        cause: (world, sid) => {
            world.backend.onPoll = (request, wire) => wire.send(ok('1'));
            return world.poll(sid);
        },
    }, {
        name: 'its backend leaves the websocket', needs: ENGINE, ends: true,
        moves: { ...ended('backend'), ...websocket(-1) },
        prepare: live,
        cause: (world, { client, upstream }) => leave(upstream, client),
    }, {
        name: 'its backend has forgotten it', needs: ENGINE,
        moves: { ...ended('denied'), ...polling(-1),
                 'backend_unknown_sid_total{backend="n1"}': 1,
                 unknown_sid_total: 0 },
        prepare: begin,
        cause: (world, sid) => {
            world.backend.sids.clear();
            return world.poll(sid);
        },
    }, {
        name: 'its backend is gone', needs: { ...ENGINE }, fresh: true,
        moves: { ...ended('unreachable'), ...polling(-1) },
        prepare: begin,
        cause: async (world, sid) => {
            await world.backend.stop();
            await world.poll(sid);
        },
    }, {
        name: 'it is kicked', needs: ENGINE,
        moves: { ...ended('kicked'), ...polling(-1), kicked_total: 1 },
        prepare: async (world) => {
            const sid = await world.session();
            world.backend.onPoll = () => {};
            (await world.open()).send(sidRequest(sid));
            await world.backend.request(1);
            return sid;
        },
        cause: killWith,
    }, {
        name: 'it is kicked off its websocket', needs: ENGINE, ends: true,
        moves: { ...ended('kicked'), ...websocket(-1), kicked_total: 1 },
        prepare: live,
        cause: async (world, { upstream }) => {
            await killWith(world, 'lives-on-websocket');
            upstream.destroy();
        },
    }, {
        name: 'its backend is drained', needs: TWO, fresh: true,
        moves: { ...ended('drained'), ...websocket(-1),
                 'sessions{backend="n2",transport="websocket"}': 0,
                 'backend_state{backend="n1",state="up"}': -1,
                 'backend_state{backend="n1",state="drained"}': 1,
                 'backend_up{backend="n1"}': -1 },
        /* It begins at the one that is drained, and there is another. */
        prepare: async (world) => {
            await commands(world, 'n2/drain');
            const one = await live(world);
            await commands(world, 'n2/undrain');
            return one;
        },
        cause: async (world, { upstream }) => {
            await commands(world, 'n1/drain?rate=1000');
            await upstream.ended().catch(() => {});
            upstream.destroy();
        },
    }, {
        name: 'the gateway goes', fresh: true,
        needs: { args: ['--shutdown-timeout', '20s'] },
        moves: ended('shutdown'),
        /* A request that is not answered keeps the process there. */
        prepare: async (world) => {
            const one = await live(world);
            world.backend.onPoll = () => {};
            const sid = await world.session();
            (await world.open()).send(sidRequest(sid, { method: 'POST',
                                                        body: '4x' }));
            world.backend.onPost = () => {};
            await world.backend.request(2);
            return one;
        },
        cause: (world, { upstream }) => {
            process.kill(world.gateway.pid, 'SIGTERM');
            upstream.socket.on('end', () => upstream.finish());
        },
        /* Then it ends by itself: a second signal could come behind its last
         * handler. */
        finish: async (world) => {
            world.backend.connections.forEach((wire) => wire.destroy());
            let isOver = false;
            world.gateway.exited.then(() => (isOver = true));
            await eventually(() => isOver, 'its end', END_MS);
        },
    }, {
        name: 'its client reads nothing', needs: SLOW_READER,
        moves: { ...ended('limit'), 'limited_total{limit="write_timeout"}': 1 },
        prepare: live,
        cause: (world, { client, upstream }) => {
            client.socket.pause();
            for (let sent = 0; sent < MUCH; sent += 1_000_000)
                upstream.send(frame(2, Buffer.alloc(1_000_000)));
        },
    }, {
        name: 'its sid is taken over', needs: NEWEST, fresh: true,
        moves: { ...ended('replaced'), sid_conflicts_total: 0 },
        prepare: sameSid,
        cause: (world, owner) => {
            owner.sids.clear();
            return world.session();
        },
    },
];

export const sessions = [...routes, ...ends];
