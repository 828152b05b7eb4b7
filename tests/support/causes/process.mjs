/* SPDX-License-Identifier: MIT */
/* What backends' states, configurations and the access log move. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync }
    from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';


const CHECKED = { count: 2, args: [
    '--health-check', 'tcp', '--health-interval', '2s',
    '--health-timeout', '2s', '--health-rise', '1', '--health-fall', '1'] };
const EJECTING = { count: 2, args: ['--eject-failures', '1',
                                    '--balance', 'round-robin'] };

function folder(world)
{
    const name = mkdtempSync(path.join(tmpdir(), 'sidgate-metrics-'));
    world.close = () => rmSync(name, { recursive: true, force: true });
    return name;
}

/* A gateway with a configuration file, which rows write anew. */
const CONFIGURED = { args: (world) => {
    world.file = path.join(folder(world), 'sidgate.json');
    writeFileSync(world.file, '{}');
    return ['--config', world.file];
} };

const state = (id, name, by) =>
    ({ [`backend_state{backend="${id}",state="${name}"}`]: by });

const becomes = (name) => ({ ...state('n1', 'up', -1), ...state('n1', name, 1),
                             'backend_up{backend="n1"}': -1 });

/* Lines go to a pipe that nobody reads. */
const UNREAD = { plain: true, args: (world) => {
    const pipe = path.join(folder(world), 'access.log');
    execFileSync('mkfifo', [pipe]);
    world.reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    return ['--access-log', pipe];
} };

export const processRows = [
    {
        name: 'a health check fails', needs: CHECKED, fresh: true,
        moves: becomes('down'),
        cause: (world) => world.backend.stop(),
    }, {
        name: 'handshakes fail', needs: EJECTING, fresh: true,
        moves: becomes('ejected'),
        cause: async (world) => {
            await world.backend.stop();
            await world.session();
            await world.session();
        },
    }, {
        name: 'a backend is removed', needs: { count: 2 }, fresh: true,
        moves: becomes('removed'),
        /* It stays in the list as long as it has a session. */
        prepare: (world) => world.session(),
        cause: async (world) => assert.equal(
            await world.order('/api/v1/backends/n1/remove'), 200),
    }, {
        name: 'a reload', needs: CONFIGURED,
        moves: { 'reloads_total{result="ok"}': 1 },
        cause: (world) => {
            writeFileSync(world.file, '{"log_level":"debug"}');
            process.kill(world.gateway.pid, 'SIGHUP');
        },
    }, {
        name: 'a reload that is refused', needs: CONFIGURED,
        moves: { 'reloads_total{result="failed"}': 1 },
        cause: (world) => {
            writeFileSync(world.file, '{"no_such_option":1}');
            process.kill(world.gateway.pid, 'SIGHUP');
        },
    }, {
        name: 'a reload by the API', needs: CONFIGURED,
        moves: { 'reloads_total{result="ok"}': 1 },
        prepare: (world) => writeFileSync(world.file, '{}'),
        cause: async (world) => assert.equal(
            await world.order('/api/v1/reload'), 200),
    }, {
        name: 'an access log that nobody reads', needs: UNREAD, fresh: true,
        moves: { access_log_lost_total: (n) => n > 0 },
        cause: async (world) => {
            const request = `GET ${'/'.padEnd(2000, 'x')} HTTP/1.1\r\n` +
                'Host: h\r\n\r\n';
            const wire = await world.open();
            const lost = async () => (await world.gateway.metrics())
                .get('sidgate_access_log_lost_total');
            for (let i = 0; i < 100 && await lost() === 0; i++) {
                wire.send(request.repeat(20));
                for (let j = 0; j < 20; j++)
                    await wire.response();
            }
        },
        finish: (world) => closeSync(world.reader),
    },
];

