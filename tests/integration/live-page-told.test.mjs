/* SPDX-License-Identifier: MIT */
/* What the live page makes of what it is told: the gateway serves the page,
 * the test plays its API. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../support/gateway.mjs';
import { startWatcher } from './lib/live-page.mjs';
import { until } from './lib/wait.mjs';

const MARKUP = '<img src=x onerror="document.title=1"><b>bold</b>';
const NOW = '2026-01-02T03:04:05.000Z';
const TICK_MS = 100;

function makeStatus(more = {}) {
  const failures = ['refused', 'unreachable', 'stripped', 'probe', 'closed'];
  const { now, totals, ...rest } = more;
  return {
    gateway: 'gw1.00ff', name: 'gw1', version: '1', pid: 1,
    started: '2026-01-02T02:04:05.000Z', uptime_s: 3600, phase: 'running',
    workers: 1, log_level: 'info', access: 'full',
    store: { kind: 'redis', state: 'up', connections_up: 2, connections: 2 },
    replicas: [{ id: 'gw1', is_self: true, sessions: 2, heard_s: null }],
    now: {
      handshakes_per_s: 1, requests_per_s: 10, upgrades_per_s: 1,
      upgrade_success: 1, misroutes_per_s: 0, unknown_sid_per_s: 0,
      recoveries_per_s: 0, ended_per_s: 0, handshake_p50_ms: 1,
      handshake_p99_ms: 2, bytes_in_per_s: 1, bytes_out_per_s: 1,
      connections: 1, tunnels: 1, sessions: 2, sessions_polling: 1,
      sessions_websocket: 1, sessions_elsewhere: 0, ...now,
    },
    totals: {
      handshakes: 1, requests: 1, sessions_begun: 2, sessions_ended: 0,
      upgrade_attempts: 100, upgrade_successes: 100, misroutes: 0,
      unknown_sid: 0, recoveries: 0,
      upgrade_failures: Object.fromEntries(failures.map((why) => [why, 0])),
      ...totals,
    },
    ...rest,
  };
}

function makeBackend(id, more = {}) {
  return {
    id, pool: 'default', address: '127.0.0.1:1', state: 'up', reason: '',
    weight: 1, max_sessions: 0, sessions: 1, sessions_polling: 0,
    sessions_websocket: 1, handshakes: 0, sessions_elsewhere: 0,
    source: 'config', drain: null, requests_total: 1, errors_total: 0,
    upgrade_attempts: 0, upgrade_successes: 0, history: [], ...more,
  };
}

function makePoints(more = {}, count = 180) {
  return Array.from({ length: count }, (_, i) => ({
    time: new Date(Date.parse(NOW) - (count - 1 - i) * 5000).toISOString(),
    handshakes_per_s: 1, requests_per_s: 10, sessions: 2,
    sessions_websocket: 1, upgrade_success: 1, misroutes_per_s: 0,
    handshake_p50_ms: 1, handshake_p99_ms: 2, bytes_per_s: 1, ended_per_s: 0,
    ...more,
  }));
}

function makeSession(i, more = {}) {
  return {
    id: i.toString(16).padStart(16, '0'), sid: 'abcd...', backend: 'n1',
    transport: 'polling', eio: 4, client: '10.0.0.7', gateway: 'gw1',
    created: NOW, age_s: 1, seen: NOW, idle_s: 1, expires_s: 1, requests: null,
    bytes_in: null, bytes_out: null, ...more,
  };
}

const failing = (success, failures) => ({
  now: { upgrade_success: success },
  totals: { upgrade_failures: failures },
});
const DOWN = { state: 'down', reason: 'connection refused' };
const WAS_DOWN = {
  history: [{ time: '2026-01-02T03:01:00.000Z', state: 'down', reason: '' }],
};
const QUIET = {
  requests_per_s: 0, sessions_websocket: 0, upgrade_success: null,
};
const VERDICTS = [
  ['good', {}, 'Affinity works: no misroutes in the last 15 min'],
  ['good', { points: 36 }, 'Affinity works: no misroutes in the last 3 min'],
  ['bad', { n2: DOWN }, 'n2 is down: connection refused'],
  [
    'bad',
    { n1: DOWN, n2: DOWN, n3: DOWN },
    'No node takes new sessions',
  ],
  [
    'warn',
    { status: failing(0.88, { stripped: 9, refused: 3 }) },
    '12 % of upgrades fail, most by stripped Upgrade header',
  ],
  [
    'bad',
    { status: failing(0.2, { closed: 80 }) },
    '80 % of upgrades fail, most by a websocket closed at once',
  ],
  [
    'bad',
    { point: { misroutes_per_s: 0.1 } },
    '90 requests reached a node that did not know the session in the last ' +
      '15 min: see which node was started anew, or answers at the wrong ' +
      'address',
  ],
  [
    'warn',
    { point: { misroutes_per_s: 0.1 }, n3: WAS_DOWN },
    '90 requests reached a node that did not know the session in the last ' +
      '15 min: n3 had failed, and may have forgotten its sessions',
  ],
  [
    'bad',
    {
      status: {
        store: {
          kind: 'redis', state: 'down', connections_up: 0, connections: 2,
        },
      },
    },
    'The store (redis) is down: what other replicas know is out of reach',
  ],
  [
    'warn',
    { status: { replicas: [{ id: 'gw2', is_self: false, heard_s: 7.2 }] } },
    'Replica gw2 was last heard 7 s ago',
  ],
  [
    'warn',
    { status: { now: { unknown_sid_per_s: 3 } } },
    '3 requests a second name a session that nobody knows: clients come back ' +
      'too late, or sessions were lost',
  ],
  [
    'warn',
    { n1: { max_sessions: 10, sessions: 4, sessions_elsewhere: 6 } },
    'n1: as many sessions as allowed, or nearly so',
  ],
  ['good', { status: { now: QUIET }, point: QUIET }, 'All nodes are up (3)'],
];

function makeModel({ status = {}, points = 180, point = {}, ...nodes }) {
  const { totals, ...rest } = status;
  return {
    status: makeStatus({ ...rest, totals }),
    backends: ['n1', 'n2', 'n3'].map((id) => makeBackend(id, nodes[id])),
    points: makePoints(point, points),
  };
}

describe('the live page makes of what it is told', { timeout: 60_000 }, () => {
  let watcher;
  let gateway;
  before(async () => {
    [watcher, gateway] = await Promise.all([
      startWatcher(),
      startGateway({ backends: [{ id: 'n1', port: 9 }] }),
    ]);
  });
  after(async () => {
    await watcher?.stop();
    await gateway?.stop();
  });

  /* A page whose API is `told`: status, backends, events, sessions(query) and
   * `live`: whether the websocket comes about. Gives the page with `asked`, the
   * queries for sessions; each TICK_MS a message with what is told by then. */
  async function open(t, told) {
    const asked = [];
    const timers = [];
    t.after(() => timers.forEach(clearInterval));
    const all = () => ({
      status: told.status ?? makeStatus(),
      backends: told.backends ?? [makeBackend('n1')],
      history: { step_s: 5, points: makePoints() },
      events: told.events ?? [],
    });
    const prepare = async (page) => {
      await page.route('**/api/v1/**', (route) => {
        const url = new URL(route.request().url());
        const [what, id, action] = url.pathname.split('/').slice(3);
        const query = Object.fromEntries(url.searchParams);
        if (action) {
          told.kicked = id;
          return route.fulfill({ json: { ok: true, gateways: 1 } });
        }
        if (id) {
          const { sessions } = told.sessions(query, 0);
          const session = { ...sessions[0], state: 'live', ...told.news };
          return route.fulfill({ json: { session } });
        }
        if (what !== 'sessions') {
          const { [what]: json } = all();
          const isPlain = ['status', 'history'].includes(what);
          return route.fulfill({ json: isPlain ? json : { [what]: json } });
        }
        asked.push(query);
        const none = { scope: 'store', sessions: [], next: null, looked_at: 0 };
        return route.fulfill({
          json: { ...none, ...told.sessions?.(query, asked.length) },
        });
      });
      await page.routeWebSocket('**/api/v1/live', (socket) => {
        if (told.live === false) return socket.close({ code: 1011 });
        socket.send(JSON.stringify(all()));
        timers.push(
          setInterval(() => {
            const { status, backends } = all();
            socket.send(JSON.stringify({ status, backends }));
          }, TICK_MS),
        );
        return undefined;
      });
    };
    const url = `http://127.0.0.1:${gateway.adminPort}/`;
    const page = await watcher.open(url, {}, { prepare });
    t.after(() => page.done());
    await page.shows('#app');
    return Object.assign(page, { asked });
  }

  test('verdicts in plain words', async (t) => {
    const page = await open(t, {});
    const models = VERDICTS.map(([, what]) => makeModel(what));
    const found = await page.evaluate(async (list) => {
      const { judge } = await import('/ui/verdict.js');
      const { Model } = await import('/ui/model.js');
      return list.map(({ status, backends, points }) => {
        const model = new Model();
        const history = { step_s: 5, points };
        model.take({ status, backends, history, events: [] });
        const [{ kind, text }] = judge(model);
        return [kind, text];
      });
    }, models);
    VERDICTS.forEach(([kind, , text], i) =>
      assert.deepEqual(found[i], [kind, text]),
    );
    page.assertClean();
  });

  test('text from the server is never markup', async (t) => {
    const page = await open(t, {
      status: makeStatus({ name: MARKUP, log_level: MARKUP }),
      backends: [makeBackend(MARKUP, { state: MARKUP, reason: MARKUP })],
      events: [
        {
          seq: 1, time: NOW, level: 'info', event: MARKUP,
          fields: { a: MARKUP },
        },
      ],
      sessions: () => ({
        sessions: [makeSession(1, { client: MARKUP, sid: MARKUP })],
      }),
    });
    await page.shows('#sessions-body td', MARKUP);
    await page.shows('#nodes-body button', MARKUP);
    await page.shows('#events-list .fields', MARKUP);
    await page.locator('#sessions-body button').click();
    await page.shows('#session-fields', MARKUP);
    assert.equal(await page.locator('img, b').count(), 0);
    page.assertClean();
  });

  test('pages by the cursors that it was given', async (t) => {
    const next = { undefined: 'second', second: 'third', third: null };
    const page = await open(t, {
      sessions: ({ cursor }) => ({
        sessions: Array.from({ length: 50 }, (_, i) =>
          makeSession(i, { client: `at ${cursor ?? 'first'}` }),
        ),
        next: next[cursor],
        looked_at: 50,
      }),
    });
    const shows = (text) => page.shows('#sessions-body td', text);
    await shows('at first');
    assert.equal(await page.isDisabled('#sessions-back'), true);
    await page.click('#sessions-next');
    await shows('at second');
    await page.click('#sessions-next');
    await shows('at third');
    assert.equal(await page.isDisabled('#sessions-next'), true);
    await page.click('#sessions-back');
    await shows('at second');
    await page.fill('#session-search', 'x');
    await shows('at first');
    assert.equal(page.asked.at(-1).search, 'x');
    assert.equal(page.asked.at(-1).limit, '50');
    page.assertClean();
  });

  test('goes on where little was found, so far', async (t) => {
    const page = await open(t, {
      sessions: (_, number) => ({
        sessions: [makeSession(number)],
        next: `c${number}`,
        looked_at: 20_000,
      }),
    });
    await page.shows('#sessions-note', /100,000 records looked at, more may/);
    assert.equal(await page.locator('#sessions-body tr').count(), 5);
    assert.deepEqual(
      page.asked.map(({ cursor, limit }) => [cursor, limit]),
      [
        [undefined, '50'],
        ['c1', '49'],
        ['c2', '48'],
        ['c3', '47'],
        ['c4', '46'],
      ],
    );
    await page.click('#sessions-more');
    await until(() => page.asked.length >= 10, 5000, 'more questions');
    assert.equal(page.asked[5].cursor, 'c5');
    await page.shows('#sessions-page', 'Page 2');
    page.assertClean();
  });

  test('asks for no sessions below a dialog', async (t) => {
    const page = await open(t, {
      sessions: () => ({ sessions: [makeSession(1)], looked_at: 1 }),
    });
    await until(() => page.asked.length >= 2, 5000, 'a list a second');
    await page.locator('#nodes-body button.link').click();
    const before = page.asked.length;
    await page.waitForTimeout(2500); /* that nothing comes takes its time */
    assert.ok(page.asked.length <= before + 1, 'at most one was under way');
    await page.keyboard.press('Escape');
    await until(() => page.asked.length > before + 1, 5000, 'lists again');
    page.assertClean();
  });

  const OF_ONE = {
    sessions: () => ({ sessions: [makeSession(1)], looked_at: 1 }),
  };
  const hasFocus = (page, selector) =>
    page.locator(`${selector}:focus`).waitFor();

  test('a dialog opened anew is not taken for the closed one', async (t) => {
    const told = { ...OF_ONE };
    const page = await open(t, told);
    await page.shows('#sessions-body button');
    /* In one go: the event of the end comes when it is open again. */
    await page.evaluate(
      () =>
        new Promise((resolve) => {
          const dialog = document.querySelector('#session');
          const button = document.querySelector('#sessions-body button');
          dialog.addEventListener('close', resolve, { once: true });
          button.click();
          dialog.close();
          button.click();
        }),
    );
    await page.click('#session-kick');
    await page.click('#confirm-yes');
    await page.shows('#session-note', /^Ended: 1 replica told/);
    await hasFocus(page, '#session-note');
    assert.equal(told.kicked, makeSession(1).id);
    page.assertClean();
  });

  test('the focus stays where its button goes', async (t) => {
    const told = { ...OF_ONE };
    const page = await open(t, told);
    await page.locator('#sessions-body button').click();
    await page.locator('#session-kick').focus();
    const ended = { state: 'ended', cause: 'client', ended: NOW };
    told.news = { ...ended, duration_s: 1 };
    await hasFocus(page, '#session [data-closes]');
    await page.keyboard.press('Escape');

    await page.locator('#nodes-body .action button').click();
    await hasFocus(page, '#confirm [data-closes]');
    told.backends = [makeBackend('n2')];
    await page.locator('#nodes-body', { hasText: 'n2' }).waitFor();
    await page.keyboard.press('Escape');
    await hasFocus(page, '#nodes-title');
    await page.locator('#nodes-body .action button').focus();
    told.backends = [makeBackend('n2', { state: 'removed' })];
    await hasFocus(page, '#nodes-body button.link');
    page.assertClean();
  });

  /* What `change` does to the nodes' table, until the page has shown some
   * messages more. */
  async function changes(page, told, change = () => {}) {
    await page.evaluate(() => {
      const seen = [];
      const observer = new MutationObserver((list) => seen.push(...list));
      observer.observe(document.querySelector('#nodes-body'), {
        subtree: true, childList: true, attributes: true, characterData: true,
      });
      window.watch = { seen, observer };
    });
    change();
    for (const name of ['one', 'two', 'three', 'four', 'five']) {
      told.status = makeStatus({ name });
      await page.shows('#gateway-name', name);
    }
    return page.evaluate(() => {
      const { seen, observer } = window.watch;
      observer.disconnect();
      const rows = seen.map(({ target }) => target.closest?.('tr')?.rowIndex);
      return { rows: [...new Set(rows)], count: seen.length };
    });
  }

  test('changes only what is different, with 256 nodes', async (t) => {
    const told = {
      backends: Array.from({ length: 256 }, (_, i) => makeBackend(`n${i + 1}`)),
    };
    const page = await open(t, told);
    await page.shows('#nodes-count', '256 nodes');
    assert.deepEqual((await changes(page, told)).rows, []);
    const { rows, count } = await changes(page, told, () => {
      told.backends[99] = makeBackend('n100', { requests_total: 1234 });
    });
    assert.deepEqual(rows, [100]);
    assert.ok(count <= 2, `${count} changes`);
    told.backends[99] = makeBackend('n100', { state: 'down', reason: 'why' });
    await page.shows('#verdict-line', 'n100 is down: why');
    await page.locator('#nodes-body tr', { hasText: 'n100' }).waitFor();
    const first = await page.locator('#nodes-body tr').first().innerText();
    assert.match(first, /^n100\b/);
    page.assertClean();
  });

  test('asks by itself where the websocket is refused', async (t) => {
    const page = await open(t, { live: false });
    await page.shows('#link[data-state="asking"]', /Asking every 5 s/);
    await page.shows('#nodes-body button', 'n1');
    await page.shows('#verdict-line', 'Affinity works');
    page.assertClean();
  });
});
