/* SPDX-License-Identifier: MIT */
/* Sessions that are held, as websockets or polls, and when each was closed. */

import assert from 'node:assert/strict';

import { ok } from './backend.mjs';
import { handshakeRequest, newSid, openPacket, parameters, sidRequest,
         switching, upgradeRequest } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { connect, eventually, exchange } from './wire.mjs';

const STILL_MS = 1000;
const LOOKS = 20;
const SLOWER = 0.3;
const FASTER = 0.2;
const BODY = 0.9; /* of all that are closed: the last ones may be late */
const TICK_MS = 20;
const HELD_UP_MS = 150;

/* When this process did not run: mostly the whole machine stood still. */
const standstills = []; /* {from, to} */
let last = performance.now();
setInterval(() => {
    const now = performance.now();
    if (now - last > HELD_UP_MS)
        standstills.push({ from: last, to: now });
    last = now;
}, TICK_MS).unref();

const GOING_AWAY = Buffer.from([0x88, 2, 1001 >> 8, 1001 & 255]);

/* Makes an Engine.IO backend hold polls and tunnels until they are ended. */
export function holds(backend)
{
    const isClose = (chunk) => (chunk[0] & 0x0f) === 8;
    backend.onHandshake = (request, wire) => {
        const sid = `${backend.id}.${newSid()}`;
        backend.sids.add(sid);
        if (parameters(request.target).get('transport') !== 'websocket') {
            wire.send(ok(openPacket(sid)));
            return;
        }
        wire.taken = true;
        wire.send(switching(request));
        wire.send(frame(TEXT, openPacket(sid)));
        wire.sink = (chunk) => isClose(chunk) && wire.destroy();
    };
    backend.onPoll = (request, wire) => {
        wire.taken = true;
        /* Who is gone, or is told to go, has no session any more. */
        wire.until(() => wire.over, 'its end', Infinity).then(() =>
            backend.sids.delete(parameters(request.target).get('sid')));
    };
    return backend;
}

/* One held session: {home, isTunnel, closedAt, how}; closedAt is null while it
 * lives, how is 'close' when it was told to go, else how it broke. */
async function holdTunnel(port)
{
    const wire = await connect(port);
    wire.send(upgradeRequest());
    assert.equal((await wire.head()).status, 101);
    const start = await wire.bytes(2);
    const text = (await wire.bytes(start[1])).toString();
    const session = { wire, isTunnel: true, closedAt: null, how: '',
                      home: JSON.parse(text.slice(1)).sid.split('.')[0] };
    let got = Buffer.alloc(0);
    wire.sink = (chunk) => {
        got = Buffer.concat([got, chunk]);
        if (session.closedAt !== null || got.length < 4)
            return;
        session.closedAt = performance.now();
        session.how = got.equals(GOING_AWAY) ? 'close' : got.toString('hex');
        wire.send(frame(8, [1001 >> 8, 1001 & 255], { mask: true }));
    };
    wire.until(() => wire.over, 'its end', Infinity).then(() => {
        if (session.closedAt === null && !session.isOver) {
            session.closedAt = performance.now();
            session.how = wire.error ?? 'end';
        }
        wire.destroy();
    });
    return session;
}

async function holdPoll(port)
{
    const open = await exchange(port, handshakeRequest());
    assert.equal(open.status, 200, open.text);
    const { sid } = JSON.parse(open.text.slice(1));
    const wire = await connect(port);
    const session = { wire, sid, isTunnel: false, closedAt: null, how: '',
                      home: sid.split('.')[0] };
    wire.send(sidRequest(sid));
    wire.response('GET', Infinity).then(({ status, text }) => {
        session.closedAt = performance.now();
        session.how = status === 200 && text === '1' ? 'close' :
            `${status} ${text}`;
    }, (error) => {
        if (!session.isOver) {
            session.closedAt = performance.now();
            session.how = String(error);
        }
    });
    return session;
}

/* `count` of them at `home`, half of them polls; sessions that other backends
 * get are held as well. Gives all, with end() to be called at last. */
export async function hold(gateway, count, home = null)
{
    const all = [];
    for (let here = 0; here < count;) {
        const one = await (all.length % 2 === 0 ? holdTunnel : holdPoll)(
            gateway.port);
        all.push(one);
        here += home === null || one.home === home;
    }
    return all;
}

export function release(sessions)
{
    for (const session of sessions) {
        session.isOver = true;
        session.wire.destroy();
    }
}

export const closed = (sessions) =>
    sessions.filter(({ closedAt }) => closedAt !== null);

/* Resolves once none was closed for a while: to how many were. */
export async function standstill(sessions)
{
    let count;
    let since;
    let looks;
    await eventually(() => {
        const now = closed(sessions).length;
        if (now !== count) {
            since = performance.now();
            looks = 0;
        }
        count = now;
        /* If this process stood still, some may have come and not been read. */
        return ++looks > LOOKS && performance.now() - since > STILL_MS;
    }, 'a standstill');
    return count;
}

/* What is seen at the end of a standstill may have come at its beginning. */
function earliest(ms)
{
    const one = standstills.find(({ from, to }) =>
        ms > from && ms < to + 2 * TICK_MS);
    return one?.from ?? ms;
}

function stoodStill(from, to)
{
    return standstills.reduce((sum, one) => sum + Math.max(0,
        Math.min(to, one.to) - Math.max(from, one.from)), 0);
}

/* All were closed in order, at about `rate` each second: never more than that
 * from `since` on, when it had not been ordered yet, and what was not used is
 * kept for a second at most; and not less while the machine ran. */
export function assertPace(sessions, rate, since)
{
    const times = sessions.map(({ closedAt }) => closedAt)
        .sort((a, b) => a - b);
    const first = earliest(times[0]);
    const most = rate * (1 + FASTER) / 1000;
    const body = Math.floor((times.length - 1) * BODY);
    const ran = times[body] - times[0] - stoodStill(times[0], times[body]);
    const all = () => times.map((ms) => Math.round(ms - since)).join(' ');
    for (const { how } of sessions)
        assert.equal(how, 'close');
    times.forEach((ms, i) => assert.ok(
        i < most * (ms - since) && i <= most * (ms - first) + rate,
        `${i} by ${Math.round(ms - since)} ms at ${rate}: ${all()}`));
    assert.ok(body > rate * (1 - SLOWER) / 1000 * ran,
              `${body} only in ${Math.round(ran)} ms at ${rate}: ${all()}`);
}
