/* SPDX-License-Identifier: MIT */
/* The nodes: how they are, what they carry, and their drain. */
import { order, part } from './api.js';
import { closerOf, confirm, onClosed } from './dialogs.js';
import {
  KeyedList,
  byId,
  make,
  makeSvg,
  setAttribute,
  setHidden,
  setText,
} from './dom.js';
import {
  NONE,
  clock,
  count,
  date,
  duration,
  percent,
  plural,
  stateOf,
} from './format.js';
import { share } from './verdict.js';

const BAR = 100;
const KINDS = ['bad', 'warn', 'info', 'good'];

const allOf = (one) => one.sessions + (one.sessions_elsewhere ?? 0);

function upgradeShare({ upgrade_attempts: tried, upgrade_successes: done }) {
  return tried > 0 ? Math.min(1, done / tried) : null;
}

export function makeState() {
  const sign = make('span', { class: 'sign', 'aria-hidden': 'true' });
  const word = make('span', { class: 'word' });
  const node = make('span', { class: 'state' }, sign, word);
  return { node, sign, word };
}

export function showState(part, state) {
  const { sign, kind } = stateOf(state);
  setText(part.sign, sign);
  setText(part.word, state);
  setAttribute(part.node, 'data-kind', kind);
}

/* Two parts of one bar: polling and websocket. */
function makeBar() {
  const polling = makeSvg('rect', { class: 'polling', y: 0, height: 8 });
  const websocket = makeSvg('rect', { class: 'websocket', y: 0, height: 8 });
  const node = makeSvg(
    'svg',
    {
      class: 'bar',
      viewBox: `0 0 ${BAR} 8`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    },
    makeSvg('rect', { class: 'rest', y: 0, height: 8, width: BAR }),
    polling,
    websocket,
  );
  return { node, polling, websocket };
}

function showBar(bar, backend, most) {
  const scale = BAR / Math.max(1, backend.max_sessions || most);
  const polling = Math.min(BAR, backend.sessions_polling * scale);
  const websocket = Math.min(
    BAR - polling,
    backend.sessions_websocket * scale,
  );
  setAttribute(bar.polling, 'width', polling.toFixed(1));
  setAttribute(bar.websocket, 'x', polling.toFixed(1));
  setAttribute(bar.websocket, 'width', websocket.toFixed(1));
}

function makeProgress() {
  const bar = make('progress', { 'aria-label': 'closed so far' });
  const text = make('span', {});
  const node = make('div', { class: 'drain' }, bar, text);
  return { node, bar, text };
}

function showProgress(progress, backend) {
  const { drain } = backend;
  setHidden(progress.node, !drain);
  if (!drain) return;
  const left = allOf(backend);
  const start = Math.max(drain.sessions_at_start ?? 0, left);
  setAttribute(progress.bar, 'max', Math.max(1, start));
  setAttribute(progress.bar, 'value', start > 0 ? start - left : 1);
  const pace =
    drain.rate > 0
      ? `${drain.rate} a second`
      : drain.deadline_s !== null
        ? 'none is closed before'
        : 'none is closed';
  const end =
    drain.deadline_s !== null && left > 0
      ? `, the rest in ${duration(drain.deadline_s)}`
      : '';
  setText(
    progress.text,
    left === 0 ? 'empty' : `${left} of ${start} left, ${pace}${end}`,
  );
}

export class Nodes {
  #filter = byId('node-filter');
  #only = byId('node-only');
  #detail = byId('node');
  #shown = null; /* id of the one in the dialog */

  constructor(model, { onSessions }) {
    this.model = model;
    this.onSessions = onSessions;
    this.list = new KeyedList(byId('nodes-body'), {
      keyOf: ({ id }) => id,
      create: (backend) => this.#row(backend),
      update: (row, backend) => this.#fill(row, backend),
      onFocusLost: () => byId('nodes-title').focus(),
    });
    this.#filter.addEventListener('input', () => this.update());
    this.#only.addEventListener('change', () => this.update());
    onClosed(
      this.#detail,
      () => (this.#shown = null),
      () => byId('nodes-title'),
    );
    byId('node-sessions').addEventListener('click', () => {
      const id = this.#shown;
      this.#detail.close();
      this.onSessions(id);
    });
    byId('node-action').addEventListener('click', () =>
      this.#steer(this.#shown),
    );
    this.progress = makeProgress();
    byId('node-drain').append(this.progress.node);
  }

  #row({ id }) {
    const name = make('button', { type: 'button', class: 'link' }, id);
    const at = make('span', { class: 'sub' });
    const state = makeState();
    const reason = make('span', { class: 'sub' });
    const progress = makeProgress();
    const total = make('span', {});
    const bar = makeBar();
    const kinds = make('span', { class: 'sub' });
    const [full, elsewhere, requests, errors, upgrades] = Array.from(
      { length: 5 },
      () => make('td', { class: 'number wide' }),
    );
    const action = make('button', { type: 'button', class: 'small' });
    name.addEventListener('click', () => this.open(id));
    action.addEventListener('click', () => this.#steer(id));
    const node = make(
      'tr',
      {},
      make('th', { scope: 'row' }, name, at),
      make('td', {}, state.node, reason, progress.node),
      make('td', { class: 'load' }, total, bar.node, kinds),
      full,
      elsewhere,
      requests,
      errors,
      upgrades,
      make('td', { class: 'action' }, action),
    );
    return {
      node, name, at, state, reason, progress, total, bar, kinds, full,
      elsewhere, requests, errors, upgrades, action,
    };
  }

  #fill(row, backend) {
    const hasPools = this.pools > 1;
    setText(row.at, backend.address + (hasPools ? ` in ${backend.pool}` : ''));
    showState(row.state, backend.state);
    const since = backend.history?.[0]?.time;
    setText(
      row.reason,
      [backend.reason, since && `since ${clock(since)}`]
        .filter(Boolean)
        .join(', '),
    );
    showProgress(row.progress, backend);
    setText(row.total, count(backend.sessions));
    showBar(row.bar, backend, this.most);
    setText(
      row.kinds,
      `${count(backend.sessions_polling)} polling, ` +
        `${count(backend.sessions_websocket)} websocket`,
    );
    setText(row.full, percent(share(backend)));
    setText(row.elsewhere, count(backend.sessions_elsewhere));
    setText(row.requests, count(backend.requests_total));
    setText(row.errors, count(backend.errors_total));
    setText(row.upgrades, percent(upgradeShare(backend)));
    this.#showAction(row.action, backend, row.name);
  }

  #showAction(button, backend, heir) {
    const isDrained = backend.state === 'drained' || Boolean(backend.drain);
    const verb = isDrained ? 'Undrain' : 'Drain';
    setHidden(button, !this.mayWrite || backend.state === 'removed', heir);
    setText(button, `${verb}…`);
    setAttribute(button, 'aria-label', `${verb} ${backend.id}`);
  }

  get mayWrite() {
    return this.model.status?.access === 'full';
  }

  update() {
    const { backends } = this.model;
    const wanted = this.#filter.value.trim().toLowerCase();
    this.most = Math.max(1, ...backends.map(({ sessions }) => sessions));
    this.pools = new Set(backends.map(({ pool }) => pool)).size;
    const rank = ({ state }) => KINDS.indexOf(stateOf(state).kind);
    const shown = backends
      .filter((one) => !this.#only.checked || one.state !== 'up')
      .filter(({ id, address }) =>
        `${id} ${address}`.toLowerCase().includes(wanted),
      )
      .sort((a, b) => rank(a) - rank(b));
    this.list.show(shown);
    setText(
      byId('nodes-count'),
      shown.length === backends.length
        ? plural(backends.length, 'node')
        : `${shown.length} of ${plural(backends.length, 'node')}`,
    );
    if (this.#shown !== null) this.#fillDetail();
  }

  open(id) {
    this.#shown = id;
    this.#fillDetail();
    this.#detail.showModal();
  }

  #fillDetail() {
    const one = this.model.backends.find(({ id }) => id === this.#shown);
    setText(byId('node-title'), `Node ${this.#shown}`);
    setHidden(byId('node-gone'), Boolean(one));
    setHidden(byId('node-all'), !one);
    if (!one) {
      setHidden(byId('node-action'), true, closerOf(this.#detail));
      return;
    }
    const upgrades = percent(upgradeShare(one));
    showFields(byId('node-fields'), [
      ['State', `${stateOf(one.state).sign} ${one.state}`],
      ['Reason', one.reason || NONE],
      ['Address', one.address],
      ['Pool', one.pool],
      ['Known from', one.source],
      ['Weight', one.weight],
      ['Sessions', count(one.sessions)],
      ['polling', count(one.sessions_polling)],
      ['websocket', count(one.sessions_websocket)],
      ['at other replicas', count(one.sessions_elsewhere)],
      ['Handshakes under way', count(one.handshakes)],
      ['At most', one.max_sessions ? count(one.max_sessions) : 'no limit'],
      ['Used', percent(share(one))],
      ['Requests', count(one.requests_total)],
      ['Errors', count(one.errors_total)],
      ['Upgrades', `${count(one.upgrade_successes)} of ` +
        `${count(one.upgrade_attempts)} (${upgrades})`],
    ]);
    showProgress(this.progress, one);
    this.#showAction(byId('node-action'), one, closerOf(this.#detail));
    this.#showHistory(one.history ?? []);
  }

  #showHistory(history) {
    const list = byId('node-history');
    const lines = history.map(({ time, state, reason }) => ({
      state,
      text: `${date(time)} ${state}${reason ? `: ${reason}` : ''}`,
    }));
    const key = lines.map(({ text }) => text).join('\n');
    setHidden(byId('node-no-history'), lines.length > 0);
    if (list.dataset.key === key) return;
    list.dataset.key = key;
    list.replaceChildren(
      ...lines.map(({ state, text }) => {
        const { sign, kind } = stateOf(state);
        return make(
          'li',
          { 'data-kind': kind },
          make('span', { class: 'sign', 'aria-hidden': 'true' }, sign),
          text,
        );
      }),
    );
  }

  #steer(id) {
    const one = this.model.backends.find((backend) => backend.id === id);
    if (!one) return;
    if (one.state === 'drained' || one.drain) {
      confirm({
        title: `Undrain ${id}?`,
        text:
          'It gets new sessions again. Sessions that were closed stay closed.',
        yes: `Undrain ${id}`,
        carry: () => order(`backends/${part(id)}/undrain`),
      });
      return;
    }
    confirm({
      title: `Drain ${id}?`,
      text:
        `It gets no new sessions. It has ${plural(allOf(one), 'session')}: ` +
        'these go on, or are closed at the rate below, and their clients ' +
        'connect to other nodes.',
      yes: `Drain ${id}`,
      hasFields: true,
      carry: (values) => order(`backends/${part(id)}/drain`, values),
    });
  }
}

/* Pairs of a description list, in place. */
export function showFields(list, pairs) {
  const names = pairs.map(([name]) => name).join('\n');
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.replaceChildren(
      ...pairs.map(([name]) =>
        make('div', {}, make('dt', {}, name), make('dd', {})),
      ),
    );
  }
  pairs.forEach(([, value], i) =>
    setText(list.children[i].lastElementChild, value),
  );
}
