/* SPDX-License-Identifier: MIT */
/* Everything slow and half-open at once, and what becomes of it, of the
 * gateway, and of a client that is as it should be. */

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { startGateway } from './gateway.mjs';
import { startHealthy, summary } from './healthy.mjs';
import { descriptors, statusBytes } from './process.mjs';
import { eventually } from './wire.mjs';

const START_MS = 30_000;
const PAUSE_MS = 5; /* between two rounds of the healthy client */
const LOOK_MS = 100;
const children = new Set();

process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/* A module of this folder as a process; ask(message, key) sends the message
 * and gives the next message that has the key. */
export function start(name, args = [])
{
    const child = fork(fileURLToPath(new URL(name, import.meta.url)), args,
                       { execArgv: [] });
    const heard = new Set();
    children.add(child);
    child.on('message', (message) => heard.forEach((hear) => hear(message)));
    child.on('exit', () => {
        children.delete(child);
        heard.forEach((hear) => hear({ error: `${name} ended` }));
    });
    const next = (key, ms = START_MS) => new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(
            `${name}: no ${key} in ${ms} ms`)), ms);
        const hear = (message) => {
            if (!(key in message) && !('error' in message))
                return;
            clearTimeout(timer);
            heard.delete(hear);
            if ('error' in message)
                reject(new Error(message.error));
            else
                resolve(message[key]);
        };
        heard.add(hear);
    });
    return {
        pid: child.pid,
        next,
        tell: (message) => child.send(message),
        ask: (message, key, ms) => {
            const answer = next(key, ms);
            child.send(message);
            return answer;
        },
        stop: () => child.kill('SIGKILL'),
    };
}

/* The counters sidgate_limited_total of a gateway, by their limit. */
export async function limits(gateway)
{
    const counts = {};
    for (const [name, value] of await gateway.metrics()) {
        const match = /^sidgate_limited_total{limit="(.*)"}$/.exec(name);
        if (match)
            counts[match[1]] = value;
    }
    return counts;
}

/* A backend of its own and a gateway before it. engineIo: the module of a real
 * server to use. */
export async function startFloodCluster({ isTls, args = [], engineIo } = {})
{
    const backend = start('flood-backend.mjs', engineIo ? [engineIo] : []);
    const port = await backend.next('port');
    const gateway = await startGateway({
        backends: [{ id: 'n1', port }], args,
        listen: [isTls ? '127.0.0.1:0,tls' : '127.0.0.1:0'],
    });
    const stop = async () => {
        backend.stop();
        return gateway.stop();
    };
    return { backend, gateway, port: gateway.port, stop };
}

const SECURE = { rejectUnauthorized: false };

async function rounds(healthy, isOver)
{
    let n = 0;
    do {
        await healthy.round(n++);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    } while (!isOver(n));
}

/* Runs while promises go on, and gives the highest that read() gave. */
async function highest(read, during)
{
    let most = read();
    const timer = setInterval(() => (most = Math.max(most, read())), 50);
    await during.finally(() => clearInterval(timer));
    return Math.max(most, read());
}

/*
 * Opens `kinds` of clients on a cluster, all at once, while a healthy one goes
 * on, until the gateway has closed all of them, at most for `ms`. Gives {quiet,
 * loud, rss: {before, peak, after}, limited, ended, left}: the waits of the
 * healthy one without and with them, what the gateway counted, how they ended
 * and how many are left.
 */
export async function flood({ gateway, port }, { kinds, isTls, quietRounds,
                                                  ms })
{
    const flooder = start('flooder.mjs');
    const healthy = await startHealthy(port, isTls && SECURE);
    const rss = () => statusBytes(gateway.pid, 'VmRSS');
    try {
        await rounds(healthy, (n) => n >= quietRounds / 4);
        healthy.begin();
        await rounds(healthy, (n) => n >= quietRounds);
        const quiet = summary(healthy.times);
        const own = (await gateway.metrics()).get('sidgate_connections');
        const before = { rss: rss(), limited: await limits(gateway) };
        const count = Object.values(kinds).reduce((sum, n) => sum + n, 0);

        let isOver = false;
        let together = 0;
        healthy.begin();
        const busy = rounds(healthy, () => isOver);
        const end = Date.now() + ms;
        const attack = async () => {
            await flooder.ask({ port, isTls, kinds }, 'open', ms);
            for (let still = 0; ;) {
                const now = (await gateway.metrics())
                    .get('sidgate_connections') - own;
                together = Math.max(together, now);
                /* One may be the healthy client's. */
                still = now <= 1 ? still + 1 : 0;
                if (still * LOOK_MS > 1000 || Date.now() > end)
                    return Math.max(0, now - 1);
                await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
            }
        };
        const attacked = attack().finally(() => (isOver = true));
        const peak = await highest(rss, attacked);
        await busy;
        const limited = await limits(gateway);
        for (const name of Object.keys(limited))
            limited[name] -= before.limited[name];
        flooder.tell({ read: true });
        let ended;
        await eventually(async () => {
            ended = await flooder.ask({ report: true }, 'report');
            return Object.values(ended).every(({ open }) => open === 0);
        }, 'clients see their end', 30_000).catch(() => {});
        return {
            count, together, quiet, loud: summary(healthy.times),
            times: Object.fromEntries(Object.entries(healthy.times)
                .map(([what, list]) => [what, summary({ list })])),
            rss: { before: before.rss, peak, after: rss() },
            limited, ended, left: await attacked,
        };
    } finally {
        healthy.stop();
        flooder.stop();
    }
}

/* `count` connections that are reset. Gives {stormed, descriptors: [before,
 * after], rss: [before, after]}. */
export async function storm({ gateway, port }, { isTls, count, ms })
{
    const flooder = start('flooder.mjs');
    const fds = () => descriptors(gateway.pid).length;
    const rss = () => statusBytes(gateway.pid, 'VmRSS');
    const before = { fds: fds(), rss: rss() };
    try {
        const stormed = await flooder.ask({ port, isTls, storm: { count } },
                                          'stormed', ms);
        await eventually(async () => {
            const metrics = await gateway.metrics();
            return metrics.get('sidgate_connections') === 0 &&
                metrics.get('sidgate_idle_backend_connections') === 0;
        }, 'all connections gone', 30_000);
        await eventually(() => fds() <= before.fds, 'descriptors given back')
            .catch(() => {});
        return { stormed, descriptors: [before.fds, fds()],
                 rss: [before.rss, rss()] };
    } finally {
        flooder.stop();
    }
}

/* The clients of a flood, of which there are 3500 with a share of 1. */
export function floodKinds(share, isTls)
{
    const full = { readers: 500, streamed: 100, bodies: 400, heads: 500,
                   ...(isTls ? { silent: 600, partial: 700, unanswered: 700 } :
                       { silent: 2000 }) };
    return Object.fromEntries(Object.entries(full).map(([kind, count]) =>
        [kind, Math.round(count * share)]));
}

const P99_MAX_MS = 250;
const FIXED_BYTES = 8 * 1024 * 1024;
const EACH_BYTES = { plain: 16 * 1024, tls: 48 * 1024 };

/* What is wrong with the result of a flood, as a list of texts. isExact: times
 * and sizes count. */
export function judgeFlood(result, { kinds, isTls, isExact })
{
    const { count, together, quiet, loud, rss, limited, ended, left } = result;
    const faults = [];
    const must = (isRight, text) => isRight || faults.push(text);
    const bare = (kinds.silent ?? 0) + (kinds.partial ?? 0) +
        (kinds.unanswered ?? 0);
    const wantedOf = {
        head_timeout: kinds.heads + (isTls ? bare : 0),
        idle_timeout: isTls ? 0 : bare,
        body_rate: kinds.bodies,
        body_timeout: kinds.streamed,
        write_timeout: kinds.readers,
    };
    /* By default the kernel's time for a reader is as long as ours. */
    const closed = { ...limited, write_timeout: limited.write_timeout +
        limited.tcp_timeout };
    for (const [limit, wanted] of Object.entries(wantedOf))
        must(closed[limit] === wanted,
             `${limit}: ${closed[limit]} were closed and not ${wanted}`);
    must(left === 0, `${left} connections are left`);
    for (const [kind, how] of Object.entries(ended)) {
        must(how.open === 0, `${how.open} ${kind} have seen no end`);
        must(!how.failed, `${how.failed} ${kind} could not connect`);
    }
    for (const kind of ['heads', 'bodies', 'streamed'])
        must(ended[kind]['408'] === kinds[kind],
             `${kind} were not all told 408: ${JSON.stringify(ended[kind])}`);
    if (!isExact)
        return faults;
    const bound = Math.max(P99_MAX_MS, 10 * quiet.p99);
    const room = FIXED_BYTES + count * EACH_BYTES[isTls ? 'tls' : 'plain'];
    must(together >= count * 0.8, `only ${together} were there at once`);
    must(loud.p99 <= bound,
         `p99 was ${loud.p99} ms, and ${quiet.p99} ms before`);
    must(rss.peak - rss.before <= room,
         `RSS grew by ${rss.peak - rss.before} bytes, more than ${room}`);
    return faults;
}
