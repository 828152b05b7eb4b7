/* SPDX-License-Identifier: MIT */
/* Runs in a network namespace of its own: has a gateway use up its local
 * ports, and checks what it says then. Ends with code 0 if all is well. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import net from 'node:net';

import { handshakeRequest, switching, upgradeRequest } from './engine.mjs';
import { startCluster, stopCluster } from './fixture.mjs';
import { eventually, Wire } from './wire.mjs';

const FIRST = 40000;
const PORTS = 16;
const TUNNELS = 20;
const RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
let clients = 0;

/* From ports that are nobody else's. */
function connect(port)
{
    return new Promise((resolve, reject) => {
        const socket = net.connect({ host: '127.0.0.1', port,
            localAddress: '127.0.0.2', localPort: 50000 + clients++,
            allowHalfOpen: true });
        socket.once('error', reject);
        socket.once('connect', () => {
            socket.off('error', reject);
            resolve(new Wire(socket));
        });
    });
}

async function ask(port, bytes)
{
    const wire = await connect(port);
    wire.send(bytes);
    const response = await wire.response();
    wire.destroy();
    return response;
}

const cluster = await startCluster({ engine: true, args: ['--workers', '1'] });
const { backend, gateway, port } = cluster;
const metric = async (name) => (await gateway.metrics()).get(name);
const engine = backend.handler;
const upstreams = [];
backend.handler = (request, wire) => {
    if (!request.has('upgrade'))
        return engine(request, wire);
    wire.taken = true;
    upstreams.push(wire);
    return wire.send(switching(request));
};

writeFileSync(RANGE, `${FIRST} ${FIRST + PORTS - 1}`);
const statuses = [];
for (let i = 0; i < TUNNELS; i++) {
    const wire = await connect(port);
    wire.send(upgradeRequest('/x'));
    statuses.push((await wire.head()).status);
}
const open = statuses.filter((status) => status === 101).length;
assert.ok(open > 0 && open <= PORTS, statuses.join());
assert.deepEqual(statuses.slice(open), Array(TUNNELS - open).fill(503));
assert.equal((await ask(port, handshakeRequest())).status, 503);

/* The operator's connections need ports too. */
writeFileSync(RANGE, '32768 60999');
assert.equal(await metric('sidgate_local_port_errors_total'),
             TUNNELS - open + 1);
assert.equal(await metric(
    `sidgate_backend_connect_errors_total{backend="${backend.id}"}`), 0);
assert.equal(await metric('sidgate_tunnels'), open);

writeFileSync(RANGE, `${FIRST} ${FIRST + PORTS - 1}`);
upstreams.forEach((wire) => wire.reset());
await eventually(async () =>
    (await ask(port, handshakeRequest())).status === 200, 'a handshake');
const answer = await ask(port, handshakeRequest());
assert.equal(answer.status, 200);
assert.match(answer.text, /^0\{"sid":/);
await stopCluster(cluster);
