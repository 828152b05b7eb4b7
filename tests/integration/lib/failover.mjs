/* SPDX-License-Identifier: MIT */
/*
 * What a failover or a resharding costs: real nodes behind two gateways that
 * share a Redis deployment, a crowd of sessions and 50 handshakes a second for
 * the whole time, each request through another gateway than the last one.
 *
 * With $SIDGATE_SESSIONS and $SIDGATE_HANDSHAKES (a second) set these are the
 * numbers; else 500 and 50, and a tenth of it for a gateway with sanitizers.
 */
import { isSanitized } from '../../support/process.mjs';
import { startReplicas, stopReplicas } from '../../support/replicas.mjs';
import { SLOW_FACTOR, judged } from './change/findings.mjs';
import { judge, startCluster } from './cluster.mjs';
import { mixOf, startCrowd } from './crowd.mjs';
import { pause, until } from './wait.mjs';

const SESSIONS = 500;
const HANDSHAKES = 50;
const SANITIZED_PART = 0.1;
const EVERY_MS = 4000;
const SAMPLE_MS = 100;
const BACK_MS = 40_000;
const QUIET_MS = 1500; /* after it, nothing is written again or recovered */
const STALL_MS = 10_000; /* so long only on a machine that is overrun */
/* What a busy machine delays is no reason to ask the backends. */
const PATIENT = ['--store-timeout', '10s'];
const KEYS = 'sidgate:session:';

const COUNTERS = {
  unwritten: 'sidgate_sessions_unwritten_total',
  recoveries: 'sidgate_routed_total{source="recovery"}',
  republished: 'sidgate_republished_total',
  'store errors': 'sidgate_store_errors_total',
  'code 1': 'sidgate_unknown_sid_total',
};

/* Looks at both gateways' counters all the time. */
class Watch {
  samples = [];
  #gateways;
  #isOver = false;
  #run;

  constructor(gateways) {
    this.#gateways = gateways;
    this.#run = this.#look();
  }

  async #look() {
    while (!this.#isOver) {
      await this.look().catch(() => {});
      await pause(SAMPLE_MS);
    }
  }

  /* Gives what it is now. */
  async look() {
    const one = await this.#sample();
    this.samples.push(one);
    return one;
  }

  async #sample() {
    const all = await Promise.all(this.#gateways.map((one) => one.metrics()));
    const sum = (name) =>
      all.reduce((total, values) => total + (values.get(name) ?? 0), 0);
    const counts = Object.entries(COUNTERS).map(([name, of]) => [
      name,
      sum(of),
    ]);
    return { at: Date.now(), ...Object.fromEntries(counts) };
  }

  get last() {
    return this.samples.at(-1);
  }

  /* How long after `from` a counter first and last grew; null: never. */
  growth(name, from) {
    const grown = this.samples.filter(
      ({ at, [name]: value }, i, all) =>
        i > 0 && at >= from && value > all[i - 1][name],
    );
    if (grown.length === 0) return null;
    return { first: grown[0].at - from, last: grown.at(-1).at - from };
  }

  stop() {
    this.#isOver = true;
    return this.#run;
  }
}

class Load {
  crowd = null;
  gateways = [];
  #stops = [];

  constructor(deployment) {
    this.deployment = deployment;
    this.#stops.push(() => deployment.stop());
  }

  async start({ url, args }) {
    const { deployment } = this;
    this.cluster = await startCluster({ gateway: null });
    this.#stops.unshift(() => this.cluster.stop());
    this.gateways = await startReplicas({
      redis: deployment,
      url,
      backends: this.cluster.backends,
      args: [...PATIENT, ...args],
    });
    this.#stops.splice(1, 0, () => stopReplicas(this.gateways));
    const part = isSanitized(this.gateways[0].pid) ? SANITIZED_PART : 1;
    this.slow = part < 1 ? SLOW_FACTOR : 1;
    this.sessions = Number(process.env.SIDGATE_SESSIONS || SESSIONS * part);
    this.rate = Number(process.env.SIDGATE_HANDSHAKES || HANDSHAKES * part);
    this.crowd = await startCrowd({
      ports: this.gateways.map(({ port }) => port),
      specs: this.mix(this.sessions),
    });
    this.#stops.unshift(() => this.crowd.stop());
    this.watch = new Watch(this.gateways);
    this.#stops.unshift(() => this.watch.stop());
    await this.crowd.visitors(this.rate, { roves: true });
    await pause(QUIET_MS);
    return this;
  }

  /* Both gateways know each of them from its first polls on, so that it is none
   * of those that a gateway asks for while a master is dead. */
  mix(count) {
    return mixOf(count, { everyMs: EVERY_MS, roves: true });
  }

  logs() {
    return this.gateways
      .map(({ name, stderr }) => `${name}:\n${stderr().slice(-6000)}`)
      .join('\n');
  }

  async stop() {
    for (const stop of this.#stops.splice(0))
      await stop().catch((error) => (this.failure ??= error));
    if (this.failure) throw this.failure;
  }

  async #lives() {
    const report = await this.crowd.report();
    return [...report.livesAt(Date.now()).values()];
  }

  /* Sids of the crowd that `where` has no record of. */
  async missing(where = this.deployment) {
    const lives = await this.#lives();
    const keys = new Set(await where.keys(`${KEYS}*`));
    return lives.map(({ sid }) => sid).filter((sid) => !keys.has(KEYS + sid));
  }

  /* All sessions have their record, and no gateway has had anything to write
   * again or to recover for a while; gives since when. */
  async calm() {
    let since = Date.now();
    let last = '';
    let missing = [];
    const isCalm = async () => {
      const { at, ...counts } = this.watch.last;
      missing = await this.missing();
      const now = JSON.stringify(counts);
      if (now !== last || missing.length > 0) since = Date.now();
      last = now;
      return at - since > QUIET_MS;
    };
    await until(isCalm, BACK_MS * this.slow, () =>
      `no calm: ${missing.length} sessions have no record, ${last}`);
    return since;
  }

  /*
   * Does `work`, and waits until all is well again. Notes what it cost in
   * `findings`; recovers: sessions may have to be asked for meanwhile, no more
   * of them than there were handshakes in that time.
   */
  async during(what, findings, work, { recovers = false } = {}) {
    await this.crowd.mark();
    const before = await this.watch.look();
    const from = Date.now();
    const more = await work();
    const end = await this.calm();
    const cost = Object.fromEntries(
      Object.keys(COUNTERS).map((name) => [
        name,
        this.watch.last[name] - before[name],
      ]),
    );
    const report = await this.crowd.report();
    const young = report.visits.filter(
      ({ at, ms }) => at + ms >= from - SAMPLE_MS && at <= end,
    ).length;
    const bound = recovers ? young + (more?.young ?? 0) : 0;
    const gap = this.watch.growth('unwritten', from);
    findings.note({
      [what]: {
        ...cost,
        ...more,
        'binds not acknowledged, ms after its begin':
          gap && `${gap.first} to ${gap.last}`,
        'handshakes meanwhile': young,
        'longest wait, ms': report.worst().ms,
        'all well after, ms': end - from,
      },
    });
    findings.expect(
      cost.recoveries <= bound,
      `${cost.recoveries} recoveries ${what}, at most ${bound} are explained`,
    );
    findings.unnoticed(report, {
      since: from,
      ms: STALL_MS * this.slow,
      during: what,
    });
    return { ...cost, ...more };
  }

  /* The end: nobody was lost, nothing was misrouted. */
  async judge(findings) {
    const report = await this.crowd.hush();
    findings.whole(report);
    findings.none(report.ends(), 'sessions lost');
    findings.none(report.errors(), 'errors of clients');
    const { misroutes, aliens, broken } = judge(await this.cluster.stats());
    findings.none([...misroutes, ...aliens, ...broken], 'refusals by nodes');
    findings.equal(this.watch.last['code 1'], 0, 'code 1 by gateways');
    findings.note({
      sessions: report.members.length,
      'handshakes a second': this.rate,
    });
  }
}

/* A load on a deployment that has url, keys(pattern) and stop(), and which ends
 * with the load. url: in place of the deployment's; args: for each gateway. */
export async function startLoad(deployment, { url, args = [] } = {}) {
  const load = new Load(deployment);
  try {
    return await load.start({ url: url ?? deployment.url, args });
  } catch (error) {
    await load.stop().catch(() => {});
    throw error;
  }
}

/* A test: `work(load, deployment, findings)` on what `make()` starts. */
export function underLoad(t, make, work, options) {
  return judged(t, async (findings) => {
    const deployment = await make();
    const load = await startLoad(deployment, options);
    try {
      await work(load, deployment, findings);
      await load.judge(findings);
    } catch (error) {
      error.message += `\n${findings}\n${load.logs()}`;
      throw error;
    } finally {
      await load.stop();
    }
  });
}
