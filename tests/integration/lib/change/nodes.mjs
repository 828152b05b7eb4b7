/* SPDX-License-Identifier: MIT */
/* A node is killed, one stands still, one comes back. */
import { mixOf, startCrowd } from '../crowd.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { SLOW_FACTOR, STALL_MS } from './findings.mjs';

const BACKOFF_MS = 200;
const BACK_MS = 5000; /* beyond the clients' own backoff */
const SETTLE_MS = 2500;
const IN_FLIGHT_MS = 50;
const NOTICED_MS = 5000; /* by health checks */
const PATIENCE_MS = 60_000; /* until they have, on any machine */
const KNOWN_MS = 1500; /* how long it stands still after that, at least */
const SHARE_MS = 30_000; /* a visit may take its time */
const DEVIATIONS = 4;

/* One bad check, or two, may be the machine's. */
export const HEALTH_ARGS = [
  ['--health-check', 'http'],
  ['--health-path', '/healthz'],
  ['--health-status', '200'],
  ['--health-interval', '500ms'],
  ['--health-timeout', '500ms'],
  ['--health-rise', '2'],
  ['--health-fall', '4'],
].flat();

/* How each of `ids` came back after `at`: ms until it did, and its lives. */
export function comebacks(report, ids, at) {
  return ids.map((id) => {
    const { kind, lives } = report.member(id);
    const i = lives.findIndex(
      ({ from, to }) => from <= at && (to === null || to > at),
    );
    const next = lives[i + 1];
    return {
      id,
      kind,
      ms: next ? next.from - at : Infinity,
      afterEnd: next ? next.from - lives[i].to : Infinity,
      node: next?.node,
      lives: lives.length - i - 1,
    };
  });
}

async function killOne({ fleet, crowd, slow }, name, findings) {
  await crowd.mark();
  const victims = (await crowd.report()).on(name);
  const { at, gone } = await fleet.kill(name);
  await pause(SETTLE_MS * slow);
  await crowd.connected();
  const report = await crowd.report();
  const back = comebacks(report, victims, at);
  const bound = (BACK_MS + BACKOFF_MS) * slow;
  findings.expect(victims.length > 0, `no session was on ${name}`);
  findings.none(
    back.filter(({ ms, lives }) => ms > bound || lives !== 1),
    `came back late or more than once`,
  );
  findings.unnoticed(report, {
    since: at,
    except: victims,
    ms: STALL_MS * slow,
    during: 'at the death of another node',
  });
  findings.none(
    report.failedVisits.filter((visit) => visit.at > gone + IN_FLIGHT_MS),
    'failed visits after a node died',
  );
  findings.note({
    'sessions of the dead node': victims.length,
    'all were back after, ms': Math.max(...back.map(({ ms }) => ms)),
  });
  return report.failedVisits.length;
}

/* The one with the fewest sessions, since visitors are given to it. */
async function stopOne({ fleet, crowd, slow }, ms, findings) {
  await crowd.mark();
  const before = await crowd.report();
  const [[name]] = Object.entries(before.byNode()).sort((a, b) => a[1] - b[1]);
  const theirs = before.on(name);
  const lives = before.livesAt(Date.now());
  const at = Date.now();
  const said = fleet.said('backend_down', name);
  await fleet.pause(name);
  const noticed = await fleet.haveSaid(
    'backend_down', name, said, PATIENCE_MS,
  );
  await pause(Math.max(KNOWN_MS * slow, at + ms - Date.now()));
  const stood = Date.now() - at;
  const meanwhile = await crowd.report();
  const records = await Promise.all(
    theirs.map((id) =>
      fleet.redis.hash(`sidgate:session:${lives.get(id).sid}`),
    ),
  );
  fleet.resume(name);
  await pause(SETTLE_MS);
  const report = await crowd.report();
  findings.expect(theirs.length > 0, `no session was on ${name}`);
  findings.none(
    records.filter(({ backend }) => backend !== name),
    'sessions unbound while their node stood still',
  );
  findings.unnoticed(meanwhile, {
    since: at,
    except: theirs,
    ms: STALL_MS * slow,
    during: 'while another node stood still',
  });
  findings.unnoticed(report, {
    since: at,
    ms: stood + STALL_MS * slow,
    during: 'at the node that stood still',
  });
  const took = findings.still.since(at, noticed);
  findings.expect(
    took <= NOTICED_MS * slow,
    `health checks took ${took} ms to notice that ${name} stands still`,
  );
  findings.none(
    report.visits.filter(
      (visit) =>
        visit.at > noticed + IN_FLIGHT_MS &&
        visit.at < at + stood &&
        (visit.node === name || findings.still.since(visit.at, visit.at + visit.ms) >
            STALL_MS * slow),
    ),
    'visits to a node that was known to stand still',
  );
  const waited = report.visits.filter(
    (visit) => visit.at > at && visit.ms > STALL_MS * slow,
  );
  findings.note({
    'sessions that stood still': theirs.length,
    'all gateways had noticed after, ms': noticed - at,
    'visits that waited for their node': waited.length,
  });
}

/* Visits to a node that began its slow start at `at` or later, against what
 * the ramp allows: the number of choices of which it was a part, and
 * DEVIATIONS of that. A visit's node was chosen before its end. */
export function judgeRamp(visits, { name, at, rampMs, part = 1 }, findings) {
  const of = visits.filter(
    (visit) => visit.at >= at && visit.at < at + rampMs * part,
  );
  let most = 0;
  let variance = 0;
  for (const visit of of) {
    const p = Math.min(1, (visit.at + visit.ms - at) / rampMs);
    most += p;
    variance += p * (1 - p);
  }
  const bound = most + DEVIATIONS * Math.sqrt(variance) + 1;
  const got = of.filter(({ node }) => node === name).length;
  findings.expect(
    got <= bound,
    `${got} of ${of.length} visits in the first ${rampMs * part} ms were ` +
      `to the fresh node, at most ${bound.toFixed(1)} are allowed`,
  );
  findings.note({
    [`visits to the fresh node in ${Math.round(rampMs * part)} ms`]:
      `${got} of ${of.length}, on the ramp ${most.toFixed(1)}, ` +
      `allowed ${bound.toFixed(1)}`,
  });
  return got;
}

async function bringBack({ fleet, crowd }, name, o, findings) {
  await crowd.visitors(o.rampRate);
  const at = Date.now();
  await fleet.start(name);
  await pause(o.slowStartMs + SETTLE_MS);
  const { visits } = await crowd.report();
  for (const part of [1 / 3, 1])
    judgeRamp(visits, { name, at, rampMs: o.slowStartMs, part }, findings);
  await until(
    async () =>
      (await crowd.report()).visits.some(
        (visit) => visit.at > at + o.slowStartMs && visit.node === name,
      ),
    SHARE_MS,
    'the fresh node gets no sessions',
  ).catch(({ message }) => findings.expect(false, message));
}

/*
 * o: {sessions, processes, stopMs, slowStartMs, visitRate, rampRate, args}. One
 * of three nodes before two replicas is killed, another stopped for stopMs, the
 * first started again.
 */
export async function changeNodes(o, findings) {
  const fleet = await startFleet({
    replicas: 2,
    args: o.args ?? [...HEALTH_ARGS, '--slow-start', `${o.slowStartMs}ms`],
  });
  let crowd;
  try {
    const slow = fleet.isSlow ? SLOW_FACTOR : 1;
    crowd = await startCrowd({
      ports: fleet.ports,
      specs: mixOf(o.sessions),
      processes: o.processes,
      reconnectMs: BACKOFF_MS,
    });
    const all = { fleet, crowd, slow };
    await pause(o.slowStartMs);
    await crowd.visitors(o.visitRate);
    await pause(SETTLE_MS);
    findings.note({ sessions: (await crowd.report()).byNode() });
    const inFlight = await killOne(all, 'n1', findings);
    await stopOne(all, o.stopMs, findings);
    await bringBack(all, 'n1', o, findings);
    const report = await crowd.hush();
    report.failedVisits.splice(0, inFlight); /* judged by killOne() */
    findings.whole(report);
    findings.none(await fleet.misroutes(), 'refusals by nodes');
  } finally {
    findings.logs = fleet.logs();
    await crowd?.stop();
    await fleet.stop();
  }
}
