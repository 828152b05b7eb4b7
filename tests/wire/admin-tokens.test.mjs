/* SPDX-License-Identifier: MIT */
/* The operator listener's two tokens, what is logged of what they did, and
 * what needs none. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { ask, refusesToStart, serve } from '../support/operator.mjs';
import { eventually } from '../support/wire.mjs';

const FULL = 'correct-horse-battery-staple';
const READ = 'battery-staple-horse-correct';
const LOCAL = ['--admin', '127.0.0.1:0'];
const READS = ['/metrics', '/api/v1/status', '/api/v1/backends',
               '/api/v1/config', '/api/v1/log', '/api/v1/events'];
const POSTS = ['/api/v1/reload', '/api/v1/backends/n1/drain',
               '/api/v1/backends/n1/undrain', '/api/v1/log?level=info',
               '/api/v1/nothing', '/metrics'];

function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-tokens-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

function files(t, { full = FULL, read = READ } = {})
{
    const at = folder(t);
    writeFileSync(`${at}/full`, `${full}\n`);
    writeFileSync(`${at}/read`, `${read}\n`);
    return { full: ['--admin-token-file', `${at}/full`],
             read: ['--admin-read-token-file', `${at}/read`] };
}

/* The answer to a request with a token, or none. */
function as(admin, token, method, target, ...fields)
{
    return ask(admin, [
        `${method} ${target} HTTP/1.1`, 'Host: localhost',
        ...(token ? [`Authorization: Bearer ${token}`] : []), ...fields]);
}

async function statuses(admin, token, method, targets)
{
    const found = new Set();
    for (const target of targets)
        found.add((await as(admin, token, method, target)).status);
    return [...found].sort();
}

describe('two tokens', () => {
    test('one for all, one to look', async (t) => {
        const { full, read } = files(t);
        const { admin } = await serve(t, [...LOCAL, ...full, ...read]);
        for (const token of [FULL, READ])
            for (const method of ['GET', 'HEAD'])
                assert.deepEqual(await statuses(admin, token, method, READS),
                                 [200]);
        for (const token of [undefined, `${READ}x`, FULL + READ]) {
            assert.deepEqual(await statuses(admin, token, 'GET', READS), [401]);
            assert.deepEqual(await statuses(admin, token, 'POST', POSTS),
                             [401]);
        }
        assert.deepEqual(await statuses(admin, READ, 'POST', POSTS), [403]);
        const answer = await as(admin, READ, 'POST', '/api/v1/reload');
        assert.equal(answer.body.toString(),
                     '{"error":"this token may only read"}');
        assert.deepEqual(await statuses(admin, FULL, 'POST', POSTS),
                         [200, 404, 405]);
        for (const [token, access] of [[FULL, 'full'], [READ, 'read']]) {
            const { body } = await as(admin, token, 'GET', '/api/v1/status');
            assert.equal(JSON.parse(body.toString()).access, access);
        }
    });

    test('with the lesser alone nobody changes anything', async (t) => {
        const { read } = files(t);
        for (const where of [LOCAL, ['--admin', `unix:${folder(t)}/s`]]) {
            const { admin } = await serve(t, [...where, ...read]);
            assert.deepEqual(await statuses(admin, READ, 'GET', READS), [200]);
            assert.deepEqual(await statuses(admin, undefined, 'GET', READS),
                             [401]);
            assert.deepEqual(await statuses(admin, READ, 'POST', POSTS), [403]);
            assert.deepEqual(await statuses(admin, undefined, 'POST', POSTS),
                             [401]);
        }
    });

    test('must differ, and the full one be there for others', async (t) => {
        const any = ['--listen', '127.0.0.1:0', '--backend', '127.0.0.1:1'];
        const same = files(t, { read: FULL });
        const equal = await refusesToStart([
            ...any, ...LOCAL, ...same.full, ...same.read]);
        assert.equal(equal.code, 2);
        assert.match(equal.line, /the same token as --admin-token-file$/);
        const wide = await refusesToStart([
            ...any, '--admin', '0.0.0.0:0', ...same.read]);
        assert.equal(wide.code, 2);
        assert.match(wide.line, /needs --admin-token-file$/);
    });

    test('stay as they are at a reload', async (t) => {
        const { full, read } = files(t);
        const gateway = await serve(t, [...LOCAL, ...full, ...read]);
        writeFileSync(read[1], 'another-token-that-reads');
        process.kill(gateway.pid, 'SIGHUP');
        await eventually(() => /warning restart_needed option=admin-read-token/
            .test(gateway.stderr()), 'restart_needed');
        assert.deepEqual(await statuses(gateway.admin, READ, 'GET', READS),
                         [200]);
    });
});

describe('what operators do is logged', () => {
    const actions = (gateway) => gateway.stderr().split('\n')
        .filter((line) => line.includes(' operator_action '))
        .map((line) => line.slice(line.indexOf(' ') + 1));

    test('with who it was', async (t) => {
        const { full, read } = files(t);
        const gateway = await serve(t, [...LOCAL, ...full, ...read]);
        const { admin } = gateway;
        await as(admin, FULL, 'POST', '/api/v1/backends/n1/drain');
        await as(admin, FULL, 'POST', '/api/v1/backends/n9/drain');
        await as(admin, FULL, 'POST', '/api/v1/log?level=info');
        await as(admin, FULL, 'POST', '/api/v1/backends/n1/dance');
        await as(admin, FULL, 'GET', '/api/v1/backends');
        await as(admin, FULL, 'POST', '/metrics');
        await as(admin, READ, 'POST', '/api/v1/backends/n1/undrain');
        const who = 'token@127.0.0.1:\\d+';
        const wanted = [
            `info operator_action action=drain target=n1 status=200 who=${who}`,
            `info operator_action action=drain target=n9 status=404 who=${who} ` +
                'error="there is no backend n9"',
            `info operator_action action=log target=info status=200 who=${who}`,
            `info operator_action action=unknown target="" status=404 who=${
                who} error="not found"`,
            'warning operator_action action=undrain target=n1 status=403 ' +
                `who=read-${who} untold=0`,
        ];
        await eventually(() => actions(gateway).length >= wanted.length,
                         'the lines');
        const lines = actions(gateway);
        assert.equal(lines.length, wanted.length, lines.join('\n'));
        wanted.forEach((one, i) =>
            assert.match(lines[i], new RegExp(`^${one}$`)));
    });

    test('strangers cannot fill the log', async (t) => {
        const { full } = files(t);
        const gateway = await serve(t, [...LOCAL, ...full]);
        const from = performance.now();
        for (let i = 0; i < 40; i++)
            await as(gateway.admin, undefined, 'POST', '/api/v1/reload');
        const seconds = Math.floor((performance.now() - from) / 1000);
        const lines = actions(gateway);
        assert.ok(lines.length >= 1 && lines.length <= seconds + 2,
                  lines.join('\n'));
        assert.match(lines[0], new RegExp(
            '^warning operator_action action=reload target="" status=401 ' +
            'who=nobody@127.0.0.1:\\d+ untold=0$'));
    });

    test('by the user of a unix socket', async (t) => {
        const gateway = await serve(t, ['--admin', `unix:${folder(t)}/s`]);
        await as(gateway.admin, undefined, 'POST', '/api/v1/reload');
        await eventually(() => actions(gateway).some((line) => line.endsWith(
            `action=reload target="" status=200 who=uid=${process.getuid()}`) ||
            line.endsWith(`status=200 who="uid=${process.getuid()}"`)), 'uid');
    });

    test('and no session id', async (t) => {
        const gateway = await serve(t, LOCAL);
        const sid = 'aVerySecretSessionId0042';
        await as(gateway.admin, undefined, 'POST',
                 `/api/v1/sessions/${sid}/kick`);
        await as(gateway.admin, undefined, 'POST',
                 '/api/v1/sessions/0123456789abcdef/kick');
        await eventually(() => actions(gateway).length >= 2, 'two lines');
        assert.match(actions(gateway)[0], / action=kick target=aVer\.\.\. /);
        assert.match(actions(gateway)[1],
                     / action=kick target=0123456789abcdef /);
        assert.ok(!gateway.stderr().includes(sid));
    });
});

describe('the page', () => {
    const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; " +
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; " +
        "form-action 'none'; frame-ancestors 'none'";

    test('needs no token and is not to be kept in a frame', async (t) => {
        const { full } = files(t);
        const { admin } = await serve(t, ['--admin', '0.0.0.0:0', ...full]);
        const page = await as(admin, undefined, 'GET', '/',
                              'Sec-Fetch-Site: cross-site');
        assert.equal(page.status, 200);
        assert.equal(page.get('content-type'), 'text/html; charset=utf-8');
        assert.equal(page.get('content-security-policy'), POLICY);
        assert.equal(page.get('x-content-type-options'), 'nosniff');
        assert.equal(page.get('referrer-policy'), 'no-referrer');
        const html = page.body.toString();
        assert.match(html, /^<!doctype html>/i);
        const parts = [...html.matchAll(/(?:src|href)="(\/?ui\/[^"]+)"/g)];
        assert.ok(parts.length > 0);
        let total = page.body.length;
        for (const [, name] of parts) {
            const part = await as(admin, undefined, 'GET',
                                  name.startsWith('/') ? name : `/${name}`);
            assert.equal(part.status, 200, name);
            assert.match(part.get('content-type'),
                         /^text\/(css|javascript); charset=utf-8$/);
            total += part.body.length;
        }
        assert.ok(total < 100_000, `${total} bytes`);
        const head = await as(admin, undefined, 'HEAD', '/');
        assert.equal(head.get('content-length'), String(page.body.length));
        const again = await as(admin, undefined, 'GET', '/',
                               `If-None-Match: ${page.get('etag')}`);
        assert.equal(again.status, 304);
    });

    test('is only what there is', async (t) => {
        const { admin } = await serve(t, LOCAL);
        for (const target of ['/ui', '/ui/', '/ui/none.js', '/index.html',
                              '/ui/../../../etc/passwd', '/ui/%2e%2e/page.h',
                              '/ui//index.html/', '/ui/index.html%00.js'])
            await ask(admin, [`GET ${target} HTTP/1.1`, 'Host: localhost'])
                .then(({ status }) => assert.equal(status, 404, target),
                      (error) => assert.match(error.message, /ended/));
        assert.equal((await as(admin, undefined, 'POST', '/')).status, 405);
        assert.equal((await ask(admin, ['GET / HTTP/1.1', 'Host: evil']))
            .status, 403);
    });
});
