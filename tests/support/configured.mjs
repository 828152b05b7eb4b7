/* SPDX-License-Identifier: MIT */
/* A gateway with a configuration file that changes, nodes whose sids say whose
 * they are, and requests with a host and a path of their own. */

import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { newSid, openPacket, parameters, startEngine, switching, WS_KEY }
    from './engine.mjs';
import { frame, TEXT } from './frames.mjs';
import { startGateway } from './gateway.mjs';
import { ask } from './replicas.mjs';
import { connect, eventually } from './wire.mjs';

const RELOAD_MS = 20_000;
export const UNKNOWN = '{"code":1,"message":"Session ID unknown"}';

/* Makes each open packet one with two bytes of length. */
const PADDING = { padding: '.'.repeat(30) };

/* Engine.IO backends that stop after test `t`; ids as given. */
export async function startNodes(t, ...ids)
{
    const nodes = [];
    for (const id of ids) {
        const node = await startEngine({ id });
        node.mint = () => `${id}.${newSid()}`;
        node.tunnels = new Map();
        const polls = node.onHandshake;
        node.onHandshake = (request, wire) => {
            if (parameters(request.target).get('transport') !== 'websocket')
                return polls(request, wire);
            const sid = node.mint();
            node.sids.add(sid);
            node.tunnels.set(sid, wire);
            wire.taken = true;
            wire.send(switching(request));
            wire.send(frame(TEXT, openPacket(sid, PADDING)));
            return undefined;
        };
        t.after(() => node.stop());
        nodes.push(node);
    }
    return nodes;
}

/* As the configuration wants them. */
export const spec = ({ id, port }, more = '') =>
    `${id}=127.0.0.1:${port}${more}`;
export const specs = (...nodes) => nodes.map((node) => spec(node));

export function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-file-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

/* Lines of an event. */
function told(gateway, event)
{
    return gateway.stderr().split('\n').filter((line) =>
        new RegExp(`^\\S+ \\w+ ${event}( |$)`).test(line));
}

/*
 * Starts it for test `t`, at whose end it must stop in order. `config` is an
 * object, or a text for what is no JSON. args, env: as startGateway() has them;
 * what they say wins over the file.
 */
export async function configured(t, config, { args = [], env, listen } = {})
{
    const file = path.join(folder(t), 'sidgate.json');
    const write = (next) => {
        const text = typeof next === 'string' ? next : JSON.stringify(next);
        writeFileSync(`${file}.new`, text);
        renameSync(`${file}.new`, file);
    };
    write(config);
    const gateway = await startGateway(
        { env, listen, args: ['--config', file, ...args] });
    const count = () => told(gateway, 'reloaded').length +
        told(gateway, 'reload_failed').length;
    const ends = [];
    t.after(async () => {
        ends.forEach((end) => end());
        try {
            const { code } = await gateway.stop();
            assert.equal(code, 0, gateway.stderr());
        } finally {
            await gateway.stop('SIGKILL');
        }
        assert.doesNotMatch(gateway.stderr(), /Sanitizer|runtime error/);
    });

    /* The next line on how it went. */
    const hangUp = async () => {
        const before = count();
        process.kill(gateway.pid, 'SIGHUP');
        await eventually(() => count() > before, 'a reload', RELOAD_MS);
        return gateway.stderr().split('\n').filter((line) =>
            / (reloaded|reload_failed) /.test(line))[before];
    };

    return Object.assign(gateway, {
        file, write, hangUp,
        told: (event) => told(gateway, event),
        /* A connection that ends with the test. */
        open: async (options) => {
            const wire = await connect(gateway.port, options);
            /* A queue of handshakes takes no notice of a FIN. */
            ends.push(() => options?.path ? wire.destroy() : wire.reset());
            return wire;
        },
        /* Another configuration. What belongs to workers may come into effect
         * a moment later. */
        reload: async (next) => {
            write(next);
            assert.match(await hangUp(), / info reloaded /);
        },
        /* Resolves once all workers have gone over to the last one: until then
         * no further one is begun. */
        settle: async () => {
            assert.match(await hangUp(), / info reloaded /);
        },
        /* One that must be refused: its line. */
        refuses: async (next) => {
            write(next);
            const line = await hangUp();
            assert.match(line, / error reload_failed error=/);
            return line;
        },
    });
}

/* A request as bytes. */
export function bytesFor(target, { method = 'GET', host = 'h', fields = '',
                                   body = '' } = {})
{
    const length = method === 'GET' ? '' : `Content-Length: ${body.length}\r\n`;
    return `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${length}` +
        `${fields}\r\n${body}`;
}

/* What a handshake is answered; with 200 also {sid, home}, the id before the
 * dot. `at` has port, or is one. */
export async function shake(at, { path: where = '/socket.io/', query = '',
                                  from, ms, ...more } = {})
{
    const answer = await ask(at.port ?? at,
        bytesFor(`${where}?EIO=4&transport=polling${query}`, more),
        { from, ms });
    if (answer.status !== 200)
        return answer;
    const { sid } = JSON.parse(answer.text.slice(1));
    return Object.assign(answer, { sid, home: sid.split('.')[0] });
}

/* One that must be answered: its {sid, home}. */
export async function session(at, options)
{
    const answer = await shake(at, options);
    assert.equal(answer.status, 200, answer.text);
    return answer;
}

/* One at the node `home`, however many it takes. */
export async function sessionAt(at, home, options)
{
    for (let i = 0; i < 200; i++) {
        const one = await session(at, options);
        if (one.home === home)
            return one;
    }
    throw new Error(`no session came to ${home}`);
}

export function pollBytes(sid, { path: where = '/socket.io/', ...more } = {})
{
    return bytesFor(`${where}?EIO=4&transport=polling&sid=` +
        encodeURIComponent(sid), more);
}

/* The answer to a poll, or with `body` to a POST. */
export function poll(at, sid, { ms, ...more } = {})
{
    const method = more.body === undefined ? 'GET' : 'POST';
    return ask(at.port ?? at, pollBytes(sid, { method, ...more }),
               { method, ms });
}

/* The session is where it was. */
export async function lives(at, { sid, home }, options)
{
    const { status, text } = await poll(at, sid, options);
    assert.deepEqual([status, text], [200, `4${home}`]);
}

export async function isUnknown(at, { sid }, options)
{
    const { status, text } = await poll(at, sid, options);
    assert.deepEqual([status, text], [400, UNKNOWN]);
}

/* How many of `count` handshakes each node was given; options may be a
 * function of their number. `end` closes each session. */
export async function spread(at, count, options = {}, { width = 8,
                                                       end = false } = {})
{
    const homes = {};
    let next = 0;
    await Promise.all(Array.from({ length: width }, async () => {
        while (next < count) {
            const i = next++;
            const how = typeof options === 'function' ? options(i) : options;
            const one = await session(at, how);
            homes[one.home] = (homes[one.home] ?? 0) + 1;
            if (end)
                await poll(at, one.sid, { ...how, body: '1' });
        }
    }));
    return homes;
}

/* A websocket session: {client, upstream, sid, home}; `nodes` are those that it
 * may come to. */
export async function tunnel(gateway, nodes, { path: where = '/socket.io/',
                                               ...more } = {})
{
    const client = await gateway.open();
    client.send(bytesFor(`${where}?EIO=4&transport=websocket`, { ...more,
        fields: 'Connection: Upgrade\r\nUpgrade: websocket\r\n' +
            'Sec-WebSocket-Version: 13\r\n' +
            `Sec-WebSocket-Key: ${WS_KEY}\r\n${more.fields ?? ''}` }));
    assert.equal((await client.head()).status, 101);
    const start = await client.bytes(4);
    const { sid } = JSON.parse(
        (await client.bytes(start.readUInt16BE(2))).toString().slice(1));
    const node = nodes.find(({ tunnels }) => tunnels.has(sid));
    return { client, upstream: node.tunnels.get(sid), sid, home: node.id };
}

/* It carries bytes both ways. */
export async function echoes({ client, upstream }, text = 'echo')
{
    const up = frame(TEXT, text, { mask: true });
    client.send(up);
    assert.deepEqual(await upstream.bytes(up.length), up);
    const down = frame(TEXT, `${text} back`);
    upstream.send(down);
    assert.deepEqual(await client.bytes(down.length), down);
}
