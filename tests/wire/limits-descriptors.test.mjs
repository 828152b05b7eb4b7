/* SPDX-License-Identifier: MIT */
/* More clients than descriptors: who is too many is told so, whoever is in goes
 * on, the operator is answered, nothing spins, and all is well soon after. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { handshakeRequest, sidRequest, switching, upgradeRequest }
    from '../support/engine.mjs';
import { startCluster, stopCluster } from '../support/fixture.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { gatewayBinary } from '../support/gateway.mjs';
import { cpuMs, descriptors, isSanitized, spentLimit }
    from '../support/process.mjs';
import { connect, eventually, exchange, FOREVER } from '../support/wire.mjs';

const DESCRIPTORS = 256;
const CLIENTS = 400;
const BACK_MS = 4000;
const TOLD = /^HTTP\/1\.1 503 /;

/* A gateway that is started with so few of them, as a shell would. */
async function fewDescriptors(options)
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-few-'));
    const script = path.join(folder, 'sidgate');
    const binary = process.env.SIDGATE_BIN;
    writeFileSync(script, `#!/bin/sh\nulimit -n ${DESCRIPTORS} || exit 1\n` +
        `exec '${path.resolve(gatewayBinary())}' "$@"\n`);
    chmodSync(script, 0o755);
    process.env.SIDGATE_BIN = script;
    try {
        return await startCluster(options);
    } finally {
        process.env.SIDGATE_BIN = binary ?? '';
        rmSync(folder, { recursive: true });
    }
}

/* The soft limit of one that runs. */
function limit(cluster, descriptorCount)
{
    execFileSync('prlimit', ['--pid', String(cluster.gateway.pid),
                             `--nofile=${descriptorCount}:`]);
}

async function fewerDescriptors(options)
{
    const cluster = await startCluster(options);
    limit(cluster, DESCRIPTORS);
    return cluster;
}

async function sessionOf(cluster)
{
    const { text } = await exchange(cluster.port, handshakeRequest());
    return JSON.parse(text.slice(1)).sid;
}

/* What clients do, and when the gateway has taken them in. */
const KINDS = {
    'silent connections': {
        bytes: () => '',
        isIn: (wire) => wire.total === 0,
    },
    'polls that a backend holds': {
        bytes: (cluster) => sidRequest(cluster.sid),
        isIn: (wire) => wire.total === 0,
    },
    tunnels: {
        bytes: () => upgradeRequest('/x'),
        isIn: (wire) => wire.buffer.toString('latin1', 9, 12) === '101',
        isAnswered: true,
    },
};

/* {in: [Wire], refused: [Wire], closed: n} of so many clients; all that are
 * connected are added to `wires`. */
async function crowd(cluster, { bytes, isIn, isAnswered }, wires)
{
    const result = { in: [], refused: [], closed: 0 };
    await Promise.all(Array.from({ length: CLIENTS }, async () => {
        const wire = await connect(cluster.port).catch(() => null);
        if (!wire) {
            result.closed++;
            return;
        }
        wires.push(wire);
        const said = bytes(cluster);
        if (said)
            wire.send(said);
    }));
    /* Whoever is too many is told so within the pause of accepting. */
    let last = -1;
    await eventually(async () => {
        const now = wires.filter(({ over }) => over).length;
        const isStill = now === last;
        last = now;
        await new Promise((resolve) => setTimeout(resolve, 400));
        return isStill && (!isAnswered ||
            wires.every((wire) => wire.over || wire.total > 0));
    }, 'an end of refusals', 20_000);
    for (const wire of wires) {
        if (wire.over && wire.total === 0)
            result.closed++;
        else if (!wire.over && isIn(wire))
            result.in.push(wire);
        else
            result.refused.push(wire);
    }
    return result;
}

const LIMITED = { 'from the start': fewDescriptors,
                  'while it runs': fewerDescriptors };

for (const [when, startFew] of Object.entries(LIMITED)) {
    describe(`${DESCRIPTORS} descriptors ${when}`, () => {
        let cluster;

        before(async () => {
            cluster = await startFew({ engine: true,
                                       args: ['--workers', '2'] });
            const { backend } = cluster;
            backend.onPoll = () => {}; /* held */
            const engine = backend.handler;
            backend.handler = (request, wire) => {
                if (!request.has('upgrade'))
                    return engine(request, wire);
                wire.taken = true;
                wire.send(switching(request));
                wire.until(() => wire.buffer.length > 0, 'a frame', FOREVER)
                    .then(() => wire.send(frame(TEXT, 'pong')), () => {});
                wire.socket.on('end', () => wire.finish());
                return undefined;
            };
        });
        after(() => stopCluster(cluster));

        for (const [name, kind] of Object.entries(KINDS)) {
            it(name, async (t) => {
                const wires = [];
                /* What fails here is not to fail the next one as well. */
                try {
                    await isCrowded(t, cluster, kind, wires);
                } finally {
                    wires.forEach((wire) => wire.destroy());
                }
                await isBack(cluster);
            });
        }
    });
}

describe(`${DESCRIPTORS} descriptors, when more are open`, () => {
    let cluster;

    before(async () => {
        cluster = await startCluster({ engine: true,
                                       args: ['--workers', '2'] });
    });
    after(() => stopCluster(cluster));

    it('tells who comes, and takes them in once the limit rises', async () => {
        const { gateway } = cluster;
        const wires = [];
        const connected = async (count) => {
            const more = await Promise.all(Array.from({ length: count },
                () => connect(cluster.port)));
            wires.push(...more);
            return more;
        };
        const isOpen = async (count) => (await gateway.metrics())
            .get('sidgate_connections') === count;
        /* By what lacked: a worker may accept with the reserve that another one
         * has just let go of; then it has a descriptor, but no room. */
        const refused = async () => {
            const metrics = await gateway.metrics();
            return ['descriptors', 'max_connections'].reduce((sum, limit) => sum +
                metrics.get(`sidgate_limited_total{limit="${limit}"}`), 0);
        };
        try {
            await connected(CLIENTS);
            await eventually(() => isOpen(CLIENTS), 'all in');
            /* A few are left, or none. */
            const limits = [spentLimit(gateway.pid) + 4, DESCRIPTORS];
            for (const [i, few] of limits.entries()) {
                limit(cluster, few);
                const late = await connected(8);
                await eventually(() => late.every(({ over }) => over), 'told');
                for (const wire of late)
                    assert.match(wire.buffer.toString('latin1'), TOLD);
                await eventually(async () => await refused() >= 8 * (i + 1),
                                 'counted');
                assert.equal(await refused(), 8 * (i + 1));
            }
            await keepsCalm(gateway);
            limit(cluster, 4 * CLIENTS);
            await connected(8);
            await eventually(() => isOpen(CLIENTS + 8), 'in again');
        } finally {
            wires.forEach((wire) => wire.destroy());
        }
        await isBack(cluster);
    });
});

async function isCrowded(t, cluster, kind, wires)
{
    const { gateway } = cluster;
    cluster.sid = await sessionOf(cluster);
    const result = await crowd(cluster, kind, wires);
    t.diagnostic(`${result.in.length} are in, ${result.refused.length} were ` +
        `told, ${result.closed} were closed; ` +
        `${descriptors(gateway.pid).length} descriptors`);
    /* Each of them has what it needs. */
    assert.ok(result.in.length >= 96, `${result.in.length} are in`);
    assert.ok(result.in.length < DESCRIPTORS);
    for (const wire of result.refused)
        assert.match(wire.buffer.toString('latin1'), TOLD);
    await keepsCalm(gateway);
    if (kind === KINDS.tunnels)
        await goesOn(result.in[0]);
}

async function keepsCalm(gateway)
{
    const start = cpuMs(gateway.pid);
    const since = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 600));
    const used = (cpuMs(gateway.pid) - start) * 1000 / (Date.now() - since);
    assert.ok(used < 200 || isSanitized(gateway.pid), `${used} ms of CPU`);
    for (const where of ['/healthz', '/metrics']) {
        const { status } = await gateway.get(where);
        assert.equal(status, 200);
    }
}

async function goesOn(wire)
{
    const head = await wire.head();
    assert.equal(head.status, 101);
    wire.send(frame(TEXT, 'ping', { mask: true }));
    assert.equal((await wire.bytes(6)).toString('latin1', 2), 'pong');
}

async function isBack(cluster)
{
    let last;
    await eventually(async () => {
        const answer = await exchange(cluster.port, handshakeRequest())
            .catch((error) => ({ error }));
        last = answer.status ?? answer.error;
        return last === 200;
    }, 'served again', BACK_MS).catch((error) => {
        throw new Error(`${error.message}: ${last}`);
    });
    await eventually(async () => (await cluster.gateway.metrics())
        .get('sidgate_connections') === 0, 'all gone');
}
