/* SPDX-License-Identifier: MIT */
/* Gateways that write an access log, and its lines. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { configured, folder, specs, startNodes } from './configured.mjs';
import { eventually } from './wire.mjs';

/* All lines of a file, which must be whole ones: each is parsed as JSON. */
export function linesOf(file)
{
    if (!existsSync(file))
        return [];
    const text = readFileSync(file, 'latin1');
    const end = text.lastIndexOf('\n') + 1;
    assert.match(text, /^[\n -~]*$/, 'printable ASCII alone');
    return text.slice(0, end).split('\n').slice(0, -1).map((line) => {
        const one = JSON.parse(line);
        assert.match(one.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        assert.ok(['request', 'session_end'].includes(one.event), line);
        return one;
    });
}

/*
 * A gateway for test `t` before one node, with a log in JSON; `more` is further
 * configuration. Gives {node, gateway, file, lines(), line(test), config}; line
 * resolves to the first one that has all members of `test`.
 */
export async function logged(t, more = {}, options)
{
    const [node] = await startNodes(t, 'n1');
    const file = path.join(folder(t), 'access.log');
    const config = { backend: specs(node), workers: 2, access_log: file,
                     access_log_format: 'json', ...more };
    const gateway = await configured(t, config, options);
    const lines = () => linesOf(file);

    async function line(test)
    {
        const wanted = Object.entries(test);
        const find = () => lines().find((one) =>
            wanted.every(([key, value]) => one[key] === value));
        await eventually(find, `a line with ${JSON.stringify(test)}`, 10_000);
        return find();
    }

    return { node, gateway, file, config, lines, line };
}

/* What is the same whenever it runs. */
export function steady(line)
{
    const { time, duration_ms: lasted, first_byte_ms: first, worker, ...rest } =
        line;
    assert.ok(worker === undefined || worker >= 0, `worker ${worker}`);
    assert.ok(first === undefined || (first >= 0 && first <= lasted),
              `${first} ms of ${lasted}`);
    return rest;
}
