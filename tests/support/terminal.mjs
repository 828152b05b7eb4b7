/* SPDX-License-Identifier: MIT */
/* A program on a terminal of its own, as script(1) makes one. */

import { execFileSync, spawn } from 'node:child_process';

import { gatewayBinary } from './gateway.mjs';
import { eventually } from './wire.mjs';

const END_MS = 20_000;

function quote(word)
{
    return `'${word.replaceAll('\'', '\'\\\'\'')}'`;
}

/*
 * Runs `sidgate ...args` on a terminal of this size, which ends with test `t`.
 * Gives {text(), frame(), frames(), type(keys), resize(rows, columns), pid(),
 * ended()}. text() is all that came, frame() the lines of the last whole frame
 * without escapes; ended() resolves to {code, text, settings} with what the
 * shell saw afterwards.
 */
export async function onTerminal(t, args, { rows = 24, columns = 80,
                                            term = 'xterm' } = {})
{
    const program = [gatewayBinary(), ...args].map(quote).join(' ');
    const line = 'trap : INT QUIT; ' +
        `stty rows ${rows} cols ${columns}; echo "tty:$(tty):"; ` +
        `sh -c 'echo "pid:$$:"; exec "$0" "$@"' ${program}; ` +
        'echo "code:$?:"; stty -a; echo over';
    const own = Object.entries(process.env)
        .filter(([name]) => !name.startsWith('SIDGATE_'));
    const child = spawn('script', ['-qefc', line, '/dev/null'], {
        env: { ...Object.fromEntries(own), TERM: term, SHELL: '/bin/sh' },
        stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdin.on('error', () => {});
    child.stdout.setEncoding('latin1').on('data', (more) => (text += more));
    const exited = new Promise((resolve) => child.once('close', resolve));
    t.after(async () => {
        child.kill('SIGKILL');
        await exited;
    });
    const find = (name) => new RegExp(`${name}:([^:\r\n]+):`).exec(text)?.[1];
    await eventually(() => find('pid'), 'the program runs', END_MS);

    /* A frame begins with a move to the top left corner. */
    function frames()
    {
        return text.split('\u001b[H').slice(1);
    }

    return {
        text: () => text,
        frames,
        pid: () => Number(find('pid')),
        /* The last one but one is whole. */
        frame: () => (frames().at(-2) ?? '')
            .replace(/\u001b\[[?\d;]*[A-Za-z]/g, '').split(/\r?\n/),
        type: (keys) => child.stdin.write(keys),
        resize: (lines, width) => execFileSync('stty', [
            '-F', find('tty'), 'rows', String(lines), 'cols', String(width)]),
        async ended()
        {
            await eventually(() => /^over\r?$/m.test(text),
                             `the end\n${JSON.stringify(text.slice(-500))}`,
                             END_MS);
            const at = text.indexOf('code:');
            return { code: Number(find('code')), text: text.slice(0, at),
                     settings: text.slice(at) };
        },
    };
}
