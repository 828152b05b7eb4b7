/* SPDX-License-Identifier: MIT */
/*
 * A crowd: many real sessions of all kinds that live through what a test does
 * to nodes and gateways, in a few processes, and visitors that come and go.
 */
import { fork } from 'node:child_process';
import { pathOf } from './cluster.mjs';
import { evened, overlap } from './stillness.mjs';

const KINDS = [
  { client: '4', mode: 'upgrade' },
  { client: '4', mode: 'polling', shares: true },
  { client: '4', mode: 'websocket' },
  { client: '3', mode: 'upgrade', shares: true },
  { client: '2', mode: 'polling' },
  { client: '4', mode: 'polling' },
  { client: '2', mode: 'upgrade' },
  { client: '3', mode: 'polling', shares: true },
  { client: '2', mode: 'websocket' },
  { client: '4', mode: 'upgrade', shares: true },
].map((kind) => ({ ...kind, kind: `client ${kind.client} ${kind.mode}` }));

const crowds = new Set();
process.on('exit', () => crowds.forEach((crowd) => crowd.kill()));

/* A mix of `count` sessions; those of one `mode` only where it is given. roves:
 * each of them polls through one port after the other, and shares no connection
 * with others. */
export function mixOf(count, { mode, everyMs = 2000, roves = false } = {}) {
  const kinds = KINDS.filter((kind) => !mode || kind.mode === mode);
  return Array.from({ length: count }, (_, i) => {
    const { shares, ...kind } = kinds[i % kinds.length];
    return { ...kind, shares: shares && !roves, everyMs };
  });
}

/* Polling sessions that say nothing: their polls are held. */
export function heldPolls(count) {
  return mixOf(count, { mode: 'polling', everyMs: 0 });
}

/* Bare websockets: most with short messages, one in 20 with large ones; one in
 * 40, but no more than ten, reads slowly what no socket's buffer can hold. */
export function tunnels(count, { everyMs = 2000 } = {}) {
  const large = { everyMs: 2 * everyMs, size: 100_000 };
  const huge = { everyMs: 2 * everyMs, size: 2_000_000, slow: true };
  return Array.from({ length: count }, (_, i) => {
    if (i % 20 === 3) return { kind: 'tunnel large', ...large };
    if (i % 40 === 13 && i < 400) return { kind: 'tunnel slow', ...huge };
    return { kind: 'tunnel', everyMs };
  });
}

export function secureTunnels(count, { everyMs = 500 } = {}) {
  return Array.from({ length: count }, () => ({
    kind: 'tunnel of TLS',
    everyMs,
    secure: true,
  }));
}

class Part {
  #child;
  #waiting = new Map();
  #count = 0;

  constructor() {
    this.#child = fork(pathOf('clients/part.mjs'), [], { execArgv: [] });
    this.#child.on('message', ({ id, value, error }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(value);
      else reject(new Error(error));
    });
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.exited.then((code) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`a part of the crowd ended with ${code}`));
    });
  }

  order(what, rest = {}) {
    return new Promise((resolve, reject) => {
      const id = this.#count++;
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, what, ...rest }, (error) => {
        if (error) reject(error);
      });
    });
  }

  kill() {
    this.#child.kill('SIGKILL');
  }

  stop() {
    if (this.#child.connected) this.#child.disconnect();
    return this.exited;
  }
}

/* What everybody had lived through at the time of asking. */
export class Report {
  #parts;

  constructor(parts) {
    this.#parts = parts;
    this.members = parts.flatMap(({ members }) => members);
    this.visits = parts.flatMap(({ visits }) => visits.done);
    this.failedVisits = parts.flatMap(({ visits }) => visits.failed);
  }

  get faults() {
    return this.members.flatMap(({ id, kind, faults }) =>
      faults.map((fault) => ({ id, kind, ...fault })),
    );
  }

  /* Messages that did not come back although their session lives. */
  get missing() {
    return this.members.filter(({ outstanding }) => outstanding > 0);
  }

  /* Disconnects and failed connects from `since` on. */
  ends(since = 0) {
    return this.members.flatMap(({ id, kind, lives }) =>
      lives
        .filter(({ to }) => to !== null && to >= since)
        .map((life) => ({ id, kind, ...life })),
    );
  }

  /* When these were, and for how many ms one of the parts stood still in that
   * time. */
  endTimes(since) {
    const times = this.#parts.flatMap(({ members, gaps }) => {
      const lives = members.flatMap((member) => member.lives);
      const ends = lives.map(({ to }) => to).filter((to) => to >= since);
      return evened(ends, gaps, since);
    });
    const last = Math.max(since, ...times);
    const stood = this.#parts.map(({ gaps }) => overlap(gaps, since, last));
    return { times, stood: Math.max(...stood) };
  }

  errors(since = 0) {
    return this.members.flatMap(({ id, kind, errors }) =>
      errors
        .filter(({ at }) => at >= since)
        .map((error) => ({ id, kind, ...error })),
    );
  }

  /* id -> the life that a member had at that time. */
  livesAt(time) {
    const found = this.members.flatMap(({ id, lives }) => {
      const life = lives.find(
        ({ from, to }) => from <= time && (to === null || to > time),
      );
      return life ? [[id, life]] : [];
    });
    return new Map(found);
  }

  /* Ids of those on `node` at that time. */
  on(node, time = Date.now()) {
    return [...this.livesAt(time)]
      .filter(([, life]) => life.node === node)
      .map(([id]) => id);
  }

  /* Sessions by node. */
  byNode(time = Date.now()) {
    const count = {};
    for (const { node } of this.livesAt(time).values())
      count[node] = (count[node] ?? 0) + 1;
    return count;
  }

  /* The longest that a message of these members took to come back; those who
   * read slowly are slow by themselves. */
  worst(ids = null) {
    const all = this.members
      .filter(({ id, kind }) => (!ids || ids.has(id)) && !/slow/.test(kind))
      .map(({ id, kind, worst }) => ({ id, kind, ...worst }));
    return all.reduce((most, one) => (one.ms > most.ms ? one : most), {
      ms: 0,
    });
  }

  member(id) {
    return this.members.find((member) => member.id === id);
  }

  get sent() {
    return this.members.reduce((sum, { sent }) => sum + sent, 0);
  }
}

export class Crowd {
  #parts;
  #next = 0;

  constructor(parts) {
    this.#parts = parts;
    crowds.add(this);
  }

  #all(what, rest) {
    return Promise.all(this.#parts.map((part) => part.order(what, rest)));
  }

  /* Opens sessions; resolves to their ids once all are connected. */
  async join(specs) {
    const named = specs.map((spec) => ({ ...spec, id: this.#next++ }));
    await Promise.all(
      this.#parts.map((part, i) =>
        part.order('join', {
          specs: named.filter(({ id }) => id % this.#parts.length === i),
        }),
      ),
    );
    return named.map(({ id }) => id);
  }

  /* All are connected, within `ms`. */
  connected(ms) {
    return this.#all('connected', { ms });
  }

  /* This many visitors in each second from now on; roves: each of their
   * requests goes to the next gateway. */
  async visitors(rate, { roves = false } = {}) {
    await this.#all('rate', { rate: rate / this.#parts.length, roves });
  }

  /* Everybody says something now, also those who otherwise do not. */
  say() {
    return this.#all('say');
  }

  /* worst() is about messages from now on. */
  mark() {
    return this.#all('mark');
  }

  /* Nobody says anything more; what was said has come back, or `ms` are over.
   * Gives the report. */
  async hush(ms) {
    await this.#all('hush', { ms });
    return this.report();
  }

  async report() {
    return new Report(await this.#all('report'));
  }

  /* These, or all, close their sessions. */
  leave(ids) {
    return this.#all('leave', { ids });
  }

  kill() {
    this.#parts.forEach((part) => part.kill());
  }

  async stop() {
    crowds.delete(this);
    await this.#all('leave', {}).catch(() => {});
    await Promise.all(this.#parts.map((part) => part.stop()));
  }
}

/* ports: of gateways, each connection goes to the next one; securePort: for
 * tunnels of TLS; reconnectMs: the clients' own backoff. */
export async function startCrowd({
  ports,
  securePort,
  specs = [],
  processes = 2,
  reconnectMs = 200,
}) {
  const parts = Array.from({ length: processes }, () => new Part());
  const crowd = new Crowd(parts);
  try {
    await Promise.all(
      parts.map((part, number) =>
        part.order('begin', { ports, securePort, reconnectMs, number }),
      ),
    );
    await crowd.join(specs);
  } catch (error) {
    crowd.kill();
    throw error;
  }
  return crowd;
}
