/* SPDX-License-Identifier: MIT */
/* What once went wrong on TLS connections, and on those that were not served
 * yet. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { switching, upgradeRequest } from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { HANDSHAKE, openRaw, openRawTls, record } from '../support/raw-tls.mjs';
import { connect, eventually, exchange, gate } from '../support/wire.mjs';

const LISTEN = ['127.0.0.1:0,tls'];
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const LONG_MS = 20_000;
const SOON_MS = 8000;

/* How long it took. */
async function timed(promise)
{
    const start = Date.now();
    await promise;
    return Date.now() - start;
}

describe('an end before the answer is let go', () => {
    const c = fixture({ listen: LISTEN, args: [
        '--write-timeout', `${LONG_MS}ms`] });

    it('a record that is none: both ends are closed at once', async () => {
        const held = gate();
        c.backend.early = (request, wire) => {
            wire.taken = true;
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 96\r\n\r\n' +
                      '0{"sid":"abc');
            held.open(wire);
        };
        const raw = await openRawTls(c.port);
        raw.send('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n' +
                 'Host: h\r\n\r\n');
        const upstream = await held.opened;
        raw.wire.send(GET);
        const took = await timed(Promise.all([
            raw.wire.ended(LONG_MS * 2), upstream.ended(LONG_MS * 2)]));
        assert.ok(took < SOON_MS, `after ${took} ms`);
        raw.wire.destroy();
    });
});

describe('the end of the process', () => {
    it('does not wait for a request behind a late PROXY header', () =>
        withCluster({
            listen: ['127.0.0.1:0,proxy'],
            args: ['--trusted-proxy', '127.0.0.0/8', '--head-timeout',
                   `${LONG_MS}ms`, '--shutdown-timeout', `${LONG_MS}ms`],
        }, async ({ gateway, port }) => {
            const wire = await connect(port, { secure: false });
            await eventually(async () => (await gateway.metrics())
                .get('sidgate_connections') === 1, 'it is accepted');
            const end = gateway.stop();
            await eventually(() => connect(port, { secure: false })
                .then((late) => late.destroy(), () => true), 'no accepting');
            wire.send('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n');
            let code;
            const took = await timed(end.then((how) => ({ code } = how)));
            assert.equal(code, 0);
            assert.ok(took < SOON_MS, `after ${took} ms`);
            wire.destroy();
        }));
});

describe('what TLS itself may cost', () => {
    const c = fixture({ listen: LISTEN, args: [
        '--workers', '1', '--head-timeout', `${LONG_MS}ms`] });

    it('a hello of more than 64 KiB is not waited for', async () => {
        const raw = await openRaw(c.port);
        /* It says that it has 131,000 bytes. */
        const start = record(HANDSHAKE, Buffer.of(1, 1, 0xff, 0xb8), 0x0301);
        const more = record(HANDSHAKE, Buffer.alloc(16000), 0x0301);
        raw.wire.send(Buffer.concat([start, more, more, more, more, more]));
        const took = await timed(raw.wire.ended(LONG_MS * 2));
        assert.ok(took < SOON_MS, `after ${took} ms`);
        raw.wire.destroy();
    });

    it('changes of keys between data are few, or it is cut', async () => {
        const raw = await openRawTls(c.port);
        raw.send('POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1000' +
                 '\r\n\r\n');
        raw.wire.send(Buffer.concat(Array.from({ length: 20 },
            () => Buffer.concat([raw.update(false), raw.seal('x')]))));
        raw.send('x'.repeat(980));
        assert.match(await raw.response(), /\/p$/);
        raw.send('POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 100000' +
                 '\r\n\r\n');
        raw.wire.send(Buffer.concat(Array.from({ length: 2000 },
            () => Buffer.concat([raw.update(false), raw.seal('x')]))));
        const took = await timed(raw.wire.ended(LONG_MS * 2));
        assert.ok(took < SOON_MS, `after ${took} ms`);
        raw.wire.destroy();
    });

    /* Work is put off there, and nothing wakes it but itself. */
    it('300 hellos at once are all answered', async () => {
        const all = await Promise.all(Array.from({ length: 300 },
            () => openRaw(c.port)));
        const { pid } = c.gateway;
        process.kill(pid, 'SIGSTOP');
        for (const raw of all)
            raw.wire.send(raw.hello());
        process.kill(pid, 'SIGCONT');
        await Promise.all(all.map((raw) => raw.finish(LONG_MS * 2)));
        for (const raw of all)
            raw.wire.destroy();
        const response = await exchange(c.port, GET, 'GET', { secure: true });
        assert.equal(response.status, 200);
    });

    it('a message in 5,000 records passes a tunnel', async () => {
        const opened = gate();
        c.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request));
            opened.open(wire);
        };
        const raw = await openRawTls(c.port);
        raw.send(upgradeRequest());
        const upstream = await opened.opened;
        await raw.head();
        const bytes = Buffer.concat([
            Buffer.of(0x82, 0xfe, 0x13, 0x80, 1, 2, 3, 4),
            Buffer.alloc(4992, 7)]);
        raw.wire.send(Buffer.concat([...bytes].map((byte) => raw.seal(
            Buffer.of(byte)))));
        assert.ok((await upstream.bytes(5000)).equals(bytes));
        raw.wire.destroy();
    });
});
