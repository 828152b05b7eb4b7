/* SPDX-License-Identifier: MIT */
/* Requests behind each other, ends behind requests, and which connection to a
 * backend carries what. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, newSid, openPacket, sidRequest, switching,
         UNKNOWN_SID, upgradeRequest } from '../support/engine.mjs';
import { fixture } from '../support/fixture.mjs';
import { frame, TEXT } from '../support/frames.mjs';
import { isSanitized, statusBytes, suspend } from '../support/process.mjs';
import { eventually, exchange, gate } from '../support/wire.mjs';

const ONE_WORKER = ['--workers', '1'];
const OPTIONS = 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n';
const DOUBLED = 'GET /socket.io/?EIO=4&transport=polling&sid=a&sid=b ' +
    'HTTP/1.1\r\nHost: h\r\n\r\n';
const get = (target) => `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`;

describe('a FIN behind requests that sidgate answers itself', () => {
    const gateway = fixture();

    const ROWS = [
        ['one OPTIONS *', [OPTIONS]],
        ['OPTIONS * three times', [OPTIONS, OPTIONS, OPTIONS]],
        ['OPTIONS * more often than one turn takes', Array(50).fill(OPTIONS)],
        ['doubled sids', [DOUBLED, DOUBLED, DOUBLED]],
        ['OPTIONS * before a GET', [OPTIONS, OPTIONS, get('/1')]],
        ['doubled sids before a GET', [DOUBLED, DOUBLED, get('/2')]],
        ['OPTIONS * between GETs', [get('/3'), OPTIONS, OPTIONS, get('/4')]],
        ['OPTIONS * behind a GET', [get('/5'), OPTIONS, OPTIONS]],
    ];
    async function answered(wire, requests)
    {
        for (const request of requests) {
            const response = await wire.response();
            assert.equal(response.status, request === DOUBLED ? 400 : 200);
            if (request.startsWith('GET') && request !== DOUBLED)
                assert.equal(response.text, request.split(' ')[1]);
        }
        assert.equal(await wire.ended(4000), 'fin');
        assert.equal(wire.buffer.length, 0);
    }

    for (const [name, requests] of ROWS) {
        it(name, async () => {
            const wire = await gateway.open();
            wire.finish(requests.join(''));
            await answered(wire, requests);
        });

        it(`${name}, all there when sidgate looks`, async () => {
            const { pid } = gateway.gateway;
            const wire = await gateway.open();
            await suspend(pid);
            try {
                await new Promise((sent) => wire.socket.end(
                    requests.join(''), sent));
            } finally {
                process.kill(pid, 'SIGCONT');
            }
            await answered(wire, requests);
        });
    }
});

describe('30 MB of requests that sidgate answers itself', () => {
    const TOTAL = 30e6;
    const GROWTH_MAX = 2 * 1024 * 1024;
    const padding = `X-Padding: ${'x'.repeat(300)}\r\n`;
    const one = OPTIONS.replace('\r\n\r\n', `\r\n${padding}\r\n`);
    const piece = Buffer.from(one.repeat(200));
    const pieces = Math.ceil(TOTAL / piece.length);
    const gateway = fixture({ args: ONE_WORKER });

    /* The size of an answer, each of which is the same but for its Date. */
    async function answerSize()
    {
        const wire = await gateway.open();
        wire.send(one);
        return (await wire.response()).size;
    }

    /* Resolves when the kernel takes no more. */
    async function stalled(socket)
    {
        const taken = () => socket.bytesWritten - socket.writableLength;
        for (let last = -1; last !== taken();) {
            last = taken();
            await new Promise((resolve) => setTimeout(resolve, 300));
        }
        assert.ok(socket.writableLength > 0, 'everything was taken');
    }

    for (const isRead of [false, true]) {
        it(isRead ? 'while the client reads' : 'before the client reads',
           async () => {
               const { pid } = gateway.gateway;
               const size = await answerSize();
               const wire = await gateway.open({ paused: !isRead });
               wire.sink = () => {};
               const before = statusBytes(pid, 'VmRSS');
               for (let i = 0; i < pieces; i++)
                   if (!wire.socket.write(piece) && isRead)
                       await new Promise((next) =>
                           wire.socket.once('drain', next));
               if (!isRead) {
                   await stalled(wire.socket);
                   wire.socket.resume();
               }
               const wanted = pieces * 200 * size;
               await wire.until(() => wire.total >= wanted, 'all answers',
                                60000);
               assert.equal(wire.total, wanted);
               const grown = statusBytes(pid, 'VmHWM') - before;
               assert.ok(grown < GROWTH_MAX || isSanitized(pid),
                         `RSS grew by ${grown} bytes`);
               await gateway.stillServes();
           });
    }
});

describe('a handshake that is answered within its long body', () => {
    const gateway = fixture({ count: 2, engine: true,
                              args: [...ONE_WORKER, '--balance',
                                     'round-robin'] });

    it('and whose sid waits for the word of its old owner', async () => {
        const sid = newSid();
        const word = gate();
        gateway.backends.forEach((backend) => (backend.mint = () => sid));
        await exchange(gateway.port, handshakeRequest());
        const owner = gateway.backends.find((b) => b.requests.length > 0);
        const other = gateway.backends.find((b) => b !== owner);
        owner.handler = async (request, wire) => {
            if (request.method !== 'PUT')
                return owner.fallback(request, wire);
            await word.opened;
            return wire.send(UNKNOWN_SID);
        };
        other.early = (request, wire) => {
            wire.taken = true;
            other.early = null;
            other.sids.add(sid);
            wire.send(ok(openPacket(sid)));
        };
        const client = await gateway.open();
        client.send(handshakeRequest().replace('\r\n\r\n',
            `\r\nContent-Length: 100001\r\n\r\n${'x'.repeat(70000)}`));
        const asked = await owner.request(1);
        assert.equal(asked.method, 'PUT');
        client.send('y');
        /* The one worker has met that byte before it accepts these. */
        for (let i = 0; i < 4; i++) {
            const response = await exchange(gateway.port, OPTIONS);
            assert.equal(response.status, 200);
        }
        assert.equal(client.total, 0, 'the answer overtook the binding');
        word.open();
        const response = await client.response();
        assert.equal(response.status, 200);
        assert.equal(response.text, openPacket(sid));
        const poll = await exchange(gateway.port, sidRequest(sid));
        assert.equal(poll.text, `4${other.id}`);
    });
});

describe('what comes before its turn', () => {
    const gateway = fixture({ args: ONE_WORKER });

    it('103, then FIN on a reused connection: 502, nothing is sent twice',
       async () => {
           await gateway.stillServes();
           const [{ wire: used }] = gateway.backend.requests;
           gateway.backend.handler = (request, wire) => {
               wire.taken = true;
               wire.finish('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
           };
           const client = await gateway.open();
           client.send(get('/b'));
           let response = await client.response();
           if (response.status === 103)
               response = await client.response();
           assert.equal(response.status, 502);
           gateway.backend.handler = gateway.backend.fallback;
           await gateway.stillServes();
           const copies = gateway.backend.requests
               .filter(({ target }) => target === '/b');
           assert.equal(copies.length, 1);
           assert.equal(copies[0].wire, used, 'it was not reused');
       });

    it('frames and FIN before the 101 reach the backend behind it',
       async () => {
           const held = gate();
           const early = Buffer.concat([
               frame(TEXT, 'early', { mask: true }),
               frame(TEXT, 'x'.repeat(5000), { mask: true })]);
           gateway.backend.handler = async (request, wire) => {
               if (!request.has('upgrade'))
                   return wire.send(ok(request.target));
               wire.taken = true;
               await held.opened;
               return wire.send(switching(request));
           };
           const client = await gateway.open();
           client.finish(Buffer.concat([Buffer.from(upgradeRequest('/x')),
                                        early]));
           const { wire: upstream } = await gateway.backend.request();
           for (let i = 0; i < 4; i++)
               await gateway.stillServes();
           assert.equal(upstream.buffer.length, 0);
           assert.equal(upstream.fin, false, 'FIN overtook the frames');
           held.open();
           assert.equal((await client.head()).status, 101);
           const { how, bytes } = await upstream.rest();
           assert.equal(how, 'fin');
           assert.deepEqual(bytes, early);
           const late = frame(TEXT, 'late');
           upstream.finish(late);
           const rest = await client.rest();
           assert.equal(rest.how, 'fin');
           assert.deepEqual(rest.bytes, late);
       });

    it('the FIN of a client that its backend answers by its own',
       async () => {
           gateway.backend.handler = async (request, wire) => {
               wire.taken = true;
               await wire.until(() => wire.fin, 'FIN');
               wire.finish();
           };
           const client = await gateway.open();
           client.finish(get('/p'));
           const { how, bytes } = await client.rest();
           assert.equal(how, 'fin');
           assert.equal(bytes.length, 0);
       });
});

describe('a slow upload', () => {
    const PIECES = 40;
    const PIECE_MS = 50;
    const gateway = fixture({ args: [...ONE_WORKER, '--response-timeout',
                                     '1500ms'] });

    it('that takes longer than --response-timeout is answered', async () => {
        const start = 'x'.repeat(100000);
        const client = await gateway.open();
        client.send('POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: ' +
            `${start.length + PIECES}\r\n\r\n${start}`);
        await gateway.backend.connection();
        for (let i = 0; i < PIECES; i++) {
            await new Promise((next) => setTimeout(next, PIECE_MS));
            assert.ok(!client.over && client.total === 0, client.describe());
            client.send('y');
        }
        const response = await client.response();
        assert.equal(response.status, 200);
        assert.equal(response.text, '/up');
    });

    it('that is whole is waited for no longer than that', async () => {
        gateway.backend.handler = () => {};
        const response = await exchange(gateway.port, 'POST /up HTTP/1.1\r\n' +
            `Host: h\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100000)}`);
        assert.equal(response.status, 504);
    });
});

/* Node may show an RST behind data as an end like any other; but then nothing
 * can be sent any more. */
async function wasReset(wire)
{
    const { socket } = wire;
    await wire.ended();
    if (!wire.closed && wire.error === null) {
        const closed = new Promise((done) => socket.once('close', done));
        wire.finish('x');
        await closed;
    }
    return wire.error !== null;
}

describe('responses to a slow reader', () => {
    const gateway = fixture({ engine: true, args: ONE_WORKER });

    for (const isPaused of [false, true]) {
        it(`cut short, of HTTP/1.0${isPaused ? ', read late' : ''}: a reset`,
           async () => {
               const chunk = `30d40\r\n${'x'.repeat(200000)}\r\n`;
               gateway.backend.handler = (request, wire) => {
                   wire.taken = true;
                   wire.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked' +
                             `\r\n\r\n${chunk.repeat(isPaused ? 40 : 2)}`);
                   wire.finish('30d40\r\nyyy');
               };
               const client = await gateway.open({ paused: isPaused });
               client.sink = () => {};
               client.send('GET /big HTTP/1.0\r\nHost: h\r\n\r\n');
               await gateway.backend.request();
               gateway.backend.handler = gateway.backend.fallback;
               await gateway.stillServes('/socket.io/socket.io.js');
               client.socket.resume();
               assert.ok(await wasReset(client), 'a clean end');
           });
    }

    /* With a head of 67 bytes the first piece is up to all that is held. */
    for (const first of [10, 20000, 32700, 32701, 32702, 40000, 65536]) {
        it(`gzip of ${first} bytes and then the rest that tell no sid`,
           async () => {
               const body = Buffer.concat([
                   Buffer.from([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3]),
                   Buffer.alloc(200000, 'n')]);
               let upstream;
               gateway.backend.onHandshake = (request, wire) => {
                   upstream = wire;
                   wire.send(Buffer.concat([
                       Buffer.from('HTTP/1.1 200 OK\r\nContent-Encoding: ' +
                           `gzip\r\nContent-Length: ${body.length}\r\n\r\n`),
                       body.subarray(0, first)]));
               };
               const client = await gateway.open();
               client.send(handshakeRequest());
               await gateway.backend.request();
               /* The one worker has read that piece before it serves these. */
               for (let i = 0; i < 4; i++) {
                   const response = await exchange(gateway.port, OPTIONS);
                   assert.equal(response.status, 200);
               }
               upstream.send(body.subarray(first));
               const response = await client.response();
               assert.equal(response.status, 200);
               assert.deepEqual(response.body, body);
           });
    }
});

describe("a session's POST", () => {
    const KEEP = 'Keep-Alive: timeout=60\r\n';
    const gateway = fixture({ engine: true, args: ONE_WORKER });

    const idle = async () => (await gateway.gateway.metrics())
        .get('sidgate_idle_backend_connections');

    async function session()
    {
        const { backend } = gateway;
        backend.onPoll = (request, wire) => wire.send(ok('4x', KEEP));
        const open = await exchange(gateway.port, handshakeRequest());
        return JSON.parse(open.text.slice(1)).sid;
    }

    const post = (sid) => exchange(gateway.port,
        sidRequest(sid, { method: 'POST', body: '4hello' }));

    it('never goes out on a reused connection', async () => {
        const { backend } = gateway;
        const sid = await session();
        const used = new Set();
        for (let i = 0; i < 4; i++) {
            await exchange(gateway.port, sidRequest(sid));
            used.add(backend.requests.at(-1).wire);
            const count = backend.connections.length;
            await eventually(async () => await idle() > 0, 'one to reuse');
            assert.equal((await post(sid)).text, 'ok');
            const { method, wire } = backend.requests.at(-1);
            assert.equal(method, 'POST');
            assert.ok(!used.has(wire), 'an old connection');
            assert.equal(backend.connections.length, count + 1);
            used.add(wire);
        }
    });

    it('leaves its connection for others to reuse', async () => {
        await gateway.dropIdle();
        const sid = await session();
        await post(sid);
        const { wire, ...request } = gateway.backend.requests.at(-1);
        assert.ok(!request.headers.some(([name]) => /^conn/i.test(name)));
        await exchange(gateway.port, sidRequest(sid));
        assert.equal(gateway.backend.requests.at(-1).wire, wire);
    });

    it('asks for the end of its own where enough are idle', async () => {
        await gateway.dropIdle();
        const { backend } = gateway;
        const sid = await session();
        const late = gate();
        backend.onPoll = async (request, wire) => {
            await late.opened;
            wire.send(ok('4x', KEEP));
        };
        const polls = Array.from({ length: 9 }, () =>
            exchange(gateway.port, sidRequest(sid)));
        await backend.request(9);
        late.open();
        await Promise.all(polls);
        await eventually(async () => await idle() >= 9, 'idle connections');
        const before = await idle();
        backend.onPost = (request, wire) => {
            wire.taken = true;
            wire.send(ok('ok', 'Connection: close\r\n'));
        };
        assert.equal((await post(sid)).text, 'ok');
        const { wire, ...request } = backend.requests.at(-1);
        assert.deepEqual(request.headers.filter(([name]) =>
            name.toLowerCase() === 'connection').map(([, value]) => value),
                         ['close']);
        /* The answer may be here a moment before it is counted. */
        await eventually(async () => await idle() === before + 1,
                         'it waits for FIN');
        assert.equal(wire.over, false, 'it ended the connection itself');
        wire.finish();
        assert.equal(await wire.ended(), 'fin');
        await eventually(async () => await idle() === before, 'its end');
    });
});

describe('--source-address', () => {
    const SOURCES = ['127.0.0.9', '127.0.0.10'];

    for (const sources of [SOURCES.slice(0, 1), SOURCES]) {
        describe(sources.join(' and '), () => {
            const args = sources.flatMap((one) => ['--source-address', one]);
            const gateway = fixture({ engine: true,
                                      args: [...args, ...ONE_WORKER] });

            it('is what backends see', async () => {
                const seen = new Set();
                const open = await exchange(gateway.port, handshakeRequest());
                const { sid } = JSON.parse(open.text.slice(1));
                for (let i = 0; i < 4; i++)
                    await exchange(gateway.port, sidRequest(sid,
                        { method: 'POST', body: '4x' }));
                for (const { socket } of gateway.backend.connections)
                    seen.add(socket.remoteAddress);
                assert.deepEqual([...seen].sort(), [...sources].sort());
            });
        });
    }
});
