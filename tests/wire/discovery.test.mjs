/* SPDX-License-Identifier: MIT */
/* Backends by DNS: nodes appear and vanish under living sessions. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';

import { startDns } from '../support/dns.mjs';
import { handshakeRequest, sidRequest, startEngine, switching,
         upgradeRequest } from '../support/engine.mjs';
import { TEXT, frame } from '../support/frames.mjs';
import { startGateway } from '../support/gateway.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const NAME = 'app.test';
const SERVICE = '_app._tcp.test';
const COUNT = 3;
const hosts = Array.from({ length: COUNT }, (_, i) => `127.0.0.${i + 1}`);

/* One port on several addresses: all of them have to be free. */
async function startNodes()
{
    for (let i = 0; ; i++) {
        const nodes = [await startEngine({ id: hosts[0], host: hosts[0] })];
        try {
            for (const host of hosts.slice(1))
                nodes.push(await startEngine({ id: host, host,
                                               port: nodes[0].port }));
            return nodes;
        } catch (error) {
            for (const node of nodes)
                await node.stop();
            if (error.code !== 'EADDRINUSE' || i > 20)
                throw error;
        }
    }
}

/* Call it within a describe(). `discover`: what to look up, given the port;
 * `begin`: sets the names of the start. */
function discovering(discover, begin)
{
    const all = {};

    before(async () => {
        all.dns = await startDns();
        all.nodes = await startNodes();
        const [{ port }] = all.nodes;
        const ids = (list) => list.map((host) => `${host}:${port}`);

        /* The ids that get handshakes. */
        all.live = async () => {
            const { body } = await all.gateway.get('/api/v1/backends');
            return JSON.parse(body).backends
                .filter(({ state }) => state !== 'removed')
                .map(({ id }) => id).sort();
        };
        all.become = async (list) => {
            let last;
            await eventually(async () => {
                last = await all.live();
                return last.join() === [...list].sort().join();
            }, `${list} are the backends`, 20_000)
                .catch((error) => {
                    error.message += `: ${last}\n${all.gateway.stderr()}`;
                    throw error;
                });
        };
        all.ids = ids;
        begin(all);
        all.gateway = await startGateway({ args: [
            '--dns-server', all.dns.address, '--discover-interval', '100ms',
            ...discover(port).flatMap((one) => ['--discover', one])] });
    });
    after(async () => {
        const end = await all.gateway?.stop();
        for (const node of all.nodes ?? [])
            await node.stop();
        await all.dns?.stop();
        assert.deepEqual(end, { code: 0, signal: null });
        assert.doesNotMatch(all.gateway.stderr(), /Sanitizer|runtime error/);
    });
    beforeEach(() => all.nodes.forEach((node) => node.reset()));
    return all;
}

/* A new session: its sid and the index of its node. */
async function open({ gateway, nodes })
{
    const response = await exchange(gateway.port, handshakeRequest());
    assert.equal(response.status, 200, response.text);
    const { sid } = JSON.parse(response.text.slice(1));
    return { sid, node: nodes.findIndex((one) => one.sids.has(sid)) };
}

async function openMany(all, count)
{
    const sessions = [];
    for (let i = 0; i < count; i++)
        sessions.push(await open(all));
    return sessions;
}

const nodesOf = (sessions) => [...new Set(sessions.map((s) => s.node))].sort();

/* Each is answered by its node. */
async function liveOn({ gateway, nodes }, sessions)
{
    for (const { sid, node } of sessions) {
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.status, 200, poll.text);
        assert.equal(poll.text, `4${nodes[node].id}`);
        const post = await exchange(gateway.port,
            sidRequest(sid, { method: 'POST', body: '4hello' }));
        assert.equal(post.text, 'ok');
    }
}

async function logged({ gateway }, pattern)
{
    await eventually(() => pattern.test(gateway.stderr()), `${pattern}`);
}

describe('a name with addresses', () => {
    const all = discovering((port) => [`${NAME}:${port}`],
        ({ dns }) => dns.set(NAME, { A: hosts.slice(0, 2) }));

    async function addresses(list)
    {
        all.dns.set(NAME, { A: list });
        await all.become(all.ids(list));
    }

    beforeEach(async () => {
        all.dns.fail(NAME, undefined);
        await addresses(hosts.slice(0, 2));
        await all.dns.asked(NAME, 'A', 2); /* what failed has recovered */
    });

    it('is looked up before the gateway is ready', async () => {
        const { stderr } = all.gateway;
        const found = stderr().indexOf('backend_discovered');
        assert.ok(found >= 0 && found < stderr().indexOf('info ready'));
        assert.deepEqual(nodesOf(await openMany(all, 10)), [0, 1]);
    });

    it('has one more: it gets new sessions', async () => {
        const old = await openMany(all, 6);
        await addresses(hosts);
        assert.deepEqual(nodesOf(await openMany(all, 30)), [0, 1, 2]);
        await liveOn(all, old);
    });

    it('has one less: its sessions go on, and it gets no more', async () => {
        const old = await openMany(all, 10);
        await addresses([hosts[1]]);
        assert.deepEqual(nodesOf(await openMany(all, 10)), [1]);
        await liveOn(all, old);
    });

    it('has one less: its websockets go on', async () => {
        await addresses([hosts[0]]);
        const { sid } = await open(all);
        let upstream;
        all.nodes[0].handler = (request, wire) => {
            wire.taken = true;
            upstream = wire;
            wire.send(switching(request));
        };
        const client = await connect(all.gateway.port);
        client.send(upgradeRequest(
            `/socket.io/?EIO=4&transport=websocket&sid=${sid}`));
        assert.equal((await client.head()).status, 101);
        await addresses([hosts[1]]);
        assert.deepEqual(nodesOf(await openMany(all, 4)), [1]);
        const down = frame(TEXT, '4from the node that is gone');
        upstream.send(down);
        await client.until(() => client.buffer.equals(down), 'a message');
        const up = frame(TEXT, '4to it', { mask: true });
        client.send(up);
        await upstream.until(() => upstream.buffer.equals(up), 'its answer');
        client.destroy();
    });

    it('has it again: with its old sessions and new ones', async () => {
        const old = await openMany(all, 10);
        await addresses([hosts[1]]);
        await addresses(hosts.slice(0, 2));
        assert.deepEqual(nodesOf(await openMany(all, 10)), [0, 1]);
        await liveOn(all, old);
    });

    for (const mode of ['servfail', 'refused', 'silent', 'junk']) {
        it(`fails by ${mode}: nothing changes`, async () => {
            const old = await openMany(all, 6);
            const before = all.gateway.stderr().length;
            all.dns.set(NAME, {});
            all.dns.fail(NAME, mode);
            await all.dns.asked(NAME, 'A', 5);
            assert.deepEqual(await all.live(), all.ids(hosts.slice(0, 2)));
            assert.deepEqual(nodesOf(await openMany(all, 10)), [0, 1]);
            await liveOn(all, old);
            all.dns.set(NAME, { A: hosts });
            all.dns.fail(NAME, undefined);
            await all.become(all.ids(hosts));
            const log = () => all.gateway.stderr().slice(before);
            await eventually(() => /discovery_failed .*discovery_recovered /s
                .test(log()), 'both are told');
            assert.doesNotMatch(log(), /backend_vanished/);
        });
    }

    it('is told once that it fails', async () => {
        const before = all.gateway.stderr().length;
        all.dns.fail(NAME, 'servfail');
        const told = () => all.gateway.stderr().slice(before)
            .match(/discovery_failed/g)?.length;
        await eventually(told, 'it is told');
        await all.dns.asked(NAME, 'A', 6);
        assert.equal(told(), 1);
    });

    it('does not exist for a moment: nothing changes', async () => {
        all.dns.failNext(NAME, 'nxdomain', 'A', 2);
        await all.dns.asked(NAME, 'A', 5);
        assert.deepEqual(await all.live(), all.ids(hosts.slice(0, 2)));
    });

    it('does not exist any more: sessions go on, handshakes do not',
       async () => {
        const old = await openMany(all, 6);
        all.dns.fail(NAME, 'nxdomain');
        await all.become([]);
        const refused = await exchange(all.gateway.port, handshakeRequest());
        assert.equal(refused.status, 503);
        await liveOn(all, old);
        all.dns.fail(NAME, undefined);
        await all.become(all.ids(hosts.slice(0, 2)));
        await liveOn(all, [...old, ...await openMany(all, 6)]);
    });

    it('is truncated over UDP: asked over TCP', async () => {
        all.dns.fail(NAME, 'truncated');
        await addresses(hosts);
        assert.ok(all.dns.questions.some(({ isTcp }) => isTcp));
    });

    it('comes and goes many times: each session stays where it is',
       async () => {
        const old = [];
        for (let i = 0; i < 6; i++) {
            await addresses(hosts.filter((_, at) => at !== i % COUNT));
            old.push(...await openMany(all, 4));
            await liveOn(all, old);
        }
    });
});

describe('a name that is empty at the start', () => {
    const all = discovering((port) => [`${NAME}:${port}`], () => {});

    it('gets its first node later', async () => {
        assert.deepEqual(await all.live(), []);
        const refused = await exchange(all.gateway.port, handshakeRequest());
        assert.equal(refused.status, 503);
        all.dns.set(NAME, { A: [hosts[1]] });
        await all.become(all.ids([hosts[1]]));
        assert.deepEqual(nodesOf(await openMany(all, 3)), [1]);
    });
});

describe('a name that nobody answers for at the start', () => {
    const all = discovering((port) => [`${NAME}:${port}`], ({ dns }) => {
        dns.set(NAME, { A: [hosts[0]] });
        dns.fail(NAME, 'silent');
    });

    it('gets its node when somebody does', async () => {
        await logged(all, /discovery_failed name=app\.test/);
        all.dns.fail(NAME, undefined);
        await all.become(all.ids([hosts[0]]));
        assert.deepEqual(nodesOf(await openMany(all, 3)), [0]);
    });
});

describe('SRV records', () => {
    const all = discovering(() => [`srv:${SERVICE}`], (to) => {
        records(to, [0, 1]);
        hosts.forEach((host, i) => to.dns.set(`web-${i}.test`, { A: [host] }));
    });
    const web = (list) => list.map((i) => `web-${i}.test`);

    function records({ dns, nodes }, list)
    {
        dns.set(SERVICE, { SRV: list.map((i) =>
            ({ target: `web-${i}.test`, port: nodes[i].port })) });
    }

    async function targets(list)
    {
        records(all, list);
        await all.become(web(list));
    }

    beforeEach(async () => {
        hosts.forEach((host, i) => all.dns.set(`web-${i}.test`, { A: [host] }));
        await targets([0, 1]);
    });

    it('name nodes, which come and go', async () => {
        const old = await openMany(all, 8);
        assert.deepEqual(nodesOf(old), [0, 1]);
        await targets([1, 2]);
        assert.deepEqual(nodesOf(await openMany(all, 8)), [1, 2]);
        await liveOn(all, old);
        await targets([0, 1, 2]);
        assert.deepEqual(nodesOf(await openMany(all, 30)), [0, 1, 2]);
        await liveOn(all, old);
    });

    it('a node that moves: the same id at its new address', async () => {
        await targets([0]);
        all.dns.set('web-0.test', { A: [hosts[2]] });
        const isThere = async () => JSON.parse(
            (await all.gateway.get('/api/v1/backends')).body).backends
            .some(({ id, address, state }) => id === 'web-0.test' &&
                address.startsWith(`${hosts[2]}:`) && state !== 'removed');
        await eventually(isThere, 'web-0 at its new address', 20_000);
        assert.deepEqual(nodesOf(await openMany(all, 4)), [2]);
    });

    it('a node whose address cannot be had stays', async () => {
        all.dns.fail('web-0.test', 'servfail');
        records(all, [0, 1, 2]);
        await all.become(web([0, 1, 2]));
        await all.dns.asked('web-0.test', 'A', 3);
        assert.deepEqual(await all.live(), web([0, 1, 2]));
        all.dns.fail('web-0.test', undefined);
    });

    it('odd names are refused, once, and the rest is used', async () => {
        const before = all.gateway.stderr().length;
        const { port } = all.nodes[0];
        all.dns.set(SERVICE, { SRV: [
            { target: 'web-0.test', port }, { target: 'a"b\r\nc.test', port },
            { target: `${'x'.repeat(60)}.test`, port },
            { target: 'web-2.test', port }] });
        await all.become(web([0, 2]));
        const log = () => all.gateway.stderr().slice(before);
        const refused = () => log().match(/ discovery_refused /g)?.length;
        await eventually(() => refused() >= 2, 'both are told');
        await all.dns.asked(SERVICE, 'SRV', 4);
        assert.deepEqual(await all.live(), web([0, 2]));
        assert.equal(refused(), 2);
        assert.doesNotMatch(log(), /^c\.test/m);
    });
});
