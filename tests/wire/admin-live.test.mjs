/* SPDX-License-Identifier: MIT */
/* Pages that watch: who may, how many, and until when. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { frame, TEXT } from '../support/frames.mjs';
import { upgradable } from '../support/handover.mjs';
import { ask, serve } from '../support/operator.mjs';
import { bearer, handshake, LIVE, watch } from '../support/watcher.mjs';
import { connect, eventually } from '../support/wire.mjs';

const TOKEN = 'correct-horse-battery-staple';
const READ = 'x~'.repeat(255);
const LOCAL = ['--admin', '127.0.0.1:0'];
const GOING_AWAY = 1001;
const POLICY = 1008;

function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-live-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

function tokenArgs(t)
{
    const at = folder(t);
    writeFileSync(`${at}/full`, `${TOKEN}\n`);
    writeFileSync(`${at}/read`, READ);
    return ['--admin-token-file', `${at}/full`,
            '--admin-read-token-file', `${at}/read`];
}

/* The status of a handshake that is refused. */
async function refusal(admin, fields, target)
{
    const answer = await ask(admin, handshake(fields, target));
    assert.equal(answer.get('x-content-type-options'), 'nosniff');
    assert.equal(typeof JSON.parse(answer.body.toString()).error, 'string');
    return answer.status;
}

/* One more page, once it is noticed that others have gone. */
async function watchSoon(t, admin)
{
    let page;
    await eventually(async () => {
        page = await watch(t, admin).catch(() => null);
        return page;
    }, 'a place');
    return page;
}

describe('who may watch', () => {
    test('any token, in a field or as a subprotocol', async (t) => {
        const { admin, stderr } = await serve(t, [
            ...LOCAL, ...tokenArgs(t), '--log-level', 'debug']);
        const accesses = [
            [bearer(TOKEN), 'full'], [bearer(READ), 'read'],
            [{ Authorization: `Bearer ${TOKEN}` }, 'full'],
            [{ Authorization: `Bearer ${READ}` }, 'read'],
        ];
        for (const [fields, access] of accesses) {
            const { wire, next } = await watch(t, admin, fields);
            assert.equal((await next()).status.access, access);
            assert.doesNotMatch(wire.describe(), /bearer/);
        }
        const encoded = Buffer.from(READ).toString('base64url').slice(0, 40);
        for (const secret of [TOKEN, READ, encoded])
            assert.ok(!stderr().includes(secret));
    });

    test('nobody else', async (t) => {
        const { admin } = await serve(t, [...LOCAL, ...tokenArgs(t)]);
        for (const fields of [{}, bearer(''), bearer(`${TOKEN}x`),
                              bearer(TOKEN.slice(1)),
                              { Authorization: 'Bearer x' },
                              { 'Sec-WebSocket-Protocol':
                                  `sidgate-live, bearer.${TOKEN}` }])
            assert.equal(await refusal(admin, fields), 401);
        assert.equal(await refusal(admin, {
            ...bearer(TOKEN), 'Authorization': 'Bearer x' }), 401);
    });

    test('no page of another site', async (t) => {
        const tcp = (await serve(t, LOCAL)).admin;
        const unix = (await serve(t, [
            '--admin', `unix:${folder(t)}/s`])).admin;
        const foreign = [{ Origin: 'http://evil.example' }, { Origin: 'null' },
                         { Origin: 'https://localhost:1' },
                         { 'Sec-Fetch-Site': 'cross-site' },
                         { 'Sec-Fetch-Site': 'same-site' }];
        for (const admin of [tcp, unix])
            for (const fields of foreign)
                assert.equal(await refusal(admin, fields), 403);
        await watch(t, tcp, { 'Origin': `http://localhost:${tcp.port}`,
                              'Host': `localhost:${tcp.port}`,
                              'Sec-Fetch-Site': 'same-origin' });
        await watch(t, unix);
        /* Names that were bound to this address. */
        for (const name of ['evil.example', `evil.example:${tcp.port}`])
            assert.equal(await refusal(tcp, { Host: name,
                                              Origin: `http://${name}` }),
                         403);
    });
});

test('what is no handshake', async (t) => {
    const { admin } = await serve(t, LOCAL);
    for (const fields of [
        { 'Sec-WebSocket-Version': '12' }, { 'Sec-WebSocket-Version': null },
        { 'Sec-WebSocket-Key': null }, { 'Sec-WebSocket-Key': 'short' },
        { 'Sec-WebSocket-Key': 'k'.repeat(1000) },
        { 'Sec-WebSocket-Protocol': null }, { 'Sec-WebSocket-Protocol': '' },
        { 'Sec-WebSocket-Protocol': 'http' },
        { 'Sec-WebSocket-Protocol': ','.repeat(500) },
    ])
        assert.equal(await refusal(admin, fields), 400, JSON.stringify(fields));
    for (const target of ['/', '/healthz', `${LIVE}/`, `${LIVE}x`]) {
        const answer = await ask(admin, handshake({}, target));
        assert.notEqual(answer.status, 101);
        assert.equal(answer.status, target.length < 10 ? 200 : 404, target);
    }
    for (const upgrade of ['h2c', 'websocket, h2c', '', 'x'.repeat(2000), null])
        assert.equal(await refusal(admin, { Upgrade: upgrade }), 426, upgrade);
    const post = await ask(admin, [`POST ${LIVE} HTTP/1.1`, 'Host: localhost']);
    assert.deepEqual([post.status, post.get('allow')], [405, 'GET']);
    /* It serves on. */
    const { next } = await watch(t, admin);
    assert.ok((await next()).status);
});

test('broken and abandoned ones leave nothing', async (t) => {
    const { admin } = await serve(t, LOCAL);
    const bytes = `${handshake().join('\r\n')}\r\n\r\n`;
    for (let i = 0; i < 60; i++) {
        const wire = await connect(admin.port, { secure: false });
        wire.send(bytes.slice(0, i % 3 === 0 ? 40 : bytes.length));
        if (i % 3 === 2) {
            await wire.head();
            wire.send(Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 1, 2, 3, 4]));
        }
        wire.reset();
    }
    await eventually(async () => (await ask(admin, handshake({
        Host: 'evil.example' }))).status === 403, 'a place');
    const { next } = await watchSoon(t, admin);
    assert.ok((await next()).backends);
});

test('eight and no more', async (t) => {
    const { admin } = await serve(t, LOCAL);
    const pages = [];
    for (let i = 0; i < 8; i++)
        pages.push(await watch(t, admin));
    assert.equal(await refusal(admin), 503);
    for (const { next } of pages)
        assert.ok((await next()).history);
    for (const { next } of pages)
        assert.equal((await next()).history, undefined);
    pages[5].wire.destroy();
    await watchSoon(t, admin);
});

test('what it sends is bounded', async (t) => {
    const { admin } = await serve(t, LOCAL);
    const talker = await watch(t, admin);
    talker.wire.send(frame(TEXT, 'hello', { mask: true }));
    await talker.next();
    talker.wire.send(frame(TEXT, 'x'.repeat(5000), { mask: true }));
    assert.equal(await talker.closed(), POLICY);
});

describe('until when', () => {
    test('through a reload', async (t) => {
        const { admin, pid, stderr } = await serve(t, LOCAL);
        const { next } = await watch(t, admin);
        await next();
        process.kill(pid, 'SIGHUP');
        await eventually(() => /info reloaded /.test(stderr()), 'reloaded');
        /* Those that were sent before may not have been read yet. */
        for (let i = 0; i < 30; i++) {
            const { events } = await next();
            if (events.some(({ event }) => event === 'reloaded'))
                return;
        }
        assert.fail('the reload is not told');
    });

    test('to the end of the process', async (t) => {
        const { admin, stop } = await serve(t, LOCAL);
        const page = await watch(t, admin);
        await page.next();
        const [code] = await Promise.all([page.closed(), stop()]);
        assert.equal(code, GOING_AWAY);
    });

    test('to an upgrade, whose process they find then', async (t) => {
        const { gateway } = await upgradable(t);
        const admin = { port: gateway.adminPort };
        const page = await watch(t, admin);
        const { pid } = (await page.next()).status;
        const [code] = await Promise.all([page.closed(), gateway.upgrade()]);
        assert.equal(code, GOING_AWAY);
        const again = await watch(t, admin);
        const { status } = await again.next();
        assert.notEqual(status.pid, pid);
    });
});
