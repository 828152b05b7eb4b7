/* SPDX-License-Identifier: MIT */
/* What one client address, one connection, and all of them may take: what is
 * too much is told so, counted, and costs nobody else anything. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ok } from '../support/backend.mjs';
import { handshakeRequest, openPacket, newSid, sidRequest, switching,
         upgradeRequest } from '../support/engine.mjs';
import { fixture, withCluster } from '../support/fixture.mjs';
import { BINARY, frame, frameHead, openTunnel, TEXT } from '../support/frames.mjs';
import { connect, eventually, exchange, IS_TLS } from '../support/wire.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const HERE = { localAddress: '127.0.0.9' };
const THERE = { localAddress: '127.0.0.10' };
const ORIGIN = 'https://page.example';
const TARGET = '/socket.io/?EIO=4&transport=websocket';

const limited = async ({ gateway }, name) => (await gateway.metrics())
    .get(`sidgate_limited_total{limit="${name}"}`);

/* Runs work, by which the limit `name` must have been met `times` times. */
async function counts(world, name, times, work)
{
    const before = await limited(world, name);
    assert.notEqual(before, undefined, `no counter ${name}`);
    await work();
    await eventually(async () =>
        await limited(world, name) >= before + times, `${name} is counted`);
    assert.equal(await limited(world, name), before + times, name);
}

/* All connections that sidgate knows of are gone. */
function quiet({ gateway })
{
    return eventually(async () => {
        const metrics = await gateway.metrics();
        return metrics.get('sidgate_connections') === 0 &&
            metrics.get('sidgate_tunnels') === 0;
    }, 'no connection');
}

async function serves(wire)
{
    wire.send(GET);
    assert.equal((await wire.response()).status, 200);
    return wire;
}

/* One that is not let in: it is told, where that is possible, and ended. */
async function isTurnedAway(world, status, how)
{
    let wire;
    try {
        wire = await connect(world.port, how);
    } catch (error) {
        /* Before TLS there are no words. */
        assert.ok(IS_TLS, error);
        return;
    }
    world.wires.push(wire);
    assert.ok(!IS_TLS, 'TLS was spoken');
    const response = await wire.response();
    assert.equal(response.status, status);
    assert.equal(response.get('connection'), 'close');
    assert.match(response.get('retry-after'), /^[1-9]\d*$/);
    assert.equal(await wire.ended(), 'fin');
}

describe('--max-connections', () => {
    const world = fixture({ args: ['--max-connections', '5'] });

    it('one more is turned away, and let in when another ends', async () => {
        const wires = [];
        for (let i = 0; i < 5; i++)
            wires.push(await serves(await world.open()));
        await counts(world, 'max_connections', 2, async () => {
            await isTurnedAway(world, 503);
            await isTurnedAway(world, 503, HERE);
        });
        for (const wire of wires)
            await serves(wire);
        wires.pop().finish();
        await eventually(async () => (await world.gateway.metrics())
            .get('sidgate_connections') === 4, 'the end of one');
        await serves(await world.open());
        await isTurnedAway(world, 503);
    });
});

describe('--max-connections-per-address', () => {
    const world = fixture({ engine: true, args: [
        '--max-connections-per-address', '3'] });

    const tunnel = async (how) => {
        const wire = await world.open(how);
        wire.send(upgradeRequest());
        return { wire, status: (await wire.head()).status };
    };

    it('one more is turned away, others are not', async () => {
        await quiet(world);
        const wires = [];
        for (let i = 0; i < 3; i++)
            wires.push(await serves(await world.open(HERE)));
        await counts(world, 'connections_per_address', 2, async () => {
            await isTurnedAway(world, 429, HERE);
            await isTurnedAway(world, 429, HERE);
        });
        await serves(await world.open(THERE));
        for (const wire of wires)
            await serves(wire);
        wires.pop().finish();
        await eventually(async () => (await world.gateway.metrics())
            .get('sidgate_connections') === 3, 'the end of one');
        await serves(await world.open(HERE));
    });

    it('websockets are connections, too', async () => {
        await quiet(world);
        world.backend.onHandshake = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request));
        };
        const tunnels = [];
        for (let i = 0; i < 3; i++) {
            tunnels.push(await tunnel(HERE));
            assert.equal(tunnels[i].status, 101);
        }
        await isTurnedAway(world, 429, HERE);
        assert.equal((await tunnel(THERE)).status, 101);
        tunnels[0].wire.reset();
        await eventually(async () => (await world.gateway.metrics())
            .get('sidgate_tunnels') === 3, 'the end of one');
        assert.equal((await tunnel(HERE)).status, 101);
    });
});

describe('--max-connections-per-address behind a proxy', () => {
    const world = fixture({ engine: true, args: [
        '--max-connections-per-address', '2', '--trusted-proxy',
        '127.0.0.0/8'] });
    const upgradeOf = (client) => upgradeRequest(TARGET,
        `X-Forwarded-For: ${client}\r\nOrigin: ${ORIGIN}\r\n`);

    async function statusOf(client)
    {
        const wire = await world.open();
        wire.send(upgradeOf(client));
        const head = await wire.head();
        return head.status;
    }

    it('the proxy has as many as it likes, its clients have not', async () => {
        for (let i = 0; i < 6; i++)
            await serves(await world.open());
        world.backend.onHandshake = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request));
        };
        await counts(world, 'connections_per_address', 2, async () => {
            const statuses = [];
            for (const client of ['1.2.3.4', '1.2.3.4', '1.2.3.4', '5.6.7.8',
                                  '2001:db8::1', '2001:db8::2', '2001:db8::3',
                                  '2001:db8:0:1::1'])
                statuses.push(await statusOf(client));
            assert.deepEqual(statuses,
                             [101, 101, 429, 101, 101, 101, 429, 101]);
        });
    });
});

describe('--handshake-rate-per-address', () => {
    const world = fixture({ engine: true, args: [
        '--handshake-rate-per-address', '1'] });
    const handshake = handshakeRequest().replace('\r\n\r\n',
        `\r\nOrigin: ${ORIGIN}\r\n\r\n`);
    const ask = (bytes, how) => exchange(world.port, bytes, 'GET', how);

    it('after a burst: 429, which a page can read', async () => {
        const sids = [];
        let more = 0;
        /* Who takes more than a second for it all may begin one more. */
        const refused = async (send) => {
            let response = await send();
            for (; response.status === 200 && more < 5; more++)
                response = await send();
            assert.equal(response.status, 429);
            return response;
        };
        for (let i = 0; i < 10; i++) {
            const response = await ask(handshake, HERE);
            assert.equal(response.status, 200, `handshake ${i}`);
            sids.push(JSON.parse(response.text.slice(1)).sid);
        }
        await counts(world, 'handshake_rate', 2, async () => {
            const response = await refused(() => ask(handshake, HERE));
            assert.match(response.get('retry-after'), /^[1-9]\d?$/);
            assert.equal(response.get('access-control-allow-origin'), ORIGIN);
            await refused(() => ask(upgradeRequest(), HERE));
        });
        assert.equal(world.backend.requests.length, 10 + more);
        /* Its sessions go on, and so do others. */
        assert.equal((await ask(sidRequest(sids[0]), HERE)).status, 200);
        assert.equal((await ask(GET, HERE)).status, 200);
        assert.equal((await ask(handshake, THERE)).status, 200);
    });

    it('lets one in again in time', async () => {
        await eventually(async () => (await ask(handshake, HERE)).status ===
            200, 'a token');
    });
});

describe('--max-sessions-per-address', () => {
    const world = fixture({ engine: true, args: [
        '--max-sessions-per-address', '3'] });
    const open = (how) => exchange(world.port, handshakeRequest(), 'GET', how);

    it('one more is refused until one of them ends', async () => {
        const sids = [];
        for (let i = 0; i < 3; i++) {
            const response = await open(HERE);
            assert.equal(response.status, 200);
            sids.push(JSON.parse(response.text.slice(1)).sid);
        }
        await counts(world, 'sessions_per_address', 1, async () => {
            const response = await open(HERE);
            assert.equal(response.status, 429);
            assert.match(response.get('retry-after'), /^[1-9]\d*$/);
        });
        assert.equal(world.backend.requests.length, 3);
        assert.equal((await open(THERE)).status, 200);
        const bye = sidRequest(sids[0], { method: 'POST', body: '1' });
        assert.equal((await exchange(world.port, bye)).status, 200);
        await eventually(async () => (await open(HERE)).status === 200,
                         'room for one');
        assert.equal((await open(HERE)).status, 429);
    });

    it('that of a websocket ends with it', async () => {
        const at = { localAddress: '127.0.0.11' };
        world.backend.onHandshake = (request, wire) => {
            wire.taken = true;
            wire.send(switching(request));
            wire.send(frame(TEXT, openPacket(newSid())));
        };
        const wires = [];
        for (let i = 0; i < 3; i++) {
            const wire = await world.open(at);
            wire.send(upgradeRequest());
            assert.equal((await wire.head()).status, 101);
            await wire.until(() => wire.buffer.length > 20, 'a packet');
            wires.push(wire);
        }
        world.backend.mints();
        await eventually(async () => (await open(at)).status === 429,
                         'the end of room');
        wires[0].reset();
        await eventually(async () => (await open(at)).status === 200,
                         'room for one');
    });
});

describe('--max-requests-per-connection', () => {
    const world = fixture({ args: ['--max-requests-per-connection', '3'] });

    it('the last answer says so, and what follows is no request', async () => {
        await counts(world, 'requests_per_connection', 1, async () => {
            const wire = await world.open();
            wire.send(GET.repeat(5));
            for (let i = 0; i < 3; i++) {
                const response = await wire.response();
                assert.equal(response.status, 200);
                assert.equal(response.get('connection'),
                             i === 2 ? 'close' : undefined);
            }
            const { how, bytes } = await wire.rest();
            assert.equal(how, 'fin');
            assert.equal(bytes.length, 0);
        });
        assert.equal(world.backend.requests.length, 3);
    });
});

/* Writes `piece` every 40 ms until there is an answer, for 10 s at most. */
async function drip(wire, piece)
{
    for (let i = 0; i < 250 && wire.total === 0 && !wire.over; i++) {
        wire.send(piece);
        await wire.until(() => wire.total > 0, 'an answer', 40).catch(() => {});
    }
}

describe('--min-body-rate', () => {
    const world = fixture({ args: ['--min-body-rate', '10000',
                                   '--body-timeout', '3s'] });
    const head = 'POST /x HTTP/1.1\r\nHost: h\r\n';
    const BODIES = [
        ['of a length', `${head}Content-Length: 60000\r\n\r\n`, 'abc'],
        ['of chunks', `${head}Transfer-Encoding: chunked\r\n\r\n`,
         '1\r\na\r\n'],
    ];

    for (const [name, start, piece] of BODIES) {
        it(`a body ${name} that drips in: 408`, async () => {
            await counts(world, 'body_rate', 1, async () => {
                const wire = await world.open();
                wire.send(start);
                const began = Date.now();
                await drip(wire, piece);
                const response = await wire.response();
                const took = Date.now() - began;
                assert.equal(response.status, 408);
                assert.equal(response.get('connection'), 'close');
                assert.ok(took > 2500 && took < 12_000, `${took} ms`);
            });
            assert.deepEqual(world.backend.targets, []);
        });
    }

    it('one that drips in once it streams: the end for both', async () => {
        world.backend.early = (request, wire) => {
            wire.taken = true;
        };
        await counts(world, 'body_rate', 1, async () => {
            const wire = await world.open();
            wire.send(`${head}Content-Length: 200000\r\n\r\n` +
                      'x'.repeat(100000));
            const { wire: upstream } = await world.backend.request();
            await drip(wire, 'y');
            await upstream.ended();
            await wire.ended();
        });
    });

    /* At most four seconds for 4000 bytes, which take one. */
    it('one that keeps its pace passes', () => withCluster({
        args: ['--min-body-rate', '1000', '--body-timeout', '4s'],
    }, async ({ port }) => {
        const wire = await connect(port);
        wire.send(`${head}Content-Length: 30000\r\n\r\n`);
        for (let i = 0; i < 120; i++) {
            wire.send('x'.repeat(250));
            await new Promise((next) => setTimeout(next, 60));
        }
        assert.equal((await wire.response()).status, 200);
        wire.destroy();
    }));
});

describe('--max-streamed-bodies', () => {
    const world = fixture({ args: ['--max-streamed-bodies', '2'] });
    const LENGTH = 200000;
    const head = `POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: ${LENGTH}` +
        '\r\n\r\n';
    const part = 'x'.repeat(100000);

    it('one more: 503, until one of them is whole', async () => {
        world.backend.early = async (request, wire) => {
            await wire.body(request, { ms: 30000 });
            wire.send(ok('whole'));
        };
        const start = async () => (await world.open()).send(head + part);
        const wires = [await start(), await start()];
        await world.backend.request(1);
        await counts(world, 'streamed_bodies', 1, async () => {
            const wire = await start();
            const response = await wire.response();
            assert.equal(response.status, 503);
            assert.equal(response.get('connection'), 'close');
        });
        /* A short one does not stream. */
        const short = await exchange(world.port, 'POST /s HTTP/1.1\r\n' +
            'Host: h\r\nContent-Length: 5\r\n\r\nhello');
        assert.equal(short.text, 'whole');
        wires[0].send(part);
        assert.equal((await wires[0].response()).text, 'whole');
        const third = await start();
        third.send(part);
        assert.equal((await third.response()).text, 'whole');
        /* One that its client gives up makes room as well. */
        wires[1].reset();
        await eventually(async () => {
            const two = [await start(), await start()];
            two.forEach((wire) => wire.send(part));
            const ends = await Promise.all(two.map((wire) => wire.response()));
            return ends.every(({ status }) => status === 200);
        }, 'room for two');
    });
});

describe('what each limit counts', () => {
    const world = fixture({ args: [
        '--head-timeout', '2500ms', '--body-timeout', '900ms',
        '--keepalive-timeout', '4s', '--write-timeout', '900ms',
        '--max-body', '100000', '--min-body-rate', '0'] });
    const patient = fixture({ args: ['--tcp-user-timeout', '500ms'] });
    const post = 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: ';
    const ROWS = [
        ['request_line', `GET /${'a'.repeat(9000)} HTTP/1.1\r\n\r\n`, 414],
        ['head', `GET /x HTTP/1.1\r\nHost: h\r\nA: ${'a'.repeat(17000)}\r\n` +
         '\r\n', 431],
        ['head', `GET /x HTTP/1.1\r\nHost: h\r\n${'A: b\r\n'.repeat(101)}\r\n`,
         431],
        ['body', `${post}100001\r\n\r\n`, 413],
        ['head_timeout', 'GET /x HTTP/1.1\r\nHo', 408],
        ['body_timeout', `${post}10\r\n\r\nhello`, 408],
    ];

    for (const [limit, bytes, status] of ROWS) {
        it(`${limit}: ${status}`, () => counts(world, limit, 1, async () => {
            const wire = await world.open();
            wire.send(bytes);
            assert.equal((await wire.response()).status, status);
            await wire.ended();
        }));
    }

    it('idle_timeout', () => counts(world, 'idle_timeout', 2, async () => {
        await (await world.open()).ended();
        await (await serves(await world.open())).ended();
    }));

    it('write_timeout', async () => {
        const before = await limited(world, 'write_timeout');
        world.backend.handler = (request, wire) => {
            wire.taken = true;
            wire.send('HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n');
            wire.send(Buffer.alloc(60000000));
        };
        const wire = await world.open({ paused: true });
        wire.send(GET);
        await eventually(async () =>
            await limited(world, 'write_timeout') === before + 1, 'a count');
        await world.backend.requests[0].wire.ended();
    });

    it('tcp_timeout', async () => {
        const before = await limited(patient, 'tcp_timeout');
        const { client, upstream } = await openTunnel(patient);
        client.socket.pause();
        upstream.send(frameHead(BINARY, 60_000_000));
        upstream.send(Buffer.alloc(60_000_000));
        await eventually(async () =>
            await limited(patient, 'tcp_timeout') === before + 1, 'a count');
        await upstream.ended();
    });

    it('handshakes of TLS', { skip: !IS_TLS && 'without TLS' }, async () => {
        const count = async (result) => (await world.gateway.metrics())
            .get(`sidgate_tls_handshakes_total{result="${result}"}`);
        const before = [await count('ok'), await count('failed')];
        await serves(await world.open());
        const wire = await world.open({ secure: false });
        wire.send(GET);
        await wire.ended();
        assert.doesNotMatch(wire.describe(), / 200 /);
        await eventually(async () => await count('failed') > before[1],
                         'it is counted');
        assert.deepEqual([await count('ok'), await count('failed')],
                         before.map((number) => number + 1));
        assert.equal(world.backend.requests.length, 1);
    });
});
