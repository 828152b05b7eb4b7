/* SPDX-License-Identifier: MIT */
/* The page: what comes from the gateway goes to its parts. */
import { hasToken, setToken } from './api.js';
import { Charts } from './charts.js';
import { Detail } from './detail.js';
import {
  KeyedList,
  byId,
  make,
  setAttribute,
  setHidden,
  setText,
} from './dom.js';
import { Events } from './events.js';
import {
  NONE,
  SIGNS,
  bytes,
  clock,
  count,
  duration,
  plural,
  rate,
} from './format.js';
import { Live } from './live.js';
import { Model } from './model.js';
import { Nodes } from './nodes.js';
import { Sessions } from './sessions.js';
import { judge } from './verdict.js';

const SAY_AGAIN_MS = 15_000;

const model = new Model();
const charts = new Charts(model);
const events = new Events(model);
const detail = new Detail(model);
const sessions = new Sessions(model, {
  onOpen: (session) => detail.open(session),
  onRefused: wantToken,
});
const nodes = new Nodes(model, { onSessions: (id) => sessions.showNode(id) });
const live = new Live({
  onMessage: take,
  onLink: showLink,
  onRefused: wantToken,
});
const replicas = new KeyedList(byId('replicas-body'), {
  keyOf: ({ id }) => id,
  create: makeReplica,
  update: fillReplica,
});
const findings = new KeyedList(byId('findings'), {
  keyOf: ({ key }) => key,
  create: makeFinding,
  update: fillFinding,
});
let isDue = false;
let said = { key: '', at: 0 };

function take(message) {
  model.take(message);
  if (!model.status) return;
  if (byId('app').hidden) {
    setHidden(byId('app'), false);
    sessions.start();
  }
  /* Frames come only while somebody looks; the title tells the others. */
  if (document.hidden) showVerdict();
  else if (!isDue) requestAnimationFrame(show);
  isDue = !document.hidden;
}

function show() {
  isDue = false;
  showVerdict();
  showHead();
  charts.update();
  nodes.update();
  replicas.show(model.status.replicas ?? []);
  showStore();
  events.update();
  sessions.updateMenus();
}

function makeFinding() {
  const sign = make('span', { class: 'sign', 'aria-hidden': 'true' });
  const text = make('span', {});
  return { node: make('li', {}, sign, text), sign, text };
}

function fillFinding({ node, sign, text }, finding) {
  setAttribute(node, 'data-kind', finding.kind);
  setText(sign, SIGNS[finding.kind]);
  setText(text, finding.text);
}

/* A live region: what is only another number waits, so that nobody is talked
 * at once a second. */
function showVerdict() {
  const all = judge(model);
  const key = all.map((one) => `${one.kind} ${one.key}`).join();
  const now = Date.now();
  if (key === said.key && now - said.at < SAY_AGAIN_MS) return;
  said = { key, at: now };
  const [worst] = all;
  const line = byId('verdict-line');
  setAttribute(byId('verdict'), 'data-kind', worst.kind);
  setText(byId('verdict-sign'), SIGNS[worst.kind]);
  setText(line, worst.text);
  findings.show(all.slice(1));
  showTitle(worst);
}

function showTitle({ kind, text }) {
  const title = `${SIGNS[kind]} ${text} – sidgate ${model.status.name}`;
  if (document.title !== title) document.title = title;
}

function showHead() {
  const { status } = model;
  const { now } = status;
  setText(byId('gateway-name'), status.name);
  setText(
    byId('gateway-about'),
    `${status.version}, up ${duration(status.uptime_s)}, ` +
      `${status.phase.replace('_', ' ')}, ` +
      `${plural(status.workers, 'worker')}, log level ${status.log_level}`,
  );
  setAttribute(
    byId('gateway-about'),
    'title',
    `${status.gateway}, process ${status.pid}`,
  );
  setHidden(byId('read-only'), status.access === 'full');
  setHidden(byId('forget'), !hasToken());
  setText(byId('now-polling'), count(now.sessions_polling));
  setText(byId('now-websocket'), count(now.sessions_websocket));
  setText(byId('now-elsewhere'), count(now.sessions_elsewhere));
  setText(byId('now-unknown'), rate(now.unknown_sid_per_s));
  setText(byId('now-recoveries'), rate(now.recoveries_per_s));
  setText(byId('now-upgrades'), rate(now.upgrades_per_s));
  setText(byId('now-connections'), count(now.connections));
  setText(byId('now-tunnels'), count(now.tunnels));
  setText(byId('now-in'), `${bytes(now.bytes_in_per_s)}/s`);
  setText(byId('now-out'), `${bytes(now.bytes_out_per_s)}/s`);
}

function showStore() {
  const { store } = model.status;
  const kind = { up: 'good', partly: 'warn', down: 'bad' }[store.state];
  setAttribute(byId('store'), 'data-kind', kind ?? 'warn');
  setText(byId('store-sign'), SIGNS[kind ?? 'warn']);
  setText(
    byId('store-text'),
    store.kind === 'memory'
      ? 'The store is in the memory of this gateway'
      : `The store (${store.kind}) is ${store.state}: ` +
          `${store.connections_up} of ${plural(store.connections, 'connection')} up`,
  );
}

function makeReplica({ id }) {
  const number = make('td', { class: 'number' });
  const heard = make('td', { class: 'number' });
  const node = make('tr', {}, make('th', { scope: 'row' }, id), number, heard);
  return { node, number, heard };
}

function fillReplica({ number, heard }, replica) {
  setText(number, count(replica.sessions));
  setText(
    heard,
    replica.is_self
      ? 'this one'
      : replica.heard_s === null
        ? NONE
        : `${duration(replica.heard_s)} ago`,
  );
}

function showLink({ state, text }) {
  const isOld = ['lost', 'silent', 'connecting'].includes(state);
  const since =
    isOld && live.heard ? `. What is shown is of ${clock(live.heard)}` : '';
  setAttribute(byId('link'), 'data-state', state);
  setText(byId('link-sign'), { live: '●', asking: '◐' }[state] ?? '○');
  setText(byId('link-text'), text + since);
  document.body.classList.toggle('stale', isOld && live.heard > 0);
  if (!isOld) {
    said = { key: '', at: 0 }; /* the title is to be set again */
    sessions.wake();
  } else if (live.heard) {
    document.title = `○ Not connected – sidgate ${model.status?.name ?? ''}`;
  }
}

function wantToken() {
  live.stop();
  sessions.stop();
  for (const dialog of document.querySelectorAll('dialog[open]'))
    dialog.close();
  setHidden(byId('app'), true);
  setHidden(byId('login'), false);
  setHidden(byId('token-wrong'), !hasToken());
  setHidden(byId('forget'), true);
  showLink({ state: 'lost', text: 'Not connected: a token is needed' });
  setToken('');
  byId('token').value = '';
  byId('token').focus();
}

byId('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  setToken(byId('token').value.trim());
  setHidden(byId('login'), true);
  live.start();
});

byId('forget').addEventListener('click', () => {
  setToken('');
  location.reload();
});

live.start();
