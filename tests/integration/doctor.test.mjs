/* SPDX-License-Identifier: MIT */
/* `sidgate doctor` before real balancers, each with its own fault or none. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../support/gateway.mjs';
import { testCertificates } from '../support/certificates.mjs';
import {
  SID_LEARNING,
  startHaproxy,
  startNginx,
  startRelay,
} from './lib/balancers.mjs';
import { liveSids, startNode } from './lib/cluster.mjs';
import { until } from './lib/wait.mjs';

const SESSIONS = '12';
/* Where chance decides: its share is then as it should be. */
const MANY = ['--no-idle', '--sessions', '200', '--timeout', '80'];
const PING = { pingInterval: 2000, pingTimeout: 4000 };
/* Nothing but silence lasts as long as that timeout, and who notices it late
 * does so before the node says something. */
const IDLE = '3s';
const QUIET = { pingInterval: 9000, pingTimeout: 4000 };
const LEFT_MS = 30_000;
const nodes = [];
let quiet;

/* {code, report, stdout, stderr} of a run on `port`. */
function examine(port, args = [], isJson = true) {
  const all = [
    'doctor', '--sessions', SESSIONS, ...args, ...(isJson ? ['--json'] : []),
    typeof port === 'string' ? port : `http://127.0.0.1:${port}/socket.io/`,
  ];
  const child = spawn(process.env.SIDGATE_BIN, all, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 90_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
      const report = isJson && stdout ? JSON.parse(stdout) : null;
      resolve({ code, report, stdout, stderr });
    });
  });
}

const errorsOf = ({ report }) =>
  report.findings
    .filter(({ severity }) => severity === 'error')
    .map(({ code }) => code);

function check({ report }, name) {
  return report.checks.find((one) => one.name === name);
}

async function finds(balancer, codes, args = ['--no-idle']) {
  try {
    const result = await examine(balancer.port, args);
    assert.deepEqual(errorsOf(result), codes, result.stdout);
    assert.equal(result.code, codes.length > 0 ? 1 : 0);
    assert.equal(result.report.ok, codes.length === 0);
    for (const { title, text, cause, advice } of result.report.findings)
      for (const words of [title, text, cause, advice])
        assert.ok(words.length > 15, words);
    return result;
  } finally {
    await balancer.stop();
  }
}

before(async () => {
  const names = ['n1', 'n2', 'n3'];
  nodes.push(
    ...(await Promise.all(names.map((name) => startNode('4', name, PING)))),
  );
  quiet = await startNode('4', 'quiet', QUIET);
});

after(() => Promise.all([...nodes, quiet].map((node) => node?.stop())));

describe('a fault is found', { concurrency: 3 }, () => {
  test('round robin without stickiness: HAProxy', async () => {
    const result = await finds(await startHaproxy(nodes), ['no-affinity']);
    const { tried, good } = check(result, 'new');
    assert.ok(good < tried * 0.7, `${good} of ${tried}`);
    assert.match(result.report.findings[0].text, /Session ID unknown/);
  });

  test('round robin without stickiness: nginx', async () => {
    const result = await finds(await startNginx(nodes), ['no-affinity']);
    assert.match(
      result.report.findings[0].text,
      /looks like about \d+ servers|Not one was right/,
    );
  });

  test('servers by chance, and their number', async () => {
    const balancer = await startHaproxy(nodes, { balance: 'random(1)' });
    const result = await finds(balancer, ['no-affinity'], MANY);
    assert.match(result.report.findings[0].text, /looks like about 3 servers/);
  });

  test('a hash of the address that changes: HAProxy', async () => {
    const balancer = await startHaproxy(nodes, {
      balance: 'source',
      lines: ['hash-type consistent'],
    });
    const result = await finds(balancer, ['ip-hash']);
    assert.equal(check(result, 'new').unknown, 0);
    assert.ok(check(result, 'changed').unknown > 0);
  });

  test('a hash of the address that changes: nginx', async () => {
    const lines = ['hash $remote_addr consistent;'];
    await finds(await startNginx(nodes, { lines }), ['ip-hash']);
  });

  /* It takes no notice of an address's last number. */
  test("nginx's ip_hash", async () => {
    const balancer = await startNginx(nodes, { lines: ['ip_hash;'] });
    const result = await finds(balancer, ['ip-hash']);
    assert.equal(check(result, 'new').unknown, 0);
    assert.ok(check(result, 'upgrade-changed').unknown > 0);
  });

  test('a balancer of connections', async () => {
    const balancer = await startRelay((n) => nodes[n % 3].port);
    const result = await finds(balancer, ['by-connection']);
    assert.equal(check(result, 'kept').unknown, 0);
  });

  test('two that learn, each for itself', async () => {
    const boxes = await Promise.all(
      [0, 1].map(() => startHaproxy(nodes, { lines: SID_LEARNING })),
    );
    const balancer = await startRelay(
      () => boxes[Math.floor(Math.random() * 2)].port,
    );
    const { stop } = balancer;
    balancer.stop = () => Promise.all([stop(), ...boxes.map((box) => box.stop())]);
    await finds(balancer, ['partly'], MANY);
  });

  test('cookies alone', async () => {
    const balancer = await startHaproxy(nodes, {
      lines: ['cookie SRV insert indirect nocache'],
      server: (i) => `cookie n${i}`,
    });
    const result = await finds(balancer, ['cookie-only']);
    assert.equal(check(result, 'cookie').unknown, 0);
  });

  test('an Upgrade field that is stripped', async () => {
    const balancer = await startNginx(nodes.slice(0, 1), { upgrades: false });
    const result = await finds(balancer, ['upgrade-stripped']);
    assert.equal(check(result, 'upgrade').good, 0);
    assert.match(result.report.findings[0].advice, /proxy_set_header/);
  });

  test('that, and no stickiness: both', async () => {
    const balancer = await startNginx(nodes, { upgrades: false });
    await finds(balancer, ['no-affinity', 'upgrade-stripped']);
  });

  test('an idle timeout shorter than pingInterval: HAProxy', async () => {
    const balancer = await startHaproxy([quiet], {
      lines: SID_LEARNING,
      timeout: IDLE,
    });
    const result = await finds(balancer, ['idle-timeout'], []);
    assert.match(result.report.findings[0].text, /after (2\.9|[3-8]\.\d) s/);
  });

  test('an idle timeout shorter than pingInterval: nginx', async () => {
    const balancer = await startNginx([quiet], { timeout: IDLE });
    await finds(balancer, ['idle-timeout'], []);
  });

  test('no websockets at all', async () => {
    const balancer = await startHaproxy(nodes, {
      lines: [
        ...SID_LEARNING,
        'http-request deny deny_status 403 if { hdr(upgrade) -m found }',
      ],
    });
    await finds(balancer, ['websocket-blocked']);
  });

  test('websockets that are cut at their first frame', async () => {
    const upgrading = new WeakSet();
    const balancer = await startRelay(
      () => nodes[0].port,
      (bytes, { client, node }) => {
        if (upgrading.has(client)) return void node.destroy();
        if (/transport=websocket&sid=/.test(bytes)) upgrading.add(client);
        return bytes;
      },
    );
    await finds(balancer, ['websocket-closed']);
  });

  test('follow-ups without an answer, in the time that there is', async () => {
    const balancer = await startRelay(
      () => nodes[0].port,
      (bytes) => (/sid=/.test(bytes) ? null : bytes),
    );
    const args = ['--no-idle', '--timeout', '2'];
    const result = await finds(balancer, ['too-little'], args);
    assert.ok(result.report.took_ms < 8000);
  });
});

describe('all is well', { concurrency: 3 }, () => {
  const isWell = async (balancer, args) => {
    const result = await finds(balancer, [], args);
    for (const { name, tried, good } of result.report.checks)
      assert.equal(good, tried, `${name}: ${good} of ${tried}`);
    assert.ok(check(result, 'upgrade-changed').tried > 0);
    return result;
  };

  /* The server refuses those that come behind the end of an upgrade. */
  test('polls that come by a longer way', async () => {
    const balancer = await startRelay(
      () => nodes[0].port,
      (bytes, { node }) => {
        if (!/^GET \S*transport=polling&sid=/.test(bytes)) return bytes;
        return void setTimeout(() => node.write(bytes), 300);
      },
    );
    await isWell(balancer, ['--no-idle']);
  });

  test('sidgate', async () => {
    const gateway = await startGateway({
      backends: nodes.map(({ name, port }) => ({ id: name, port })),
    });
    const result = await isWell(gateway, []);
    assert.equal(check(result, 'idle-poll').good, 1);
    assert.equal(check(result, 'idle-websocket').good, 1);
    const ended = (await gateway.stop()) ?? {};
    assert.notEqual(ended.code, 1);
  });

  test("HAProxy's sid learning, on one box", async () => {
    await isWell(await startHaproxy(nodes, { lines: SID_LEARNING }), []);
  });

  test('a server itself', async () => {
    await isWell({ port: nodes[0].port, stop: () => {} }, ['--no-idle']);
  });

  test('nginx before one server', async () => {
    await isWell(await startNginx(nodes.slice(0, 1)), []);
  });

  test('a server that takes websockets alone, or polls alone', async () => {
    for (const [transport, code] of [
      ['websocket', 'websocket-only'],
      ['polling', 'no-upgrade-offered'],
    ]) {
      const options = { ...PING, transports: [transport] };
      const node = await startNode('4', transport, options);
      const result = await examine(node.port, ['--no-idle']);
      await node.stop();
      assert.equal(result.code, 0, result.stdout);
      assert.deepEqual(
        result.report.findings.map((one) => one.code),
        [code],
      );
    }
  });

  test('it leaves no session behind', async () => {
    const node = await startNode('4', 'alone', PING);
    await isWell({ port: node.port, stop: () => {} }, []);
    let stats;
    await until(
      async () => liveSids((stats = await node.stats())).length === 0,
      LEFT_MS,
      'all sessions are closed',
    );
    const ends = Object.values(stats.sessions).map(([, , reason]) => reason);
    assert.ok(ends.length > 50);
    assert.ok(!ends.includes('ping timeout'), ends.join(', '));
    await node.stop();
  });

  test('Engine.IO 3', async () => {
    const node = await startNode('2', 'old', PING);
    const gateway = await startGateway({
      backends: [{ id: 'old', port: node.port }],
    });
    await isWell(gateway, ['--eio', '3']);
    await node.stop();
  });
});

describe('over TLS', () => {
  test('a certificate that is not trusted is said, or accepted', async () => {
    const { pem } = testCertificates().server;
    const gateway = await startGateway({
      backends: nodes.map(({ name, port }) => ({ id: name, port })),
      listen: ['127.0.0.1:0,tls'],
      args: ['--tls-certificate', pem],
    });
    const url = `https://127.0.0.1:${gateway.port}/socket.io/`;
    const refused = await examine(url, ['--no-idle']);
    assert.equal(refused.code, 2, refused.stdout);
    assert.match(refused.stderr, /^sidgate doctor: TLS: .*(certificate|issuer)/);
    const accepted = await examine(url, ['--no-idle', '--insecure']);
    assert.deepEqual(errorsOf(accepted), [], accepted.stdout);
    await gateway.stop();
  });
});

describe('what it says', () => {
  test('plain words, and no session id', async () => {
    const balancer = await startHaproxy(nodes);
    const { code, stdout } = await examine(balancer.port, ['--no-idle'], false);
    await balancer.stop();
    assert.equal(code, 1);
    assert.match(stdout, /Something is wrong there/);
    assert.match(stdout, /1\. Sessions do not stay .* \[no-affinity\]\n {3}Seen: /);
    assert.match(stdout, /\n {3}Cause: +Each request goes to any server/);
    assert.match(stdout, /\n {3}Do: +Send each request to the server/);
    for (const line of stdout.split('\n')) assert.ok(line.length < 80, line);
    assert.match(stdout, /requests on new connections +\d+ of \d+, \d+ unknown/);
    assert.doesNotMatch(stdout, /[\w-]{20}/);
  });

  test('a site that is no Engine.IO', async () => {
    const site = http.createServer((req, res) => res.end('<h1>hello\x1b[2J'));
    await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
    const result = await examine(site.address().port);
    site.close();
    assert.deepEqual(errorsOf(result), ['not-engine-io']);
    assert.equal(result.code, 1);
    assert.match(result.report.findings[0].text, /<h1>hello\?\[2J/);
  });

  test('another version of the protocol', async () => {
    const node = await startNode('4', 'new', { ...PING, allowEIO3: false });
    const result = await examine(node.port, ['--eio', '3']);
    await node.stop();
    assert.deepEqual(errorsOf(result), ['other-version']);
  });

  test('nobody there', async () => {
    const { code, stdout, stderr } = await examine(1);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^sidgate doctor: cannot connect to .*refused\n$/);
  });

  test('a command line that is wrong', async () => {
    for (const [url, args, line] of [
      ['ftp://x/', [], /not a URL/],
      ['http://', [], /not a URL/],
      ['http://u:p@x/', [], /not a URL/],
      ['http://x:99999999/', [], /not a URL/],
      ['http://x/', ['--sessions', '0'], /--sessions is not a number/],
      ['http://x/', ['--eio', '5'], /--eio is not 3 or 4/],
      ['http://x/', ['--header', 'none'], /--header is not/],
      ['http://x/', ['--timeout', '601'], /--timeout is not/],
      ['http://x/', ['--what'], /unknown option.*--what/],
    ]) {
      const { code, stderr } = await examine(url, args, false);
      assert.equal(code, 2, stderr);
      assert.match(stderr, line);
      assert.equal(stderr.trim().split('\n').length, 1);
    }
  });
});
