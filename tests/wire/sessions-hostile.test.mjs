/* SPDX-License-Identifier: MIT */
/* A Redis that answers an operator's questions with something else, or not at
 * all: there is an answer in time, and sessions go on. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { assertShape } from '../support/api.mjs';
import { newSid, startEngine } from '../support/engine.mjs';
import { startFakeRedis } from '../support/fake-redis.mjs';
import { startRedis } from '../support/redis.mjs';
import { goesOn, openSession, startReplica, stopReplicas,
         storeIs } from '../support/replicas.mjs';
import { array, bulk } from '../support/resp.mjs';
import { ROW, apiAt, listShape, page } from '../support/sessions.mjs';
import { keyOf } from '../support/shared.mjs';
import { eventually, IS_TLS } from '../support/wire.mjs';

const SKIP = { skip: IS_TLS && 'the operator listener has none' };
/* More than the gateway's own 4.5 s, by what a busy machine adds. */
const ANSWER_MS = 9000;

const SCANS = {
    'a number': ':7\r\n',
    'a nil array': '*-1\r\n',
    'an error': '-ERR no\r\n',
    'a right that is missing': '-NOPERM this user has no permissions\r\n',
    'no cursor': array(bulk('x'), array()),
    'a cursor that is too large': array(bulk('9'.repeat(30)), array()),
    'numbers for keys': array(bulk('0'), array(':1\r\n', ':2\r\n')),
    'more keys than there may be': array(bulk('0'),
        array(...Array(5000).fill(bulk(keyOf('a'))))),
    'arrays for keys': array(bulk('0'), array(array(bulk('a')), array())),
    'no reply of Redis': 'HTTP/1.1 400 Bad Request\r\n\r\n',
    'nothing': null,
};

describe('SCAN that is answered with', SKIP, () => {
    const world = {};

    before(async () => {
        world.redis = await startRedis();
        world.fake = await startFakeRedis(world.redis);
        world.backend = await startEngine({ id: 'n1' });
        world.gateway = await startReplica({ name: 'gw1', url: world.fake.url,
                                             backends: [world.backend] });
        await storeIs(world.gateway, true);
        world.sid = await openSession(world.gateway);
    });
    after(async () => {
        await stopReplicas([world.gateway]);
        await world.backend.stop();
        await world.fake.stop();
        await world.redis.stop();
    });

    async function listed()
    {
        const began = Date.now();
        const list = await page(world.gateway);
        assert.ok(Date.now() - began < ANSWER_MS);
        assertShape(list, listShape(ROW));
        return list;
    }

    /* Until Redis does right again. */
    async function recovers()
    {
        world.fake.right();
        await eventually(async () => (await page(world.gateway)).scope ===
            'store', 'the store', 10_000);
        await goesOn(world.gateway, world.sid);
    }

    for (const [what, bytes] of Object.entries(SCANS))
        test(what, async () => {
            world.fake.answer = ({ name }) => name === 'SCAN' ? bytes :
                undefined;
            const list = await listed();
            if (list.scope === 'local')
                assert.equal(list.sessions.length, 1);
            else
                assert.deepEqual(list.sessions, []);
            await goesOn(world.gateway, world.sid);
            await recovers();
        });

    test('a cursor that never ends', async () => {
        const keys = array(...Array(40).fill(bulk(keyOf(world.sid))));
        world.fake.answer = ({ name }) => name === 'SCAN' ?
            array(bulk('7'), keys) : undefined;
        const list = await listed();
        assert.equal(list.sessions.length, 40);
        assert.equal(list.looked_at, 40);
        const few = await page(world.gateway, { limit: 7 });
        assert.equal(few.sessions.length, 7);
        assert.notEqual(few.next, null);
        const none = await page(world.gateway, { backend: 'n9' });
        assert.ok(none.looked_at <= 5000);
        assert.deepEqual(none.sessions, []);
        await recovers();
    });

    test('nothing, and a cursor that never ends', async () => {
        world.fake.answer = ({ name }) => name === 'SCAN' ?
            array(bulk('7'), array()) : undefined;
        assert.notEqual((await listed()).next, null);
        await recovers();
    });

    test('a byte at a time', async () => {
        world.fake.dripMs = 20;
        await listed();
        await recovers();
    });

    test('and a PUBLISH with what is no number', async () => {
        const { gateway, fake, sid } = world;
        fake.answer = ({ name }) => name === 'PUBLISH' ? bulk('two') :
            undefined;
        const other = await openSession(gateway);
        assert.match(await apiAt(gateway).fails('POST',
            `sessions/${other}/kick`, 503), /only this replica was told/);
        await apiAt(gateway).fails('POST', `sessions/${newSid()}/kick`, 404);
        await goesOn(gateway, sid);
        await recovers();
    });
});
