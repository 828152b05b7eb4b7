/* SPDX-License-Identifier: MIT */
/* A node is drained at a pace, and let in again. */
import { mixOf, startCrowd } from '../crowd.mjs';
import { ctl } from '../ctl.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { SLOW_FACTOR, STALL_MS } from './findings.mjs';
import { comebacks } from './nodes.mjs';

const BACKOFF_MS = 200;
const BACK_MS = 5000; /* beyond the clients' own backoff */
const SETTLE_MS = 2000;
const TOLD_MS = 4000; /* all replicas know by then: they read once a second */
const PATIENCE_MS = 60_000;
const SLACK_MS = 20_000;
/* A node that answers a poll in the moment of its close has no poll left to see
 * it by: such a session, of which there are few, ends by the node's own clock,
 * 45 s after its last ping. */
const CROSSED = 2;
const CROSSED_MS = 60_000;
const UNDRAIN_MS = 8000;
const TOLERANCE = 0.1; /* four times that with sanitizers */
const ROUGHLY = 2; /* times that where the machine stood still */
const SHARE = 8; /* the weight of the node to drain; the others have 1 */
const STEP = 20; /* events, of which a rough rate is taken */
const NAME = 'n1';

/* Events a second between the first tenth and the last, by least squares. */
export function rateOf(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const cut = Math.floor(sorted.length / 10);
  const inner = sorted.slice(cut, sorted.length - cut);
  const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
  const t = mean(inner);
  const k = mean(inner.map((_, i) => i));
  let over = 0;
  let under = 0;
  inner.forEach((time, i) => {
    over += (time - t) * (i - k);
    under += (time - t) ** 2;
  });
  return (over / under) * 1000;
}

/* The same where the machine stood still, less exactly: the median of what each
 * STEP of them took. It is in few of these, and so is what is made up for. */
export function roughRateOf(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const steps = sorted
    .slice(STEP)
    .map((time, i) => time - sorted[i])
    .sort((a, b) => a - b);
  const middle = steps.length / 2;
  const median =
    (steps[Math.ceil(middle) - 1] + steps[Math.floor(middle)]) / 2;
  return (STEP / median) * 1000;
}

/* Most events in any second. */
export function peakOf(times) {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted.reduce((most, time, i) => {
    const within = sorted.slice(i).filter((other) => other < time + 1000);
    return Math.max(most, within.length);
  }, 0);
}

const WAYS = {
  ctl: {
    drain: ({ gateways }, rate) =>
      ctl(gateways[0], 'drain', NAME, '--rate', String(rate)),
    undrain: ({ gateways }) => ctl(gateways[0], 'undrain', NAME),
  },
  redis: {
    drain: ({ redis }) => redis.cli('HSET', 'sidgate:admin', NAME, 'drain'),
    undrain: ({ redis }) => redis.cli('HSET', 'sidgate:admin', NAME, 'ready'),
  },
};

async function drained({ fleet, crowd }, victims, rate, findings) {
  let left = [];
  const emptied = (ms) =>
    until(
      async () => {
        left = await fleet.liveOn(NAME);
        return left.length === 0;
      },
      ms,
      '',
    ).catch(() => {});
  await emptied((victims.length / rate) * 1000 + SLACK_MS);
  if (left.length > 0 && left.length <= CROSSED) {
    findings.note({ 'ended by the node itself': left.length });
    await emptied(CROSSED_MS);
  }
  const { members } = await crowd.report();
  const whose = left.map((sid) => {
    const isIts = ({ lives }) => lives.some((life) => life.sid === sid);
    const member = members.find(isIts);
    return { sid, kind: member?.kind ?? 'visitor', lives: member?.lives };
  });
  findings.none(whose, `sessions are still on ${NAME}`);
}

function judgePace({ times, stood: apart }, rate, slow, findings) {
  const whole = findings.still.within(Math.min(...times), Math.max(...times));
  const stood = Math.max(whole, apart);
  const measured = stood > 0 ? roughRateOf(times) : rateOf(times);
  const more = slow > 1 ? 4 : stood > 0 ? ROUGHLY : 1;
  findings.expect(
    Math.abs(measured / rate - 1) <= TOLERANCE * more,
    `${measured.toFixed(2)} sessions were closed each second, not ${rate}`,
  );
  findings.note({
    'sessions closed': times.length,
    'closed each second': Number(measured.toFixed(2)),
    'the same, roughly': Number(roughRateOf(times).toFixed(2)),
    'a process of the test stood still meanwhile, ms': stood,
    'most in one second': peakOf(times),
  });
}

async function letIn(fleet, crowd, way, findings) {
  await way.undrain(fleet);
  const at = Date.now();
  await until(
    async () =>
      (await crowd.report()).visits.some(
        (visit) => visit.at > at && visit.node === NAME,
      ),
    UNDRAIN_MS,
    'no new session after undrain',
  ).catch(({ message }) => findings.expect(false, message));
}

async function drain({ fleet, crowd, slow }, o, findings) {
  const way = WAYS[o.by];
  await crowd.mark();
  const before = await crowd.report();
  const victims = before.on(NAME);
  findings.expect(
    victims.length >= o.sessions,
    `only ${victims.length} sessions were on ${NAME}`,
  );
  const at = Date.now();
  const said = fleet.said('backend_drained', NAME);
  await way.drain(fleet, o.rate);
  const told = await fleet.haveSaid(
    'backend_drained', NAME, said, PATIENCE_MS,
  );
  const took = findings.still.since(at, told);
  findings.expect(took <= TOLD_MS, `${took} ms until all knew of the drain`);
  await drained({ fleet, crowd }, victims, o.rate, findings);
  const over = Date.now();
  await pause((BACKOFF_MS + SETTLE_MS) * slow);
  await crowd.connected();
  const report = await crowd.report();
  judgePace(report.endTimes(at), o.rate, slow, findings);
  const back = comebacks(report, victims, at);
  findings.none(
    back.filter(
      ({ node, afterEnd, lives }) =>
        node === NAME ||
        lives !== 1 ||
        afterEnd > (BACKOFF_MS + BACK_MS) * slow,
    ),
    'closed sessions that came back late, twice or to the drained node',
  );
  findings.unnoticed(report, {
    since: at,
    except: victims,
    ms: STALL_MS * slow,
    during: 'on other nodes',
  });
  findings.none(report.errors(at), 'errors of connecting anew');
  findings.none(
    report.visits.filter(
      (visit) =>
        visit.node === NAME && visit.at > told && visit.at < over,
    ),
    'visits to the drained node',
  );
  await letIn(fleet, crowd, way, findings);
}

/*
 * o: {sessions, rate, by, processes}: at least so many sessions on one of
 * three nodes, which is drained with so many closed each second; by `ctl` at
 * one gateway or through `redis` at two.
 */
export async function changeDrain(o, findings) {
  const fleet = await startFleet({
    replicas: o.by === 'redis' ? 2 : 0,
    more: { [NAME]: `,weight=${SHARE}` },
    args: o.by === 'redis' ? ['--drain-rate', String(o.rate)] : [],
  });
  let crowd;
  try {
    crowd = await startCrowd({
      ports: fleet.ports,
      specs: mixOf(Math.ceil((o.sessions * (SHARE + 2) * 1.05) / SHARE) + 4),
      processes: o.processes,
      reconnectMs: BACKOFF_MS,
    });
    await crowd.visitors(5);
    const slow = fleet.isSlow ? SLOW_FACTOR : 1;
    await drain({ fleet, crowd, slow }, o, findings);
    findings.whole(await crowd.hush());
    findings.none(await fleet.misroutes(), 'refusals by nodes');
  } finally {
    findings.logs = fleet.logs();
    await crowd?.stop();
    await fleet.stop();
  }
}
