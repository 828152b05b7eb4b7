/* SPDX-License-Identifier: MIT */
/* Starts three nodes and sidgate in front of them, and stops them all.
 *   node start.mjs <sidgate binary> [sidgate's arguments] */

import { fork, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const NAMES = ['n1', 'n2', 'n3'];
const PORT = 8080;
const READY_MS = 20_000;
const server = fileURLToPath(new URL('server.mjs', import.meta.url));
const [binary, ...userArgs] = process.argv.slice(2);
const children = [];
let isStopping = false;

function fail(text)
{
    console.error(`quickstart: ${text}`);
    stop(1);
}

function hasEnded(child)
{
    return child.exitCode !== null || child.signalCode !== null ||
        child.pid === undefined;
}

function ended(child)
{
    return hasEnded(child) ? Promise.resolve() :
        new Promise((resolve) => child.once('exit', resolve));
}

/* sidgate first, so that it can take leave of its sessions while their nodes
 * still live. A second call does not wait. */
async function stop(code)
{
    const order = [...children].reverse();
    if (isStopping) {
        for (const child of order)
            child.kill('SIGKILL');
        return;
    }
    isStopping = true;
    for (const child of order) {
        child.kill('SIGTERM');
        await ended(child);
    }
    process.exit(code);
}

/* The children get no Ctrl-C of their own: stop() says who ends when. */
function startNode(name)
{
    const child = fork(server, [name], { detached: true });
    children.push(child);
    return new Promise((resolve, reject) => {
        child.once('message', ({ port }) => resolve({ name, port, child }));
        child.once('error', reject);
        child.once('exit', () => {
            reject(new Error(`node ${name} did not start`));
            if (!isStopping)
                console.log(`node ${name} has ended`);
        });
    });
}

function isTaken(port)
{
    return new Promise((resolve) => {
        const probe = connect(port, '127.0.0.1');
        probe.once('connect', () => resolve(true));
        probe.once('error', () => resolve(false));
        probe.once('close', () => probe.destroy());
        probe.once('connect', () => probe.destroy());
    });
}

function isGiven(option)
{
    return userArgs.some((word) =>
        word === option || word.startsWith(`${option}=`));
}

async function sidgateArgs(nodes)
{
    const args = nodes.map(({ name, port }) =>
        `--backend=${name}=127.0.0.1:${port}`);
    if (!isGiven('--listen'))
        args.push(`--listen=127.0.0.1:${await isTaken(PORT) ? 0 : PORT}`);
    if (!isGiven('--admin'))
        args.push('--admin=127.0.0.1:0');
    if (!isGiven('--shutdown-timeout'))
        args.push('--shutdown-timeout=2s');
    return [...args, ...userArgs];
}

/* Resolves with the fields of sidgate's `ready` line. Its log goes on to our
 * standard error. */
function startSidgate(args)
{
    const child = spawn(binary, args, {
        detached: true,
        stdio: ['ignore', 'inherit', 'pipe'],
    });
    children.push(child);
    return new Promise((resolve, reject) => {
        createInterface({ input: child.stderr }).on('line', (line) => {
            console.error(line);
            if (/^\S+ info ready /.test(line) || /"event":"ready"/.test(line))
                resolve(line);
        });
        child.once('error', reject);
        child.once('close', () => {
            reject(new Error('sidgate did not start'));
            if (!isStopping)
                fail('sidgate has ended');
        });
    });
}

function addressIn(line, key)
{
    const match = new RegExp(`\\b${key}"?[=:]"?([^\\s",]*)`).exec(line);
    return match ? match[1] : '';
}

function show(nodes, ready)
{
    const listen = addressIn(ready, 'listen').replace(/^0\.0\.0\.0/, '127.0.0.1');
    const admin = addressIn(ready, 'admin');
    console.log('');
    for (const { name, port, child } of nodes)
        console.log(`  node ${name}   http://127.0.0.1:${port}/   pid ${child.pid}`);
    console.log(`  sidgate   http://${listen}/   <- open this one`);
    if (admin)
        console.log(`  operators http://${admin}/   sessions, nodes, metrics`);
    console.log('\nCtrl-C stops everything.');
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => stop(0));
const timer = setTimeout(() => fail('not ready in time'), READY_MS);
try {
    const nodes = await Promise.all(NAMES.map(startNode));
    const ready = await startSidgate(await sidgateArgs(nodes));
    clearTimeout(timer);
    show(nodes, ready);
} catch (error) {
    if (!isStopping)
        fail(error.message);
}
