/* SPDX-License-Identifier: MIT */
/* A real Redis Cluster on loopback: made, resharded and broken. */

import { execFile } from 'node:child_process';

import { quietPort } from './ports.mjs';
import { startRedis, tlsFlags } from './redis.mjs';
import { eventually } from './wire.mjs';

export const SLOTS = 16384;
const NODE_TIMEOUT_MS = 1500;
const READY_MS = 40_000;
const CLI_MS = 60_000;
const FAILOVER_MS = 8000;

function run(args)
{
    return new Promise((resolve, reject) => {
        execFile('redis-cli', args.map(String), { timeout: CLI_MS },
                 (error, stdout, stderr) => {
                     if (error)
                         reject(new Error(`redis-cli ${args.join(' ')}: ` +
                             `${error.code}\n` +
                             `${stderr}${stdout}`.slice(-1500)));
                     else
                         resolve(stdout);
                 });
    });
}

/* `5461-10922`, `7`, `[93->-id]`: first and last of each range; one that is on
 * its way counts for where it still is. */
function rangesOf(words)
{
    return words.filter((word) => !word.startsWith('[')).map((word) => {
        const [first, last = first] = word.split('-').map(Number);
        return { first, last };
    });
}

/* A line of CLUSTER NODES. */
function nodeOf(line)
{
    const [id, address, flags, master, , , , link, ...slots] = line.split(' ');
    return {
        id, flags: flags.split(','), master, link,
        port: Number(/:(\d+)/.exec(address)[1]), ranges: rangesOf(slots),
    };
}

/* nodes: those that run, in any role. */
class RedisCluster {
    nodes = [];
    #all = [];
    #tls;

    constructor(tls)
    {
        this.#tls = tls;
    }

    /* Any of them will do as a seed. */
    get url()
    {
        const hosts = this.nodes.map(({ port }) => `127.0.0.1:${port}`);
        return `redis+cluster://${hosts.join(',')}`;
    }

    #cli(args)
    {
        return run([...tlsFlags(this.#tls), ...args]);
    }

    async #run(args)
    {
        const port = await quietPort();
        let bus = port;
        while (bus === port)
            bus = await quietPort();
        const node = await startRedis({ port, tls: this.#tls, args: [
            '--cluster-enabled', 'yes', '--cluster-port', String(bus),
            '--cluster-node-timeout', String(NODE_TIMEOUT_MS), ...args,
        ] });
        this.#all.push(node);
        this.nodes.push(node);
        return node;
    }

    async start({ masters, replicas, args })
    {
        const count = masters * (1 + replicas);
        for (let i = 0; i < count; i++)
            await this.#run(args);
        await this.#cli(['--cluster', 'create',
                   ...this.nodes.map(({ port }) => `127.0.0.1:${port}`),
                   '--cluster-replicas', replicas, '--cluster-yes']);
        await this.agreed();
        return this;
    }

    /* What `node` knows of all, itself included. */
    async view(node = this.nodes[0])
    {
        const text = await node.command('CLUSTER', 'NODES');
        return text.trim().split('\n').map(nodeOf);
    }

    serverOf({ port })
    {
        return this.nodes.find((node) => node.port === port);
    }

    /* Those that own slots, as {node, id, ranges}; none that was killed, which
     * not all may have heard yet. */
    async masters()
    {
        const view = await this.view();
        return view
            .filter(({ flags, ranges }) => flags.includes('master') &&
                !flags.includes('fail') && ranges.length > 0)
            .map((one) => ({ ...one, node: this.serverOf(one) }))
            .filter(({ node }) => node);
    }

    /* The replicas of a master that masters() gave. */
    async replicasOf({ id })
    {
        const view = await this.view();
        return view.filter(({ master, flags }) => master === id &&
            !flags.includes('fail')).map((one) => this.serverOf(one));
    }

    async ownerOf(slot)
    {
        const masters = await this.masters();
        return masters.find(({ ranges }) => ranges.some(({ first, last }) =>
            slot >= first && slot <= last));
    }

    /* Every node says that all slots are served, and by the same masters, which
     * have the same replicas; and each of these has all of what its master
     * has. */
    agreed()
    {
        return eventually(async () => {
            const all = await Promise.all(this.nodes.map((node) =>
                this.#opinion(node)));
            return all[0] !== '' && all.every((one) => one === all[0]);
        }, 'nodes that agree', READY_MS);
    }

    /* Who serves what, as text; '' where not all is well. */
    async #opinion(node)
    {
        const state = await node.command('CLUSTER', 'INFO');
        const { role, master_link_status: link, ...more } =
            await node.info('replication');
        const followers = Object.entries(more).filter(([key]) =>
            /^slave\d+$/.test(key)).map(([, value]) => value);
        if (!/cluster_state:ok/.test(state) ||
            (role === 'slave' && link !== 'up') ||
            followers.some((one) => !/state=online/.test(one)))
            return '';
        const part = (await this.view(node)).filter(({ flags, ranges }) =>
            ranges.length > 0 ||
            (flags.includes('slave') && !flags.includes('fail')));
        return JSON.stringify(part.map(({ id, master, ranges }) =>
            ({ id, master, ranges })).sort((a, b) => a.id < b.id ? -1 : 1));
    }

    /* This replica has taken the place of its master, which is dead. */
    takenOver(replica)
    {
        return eventually(async () => (await replica.command('ROLE'))[0] ===
            'master', 'a replica that is the master', READY_MS);
    }

    async kill(node)
    {
        this.nodes = this.nodes.filter((one) => one !== node);
        await node.kill();
    }

    /* With what its nodes.conf says of the cluster; without data. */
    async restart(node)
    {
        await node.restart();
        this.nodes.push(node);
    }

    /* A replica takes its master's place, with the master's consent. It gives
     * up after 5 s, so that one that stood still meanwhile is told again. */
    async failover(replica)
    {
        let told = -Infinity;
        await eventually(async () => {
            if ((await replica.command('ROLE'))[0] === 'master')
                return true;
            if (Date.now() - told > FAILOVER_MS) {
                told = Date.now();
                await replica.command('CLUSTER', 'FAILOVER');
            }
            return false;
        }, 'a replica that is the master', READY_MS);
        await this.agreed();
    }

    /* A master without slots. */
    async add(args = [])
    {
        const [seed] = this.nodes;
        const node = await this.#run(args);
        await this.#cli(['--cluster', 'add-node', `127.0.0.1:${node.port}`,
                   `127.0.0.1:${seed.port}`]);
        const id = await node.command('CLUSTER', 'MYID');
        await eventually(async () => {
            const views = await Promise.all(this.nodes.map((one) =>
                this.view(one)));
            return views.every((view) => view.some((one) =>
                one.port === node.port && one.link === 'connected' &&
                !one.flags.includes('handshake')));
        }, 'a node that all know', READY_MS);
        await this.agreed();
        return node;
    }

    /* It has no slots any more; it is told to forget the others, and ends. */
    async remove(node)
    {
        const id = await node.command('CLUSTER', 'MYID');
        const other = this.nodes.find((one) => one !== node);
        await this.#cli(['--cluster', 'del-node', `127.0.0.1:${other.port}`,
                         id]);
        await this.kill(node);
    }

    /* As redis-cli does it: slot by slot, as fast as it goes. */
    async reshard({ from, to, slots })
    {
        const ids = await Promise.all([from, to].map((node) =>
            node.command('CLUSTER', 'MYID')));
        await this.#cli(['--cluster', 'reshard', `127.0.0.1:${to.port}`,
                   '--cluster-from', ids[0], '--cluster-to', ids[1],
                   '--cluster-slots', slots, '--cluster-yes']);
        await this.agreed();
    }

    /*
     * The same by hand. slots: a list, or how many, those that have keys being
     * the first. All of them stand half-way, importing and migrating, until
     * `halfway()` resolves, so that a key that is not there is sent on by ASK,
     * in every second slot also the keys that were. Then they move key by key.
     * Gives {slots, keys}.
     */
    async moveSlowly({ from, to, slots, halfway })
    {
        const [fromId, toId] = await Promise.all([from, to].map((node) =>
            node.command('CLUSTER', 'MYID')));
        const all = Array.isArray(slots) ? slots :
            (await this.#usedFirst(from)).slice(0, slots);
        for (const slot of all) {
            await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
            await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
        }
        let keys = 0;
        for (const slot of all.filter((_, i) => i % 2))
            keys += await this.#moveKeys(slot, from, to);
        await halfway();
        const masters = (await this.masters()).map(({ node }) => node);
        for (const slot of all) {
            keys += await this.#moveKeys(slot, from, to);
            await this.#give(slot, toId, new Set([to, from, ...masters]));
        }
        await this.agreed();
        return { slots: all.length, keys };
    }

    async #usedFirst(node)
    {
        const used = await this.usedSlots(node, '*');
        const rest = new Set(await this.slotsOf(node));
        used.forEach((slot) => rest.delete(slot));
        return [...used, ...rest];
    }

    /* Those of keys that this master has. */
    async usedSlots(node, pattern)
    {
        const keys = await node.keys(pattern);
        return [...new Set(await Promise.all(keys.map((key) =>
            node.command('CLUSTER', 'KEYSLOT', key))))];
    }

    async #moveKeys(slot, from, to)
    {
        for (let moved = 0; ;) {
            const [key] = await from.command('CLUSTER', 'GETKEYSINSLOT', slot,
                                             1);
            if (key === undefined)
                return moved;
            await from.command('MIGRATE', '127.0.0.1', to.port, key, 0, 5000);
            moved++;
        }
    }

    /* The new owner is the first of `nodes`, so that no slot is ever without
     * one. */
    async #give(slot, id, nodes)
    {
        for (const node of nodes)
            await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', id);
    }

    async slotsOf(node)
    {
        const id = await node.command('CLUSTER', 'MYID');
        const { ranges } = (await this.view()).find((one) => one.id === id);
        return ranges.flatMap(({ first, last }) =>
            Array.from({ length: last - first + 1 }, (_, i) => first + i));
    }

    /* Keys by the master that has them. */
    async keysByMaster(pattern)
    {
        const masters = await this.masters();
        return Promise.all(masters.map(async (one) => ({
            ...one, keys: await one.node.keys(pattern),
        })));
    }

    async keys(pattern)
    {
        const all = await this.keysByMaster(pattern);
        return all.flatMap(({ keys }) => keys);
    }

    /* How often the nodes that run have answered so since they started, e.g.
     * {MOVED: 3, ASK: 7}. */
    async redirections()
    {
        const sum = { MOVED: 0, ASK: 0, TRYAGAIN: 0, CLUSTERDOWN: 0 };
        for (const node of this.nodes) {
            const info = await node.info('errorstats');
            for (const name of Object.keys(sum))
                sum[name] += Number(/count=(\d+)/
                    .exec(info[`errorstat_${name}`] ?? '')?.[1] ?? 0);
        }
        return sum;
    }

    /* The same for what happens during `work`, beside what that gives. */
    async redirected(work)
    {
        const before = await this.redirections();
        const more = await work();
        const after = await this.redirections();
        return { ...more, ...Object.fromEntries(Object.keys(after)
            .map((name) => [name, after[name] - before[name]])) };
    }

    async stop()
    {
        await Promise.all(this.#all.map((node) => node.stop()));
    }
}

/* args: for each server; tls: as startRedis() has it. */
export async function startRedisCluster({ masters = 3, replicas = 1,
                                          args = [], tls } = {})
{
    const cluster = new RedisCluster(tls);
    try {
        return await cluster.start({ masters, replicas, args });
    } catch (error) {
        await cluster.stop();
        throw error;
    }
}
