/* SPDX-License-Identifier: MIT */
/* A client as it should be, and how long it waits: sessions on connections of
 * their own, one that stays, and a websocket. */

import assert from 'node:assert/strict';

import { sidRequest, upgradeRequest, handshakeRequest } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { connect } from './wire.mjs';

const ANSWER_MS = 20_000;

/* One packet of each payload that polls bring, pings answered. */
async function pollFor(wire, sid, wanted)
{
    for (;;) {
        wire.send(sidRequest(sid));
        const { status, text } = await wire.response('GET', ANSWER_MS);
        assert.equal(status, 200, text);
        const packets = text.split('\x1e');
        if (packets.includes('2'))
            await post(wire, sid, '3');
        if (packets.includes(wanted))
            return;
    }
}

async function post(wire, sid, body)
{
    wire.send(sidRequest(sid, { method: 'POST', body,
        fields: 'Content-Type: text/plain;charset=UTF-8\r\n' }));
    const { status, text } = await wire.response('POST', ANSWER_MS);
    assert.equal(status, 200, text);
}

async function handshake(wire)
{
    wire.send(handshakeRequest());
    const { status, text } = await wire.response('GET', ANSWER_MS);
    assert.equal(status, 200, text);
    return JSON.parse(text.split('\x1e')[0].slice(1)).sid;
}

/* The payload of the next frame of a server, which is a short text. */
async function nextText(wire)
{
    const head = await wire.bytes(2, ANSWER_MS);
    let length = head[1];
    assert.equal(head[0], 0x81);
    if (length === 126)
        length = (await wire.bytes(2, ANSWER_MS)).readUInt16BE();
    return (await wire.bytes(length, ANSWER_MS)).toString();
}

function say(wire, text)
{
    wire.send(frame(TEXT, text, { mask: true }));
}

async function echo(wire, text)
{
    say(wire, text);
    for (;;) {
        const said = await nextText(wire);
        if (said === '2')
            say(wire, '3');
        if (said === text)
            return;
    }
}

/*
 * Connects; `secure` as connect() has it. round(n) does one of everything and
 * notes how long each took, in ms, in `times`, an object of lists; begin()
 * starts new ones.
 */
export async function startHealthy(port, secure = false)
{
    const open = () => connect(port, { secure });
    const kept = await open();
    const sid = await handshake(kept);
    const tunnel = await open();
    tunnel.send(upgradeRequest());
    assert.equal((await tunnel.head()).status, 101);
    assert.match(await nextText(tunnel), /^0{/);

    const client = { times: {} };
    const timed = async (what, run) => {
        const start = performance.now();
        const value = await run();
        (client.times[what] ??= []).push(performance.now() - start);
        return value;
    };
    const session = async (n) => {
        const wire = await timed('connect', open);
        try {
            const own = await timed('handshake', () => handshake(wire));
            await timed('post', () => post(wire, own, `4a${n}`));
            await timed('poll', () => pollFor(wire, own, `4a${n}`));
            await post(wire, own, '1');
        } finally {
            wire.destroy();
        }
    };

    client.begin = () => {
        client.times = {};
    };
    client.round = async (n) => {
        await session(n);
        await timed('kept post', () => post(kept, sid, `4b${n}`));
        await timed('kept poll', () => pollFor(kept, sid, `4b${n}`));
        await timed('echo', () => echo(tunnel, `4c${n}`));
        kept.history = [];
        tunnel.history = [];
    };
    client.stop = () => {
        kept.destroy();
        tunnel.destroy();
    };
    return client;
}

/* {count, p50, p99, max} of all that was noted. */
export function summary(times)
{
    const all = Object.values(times).flat().sort((a, b) => a - b);
    const at = (share) =>
        all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0;
    return { count: all.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
