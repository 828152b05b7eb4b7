/* SPDX-License-Identifier: MIT */
/* Who the client is: what proxies say of it, which of them are believed, and
 * what of that backends and the store are told. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it, test } from 'node:test';

import { handshakeRequest } from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { ask, cluster, sidOf } from '../support/replicas.mjs';
import { keyOf } from '../support/shared.mjs';
import { connect, eventually } from '../support/wire.mjs';

const OWN = '127.0.0.1';
const TRUSTED = ['--trusted-proxy', OWN, '--trusted-proxy', '10.0.0.0/8',
                 '--trusted-proxy', '2001:db8:1::/48'];
const PLAIN = ['127.0.0.1:0'];
const hops = (count) => Array.from({ length: count }, (_, i) => `10.0.0.${i}`);

/* What the backend gets of a request with these fields. */
async function told({ open, backend }, fields = '', how = {})
{
    const wire = await open({ secure: false, ...how });
    wire.send(`GET /x HTTP/1.1\r\nHost: h\r\n${fields}\r\n`);
    assert.equal((await wire.response()).status, 200);
    return backend.requests.at(-1);
}

/* [what the trusted proxy at 127.0.0.1 sends, what the backend gets] */
const CHAINS = [
    ['nothing', '', OWN],
    ['an address', 'X-Forwarded-For: 1.2.3.4', `1.2.3.4, ${OWN}`],
    ['what its client said before that', 'X-Forwarded-For: 9.9.9.9, 1.2.3.4',
     `1.2.3.4, ${OWN}`],
    ['that its client is a trusted one',
     'X-Forwarded-For: 10.9.9.9, 1.2.3.4', `1.2.3.4, ${OWN}`],
    ['a trusted proxy before it',
     'X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.1.2.3',
     `1.2.3.4, 10.1.2.3, ${OWN}`],
    ['trusted proxies alone', 'X-Forwarded-For: 10.1.2.3', `10.1.2.3, ${OWN}`],
    ['a list in two fields',
     'X-Forwarded-For: 9.9.9.9\r\nx-forwarded-for: 1.2.3.4, 10.1.2.3',
     `1.2.3.4, 10.1.2.3, ${OWN}`],
    ['an address in the second field alone',
     'X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4', `1.2.3.4, ${OWN}`],
    ['an address without spaces', 'X-Forwarded-For:9.9.9.9,1.2.3.4',
     `1.2.3.4, ${OWN}`],
    ['empty elements', 'X-Forwarded-For: 1.2.3.4, , ,', `1.2.3.4, ${OWN}`],
    ['a port', 'X-Forwarded-For: 1.2.3.4:5678', `1.2.3.4, ${OWN}`],
    ['IPv6', 'X-Forwarded-For: 2001:db8::1', `2001:db8::1, ${OWN}`],
    ['IPv6 in capitals', 'X-Forwarded-For: 2001:DB8:0:0::1',
     `2001:db8::1, ${OWN}`],
    ['IPv6 in brackets', 'X-Forwarded-For: [2001:db8::1]',
     `2001:db8::1, ${OWN}`],
    ['IPv6 and a port', 'X-Forwarded-For: [2001:db8::1]:443',
     `2001:db8::1, ${OWN}`],
    ['IPv4 within IPv6', 'X-Forwarded-For: ::ffff:1.2.3.4',
     `1.2.3.4, ${OWN}`],
    ['a trusted IPv6 proxy', 'X-Forwarded-For: 1.2.3.4, 2001:db8:1::5',
     `1.2.3.4, 2001:db8:1::5, ${OWN}`],
    ['unknown', 'X-Forwarded-For: unknown', OWN],
    ['unknown before a trusted proxy', 'X-Forwarded-For: unknown, 10.1.2.3',
     `10.1.2.3, ${OWN}`],
    ['an obfuscated name', 'X-Forwarded-For: _hidden', OWN],
    ['a host name', 'X-Forwarded-For: localhost', OWN],
    ['an address and a word', 'X-Forwarded-For: 1.2.3.4 x', OWN],
    ['an address with a zone', 'X-Forwarded-For: fe80::1%lo', OWN],
    ['five numbers', 'X-Forwarded-For: 1.2.3.4.5', OWN],
    ['a number over 255', 'X-Forwarded-For: 1.2.3.256', OWN],
    ['an address in octal', 'X-Forwarded-For: 010.1.2.3', OWN],
    ['an address as one number', 'X-Forwarded-For: 16909060', OWN],
    ['an address in hex', 'X-Forwarded-For: 0x01020304', OWN],
    ['a quoted address', 'X-Forwarded-For: "1.2.3.4"', OWN],
    ['markup', 'X-Forwarded-For: <script>', OWN],
    ['an empty field', 'X-Forwarded-For:', OWN],
    ['commas', 'X-Forwarded-For: ,,,,', OWN],
    ['more hops than are followed',
     `X-Forwarded-For: 1.2.3.4, ${hops(20).join(', ')}`,
     [...hops(20).slice(12), OWN].join(', ')],
    ['4000 hops', `X-Forwarded-For: ${hops(10).concat(Array(1500)
        .fill('9.9.9.9')).join(',')}`, `9.9.9.9, ${OWN}`],
    ['Forwarded', 'Forwarded: for=1.2.3.4', OWN],
    ['X-Real-IP', 'X-Real-IP: 1.2.3.4', OWN],
    ['X-Forwarded-For and others that contradict it',
     'X-Forwarded-For: 1.2.3.4\r\nForwarded: for=6.6.6.6\r\n' +
     'X-Real-IP: 7.7.7.7', `1.2.3.4, ${OWN}`],
    ['X-Forwarded-For and a Connection that lists it',
     'X-Forwarded-For: 1.2.3.4\r\nConnection: X-Forwarded-For',
     `1.2.3.4, ${OWN}`],
];

const ABOUT = [
    ['https', 'X-Forwarded-Proto: https', 'https', 'h'],
    ['http', 'X-Forwarded-Proto: http', 'http', 'h'],
    ['another scheme', 'X-Forwarded-Proto: javascript', 'http', 'h'],
    ['a host', 'X-Forwarded-Host: a.example', 'http', 'a.example'],
    ['a host and a port', 'X-Forwarded-Host: a.example:8443', 'http',
     'a.example:8443'],
    ['a host with a space', 'X-Forwarded-Host: a b', 'http', 'h'],
    ['a host with markup', 'X-Forwarded-Host: <a>', 'http', 'h'],
    ['a host with a path', 'X-Forwarded-Host: a/b', 'http', 'h'],
];

describe('a trusted proxy that sends', () => {
    const gateway = fixture({ listen: PLAIN, args: TRUSTED });

    for (const [name, fields, expected] of CHAINS) {
        it(name, async () => {
            const got = await told(gateway, fields && `${fields}\r\n`);
            assert.equal(got.get('x-forwarded-for'), expected);
            for (const other of ['x-real-ip', 'forwarded'])
                assert.ok(!got.has(other), other);
        });

        it(`${name}, but is none`, async () => {
            const from = '127.0.0.9';
            const got = await told(gateway, fields && `${fields}\r\n`,
                                   { localAddress: from });
            assert.equal(got.get('x-forwarded-for'), from);
            for (const other of ['x-real-ip', 'forwarded'])
                assert.ok(!got.has(other), other);
        });
    }

    for (const [name, fields, proto, host] of ABOUT) {
        it(name, async () => {
            const about = `X-Forwarded-For: 1.2.3.4\r\n${fields}\r\n`;
            const got = await told(gateway, about);
            assert.equal(got.get('x-forwarded-proto'), proto);
            assert.equal(got.get('x-forwarded-host'), host);
            assert.equal(got.get('host'), 'h');
            const other = await told(gateway, about,
                                     { localAddress: '127.0.0.9' });
            assert.equal(other.get('x-forwarded-proto'), 'http');
            assert.equal(other.get('x-forwarded-host'), 'h');
        });
    }
});

const FORWARDED = [
    ['for=1.2.3.4', '1.2.3.4, 127.0.0.1', 'http', 'h'],
    ['For="1.2.3.4:47011"', '1.2.3.4, 127.0.0.1', 'http', 'h'],
    ['for="[2001:db8::1]:4711"', '2001:db8::1, 127.0.0.1', 'http', 'h'],
    ['for=9.9.9.9, for=1.2.3.4;proto=https;by=10.0.0.1',
     '1.2.3.4, 127.0.0.1', 'https', 'h'],
    ['for=9.9.9.9;proto=https, for=1.2.3.4', '1.2.3.4, 127.0.0.1', 'http', 'h'],
    ['for=1.2.3.4;host=a.example;proto=https, for=10.1.2.3',
     '1.2.3.4, 10.1.2.3, 127.0.0.1', 'https', 'a.example'],
    ['for=unknown', OWN, 'http', 'h'],
    ['for=_hidden', OWN, 'http', 'h'],
    ['for="1.2.3.4', OWN, 'http', 'h'],
    ['for=x"9.9.9.9, for=1.2.3.4', '1.2.3.4, 127.0.0.1', 'http', 'h'],
    ['for=1.2.3.4;for=9.9.9.9', OWN, 'http', 'h'],
    ['junk', OWN, 'http', 'h'],
];

describe('with --real-address forwarded, the proxy says', () => {
    const gateway = fixture({ listen: PLAIN, args: [
        ...TRUSTED, '--real-address', 'forwarded'] });

    for (const [value, expected, proto, host] of FORWARDED) {
        it(value, async () => {
            const got = await told(gateway, `Forwarded: ${value}\r\n` +
                'X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 7.7.7.7\r\n');
            assert.equal(got.get('x-forwarded-for'), expected);
            assert.equal(got.get('x-forwarded-proto'), proto);
            assert.equal(got.get('x-forwarded-host'), host);
            assert.ok(!got.has('forwarded') && !got.has('x-real-ip'));
        });
    }
});

describe('with --real-address x-real-ip, the proxy says', () => {
    const gateway = fixture({ listen: PLAIN, args: [
        ...TRUSTED, '--real-address', 'x-real-ip'] });

    for (const [fields, expected] of [
        ['X-Real-IP: 1.2.3.4', '1.2.3.4, 127.0.0.1'],
        ['X-Real-IP: 2001:db8::1', '2001:db8::1, 127.0.0.1'],
        ['X-Real-IP: 1.2.3.4, 5.6.7.8', OWN],
        ['X-Real-IP: 1.2.3.4\r\nX-Real-IP: 5.6.7.8', OWN],
        ['X-Real-IP: unknown', OWN],
        ['X-Forwarded-For: 1.2.3.4', OWN],
    ]) {
        it(fields.replace('\r\n', ' and '), async () => {
            const got = await told(gateway, `${fields}\r\n`);
            assert.equal(got.get('x-forwarded-for'), expected);
            assert.ok(!got.has('x-real-ip'));
        });
    }
});

describe('the record of a session', () => {
    async function isOf(redis, sid, client)
    {
        const record = () => redis.hash(keyOf(sid));
        await eventually(async () => (await record()).client, 'a record');
        assert.equal((await record()).client, client);
    }

    test('holds the true address of its client', async (t) => {
        const { redis, gateways: [gateway] } =
            await cluster(t, { args: ['--trusted-proxy', OWN] });
        const said = 'X-Forwarded-For: 9.9.9.9, 2001:db8::7\r\n\r\n';
        const bytes = handshakeRequest().replace('\r\n\r\n', `\r\n${said}`);
        for (const [from, expected] of [[OWN, '2001:db8::7'],
                                        ['127.0.0.7', '127.0.0.7']]) {
            const sid = sidOf(await ask(gateway.port, bytes, { from }));
            await isOf(redis, sid, expected);
        }
    });

    test('holds the address of a PROXY header', async (t) => {
        const { redis, gateways: [gateway] } = await cluster(t, {
            args: ['--trusted-proxy', OWN, '--listen', '127.0.0.1:0,proxy'] });
        const bytes = 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n' +
            handshakeRequest();
        const sid = sidOf(await ask(gateway.ports[1], bytes));
        await isOf(redis, sid, '1.2.3.4');
    });
});

describe('listeners', () => {
    let folder;
    before(() => (folder = mkdtempSync(path.join(tmpdir(), 'sidgate-'))));
    after(() => rmSync(folder, { recursive: true }));
    const file = (name) => path.join(folder, name);
    const run = (listen, args, work) => withCluster({ listen, args },
        (c) => work({ ...c, open: opener(c) }));
    const hasIpv6 = Object.values(networkInterfaces()).flat()
        .some(({ address }) => address === '::1');

    function opener({ port })
    {
        return ({ to = port, ...how }) => connect(to, how);
    }

    it('a unix socket, whose peers have no address', () =>
        run([`unix:${file('a')}`], [], async (c) => {
            const got = await told(c, 'X-Forwarded-For: 1.2.3.4\r\n',
                                   { path: file('a') });
            assert.ok(!got.has('x-forwarded-for'));
            assert.equal(got.get('x-forwarded-proto'), 'http');
        }));

    it('a unix socket, whose peers are trusted', () =>
        run([`unix:${file('b')}`], ['--trusted-proxy', 'unix'], async (c) => {
            const got = await told(c, 'X-Forwarded-For: 1.2.3.4\r\n',
                                   { path: file('b') });
            assert.equal(got.get('x-forwarded-for'), '1.2.3.4');
        }));

    it('a unix socket with a mode, which goes at the end', async () => {
        await run([`unix:${file('c')},mode=0600`], [], async (c) => {
            assert.equal(statSync(file('c')).mode & 0o777, 0o600);
            assert.deepEqual(await c.gateway.stop(),
                             { code: 0, signal: null });
        });
        assert.throws(() => statSync(file('c')), { code: 'ENOENT' });
    });

    it('a unix socket with PROXY headers', () =>
        run([`unix:${file('d')},proxy`], ['--trusted-proxy', 'unix'],
            async (c) => {
                const got = await told(c, '', { path: file('d'),
                    first: 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n' });
                assert.equal(got.get('x-forwarded-for'), '1.2.3.4');
            }));

    it('IPv6', { skip: !hasIpv6 && 'there is no ::1' }, () =>
        run(['[::1]:0'], [], async (c) => {
            const got = await told(c, '', { host: '::1' });
            assert.equal(got.get('x-forwarded-for'), '::1');
        }));

    it('IPv6 that is trusted', { skip: !hasIpv6 && 'there is no ::1' }, () =>
        run(['[::1]:0'], ['--trusted-proxy', '::1'], async (c) => {
            const got = await told(c, 'X-Forwarded-For: 1.2.3.4\r\n',
                                   { host: '::1' });
            assert.equal(got.get('x-forwarded-for'), '1.2.3.4, ::1');
        }));

    it('several of them, each in its own way', () =>
        run(['127.0.0.1:0', '127.0.0.1:0,tls', `unix:${file('e')}`,
             '127.0.0.1:0,proxy'], ['--trusted-proxy', OWN], async (c) => {
            const [plain, tls, proxy] = c.gateway.ports;
            assert.equal(c.gateway.ports.length, 3, c.gateway.stderr());
            const first = 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n';
            for (const [how, proto, client] of [
                [{ to: plain }, 'http', OWN],
                [{ to: tls, secure: true }, 'https', OWN],
                [{ path: file('e') }, 'http', undefined],
                [{ to: proxy, first }, 'http', '1.2.3.4'],
            ]) {
                const got = await told(c, '', how);
                assert.equal(got.get('x-forwarded-proto'), proto);
                assert.equal(got.get('x-forwarded-for'), client);
            }
        }));
});
