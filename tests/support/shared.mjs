/* SPDX-License-Identifier: MIT */
/* Replicas, a Redis and scripted Engine.IO backends for all tests of a
 * describe(), and what such tests ask of them. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach } from 'node:test';

import { ok } from './backend.mjs';
import { openPacket, parameters } from './engine.mjs';
import { openSession, cluster as start } from './replicas.mjs';
import { connect, eventually } from './wire.mjs';

export function keyOf(sid)
{
    return `sidgate:session:${sid}`;
}

/* All sessions' keys are gone. */
export function noSessions(redis)
{
    return eventually(async () => (await redis.keys(keyOf('*'))).length === 0,
                      'no session key left', 10_000);
}

export function isGone(redis, sid, ms = 5000)
{
    return eventually(async () =>
        await redis.command('EXISTS', keyOf(sid)) === 0,
        `no key of ${sid}`, ms);
}

/* The answers that `backend` gives to handshakes from now on carry `sid`. */
export function mintsSid(backend, sid, more)
{
    backend.onHandshake = (request, wire) => {
        backend.sids.add(sid);
        wire.send(ok(openPacket(sid, more)));
    };
}

/* What came for `sid` to a backend, but for the inert questions. */
export function requestsOf(backend, sid)
{
    return backend.requests.filter(({ target }) =>
        parameters(target).get('sid') === sid);
}

export const DENIAL = '{"code":1,"message":"Session ID unknown"}';

export function answer(status, body, fields = '')
{
    return `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n` +
        `${fields}\r\n${body}`;
}

/* Each piece is a chunk. */
export function chunked(status, pieces, fields = '')
{
    const chunks = pieces.map((piece) =>
        `${piece.length.toString(16)}\r\n${piece}\r\n`).join('');
    return `HTTP/1.1 ${status} X\r\nTransfer-Encoding: chunked\r\n${fields}` +
        `\r\n${chunks}0\r\n\r\n`;
}

/* Whatever reaches `backend`, it does this with the connection. */
export function deniesBy(backend, denial)
{
    backend.handler = (request, wire) => denial(wire);
}

export function plain(response)
{
    return { status: response.status, text: response.text };
}

export const whole = (bytes) => (wire) => wire.send(bytes);

/* Call it first within a describe(). Options as cluster() has them; the object
 * has its members once tests run, and open(gateway) for connections that end
 * with each test. */
export function shared(options)
{
    const world = {};
    const ends = [];
    const wires = [];

    before(async () => {
        Object.assign(world, await start({ after: (end) => ends.push(end) },
                                         options));
    });
    beforeEach(() => world.backends.forEach((backend) => backend.reset()));
    afterEach(() => {
        for (const wire of wires.splice(0))
            wire.destroy();
        for (const { errors } of world.backends)
            assert.deepEqual(errors.map(String), [],
                             'what reached the backend was malformed');
    });
    after(async () => {
        for (const end of ends)
            await end();
    });
    world.open = async (gateway) => {
        const wire = await connect(gateway.port);
        wires.push(wire);
        return wire;
    };

    /* A session through `gateway`; gives {sid, owner, other}. */
    world.session = async (gateway = world.gateways[0]) => {
        const sid = await openSession(gateway);
        const owner = world.backends.find(({ sids }) => sids.has(sid));
        const other = world.backends.find((one) => one !== owner);
        return { sid, owner, other };
    };

    /* The same, and then another replica has bound it to `other`, which knows
     * it from now on; the first one does not know of that. */
    world.moved = async (gateway) => {
        const session = await world.session(gateway);
        const { sid, owner, other } = session;
        owner.sids.delete(sid);
        other.sids.add(sid);
        await world.redis.command('HSET', keyOf(sid), 'backend', other.id);
        owner.requests = [];
        other.requests = [];
        return session;
    };
    return world;
}
