/* SPDX-License-Identifier: MIT */
/* Nodes that a DNS name has, no longer has, and has again. */
import { startDns } from '../../../support/dns.mjs';
import { quietPort } from '../../../support/ports.mjs';
import { mixOf, startCrowd } from '../crowd.mjs';
import { startFleet } from '../fleet.mjs';
import { pause, until } from '../wait.mjs';
import { SLOW_FACTOR, STALL_MS } from './findings.mjs';

const NAME = 'nodes.test';
const INTERVAL_MS = 200;
const SEEN_MS = 60_000; /* a visit may take its time */
const LATELY_MS = 1000;
const HOSTS = { n1: '127.0.0.1', n2: '127.0.0.2', n3: '127.0.0.3' };

const has = (...names) => ({ A: names.map((name) => HOSTS[name]) });

/* Visitors who begin from now on come to this node; or have not lately. */
async function visited({ crowd }, name, is, findings) {
  const from = Date.now();
  await until(
    async () => {
      const { visits } = await crowd.report();
      const now = Date.now();
      const since = is ? from : Math.max(from, now - LATELY_MS);
      const lately = visits.filter(({ at }) => at > since);
      const its = lately.some(({ node }) => node === name);
      if (is) return its;
      return now - from > LATELY_MS * 1.25 && lately.length > 0 && !its;
    },
    SEEN_MS,
    `${name} ${is ? 'gets no' : 'still gets'} new sessions`,
  ).catch(({ message }) => findings.expect(false, message));
}

async function comeAndGo(all, findings) {
  const { dns, crowd, o, slow } = all;
  const since = Date.now();
  await crowd.mark();
  dns.set(NAME, has('n1', 'n2', 'n3'));
  await visited(all, 'n3', true, findings);
  await crowd.join(mixOf(o.sessions));
  const full = await crowd.report();
  findings.expect(full.on('n3').length > 0, 'no session is on n3');
  findings.note({ 'with three addresses': full.byNode() });

  dns.set(NAME, has('n1', 'n2'));
  await visited(all, 'n3', false, findings);
  await pause(4 * INTERVAL_MS);

  dns.set(NAME, has('n2', 'n3'));
  await visited(all, 'n3', true, findings);
  await visited(all, 'n1', false, findings);

  /* These answers say nothing about anybody. */
  for (const mode of ['servfail', 'silent']) {
    dns.fail(NAME, mode);
    await pause(6 * INTERVAL_MS);
    await visited(all, 'n3', true, findings);
  }
  dns.fail(NAME);

  dns.set(NAME, has('n1', 'n2', 'n3'));
  await visited(all, 'n1', true, findings);
  findings.unnoticed(await crowd.report(), {
    since,
    ms: STALL_MS * slow,
    during: 'while addresses came and went',
  });
}

/* o: {sessions, processes, visitRate}; as many join again. */
export async function changeDiscovery(o, findings) {
  const dns = await startDns();
  let fleet;
  let crowd;
  try {
    dns.set(NAME, has('n1', 'n2'));
    const port = await quietPort();
    fleet = await startFleet({
      count: 0,
      listed: false,
      places: Object.fromEntries(
        Object.entries(HOSTS).map(([name, host]) => [name, { host, port }]),
      ),
      args: [
        ['--discover', `${NAME}:${port}`],
        ['--discover-interval', `${INTERVAL_MS}ms`],
        ['--dns-server', dns.address],
        ['--balance', 'round-robin'],
      ].flat(),
    });
    crowd = await startCrowd({
      ports: fleet.ports,
      processes: o.processes,
      specs: mixOf(o.sessions),
    });
    await crowd.visitors(o.visitRate);
    const slow = fleet.isSlow ? SLOW_FACTOR : 1;
    await comeAndGo({ fleet, dns, crowd, o, slow }, findings);
    findings.whole(await crowd.hush());
    findings.none(await fleet.misroutes(), 'refusals by nodes');
    findings.equal(await fleet.probes(), 0, 'questions of recovery');
  } finally {
    findings.logs = fleet?.logs() ?? '';
    await crowd?.stop();
    await fleet?.stop();
    await dns.stop();
  }
}
