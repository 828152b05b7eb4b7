/* SPDX-License-Identifier: MIT */
/* The access log: its file is renamed, its disk full, its reader stands still.
 * Traffic goes on, and no line is torn. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
    chownSync, existsSync, mkdirSync, readFileSync, renameSync, statSync,
} from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { linesOf, logged } from '../support/access-log.mjs';
import { bytesFor, folder } from '../support/configured.mjs';
import { spawnGateway } from '../support/gateway.mjs';
import { NO_LEAK_CHECK as env, refusesToStart, serve }
    from '../support/operator.mjs';
import { connect, eventually, exchange } from '../support/wire.mjs';

const ROOT_ONLY = process.getuid() !== 0 && 'only root can become another';
const LOST = 'sidgate_access_log_lost_total';

/* Sends requests, each with a path of its own, until stop() is called; that
 * resolves to how many were answered. */
function load(port, width = 4)
{
    let stops = false;
    let count = 0;
    const one = async (n) => {
        const wire = await connect(port);
        while (!stops) {
            wire.send(bytesFor(`/${n}-${count++}`));
            assert.equal((await wire.response()).status, 200);
        }
        wire.destroy();
    };
    const all = Promise.all(Array.from({ length: width }, (_, n) => one(n)));
    return {
        get count() { return count; },
        stop: async () => {
            stops = true;
            await all;
            return count;
        },
    };
}

/* So many, one after the other. */
async function ask(port, count)
{
    const wire = await connect(port);
    for (let i = 0; i < count; i++) {
        wire.send(bytesFor(`/${i}`));
        assert.equal((await wire.response()).status, 200);
    }
    wire.destroy();
}

const more = (running, by) => {
    const until = running.count + by;
    return eventually(() => running.count >= until, `${by} requests`, 30_000);
};

describe('SIGUSR1', () => {
    test('opens the file anew without a lost or torn line', async (t) => {
        const { gateway, file } = await logged(t);
        const running = load(gateway.port);
        const files = [file];
        for (let i = 1; i <= 5; i++) {
            await more(running, 100);
            files.push(`${file}.${i}`);
            renameSync(file, `${file}.${i}`);
            process.kill(gateway.pid, 'SIGUSR1');
            await eventually(() =>
                gateway.told('access_log_opened').length === i, 'a new file');
        }
        await more(running, 100);
        const sent = await running.stop();
        await gateway.stop();
        for (const one of files)
            assert.match(readFileSync(one, 'latin1'), /\}\n$/, one);
        const all = files.flatMap(linesOf).map((line) => line.path);
        assert.equal(all.length, sent);
        assert.equal(new Set(all).size, sent);
        assert.equal(statSync(file).mode & 0o777, 0o640);
    });

    test('keeps the old one where there can be no new one', async (t) => {
        const { gateway, file } = await logged(t);
        renameSync(file, `${file}.1`);
        mkdirSync(file);
        process.kill(gateway.pid, 'SIGUSR1');
        await eventually(() =>
            gateway.told('access_log_not_opened').length === 1, 'a line');
        assert.match(gateway.told('access_log_not_opened')[0],
                     / error .*Is a directory/);
        await exchange(gateway.port, bytesFor('/kept'));
        await eventually(() => linesOf(`${file}.1`).length === 1, 'the line');
    });
});

describe('a reload', () => {
    test('goes over to another file, another form, and none', async (t) => {
        const { gateway, file, config, line } = await logged(t);
        const next = path.join(path.dirname(file), 'next.log');
        await exchange(gateway.port, bytesFor('/a'));
        await line({ path: '/a' });
        await gateway.reload({ ...config, access_log: next });
        /* Until then lines go to the one before. */
        await eventually(() =>
            gateway.told('access_log_opened').length === 1, 'a new file');
        await gateway.settle();
        await exchange(gateway.port, bytesFor('/b'));
        await eventually(() => linesOf(next).length === 1, 'the next file');
        await gateway.reload({ ...config, access_log: next,
                               access_log_format: 'text' });
        await gateway.settle();
        await exchange(gateway.port, bytesFor('/c'));
        await eventually(() =>
            / path=\/c /.test(readFileSync(next, 'latin1')), 'text');
        const refused = await gateway.refuses({ ...config,
            access_log: '/no/such/folder/log' });
        assert.match(refused, /\/no\/such\/folder\/log: No such file/);
        await exchange(gateway.port, bytesFor('/d'));
        await eventually(() =>
            / path=\/d /.test(readFileSync(next, 'latin1')), 'as before');
        await gateway.reload({ ...config, access_log: '' });
        await gateway.settle();
        await exchange(gateway.port, bytesFor('/e'));
        await gateway.stop();
        assert.deepEqual(linesOf(file).map((one) => one.path), ['/a']);
        assert.doesNotMatch(readFileSync(next, 'latin1'), /\/e/);
    });
});

describe('what cannot be written', () => {
    test('for want of room is told of, and holds nobody up', async (t) => {
        const { gateway } = await logged(t, { access_log: '/dev/full' });
        await exchange(gateway.port, bytesFor('/x'));
        await eventually(() => gateway.told('access_log_failed').length === 1,
                         'a warning');
        assert.match(gateway.told('access_log_failed')[0],
                     / warning .*file=\/dev\/full why="No space left/);
        const running = load(gateway.port);
        await more(running, 500);
        await running.stop();
        assert.equal(gateway.told('access_log_failed').length, 1);
        const since = Date.now();
        await gateway.stop();
        assert.ok(Date.now() - since < 8000, 'the end waits for a second');
    });

    test('is written once there is room', async (t) => {
        const { gateway, file, lines, line } = await logged(t);
        await exchange(gateway.port, bytesFor('/first'));
        await line({ path: '/first' });
        const limit = (size) => execFileSync('prlimit',
            ['--pid', `${gateway.pid}`, `--fsize=${size}:unlimited`]);
        limit(statSync(file).size + 1000);
        /* Few enough that all of their lines can wait. */
        await ask(gateway.port, 150);
        await eventually(() => gateway.told('access_log_failed').length === 1,
                         'a warning', 10_000);
        await ask(gateway.port, 150);
        assert.match(gateway.told('access_log_failed')[0], /File too large/);
        limit('unlimited');
        await eventually(() => gateway.told('access_log_resumed').length === 1,
                         'its end', 10_000);
        await gateway.stop();
        const lost = gateway.told('access_log_resumed')[0];
        assert.match(lost, / lost=0$/);
        assert.equal(lines().length, 301);
    });
});

describe('standard output', () => {
    const run = async (t, args) => {
        const gateway = await serve(t, ['--admin', '127.0.0.1:0',
            '--access-log', 'stdout', '--access-log-format', 'json', ...args]);
        return gateway;
    };

    test('takes the lines', async (t) => {
        const gateway = await run(t, []);
        await exchange(gateway.port, bytesFor('/out'));
        await eventually(() => /"path":"\/out"/.test(gateway.stdout()),
                         'the line');
        process.kill(gateway.pid, 'SIGUSR1');
        await exchange(gateway.port, bytesFor('/more'));
        await eventually(() => /"path":"\/more"/.test(gateway.stdout()),
                         'the next line');
    });

    test('whose reader stands still holds nobody up', async (t) => {
        const gateway = await run(t, []);
        const lost = async () => {
            const answer = await exchange(gateway.admin.port,
                bytesFor('/metrics', { host: '127.0.0.1' }),
                'GET', { secure: false });
            return Number(new RegExp(`^${LOST} (\\d+)$`, 'm')
                .exec(answer.text)?.[1]);
        };
        gateway.child.stdout.pause();
        const wire = await connect(gateway.port, { secure: false });
        const agent = `User-Agent: ${'"'.repeat(128)}\r\n`;
        const bytes = bytesFor(`/${'\\'.repeat(200)}`, { fields: agent });
        const says = (event, more) => eventually(() => new RegExp(
            `warning ${event} file=stdout ${more}`).test(gateway.stderr()),
        event, 10_000);
        assert.equal(await lost(), 0);
        for (let sent = 0; await lost() === 0; sent += 500) {
            assert.ok(sent < 20_000, 'nothing is lost');
            wire.send(bytes.repeat(500));
            for (let i = 0; i < 500; i++)
                assert.equal((await wire.response()).status, 200);
        }
        await says('access_log_failed', 'why="its reader takes nothing"');
        gateway.child.stdout.resume();
        await says('access_log_resumed', 'lost=[1-9]');
        wire.destroy();
        await gateway.stop();
        const text = gateway.stdout();
        assert.match(text, /\}\n$/);
        text.trim().split('\n').forEach((line) => JSON.parse(line));
    });

    test('that is closed holds nobody up', async (t) => {
        const gateway = await run(t, []);
        gateway.child.stdout.destroy();
        await exchange(gateway.port, bytesFor('/x'));
        await eventually(() => /access_log_failed .*why="Broken pipe"/
            .test(gateway.stderr()), 'a warning');
        await exchange(gateway.port, bytesFor('/x'));
    });
});

describe('the option', () => {
    const args = ['--listen', '127.0.0.1:0', '--backend', '127.0.0.1:1'];
    const cases = [['/', 'Is a directory'],
                   ['/no/such/folder/log', 'No such file or directory']];

    test('must be a file that can be written', async () => {
        for (const [file, why] of cases) {
            for (const [last, code] of [[[], 1], [['--check'], 2]]) {
                const end = await refusesToStart(
                    [...args, '--access-log', file, ...last]);
                assert.equal(end.line, `sidgate: access-log: ${file}: ${why}`);
                assert.equal(end.code, code);
            }
        }
    });

    test('makes no file where it is only checked', async (t) => {
        const file = path.join(folder(t), 'log');
        const run = spawnGateway([...args, '--access-log', file, '--check']);
        assert.deepEqual(await run.exited, { code: 0, signal: null });
        assert.ok(!existsSync(file));
    });

    test('gives the file to --user, who opens it again',
         { skip: ROOT_ONLY }, async (t) => {
        const where = folder(t);
        const uid = Number(execFileSync('id', ['-u', 'nobody']));
        chownSync(where, uid, uid);
        const file = path.join(where, 'log');
        const gateway = await serve(t, ['--access-log', file, '--user',
                                        'nobody'], { env });
        assert.equal(statSync(file).uid, uid);
        renameSync(file, `${file}.1`);
        process.kill(gateway.pid, 'SIGUSR1');
        await eventually(() => existsSync(file), 'a new file');
        assert.equal(statSync(file).uid, uid);
    });
});
