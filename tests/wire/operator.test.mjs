/* SPDX-License-Identifier: MIT */
/* The operator listener: its token, pages of other sites, unix sockets; and
 * certificates read again. */

import assert from 'node:assert/strict';
import {
    chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync,
    statSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import {
    makeAuthority, makeCertificate, testCertificates,
} from '../support/certificates.mjs';
import { ask, refusesToStart, serve } from '../support/operator.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const TOKEN = 'correct-horse-battery-staple';
const ANY = ['--listen', '127.0.0.1:0', '--backend', '127.0.0.1:1'];
const LOCAL = ['--admin', '127.0.0.1:0'];

function folder(t)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-operator-'));
    t.after(() => rmSync(name, { recursive: true, force: true }));
    return name;
}

function tokenFile(t, text = `${TOKEN}\n`)
{
    const file = path.join(folder(t), 'token');
    writeFileSync(file, text, { mode: 0o600 });
    return file;
}

const get = (page, ...fields) => [`GET ${page} HTTP/1.1`, ...fields];

describe('token', () => {
    const WRONG = [
        [],
        ['Authorization: '],
        ['Authorization: Bearer'],
        ['Authorization: Bearer wrong-horse-battery-staple'],
        [`Authorization: Bearer ${TOKEN}x`],
        [`Authorization: Bearer ${TOKEN.slice(0, -1)}`],
        [`Authorization: Bearer ${TOKEN.toUpperCase()}`],
        [`Authorization: Basic ${TOKEN}`],
        [`Authorization: ${TOKEN}`],
        [`Authorization: Bearer ${'x'.repeat(2000)}`],
        [`Authorization: Bearer ${TOKEN}`, 'Authorization: Bearer x'],
        ['Authorization: Bearer x', `Authorization: Bearer ${TOKEN}`],
        [`X-Authorization: Bearer ${TOKEN}`],
        [`Cookie: token=${TOKEN}`],
    ];
    const RIGHT = [
        `Authorization: Bearer ${TOKEN}`,
        `authorization: bearer ${TOKEN}`,
        `AUTHORIZATION: BEARER  ${TOKEN}`,
    ];
    const PAGES = { '/metrics': 200, '/metrics?x=1': 200, '/ui/': 404,
                    '/healthzz': 404, '/healthz/': 404 };

    test('is asked for, for all but health', async (t) => {
        const gateway = await serve(t, [
            '--admin', '0.0.0.0:0', '--admin-token-file', tokenFile(t),
            '--log-level', 'debug']);
        for (const page of Object.keys(PAGES)) {
            for (const fields of WRONG) {
                const answer = await ask(gateway.admin,
                                         get(page, 'Host: h', ...fields));
                assert.equal(answer.status, 401, `${page} ${fields}`);
                assert.equal(answer.get('www-authenticate'), 'Bearer');
                assert.doesNotMatch(answer.body.toString(), /sidgate_/);
            }
            for (const field of RIGHT) {
                const answer = await ask(gateway.admin,
                                         get(page, 'Host: h', field));
                assert.equal(answer.status, PAGES[page], `${page} ${field}`);
                assert.equal(answer.get('www-authenticate'), undefined);
            }
        }
        for (const fields of [[], ...WRONG]) {
            for (const page of ['/healthz', '/readyz'])
                assert.equal((await ask(gateway.admin, get(
                    page, 'Host: sidgate.svc:9180', ...fields))).status, 200);
        }
        assert.ok(!gateway.stderr().includes(TOKEN), 'the token is logged');
        assert.doesNotMatch(gateway.stderr(), /wrong-horse/);
    });

    test('comes before the method', async (t) => {
        const gateway = await serve(t, [
            ...LOCAL, '--admin-token-file', tokenFile(t)]);
        const post = ['POST /metrics HTTP/1.1', 'Host: h',
                      'Content-Length: 0'];
        assert.equal((await ask(gateway.admin, post)).status, 401);
        assert.equal((await ask(gateway.admin, [
            ...post, `Authorization: Bearer ${TOKEN}`])).status, 405);
        assert.equal((await ask(gateway.admin, [
            'HEAD /metrics HTTP/1.1', 'Host: h'])).status, 401);
    });

    test('must be there for an address that others reach', async () => {
        for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:9180']) {
            const { code, line } =
                await refusesToStart([...ANY, '--admin', address]);
            assert.equal(code, 2, line);
            assert.match(line, /token/);
        }
    });
});

describe('pages of other sites', () => {
    const REFUSED = [
        ['Origin: http://evil.example'],
        ['origin: null'],
        ['Origin: http://localhost:1'],
        ['Origin: http://localhost.evil.example:PORT'],
        ['Origin: http://localhost:PORT', 'Origin: http://evil.example'],
        [`Origin: http://${'x'.repeat(1000)}`],
        ['Sec-Fetch-Site: cross-site'],
        ['sec-fetch-site: cross-site'],
        ['SEC-FETCH-SITE: cross-site'],
        ['Sec-Fetch-Site: same-site'],
        [`Sec-Fetch-Site: ${'x'.repeat(1000)}`],
        ['Accept: */*', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Site: cross-site',
         'Sec-Fetch-Dest: empty', 'Accept-Language: en'],
        ['Origin: http://localhost:PORT', 'Sec-Fetch-Site: cross-site'],
    ];
    const LET_IN = [
        [],
        ['Origin: http://localhost:PORT'],
        ['Origin: http://LOCALHOST:PORT', 'Sec-Fetch-Site: same-origin'],
        ['Sec-Fetch-Site: same-origin'],
        ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Site: none',
         'Sec-Fetch-User: ?1'],
    ];

    test('are refused, whatever they know', async (t) => {
        for (const args of [[], ['--admin-token-file', tokenFile(t)]]) {
            const { admin, stop } = await serve(t, [...LOCAL, ...args]);
            const head = (page, fields) => get(
                page, `Host: localhost:${admin.port}`,
                `Authorization: Bearer ${TOKEN}`,
                ...fields.map((one) => one.replace('PORT', admin.port)));
            for (const page of ['/metrics', '/healthz', '/nowhere'])
                for (const fields of REFUSED)
                    assert.equal((await ask(admin, head(page, fields))).status,
                                 403, `${page} ${fields}`);
            for (const fields of LET_IN)
                assert.equal((await ask(admin, head('/metrics', fields)))
                    .status, 200, `${fields}`);
            await stop();
        }
    });

    const OWN = ['127.0.0.1', '127.0.0.1:PORT', '[::1]:PORT', '10.1.2.3:PORT',
                 'localhost', 'LocalHost:PORT', 'localhost.'];
    const FOREIGN = ['evil.example', 'evil.example:PORT', 'x',
                     'localhost.evil.example', '127.0.0.1.evil.example:PORT',
                     'localhost@evil.example', 'localhost, evil.example',
                     'x'.repeat(1000)];

    test('are refused under names bound to this address', async (t) => {
        const { admin } = await serve(t, LOCAL);
        const host = (name) => `Host: ${name.replace('PORT', admin.port)}`;
        for (const page of ['/metrics', '/readyz']) {
            for (const name of OWN)
                assert.equal((await ask(admin, get(page, host(name)))).status,
                             200, name);
            for (const name of FOREIGN)
                assert.equal((await ask(admin, get(page, host(name)))).status,
                             403, name);
            assert.equal((await ask(admin, get(
                page, host('localhost'), host('evil.example')))).status, 403);
        }
        assert.equal((await ask(admin, ['GET /metrics HTTP/1.0'])).status, 200);
    });

    test('cannot know the token, so that any name will do', async (t) => {
        const { admin } = await serve(t, [
            ...LOCAL, '--admin-token-file', tokenFile(t)]);
        for (const name of [...OWN, 'sidgate.ops.svc:9180'])
            assert.equal((await ask(admin, get(
                '/metrics', `Host: ${name.replace('PORT', admin.port)}`,
                `Authorization: Bearer ${TOKEN}`))).status, 200, name);
    });

    test('the configured name is its own', async (t) => {
        const { admin } = await serve(t, ['--admin', 'localhost:0']);
        assert.equal((await ask(admin, get(
            '/metrics', `Host: localhost:${admin.port}`))).status, 200);
    });
});

test('only reading methods for pages', async (t) => {
    const { admin } = await serve(t, LOCAL);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
        for (const page of ['/metrics', '/healthz', '/readyz'])
            assert.equal((await ask(admin, [
                `${method} ${page} HTTP/1.1`, 'Host: localhost',
                'Content-Length: 0'])).status, 405, `${method} ${page}`);
});

describe('unix socket', () => {
    const there = (t) => path.join(folder(t), 'admin.sock');

    async function serves(admin)
    {
        for (const page of ['/healthz', '/readyz', '/metrics'])
            assert.equal((await ask(admin, get(page, 'Host: localhost')))
                .status, 200);
    }

    test('is its owner\'s alone, and goes at the end', async (t) => {
        const file = there(t);
        const gateway = await serve(t, ['--admin', `unix:${file}`]);
        assert.match(gateway.line, new RegExp(` admin=unix:${file} `));
        assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.equal(statSync(file).uid, process.getuid());
        await serves(gateway.admin);
        const { code } = await gateway.stop();
        assert.equal(code, 0);
        assert.ok(!existsSync(file), 'the file is left');
    });

    test('no browser gets there; the token counts all the same', async (t) => {
        const foreign = ['Host: ops.example', 'Origin: http://evil.example',
                         'Sec-Fetch-Site: cross-site'];
        const bare = await serve(t, ['--admin', `unix:${there(t)}`]);
        assert.equal((await ask(bare.admin, get('/metrics', ...foreign)))
            .status, 200);
        const locked = await serve(t, ['--admin', `unix:${there(t)}`,
                                       '--admin-token-file', tokenFile(t)]);
        assert.equal((await ask(locked.admin, get('/metrics', ...foreign)))
            .status, 401);
        assert.equal((await ask(locked.admin, get(
            '/metrics', `Authorization: Bearer ${TOKEN}`))).status, 200);
    });

    test('what a killed one left is replaced', async (t) => {
        const file = there(t);
        const first = await serve(t, ['--admin', `unix:${file}`]);
        await first.stop('SIGKILL');
        assert.ok(existsSync(file));
        const second = await serve(t, ['--admin', `unix:${file}`]);
        await serves(second.admin);
    });

    test('that of a living one is left alone', async (t) => {
        const file = there(t);
        const first = await serve(t, ['--admin', `unix:${file}`]);
        const { code, line } =
            await refusesToStart([...ANY, '--admin', `unix:${file}`]);
        assert.equal(code, 1);
        assert.equal(line, `sidgate: admin: cannot listen on unix:${file}: ` +
                           'Address already in use');
        await serves(first.admin);
    });

    test('other files are left alone', async (t) => {
        const file = there(t);
        writeFileSync(file, 'precious');
        const { code, line } =
            await refusesToStart([...ANY, '--admin', `unix:${file}`]);
        assert.equal(code, 1);
        assert.match(line, /Socket operation on non-socket$/);
        assert.equal(readFileSync(file, 'utf8'), 'precious');
    });

    test('is refused where it cannot be', async (t) => {
        const { code, line } = await refusesToStart([
            ...ANY, '--admin', `unix:${folder(t)}/none/s`]);
        assert.equal(code, 1);
        assert.match(line, /cannot listen on unix:.*: No such file/);
    });

    test('many at a time, and half requests', async (t) => {
        const { admin } = await serve(t, ['--admin', `unix:${there(t)}`]);
        const hanging = [];
        for (let i = 0; i < 100; i++) {
            const wire = await connect(0, { ...admin, secure: false });
            wire.send('GET /metr');
            hanging.push(wire);
        }
        await serves(admin);
        hanging.forEach((wire) => wire.destroy());
        await serves(admin);
    });
});

describe('SIGHUP', () => {
    test('without certificates it reads the configuration again', async (t) => {
        const gateway = await serve(t, LOCAL);
        process.kill(gateway.pid, 'SIGHUP');
        await eventually(() => / info reloaded backends=1 pools=1\n/
            .test(gateway.stderr()), 'reloaded');
    });

    test('certificates are read again; wrong ones change nothing',
         async (t) => {
        const file = path.join(folder(t), 'certificate.pem');
        copyFileSync(testCertificates().server.pem, file);
        const { backend, port, pid, stderr } = await serve(
            t, ['--tls-certificate', file], { listen: ['127.0.0.1:0,tls'] });
        const ca = (authority) => readFileSync(authority.certificate);
        const old = ca(testCertificates().authority);
        const asks = async (authority) => {
            const answer = await exchange(port,
                'GET /a HTTP/1.1\r\nHost: h\r\n\r\n', 'GET',
                { secure: { ca: authority } });
            assert.equal(answer.status, 200);
        };
        await asks(old);
        writeFileSync(file, 'no certificate');
        process.kill(pid, 'SIGHUP');
        await eventually(() => /error reload_failed error=/
            .test(stderr()), 'reload_failed');
        assert.ok(stderr().includes(file), stderr());
        await asks(old);
        const next = makeAuthority({ name: 'Next authority' });
        copyFileSync(makeCertificate(next).pem, file);
        chmodSync(file, 0o600);
        process.kill(pid, 'SIGHUP');
        await eventually(() => /info reloaded /.test(stderr()),
                         'reloaded');
        await asks(ca(next));
        await assert.rejects(asks(old));
        assert.ok(backend.targets.length >= 3);
    });

    test('--check reads them too', async (t) => {
        const file = path.join(folder(t), 'certificate.pem');
        const args = ['--listen', '127.0.0.1:0,tls', '--backend',
                      '127.0.0.1:1', '--tls-certificate', file, '--check'];
        writeFileSync(file, 'no certificate');
        const { code, line } = await refusesToStart(args);
        assert.equal(code, 2);
        assert.ok(line.includes(file), line);
    });
});
