/* SPDX-License-Identifier: MIT */
/*
 * A part of a crowd, in a process of its own (lib/crowd.mjs starts it). Takes
 * messages {id, what, ...} from its parent, answers each with {id, value} or
 * {id, error}, and ends with the parent.
 */
import { RawSession } from '../lib/raw.mjs';
import { Stillness } from '../lib/stillness.mjs';
import { pause, until } from '../lib/wait.mjs';
import {
  Ports,
  rovingAgent,
  sharedAgent,
  startMember,
} from './member.mjs';

const AT_ONCE = 12; /* sessions that are being opened */
const CALM_MS = 60_000; /* a bound for busy machines, no promise */
const STEP_MS = 25;
const OPEN_MAX = 60; /* more than that a slow machine would never end */

const still = new Stillness();
const members = [];
const visits = { done: [], failed: [], open: 0, rate: 0, agent: false };
let way = null;
let visiting = null;

/* Opens, uses and closes a session, as fast as it can; every second one by an
 * upgrade to websocket. */
async function visit(upgrades) {
  const { agent } = visits;
  const session = new RawSession({ port: way.ports.next(), agent });
  const at = Date.now();
  visits.open++;
  try {
    await session.open();
    await session.connect();
    if (upgrades) await session.upgrade();
    const { node } = await session.whoami();
    await session.close();
    visits.done.push({ at, ms: Date.now() - at, node });
  } catch ({ message, cause }) {
    const text = `${message} ${cause?.message ?? ''}`;
    visits.failed.push({ at, ms: Date.now() - at, text: text.slice(0, 300) });
  } finally {
    visits.open--;
    session.abandon();
  }
}

/* Evenly, so that a time says how many there were. roves: each request of a
 * visit goes to the next port. */
function setRate(rate, roves = false) {
  clearInterval(visiting);
  visits.rate = rate;
  visits.agent = roves && rovingAgent(way.ports);
  const began = Date.now();
  let count = 0;
  visiting = setInterval(() => {
    const due = ((Date.now() - began) * rate) / 1000;
    for (; count < due; count++)
      if (visits.open < Math.max(OPEN_MAX, rate)) visit(count % 2 === 1);
  }, STEP_MS);
}

async function join({ specs }) {
  for (const spec of specs) {
    const opening = () => members.filter((one) => !one.lives.length).length;
    await until(() => opening() < AT_ONCE, CALM_MS, () =>
      `${opening()} sessions were not opened: ` +
      JSON.stringify(members.flatMap(({ errors }) => errors).slice(0, 3)));
    members.push(startMember(spec, way));
  }
  await allConnected();
}

/* All are connected, and know their node. */
async function allConnected(ms = CALM_MS) {
  const missing = () => members.filter((one) => !one.isConnected);
  await until(() => missing().length === 0, ms, () =>
    `${missing().length} sessions are not connected: ` +
    JSON.stringify(missing().slice(0, 3).map((one) => one.report())));
}

/* Nobody says anything more, and all that was said has come back. */
async function hush({ ms = CALM_MS }) {
  setRate(0);
  members.forEach((one) => one.hush());
  const busy = () => members.filter((one) => one.outstanding > 0);
  await until(() => busy().length === 0 && visits.open === 0, ms, '')
    .catch(() => {});
}

function report() {
  const { done, failed } = visits;
  return {
    members: members.map((one) => one.report()),
    visits: { done, failed },
    gaps: still.gaps,
  };
}

async function leave({ ids }) {
  const gone = ids
    ? members.filter(({ spec }) => ids.includes(spec.id))
    : [...members];
  for (const member of gone) {
    member.hush();
    member.close();
    members.splice(members.indexOf(member), 1);
  }
  await pause(STEP_MS);
}

const orders = {
  begin({ ports, number, securePort, reconnectMs }) {
    const spread = new Ports(ports, number);
    way = { ports: spread, shared: sharedAgent(spread), securePort,
      reconnectMs };
  },
  join,
  connected: ({ ms }) => allConnected(ms),
  rate: ({ rate, roves }) => setRate(rate, roves),
  say: () => members.forEach((one) => one.say()),
  mark: () => members.forEach((one) => (one.worst = { ms: 0, at: 0 })),
  hush,
  report,
  leave,
};

process.on('message', async ({ id, what, ...rest }) => {
  try {
    process.send({ id, value: (await orders[what](rest)) ?? null });
  } catch (error) {
    process.send({ id, error: error.stack });
  }
});
process.on('disconnect', () => process.exit(0));
