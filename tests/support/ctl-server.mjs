/* SPDX-License-Identifier: MIT */
/* What sidgate ctl asks, answered by a script. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/* A folder that goes with the test. */
export function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-ctl-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

export function file(t, text, name = 'file')
{
    const full = path.join(folder(t), name);
    writeFileSync(full, text, { mode: 0o600 });
    return full;
}

/* What a gateway sends: JSON, or a body as it is. */
export function reply(status, body, fields = '')
{
    const text = typeof body === 'string' || Buffer.isBuffer(body) ? body
        : JSON.stringify(body);
    const head = `HTTP/1.1 ${status} X\r\ncontent-length: ` +
        `${Buffer.byteLength(text)}\r\n${fields}connection: close\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), Buffer.from(text)]);
}

/*
 * A listener that answers each request as `answers` says: a list of what each
 * gets in turn (the last one again and again), or a function of {method, path,
 * query, count} that gives one. An answer is bytes, or a function of the
 * socket. Gives {admin, heads, lines()}.
 */
export async function fake(t, answers, where = { host: '127.0.0.1', port: 0 })
{
    const heads = [];
    const sockets = new Set();
    const choose = () => {
        if (typeof answers !== 'function')
            return answers[Math.min(heads.length, answers.length) - 1];
        const [method, target] = heads.at(-1).split(' ');
        const url = new URL(target, 'http://gateway');
        return answers({ method, path: url.pathname,
            query: Object.fromEntries(url.searchParams),
            count: heads.length });
    };
    const server = net.createServer((socket) => {
        let text = '';
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => sockets.delete(socket));
        socket.setEncoding('latin1').on('data', (chunk) => {
            text += chunk;
            if (!text.includes('\r\n\r\n'))
                return;
            heads.push(text);
            text = '';
            const answer = choose();
            if (typeof answer === 'function')
                answer(socket);
            else
                socket.end(answer, 'latin1');
        });
    });
    await new Promise((resolve) => server.listen(where, resolve));
    t.after(() => {
        server.close();
        sockets.forEach((socket) => socket.destroy());
    });
    return {
        heads,
        admin: where.path ? `unix:${where.path}`
            : `127.0.0.1:${server.address().port}`,
        lines: () => heads.map((head) => head.split('\r\n')[0]),
    };
}

export const OK = reply(200, { ok: true });

/* Answers of the operator API, to be changed by `more`. */

export function status(more = {})
{
    return {
        gateway: 'gw-a.3f2c', name: 'gw-a', version: '0.1.0', pid: 123,
        started: '2026-01-02T03:04:05.678Z', uptime_s: 12345.6,
        phase: 'running', workers: 2, log_level: 'info', access: 'full',
        store: { kind: 'redis', state: 'up', connections_up: 2,
                 connections: 2 },
        now: {
            handshakes_per_s: 12.34, requests_per_s: 3456,
            upgrades_per_s: 3.14, upgrade_success: 0.992,
            misroutes_per_s: 0, unknown_sid_per_s: 0.2,
            recoveries_per_s: 0, ended_per_s: 11, handshake_p50_ms: 1.23,
            handshake_p99_ms: 18.9, bytes_in_per_s: 34567,
            bytes_out_per_s: 3456789, connections: 1500, tunnels: 1003,
            sessions: 1234, sessions_polling: 231,
            sessions_websocket: 1003, sessions_elsewhere: 3456,
        },
        totals: {
            handshakes: 9, requests: 99, sessions_begun: 9,
            sessions_ended: 1, upgrade_attempts: 1000,
            upgrade_successes: 992,
            upgrade_failures: { refused: 1, unreachable: 2, stripped: 0,
                                probe: 5, closed: 0 },
            misroutes: 0, unknown_sid: 3, recoveries: 1,
        },
        replicas: [
            { id: 'gw-a.3f2c', is_self: true, sessions: 1234,
              heard_s: null },
            { id: 'gw-b.77aa', is_self: false, sessions: 3456,
              heard_s: 0.4 },
        ],
        ...more,
    };
}

export function backend(more = {})
{
    return {
        id: 'n1', pool: 'default', address: '10.0.0.1:80', state: 'up',
        reason: '', weight: 1, max_sessions: 0, sessions: 3,
        sessions_polling: 1, sessions_websocket: 2, handshakes: 0,
        sessions_elsewhere: 12, source: 'config', drain: null,
        requests_total: 4567, errors_total: 2, upgrade_attempts: 4,
        upgrade_successes: 3, history: [], ...more,
    };
}

export function session(number, more = {})
{
    return {
        id: number.toString(16).padStart(16, '0'), sid: 'abcd...',
        backend: 'n1', transport: 'websocket', eio: 4, client: '10.0.0.7',
        gateway: 'gw-a.3f2c', created: '2026-01-02T03:04:05.678Z',
        age_s: 312.4, seen: '2026-01-02T03:09:17.078Z', idle_s: 0.25,
        expires_s: 44.9, requests: 1234, bytes_in: 512,
        bytes_out: 3400000, ...more,
    };
}

export function event(seq, more = {})
{
    return { seq, time: '2026-01-02T03:04:05.678Z', level: 'info',
             event: 'backend_up', fields: { backend: 'n1' }, ...more };
}
