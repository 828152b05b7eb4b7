/* SPDX-License-Identifier: MIT */
/* The live page, in a browser, of a gateway that real clients go through. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../support/gateway.mjs';
import { isSanitized } from '../support/process.mjs';
import { inTime } from '../support/wire.mjs';
import { startCluster } from './lib/cluster.mjs';
import {
  assertAccessible,
  assertFits,
  opened,
  startClients,
  startWay,
  startWatcher,
} from './lib/live-page.mjs';
import { until } from './lib/wait.mjs';

const LOAD_MS = 1000;
const SHOWN_MS = 2000;
const SOON_MS = 20_000;
const NODES = ['n1', 'n2', 'n3'];
const MODES = ['upgrade', 'polling', 'websocket'];
const NINE = [...MODES, ...MODES, ...MODES];
/* So many that a node has some, wherever those of the last test ended. */
const MANY = [...NINE, ...NINE, ...NINE];
const FEW = 5;

const folder = mkdtempSync(path.join(tmpdir(), 'sidgate-page-'));
const idOf = (sid) =>
  createHash('sha256').update(sid).digest('hex').slice(0, 16);
const row = (page, id) => page.locator('#sessions-body tr', { hasText: id });
const nodeRow = (page, id) =>
  page.locator(`#nodes-body tr:has(button.link:text-is("${id}"))`);

function tokenFile(name, token) {
  const file = path.join(folder, name);
  writeFileSync(file, token, { mode: 0o600 });
  return file;
}

describe('the live page', { timeout: 120_000 }, () => {
  let cluster;
  let watcher;
  let url;
  let slower = 1;
  before(async () => {
    [cluster, watcher] = await Promise.all([startCluster(), startWatcher()]);
    url = `http://127.0.0.1:${cluster.gateway.adminPort}/`;
    slower = isSanitized(cluster.gateway.pid) ? 4 : 1;
  });
  after(async () => {
    await watcher?.stop();
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /* Opens the page and closes it behind the test. */
  async function look(t, options) {
    const page = await watcher.open(url, options);
    t.after(() => page.done());
    await opened(page);
    return page;
  }

  async function clients(t, modes) {
    const all = await startClients(cluster.url, modes);
    t.after(() => all.forEach(({ close }) => close()));
    return all;
  }

  test('loads under a second', (t) =>
    inTime(async () => {
      const page = await look(t);
      const { loaded, shown } = await page.evaluate(() => ({
        loaded: performance.getEntriesByType('navigation')[0].loadEventEnd,
        shown: performance.getEntriesByName('first-contentful-paint')[0]
          .startTime,
      }));
      page.assertClean();
      return Math.max(loaded, shown);
    }, LOAD_MS * slower));

  test('shows the sessions of clients, and finds one', async (t) => {
    const page = await look(t);
    const all = await clients(t, NINE);
    const { sid, node, transport } = all[1].me;
    const id = idOf(sid);
    await row(page, id).waitFor();
    const rows = page.locator('#sessions-body tr');
    await until(
      async () => (await rows.count()) === NINE.length,
      SOON_MS,
      'a row for each client',
    );
    const shown = await row(page, id).innerText();
    for (const part of [node, transport, '127.0.0.1', `${sid.slice(0, 4)}...`])
      assert.ok(shown.includes(part), `${part} in ${shown}`);

    const isAlone = async () => (await rows.count()) === 1;
    for (const text of [sid, id, id.slice(0, 9)]) {
      await page.fill('#session-search', text);
      await until(isAlone, SOON_MS, `one row for ${text}`);
      await row(page, id).waitFor();
      await page.fill('#session-search', '');
      await until(async () => !(await isAlone()), SOON_MS, 'all rows again');
    }
    await page.fill('#session-search', 'nobody is called so');
    await page.shows('#sessions-none');
    await page.fill('#session-search', '');

    const onNode = all.filter(({ me }) => me.node === node);
    await page.selectOption('[name=backend]', node);
    await until(
      async () => (await rows.count()) === onNode.length,
      SOON_MS,
      `${onNode.length} sessions on ${node}`,
    );
    const polling = onNode.filter(({ me }) => me.transport === 'polling');
    await page.selectOption('[name=transport]', 'polling');
    await until(
      async () => (await rows.count()) === polling.length,
      SOON_MS,
      `${polling.length} that poll on ${node}`,
    );
    assert.doesNotMatch(await page.content(), new RegExp(sid));
    page.assertClean();
  });

  test('shows a session within two seconds', async (t) => {
    const page = await look(t);
    await inTime(async () => {
      const [{ me }] = await clients(t, ['polling']);
      const began = performance.now();
      await row(page, idOf(me.sid)).waitFor();
      return performance.now() - began;
    }, SHOWN_MS * slower);
    page.assertClean();
  });

  test('tells at a glance', async (t) => {
    const all = await clients(t, NINE);
    const page = await look(t);
    await page.shows('#verdict-line', /Affinity works: no misroutes/);
    await page.shows('#findings', /All nodes are up \(3\)/);
    await page.shows('#findings', /Upgrades to websocket succeed: 100 %/);
    const sockets = all.filter(({ me }) => me.transport === 'websocket');
    await page.shows('#now-websocket', new RegExp(`^${sockets.length}$`));
    assert.match(await page.title(), /^✔ Affinity works/);
    for (const id of NODES) {
      const text = await nodeRow(page, id).innerText();
      assert.match(text, /✔\s*up/);
      const mine = all.filter(({ me }) => me.node === id).length;
      await nodeRow(page, id).locator('.load', { hasText: mine }).waitFor();
    }
    let said = '';
    await until(
      async () => {
        said = await page.locator('#chart-desc-1').textContent();
        return /^all: last \d+, lowest \d+, highest \d+; websocket/.test(said);
      },
      SOON_MS,
      () => `the chart says "${said}"`,
    );
    await page.click('#charts-as-table');
    await page.shows('#charts-body tr');
    await page.shows('#replicas-body tr', 'this one');
    await page.shows('#events-list li', 'ready');
    page.assertClean();
  });

  test('drains a node, with progress, and undrains it', async (t) => {
    const all = await clients(t, MANY);
    const mine = all.filter(({ me }) => me.node === 'n2');
    assert.ok(mine.length >= FEW, `${mine.length} sessions on n2`);
    const page = await look(t);
    await nodeRow(page, 'n2').getByRole('button', { name: 'Drain n2' }).click();
    await page.fill('#drain-rate', 'fast');
    await page.click('#confirm-yes');
    await page.shows('#confirm-fault', /whole number/);
    await page.fill('#drain-rate', '1');
    await page.fill('#drain-timeout', '1h');
    await page.click('#confirm-yes');
    await page.locator('#confirm').waitFor({ state: 'hidden' });
    const line = nodeRow(page, 'n2');
    await line.locator('.state', { hasText: 'drained' }).waitFor();
    const pace = line.locator('.drain', { hasText: 'left, 1 a second' });
    await pace.waitFor();
    await page.shows('#findings', /n2 gets no new sessions/);
    const bar = line.locator('progress');
    assert.equal(Number(await bar.getAttribute('max')), mine.length);
    await until(
      async () => Number(await bar.getAttribute('value')) > 0,
      10_000,
      'some closed',
    );
    const empty = line.locator('.drain', { hasText: 'empty' });
    await empty.waitFor({ timeout: mine.length * 1000 + 10_000 });
    await until(
      () => mine.every(({ ends }) => ends.length > 0),
      5000,
      'their clients to see it',
    );
    await line.getByRole('button', { name: 'Undrain n2' }).click();
    await page.click('#confirm-yes');
    await line.locator('.state', { hasText: 'up' }).waitFor();
    await line.locator('.drain').waitFor({ state: 'hidden' });
    await line.getByRole('button', { name: 'n2', exact: true }).click();
    await page.shows('#node-history li', 'drained');
    await page.shows('#events-list li', /operator_action/);
    page.assertClean();
  });

  for (const mode of MODES)
    test(`kicks a session, ${mode}`, async (t) => {
      const [{ me, ends }] = await clients(t, [mode]);
      const page = await look(t);
      const id = idOf(me.sid);
      await row(page, id).getByRole('button').click();
      await page.shows('#session-fields', me.node);
      await page.click('#session-kick');
      assert.equal(ends.length, 0);
      await page.click('#confirm-yes');
      await page.shows('#session-note', /^Ended: 1 replica told/);
      await until(() => ends.length > 0, SOON_MS, 'the client to see its end');
      await page.shows('#session-fields', /an operator ended it/);
      await page.keyboard.press('Escape');
      await page.selectOption('[name=ended]', 'true');
      await row(page, id).locator('.cause', { hasText: /operator/ }).waitFor();
      page.assertClean();
    });

  test('can be walked by keyboard, to a kick', async (t) => {
    const [{ me, ends }] = await clients(t, ['websocket']);
    const page = await look(t);
    const id = idOf(me.sid);
    await row(page, id).waitFor();
    const focused = () =>
      page.evaluate(() => {
        const { activeElement: at } = document;
        return `${at.id} ${at.getAttribute('aria-label') ?? at.textContent}`;
      });
    const tabTo = async (what) => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        if (what.test(await focused())) return;
      }
      assert.fail(`${what} was not reached by Tab: ${await focused()}`);
    };
    await page.keyboard.press('Tab');
    assert.match(await focused(), /Skip to the content/);
    await tabTo(/^session-search/);
    await page.keyboard.type(id);
    await until(
      async () => (await page.locator('#sessions-body tr').count()) === 1,
      SOON_MS,
      'one row',
    );
    await tabTo(new RegExp(`Session .* ${id}`));
    await page.keyboard.press('Enter');
    await page.shows('#session');
    assert.match(await focused(), /Close/);
    await page.keyboard.press('Escape');
    await page.locator('#session').waitFor({ state: 'hidden' });
    assert.match(await focused(), new RegExp(id));
    await page.keyboard.press('Enter');
    await tabTo(/^session-kick/);
    await page.keyboard.press('Enter');
    await tabTo(/^confirm-yes/);
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press('Tab');
      const isOutside = await page.evaluate(
        () =>
          document.activeElement !== document.body &&
          !document.activeElement.closest('#confirm'),
      );
      assert.equal(isOutside, false, 'the dialog keeps the focus');
    }
    await tabTo(/^confirm-yes/);
    await page.keyboard.press('Enter');
    await until(() => ends.length > 0, SOON_MS, 'the client to see its end');
    let at = '';
    await until(
      async () => /^session-note Ended/.test((at = await focused())),
      SOON_MS,
      () => `the focus at what came of it, not at "${at}"`,
    );
    page.assertClean();
  });

  test('axe finds no grave fault', async (t) => {
    const [{ me }] = await clients(t, ['polling', 'websocket']);
    const page = await look(t);
    const inBoth = async (where) => {
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await assertAccessible(page, `${where}, ${colorScheme}`);
      }
    };
    const escape = (selector) => {
      page.keyboard.press('Escape');
      return page.locator(selector).waitFor({ state: 'hidden' });
    };
    await row(page, idOf(me.sid)).waitFor();
    await inBoth('the page');
    await page.setViewportSize({ width: 360, height: 640 });
    await assertAccessible(page, 'the page of a phone');
    await assertFits(page);
    await row(page, idOf(me.sid)).getByRole('button').click();
    await inBoth('a session');
    await page.click('#session-kick');
    await inBoth('the question before a kick');
    await escape('#confirm');
    await escape('#session');
    await nodeRow(page, 'n1').locator('button.link').click();
    await inBoth('a node');
    await page.click('#node-action');
    await page.fill('#drain-rate', 'x');
    await page.click('#confirm-yes');
    await inBoth('a drain with a fault');
    await escape('#confirm');
    await escape('#node');
    await page.click('#charts-as-table');
    await inBoth('the numbers as a table');
    await assertFits(page);
    page.assertClean();
  });

  /* A gateway of its own, with more arguments. */
  async function another(t, args) {
    const gateway = await startGateway({ backends: cluster.backends, args });
    t.after(() => gateway.stop());
    return `http://127.0.0.1:${gateway.adminPort}/`;
  }

  async function lookAt(t, address) {
    const page = await watcher.open(address);
    t.after(() => page.done());
    return page;
  }

  test('asks for a token, and shows what each may do', async (t) => {
    const full = 'full-token-0123456789';
    const read = 'read-token-0123456789';
    const address = await another(t, [
      '--admin-token-file', tokenFile('full', full),
      '--admin-read-token-file', tokenFile('read', read),
    ]);
    const enter = async (page, token) => {
      await page.shows('#login');
      await page.fill('#token', token);
      await page.keyboard.press('Enter');
    };
    const page = await lookAt(t, address);
    await page.shows('#login');
    await assertAccessible(page, 'the form for the token');
    await enter(page, 'wrong-token-0123456789');
    await page.shows('#token-wrong');
    await enter(page, full);
    await opened(page);
    await page.shows('#nodes-body button', 'Drain');
    assert.equal(await page.locator('#read-only').isVisible(), false);
    await page.reload();
    await opened(page);
    await page.click('#forget');
    await page.shows('#login');

    await enter(page, read);
    await opened(page);
    await page.shows('#read-only');
    assert.equal(await page.locator('#nodes-body tr').count(), 3);
    assert.equal(
      await page.locator('#nodes-body .action button:visible').count(),
      0,
    );
    await page.locator('#nodes-body button.link').first().click();
    await page.shows('#node');
    assert.equal(await page.locator('#node-action').isVisible(), false);
    page.assertClean(/status of 401/);
  });

  test('says so when it is not connected, and comes back', async (t) => {
    const way = await startWay(cluster.gateway.adminPort);
    t.after(() => way.close());
    const page = await lookAt(t, `http://127.0.0.1:${way.port}/`);
    await opened(page);
    await way.close();
    await page.shows('#link[data-state="lost"]', /Not connected/);
    await page.shows('#link-text', /What is shown is of/);
    await page.shows('body.stale');
    assert.match(await page.title(), /^○ Not connected/);
    await way.open();
    await page.shows('#link[data-state="live"]');
    assert.equal(await page.locator('body.stale').count(), 0);
    page.assertClean(/ERR_|WebSocket|Failed to load/);
  });
});
