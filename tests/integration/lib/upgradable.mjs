/* SPDX-License-Identifier: MIT */
/*
 * Gateways whose process changes under them: they are started through a link,
 * which may be made to lead elsewhere, and all their processes are known by a
 * word in the environment, which each hands to the next.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gatewayBinary } from '../../support/gateway.mjs';
import { ctl } from './ctl.mjs';
import { until } from './wait.mjs';

const TAG = 'GATEWAY_OF_TEST';
const DONE_MS = 60_000;
const STOP_MS = 40_000;
const tag = randomUUID();

/* Living processes of gateways that this run started, as {pid, args}. */
function processes() {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
      if (!environment.split('\0').includes(`${TAG}=${tag}`)) return [];
      const args = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
      return [{ pid: Number(pid), args }];
    } catch {
      return []; /* it has ended, or is nobody's of ours */
    }
  });
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    /* it has ended */
  }
}

process.on('exit', () =>
  processes().forEach(({ pid }) => signal(pid, 'SIGKILL')),
);

/* Makes the gateways' program be another file. */
export function pointTo(fleet, file) {
  rmSync(fleet.file('sidgate'), { force: true });
  symlinkSync(file, fleet.file('sidgate'));
}

export function pointToReal(fleet) {
  pointTo(fleet, gatewayBinary());
}

/* Builds what ends processes half-way; gives the environment that has it. */
function cutShort(fleet) {
  const source = new URL('../../support/cut_short.c', import.meta.url);
  const library = fleet.file('cut_short.so');
  execFileSync('cc', [
    '-D_GNU_SOURCE',
    '-shared',
    '-fPIC',
    '-o',
    library,
    fileURLToPath(source),
    '-ldl',
  ]);
  const { ASAN_OPTIONS = '' } = process.env;
  return {
    LD_PRELOAD: library,
    CUT_SHORT: fleet.file('cut'),
    ASAN_OPTIONS: `${ASAN_OPTIONS}:verify_asan_link_order=0`,
  };
}

/* What startGateway() needs for one; preload: so that it can be cut short. */
export function programOf(fleet, preload) {
  pointToReal(fleet);
  return {
    binary: fleet.file('sidgate'),
    env: { [TAG]: tag, ...(preload ? cutShort(fleet) : {}) },
  };
}

/* Gives `gateway` {pid, pids(), upgrade(how), leaves(pid, ms)} of its own;
 * upgrade() resolves to {pid, old, ms} or throws with why it failed. */
export function makeUpgradable(gateway) {
  const { stop: stopFirst, pid: first } = gateway;
  const mine = ({ args }) => args.includes(gateway.name);
  const pids = () => processes().filter(mine).map(({ pid }) => pid);
  let current = first;

  /* Whole lines: the last one may still be on its way. */
  const said = (event) =>
    gateway.stderr().split('\n').slice(0, -1)
      .filter((line) => new RegExp(`^\\S+ \\w+ ${event}\\b`).test(line));
  const failures = () => said('upgrade_failed');

  async function upgrade(how) {
    const old = current;
    const began = Date.now();
    const done = said('upgraded').length;
    const failed = failures().length;
    const isOver = () =>
      said('upgraded').length > done || failures().length > failed;
    if (how === 'signal') process.kill(current, 'SIGUSR2');
    else await ctl(gateway, 'upgrade').catch(() => {});
    await until(
      isOver,
      DONE_MS,
      () => `no end of the upgrade:\n${gateway.stderr().slice(-2000)}`,
    );
    if (failures().length > failed) throw new Error(failures().at(-1));
    const line = said('upgraded').at(-1);
    current = Number(/\bpid=(\d+)/.exec(line)[1]);
    return { pid: current, old, ms: Date.now() - began };
  }

  /* An old process ends by itself. */
  async function leaves(pid, ms) {
    const began = Date.now();
    await until(
      () => !pids().includes(pid),
      ms,
      () => `${gateway.name}: process ${pid} is still there after ${ms} ms`,
    );
    return Date.now() - began;
  }

  async function stop(name = 'SIGTERM') {
    if (current === first && pids().length <= 1) return stopFirst(name);
    pids().forEach((pid) => signal(pid, name));
    await until(
      () => pids().length === 0,
      STOP_MS,
      () => `${gateway.name} does not end:\n${gateway.stderr().slice(-2000)}`,
    );
    return { code: 0, signal: null };
  }

  Object.defineProperty(gateway, 'pid', { get: () => current });
  return Object.assign(gateway, { pids, upgrade, leaves, stop });
}
