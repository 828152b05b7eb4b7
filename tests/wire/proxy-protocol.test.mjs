/* SPDX-License-Identifier: MIT */
/* The PROXY protocol: good headers name the client, for all others the
 * connection ends at once and nothing of it is forwarded. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fixture } from '../support/fixture.mjs';
import { connect } from '../support/wire.mjs';

const OWN = '127.0.0.1';
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';
const V1 = 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n';
const TRUSTED = ['--trusted-proxy', OWN, '--trusted-proxy', '10.0.0.0/8'];

const bytes = (...codes) => String.fromCharCode(...codes);
const u16 = (number) => bytes(number >> 8, number & 255);
const IP4 = bytes(1, 2, 3, 4, 5, 6, 7, 8) + u16(1000) + u16(80);
const IP6 = bytes(0x20, 1, 0x0d, 0xb8, ...Array(11).fill(0), 1).repeat(2) +
    u16(1000) + u16(80);

function v2(payload, { command = 0x21, family = 0x11,
                       length = payload.length } = {})
{
    return SIGNATURE + bytes(command, family) + u16(length) + payload;
}

const tlv = (type, value) => bytes(type) + u16(value.length) + value;

const GOOD = [
    ['v1, IPv4', V1, '1.2.3.4'],
    ['v1, IPv6', 'PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\n',
     '2001:db8::1'],
    ['v1, the longest IPv6', 'PROXY TCP6 2001:0db8:ffff:ffff:ffff:ffff:ffff:' +
     'ffff 2001:0db8:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n',
     '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['v1, UNKNOWN', 'PROXY UNKNOWN\r\n', OWN],
    ['v1, UNKNOWN and more', 'PROXY UNKNOWN ffff:f...f:ffff x y z\r\n', OWN],
    ['v2, IPv4', v2(IP4), '1.2.3.4'],
    ['v2, IPv6', v2(IP6, { family: 0x21 }), '2001:db8::1'],
    ['v2, IPv4 within IPv6', v2(bytes(...Array(10).fill(0), 255, 255, 1, 2, 3,
        4).repeat(2) + u16(1) + u16(2), { family: 0x21 }), '1.2.3.4'],
    ['v2, LOCAL', v2('', { command: 0x20, family: 0 }), OWN],
    ['v2, LOCAL with an address', v2(IP4, { command: 0x20 }), OWN],
    ['v2, UNSPEC', v2('', { family: 0 }), OWN],
    ['v2, a unix socket', v2('x'.repeat(216), { family: 0x31 }), OWN],
    ['v2, TLVs', v2(IP4 + tlv(1, 'h2') + tlv(2, 'a.example') +
                    tlv(4, '\0'.repeat(20))), '1.2.3.4'],
    ['v2, a long TLV', v2(IP4 + tlv(0xe0, 'x'.repeat(3000))), '1.2.3.4'],
];

const line = (text) => `${text}\r\n`;
const BAD = [
    ['no header', ''],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['v1 in lower case', line('proxy TCP4 1.2.3.4 5.6.7.8 1000 80')],
    ['v1 without a protocol', line('PROXY')],
    ['v1, a protocol alone', line('PROXY TCP4')],
    ['v1, another protocol', line('PROXY UDP4 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, TCP5', line('PROXY TCP5 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, UNKNOWNX', line('PROXY UNKNOWNX')],
    ['v1, IPv6 as TCP4', line('PROXY TCP4 ::1 ::2 1000 80')],
    ['v1, IPv4 as TCP6', line('PROXY TCP6 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, one address', line('PROXY TCP4 1.2.3.4 1000 80')],
    ['v1, a name', line('PROXY TCP4 localhost 5.6.7.8 1000 80')],
    ['v1, a number over 255', line('PROXY TCP4 1.2.3.256 5.6.7.8 1000 80')],
    ['v1, an address in octal', line('PROXY TCP4 01.2.3.4 5.6.7.8 1000 80')],
    ['v1, no ports', line('PROXY TCP4 1.2.3.4 5.6.7.8')],
    ['v1, one port', line('PROXY TCP4 1.2.3.4 5.6.7.8 1000')],
    ['v1, a port over 65535', line('PROXY TCP4 1.2.3.4 5.6.7.8 65536 80')],
    ['v1, a negative port', line('PROXY TCP4 1.2.3.4 5.6.7.8 -1 80')],
    ['v1, a port with a zero', line('PROXY TCP4 1.2.3.4 5.6.7.8 0080 80')],
    ['v1, more behind it', line('PROXY TCP4 1.2.3.4 5.6.7.8 1000 80 x')],
    ['v1, two spaces', line('PROXY  TCP4 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, a tab', line('PROXY\tTCP4 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, a space at its end', line('PROXY TCP4 1.2.3.4 5.6.7.8 1000 80 ')],
    ['v1, a space at its start', line(' PROXY TCP4 1.2.3.4 5.6.7.8 1000 80')],
    ['v1, bare LF', 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\n'],
    ['v1, bare CR', 'PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r'],
    ['v1, NUL', line('PROXY TCP4 1.2.3.4\0 5.6.7.8 1000 80')],
    ['v1, too long', line(`PROXY UNKNOWN ${'x'.repeat(100)}`)],
    ['v1, without an end', `PROXY UNKNOWN ${'x'.repeat(5000)}`],
    ['v1, a header field', line('PROXY TCP4 1.2.3.4, 5.6.7.8 1000 80')],
    ['v2, version 1', v2(IP4, { command: 0x11 })],
    ['v2, version 3', v2(IP4, { command: 0x31 })],
    ['v2, another command', v2(IP4, { command: 0x22 })],
    ['v2, another family', v2(IP4, { family: 0x41 })],
    ['v2, another transport', v2(IP4, { family: 0x13 })],
    ['v2, IPv4 that is too short', v2(IP4.slice(1))],
    ['v2, IPv6 that is too short', v2(IP4, { family: 0x21 })],
    ['v2, a length of 65535', v2(IP4, { length: 65535 })],
    ['v2, a length over the limit', v2(IP4 + 'x'.repeat(5000))],
    ['v2, a signature that is spoilt', v2(IP4).replace('QUIT', 'QUIX')],
    ['v2, a signature alone', SIGNATURE + GET],
];

/* The end without an answer, and nothing on its way to a backend. */
async function isCutOff({ backend, stillServes, port }, first, how = {})
{
    const wire = await connect(port, { secure: false, ...how });
    try {
        wire.send(first);
        await wire.ended();
        assert.equal(wire.total, 0, wire.describe());
    } finally {
        wire.destroy();
    }
    await stillServes();
    assert.deepEqual(backend.targets, ['/alive']);
}

function proxied(options)
{
    const world = fixture({ listen: ['127.0.0.1:0,proxy'], args: TRUSTED,
                            ...options });
    world.told = async (first, more = GET, how = {}) => {
        const wire = await world.open({ secure: false, ...how });
        wire.send(first + more);
        assert.equal((await wire.response()).text, '/x');
        return world.backend.requests.at(-1);
    };
    world.stillServes = async () => {
        const wire = await world.open({ secure: false });
        wire.send(V1 + GET.replace('/x', '/alive'));
        assert.equal((await wire.response()).text, '/alive');
    };
    return world;
}

describe('a PROXY header', () => {
    const gateway = proxied();
    const failures = async () => (await gateway.gateway.metrics())
        .get('sidgate_proxy_header_errors_total');

    for (const [name, header, client] of GOOD) {
        it(`${name}: names the client`, async () => {
            const request = await gateway.told(header);
            assert.equal(request.get('x-forwarded-for'), client);
        });

        it(`${name}, in single bytes`, async () => {
            const wire = await gateway.open({ secure: false });
            await wire.sendPieces(header, header.length > 500 ? 50 : 1);
            wire.send(GET);
            assert.equal((await wire.response()).text, '/x');
            assert.equal(gateway.backend.requests[0].get('x-forwarded-for'),
                         client);
        });
    }

    /* What follows may be a client's own words. */
    for (const [name, header, client] of GOOD.filter((one) => one[2] === OWN)) {
        it(`${name}: fields name nobody either`, async () => {
            const request = await gateway.told(header, GET.replace('Host',
                'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n' +
                'Host'));
            assert.equal(request.get('x-forwarded-for'), client);
            assert.equal(request.get('x-forwarded-proto'), 'http');
        });
    }

    for (const [name, header] of BAD) {
        it(`${name}: the end`, () => isCutOff(gateway, header + GET));
    }

    it('that is cut short: the end', async () => {
        for (const header of ['P', V1.slice(0, -1), v2(IP4).slice(0, -1)]) {
            const wire = await gateway.open({ secure: false });
            wire.finish(header);
            await wire.ended();
            assert.equal(wire.total, 0);
        }
    });

    it('from one who is not trusted: the end', async () => {
        for (const header of [V1, v2(IP4)]) {
            gateway.backend.reset();
            await isCutOff(gateway, header + GET,
                           { localAddress: '127.0.0.9' });
        }
    });

    it('from one who is not trusted is not waited for', async () => {
        const before = await failures();
        const wire = await gateway.open({ secure: false,
                                          localAddress: '127.0.0.9' });
        await wire.ended();
        assert.equal(await failures(), before + 1);
    });

    it('is counted when it is bad', async () => {
        const before = await failures();
        await isCutOff(gateway, GET);
        assert.equal(await failures(), before + 1);
    });

    it('is not repeated: a second one is a bad request', async () => {
        const wire = await gateway.open({ secure: false });
        wire.send(V1 + V1 + GET);
        const { status } = await wire.response();
        assert.ok([400, 405, 501, 505].includes(status), `status ${status}`);
        assert.equal(await wire.ended(), 'fin');
        assert.deepEqual(gateway.backend.targets, []);
    });

    it('names a trusted proxy, which names the client', async () => {
        const request = await gateway.told(
            'PROXY TCP4 10.1.2.3 5.6.7.8 1000 80\r\n',
            GET.replace('\r\n\r\n', '\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n'));
        assert.equal(request.get('x-forwarded-for'), '9.9.9.9, 10.1.2.3');
    });

    it('names a client, which is not believed', async () => {
        const request = await gateway.told(V1,
            GET.replace('\r\n\r\n', '\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n'));
        assert.equal(request.get('x-forwarded-for'), '1.2.3.4');
    });

    it('holds for all requests of its connection', async () => {
        const wire = await gateway.open({ secure: false });
        wire.send(V1 + GET + GET);
        await wire.response();
        await wire.response();
        for (const request of gateway.backend.requests)
            assert.equal(request.get('x-forwarded-for'), '1.2.3.4');
    });
});

describe('a PROXY header that does not come', () => {
    /* An end by RST before this process looks is an error of its connect(). */
    const gateway = proxied({ args: [...TRUSTED, '--head-timeout', '3s'] });

    for (const [name, start] of [['at all', ''], ['whole', 'PROXY TC']]) {
        it(`${name}: the end, in time`, async () => {
            const wire = await gateway.open({ secure: false });
            wire.send(start);
            await wire.ended(8000);
            assert.equal(wire.total, 0);
        });
    }
});

describe('TLS behind a PROXY header', () => {
    const gateway = fixture({ listen: ['127.0.0.1:0,tls,proxy'],
                              args: TRUSTED });

    for (const [name, first] of [['v1', V1], ['v2', v2(IP4)]]) {
        it(name, async () => {
            const wire = await gateway.open({ first, secure: true });
            wire.send(GET);
            assert.equal((await wire.response()).text, '/x');
            const [request] = gateway.backend.requests;
            assert.equal(request.get('x-forwarded-for'), '1.2.3.4');
            assert.equal(request.get('x-forwarded-proto'), 'https');
        });
    }

    it('is not there: the end', async () => {
        await assert.rejects(gateway.open({ secure: true }));
    });

    it('is within TLS: the end', async () => {
        await assert.rejects(async () => {
            const wire = await gateway.open({ secure: true });
            wire.send(V1 + GET);
            await wire.response();
        });
        assert.deepEqual(gateway.backend.targets, []);
    });
});

describe('a PROXY header where none is expected', () => {
    const gateway = fixture({ args: TRUSTED });

    for (const [name, header] of [['v1', V1], ['v2', v2(IP4)]]) {
        it(`${name}: refused`, async () => {
            await gateway.refuses(header + GET, [400, 405, 501, 505]);
        });
    }
});
