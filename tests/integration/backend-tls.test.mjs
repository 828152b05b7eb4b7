/* SPDX-License-Identifier: MIT */
/* Nodes that speak TLS themselves. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { testCertificates } from '../support/certificates.mjs';
import { startGateway } from '../support/gateway.mjs';
import { COMPATIBLE, clientFactory } from './lib/clients.mjs';
import { assertClean, startCluster } from './lib/cluster.mjs';
import { MODES, exercise } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { assertAllNodesUsed, assertNoFaults } from './lib/report.mjs';

const SESSIONS = 60;
const BIG = [{ kind: 'binary', length: 1024 * 1024 }];
const { authority, server: pair } = testCertificates();
const ARGS = ['--backend-ca', authority.certificate];

for (const server of ['2', '3', '4'])
  describe(`server ${server} over https`, { timeout: 240_000 }, () => {
    let cluster;
    before(async () => {
      const { certificate, key } = pair;
      cluster = await startCluster({
        server,
        options: { tls: { certificate, key } },
        gateway: { args: ARGS },
      });
    });
    after(() => cluster?.stop());

    test('every client in every mode', async () => {
      const runs = COMPATIBLE[server].flatMap((client) =>
        Object.keys(MODES).flatMap((mode) =>
          [BIG, undefined].map((big) =>
            exercise(clientFactory(client), {
              client,
              mode,
              big,
              url: cluster.url,
            }),
          ),
        ),
      );
      assertNoFaults(cluster, await Promise.all(runs));
    });

    test(`${SESSIONS} sessions outlive their bindings`, async () => {
      const sessions = Array.from(
        { length: SESSIONS },
        () =>
          new RawSession({ port: cluster.port, eio: server === '2' ? 3 : 4 }),
      );
      await Promise.all(
        sessions.map(async (session) => {
          await session.open();
          await session.connect();
          session.me = await session.whoami();
        }),
      );
      await cluster.gateway.stop('SIGKILL');
      const { backends } = cluster;
      cluster.gateway = await startGateway({ backends, args: ARGS });
      await Promise.all(
        sessions.map(async (session, i) => {
          session.port = cluster.port;
          if (i % 2) await session.upgrade();
          const { node, sid } = await session.whoami();
          assert.deepEqual([node, sid], [session.me.node, session.sid]);
          await session.close();
        }),
      );
      const metrics = await cluster.gateway.metrics();
      const recovered = metrics.get('sidgate_routed_total{source="recovery"}');
      assert.ok(recovered >= SESSIONS, `only ${recovered} were recovered`);
    });

    test('no node refused a request of a live session', async () => {
      await assertAllNodesUsed(cluster);
      await assertClean(cluster);
    });
  });
