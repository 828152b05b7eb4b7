/* SPDX-License-Identifier: MIT */
/* The configuration is read again and again, always another one. */
import { readdirSync, readlinkSync } from 'node:fs';
import { statusBytes } from '../../../support/process.mjs';
import { ctl, tryCtl } from '../ctl.mjs';
import { heldPolls, mixOf, startCrowd, tunnels } from '../crowd.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { SLOW_FACTOR, STALL_MS } from './findings.mjs';

const DONE = /^\S+ info reloaded\b/gm;
const REFUSED = /^\S+ error reload_failed\b/gm;
const DONE_MS = 60_000;
const BETWEEN_MS = 150;
const SETTLED_MS = 10_000; /* what the last reload had open is closed */
const WARM_SHARE = 0.25; /* of the reloads, before the first look */
const RSS_SLACK = 4 << 20; /* and a tenth of what it was */
const QUIET_MS = 60_000; /* idle connections to backends are gone */
const SOCKET_SLACK = 3;
const MISTAKE_EVERY = 7;
const SPARE = 'n4';

/* The i-th configuration: n1 and n2 are always there, n3 comes and goes with
 * its sessions, so does n4; weights, limits and checks change. */
export function configOf(fleet, i) {
  const has = (name) =>
    (name !== 'n3' || i % 4 !== 2) && (name !== SPARE || i % 2 === 1);
  const backends = [...fleet.nodes.keys()]
    .filter(has)
    .map((name, k) => `${fleet.spec(name)},weight=${1 + ((i + k) % 5)}`);
  return {
    backend: backends,
    health_check: i % 3 === 0 ? 'tcp' : 'off',
    health_interval: `${300 + 100 * (i % 4)}ms`,
    health_timeout: '300ms',
    health_fall: 20, /* no machine stands still for so long */
    balance: ['least-sessions', 'round-robin', 'random-two', 'hash'][i % 4],
    max_head: `${16 + (i % 3)}k`,
    max_sessions_per_backend: i % 2 ? 5000 + i : 0,
    head_timeout: `${10 + (i % 5)}s`,
    recovery_rate: 50 + i,
    drain_rate: 0,
  };
}

function mistakeOf(fleet, i) {
  const config = configOf(fleet, i);
  return [
    { ...config, backend: [...config.backend, 'no port'] },
    { ...config, balance: 'fastest' },
    { ...config, no_such_option: 1 },
  ][i % 3];
}

function matches(gateway, pattern) {
  return gateway.stderr().match(pattern)?.length ?? 0;
}

async function hangUp(gateway, pattern) {
  const before = matches(gateway, pattern);
  process.kill(gateway.pid, 'SIGHUP');
  await until(
    () => matches(gateway, pattern) > before,
    DONE_MS,
    () => `no answer to SIGHUP:\n${gateway.stderr().slice(-1500)}`,
  );
}

/* By signal and by command in turn. */
async function reload(gateway, i) {
  if (i % 2 === 0) await hangUp(gateway, DONE);
  else await ctl(gateway, 'reload');
}

async function refuse(gateway, i, findings) {
  if (i % 2 === 0) {
    await hangUp(gateway, REFUSED);
    return;
  }
  const { code, stderr } = await tryCtl(gateway, 'reload');
  findings.expect(
    code !== 0 && /\S/.test(stderr),
    `a mistake was not refused: ${code} ${stderr}`,
  );
}

/* What a process has: sockets come and go with the load, the rest does not. */
function held(pid) {
  const links = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  const sockets = links.filter((link) => link.startsWith('socket:')).length;
  return {
    sockets,
    other: links.length - sockets,
    rss: statusBytes(pid, 'VmRSS'),
  };
}

async function judgeGrowth(gateway, warm, findings, isSlow) {
  let end;
  await until(
    () => {
      end = held(gateway.pid);
      return end.other === warm.other;
    },
    SETTLED_MS,
    '',
  ).catch(() => {});
  const bound = warm.rss * 1.1 + RSS_SLACK;
  findings.equal(end.other, warm.other, `descriptors of ${gateway.name}`);
  findings.expect(
    isSlow || end.rss <= bound,
    `${gateway.name} grew from ${warm.rss} to ${end.rss} B`,
  );
  findings.note({
    [`${gateway.name}: RSS, MiB, after warming up and at the end`]: [
      (warm.rss / 2 ** 20).toFixed(1),
      (end.rss / 2 ** 20).toFixed(1),
    ],
  });
}

/* Without clients it has the sockets that it had before them. */
async function judgeQuiet(gateway, before, findings) {
  let now;
  await until(
    () => {
      now = held(gateway.pid);
      return now.sockets <= before.sockets + SOCKET_SLACK;
    },
    QUIET_MS,
    '',
  ).catch(() => {});
  findings.expect(
    now.sockets <= before.sockets + SOCKET_SLACK,
    `${gateway.name} has ${now.sockets} sockets, ${before.sockets} before`,
  );
  findings.note({
    [`${gateway.name}: sockets`]: [before.sockets, now.sockets],
  });
}

async function reloadAll({ fleet, crowd, slow }, o, findings) {
  const since = Date.now();
  let warm = null;
  let worst = 0;
  await crowd.mark();
  for (let i = 1; i <= o.reloads; i++) {
    const config = configOf(fleet, i);
    fleet.gateways.forEach(({ name }) => fleet.writeConfig(name, config));
    const at = Date.now();
    await Promise.all(fleet.gateways.map((gateway) => reload(gateway, i)));
    worst = Math.max(worst, Date.now() - at);
    if (i % MISTAKE_EVERY === 0) {
      const mistake = mistakeOf(fleet, i);
      fleet.gateways.forEach(({ name }) => fleet.writeConfig(name, mistake));
      for (const gateway of fleet.gateways) await refuse(gateway, i, findings);
    }
    await pause(BETWEEN_MS);
    if (i === Math.ceil(o.reloads * WARM_SHARE))
      warm = fleet.gateways.map(({ pid }) => held(pid));
  }
  const report = await crowd.report();
  findings.unnoticed(report, {
    since,
    ms: STALL_MS * slow,
    during: 'at reloads',
  });
  findings.note({ reloads: o.reloads, 'slowest reload, ms': worst });
  for (const [i, gateway] of fleet.gateways.entries())
    await judgeGrowth(gateway, warm[i], findings, fleet.isSlow);
}

/*
 * o: {sessions, tunnels, processes, reloads, visitRate, replicas}: so many
 * reloads, with other backends, weights and limits each time, a mistake now and
 * then, under sessions and new handshakes.
 */
export async function changeReload(o, findings) {
  const fleet = await startFleet({
    count: 4,
    replicas: o.replicas,
    listed: false,
    args: (one, i) => {
      const file = one.writeConfig(`gw${i + 1}`, configOf(one, 1));
      return ['--config', file];
    },
  });
  let crowd;
  try {
    const before = fleet.gateways.map(({ pid }) => held(pid));
    crowd = await startCrowd({
      ports: fleet.ports,
      processes: o.processes,
      specs: [
        ...mixOf(o.sessions),
        ...heldPolls(Math.ceil(o.sessions / 10)),
        ...tunnels(o.tunnels),
      ],
    });
    await crowd.visitors(o.visitRate);
    const slow = fleet.isSlow ? SLOW_FACTOR : 1;
    await reloadAll({ fleet, crowd, slow }, o, findings);
    await crowd.say();
    findings.whole(await crowd.hush());
    findings.none(await fleet.misroutes(), 'refusals by nodes');
    findings.equal(await fleet.probes(), 0, 'questions of recovery');
    await crowd.stop();
    crowd = null;
    for (const [i, gateway] of fleet.gateways.entries())
      await judgeQuiet(gateway, before[i], findings);
  } finally {
    findings.logs = fleet.logs();
    await crowd?.stop();
    await fleet.stop();
  }
}
