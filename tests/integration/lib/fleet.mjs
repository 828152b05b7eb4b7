/* SPDX-License-Identifier: MIT */
/* Nodes that come and go, and one gateway before them or several that share a
 * Redis. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isSanitized, suspend } from '../../support/process.mjs';
import { quietPort } from '../../support/ports.mjs';
import { startRedis } from '../../support/redis.mjs';
import {
  startReplica,
  startReplicas,
  stopReplicas,
} from '../../support/replicas.mjs';
import { judge, liveSids, startNode } from './cluster.mjs';
import { ctl } from './ctl.mjs';
import { makeUpgradable, programOf } from './upgradable.mjs';
import { until } from './wait.mjs';

const PROBES = 'sidgate_recovery_probes_total';
/* Whoever gets no answer from Redis in that time asks the nodes: a machine that
 * stands still for some seconds is no reason to. The most that is allowed. */
const PATIENT = ['--store-timeout', '10s'];

export class Fleet {
  nodes = new Map(); /* those that run */
  gateways = [];
  redis = null;
  /* Nodes that were killed, as they were just before. */
  #graves = [];
  #options;
  folder = mkdtempSync(path.join(tmpdir(), 'sidgate-fleet-'));

  /* options: of every node. */
  constructor(options) {
    this.#options = options;
  }

  /* A node, new or again; it has the port that it had before, which no
   * connection is ever given. at: {host, port}. */
  async start(name, at = null) {
    const where = at ?? this.#places.get(name) ?? { port: await quietPort() };
    this.#places.set(name, where);
    const node = await startNode('4', name, { ...this.#options, at: where });
    this.nodes.set(name, node);
    return node;
  }
  #places = new Map();

  spec(name) {
    const { host = '127.0.0.1', port } = this.#places.get(name);
    return `${name}=${host}:${port}`;
  }

  /* As startGateway() wants them; more: {name: ',weight=2'}. */
  backends(more = {}) {
    return [...this.nodes.keys()].map((name) => {
      const { host, port } = this.#places.get(name);
      return { id: name, host, port: `${port}${more[name] ?? ''}` };
    });
  }

  /* Gives when it was killed, and by when it was surely gone: until then it
   * has sockets that connections wait at. */
  async kill(name) {
    const node = this.nodes.get(name);
    this.#graves.push(await node.stats());
    this.nodes.delete(name);
    const at = Date.now();
    await node.stop();
    return { at, gone: Date.now() };
  }

  /* Returns when no thread of it runs. */
  pause(name) {
    return suspend(this.nodes.get(name).pid);
  }

  resume(name) {
    this.nodes.get(name).signal('SIGCONT');
  }

  stats() {
    return Promise.all([...this.nodes.values()].map((node) => node.stats()));
  }

  async liveOn(name) {
    return liveSids(await this.nodes.get(name).stats());
  }

  /* What nodes refused that they should not have; late answers are let pass. */
  async misroutes() {
    const verdict = judge([...this.#graves, ...(await this.stats())]);
    return [...verdict.misroutes, ...verdict.aliens, ...verdict.broken];
  }

  /* Adds to each of `ends` how its node saw it. */
  async explain(ends) {
    const sessions = Object.assign(
      {},
      ...[...this.#graves, ...(await this.stats())].map((one) => one.sessions),
    );
    for (const end of ends) end.node_saw = sessions[end.sid];
    return ends;
  }

  /* Questions of recovery that any node was ever asked, by any process. */
  async probes() {
    const all = [...this.#graves, ...(await this.stats())];
    return all.reduce((sum, { probes }) => sum + probes, 0);
  }

  /* Each gateway has said so of this node since said() gave `before`; gives
   * when that was seen. */
  async haveSaid(event, name, before, ms) {
    await until(
      () => this.said(event, name).every((count, i) => count > before[i]),
      ms,
      () => `no ${event} of ${name}:\n${this.logs()}`,
    );
    return Date.now();
  }

  /* How often each gateway has said so of this node. */
  said(event, name) {
    const isOf = new RegExp(`\\bbackend=${name}\\s`);
    const ofNode = (line) => isOf.test(`${line} `);
    return this.gateways.map(
      ({ events }) => events(event).filter(ofNode).length,
    );
  }

  get ports() {
    return this.gateways.map(({ port }) => port);
  }

  get isSlow() {
    return isSanitized(this.gateways[0].pid);
  }

  async sum(metric) {
    const all = await Promise.all(
      this.gateways.map((gateway) => gateway.metric(metric)),
    );
    return all.reduce((total, value) => total + value, 0);
  }

  /* Questions of recovery that the gateways know of. */
  asked() {
    return this.sum(PROBES);
  }

  /* Sessions of a node as the gateways count them. */
  async counted(name) {
    const counts = await Promise.all(
      ["polling", "websocket"].map((transport) =>
        this.sum(
          `sidgate_sessions{backend="${name}",transport="${transport}"}`,
        ),
      ),
    );
    return counts[0] + counts[1];
  }

  /* Every gateway carries this out. */
  ctl(...words) {
    return Promise.all(this.gateways.map((one) => ctl(one, ...words)));
  }

  file(name) {
    return path.join(this.folder, name);
  }

  /* Writes a configuration file; gives its name. */
  writeConfig(name, config) {
    writeFileSync(this.file(name), JSON.stringify(config, null, 2));
    return this.file(name);
  }

  logs() {
    return this.gateways
      .map(({ name, stderr }) => `${name}:\n${stderr().slice(-8000)}`)
      .join('\n');
  }

  async stop() {
    /* Nodes first: a gateway told to end may wait for its sessions. */
    await Promise.all([...this.nodes.values()].map((node) => node.stop()));
    try {
      await stopReplicas(this.gateways);
    } finally {
      await Promise.all(this.gateways.map(({ stop }) => stop('SIGKILL')));
      await this.redis?.stop();
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/*
 * count nodes n1, n2, ...; places: more of them, {name: {host, port}}; options:
 * of each; replicas: gateways with a Redis, or 0 for one with the memory store;
 * args: flags for each gateway, or a function of the fleet and the gateway's
 * number; listed: whether the nodes are --backend flags, with `more` behind
 * some of them; listen: as for startGateway(); upgradable, preload: see
 * upgradable.mjs.
 */
export async function startFleet({
  count = 3,
  replicas = 0,
  options = {},
  args = [],
  listed = true,
  more = {},
  places = {},
  upgradable = false,
  preload = false,
  listen,
} = {}) {
  const fleet = new Fleet(options);
  try {
    const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
    await Promise.all([
      ...names.map((name) => fleet.start(name)),
      ...Object.entries(places).map(([name, at]) => fleet.start(name, at)),
    ]);
    const backends = listed ? fleet.backends(more) : [];
    const argsOf = (i) =>
      typeof args === 'function' ? args(fleet, i) : args;
    const how = {
      backends,
      ...(listen ? { listen } : {}),
      ...(upgradable ? programOf(fleet, preload) : {}),
    };
    if (replicas > 0) {
      fleet.redis = await startRedis();
      fleet.gateways = await startReplicas({
        ...how,
        redis: fleet.redis,
        count: replicas,
        args: (i) => [...PATIENT, ...argsOf(i)],
      });
    } else {
      const gateway = await startReplica({
        ...how,
        name: 'gw1',
        url: 'memory',
        args: argsOf(0),
      });
      fleet.gateways = [gateway];
    }
    if (upgradable) fleet.gateways.forEach(makeUpgradable);
  } catch (error) {
    await fleet.stop();
    throw error;
  }
  return fleet;
}
