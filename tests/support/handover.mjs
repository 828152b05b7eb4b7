/* SPDX-License-Identifier: MIT */
/* A gateway that is upgraded, one process after another, and what lives on its
 * connections meanwhile. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync,
         writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startEngine, newSid, openPacket, parameters, sidRequest, switching,
         upgradeRequest } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { gatewayBinary, startGateway } from './gateway.mjs';
import { ok } from './backend.mjs';
import { connect as connectWire, eventually } from './wire.mjs';

const UPGRADE_MS = 40_000;
const END_MS = 40_000;
const OUTCOME = / (ready .*\bpid=|upgrade_failed .*\n)/;
/* Where the machine stood still for 2 s in the midst of a hand-over, the old
 * process goes on alone. */
const GIVEN_UP =
    / upgrade_failed why=.*(do not stand still|or does not answer)/;
const pids = new Set();
const births = new Map(); /* of each pid that is ours: numbers come again */
const wires = [];

/* One that ends with the test. */
export async function connect(port, more)
{
    const wire = await connectWire(port, more);
    wires.push(wire);
    return wire;
}

/* The runner ends its children; ours are not its own. */
process.on('exit', () => {
    for (const pid of pids)
        if (!isGone(pid))
            signal(pid, 'SIGKILL');
});

export function signal(pid, name)
{
    try {
        process.kill(pid, name);
    } catch (error) {
        if (error.code !== 'ESRCH')
            throw error;
    }
}

/* The state of a process, as a letter, and when it began; nothing where there
 * is none. */
function statOf(pid)
{
    try {
        const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
        return { state: fields[0], birth: fields[19] };
    } catch {
        return {};
    }
}

function isOurs(pid)
{
    pids.add(pid);
    births.set(pid, statOf(pid).birth ?? 'gone');
}

/* One whose parent does not look is still in the table. */
export function isGone(pid)
{
    const { state = 'X', birth } = statOf(pid);
    return /[ZX]/.test(state) ||
        (births.has(pid) && births.get(pid) !== birth);
}

export function isStopped(pid)
{
    return !isGone(pid) && statOf(pid).state === 'T';
}

/* The main thread has gone round: it has heard of what was there before. */
export async function hasTurned(pid)
{
    const slept = () => Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(
        readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);
    const before = slept();
    await eventually(() => slept() >= before + 5, `${pid} turns`, END_MS);
}

export function gone(pid, ms = END_MS)
{
    return eventually(() => isGone(pid), `the end of ${pid}`, ms);
}

/* A folder that goes with the test. */
export function folderOf(t)
{
    const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-handover-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
}

/*
 * What gateways are started from, so that the next one may be another program:
 * {path, becomes(text)}, where text is a script, or nothing for the real one.
 */
export function program(t)
{
    const file = path.join(folderOf(t), 'sidgate');
    const real = gatewayBinary();
    symlinkSync(real, file);
    const becomes = (text, mode = 0o755) => {
        unlinkSync(file);
        if (text)
            writeFileSync(file, text, { mode });
        else
            symlinkSync(real, file);
    };
    return { path: file, real, becomes };
}

/* POST to the operator's API. */
export function post(port, target)
{
    return new Promise((resolve, reject) => {
        const request = http.request({
            host: '127.0.0.1', port, path: target, method: 'POST',
            agent: false, timeout: 10_000,
        }, (response) => {
            let body = '';
            response.setEncoding('utf8')
                .on('data', (chunk) => (body += chunk))
                .on('error', reject)
                .on('end', () => resolve({ status: response.statusCode,
                                           body }));
        });
        request.on('error', reject).end();
    });
}

class Upgradable {
    constructor(gateway)
    {
        Object.assign(this, gateway, { gateway, pid: gateway.pid,
                                       all: [gateway.pid] });
        isOurs(gateway.pid);
    }

    /* What has been logged since `mark`. */
    since(mark = 0)
    {
        return this.stderr().slice(mark);
    }

    get mark()
    {
        return this.stderr().length;
    }

    logged(pattern, mark = 0, ms = UPGRADE_MS)
    {
        return eventually(() => {
            this.#note();
            return pattern.test(this.since(mark));
        }, `${pattern}`, ms).catch((error) => {
            const at = this.stderr().search(/ERROR: /);
            error.message += `\n${at < 0 ? this.stderr().slice(-3000) :
                this.stderr().slice(at, at + 6000)}`;
            throw error;
        });
    }

    /* Every process there ever was is known from the log. */
    #note()
    {
        for (const [, pid] of this.stderr()
            .matchAll(/ upgrade_begun .*\bpid=(\d+)\n/g))
            if (!this.all.includes(Number(pid))) {
                this.all.push(Number(pid));
                isOurs(Number(pid));
            }
    }

    begin()
    {
        const { mark } = this;
        process.kill(this.pid, 'SIGUSR2');
        return mark;
    }

    /* Resolves when the new process serves; gives the old one's pid. One that
     * was given up is told again, once. */
    async upgrade()
    {
        const mark = this.begin();
        await this.logged(OUTCOME, mark);
        return this.succeeds(GIVEN_UP.test(this.since(mark)) ? this.begin() :
            mark);
    }

    async succeeds(mark)
    {
        const old = this.pid;
        await this.logged(OUTCOME, mark);
        const text = this.since(mark);
        assert.doesNotMatch(text, / upgrade_failed /, text);
        const [, from, pid] = / upgraded from=(\d+) pid=(\d+)/.exec(text);
        assert.equal(Number(from), old);
        this.pid = Number(pid);
        return old;
    }

    /* It does not come to anything; gives why. */
    async upgradeFails()
    {
        const mark = this.begin();
        await this.logged(/ upgrade_failed .*\n/, mark);
        return / upgrade_failed why=(.*)/.exec(this.since(mark))[1];
    }

    async metric(name)
    {
        return (await this.metrics()).get(name) ?? 0;
    }

    /* Bound, over all backends. */
    async sessions()
    {
        return [...await this.metrics()]
            .filter(([name]) => name.startsWith('sidgate_sessions{'))
            .reduce((sum, [, value]) => sum + value, 0);
    }

    async api(target)
    {
        const { status, body } = await post(this.adminPort, target);
        assert.equal(status, 200, body);
        return body && JSON.parse(body);
    }

    async see(target)
    {
        const { status, body } = await this.get(target);
        assert.equal(status, 200, body);
        return JSON.parse(body);
    }

    /* All of them end, the last one by SIGTERM, in order. */
    async end({ isOrdered = true } = {})
    {
        this.#note();
        const first = this.all[0];
        try {
            if (!isGone(this.pid))
                signal(this.pid, 'SIGTERM');
            for (const pid of this.all)
                await gone(pid);
            const { code } = await this.stop();
            if (isOrdered) {
                assert.equal(code, 0, `${first}: ${this.stderr()}`);
                assert.match(this.stderr(), / stopped code=0\n/);
            }
            assert.doesNotMatch(this.stderr(), /Sanitizer|runtime error/);
        } finally {
            this.kill();
        }
    }

    kill()
    {
        this.#note();
        for (const pid of this.all) {
            if (!isGone(pid))
                signal(pid, 'SIGKILL');
            pids.delete(pid);
        }
    }
}

/*
 * A gateway to upgrade, with Engine.IO backends, for one test. Options of
 * startGateway; count: of backends; isOrdered: false when one of its processes
 * is made to end otherwise. Gives {gateway, backends, backend}.
 */
export async function upgradable(t, { count = 1, args = [], backends,
                                      isOrdered = true, workers = 2,
                                      ...more } = {})
{
    const own = backends ?? [];
    if (!backends)
        for (let i = 1; i <= count; i++)
            own.push(echoes(await startEngine({ id: `n${i}` })));
    const gateway = new Upgradable(await startGateway({
        ...more, backends: more.noBackends ? [] : own,
        args: [...(workers ? ['--workers', String(workers)] : []), ...args],
    }).catch(async (error) => {
        await Promise.all(own.map((one) => one.stop()));
        throw error;
    }));
    t.after(async () => {
        for (const wire of wires.splice(0))
            wire.destroy();
        await Promise.all(own.map((one) => one.stop()));
        await gateway.end({ isOrdered });
    });
    return { gateway, backends: own, backend: own[0] };
}

/* ---- backends ---- */

function endsWith(wire)
{
    wire.until(() => wire.over, 'its end', Infinity)
        .then(() => wire.finish());
}

/* Websockets get back what they send; polls wait as long as ?wait= says, or
 * until backend.holds.open() where it is "held". */
export function echoes(backend)
{
    const echo = (request, wire) => {
        wire.taken = true;
        wire.send(switching(request));
        wire.sink = (chunk) => wire.socket.write(chunk);
        wire.socket.write(wire.take(wire.buffer.length));
        endsWith(wire);
    };
    const isWebsocket = (request) =>
        parameters(request.target).get('transport') === 'websocket';
    backend.held = [];
    const handshake = backend.onHandshake;
    backend.onHandshake = (request, wire) => {
        if (!isWebsocket(request))
            return handshake(request, wire);
        const sid = newSid();
        const open = Buffer.from(openPacket(sid));
        backend.sids.add(sid);
        wire.taken = true;
        wire.send(switching(request));
        if (backend.silent)
            wire.openLater = () => wire.send(frame(TEXT, open));
        else
            wire.send(frame(TEXT, open));
        wire.sid = sid;
        wire.sink = (chunk) => wire.socket.write(chunk);
        endsWith(wire);
        return undefined;
    };
    backend.onPoll = async (request, wire) => {
        if (isWebsocket(request)) {
            echo(request, wire);
            return;
        }
        const wait = parameters(request.target).get('wait');
        const answer = `4${backend.id} ${parameters(request.target).get('n')}`;
        if (wait === 'held')
            await new Promise((resolve) => backend.held.push(resolve));
        else if (wait)
            await new Promise((resolve) => setTimeout(resolve, Number(wait)));
        wire.send(ok(answer));
    };
    backend.letGo = () => backend.held.splice(0).forEach((go) => go());
    return backend;
}

/* ---- clients ---- */

async function ask(port, bytes, { ms, ...more } = {})
{
    const wire = await connectWire(port, more);
    try {
        return await wire.send(bytes).response('GET', ms);
    } finally {
        wire.destroy();
    }
}

const HANDSHAKE = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n' +
    'Host: h\r\n\r\n';

/* A new session on a connection of its own, or on `wire`. */
export async function openSession(port, { wire, ...more } = {})
{
    const answer = wire ? await wire.send(HANDSHAKE).response() :
        await ask(port, HANDSHAKE, more);
    assert.equal(answer.status, 200, answer.text);
    return JSON.parse(answer.text.slice(1)).sid;
}

export async function polls(port, sid, more = {})
{
    const answer = await ask(port, sidRequest(sid), more);
    assert.equal(answer.status, 200, `${sid}: ${answer.text}`);
    return answer.text;
}

/* A websocket of the session `sid`; its probe is over unless `raw`. */
export async function openTunnel(port, { sid, raw = false, ...more } = {})
{
    const own = sid ?? await openSession(port, more);
    const wire = await connect(port, more);
    wire.send(upgradeRequest(
        `/socket.io/?EIO=4&transport=websocket&sid=${own}`));
    assert.equal((await wire.head()).status, 101);
    wire.sid = own;
    if (raw)
        return wire;
    const probe = Buffer.concat([frame(TEXT, '2probe', { mask: true }),
                                 frame(TEXT, '5', { mask: true })]);
    wire.send(probe);
    assert.deepEqual(await wire.bytes(probe.length), probe);
    return wire;
}
