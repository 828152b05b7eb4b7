/* SPDX-License-Identifier: MIT */
/* The gateway's own program is changed under living sessions. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  heldPolls,
  mixOf,
  secureTunnels,
  startCrowd,
  tunnels,
} from '../crowd.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { pointTo, pointToReal } from '../upgradable.mjs';
import { SLOW_FACTOR } from './findings.mjs';

const STALL_MS = 10_000; /* it is told, not judged */
const PING_MS = 4000; /* a held poll ends by then */
const LEAVE_MS = PING_MS + 40_000;
const STAY_MS = PING_MS + 10_000; /* nothing but tunnels of TLS stays longer */
const HUSH_MS = 60_000;
const TRIES = 3;
const STANDSTILL = /the workers do not stand still/;
const BETWEEN_MS = 1000;
const STANDS = 'n2';
const STAND_MS = 1500;
const RECOVERED = 'sidgate_routed_total{source="recovery"}';
const OPTIONS = { pingInterval: PING_MS, pingTimeout: 25_000 };

async function start(o, more = {}) {
  const fleet = await startFleet({
    replicas: o.replicas,
    options: OPTIONS,
    upgradable: true,
    ...more,
  });
  try {
    const crowd = await startCrowd({
      ports: fleet.ports,
      securePort: fleet.gateways[0].ports[1],
      processes: o.processes,
      specs: [
        ...tunnels(o.tunnels),
        ...mixOf(o.polling, { mode: 'polling' }),
        ...heldPolls(Math.ceil(o.polling / 4)),
        ...mixOf(Math.ceil(o.polling / 4), { mode: 'upgrade' }),
        ...secureTunnels(o.secure ?? 0),
      ],
    });
    await crowd.visitors(o.visitRate);
    return { fleet, crowd, slow: fleet.isSlow ? SLOW_FACTOR : 1 };
  } catch (error) {
    await fleet.stop();
    throw error;
  }
}

/* Nothing was lost, and nobody had to be asked whose a session is. */
async function judge({ fleet, crowd, slow }, since, findings) {
  await crowd.say();
  const report = await crowd.hush(HUSH_MS);
  const cut = await fleet.explain(report.ends(since));
  if (cut.length > 0) findings.note({ cut: cut.slice(0, 10) });
  findings.unnoticed(report, {
    since,
    ms: STALL_MS * slow,
    during: 'at all upgrades',
  });
  findings.whole(report);
  findings.none(await fleet.misroutes(), 'refusals by nodes');
  findings.equal(await fleet.probes(), 0, 'questions of recovery');
  findings.equal(await fleet.sum(RECOVERED), 0, 'bindings recovered');
  findings.none(
    fleet.gateways.flatMap(({ stderr }) =>
      stderr().split('\n').filter((line) => /Sanitizer|runtime err/.test(line)),
    ),
    'complaints of sanitizers',
  );
}

/* If the machine stands still just when the workers should, the upgrade fails,
 * rightly. */
async function upgradeAtLast(gateway, how, findings) {
  for (let left = TRIES - 1; ; left--) {
    const { error, ...done } = await gateway
      .upgrade(how)
      .catch((failure) => ({ error: failure }));
    if (!error) return done;
    if (left === 0 || !STANDSTILL.test(error.message)) throw error;
    findings.note({ 'upgrades that a machine prevented': TRIES - left });
  }
}

async function upgradeOne(gateway, how, findings) {
  const { pid, old, ms } = await upgradeAtLast(gateway, how, findings);
  findings.expect(pid !== old, `${gateway.name} is still process ${pid}`);
  const left = await gateway
    .leaves(old, LEAVE_MS)
    .catch(({ message }) => findings.expect(false, message));
  return { ms, left };
}

/* One while a node stands still, so that there is much which is half done: its
 * requests, new sessions, bytes that wait for it. */
async function upgradeBusy(fleet, gateway, how, findings) {
  await fleet.pause(STANDS);
  const resumed = pause(STAND_MS).then(() => fleet.resume(STANDS));
  await pause(STAND_MS / 2);
  await upgradeOne(gateway, how, findings);
  await resumed;
}

/*
 * o: {tunnels, polling, processes, visitRate, upgrades, replicas}: so many
 * upgrades of each gateway, by signal and by command in turn, every third while
 * a node stands still.
 */
export async function changeUpgrade(o, findings) {
  const all = await start(o);
  const { fleet, crowd } = all;
  try {
    const since = Date.now();
    const rounds = [];
    for (let i = 0; i < o.upgrades; i++)
      for (const gateway of fleet.gateways) {
        const how = i % 2 === 0 ? 'signal' : 'ctl';
        if (i % 3 === 1) {
          await upgradeBusy(fleet, gateway, how, findings);
          continue;
        }
        await pause(BETWEEN_MS);
        await crowd.mark();
        const round = await upgradeOne(gateway, how, findings);
        const worst = (await crowd.report()).worst();
        rounds.push({ ...round, stall: worst.ms });
      }
    const most = (what) => Math.max(...rounds.map((round) => round[what]));
    findings.note({
      upgrades: o.upgrades * fleet.gateways.length,
      'longest upgrade, ms': most('ms'),
      'longest stall, ms': most('stall'),
      'longest stay of an old process, ms': most('left'),
      'longest that workers stood still, ms': Math.max(
        ...fleet.gateways.flatMap(({ stderr }) =>
          [...stderr().matchAll(/\bstood_still_ms=(\d+)/g)].map(([, ms]) =>
            Number(ms),
          ),
        ),
      ),
    });
    await judge(all, since, findings);
  } finally {
    findings.logs = fleet.logs();
    await crowd.stop();
    await fleet.stop();
  }
}

async function fails(gateway, how, name, findings) {
  const { pid } = gateway;
  const error = await gateway.upgrade(how).then(
    () => null,
    ({ message }) => message,
  );
  findings.expect(error !== null, `the upgrade was done: ${name}`);
  findings.equal(gateway.pid, pid, `process after: ${name}`);
  for (const other of gateway.pids().filter((one) => one !== pid))
    await gateway
      .leaves(other, LEAVE_MS)
      .catch(({ message }) => findings.expect(false, message));
  findings.note({ [name]: error?.replace(/^\S+ \w+ /, '') });
}

/* A program that is none, or ends at once; each with whether it hangs. */
function brokenPrograms(fleet, o) {
  const script = (name, text) => {
    writeFileSync(fleet.file(name), text);
    chmodSync(fleet.file(name), 0o755);
    return fleet.file(name);
  };
  const programs = {
    'it ends with 1 at once': script('ends', '#!/bin/sh\nexit 1\n'),
    'it ends with 0 at once': script('ends0', '#!/bin/sh\nexit 0\n'),
    'it is killed': script('dies', '#!/bin/sh\nkill -9 $$\n'),
    'it is no program': script('text', 'not a program\n'),
    'it is not there': fleet.file('nothing'),
  };
  if (o.hangs)
    programs['it says nothing'] = script('mute', '#!/bin/sh\nexec sleep 600\n');
  return programs;
}

function received(fleet) {
  return Number(readFileSync(fleet.file('cut.count'), 'utf8'));
}

/* So many messages were received by a new process that took all over. Without
 * visitors, so that later ones are not less. */
async function countMessages({ fleet, crowd }, gateway, o, findings) {
  let total = 0;
  await crowd.visitors(0);
  await pause(BETWEEN_MS);
  writeFileSync(fleet.file('cut'), '0 count\n');
  await upgradeAtLast(gateway, 'ctl', findings);
  await until(
    () => (total = received(fleet)) > o.polling,
    LEAVE_MS,
    () => `${total} messages of a handover`,
  ); /* it is written anew with each */
  await crowd.visitors(o.visitRate);
  return total;
}

/* Where to end, of about `total`: connections come and go meanwhile, and later
 * than with the last message the new process is the gateway. */
function cutsOf(total) {
  const places = [1, 2, 3, total / 4, total / 2, total * 0.8];
  return [...new Set(places.map(Math.floor))].filter(
    (place) => place > 0 && place < total,
  );
}

/*
 * o: as for changeUpgrade(), and hangs: programs that say nothing, too. The new
 * process crashes at its start and at many places of the handover; the old one
 * goes on, and an upgrade works after all that.
 */
export async function changeUpgradeFails(o, findings) {
  const all = await start(o, { preload: true });
  const { fleet, crowd } = all;
  const [gateway] = fleet.gateways;
  try {
    const since = Date.now();
    await crowd.mark();
    for (const [name, file] of Object.entries(brokenPrograms(fleet, o))) {
      pointTo(fleet, file);
      await fails(gateway, 'signal', name, findings);
    }
    pointToReal(fleet);
    const total = await countMessages(all, gateway, o, findings);
    findings.note({ 'messages of a handover': total });
    for (const how of o.hangs ? ['end', 'hang'] : ['end'])
      for (const place of cutsOf(total)) {
        writeFileSync(fleet.file('cut'), `${place} ${how}\n`);
        const name = `${how} at message ${place}`;
        await fails(gateway, 'signal', name, findings);
      }
    rmSync(fleet.file('cut'));
    await upgradeOne(gateway, 'signal', findings);
    await judge(all, since, findings);
  } finally {
    findings.logs = fleet.logs();
    await crowd.stop();
    await fleet.stop();
  }
}

/* o: as for changeUpgrade(), and secure: tunnels of TLS, which stay with the
 * old process until they end. */
export async function changeUpgradeSecure(o, findings) {
  const all = await start(o, { listen: ['127.0.0.1:0', '127.0.0.1:0,tls'] });
  const { fleet, crowd } = all;
  const [gateway] = fleet.gateways;
  try {
    const since = Date.now();
    await crowd.mark();
    const { old } = await upgradeAtLast(gateway, 'signal', findings);
    await pause(STAY_MS);
    findings.expect(
      gateway.pids().includes(old),
      'the old process has left its tunnels of TLS',
    );
    await judge(all, since, findings);
    const report = await crowd.report();
    const secure = report.members.filter(({ kind }) => /TLS/.test(kind));
    findings.equal(secure.length, o.secure, 'tunnels of TLS');
    await crowd.leave(secure.map(({ id }) => id));
    const left = await gateway
      .leaves(old, LEAVE_MS)
      .catch(({ message }) => findings.expect(false, message));
    findings.note({ 'the old process left after, ms': left });
  } finally {
    findings.logs = fleet.logs();
    await crowd.stop();
    await fleet.stop();
  }
}
