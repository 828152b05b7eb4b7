/* SPDX-License-Identifier: MIT */
/* An upgrade of the gateway takes its websockets along, whatever they are in
 * the middle of. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { handshakeRequest, newSid, openPacket, parameters, switching,
         upgradeRequest } from '../support/engine.mjs';
import { arrives, BINARY, closeFrame, collect, frame, frames, pour, TEXT }
    from '../support/frames.mjs';
import { connect, gone, isGone, openSession, openTunnel, polls, upgradable }
    from '../support/handover.mjs';
import { eventually, exchange } from '../support/wire.mjs';

const PLAIN = { secure: false };
const LISTEN = ['127.0.0.1:0'];
const SLOW_MS = 240_000;

const start = (t, more) => upgradable(t, { listen: LISTEN, ...more });

/* A tunnel whose backend does nothing by itself: {client, upstream, sid}. */
async function bare({ backend, gateway }, { sid, target } = {})
{
    let upstream = null;
    const own = sid ?? await openSession(gateway.port, PLAIN);
    const { onPoll } = backend;
    backend.onPoll = (request, wire) => {
        if (parameters(request.target).get('transport') !== 'websocket')
            return onPoll(request, wire, own);
        backend.onPoll = onPoll;
        wire.taken = true;
        upstream = wire;
        wire.send(switching(request));
        return undefined;
    };
    const client = await connect(gateway.port, PLAIN);
    client.send(upgradeRequest(target ??
        `/socket.io/?EIO=4&transport=websocket&sid=${own}`));
    assert.equal((await client.head()).status, 101);
    return { client, upstream, sid: own };
}

/* Both ends are still joined. */
async function stillJoined({ client, upstream }, word = 'still')
{
    const up = frame(TEXT, `${word} up`, { mask: true });
    client.send(up);
    assert.deepEqual(await upstream.bytes(up.length), up);
    const down = frame(TEXT, `${word} down`);
    upstream.send(down);
    assert.deepEqual(await client.bytes(down.length), down);
}

describe('bytes on their way', () => {
    for (const [from, to] of [['client', 'upstream'], ['upstream', 'client']])
        test(`${from} sends more than ${to} takes`, async (t) => {
            const world = await start(t);
            const ends = await bare(world);
            const digest = collect(ends[to]);
            ends[to].socket.pause();
            const mask = from === 'client';
            /* More than the kernel's buffers of all four sockets can grow to. */
            const pouring = pour(ends[from], frames(96e6, { mask }));
            let isPoured = false;
            pouring.then(() => (isPoured = true));
            for (let i = 0; i < 3; i++) {
                /* Stuck: nothing moves before this upgrade. */
                let before = -1;
                await eventually(() => {
                    const now = ends[from].socket.bytesWritten;
                    const isStill = now === before && now > 0;
                    before = now;
                    return isStill;
                }, 'a stand-still');
                const old = await world.gateway.upgrade();
                await gone(old, 10_000);
                await new Promise((resolve) => setTimeout(resolve, 100));
                assert.ok(!isPoured, 'nobody holds the sender up');
            }
            ends[to].socket.resume();
            const sent = await pouring;
            await arrives(ends[to], digest, sent);
            ends[from].sink = ends[to].sink = null;
            await stillJoined(ends);
        });

    test('both directions pour while upgrades come', async (t) => {
        const world = await start(t, { workers: 4 });
        const all = [];
        for (let i = 0; i < 4; i++)
            all.push(await bare(world));
        let isOver = false;
        const upgrades = (async () => {
            let count = 0;
            while (!isOver) {
                await world.gateway.upgrade();
                count++;
            }
            return count;
        })();
        await Promise.all(all.map(async ({ client, upstream }) => {
            const down = collect(client);
            const up = collect(upstream);
            const [sentDown, sentUp] = await Promise.all([
                pour(upstream, frames(16e6)),
                pour(client, frames(16e6, { mask: true })),
            ]);
            await arrives(client, down, sentDown);
            await arrives(upstream, up, sentUp);
        })).finally(() => (isOver = true));
        assert.ok(await upgrades > 0);
        for (const ends of all) {
            ends.client.sink = ends.upstream.sink = null;
            await stillJoined(ends);
        }
    });

    test('a client that takes nothing is still cut after its time',
         async (t) => {
        const world = await start(t, { args: ['--write-timeout', '6s'] });
        const { client, upstream } = await bare(world);
        client.socket.pause();
        pour(upstream, frames(64e6)).catch(() => {});
        await eventually(() => upstream.socket.writableLength > 0, 'stuck');
        await world.gateway.upgrade();
        await upstream.ended(40_000);
        const limited = () => world.gateway.metric(
            'sidgate_limited_total{limit="write_timeout"}');
        await eventually(async () => await limited() > 0, 'counted');
        assert.equal(await limited(), 1);
    });
});

describe('a frame that is cut by the upgrade', () => {
    for (const length of [5, 125, 126, 65535, 65536, 200_000])
        test(`${length} bytes, cut within head and payload`, async (t) => {
            const world = await start(t);
            const whole = frame(BINARY, 'y'.repeat(length));
            const cuts = [1, 2, 3, 9].filter((at) => at < whole.length - 1);
            const all = [];
            for (const at of [...cuts, whole.length - 1]) {
                const ends = await bare(world);
                ends.upstream.send(whole.subarray(0, at));
                assert.deepEqual(await ends.client.bytes(at),
                                 whole.subarray(0, at));
                all.push({ ...ends, at });
            }
            await world.gateway.upgrade();
            /* It ends all sessions, at a frame's end and not before. */
            process.kill(world.gateway.pid, 'SIGTERM');
            await world.gateway.logged(/ shutdown signal=SIGTERM/);
            await Promise.all(all.map(async ({ client, upstream, at }) => {
                await new Promise((resolve) => setTimeout(resolve, 300));
                assert.equal(client.buffer.length, 0, `${at}: no close yet`);
                upstream.send(Buffer.concat([whole.subarray(at),
                                             frame(TEXT, 'not this')]));
                const rest = Buffer.concat([whole.subarray(at),
                                            closeFrame(1001)]);
                assert.deepEqual(await client.bytes(rest.length), rest);
                client.send(closeFrame(1001, { mask: true })).finish();
                await upstream.ended();
                upstream.finish();
                assert.equal((await client.rest()).bytes.length, 0);
            }));
        });

    test('a client\'s frame goes on where it was cut', async (t) => {
        const world = await start(t);
        const ends = await bare(world);
        const whole = frame(TEXT, 'z'.repeat(300), { mask: true });
        for (const [from, to] of [[0, 1], [1, 3], [3, 6], [6, 100],
                                  [100, whole.length]]) {
            const part = whole.subarray(from, to);
            ends.client.send(part);
            assert.deepEqual(await ends.upstream.bytes(part.length), part);
            await world.gateway.upgrade();
        }
        await stillJoined(ends);
    });

    test('reserved bits in its second half are still seen', async (t) => {
        const world = await start(t);
        const ends = await bare(world);
        const good = frame(TEXT, 'abc', { mask: true });
        ends.client.send(good.subarray(0, 4));
        await ends.upstream.bytes(4);
        await world.gateway.upgrade();
        const bad = Buffer.from(frame(TEXT, 'evil', { mask: true }));
        bad[0] |= 0x10;
        ends.client.send(Buffer.concat([good.subarray(4), bad]));
        const bye = closeFrame(1002);
        assert.deepEqual(await ends.client.bytes(bye.length), bye);
    });
});

describe('half-closed websockets', () => {
    test('the backend answers after the client\'s FIN', async (t) => {
        const world = await start(t);
        const ends = await bare(world);
        ends.client.finish();
        assert.equal(await ends.upstream.ended(), 'fin');
        await world.gateway.upgrade();
        const last = frame(TEXT, 'what you asked for');
        ends.upstream.send(last).finish();
        assert.deepEqual(await ends.client.bytes(last.length), last);
        assert.equal(await ends.client.ended(), 'fin');
    });

    test('the client answers after the backend\'s FIN', async (t) => {
        const world = await start(t);
        const ends = await bare(world);
        ends.upstream.finish();
        assert.equal(await ends.client.ended(), 'fin');
        await world.gateway.upgrade();
        const last = frame(TEXT, 'bye', { mask: true });
        ends.client.send(last).finish();
        assert.deepEqual(await ends.upstream.bytes(last.length), last);
        assert.equal(await ends.upstream.ended(), 'fin');
    });

    test('a FIN behind bytes that nobody takes', async (t) => {
        const world = await start(t);
        const ends = await bare(world);
        const digest = collect(ends.client);
        ends.client.socket.pause();
        /* More than the kernel keeps for all four sockets. */
        const pouring = pour(ends.upstream, frames(64e6));
        await eventually(() => ends.upstream.socket.writableLength > 0,
                         'stuck');
        const old = await world.gateway.upgrade();
        ends.client.socket.resume();
        const sent = await pouring;
        ends.upstream.finish();
        await arrives(ends.client, digest, sent);
        assert.equal(await ends.client.ended(), 'fin');
        ends.client.finish();
        assert.equal(await ends.upstream.ended(), 'fin');
        await gone(old);
    });

    test('a reset during the hand-over reaches the other end', async (t) => {
        const world = await start(t);
        const all = [];
        for (let i = 0; i < 10; i++)
            all.push(await bare(world));
        const mark = world.gateway.begin();
        all.forEach(({ client }, i) => i % 2 && client.reset());
        await world.gateway.succeeds(mark);
        all.forEach(({ client }, i) => i % 2 || client.reset());
        await Promise.all(all.map(({ upstream }) => upstream.ended(20_000)));
        await eventually(async () =>
            await world.gateway.metric('sidgate_tunnels') === 0, 'no tunnel');
    });
});

describe('websockets that begin around the upgrade', () => {
    test('a session that is told of after it is bound', async (t) => {
        const world = await start(t, { count: 2 });
        const all = [];
        for (const backend of world.backends)
            backend.silent = true;
        for (let i = 0; i < 6; i++) {
            const client = await connect(world.gateway.port, PLAIN);
            client.send(upgradeRequest());
            assert.equal((await client.head()).status, 101);
            all.push(client);
        }
        await gone(await world.gateway.upgrade(), 10_000);
        let told = 0;
        for (const backend of world.backends)
            for (const wire of backend.connections)
                if (wire.openLater) {
                    wire.openLater();
                    told++;
                }
        assert.equal(told, 6);
        for (const client of all) {
            const head = await client.bytes(2);
            const open = await client.bytes(head[1]);
            const { sid } = JSON.parse(open.toString().slice(1));
            /* It has an owner: nobody is asked, and polls reach it. */
            await polls(world.gateway.port, sid, PLAIN);
        }
        for (const backend of world.backends)
            assert.equal(backend.probes.length, 0);
        assert.equal(await world.gateway.sessions(), 6);
        all.forEach((client) => client.destroy());
        await eventually(async () =>
            await world.gateway.sessions() === 0, 'unbound');
    });

    test('the first frame is cut by the upgrade', async (t) => {
        const world = await start(t);
        const open = frame(TEXT, openPacket(newSid()));
        for (const cut of [1, 3, 20, open.length - 1]) {
            let upstream = null;
            const sid = newSid();
            const bytes = frame(TEXT, openPacket(sid));
            world.backend.sids.add(sid);
            world.backend.onHandshake = (request, wire) => {
                wire.taken = true;
                upstream = wire;
                wire.send(switching(request));
                wire.send(bytes.subarray(0, cut));
            };
            const client = await connect(world.gateway.port, PLAIN);
            client.send(upgradeRequest());
            assert.equal((await client.head()).status, 101);
            await client.until(() => client.buffer.length >= cut, 'a part');
            await world.gateway.upgrade();
            upstream.send(bytes.subarray(cut));
            assert.deepEqual(await client.bytes(bytes.length), bytes);
            await polls(world.gateway.port, sid, PLAIN);
        }
        assert.equal(world.backend.probes.length, 0);
    });

    test('the 101 comes after the hand-over', async (t) => {
        const world = await start(t);
        const { onPoll } = world.backend;
        const asked = [];
        world.backend.onPoll = (request, wire, sid) => {
            if (parameters(request.target).get('transport') !== 'websocket')
                return onPoll(request, wire, sid);
            wire.taken = true;
            asked.push(() => {
                wire.send(switching(request));
                wire.sink = (chunk) => wire.socket.write(chunk);
            });
            return undefined;
        };
        const sid = await openSession(world.gateway.port, PLAIN);
        const client = await connect(world.gateway.port, PLAIN);
        const probe = Buffer.concat([frame(TEXT, '2probe', { mask: true }),
                                     frame(TEXT, '5', { mask: true })]);
        client.send(upgradeRequest(
            `/socket.io/?EIO=4&transport=websocket&sid=${sid}`));
        await eventually(() => asked.length > 0, 'the backend is asked');
        const old = await world.gateway.upgrade();
        assert.ok(!isGone(old), 'it waits for the answer');
        asked[0]();
        assert.equal((await client.head()).status, 101);
        client.send(probe);
        assert.deepEqual(await client.bytes(probe.length), probe);
        await gone(old, 10_000);
        const more = frame(TEXT, '4more', { mask: true });
        client.send(more);
        assert.deepEqual(await client.bytes(more.length), more);
        assert.equal(await world.gateway.metric('sidgate_tunnels'), 1);
    });

    test('an upgrade of the session that is half done counts once',
         async (t) => {
        const world = await start(t);
        const successes = 'sidgate_upgrade_successes_total{backend="n1"}';
        const failures = async () => [...await world.gateway.metrics()]
            .filter(([name]) => name.startsWith('sidgate_upgrade_failures'))
            .reduce((sum, [, value]) => sum + value, 0);
        const ends = await bare(world);
        const half = frame(TEXT, '2probe', { mask: true });
        ends.client.send(half);
        await ends.upstream.bytes(half.length);
        assert.equal(await world.gateway.metric(successes), 0);
        const old = await world.gateway.upgrade();
        await gone(old, 10_000);
        const rest = frame(TEXT, '5', { mask: true });
        ends.client.send(rest);
        await ends.upstream.bytes(rest.length);
        await eventually(async () =>
            await world.gateway.metric(successes) === 1, 'counted');
        assert.equal(await world.gateway.metric(
            'sidgate_upgrade_attempts_total{backend="n1"}'), 1);
        await world.gateway.upgrade();
        await stillJoined(ends);
        assert.equal(await failures(), 0);
        assert.equal(await world.gateway.metric(successes), 0);
        ends.client.destroy();
        await ends.upstream.ended();
        ends.upstream.finish();
        await eventually(async () =>
            await world.gateway.sessions() === 0, 'unbound');
        assert.equal(await failures(), 0);
    });

    test('a handshake on its way ends with its session bound', async (t) => {
        const world = await start(t, { count: 2 });
        const held = [];
        for (const backend of world.backends) {
            const { onHandshake } = backend;
            backend.onHandshake = (request, wire) => new Promise((resolve) =>
                held.push(() => resolve(onHandshake(request, wire))));
        }
        const asked = Array.from({ length: 8 }, () =>
            exchange(world.gateway.port, handshakeRequest(), 'GET', PLAIN));
        await eventually(() => held.length === 8, 'all asked');
        const old = await world.gateway.upgrade();
        held.forEach((go) => go());
        for (const answer of await Promise.all(asked)) {
            assert.equal(answer.status, 200, answer.text);
            await polls(world.gateway.port,
                        JSON.parse(answer.text.slice(1)).sid, PLAIN);
        }
        assert.ok(world.backends.every(({ probes }) => probes.length === 0));
        await gone(old, 10_000);
    });

    test('one tunnel through twenty upgrades', { timeout: SLOW_MS },
         async (t) => {
        const world = await start(t);
        const client = await openTunnel(world.gateway.port, PLAIN);
        for (let i = 0; i < 20; i++) {
            const bytes = frame(TEXT, `round ${i}`, { mask: true });
            client.send(bytes.subarray(0, 3));
            await world.gateway.upgrade();
            client.send(bytes.subarray(3));
            assert.deepEqual(await client.bytes(bytes.length), bytes);
        }
    });
});
