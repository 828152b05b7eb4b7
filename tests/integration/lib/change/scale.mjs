/* SPDX-License-Identifier: MIT */
/* From three nodes to six and back, by command, with sessions living. */
import { mixOf, startCrowd } from '../crowd.mjs';
import { ctl } from '../ctl.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { SLOW_FACTOR, STALL_MS } from './findings.mjs';
import { comebacks } from './nodes.mjs';

const BACKOFF_MS = 200;
const BACK_MS = 5000; /* beyond the clients' own backoff */
const SETTLE_MS = 2000;
const FORGOTTEN_MS = 20_000;
const LEFT_MS = 20_000;
const NEW = ['n4', 'n5', 'n6'];
const KILLED = 'n6';

/* The ids in `sidgate ctl backends --json`. */
export async function listed(gateway) {
  const text = await ctl(gateway, 'backends', '--json');
  return [...text.matchAll(/"id":\s*"([^"]+)"/g)].map(([, id]) => id);
}

async function grow({ fleet, crowd, slow }, o, findings) {
  const at = Date.now();
  await crowd.mark();
  for (const name of NEW) {
    await fleet.start(name);
    await fleet.ctl('add', fleet.spec(name));
  }
  await pause(SETTLE_MS);
  const second = await crowd.join(mixOf(o.sessions));
  const report = await crowd.report();
  const home = report.livesAt(Date.now());
  const used = new Set(second.map((id) => home.get(id).node));
  findings.none(
    NEW.filter((name) => !used.has(name)),
    'new nodes without sessions',
  );
  findings.unnoticed(report, {
    since: at,
    ms: STALL_MS * slow,
    during: 'at growing',
  });
  findings.note({ 'with six nodes': report.byNode() });
  return second;
}

/* They get nothing new, and all who are there stay. */
async function shrink({ fleet, crowd, slow }, findings) {
  await crowd.mark();
  const before = (await crowd.report()).byNode();
  for (const name of NEW) await fleet.ctl('remove', name);
  const at = Date.now();
  await pause(SETTLE_MS);
  const report = await crowd.report();
  findings.unnoticed(report, {
    since: at,
    ms: STALL_MS * slow,
    during: 'at shrinking',
  });
  findings.equal(
    JSON.stringify(Object.entries(report.byNode()).sort()),
    JSON.stringify(Object.entries(before).sort()),
    'sessions by node',
  );
  findings.none(
    report.visits.filter(
      (visit) => NEW.includes(visit.node) && visit.at > at + SETTLE_MS / 4,
    ),
    'visits to removed nodes',
  );
}

async function killRemoved({ fleet, crowd, slow }, findings) {
  const victims = (await crowd.report()).on(KILLED);
  /* No visitor is there any more. */
  await until(
    async () => (await fleet.liveOn(KILLED)).length === victims.length,
    LEFT_MS,
    `others than ${victims.length} sessions are on ${KILLED}`,
  );
  await crowd.mark();
  const { at } = await fleet.kill(KILLED);
  await pause((SETTLE_MS + BACKOFF_MS) * slow);
  await crowd.connected();
  const report = await crowd.report();
  findings.unnoticed(report, {
    since: at,
    except: victims,
    ms: STALL_MS * slow,
    during: 'at the death of a removed node',
  });
  findings.none(
    comebacks(report, victims, at).filter(
      ({ ms, lives, node }) =>
        ms > (BACK_MS + BACKOFF_MS) * slow ||
        lives !== 1 ||
        NEW.includes(node),
    ),
    'sessions of the killed node that came back late, twice or elsewhere',
  );
  findings.note({ 'sessions of the killed node': victims.length });
}

/* After its last session. Not with several replicas: one that ended through
 * another is counted until its record expires. */
async function forgotten({ fleet }, findings) {
  let left = [];
  await until(
    async () => {
      const all = await Promise.all(fleet.gateways.map(listed));
      left = all.flat().filter((id) => NEW.includes(id));
      return left.length === 0;
    },
    FORGOTTEN_MS,
    '',
  ).catch(() => {});
  findings.none(left, 'removed nodes that are not forgotten');
}

/* o: {sessions, processes, visitRate, replicas}; sessions join once more when
 * there are six nodes. */
export async function changeScale(o, findings) {
  const fleet = await startFleet({ replicas: o.replicas });
  let crowd;
  try {
    crowd = await startCrowd({
      ports: fleet.ports,
      processes: o.processes,
      specs: mixOf(o.sessions),
      reconnectMs: BACKOFF_MS,
    });
    await crowd.visitors(o.visitRate);
    const all = { fleet, crowd, slow: fleet.isSlow ? SLOW_FACTOR : 1 };
    await grow(all, o, findings);
    await shrink(all, findings);
    await killRemoved(all, findings);
    findings.whole(await crowd.hush());
    findings.none(await fleet.misroutes(), 'refusals by nodes');
    const report = await crowd.report();
    await crowd.leave(NEW.flatMap((name) => report.on(name)));
    if (o.replicas === 0)
      await forgotten(all, findings);
  } finally {
    findings.logs = fleet.logs();
    await crowd?.stop();
    await fleet.stop();
  }
}
