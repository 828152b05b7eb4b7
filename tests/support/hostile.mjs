/* SPDX-License-Identifier: MIT */
/* What a gateway must do before a Redis that misbehaves, whatever that does:
 * handshakes and polls go on, each answer comes in time, and Redis is used
 * again once it behaves. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { handshakeRequest, newSid, sidRequest, startEngine } from
    './engine.mjs';
import { startFakeRedis } from './fake-redis.mjs';
import { startRedis } from './redis.mjs';
import {
    ask, openSession, sidOf, startReplica, storeIs,
} from './replicas.mjs';

const BOUND_MS = 8000; /* some 0.3 s, and what a busy machine adds */
const BACK_MS = 30_000;

/* What answers everything but the beginning of a connection. */
export function says(bytes)
{
    return (fake) => {
        fake.answer = ({ isSetup }) => isSetup ? undefined : bytes;
    };
}

/* What answers lookups alone: scripts and the rest are right. */
export function lookupSays(bytes)
{
    return (fake) => {
        fake.answer = ({ name }) => name === 'HMGET' ? bytes : undefined;
    };
}

let redis;
const backends = [];

/* Call it first: a right Redis and two backends for all tests of a file. */
export function hostileFixture()
{
    before(async () => {
        redis = await startRedis();
        for (const id of ['n1', 'n2'])
            backends.push(await startEngine({ id }));
    });
    after(async () => {
        await Promise.all(backends.map((backend) => backend.stop()));
        await redis.stop();
    });
}

async function timely(port, bytes, what)
{
    const started = Date.now();
    const answer = await ask(port, bytes, { ms: BOUND_MS * 3 });
    const ms = Date.now() - started;
    assert.ok(ms < BOUND_MS, `${what} took ${ms} ms`);
    assert.equal(answer.status, 200, `${what}: ${answer.text}`);
    return answer;
}

/* Sessions that are new, that are known, and that only Redis or the backends
 * can tell of. */
async function goesOnMeanwhile(gateway, known, foreign)
{
    const { port } = gateway;
    const sids = [];
    await Promise.all([0, 1, 2].map(async () => {
        const sid = sidOf(await timely(port, handshakeRequest(), 'handshake'));
        await timely(port, sidRequest(sid), 'poll of a new session');
        sids.push(sid);
    }));
    for (const sid of [...sids, known])
        await timely(port, sidRequest(sid), 'poll of a known session');
    await timely(port, sidRequest(foreign.shift()), 'poll of a foreign one');
    await timely(port, handshakeRequest(), 'handshake');
    const unknown = await ask(port, sidRequest(newSid()),
                              { ms: BOUND_MS * 3 });
    assert.ok([400, 503].includes(unknown.status), String(unknown.status));
}

/* One behaviour after the other against one gateway, with a right Redis
 * between them. */
export async function survives(behaviours)
{
    const fake = await startFakeRedis(redis);
    let gateway;
    try {
        const prefix = `p${newSid()}`;
        gateway = await startReplica({ name: 'gw1', url: fake.url, backends,
            args: ['--store-prefix', prefix, '--recovery-rate', '0'] });
        await storeIs(gateway, true);
        const known = await openSession(gateway);
        for (const [what, misbehave] of behaviours) {
            try {
                await once(gateway, fake, known, misbehave);
            } catch (error) {
                error.message = `${what}: ${error.message}`;
                throw error;
            }
        }
        const end = await gateway.stop();
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
    } finally {
        await gateway?.stop('SIGKILL');
        await fake.stop();
    }
}

async function once(gateway, fake, known, misbehave)
{
    /* Sessions of the backends that no replica has told anybody. */
    const foreign = backends.map((backend) => {
        const sid = newSid();
        backend.sids.add(sid);
        return sid;
    });
    misbehave(fake);
    await goesOnMeanwhile(gateway, known, foreign);
    fake.right();
    fake.drop();
    await back(gateway, fake);
    await goesOnMeanwhile(gateway, known, foreign);
}

/* Handshakes are written through again. */
async function back(gateway, fake)
{
    const end = Date.now() + BACK_MS;
    for (;;) {
        const sid = sidOf(await timely(gateway.port, handshakeRequest(),
                                       'handshake'));
        if (fake.commands.some((args) => args[0].startsWith('EVAL') &&
            args.some((arg) => arg.endsWith(sid))) &&
            (await redis.keys(`*:session:${sid}`)).length === 1)
            return;
        assert.ok(Date.now() < end, `Redis is not used again:\n` +
            gateway.stderr().slice(-1000));
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/*
 * Tests for all of `table`, an object or a list, whose values `make` turns into
 * what spoils a fake Redis. A few of them share a gateway.
 */
export function each(title, table, make = (value) => value, groups = 4)
{
    const all = Object.entries(table).map(([what, value]) =>
        [Array.isArray(table) ? JSON.stringify(value).slice(0, 60) : what,
         make(value)]);
    for (let i = 0; i < groups; i++) {
        const some = all.filter((_, n) => n % groups === i);
        const names = some.map(([what]) => what).join('; ').slice(0, 300);
        test(`${title}: ${names}`, () => survives(some));
    }
}
