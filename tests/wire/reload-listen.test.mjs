/* SPDX-License-Identifier: MIT */
/* Addresses and certificates that come and go by a reload. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { makeCertificate, testCertificates }
    from '../support/certificates.mjs';
import { bytesFor, configured, echoes, folder, lives, session, specs,
         startNodes, tunnel } from '../support/configured.mjs';
import { descriptors, suspend } from '../support/process.mjs';
import { quietPort } from '../support/ports.mjs';
import { connect, eventually, exchange, PLAIN_ONLY } from '../support/wire.mjs';

const GET = bytesFor('/x');
const skip = PLAIN_ONLY;
const { authority, server } = testCertificates();

function serves(port, more)
{
    return eventually(async () => {
        try {
            return (await exchange(port, GET, 'GET', more)).status === 200;
        } catch (error) {
            if (/ECONNREFUSED|ENOENT/.test(error.message))
                return false;
            throw error;
        }
    }, `${more?.path ?? port} serves`);
}

function refuses(port, more)
{
    return eventually(() => connect(port, more).then(
        (wire) => (wire.destroy(), false), () => true),
        `${more?.path ?? port} refuses`);
}

/* A gateway whose file has `listen`, and change(listen, more) for another. */
async function begin(t, listen, { workers = 2, ...more } = {})
{
    const [node] = await startNodes(t, 'n1');
    const base = { workers, backend: specs(node), ...more };
    const gateway = await configured(t, { ...base, listen }, { listen: [] });
    const change = (next, rest) =>
        gateway.reload({ ...base, listen: next, ...rest });
    return { node, gateway, change };
}

describe('an address', { skip }, () => {
    test('that is new serves', async (t) => {
        const port = await quietPort();
        const { gateway, change } = await begin(t, ['127.0.0.1:0']);
        await refuses(port);
        await change(['127.0.0.1:0', `127.0.0.1:${port}`]);
        await serves(port);
        /* By each worker. */
        for (let i = 0; i < 20; i++)
            assert.equal((await exchange(port, GET)).status, 200);
        await serves(gateway.port);
        const one = await session({ port });
        await lives(gateway, one);
    });

    test('that is gone refuses; its connections go on', async (t) => {
        const port = await quietPort();
        const { node, gateway, change } = await begin(
            t, ['127.0.0.1:0', `127.0.0.1:${port}`]);
        const idle = await connect(port);
        const half = await connect(port);
        idle.send(GET);
        assert.equal((await idle.response()).status, 200);
        half.send(GET.slice(0, 10));
        const open = () => connect(port);
        const socket = await tunnel({ open }, [node]);
        const one = await session({ port });
        await change(['127.0.0.1:0']);
        await refuses(port);
        await serves(gateway.port);
        half.send(GET.slice(10));
        assert.equal((await half.response()).status, 200);
        for (let i = 0; i < 3; i++) {
            idle.send(GET);
            assert.equal((await idle.response()).status, 200);
        }
        await echoes(socket);
        await lives(gateway, one);
        for (const wire of [idle, half, socket.client])
            wire.destroy();
    });

    test('that is gone: who waits in its queue is served', async (t) => {
        for (let i = 0; i < 3; i++) {
            const port = await quietPort();
            const { gateway, change } = await begin(
                t, ['127.0.0.1:0', `127.0.0.1:${port}`]);
            await suspend(gateway.pid);
            const wires = await Promise.all(Array.from({ length: 100 },
                () => connect(port)));
            wires.forEach((wire) => wire.send(GET));
            const changed = change(['127.0.0.1:0']);
            process.kill(gateway.pid, 'SIGCONT');
            await changed;
            for (const wire of wires) {
                assert.equal((await wire.response()).status, 200);
                wire.destroy();
            }
            await refuses(port);
        }
    });

    test('is another one, there and back', async (t) => {
        const ports = [await quietPort(), await quietPort()];
        const { gateway, change } = await begin(
            t, [`127.0.0.1:${ports[0]}`]);
        const before = descriptors(gateway.pid).length;
        for (let i = 1; i <= 6; i++) {
            await change([`127.0.0.1:${ports[i % 2]}`]);
            await serves(ports[i % 2]);
            await refuses(ports[1 - i % 2]);
        }
        await eventually(() => descriptors(gateway.pid).length <= before + 2,
            'no descriptor more', 10_000);
    });

    test('has another place in the list', async (t) => {
        const ports = [await quietPort(), await quietPort()];
        const both = ports.map((port) => `127.0.0.1:${port}`);
        const { gateway, change } = await begin(t, both);
        const wires = await Promise.all(ports.map((port) => connect(port)));
        await change(both.reverse());
        await gateway.settle();
        for (const port of ports)
            assert.equal((await exchange(port, GET)).status, 200);
        for (const wire of wires) {
            wire.send(GET);
            assert.equal((await wire.response()).status, 200);
            wire.destroy();
        }
    });

    test('that speaks TLS from now on', async (t) => {
        const { gateway, change } = await begin(t, ['127.0.0.1:0'],
            { tls_certificate: server.pem });
        const plain = await gateway.open({ secure: false });
        plain.send(GET);
        assert.equal((await plain.response()).status, 200);
        await change(['127.0.0.1:0,tls']);
        await gateway.settle();
        assert.equal((await exchange(gateway.port, GET, 'GET',
                                     { secure: true })).status, 200);
        plain.send(GET);
        assert.equal((await plain.response()).status, 200);
        await change(['127.0.0.1:0']);
        await gateway.settle();
        assert.equal((await exchange(gateway.port, GET)).status, 200);
    });

    test('that redirects from now on', async (t) => {
        const { gateway, change } = await begin(t, ['127.0.0.1:0']);
        await change(['127.0.0.1:0,redirect=8443']);
        await gateway.settle();
        const answer = await exchange(gateway.port, GET);
        assert.ok([301, 308].includes(answer.status), String(answer.status));
        assert.equal(answer.get('location'), 'https://h:8443/x');
    });

    test('that wants a PROXY header from now on', async (t) => {
        const { node, gateway, change } = await begin(t, ['127.0.0.1:0']);
        await change(['127.0.0.1:0,proxy'], { trusted_proxy: '127.0.0.1' });
        await gateway.settle();
        assert.equal((await exchange(gateway.port, GET, 'GET', {
            first: 'PROXY TCP4 192.0.2.9 192.0.2.1 5 6\r\n' })).status, 200);
        assert.match(node.received, /x-forwarded-for: 192\.0\.2\.9\r\n/i);
    });
});

describe('a unix socket', { skip }, () => {
    test('appears with its mode, and disappears', async (t) => {
        const file = path.join(folder(t), 's');
        const { gateway, change } = await begin(t, ['127.0.0.1:0']);
        for (let i = 0; i < 3; i++) {
            await change(['127.0.0.1:0', `unix:${file},mode=0600`]);
            await serves(0, { path: file });
            assert.equal(statSync(file).mode & 0o777, 0o600);
            const kept = await gateway.open({ path: file });
            kept.send(GET);
            assert.equal((await kept.response()).status, 200);
            await change(['127.0.0.1:0']);
            assert.ok(!existsSync(file));
            await refuses(0, { path: file });
            kept.send(GET);
            assert.equal((await kept.response()).status, 200);
        }
    });

    test('another one: the first stays', async (t) => {
        const home = folder(t);
        const [one, two] = ['1', '2'].map((name) => path.join(home, name));
        const { change } = await begin(t, ['127.0.0.1:0', `unix:${one}`]);
        const { ino } = statSync(one);
        await change(['127.0.0.1:0', `unix:${two}`, `unix:${one}`]);
        await serves(0, { path: two });
        await serves(0, { path: one });
        assert.equal(statSync(one).ino, ino);
    });

    test('gets another mode', async (t) => {
        const file = path.join(folder(t), 's');
        const { gateway, change } = await begin(
            t, ['127.0.0.1:0', `unix:${file},mode=0600`]);
        await change(['127.0.0.1:0', `unix:${file},mode=0666`]);
        await gateway.settle();
        assert.equal(statSync(file).mode & 0o777, 0o666);
        await serves(0, { path: file });
    });
});

describe('certificates', { skip }, () => {
    const next = makeCertificate(authority, { names: ['next.example'] });

    /* Which certificate a new connection is shown. */
    async function shown(port, servername)
    {
        const wire = await connect(port, { secure: { servername,
            checkServerIdentity: () => undefined } });
        const { raw } = wire.socket.getPeerCertificate();
        wire.destroy();
        const is = ({ certificate }) =>
            raw.equals(new X509Certificate(readFileSync(certificate)).raw);
        return is(next) ? 'next' : is(server) ? 'server' : 'other';
    }

    test('another file; a tunnel and idle connections go on', async (t) => {
        const { node, gateway, change } = await begin(
            t, ['127.0.0.1:0,tls'], { tls_certificate: server.pem });
        const open = () => gateway.open({ secure: true });
        const socket = await tunnel({ open }, [node]);
        const idle = await open();
        for (const [name, { pem }] of [['next', next], ['server', server],
                                       ['next', next]]) {
            await change(['127.0.0.1:0,tls'], { tls_certificate: pem });
            for (let i = 0; i < 4; i++)
                assert.equal(await shown(gateway.port, 'h.example'), name);
            await echoes(socket);
            idle.send(GET);
            assert.equal((await idle.response()).status, 200);
        }
    });

    test('one more, for a name', async (t) => {
        const { gateway, change } = await begin(
            t, ['127.0.0.1:0,tls'], { tls_certificate: server.pem });
        assert.equal(await shown(gateway.port, 'next.example'), 'server');
        await change(['127.0.0.1:0,tls'],
                     { tls_certificate: [server.pem, next.pem] });
        assert.equal(await shown(gateway.port, 'next.example'), 'next');
        assert.equal(await shown(gateway.port, 'localhost'), 'server');
        await change(['127.0.0.1:0,tls'], { tls_certificate: server.pem });
        assert.equal(await shown(gateway.port, 'next.example'), 'server');
    });

    test('a first one, with a listener that needs it', async (t) => {
        const port = await quietPort();
        const { gateway, change } = await begin(t, ['127.0.0.1:0']);
        await change(['127.0.0.1:0', `127.0.0.1:${port},tls`],
                     { tls_certificate: server.pem });
        await serves(port, { secure: true });
        await serves(gateway.port);
        await change(['127.0.0.1:0']);
        await refuses(port, { secure: true });
    });
});
