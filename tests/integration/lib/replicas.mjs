/* SPDX-License-Identifier: MIT */
/* Real nodes behind several replicas that share a real Redis, and clients that
 * go through another replica with each connection. */
import net from 'node:net';
import { isSanitized } from '../../support/process.mjs';
import { startRedis } from '../../support/redis.mjs';
import {
  patient,
  startReplicas,
  stopReplicas,
} from '../../support/replicas.mjs';
import { startCluster } from './cluster.mjs';
import { RawSession } from './raw.mjs';

/* 127.0.0.2, 127.0.0.3, ... */
export function* loopbackAddresses() {
  for (let i = 0; ; i++)
    yield `127.0.${Math.floor(i / 250) % 250}.${2 + (i % 250)}`;
}

/*
 * A balancer that knows nothing: each TCP connection goes to the next replica,
 * from the next address. Replicas that do not answer are passed over. Gives
 * {port, ports, stop()}; `ports` may be changed.
 */
export async function startSpreader(ports) {
  const addresses = loopbackAddresses();
  const open = new Set();
  let turn = 0;
  const spreader = { ports: [...ports] };

  function join(client, tries) {
    const port = spreader.ports[turn++ % spreader.ports.length];
    const localAddress = addresses.next().value;
    const upstream = net.connect({
      host: '127.0.0.1',
      port,
      localAddress,
      allowHalfOpen: true,
    });
    open.add(upstream);
    let isOpen = false;
    upstream.once('connect', () => {
      isOpen = true;
      client.pipe(upstream);
      upstream.pipe(client);
    });
    upstream.on('error', () => {
      if (!isOpen && tries > 1) join(client, tries - 1);
      else client.destroy();
    });
    upstream.on('close', () => {
      open.delete(upstream);
      if (isOpen) client.destroy();
    });
    client.on('close', () => upstream.destroy());
  }

  const server = net.createServer(
    { allowHalfOpen: true, noDelay: true },
    (client) => {
      open.add(client);
      client.on('error', () => client.destroy());
      client.on('close', () => open.delete(client));
      join(client, spreader.ports.length);
    },
  );
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(spreader, {
    port: server.address().port,
    stop() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  });
}

/* Every request leaves for the next replica, from the next address. */
export class RovingSession extends RawSession {
  /* ports: those of the replicas, as a list that may change. */
  constructor({ ports, addresses = loopbackAddresses(), ...options }) {
    super({ ...options, port: { ports, addresses, turn: 0 } });
  }

  set port(way) {
    this.way = way;
  }

  get port() {
    const { way } = this;
    return way.ports[way.turn++ % way.ports.length];
  }

  set localAddress(_) {}

  get localAddress() {
    return this.way.addresses.next().value;
  }
}

/*
 * As startCluster(), with `replicas` gateways; args for each, or a function of
 * its number. Gives the cluster with {redis, gateways, ports, sum(metric)};
 * its own port is that of a spreader.
 */
export async function startReplicated({
  replicas = 2,
  args = [],
  ...options
} = {}) {
  const cluster = await startCluster({ ...options, gateway: null });
  const stopNodes = cluster.stop;
  let redis;
  try {
    redis = await startRedis();
    const gateways = await startReplicas({
      redis,
      backends: cluster.backends,
      count: replicas,
      args: patient(args),
    });
    const spreader = await startSpreader(gateways.map(({ port }) => port));
    const stop = async () => {
      spreader.stop();
      try {
        await stopReplicas(gateways);
      } finally {
        await redis.stop();
      }
    };
    cluster.gateway = { port: spreader.port, stop };
    return Object.assign(cluster, {
      redis,
      gateways,
      ports: spreader.ports,
      isSlow: isSanitized(gateways[0].pid),
      async sum(metric) {
        const values = await Promise.all(
          gateways.map((gateway) => gateway.metric(metric)),
        );
        return values.reduce((total, value) => total + value, 0);
      },
    });
  } catch (error) {
    await stopNodes();
    await redis?.stop();
    throw error;
  }
}
