/* SPDX-License-Identifier: MIT */
/* What the kernel knows of a running gateway. */

import { readdirSync, readFileSync } from 'node:fs';

import { eventually } from './wire.mjs';

const MS_PER_TICK = 10;

/* A size in /proc/<pid>/status, in bytes. */
export function statusBytes(pid, name)
{
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm');
    return Number(line.exec(status)[1]) * 1024;
}

/* Sanitizers keep what is freed for a while; they show by their shadow. */
export function isSanitized(pid)
{
    return statusBytes(pid, 'VmSize') > 2 ** 40;
}

/* The fields of /proc/<pid>/stat behind the name: state first. */
function stat(pid)
{
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

export function cpuMs(pid)
{
    const fields = stat(pid);
    return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}

export function descriptors(pid)
{
    return readdirSync(`/proc/${pid}/fd`).map(Number);
}

/* The limit at which there is none left for it: the lowest that is free is what
 * it would be given next. */
export function spentLimit(pid)
{
    const used = new Set(descriptors(pid));
    let free = 0;
    while (used.has(free))
        free++;
    return free;
}

/* Holds a process, and returns when no thread of it runs any more. */
export async function suspend(pid)
{
    process.kill(pid, 'SIGSTOP');
    const tasks = readdirSync(`/proc/${pid}/task`);
    await eventually(() => tasks.every((task) =>
        stat(`${pid}/task/${task}`)[0] === 'T'), `${pid} stopped`);
}
