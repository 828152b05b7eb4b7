/* SPDX-License-Identifier: MIT */
/* Certificates that are read again at SIGHUP: nobody is cut. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { certificateFolder, makeAuthority, makeCertificate,
         testCertificates } from '../support/certificates.mjs';
import { handshakeRequest, sidRequest } from '../support/engine.mjs';
import { withCluster } from '../support/fixture.mjs';
import { frame, openTunnel, TEXT } from '../support/frames.mjs';
import { connect, eventually, exchange, gate } from '../support/wire.mjs';

const LISTEN = ['127.0.0.1:0,tls'];
const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const { authority, server } = testCertificates();
let count = 0;

/* Whole ones only. */
function linesOf(gateway, event)
{
    return gateway.stderr().split('\n').slice(0, -1).filter(
        (line) => line.includes(` ${event} `));
}

async function hangUp(gateway, event)
{
    const before = linesOf(gateway, event).length;
    process.kill(gateway.pid, 'SIGHUP');
    await eventually(() => linesOf(gateway, event).length > before, event);
    return linesOf(gateway, event).slice(before);
}

/* Whether a new connection is shown `certificate`. */
async function shows(port, certificate)
{
    const wire = await connect(port, { secure: true });
    const { raw } = wire.socket.getPeerCertificate();
    wire.destroy();
    return raw.equals(new X509Certificate(readFileSync(certificate)).raw);
}

/* A gateway with a certificate in a file that changes. */
function withFile(run, { engine = false, workers = '2' } = {})
{
    const file = path.join(certificateFolder(), `changing-${count++}.pem`);
    copyFileSync(server.pem, file);
    return withCluster({ engine, listen: LISTEN, args: [
        '--tls-certificate', file, '--workers', workers] },
        (cluster) => run(cluster, file));
}

describe('a new certificate', () => {
    const next = makeCertificate(authority, { names: ['next.example'] });

    it('is for new connections; a tunnel and a held poll go on', () => withFile(
        async (c, file) => {
            const { client, upstream } = await openTunnel(c, { secure: true });
            const held = gate();
            c.backend.handler = async (request, wire) => {
                held.open();
                await held.released;
                wire.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld');
            };
            held.released = new Promise((resolve) => (held.release = resolve));
            const poll = await connect(c.port, { secure: true });
            poll.send(GET);
            await held.opened;
            const idle = await connect(c.port, { secure: true });
            for (let i = 0; i < 3; i++) {
                const to = i % 2 ? server : next;
                copyFileSync(to.pem, file);
                await hangUp(c.gateway, 'reloaded');
                for (let j = 0; j < 4; j++)
                    assert.ok(await shows(c.port, to.certificate));
                client.send(frame(TEXT, `up ${i}`, { mask: true }));
                await upstream.bytes(10);
                upstream.send(frame(TEXT, `down ${i}`));
                assert.equal((await client.bytes(8)).toString('latin1', 2),
                             `down ${i}`);
            }
            held.release();
            assert.equal((await poll.response()).text, 'held');
            c.backend.reset();
            idle.send(GET);
            assert.equal((await idle.response()).text, '/x');
            for (const wire of [client, upstream, poll, idle])
                wire.destroy();
        }));

    it('a session goes on', () => withFile(async (c, file) => {
        const how = { secure: true };
        const { text } = await exchange(c.port, handshakeRequest(), 'GET', how);
        const { sid } = JSON.parse(text.slice(1));
        copyFileSync(next.pem, file);
        await hangUp(c.gateway, 'reloaded');
        const answer = await exchange(c.port, sidRequest(sid), 'GET', how);
        assert.deepEqual([answer.status, answer.text], [200, '4n1']);
    }, { engine: true }));

    it('while connections come in', () => withFile(async (c, file) => {
        let isOver = false;
        let served = 0;
        const come = async () => {
            for (; !isOver; served++)
                assert.equal((await exchange(c.port, GET, 'GET',
                                             { secure: true })).status, 200);
        };
        const runs = [come(), come(), come()];
        for (let i = 0; i < 20; i++) {
            copyFileSync((i % 2 ? server : next).pem, file);
            await hangUp(c.gateway, 'reloaded');
            const due = served + 3;
            await eventually(() => served >= due, 'connections');
        }
        isOver = true;
        await Promise.all(runs);
    }));
});

describe('a file that is no good', () => {
    const other = makeCertificate(makeAuthority({ name: 'Another' }));
    const keyOf = ({ key }) => readFileSync(key, 'utf8');
    const certificateOf = ({ certificate }) =>
        readFileSync(certificate, 'utf8');
    const all = [
        ['empty', ''],
        ['no PEM', 'nonsense\n'],
        ['cut', readFileSync(server.pem, 'utf8').slice(0, 300)],
        ['without a key', certificateOf(server)],
        ['with the key of another', certificateOf(server) + keyOf(other)],
        ['1 MiB and more', 'x'.repeat(1100000)],
    ];

    it('leaves what there was, and is logged in one line', () => withFile(
        async (c, file) => {
            const idle = await connect(c.port, { secure: true });
            for (const [name, text] of all) {
                writeFileSync(file, text);
                const lines = await hangUp(c.gateway, 'reload_failed');
                assert.equal(lines.length, 1, name);
                assert.match(lines[0], / error reload_failed .*changing/);
                assert.ok(await shows(c.port, server.certificate), name);
            }
            const lines = c.gateway.stderr().split('\n');
            assert.equal(lines.filter((line) => / error /.test(line)).length,
                         all.length);
            /* And then a good one is taken. */
            copyFileSync(server.pem, file);
            await hangUp(c.gateway, 'reloaded');
            idle.send(GET);
            assert.equal((await idle.response()).status, 200);
            idle.destroy();
        }));
});
