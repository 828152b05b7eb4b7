/* SPDX-License-Identifier: MIT */
/* Open tunnels: bytes both ways unchanged, and how they end. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { arrives, BINARY, closeFrame, collect, frame, frames, openTunnel, pour,
         TEXT } from '../support/frames.mjs';
import { eventually, inTime } from '../support/wire.mjs';

describe('tunnels', () => {
    const gateway = fixture();

    it('carry frames of every size both ways at once', async () => {
        const { client, upstream } = await openTunnel(gateway);
        const down = collect(client);
        const up = collect(upstream);
        const [sentDown, sentUp] = await Promise.all([
            pour(upstream, frames(8e6)),
            pour(client, frames(8e6, { mask: true })),
        ]);
        await arrives(client, down, sentDown);
        await arrives(upstream, up, sentUp);
    });

    it('carry one frame of 4 MB', async () => {
        const { client, upstream } = await openTunnel(gateway);
        const down = collect(client);
        const big = frame(BINARY, Buffer.alloc(4e6, 'abcdefg'));
        await arrives(client, down, await pour(upstream, [big]));
    });

    it('carry frames in single bytes', async () => {
        const { client, upstream } = await openTunnel(gateway);
        const masked = frame(TEXT, 'x'.repeat(130), { mask: true });
        await client.sendPieces(masked);
        assert.deepEqual(await upstream.bytes(masked.length), masked);
        const plain = frame(TEXT, 'y'.repeat(130));
        await upstream.sendPieces(plain);
        assert.deepEqual(await client.bytes(plain.length), plain);
    });

    it('carry many small frames and their answers', async () => {
        const { client, upstream } = await openTunnel(gateway);
        for (let i = 0; i < 200; i++) {
            const question = frame(TEXT, `question ${i}`, { mask: true });
            client.send(question);
            assert.deepEqual(await upstream.bytes(question.length), question);
            const answer = frame(TEXT, `answer ${i}`);
            upstream.send(answer);
            assert.deepEqual(await client.bytes(answer.length), answer);
        }
    });

    it('carry a close handshake of the two ends', async () => {
        const { client, upstream } = await openTunnel(gateway);
        const bye = closeFrame(4001);
        upstream.send(bye);
        assert.deepEqual(await client.bytes(bye.length), bye);
        const answer = closeFrame(4001, { mask: true });
        client.send(answer);
        assert.deepEqual(await upstream.bytes(answer.length), answer);
        upstream.finish();
        assert.equal(await client.ended(), 'fin');
        client.finish();
        assert.equal(await upstream.ended(), 'fin');
    });

    for (const [from, to] of [['upstream', 'client'], ['client', 'upstream']]) {
        it(`${from} ends: what is on its way arrives first`, async () => {
            const ends = await openTunnel(gateway);
            const digest = collect(ends[to]);
            ends[to].socket.pause();
            const mask = from === 'client';
            const pouring = pour(ends[from], frames(12e6, { mask }));
            /* Stuck: no more than the buffers on the way take. */
            await gateway.stillServes();
            ends[to].socket.resume();
            const sent = await pouring;
            ends[from].finish();
            await arrives(ends[to], digest, sent);
            assert.equal(await ends[to].ended(6000), 'fin');
        });

        it(`${from} ends while ${to} does not read`, async () => {
            const ends = await openTunnel(gateway);
            const digest = collect(ends[to]);
            ends[to].socket.pause();
            const mask = from === 'client';
            /* Less than the kernel's buffers take: the FIN is sent at once. */
            const sent = await pour(ends[from], frames(300000, { mask }));
            ends[from].finish();
            await gateway.stillServes();
            ends[to].socket.resume();
            await arrives(ends[to], digest, sent);
            assert.equal(await ends[to].ended(6000), 'fin');
        });

        it(`${from} aborts: the other end sees it within 1 s`, () =>
            inTime(async () => {
                const ends = await openTunnel(gateway);
                const mask = from === 'client';
                ends[from].send(frame(TEXT, 'x', { mask }));
                await ends[to].until(() => ends[to].total > 0, 'a frame');
                const start = performance.now();
                ends[from].reset();
                await ends[to].ended();
                return performance.now() - start;
            }, 1000));

        it(`CVE-2025-62409: ${from} aborts under back-pressure`, async () => {
            const ends = await openTunnel(gateway);
            ends[from].socket.pause();
            const mask = to === 'client';
            pour(ends[to], frames(20e6, { mask })).catch(() => {});
            await gateway.stillServes();
            ends[from].reset();
            await ends[to].ended(6000);
            await gateway.stillServes();
        });
    }

    it('are counted, and no longer when they end', async () => {
        const tunnels = async () =>
            (await gateway.gateway.metrics()).get('sidgate_tunnels');
        for (const wire of gateway.backend.connections)
            wire.destroy();
        await eventually(async () => await tunnels() === 0, 'no tunnel');
        const { client, upstream } = await openTunnel(gateway);
        await eventually(async () => await tunnels() === 1, 'a tunnel');
        client.finish();
        await upstream.ended();
        upstream.finish();
        await client.ended();
        await eventually(async () => await tunnels() === 0, 'no tunnel');
    });
});
