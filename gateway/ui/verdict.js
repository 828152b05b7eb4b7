/* SPDX-License-Identifier: MIT */
/*
 * The state of things in plain words, from the numbers alone. A finding is
 * {kind, key, text}: kind is bad, warn, info or good; key tells whether it is
 * the same one as before, although a number in its text has changed.
 */
import {
  UPGRADE_FAULTS,
  count,
  duration,
  percent,
  plural,
  rate,
  stateOf,
} from './format.js';

const ORDER = ['bad', 'warn', 'good', 'info'];
const NAMED_MAX = 4;
const HEARD_MAX_S = 5;
const UPGRADES_WELL = 0.95;
const UPGRADES_ILL = 0.5;
const UNKNOWN_MIN_PER_S = 0.5;
const UNKNOWN_SHARE = 0.02;
const FULL = 0.9;

const PHASES = {
  handed_over: 'has handed over to a new process',
  delay: 'was told to end, and still accepts connections',
  draining: 'was told to end, and is closing its sessions',
  stopped: 'has stopped',
};

const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);

function mean(numbers) {
  return numbers.length > 0 ? sum(numbers) / numbers.length : null;
}

function reach({ reachS, status }) {
  const seconds = Math.min(Math.max(reachS, 5), status.uptime_s);
  if (seconds < 60) return `in the last ${Math.round(seconds)} s`;
  return `in the last ${Math.round(seconds / 60)} min`;
}

/* At most NAMED_MAX nodes by name. */
function names(nodes) {
  const ids = nodes.slice(0, NAMED_MAX).map(({ id }) => id);
  const more = nodes.length - ids.length;
  if (more > 0) return `${ids.join(', ')} and ${more} more`;
  const last = ids.pop();
  return ids.length > 0 ? `${ids.join(', ')} and ${last}` : last;
}

function phase({ status }) {
  const text = PHASES[status.phase];
  if (!text) return [];
  return [
    {
      kind: 'warn',
      key: `phase ${status.phase}`,
      text: `This gateway, ${status.name}, ${text}`,
    },
  ];
}

function oneNode({ id, state, reason }) {
  const { kind } = stateOf(state);
  return {
    kind,
    key: `${state} ${id}`,
    text: `${id} is ${state}${reason ? `: ${reason}` : ''}`,
  };
}

function illNodes(backends) {
  const ill = backends.filter(({ state }) =>
    ['bad', 'warn'].includes(stateOf(state).kind),
  );
  if (ill.length <= NAMED_MAX) return ill.map(oneNode);
  const kind = ill.some(({ state }) => stateOf(state).kind === 'bad')
    ? 'bad'
    : 'warn';
  return [
    {
      kind,
      key: `ill ${ill.map(({ id, state }) => `${id} ${state}`).join()}`,
      text:
        `${ill.length} of ${backends.length} nodes are not well: ` +
        names(ill),
    },
  ];
}

function takers(backends) {
  return backends.filter(({ state }) => state === 'up');
}

function drains(backends) {
  const leaving = backends.filter(({ state }) =>
    ['drained', 'removed'].includes(state),
  );
  if (leaving.length === 0) return [];
  const left = sum(
    leaving.map((one) => one.sessions + (one.sessions_elsewhere ?? 0)),
  );
  const verb = leaving.length === 1 ? 'gets' : 'get';
  const what = left > 0 ? `${plural(left, 'session')} left` : 'empty';
  return [
    {
      kind: 'info',
      key: `leaving ${leaving.map(({ id }) => id).join()} ${left > 0}`,
      text: `${names(leaving)} ${verb} no new sessions: ${what}`,
    },
  ];
}

/* A limit counts what all replicas have there. */
export function share(backend) {
  if (!backend.max_sessions) return null;
  const held =
    backend.sessions +
    (backend.sessions_elsewhere ?? 0) +
    (backend.handshakes ?? 0);
  return held / backend.max_sessions;
}

function nodes({ backends }) {
  if (backends.length === 0)
    return [{ kind: 'bad', key: 'none', text: 'There are no nodes' }];
  const ill = illNodes(backends);
  const full = takers(backends).filter((one) => share(one) >= FULL);
  const findings = [...ill, ...drains(backends)];
  if (takers(backends).length === 0)
    findings.unshift({
      kind: 'bad',
      key: 'no taker',
      text: 'No node takes new sessions',
    });
  else if (ill.length === 0)
    findings.push({
      kind: 'good',
      key: 'nodes',
      text:
        takers(backends).length === backends.length
          ? `All nodes are up (${backends.length})`
          : `${plural(takers(backends).length, 'node')} up`,
    });
  if (full.length > 0)
    findings.push({
      kind: 'warn',
      key: `full ${full.map(({ id }) => id).join()}`,
      text: `${names(full)}: as many sessions as allowed, or nearly so`,
    });
  return findings;
}

/* Nodes that were away within the points' reach: they may have forgotten their
 * sessions, which no routing can help. */
function wereAway({ backends, reachS, status }) {
  const now = Date.parse(status.started) + status.uptime_s * 1000;
  return backends.filter((backend) =>
    (backend.history ?? []).some(
      ({ time, state }) =>
        ['down', 'refused', 'ejected'].includes(state) &&
        now - Date.parse(time) < reachS * 1000,
    ),
  );
}

function affinity(model) {
  const { status, points, stepS } = model;
  const when = reach(model);
  const missed = Math.round(
    sum(points.map((point) => point.misroutes_per_s * stepS)),
  );
  if (missed > 0 || status.now.misroutes_per_s > 0) {
    const away = wereAway(model);
    const how = missed > 0 ? plural(missed, 'request') : 'Requests';
    const why =
      away.length > 0
        ? `: ${names(away)} had failed, and may have forgotten its sessions`
        : ': see which node was started anew, or answers at the wrong address';
    return [
      {
        kind: away.length > 0 ? 'warn' : 'bad',
        key: `misroutes ${away.length > 0}`,
        text:
          `${how} reached a node that did not know the session ` +
          `${when}${why}`,
      },
    ];
  }
  const isQuiet =
    status.now.requests_per_s === 0 &&
    points.every((point) => point.requests_per_s === 0);
  if (isQuiet && status.now.sessions_websocket === 0)
    return [
      {
        kind: 'info',
        key: 'quiet',
        text: `No traffic ${when}: nothing to judge affinity by`,
      },
    ];
  return [
    {
      kind: 'good',
      key: 'affinity',
      text: `Affinity works: no misroutes ${when}`,
    },
  ];
}

function unknown({ status: { now } }) {
  const { unknown_sid_per_s: often } = now;
  if (often < UNKNOWN_MIN_PER_S || often < now.requests_per_s * UNKNOWN_SHARE)
    return [];
  return [
    {
      kind: 'warn',
      key: 'unknown',
      text:
        `${rate(often)} requests a second name a session that nobody knows: ` +
        'clients come back too late, or sessions were lost',
    },
  ];
}

/* The node that has more than half of all failures, if there are others. */
function failsMost(backends) {
  const failed = backends.map((one) =>
    Math.max(0, one.upgrade_attempts - one.upgrade_successes),
  );
  const most = Math.max(...failed);
  if (backends.length < 2 || most < 3 || most * 2 <= sum(failed)) return '';
  return `, at ${backends[failed.indexOf(most)].id} above all`;
}

function upgrades(model) {
  const { status, points, backends } = model;
  const known = points
    .map((point) => point.upgrade_success)
    .filter((one) => typeof one === 'number');
  const success = status.now.upgrade_success ?? mean(known);
  if (success === null) return [];
  if (success >= UPGRADES_WELL)
    return [
      {
        kind: 'good',
        key: 'upgrades',
        text: `Upgrades to websocket succeed: ${percent(success)}`,
      },
    ];
  const [why, number] = model
    .upgradeFailures()
    .reduce((most, one) => (one[1] > most[1] ? one : most), ['', 0]);
  const by = number > 0 ? `, most by ${UPGRADE_FAULTS[why] ?? why}` : '';
  return [
    {
      kind: success < UPGRADES_ILL ? 'bad' : 'warn',
      key: `upgrades ${why}`,
      text:
        `${percent(1 - success)} of upgrades fail${by}` +
        failsMost(backends),
    },
  ];
}

function store({ status: { store: one } }) {
  if (one.kind === 'memory' || one.state === 'up') return [];
  const isDown = one.state === 'down';
  return [
    {
      kind: isDown ? 'bad' : 'warn',
      key: `store ${one.state}`,
      text: isDown
        ? `The store (${one.kind}) is down: what other replicas know is ` +
          'out of reach'
        : `The store (${one.kind}) has ${count(one.connections_up)} of ` +
          `${plural(one.connections, 'connection')} up`,
    },
  ];
}

function replicas({ status }) {
  return (status.replicas ?? [])
    .filter((one) => !one.is_self && one.heard_s > HEARD_MAX_S)
    .map((one) => ({
      kind: 'warn',
      key: `unheard ${one.id}`,
      text: `Replica ${one.id} was last heard ${duration(one.heard_s)} ago`,
    }));
}

/* All findings, the worst first. */
export function judge(model) {
  return [affinity, nodes, phase, store, upgrades, unknown, replicas]
    .flatMap((look) => look(model))
    .sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
}
