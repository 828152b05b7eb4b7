/* SPDX-License-Identifier: MIT */
/* What a TLS listener agrees to, as a scanner would ask for it. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { certificateFolder, makeAuthority, makeCertificate, makeClient,
         testCertificates } from '../support/certificates.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { clientHello, HANDSHAKE, record } from '../support/raw-tls.mjs';
import { connect, exchange } from '../support/wire.mjs';

const LISTEN = ['127.0.0.1:0,tls'];
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const GET_CLOSE = 'GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
/* All of TLS 1.2 with forward secrecy and an AEAD, for either key. */
const ECDSA_CIPHERS = [0xc02b, 0xc02c, 0xcca9];
const RSA_CIPHERS = [0xc02f, 0xc030, 0xcca8];

const { authority, server } = testCertificates();
const rsa = makeCertificate(authority, { key: 'rsa' });

/* `openssl s_client` with a request; gives all it printed. */
function scan(port, ...args)
{
    const child = spawn('openssl', [
        's_client', '-connect', `127.0.0.1:${port}`, '-CAfile',
        authority.certificate, '-ign_eof', ...args]);
    let text = '';
    for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('latin1').on('data', (part) => (text += part));
    child.stdin.on('error', () => {});
    child.stdin.end(GET_CLOSE);
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
    return new Promise((resolve) => child.once('close', () => {
        clearTimeout(timer);
        resolve(text);
    }));
}

function assertServed(text, version)
{
    assert.match(text, new RegExp(`New, ${version}, Cipher is (?!.*NONE)`));
    assert.match(text, /Verify return code: 0 \(ok\)/);
    assert.match(text, /^HTTP\/1\.1 200 OK\r?$/m);
}

function assertRefused(text, alert)
{
    assert.match(text, new RegExp(`SSL alert number ${alert}`));
    assert.match(text, /Cipher is \(NONE\)/);
    assert.doesNotMatch(text, /HTTP\/1\.1/);
}

/* The first record that answers a hello: its type and first two bytes. */
async function answerTo(port, hello, version = 0x0301)
{
    const wire = await connect(port, { secure: false });
    try {
        wire.send(record(HANDSHAKE, hello, version));
        const bytes = await wire.bytes(7);
        return { type: bytes[0], level: bytes[5], alert: bytes[6] };
    } finally {
        wire.destroy();
    }
}

describe('versions', () => {
    const c = fixture({ listen: LISTEN });
    const weak = ['-cipher', 'ALL:@SECLEVEL=0'];

    it('TLS 1.3', async () => {
        assertServed(await scan(c.port, '-tls1_3'), 'TLSv1.3');
    });

    it('TLS 1.2, without compression, safe from renegotiation', async () => {
        const text = await scan(c.port, '-tls1_2');
        assertServed(text, 'TLSv1.2');
        assert.match(text, /^Compression: NONE$/m);
        assert.match(text, /Secure Renegotiation IS supported/);
        assert.match(text, /Extended master secret: yes/);
        assert.match(text, /Server Temp Key: (X25519|ECDH)/);
    });

    for (const version of ['tls1', 'tls1_1'])
        it(`${version} is refused`, async () => {
            assertRefused(await scan(c.port, `-${version}`, ...weak), 70);
        });

    for (const [name, version, alert] of [
        ['SSL 3', 0x0300, 40], ['TLS 1.0', 0x0301, 70], ['TLS 1.1', 0x0302, 70],
    ])
        it(`a hello of ${name} is refused`, async () => {
            const hello = clientHello({ version, ciphers: [0x002f, 0xc013,
                ...ECDSA_CIPHERS] });
            const answer = await answerTo(c.port, hello, version);
            assert.deepEqual(answer, { type: 21, level: 2, alert });
        });

    it('compression is not agreed to', async () => {
        const wire = await connect(c.port, { secure: false });
        wire.send(record(HANDSHAKE, clientHello({
            ciphers: ECDSA_CIPHERS, compressions: [1, 0] })));
        const bytes = await wire.bytes(5 + 4 + 2 + 32 + 1);
        const idLength = bytes[43];
        const rest = await wire.bytes(idLength + 3);
        assert.equal(rest[idLength + 2], 0);
        wire.destroy();
    });

    it('a renegotiation is refused', async () => {
        const wire = await c.open({ secure: { maxVersion: 'TLSv1.2' } });
        wire.send(GET);
        assert.equal((await wire.response()).status, 200);
        /* OpenSSL ends the connection of the client who asked in vain. */
        const error = await new Promise((resolve) => {
            wire.socket.once('error', resolve);
            wire.socket.renegotiate({}, resolve);
        });
        assert.match(String(error), /no.renegotiation/i);
        const answer = await exchange(c.port, GET, 'GET', { secure: true });
        assert.equal(answer.status, 200);
    });

    it('only 1.3 where it is the lowest', async () => {
        const args = ['--tls-min-version', '1.3'];
        await withCluster({ listen: LISTEN, args }, async ({ port }) => {
            assertServed(await scan(port, '-tls1_3'), 'TLSv1.3');
            assertRefused(await scan(port, '-tls1_2'), 70);
        });
    });
});

describe('ciphers of TLS 1.2', () => {
    const c = fixture({ listen: LISTEN, args: [
        '--tls-certificate', server.pem, '--tls-certificate', rsa.pem] });

    it('of all that OpenSSL knows, only those of forward secrecy and AEAD',
       async () => {
           const text = execFileSync('openssl', [
               'ciphers', '-V', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'],
               { encoding: 'latin1' });
           const known = [...text.matchAll(/0x(..),0x(..) - /g)]
               .map(([, high, low]) => parseInt(high + low, 16))
               .filter((id) => id >> 8 !== 0x13);
           assert.ok(known.length > 50, `${known.length} known`);
           const taken = [];
           for (const id of known) {
               const answer = await answerTo(c.port,
                   clientHello({ ciphers: [id] }));
               if (answer.type === HANDSHAKE)
                   taken.push(id);
               else
                   assert.deepEqual(answer, { type: 21, level: 2, alert: 40 });
           }
           assert.deepEqual(taken.sort((a, b) => a - b),
                            [...ECDSA_CIPHERS, ...RSA_CIPHERS]
                                .sort((a, b) => a - b));
       });

    it('every number of the old ranges but those', async () => {
        const good = new Set([...ECDSA_CIPHERS, ...RSA_CIPHERS]);
        const bad = [];
        for (const start of [0x0000, 0xc000, 0xcc80])
            for (let id = start; id < start + 256; id++)
                if (!good.has(id) && id !== 0x00ff)
                    bad.push(id);
        /* All at once: one that is good would be chosen. */
        const answer = await answerTo(c.port, clientHello({ ciphers: bad }));
        assert.deepEqual(answer, { type: 21, level: 2, alert: 40 });
    });

    for (const [kind, list] of [['ECDSA', ECDSA_CIPHERS],
                                ['RSA', RSA_CIPHERS]])
        it(`a client that knows ${kind} alone gets that certificate`,
           async () => {
               const text = await scan(c.port, '-tls1_2', '-cipher',
                                       `ECDHE+a${kind}`);
               assertServed(text, 'TLSv1.2');
               assert.match(text, new RegExp(`Peer signature type: ${kind}`));
               assert.equal(list.length, 3);
           });
});

describe('ALPN', () => {
    const c = fixture({ listen: LISTEN });

    it('http/1.1 is chosen, whatever else is offered', async () => {
        for (const version of ['-tls1_2', '-tls1_3']) {
            const text = await scan(c.port, version, '-alpn', 'h2,http/1.1');
            assertServed(text, version === '-tls1_2' ? 'TLSv1.2' : 'TLSv1.3');
            assert.match(text, /^ALPN protocol: http\/1\.1$/m);
        }
    });

    it('h2 alone is refused', async () => {
        for (const version of ['-tls1_2', '-tls1_3'])
            assertRefused(await scan(c.port, version, '-alpn', 'h2'), 120);
    });

    it('none is needed', async () => {
        assert.match(await scan(c.port), /^No ALPN negotiated$/m);
    });
});

describe('server names', () => {
    const named = (...names) => makeCertificate(authority, { names, ips: [] });
    const certificates = [
        server, named('one.example', '*.wild.example'), named('two.example')];
    const c = fixture({ listen: LISTEN, args: certificates.flatMap(
        ({ pem }) => ['--tls-certificate', pem]) });

    for (const [name, index] of [
        ['one.example', 1], ['ONE.example', 1], ['a.wild.example', 1],
        ['wild.example', 0], ['a.b.wild.example', 0], ['two.example', 2],
        ['three.example', 0], [undefined, 0], ['localhost', 0],
    ])
        it(`${name ?? 'none'}: certificate ${index}`, async () => {
            const wire = await c.open({ secure: {
                servername: name ?? '', rejectUnauthorized: false } });
            const { raw } = wire.socket.getPeerCertificate();
            const pem = readFileSync(certificates[index].certificate);
            assert.ok(raw.equals(new X509Certificate(pem).raw),
                      wire.socket.getPeerCertificate().subject.CN);
            wire.send(GET);
            assert.equal((await wire.response()).status, 200);
        });
});

describe('a PROXY header before TLS', () => {
    const c = fixture({ listen: ['127.0.0.1:0,tls,proxy'], args: [
        '--trusted-proxy', '127.0.0.1'] });

    it('names the client', async () => {
        const first = 'PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n';
        const wire = await c.open({ secure: true, first });
        wire.send(GET);
        assert.equal((await wire.response()).status, 200);
        const [request] = c.backend.requests;
        assert.equal(request.get('x-forwarded-for'), '192.0.2.7');
        assert.equal(request.get('x-forwarded-proto'), 'https');
    });
});

describe('resumption', () => {
    const c = fixture({ listen: LISTEN, args: ['--workers', '2'] });
    let count = 0;

    async function resumes(version, between = () => {})
    {
        const file = path.join(certificateFolder(), `session-${count++}`);
        const first = await scan(c.port, version, '-sess_out', file);
        assert.match(first, /^New, TLSv1/m);
        await between();
        /* Often enough to meet both workers. */
        for (let i = 0; i < 4; i++)
            assert.match(await scan(c.port, version, '-sess_in', file),
                         /^Reused, TLSv1/m);
    }

    it('TLS 1.2, by ticket', () => resumes('-tls1_2'));
    it('TLS 1.3', () => resumes('-tls1_3'));

    it('after SIGHUP, and they are counted', async () => {
        const before = (await c.gateway.metrics()).get(
            'sidgate_tls_resumed_total');
        for (const version of ['-tls1_2', '-tls1_3'])
            await resumes(version, async () => {
                const seen = c.gateway.stderr().length;
                process.kill(c.gateway.pid, 'SIGHUP');
                while (!/ reloaded /.test(c.gateway.stderr().slice(seen)))
                    await new Promise((resolve) => setTimeout(resolve, 10));
            });
        const after = (await c.gateway.metrics()).get(
            'sidgate_tls_resumed_total');
        assert.equal(after - before, 8);
    });

    it('a ticket that was changed is not taken', async () => {
        const file = path.join(certificateFolder(), 'other-session');
        await scan(c.port, '-tls1_2', '-sess_out', file);
        const other = fixtureOf(file);
        const text = await scan(c.port, '-tls1_2', '-sess_in', other);
        assert.match(text, /^New, TLSv1\.2/m);
        assert.match(text, /HTTP\/1\.1 200 OK/);
    });

    /* The same session with one byte of its ticket changed. */
    function fixtureOf(file)
    {
        const der = execFileSync('openssl', ['sess_id', '-in', file,
                                             '-outform', 'DER']);
        const text = execFileSync('openssl', [
            'sess_id', '-in', file, '-text', '-noout'], { encoding: 'latin1' });
        const bytes = /0010 - (.*?)   /.exec(text)[1].replace(/[ -]/g, '');
        const at = der.indexOf(Buffer.from(bytes, 'hex'));
        assert.ok(at > 0, text);
        der[at + 3] ^= 1;
        execFileSync('openssl', ['sess_id', '-inform', 'DER', '-out',
                                 `${file}.changed`], { input: der });
        return `${file}.changed`;
    }
});

describe('OCSP', () => {
    const staple = path.join(certificateFolder(), 'staple.der');
    execFileSync('openssl', [
        'ocsp', '-index', authority.file('index'), '-CA', authority.certificate,
        '-rsigner', authority.certificate, '-rkey', authority.key, '-issuer',
        authority.certificate, '-cert', server.certificate, '-respout', staple,
        '-ndays', '1'], { stdio: 'pipe' });
    const c = fixture({ listen: LISTEN, args: [
        '--tls-certificate', `${server.pem},ocsp=${staple}`] });

    for (const version of ['-tls1_2', '-tls1_3'])
        it(`the response in the file is stapled, ${version}`, async () => {
            const text = await scan(c.port, version, '-status');
            assert.match(text, /OCSP Response Status: successful/);
            assert.match(text, /Cert Status: good/);
        });

    it('only for who asks', async () => {
        assert.doesNotMatch(await scan(c.port), /OCSP Response Status/);
    });
});

describe('certificates of clients', () => {
    const ca = makeAuthority({ name: 'Of clients' });
    const other = makeAuthority({ name: 'Of others' });
    const certificates = { right: makeClient(ca), wrong: makeClient(other) };
    const show = (which) => which && {
        cert: readFileSync(certificates[which].certificate),
        key: readFileSync(certificates[which].key) };

    async function ask(c, which, maxVersion)
    {
        return exchange(c.port, GET, 'GET', { secure: {
            ...show(which), maxVersion } }).then(({ status }) => status,
                                                 () => 'refused');
    }

    for (const [mode, none] of [['require', 'refused'], ['optional', 200]])
        describe(mode, () => {
            const c = fixture({ listen: LISTEN, args: [
                '--tls-client-ca', ca.certificate, '--tls-client-verify', mode,
            ] });
            for (const version of ['TLSv1.2', 'TLSv1.3'])
                for (const [which, expected] of [
                    [undefined, none], ['wrong', 'refused'], ['right', 200]])
                    it(`${which ?? 'none'}, ${version}: ${expected}`,
                       async () => {
                           assert.equal(await ask(c, which, version), expected);
                           assert.equal(c.backend.targets.length,
                                        expected === 200 ? 1 : 0);
                       });
        });

    it('the names of the authorities are sent', async () => {
        await withCluster({ listen: LISTEN, args: ['--tls-client-ca',
                                                   ca.certificate] },
            async ({ port }) => assert.match(
                await scan(port, '-tls1_2'),
                /client certificate CA names\s+CN = Of clients/i));
    });
});
