/* SPDX-License-Identifier: MIT */
/* What connections and requests move. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { spentLimit } from '../process.mjs';
import { connect, eventually } from '../wire.mjs';

const GET = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const PLAIN = { plain: true };
const TLS_ONLY = { plain: true, listen: ['127.0.0.1:0,tls'] };
const PROXIED = { plain: true, listen: ['127.0.0.1:0,proxy'],
                  args: ['--trusted-proxy', '127.0.0.1'] };
const DEAD = { plain: true, args: ['--eject-failures', '0'] };
const refused = (status) => assert.ok(status === 502 || status === 503,
                                      `${status}`);
const CLOSES = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n' +
    '\r\n';
/* The answer to it, when it has passed through sidgate. */
let passed = 0;

const secure = (more = {}) => ({ secure: {
    maxVersion: 'TLSv1.2', rejectUnauthorized: false, ...more } });

async function firstSession(world)
{
    const wire = await connect(world.port, secure());
    const session = wire.socket.getSession();
    wire.destroy();
    return session;
}

/* Whether somebody here has a connection that came in at the port. */
function isInUse(port)
{
    const own = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    return readFileSync('/proc/net/tcp', 'latin1').split('\n').some((line) => {
        const [, local = '', , state, , , , , , inode] =
            line.trim().split(/\s+/);
        return local.endsWith(own) && state !== '0A' && inode !== '0';
    });
}

export const requests = [
    {
        name: 'a connection', needs: PLAIN,
        moves: { connections_accepted_total: 1, connections: 1,
                 'worker_connections_accepted_total{worker="0"}': 1,
                 'worker_connections{worker="0"}': 1 },
        cause: (world) => world.open(),
    }, {
        name: 'many connections', needs: PLAIN,
        moves: { connections: 20, process_open_fds: (n) => n > 15 && n < 25 },
        cause: async (world) => {
            for (let i = 0; i < 20; i++)
                await world.open();
        },
    }, {
        name: 'its end', needs: PLAIN,
        moves: { connections: -1, 'worker_connections{worker="0"}': -1 },
        prepare: (world) => world.open(),
        cause: (world, wire) => wire.destroy(),
    }, {
        name: 'a request', needs: PLAIN,
        moves: { requests_total: 1, 'worker_requests_total{worker="0"}': 1,
                 'backend_requests_total{backend="n1"}': 1,
                 'backend_connects_total{backend="n1"}': 1,
                 'backend_reused_total{backend="n1"}': 0,
                 'request_duration_seconds_count{kind="other"}': 1,
                 client_received_bytes_total: GET.length,
                 client_sent_bytes_total: (n) => n === passed,
                 idle_backend_connections: 1 },
        cause: async (world) => {
            const wire = await world.open();
            await wire.send(GET).response();
            passed = wire.total;
        },
    }, {
        name: 'one more on the same backend connection', needs: PLAIN,
        moves: { 'backend_reused_total{backend="n1"}': 1,
                 'backend_connects_total{backend="n1"}': 0,
                 idle_backend_connections: 0 },
        prepare: (world) => world.ask(GET),
        cause: (world) => world.ask(GET),
    }, {
        name: 'a backend that closes', needs: PLAIN,
        moves: { idle_backend_connections: -1 },
        prepare: async (world) => {
            await world.ask(GET);
            world.backend.handler = (request, wire) => wire.send(CLOSES);
        },
        cause: (world) => world.ask(GET),
    }, {
        name: 'no HTTP', needs: PLAIN,
        moves: { bad_requests_total: 1, requests_total: 0 },
        cause: async (world) => assert.equal(
            (await world.ask('NONSENSE\r\n\r\n')).status, 400),
    }, {
        name: 'a client that goes away', needs: PLAIN,
        moves: { client_aborts_total: 1 },
        cause: async (world) => {
            world.backend.handler = () => {};
            const wire = await world.open();
            wire.send(GET);
            await world.backend.request(0);
            wire.reset();
        },
    }, {
        name: 'a malformed response', needs: PLAIN,
        moves: { 'backend_bad_responses_total{backend="n1"}': 1,
                 'backend_connect_errors_total{backend="n1"}': 0 },
        cause: async (world) => {
            world.backend.handler = (request, wire) =>
                wire.send('NONSENSE\r\n\r\n');
            assert.equal((await world.ask(GET)).status, 502);
        },
    }, {
        name: 'a websocket', needs: {},
        moves: { tunnels: 1, 'worker_tunnels{worker="0"}': 1,
                 handshakes_total: 1, connections: 0,
                 'upgrade_attempts_total{backend="n1"}': 0 },
        cause: (world) => world.websocket(),
    }, {
        name: 'work', needs: PLAIN,
        moves: { process_cpu_seconds_total: (n) => n > 0,
                 'worker_cpu_seconds_total{worker="0"}': (n) => n > 0,
                 process_start_time_seconds: 0, process_max_fds: 0 },
        cause: async (world) => {
            const wire = await world.open();
            for (let i = 0; i < 50; i++)
                await wire.send(GET).response();
        },
    }, {
        name: 'memory', needs: PLAIN, fresh: true,
        moves: { process_resident_memory_bytes: (n) => n > 200_000 },
        cause: async (world) => {
            world.backend.handler = () => {};
            for (let i = 0; i < 200; i++)
                (await world.open()).send(GET);
            await world.backend.request(199);
        },
    }, {
        name: 'a backend at which nobody listens', needs: DEAD,
        fresh: true,
        moves: { 'backend_connect_errors_total{backend="n1"}': (n) => n > 0,
                 'backend_state{backend="n1",state="up"}': -1,
                 'backend_state{backend="n1",state="refused"}': 1,
                 'backend_up{backend="n1"}': -1,
                 'backend_requests_total{backend="n1"}': 0 },
        cause: async (world) => {
            await world.backend.stop();
            refused((await world.ask(GET)).status);
        },
        /* It is so for a second. */
        again: async (world) => refused((await world.ask(GET)).status),
    }, {
        name: 'no local address to connect from',
        needs: { plain: true, args: ['--source-address', '192.0.2.1'] },
        fresh: true,
        moves: { local_port_errors_total: (n) => n > 0,
                 'backend_connect_errors_total{backend="n1"}': 0 },
        cause: async (world) => assert.equal((await world.ask(GET)).status,
                                             503),
    }, {
        name: 'no PROXY header', needs: PROXIED,
        moves: { proxy_header_errors_total: 1, requests_total: 0 },
        cause: async (world) => {
            const wire = await world.open({ secure: false });
            await wire.send(GET).ended();
        },
    }, {
        name: 'TLS', needs: TLS_ONLY,
        moves: { 'tls_handshakes_total{result="ok"}': 1,
                 tls_resumed_total: 0 },
        cause: (world) => world.open(secure()),
    }, {
        name: 'TLS that resumes', needs: TLS_ONLY,
        moves: { 'tls_handshakes_total{result="ok"}': 1,
                 tls_resumed_total: 1 },
        prepare: firstSession,
        cause: (world, session) => world.open(secure({ session })),
    }, {
        name: 'no TLS', needs: TLS_ONLY,
        moves: { 'tls_handshakes_total{result="failed"}': 1,
                 requests_total: 0 },
        cause: async (world) => {
            const wire = await world.open({ secure: false });
            await wire.send(GET).ended();
        },
    }, {
        name: 'no descriptors', needs: PLAIN, fresh: true,
        moves: { accept_errors_total: (n) => n > 0,
                 'worker_accept_errors_total{worker="0"}': (n) => n > 0,
                 'limited_total{limit="descriptors"}': (n) => n > 0,
                 process_max_fds: (n) => n < 0 },
        cause: async (world) => {
            const { pid } = world.gateway;
            for (let i = 0; i < 8; i++)
                await world.open();
            await eventually(async () => (await world.gateway.metrics())
                .get('sidgate_connections') === 8, 'all in');
            /* What such a connection leaves would be room for one more. */
            await eventually(() => !isInUse(world.gateway.adminPort),
                             'nobody asks');
            const limit = spentLimit(pid);
            execFileSync('prlimit', ['--pid', `${pid}`,
                                     `--nofile=${limit}:${limit}`]);
            for (let i = 0; i < 8; i++)
                await world.open();
            /* The operator needs some as well. */
            await Promise.all(world.wires.splice(0).map(async (wire) => {
                wire.destroy();
                await wire.ended();
            }));
        },
    },
];
