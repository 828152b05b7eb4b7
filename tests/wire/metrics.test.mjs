/* SPDX-License-Identifier: MIT */
/* The metrics page as a whole: Prometheus takes it, it speaks for all workers,
 * it is quick, each of its metrics is known to move, and the dashboard and the
 * alerts ask for nothing else. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { limits } from '../support/causes/limits.mjs';
import { processRows } from '../support/causes/process.mjs';
import { requests } from '../support/causes/requests.mjs';
import { sessions } from '../support/causes/sessions.mjs';
import { store } from '../support/causes/store.mjs';
import { upgrades } from '../support/causes/upgrades.mjs';
import { fullName, startWorld } from '../support/causes/world.mjs';
import { handshakeRequest, openPacket } from '../support/engine.mjs';
import { ok } from '../support/backend.mjs';
import { parseMetrics, startGateway } from '../support/gateway.mjs';
import { isSanitized } from '../support/process.mjs';
import { familiesOf, panelExpressions, pathOf, promtool, readText,
         ruleExpressions, selectorsOf } from '../support/prometheus.mjs';
import { eventually, inTime } from '../support/wire.mjs';

const ALERTS = 'deploy/prometheus-alerts.yml';
const DASHBOARD = 'deploy/grafana-dashboard.json';
const RULE_TESTS = 'tests/support/alert-rules.yml';
const SCRAPE_MS = 50;
const EXPIRY_MS = 30_000;

/* Of what no row says that it moves, and why. */
const CONSTANT = {
    sidgate_build_info: 'always 1',
    sidgate_tls_certificate_not_after_seconds:
        'what the certificate says; looked at below',
    'sidgate_sessions_ended_total{cause="expired"}':
        'takes 20 s; looked at below',
    process_start_time_seconds: 'does not change; looked at below',
    sidgate_store_connections: 'does not change; of a shared store below',
};

const scrape = async (gateway) => (await gateway.get('/metrics')).body;

/* One with all that a gateway can have, and some traffic. */
async function busy()
{
    const world = await startWorld({
        count: 2, listen: ['127.0.0.1:0', '127.0.0.1:0,tls'],
        args: ['--workers', '4', '--backend', '[::1]:9'] });
    world.sids = [];
    for (let i = 0; i < 20; i++)
        world.sids.push(await world.session());
    await world.ask('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
    return world;
}

/* It takes its time, and is looked at in the end. */
let forgotten;

before(async () => {
    forgotten = await startWorld();
    forgotten.backend.onHandshake = (request, wire) => wire.send(ok(openPacket(
        'expires-soon', { pingInterval: 300, pingTimeout: 200 })));
    await forgotten.ask(handshakeRequest());
});
after(() => forgotten?.stop());

describe('a scrape', () => {
    let world;
    let text;

    before(async () => {
        world = await busy();
        /* The last one is counted a moment after its answer. */
        await eventually(async () => {
            text = await scrape(world.gateway);
            return parseMetrics(text).get('sidgate_request_duration_seconds_' +
                'count{kind="handshake"}') === 20;
        }, 'all counted').catch(() => {});
    });
    after(() => world?.stop());

    test('is as promtool wants it', () =>
        promtool(['check', 'metrics'], { input: text, isQuiet: true }));

    test('explains each family', () => {
        for (const [name, { type, help }] of familiesOf(text)) {
            assert.match(type ?? '', /^(counter|gauge|histogram)$/, name);
            assert.match(help ?? '', /^[A-Z0-9].*\.$/, name);
        }
    });

    test('is of its type and may not be kept', async () => {
        const { headers } = await fetch(
            `http://127.0.0.1:${world.gateway.adminPort}/metrics`);
        assert.match(headers.get('content-type'),
                     /^text\/plain; version=0\.0\.4/);
    });

    test('names no session and no client', () => {
        assert.doesNotMatch(text, /127\.0\.0\.1/);
        assert.ok(!world.sids.some((sid) => text.includes(sid)));
    });

    test('speaks for all workers', () => {
        const values = parseMetrics(text);
        const sum = (name) => [0, 1, 2, 3].reduce((total, i) => total +
            values.get(`sidgate_worker_${name}{worker="${i}"}`), 0);
        for (const name of ['requests_total', 'connections_accepted_total'])
            assert.equal(sum(name), values.get(`sidgate_${name}`), name);
        assert.equal(values.get('sidgate_requests_total'), 21);
        assert.equal(values.get(
            'sidgate_request_duration_seconds_count{kind="handshake"}'), 20);
    });

    test('says when the certificate ends', async () => {
        const at = parseMetrics(text).get(
            'sidgate_tls_certificate_not_after_seconds');
        const wire = await world.open({
            port: world.gateway.ports[1], secure: {
                rejectUnauthorized: false } });
        assert.equal(at, Date.parse(
            wire.socket.getPeerCertificate().valid_to) / 1000);
    });

    test('says of the process what the kernel says', () => {
        const values = parseMetrics(text);
        const now = Date.now() / 1000;
        const start = values.get('process_start_time_seconds');
        assert.ok(start > now - 60 && start <= now, `${start}`);
        assert.ok(values.get('process_open_fds') > 10);
        assert.ok(values.get('process_open_fds') <
                  values.get('process_max_fds'));
    });
});

test('the largest scrape is quick', async (t) => {
    const backends = Array.from({ length: 256 }, (_, i) =>
        ({ id: `backend-with-a-long-name-${i}`, host: `127.0.1.${i}`,
           port: 9 }));
    const gateway = await startGateway({ backends,
                                         args: ['--workers', '64'] });
    t.after(() => gateway.stop('SIGKILL'));
    let took;
    let text;
    await inTime(async () => {
        const start = performance.now();
        text = await scrape(gateway);
        took = performance.now() - start;
        return took;
    }, isSanitized(gateway.pid) ? Infinity : SCRAPE_MS, 30);
    promtool(['check', 'metrics'], { input: text, isQuiet: true });
    t.diagnostic(`${took.toFixed(1)} ms for ${text.length} bytes`);
});

/* Series that the tables move, without the values of labels that tests make
 * up. */
function moved()
{
    const rows = [...requests, ...limits, ...upgrades, ...sessions,
                  ...processRows, ...store];
    return new Set(rows.flatMap((row) => Object.entries(row.moves))
        .filter(([, by]) => by !== 0)
        .map(([name]) => fullName(name)));
}

test('each metric is caused by some row', async (t) => {
    const world = await startWorld({ listen: ['127.0.0.1:0,tls'] });
    t.after(() => world.stop());
    const known = moved();
    const names = [...parseMetrics(await scrape(world.gateway)).keys()]
        .filter((name) => !/_(bucket|sum)\{/.test(name))
        .map((name) => name.replace(/^(sidgate_build_info).*/, '$1'));
    const missing = names.filter((name) => !known.has(name));
    assert.deepEqual(missing.sort(), Object.keys(CONSTANT).sort());
});

test('connections that the store should have', async (t) => {
    const world = await startWorld({ redis: true, args: ['--workers', '3'] });
    t.after(() => world.stop());
    await eventually(async () =>
        await world.gateway.metric('sidgate_store_up') === 3, 'three');
    assert.equal(await world.gateway.metric('sidgate_store_connections'), 3);
});

describe('alerts and dashboard', () => {
    let families;

    before(async () => {
        const world = await busy();
        families = familiesOf(await scrape(world.gateway));
        await world.stop();
    });

    test('the alerts are rules', () => {
        promtool(['check', 'rules', pathOf(ALERTS)]);
        promtool(['test', 'rules', pathOf(RULE_TESTS)]);
    });

    test('each alert says what it is and what to do', () => {
        const text = readText(ALERTS);
        const count = (pattern) => [...text.matchAll(pattern)].length;
        assert.ok(count(/- alert:/g) > 10);
        for (const word of ['summary', 'description', 'severity'])
            assert.equal(count(new RegExp(`^ +${word}: `, 'gm')),
                         count(/- alert:/g), word);
    });

    test('the dashboard can be imported', () => {
        const { uid, title, templating, panels } =
            JSON.parse(readText(DASHBOARD));
        assert.ok(uid && title);
        assert.equal(templating.list[0].type, 'datasource');
        const ids = panels.map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length);
        for (const { type, datasource } of panels)
            assert.ok(type === 'row' || datasource.uid === '${datasource}');
    });

    test('the documents name nothing else', () => {
        for (const page of ['metrics.md', 'operations.md', 'redis.md'])
            for (const { name } of selectorsOf(readText(`docs/${page}`)))
                assert.ok(families.has(name), `${page}: ${name}`);
    });

    for (const [name, expressions] of [
        [ALERTS, ruleExpressions(ALERTS)],
        [DASHBOARD, panelExpressions(DASHBOARD)]]) {
        test(`${name} asks for what is there`, () => {
            const selectors = expressions.flatMap(selectorsOf);
            assert.ok(selectors.length > 15);
            for (const { name: family, labels } of selectors) {
                const served = families.get(family)?.series;
                assert.ok(served, `${family} is not served`);
                for (const [label, value] of labels)
                    assert.ok(/[$*|]/.test(value) || served.some((one) =>
                        one.get(label) === value),
                        `${family} never has ${label}="${value}"`);
            }
        });
    }
});

test('a session that nobody comes back to', async () => {
    const ended = async () => (await forgotten.gateway.metrics())
        .get('sidgate_sessions_ended_total{cause="expired"}');
    await eventually(async () => await ended() === 1, 'its end', EXPIRY_MS);
});
