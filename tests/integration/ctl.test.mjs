/* SPDX-License-Identifier: MIT */
/* `sidgate ctl` at a running pair of replicas with a real Redis, real servers
 * and clients. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gatewayBinary, spawnGateway } from '../support/gateway.mjs';
import { serve } from '../support/operator.mjs';
import { isOver, isPolled } from './lib/cluster.mjs';
import { clientFactory } from './lib/clients.mjs';
import { ctl, tryCtl } from './lib/ctl.mjs';
import { openClient, settle } from './lib/exercise.js';
import { RawSession } from './lib/raw.mjs';
import { startReplicated } from './lib/replicas.mjs';
import { until, within } from './lib/wait.mjs';

const SOON_MS = 10_000;

const json = async (gateway, ...words) =>
  JSON.parse(await ctl(gateway, ...words, '--json'));

/* The rows of a table as objects by its titles. A cell may be empty in no
 * column, and none holds two blanks. */
function rowsOf(table) {
  const [titles, ...rows] = table
    .trimEnd()
    .split('\n')
    .map((row) => row.trim().split(/ {2,}/));
  return rows.map((row) =>
    Object.fromEntries(row.map((cell, i) => [titles[i], cell])),
  );
}

/* With a line on standard input. */
function ctlWith(gateway, line, ...words) {
  return new Promise((resolve) => {
    const child = spawn(gatewayBinary(), [
      'ctl',
      '--admin',
      `127.0.0.1:${gateway.adminPort}`,
      ...words,
    ]);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text) => (stdout += text));
    child.stderr.on('data', (text) => (stderr += text));
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(`${line}\n`);
  });
}

describe('a pair of replicas', () => {
  let cluster;
  let gateways;

  before(async () => {
    /* No error of a busy machine's Redis may stand among the events. */
    cluster = await startReplicated({
      count: 2,
      args: ['--store-timeout', '8s'],
    });
    ({ gateways } = cluster);
  });
  after(() => cluster?.stop());

  async function open(gateway, { isWebsocket = false } = {}) {
    const session = new RawSession({ port: gateway.port });
    await (isWebsocket ? session.openWebsocket() : session.open());
    await session.connect();
    session.node = (await session.whoami()).node;
    return session;
  }

  /* The row of a session, which `gateway` may learn of a moment later. */
  async function seen(gateway, { sid }) {
    let found;
    await until(
      async () => {
        const { sessions } = await json(gateway, 'sessions', '--search', sid);
        [found] = sessions;
        return found;
      },
      SOON_MS,
      'the session is listed',
    );
    return found;
  }

  test('status, replicas, top', async () => {
    const [a, b] = gateways;
    const session = await open(a, { isWebsocket: true });
    await until(
      async () => (await json(a, 'status')).now.sessions_websocket === 1,
      SOON_MS,
      'the session is counted',
    );
    const text = await ctl(a, 'status');
    assert.match(text, /^gateway {5}gw1\.\w+, running for /);
    assert.match(text, /\nstore {7}redis is up, /);
    assert.match(text, /\naffinity {4}good: misroutes 0\/s \(0\), /);
    assert.match(text, /\nsessions {4}1 here: 0 polling, 1 websocket; /);
    for (const gateway of [a, b]) {
      const rows = rowsOf(await ctl(gateway, 'replicas'));
      assert.deepEqual(
        rows.map(({ REPLICA }) => REPLICA.split('.')[0]).sort(),
        ['gw1', 'gw2'],
      );
      const self = rows.find(({ SELF }) => SELF === 'this one');
      assert.match(self.REPLICA, new RegExp(`^${gateway.name}\\.`));
    }
    const top = await ctl(a, 'top', '--once');
    assert.match(top, /\nreplicas {4}2: /);
    assert.match(top, /\nn1 +up /);
    assert.match(top, /\nn2 +up /);
    assert.match(top, /\nEVENTS\n.*\binfo\b/);
    await session.close();
  });

  test('sessions through either shows all', async () => {
    const [a, b] = gateways;
    const here = await open(a);
    const there = await open(b, { isWebsocket: true });
    for (const gateway of gateways) {
      const first = await seen(gateway, here);
      const second = await seen(gateway, there);
      assert.equal(first.backend, here.node);
      assert.equal(first.transport, 'polling');
      assert.match(first.gateway, /^gw1\./);
      assert.equal(second.backend, there.node);
      assert.equal(second.transport, 'websocket');
      assert.match(second.gateway, /^gw2\./);
      for (const { sid, id } of [first, second]) {
        assert.match(id, /^[0-9a-f]{16}$/);
        assert.ok(!here.sid.startsWith(sid) || sid.length < 8);
      }
      const table = await ctl(gateway, 'sessions', '--all');
      const ids = rowsOf(table).map(({ ID }) => ID);
      assert.ok(ids.includes(first.id) && ids.includes(second.id), table);
      assert.ok(!table.includes(here.sid) && !table.includes(there.sid));

      const filtered = async (...words) =>
        (await json(gateway, 'sessions', '--all', ...words)).sessions.map(
          ({ id }) => id,
        );
      assert.ok(
        !(await filtered('--transport', 'polling')).includes(second.id),
      );
      assert.ok(
        (await filtered('--backend', there.node)).includes(second.id),
      );
      assert.deepEqual(await filtered('--client', '192.0.2.1'), []);
      /* Those of tests before may still be on their way out. */
      let own;
      await until(
        async () => {
          own = await filtered('--gateway', first.gateway);
          return own.length === 1;
        },
        SOON_MS,
        () => `one session of ${first.gateway}: ${own}`,
      );
      assert.deepEqual(own, [first.id]);
      assert.deepEqual(await filtered('--search', second.id), [second.id]);
      assert.equal(
        (await json(gateway, 'sessions', '--limit', '1')).sessions.length,
        1,
      );
    }
    await Promise.all([here.close(), there.close()]);
  });

  test('one session, by its id and by its sid', async () => {
    const [a, b] = gateways;
    const session = await open(a);
    const { id } = await seen(b, session);
    for (const gateway of gateways) {
      const byId = await ctl(gateway, 'session', id);
      assert.match(byId, new RegExp(`^id +${id}\n`));
      assert.match(byId, /\nstate +live\n/);
      assert.match(byId, new RegExp(`\nbackend +${session.node}\n`));
      const bySid = await ctlWith(gateway, session.sid, 'session', '-');
      assert.equal(bySid.code, 0, bySid.stderr);
      assert.match(bySid.stdout, new RegExp(`^id +${id}\n`));
      assert.ok(!bySid.stdout.includes(session.sid));
    }
    const nobody = await tryCtl(b, 'session', '0123456789abcdef');
    assert.equal(nobody.code, 1);
    assert.equal(nobody.stderr, 'sidgate ctl: no session has this id\n');
    await session.close();
  });

  test('kick through one ends a session of the other', async () => {
    const [a, b] = gateways;
    const factory = clientFactory('4');
    for (const mode of ['polling', 'websocket']) {
      const handle = openClient(factory, {
        client: '4',
        mode,
        url: `http://127.0.0.1:${a.port}`,
      });
      const me = await settle(handle);
      handle.closing = true;
      const { id } = await seen(b, me);
      /* Between two polls its node would not see that it is ended. */
      if (mode === 'polling')
        await until(() => isPolled(cluster, me), SOON_MS, 'its poll');
      const lost = new Promise((resolve) =>
        handle.socket.once('disconnect', resolve),
      );
      const said = await ctl(b, 'kick', id);
      assert.match(said, /^the session is ended \(2 gateways were told\)\n$/);
      await within(lost, SOON_MS, 'the end of the session');
      await until(() => isOver(cluster, me), SOON_MS, 'the node closed it');
      await until(
        async () =>
          (await json(a, 'sessions', '--ended')).sessions.some(
            (one) => one.id === id && one.cause === 'kicked',
          ),
        SOON_MS,
        'it is among those that ended',
      );
      handle.close();
    }
    const again = await tryCtl(b, 'kick', '0123456789abcdef');
    assert.equal(again.code, 1);
    assert.equal(again.stderr, 'sidgate ctl: no session has this id\n');
  });

  test('kick of a sid', async () => {
    const [a, b] = gateways;
    const session = await open(a, { isWebsocket: true });
    const closed = new Promise((resolve) => session.ws.once('close', resolve));
    await seen(b, session);
    const run = await ctlWith(b, session.sid, 'kick', '-');
    assert.equal(run.code, 0, run.stderr);
    assert.ok(!run.stdout.includes(session.sid));
    await within(closed, SOON_MS, 'a close frame');
  });

  test('drain and undrain', async () => {
    const [a] = gateways;
    const stateOf = async (id) =>
      rowsOf(await ctl(a, 'backends')).find(({ ID }) => ID === id);
    assert.equal(
      await ctl(a, 'drain', 'n1', '--timeout', '1h'),
      'n1 gets no new sessions\n',
    );
    assert.equal((await stateOf('n1')).STATE, 'drained');
    await until(
      async () => /(59m\d\ds|1h00m) left$/.test((await stateOf('n1')).DRAIN),
      SOON_MS,
      'its time begins',
    );
    assert.equal((await stateOf('n2')).STATE, 'up');
    const sessions = [];
    for (let i = 0; i < 4; i++) sessions.push(await open(a));
    assert.deepEqual(
      sessions.map(({ node }) => node),
      Array(4).fill('n2'),
    );
    await Promise.all(sessions.map((session) => session.close()));
    await ctl(a, 'undrain', 'n1');
    assert.equal((await stateOf('n1')).STATE, 'up');
    const wrong = await tryCtl(a, 'drain', 'n7');
    assert.equal(wrong.code, 1);
    assert.equal(wrong.stderr, 'sidgate ctl: there is no backend n7\n');
  });

  test('events, and those that come', async (t) => {
    const [a] = gateways;
    const follow = spawnGateway([
      'ctl',
      '--admin',
      `127.0.0.1:${a.adminPort}`,
      'events',
      '--follow',
      '--limit',
      '1',
    ]);
    t.after(() => follow.child.kill('SIGKILL'));
    await until(() => follow.stdout() !== '', SOON_MS, 'the last event');
    await ctl(a, 'drain', 'n2');
    await ctl(a, 'undrain', 'n2');
    await until(
      () =>
        /operator_action action=drain target=n2 .*\n.*action=undrain/s.test(
          follow.stdout(),
        ),
      SOON_MS,
      () => follow.stdout(),
    );
    follow.child.kill('SIGINT');
    assert.deepEqual(await follow.exited, { code: 0, signal: null });
    assert.equal(follow.stderr(), '');
    const all = await ctl(a, 'events', '--limit', '500');
    for (const line of follow.stdout().trimEnd().split('\n'))
      assert.ok(all.includes(`${line}\n`), line);
    const { events, last } = await json(a, 'events', '--level', 'error');
    assert.deepEqual(events, []);
    assert.ok(last > 0);
  });

  test('add, remove, reload, config, log-level', async () => {
    const [a] = gateways;
    const { port } = cluster.nodes[0];
    assert.equal(
      await ctl(a, 'add', `n9=127.0.0.2:${port},weight=3`),
      `n9=127.0.0.2:${port},weight=3 is added\n`,
    );
    const n9 = async () =>
      rowsOf(await ctl(a, 'backends')).find(({ ID }) => ID === 'n9');
    const added = await n9();
    assert.equal(added.SOURCE, 'operator');
    assert.equal(added.WEIGHT, '3');
    assert.equal(
      await ctl(a, 'remove', 'n9'),
      'n9 gets no new sessions and is forgotten after its last one\n',
    );
    const state = (await n9())?.STATE;
    assert.ok(['removed', undefined].includes(state), state);
    assert.equal(
      await ctl(a, 'reload'),
      'the configuration is in effect\n',
    );
    const config = JSON.parse(await ctl(a, 'config'));
    assert.equal(config.gateway_name, 'gw1');
    assert.equal(await ctl(a, 'log-level'), 'info\n');
    assert.equal(await ctl(a, 'log-level', 'debug'), 'debug\n');
    assert.equal(await ctl(a, 'log-level'), 'debug\n');
    await ctl(a, 'log-level', 'info');
    const wrong = await tryCtl(a, 'log-level', 'loud');
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /^sidgate ctl: [^\n]+\n$/);
  });

  test('wrong values are the gateway\'s to refuse', async () => {
    const [a] = gateways;
    for (const words of [
      ['sessions', '--transport', 'pigeon'],
      ['events', '--level', 'loud'],
      ['drain', 'n1', '--rate', 'x'],
      ['add', 'x'],
    ]) {
      const run = await tryCtl(a, ...words);
      assert.equal(run.code, 1, words.join(' '));
      assert.equal(run.stdout, '');
      assert.match(run.stderr, /^sidgate ctl: [^\n]+\n$/);
    }
  });
});

describe('who may', () => {
  const FULL = 'a-token-that-may-do-all';
  const READ = 'a-token-that-may-look';

  function tokens(t) {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'sidgate-ctl-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const write = (name, text) => {
      const file = path.join(folder, name);
      writeFileSync(file, text, { mode: 0o600 });
      return file;
    };
    return {
      folder,
      full: write('full', FULL),
      read: write('read', READ),
      wrong: write('wrong', 'a-token-of-somebody-else'),
    };
  }

  async function run(...args) {
    const child = spawnGateway(['ctl', ...args]);
    const { code } = await child.exited;
    return { code, stdout: child.stdout(), stderr: child.stderr() };
  }

  async function checkTokens(admin, files) {
    const as = (file, ...words) =>
      run('--admin', admin, ...(file ? ['--admin-token-file', file] : []),
          ...words);
    for (const file of [files.wrong, null])
      for (const words of [['status'], ['drain', 'n1'], ['top'],
                           ['events', '--follow']]) {
        const { code, stdout, stderr } = await as(file, ...words);
        assert.equal(code, 1, stderr);
        assert.equal(stdout, '');
        assert.match(stderr, /^sidgate ctl: [^\n]*token[^\n]*\n$/);
      }
    const status = await as(files.read, 'status');
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /\(this token may only read\)/);
    for (const words of [['drain', 'n1'], ['kick', 'x'], ['reload'],
                         ['log-level', 'debug'], ['upgrade']]) {
      const { code, stderr } = await as(files.read, ...words);
      assert.equal(code, 1, words.join(' '));
      assert.match(stderr, /^sidgate ctl: [^\n]*read[^\n]*\n$/);
    }
    assert.equal((await as(files.read, 'backends')).code, 0);
    const all = await as(files.full, 'status');
    assert.doesNotMatch(all.stdout, /may only read/);
    assert.equal((await as(files.full, 'drain', 'n1')).code, 0);
    assert.equal((await as(files.full, 'undrain', 'n1')).code, 0);
  }

  test('over TCP', async (t) => {
    const files = tokens(t);
    const { admin, stderr } = await serve(t, [
      '--admin', '127.0.0.1:0', '--admin-token-file', files.full,
      '--admin-read-token-file', files.read,
    ]);
    const at = `127.0.0.1:${admin.port}`;
    await checkTokens(at, files);
    /* Of what is refused, one in a second is told. */
    await until(
      async () => {
        await run('--admin', at, '--admin-token-file', files.read, 'drain',
                  'n1');
        return / action=drain target=n1 status=403 /.test(stderr());
      },
      SOON_MS,
      stderr,
    );
    assert.match(stderr(), /action=drain target=n1 status=200 who=token@/);
    for (const secret of [FULL, READ]) assert.ok(!stderr().includes(secret));
  });

  test('over a unix socket', async (t) => {
    const files = tokens(t);
    const admin = `unix:${files.folder}/admin`;
    const { stderr } = await serve(t, ['--admin', admin]);
    for (const words of [['status'], ['backends'], ['sessions'], ['events'],
                         ['config'], ['drain', 'n1'], ['undrain', 'n1'],
                         ['reload']]) {
      const { code, stderr: error } = await run('--admin', admin, ...words);
      assert.equal(code, 0, `${words.join(' ')}: ${error}`);
    }
    assert.match(
      stderr(),
      new RegExp(
        `action=drain target=n1 status=200 who="?uid=${os.userInfo().uid}`,
      ),
    );
  });
});

test('upgrade', async (t) => {
  const { admin } = await serve(t, ['--admin', '127.0.0.1:0']);
  const where = ['--admin', `127.0.0.1:${admin.port}`];
  const child = spawnGateway(['ctl', 'upgrade', ...where]);
  const { code } = await child.exited;
  assert.equal(code, 0, child.stderr());
  const [, from, to] = /^upgraded: pid (\d+) -> (\d+) in/.exec(child.stdout());
  assert.notEqual(from, to);
  const status = spawnGateway(['ctl', 'status', '--json', ...where]);
  await status.exited;
  assert.equal(JSON.parse(status.stdout()).pid, Number(to));
  process.kill(Number(to), 'SIGTERM');
});
