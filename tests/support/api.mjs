/* SPDX-License-Identifier: MIT */
/* The operator's API as a program sees it, and the shapes of its answers. */

import assert from 'node:assert/strict';
import http from 'node:http';

const ANSWER_MS = 10_000;

/* Resolves to {status, headers, text, json}; json is undefined where the answer
 * is none. */
export function request(port, method, path, headers = {})
{
    return new Promise((resolve, reject) => {
        const sent = http.request({
            host: '127.0.0.1', port, path, method, headers, agent: false,
            timeout: ANSWER_MS,
        }, (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
            response.on('error', reject).on('end', () => {
                const type = response.headers['content-type'];
                resolve({
                    status: response.statusCode, headers: response.headers,
                    text,
                    json: type === 'application/json' && text !== '' ?
                        JSON.parse(text) : undefined,
                });
            });
        });
        sent.on('timeout', () => sent.destroy(new Error(`${path}: silence`)));
        sent.on('error', reject).end();
    });
}

/* get(path), post(path): what a good answer holds; fails(...): its one line. */
export function apiOf(port, headers)
{
    async function good(method, path)
    {
        const answer = await request(port, method, `/api/v1/${path}`, headers);
        assert.ok(answer.status < 300, `${path}: ${answer.text}`);
        return answer.json;
    }

    return {
        get: (path) => good('GET', path),
        post: (path) => good('POST', path),
        async fails(method, path, status)
        {
            const answer = await request(port, method, `/api/v1/${path}`,
                                         headers);
            assert.equal(answer.status, status, `${path}: ${answer.text}`);
            assert.deepEqual(Object.keys(answer.json), ['error']);
            assert.match(answer.json.error, /^[^\n]+$/);
            return answer.json.error;
        },
    };
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const kinds = {
    text: (value) => typeof value === 'string',
    flag: (value) => typeof value === 'boolean',
    number: (value) => Number.isFinite(value) && value >= 0,
    count: (value) => Number.isInteger(value) && value >= 0,
    share: (value) => value >= 0 && value <= 1,
    time: (value) => TIME.test(value),
};

/* A shape: a kind, with '?' behind it where null is right, too; a RegExp; a
 * list of one shape, which all items have; an object with the shapes of its
 * members, which are all there are; with `maybe`, {shape} or null. */
export function assertShape(value, shape, where = 'the answer')
{
    const say = `${where}: ${JSON.stringify(value)}`;
    if (typeof shape === 'string') {
        const kind = shape.replace('?', '');
        if (value === null)
            assert.ok(shape.endsWith('?'), say);
        else
            assert.ok(kinds[kind](value), `${say} is no ${kind}`);
    } else if (shape instanceof RegExp) {
        assert.match(value, shape, say);
    } else if (Array.isArray(shape)) {
        assert.ok(Array.isArray(value), say);
        value.forEach((one, i) => assertShape(one, shape[0], `${where}[${i}]`));
    } else if ('maybe' in shape) {
        if (value !== null)
            assertShape(value, shape.maybe, where);
    } else {
        assert.deepEqual(Object.keys(value).sort(), Object.keys(shape).sort(),
                         where);
        for (const [name, of] of Object.entries(shape))
            assertShape(value[name], of, `${where}.${name}`);
    }
}

/* The names of all members, at any depth; not those in `fields`, which are the
 * log's. */
export function namesIn(value)
{
    if (Array.isArray(value))
        return value.flatMap(namesIn);
    if (value === null || typeof value !== 'object')
        return [];
    return Object.entries(value).flatMap(([name, one]) =>
        name === 'fields' ? [name] : [name, ...namesIn(one)]);
}

const STATE = /^(up|drained|unagreed|down|ejected|refused|removed)$/;

const NOW = {
    handshakes_per_s: 'number', requests_per_s: 'number',
    upgrades_per_s: 'number', upgrade_success: 'share?',
    misroutes_per_s: 'number', unknown_sid_per_s: 'number',
    recoveries_per_s: 'number', ended_per_s: 'number',
    handshake_p50_ms: 'number?', handshake_p99_ms: 'number?',
    bytes_in_per_s: 'number', bytes_out_per_s: 'number', connections: 'count',
    tunnels: 'count', sessions: 'count', sessions_polling: 'count',
    sessions_websocket: 'count', sessions_elsewhere: 'count',
};

export const STATUS = {
    gateway: 'text', name: 'text', version: /^\d+\.\d+\.\d+$/, pid: 'count',
    started: 'time', uptime_s: 'number',
    phase: /^(running|handed_over|delay|draining|stopped)$/,
    workers: 'count', log_level: /^(error|warning|info|debug)$/,
    access: /^(full|read)$/,
    store: { kind: /^(memory|redis)$/, state: /^(up|partly|down)$/,
             connections_up: 'count', connections: 'count' },
    now: NOW,
    totals: {
        handshakes: 'count', requests: 'count', sessions_begun: 'count',
        sessions_ended: 'count', upgrade_attempts: 'count',
        upgrade_successes: 'count',
        upgrade_failures: { refused: 'count', unreachable: 'count',
                            stripped: 'count', probe: 'count',
                            closed: 'count' },
        misroutes: 'count', unknown_sid: 'count', recoveries: 'count',
    },
    replicas: [{ id: 'text', is_self: 'flag', sessions: 'count',
                 heard_s: 'number?' }],
};

export const BACKEND = {
    id: 'text', pool: 'text', address: 'text', state: STATE, reason: 'text',
    weight: 'count', max_sessions: 'count', sessions: 'count',
    sessions_polling: 'count', sessions_websocket: 'count',
    handshakes: 'count', sessions_elsewhere: 'count',
    source: /^(config|discovery|operator)$/,
    drain: { maybe: { rate: 'count', deadline_s: 'count?', closed: 'count',
                      since_s: 'number', sessions_at_start: 'count' } },
    requests_total: 'count', errors_total: 'count', upgrade_attempts: 'count',
    upgrade_successes: 'count',
    history: [{ time: 'time', state: STATE, reason: 'text' }],
};

export const BACKENDS = { gateway: 'text', version: 'text', pid: 'count',
                          backends: [BACKEND] };

export const POINT = {
    time: 'time', handshakes_per_s: 'number', requests_per_s: 'number',
    sessions: 'count', sessions_websocket: 'count', upgrade_success: 'share?',
    misroutes_per_s: 'number', handshake_p50_ms: 'number?',
    handshake_p99_ms: 'number?', bytes_per_s: 'number', ended_per_s: 'number',
};

export const HISTORY = { step_s: 'count', points: [POINT] };

/* `fields` is looked at elsewhere: its members have names of their own. */
export const EVENT = {
    seq: 'count', time: 'time', level: /^(error|warning|info|debug)$/,
    event: /^[a-z_]+$/, fields: 'fields',
};
kinds.fields = (value) => typeof value === 'object' &&
    Object.values(value).every(kinds.text);

export const EVENTS = { events: [EVENT], last: 'count', lost: 'count' };
