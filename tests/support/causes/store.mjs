/* SPDX-License-Identifier: MIT */
/* What the shared store and other replicas move. */

import assert from 'node:assert/strict';

import { sidRequest } from '../engine.mjs';
import { frame, TEXT } from '../frames.mjs';
import { ask, openSession, startReplica, storeIs } from '../replicas.mjs';
import { eventually } from '../wire.mjs';

/* Only where the store is away is anything late. */
const CALM = ['--store-timeout', '8s'];
const REDIS = { redis: true, args: CALM };
const AWAY = { redis: true, args: ['--store-timeout', '2s'] };

const asked = (op) => ({ [`store_duration_seconds_count{op="${op}"}`]:
    (n) => n >= 1 });

/* One more gateway, which has seen no session. */
async function another(world, { backends = world.backends } = {})
{
    const gateway = await startReplica({ name: 'gw2', url: world.redis.url,
                                         backends, args: CALM });
    world.others = [gateway];
    await storeIs(gateway, true);
    return gateway;
}

export const store = [
    {
        name: 'a new session', needs: REDIS,
        moves: { ...asked('put'), store_errors_total: 0,
                 'sessions{backend="n1",transport="polling"}': 1 },
        cause: (world) => world.session(),
    }, {
        name: 'one that is remembered', needs: REDIS,
        moves: { 'routed_total{source="cache"}': 1, store_lookups_total: 0 },
        prepare: (world) => world.session(),
        cause: (world, sid) => world.poll(sid),
    }, {
        name: 'one that ends', needs: REDIS,
        moves: { ...asked('remove'),
                 'sessions_ended_total{cause="client"}': 1 },
        prepare: (world) => world.session(),
        cause: (world, sid) => world.post(sid, '1'),
    }, {
        name: 'one that another gateway has bound', needs: REDIS, fresh: true,
        moves: { 'routed_total{source="store"}': 1, store_lookups_total: 1,
                 ...asked('get') },
        prepare: async (world) => openSession(await another(world)),
        cause: (world, sid) => world.poll(sid),
    }, {
        name: 'one that becomes a websocket', needs: REDIS, fresh: true,
        moves: asked('touch'),
        prepare: (world) => world.session(),
        cause: async (world, sid) => {
            const { client, upstream } = await world.websocket(sid);
            for (const text of ['2probe', '5']) {
                const bytes = frame(TEXT, text, { mask: true });
                client.send(bytes);
                await upstream.bytes(bytes.length);
            }
        },
    }, {
        name: 'a replica joins', needs: REDIS, fresh: true,
        moves: { replicas: 1 },
        cause: (world) => another(world),
    }, {
        name: 'a replica goes', needs: REDIS, fresh: true,
        moves: { replicas: -1 },
        prepare: async (world) => {
            const other = await another(world);
            await eventually(async () =>
                await world.gateway.metric('sidgate_replicas') === 2, 'two');
            return other;
        },
        cause: (world, other) => other.stop(),
    }, {
        name: 'a replica that has other backends', fresh: true,
        needs: { ...REDIS, count: 2 },
        moves: { 'backend_state{backend="n1",state="up"}': -1,
                 'backend_state{backend="n1",state="unagreed"}': 1,
                 'backend_up{backend="n1"}': -1 },
        cause: (world) => another(world, {
            backends: [world.backends[1]] }),
    }, {
        name: 'the store is away', needs: AWAY, fresh: true,
        moves: { store_up: -1, store_connections: 0,
                 store_errors_total: (n) => n > 0,
                 sessions_unwritten_total: 1 },
        cause: async (world) => {
            await world.redis.pause();
            await world.session();
        },
        finish: (world) => world.redis.resume(),
    }, {
        name: 'the store has lost what it held', needs: REDIS, fresh: true,
        moves: { republished_total: (n) => n >= 1 },
        prepare: (world) => world.session(),
        cause: async (world) => {
            await world.redis.restart();
        },
    }, {
        name: 'the store knows better than the cache', fresh: true,
        needs: { ...REDIS, count: 2 },
        moves: { rerouted_total: 1 },
        prepare: async (world) => {
            const { backends } = world;
            for (const backend of backends)
                backend.mint = () => 'moves-house';
            await world.session();
            return backends.find(({ sids }) => sids.size > 0);
        },
        /* The old owner forgets it, and the other gateway binds it anew. */
        cause: async (world, owner) => {
            const heir = world.backends.find((one) => one !== owner);
            owner.sids.clear();
            const other = await another(world);
            while (heir.sids.size === 0) {
                owner.sids.clear();
                await openSession(other);
            }
            owner.sids.clear();
            const got = await ask(world.port, sidRequest('moves-house'));
            assert.equal(got.status, 200);
        },
    },
];
