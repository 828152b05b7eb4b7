/* SPDX-License-Identifier: MIT */
/* A master, its replicas and the Sentinels that watch them: real ones. */

import { objectOf, startRedis } from './redis.mjs';
import { eventually } from './wire.mjs';

const MASTER = 'mymaster';
const QUORUM = 2;
/* Twice as long as a Sentinel may take to connect to a new master; within that
 * time it would think that one is down, too. */
const DOWN_MS = 2000;
const FAILOVER_MS = 5000; /* a busy machine's; when it is over it begins anew */
const READY_MS = 90_000; /* Sentinels rest for 30 s after a stand-still */
const SWITCH_MS = 120_000;
const ANSWER_MS = 5000;
const AGAIN_MS = 15_000;

/* What a server that may be dead or stopped says; null where it says nothing.
 */
function soon(promise)
{
    let timer;
    const late = new Promise((resolve) => {
        timer = setTimeout(resolve, ANSWER_MS, null);
    });
    return Promise.race([promise.catch(() => null), late])
        .finally(() => clearTimeout(timer));
}

function configurationOf(port, lines)
{
    return [
        `sentinel monitor ${MASTER} 127.0.0.1 ${port} ${QUORUM}`,
        `sentinel down-after-milliseconds ${MASTER} ${DOWN_MS}`,
        `sentinel failover-timeout ${MASTER} ${FAILOVER_MS}`,
        `sentinel parallel-syncs ${MASTER} 2`,
        ...lines, '',
    ].join('\n');
}

/* servers: the first one begins as the master; who follows it is the one next
 * in the list. */
class Sentinels {
    servers = [];
    sentinels = [];
    name = MASTER;
    #dead = new Set();

    get url()
    {
        const hosts = this.sentinels.map(({ port }) => `127.0.0.1:${port}`);
        return `redis+sentinel://${hosts.join(',')}/${MASTER}`;
    }

    /* `more` is as startRedis() has it; lines: more of a configuration. */
    async start({ replicas, count, args, lines, server, watcher })
    {
        const master = await startRedis({ ...server, args });
        this.servers.push(master);
        for (let i = 1; i <= replicas; i++)
            this.servers.push(await startRedis({ ...server, args: [
                '--replicaof', '127.0.0.1', String(master.port),
                '--replica-priority', String(10 * i), ...args,
            ] }));
        await eventually(async () => (await this.followers(master)) ===
            replicas, 'replicas that follow', READY_MS);
        const sentinel = configurationOf(master.port, lines);
        for (let i = 0; i < count; i++)
            this.sentinels.push(await startRedis({ ...watcher, sentinel }));
        await this.settled();
        return this;
    }

    /* Replicas that have all of it. */
    async followers(server)
    {
        const info = await server.info('replication');
        return Object.entries(info).filter(([key, value]) =>
            /^slave\d+$/.test(key) && /state=online/.test(value)).length;
    }

    /* What each living Sentinel knows of the master, as an object. */
    async views()
    {
        const live = this.sentinels.filter((one) => !this.#dead.has(one));
        const all = await Promise.all(live.map((one) =>
            soon(one.command('SENTINEL', 'MASTER', MASTER))));
        return all.map((flat) => flat && objectOf(flat));
    }

    /* The server that the living Sentinels name and that is a master by its own
     * account; null while they differ. */
    async master()
    {
        const ports = (await this.views()).map((view) => Number(view?.port));
        const named = this.servers.find(({ port }) =>
            ports.every((one) => one === port));
        if (!named || this.#dead.has(named))
            return null;
        const role = await soon(named.command('ROLE'));
        return role?.[0] === 'master' ? named : null;
    }

    /* All see each other, and every living server but one is a replica that
     * has all of what the master has. */
    settled()
    {
        const isWell = ({ flags, ...view }) => flags === 'master' &&
            Number(view['num-other-sentinels']) === this.sentinels.length - 1 &&
            Number(view['num-slaves']) === this.servers.length - 1;
        return eventually(async () => {
            const views = await this.views();
            if (!views.every((view) => view && isWell(view)))
                return false;
            const master = await this.master();
            return master !== null && await this.followers(master) ===
                this.servers.length - 1 - this.#deadServers;
        }, 'Sentinels that see all is well', READY_MS);
    }

    get #deadServers()
    {
        return this.servers.filter((one) => this.#dead.has(one)).length;
    }

    /* Kills a server or Sentinel as kill -9 does. */
    async kill(one)
    {
        this.#dead.add(one);
        await one.kill();
    }

    /* It comes back empty. A former master is made a replica by Sentinels,
     * within seconds. */
    async restart(one)
    {
        await one.restart();
        this.#dead.delete(one);
    }

    /* Another one than `before` is the master, and all agree; gives it. */
    async switched(before)
    {
        let now = null;
        await eventually(async () => {
            now = await this.master();
            return now !== null && now !== before;
        }, 'another master', SWITCH_MS);
        return now;
    }

    /* The first Sentinel has the master give way, which is alive. Those that
     * stood still for 2 s do nothing for 30 s, and what they were told is void
     * then: they are told again. Gives the new one. */
    async failover()
    {
        const [first] = this.sentinels.filter((one) => !this.#dead.has(one));
        const before = await this.switched(null);
        let told = -Infinity;
        let now = null;
        await eventually(async () => {
            now = await this.master();
            if (now === before && Date.now() - told > AGAIN_MS) {
                told = Date.now();
                /* It may be at it, or think that none is good enough yet. */
                await first.command('SENTINEL', 'FAILOVER', MASTER)
                    .catch(() => {});
            }
            return now !== null && now !== before;
        }, 'a master that gives way', SWITCH_MS);
        return now;
    }

    async keys(pattern)
    {
        const master = await this.master();
        return master ? master.keys(pattern) : [];
    }

    /* What the Sentinels have said. */
    logs()
    {
        return this.sentinels.map(({ port, output }) =>
            `Sentinel ${port}:\n${output.slice(-4000)}`).join('\n');
    }

    async stop()
    {
        await Promise.all([...this.sentinels, ...this.servers]
            .map((one) => one.stop()));
    }
}

/* args: for each server; lines: for each Sentinel's configuration; server and
 * watcher: more for startRedis(), of each server and of each Sentinel. */
export async function startSentinels({ replicas = 2, count = 3, args = [],
                                       lines = [], server = {},
                                       watcher = {} } = {})
{
    const all = new Sentinels();
    try {
        return await all.start({ replicas, count, args, lines, server,
                                 watcher });
    } catch (error) {
        await all.stop();
        throw error;
    }
}
