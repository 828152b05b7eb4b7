/* SPDX-License-Identifier: MIT */
/* Upgrades of the gateway under a load of everything at once. */

import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { describe, test } from 'node:test';

import { gone, upgradable } from '../support/handover.mjs';
import { startLoad } from '../support/handover-load.mjs';
import { descriptors, isSanitized, statusBytes }
    from '../support/process.mjs';
import { eventually } from '../support/wire.mjs';

const ROUNDS = 10;

/* What a process has open, by kind and without numbers. */
function kinds(pid)
{
    const count = {};
    for (const fd of descriptors(pid)) {
        let name;
        try {
            name = readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
            continue; /* closed meanwhile */
        }
        name = name.replace(/:\[\d+\]$/, '');
        count[name] = (count[name] ?? 0) + 1;
    }
    return count;
}

function resident(pid)
{
    assert.ok(readFileSync(`/proc/${pid}/cmdline`).length > 0);
    return statusBytes(pid, 'VmRSS');
}

describe('upgrades under load', () => {
    test('ten in a row: nothing is lost, nothing leaks', async (t) => {
        const { gateway } = await upgradable(t, { count: 3 });
        const fresh = kinds(gateway.pid);
        const load = await startLoad(gateway.port,
                                     { tunnels: 40, pollers: 20, openers: 2 });
        const sizes = [];
        try {
            for (let round = 0; round < ROUNDS; round++) {
                await load.settles();
                load.forget();
                const old = await gateway.upgrade();
                await load.settles();
                await gone(old, 10_000);
                t.diagnostic(`longest stall ${load.longest()} ms`);
                sizes.push(resident(gateway.pid));
                assert.equal(await gateway.metric('sidgate_tunnels'), 40);
            }
        } finally {
            await load.stop();
        }
        await eventually(async () =>
            await gateway.metric('sidgate_connections') === 0 &&
            await gateway.metric('sidgate_tunnels') === 0, 'all gone', 10_000);
        /* Connections to backends are kept for a while, and each worker has a
         * descriptor in reserve from its first client on. */
        let now;
        await eventually(async () => {
            const idle = await gateway.metric(
                'sidgate_idle_backend_connections');
            now = kinds(gateway.pid);
            now.socket -= idle;
            return Object.keys(now).every((kind) =>
                now[kind] <= (fresh[kind] ?? 0) + 2);
        }, 'no descriptor more').catch((error) => {
            error.message += ` ${JSON.stringify([fresh, now])}`;
            throw error;
        });
        if (!isSanitized(gateway.pid))
            assert.ok(sizes.at(-1) < sizes[1] + 4e6, `grows: ${sizes}`);
    });

    test('the next one may come at once', async (t) => {
        const { gateway } = await upgradable(t, { count: 2 });
        const load = await startLoad(gateway.port, { tunnels: 20 });
        try {
            for (let round = 0; round < 5; round++)
                await gateway.upgrade();
            await load.settles();
        } finally {
            await load.stop();
        }
    });
});
