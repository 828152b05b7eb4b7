/* SPDX-License-Identifier: MIT */
/* The table of sessions: the gateway filters and pages, the page remembers the
 * cursors that it came by. */
import { ask } from './api.js';
import { isAnyOpen } from './dialogs.js';
import {
  KeyedList,
  byId,
  make,
  setAttribute,
  setDisabled,
  setHidden,
  setOptions,
  setText,
} from './dom.js';
import {
  CAUSES,
  NONE,
  bytes,
  clock,
  count,
  duration,
  plural,
} from './format.js';

const LIMIT = 50;
const ENOUGH = 40; /* rows of a page that more may follow */
const SOON_MS = 1000;
const SELDOM_MS = 10_000;
const CHEAP_MAX = 5000; /* records looked at */
const ROUNDS_MAX = 5; /* answers that are put together to one page */
const TYPING_MS = 250;

const client = (session) => session.client || NONE;

function traffic({ bytes_in: up, bytes_out: down }) {
  return up === null && down === null
    ? NONE
    : `${bytes(up)} / ${bytes(down)}`;
}

export class Sessions {
  #cursors = ['']; /* of the pages up to this one */
  #next = null;
  #timer = 0;
  #turn = 0; /* answers to older questions are dropped */
  #isAsking = false;
  #wait = SOON_MS;
  #isOn = false;

  constructor(model, { onOpen, onRefused }) {
    Object.assign(this, { model, onOpen, onRefused });
    this.form = byId('session-form');
    this.list = new KeyedList(byId('sessions-body'), {
      keyOf: ({ id, ended }) => `${id} ${ended ?? ''}`,
      create: (session) => this.#row(session),
      update: (row, session) => this.#fill(row, session),
      onFocusLost: () => byId('sessions-title').focus(),
    });
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.restart();
    });
    this.form.addEventListener('input', ({ target }) =>
      this.restart(target.type === 'search' ? TYPING_MS : 0),
    );
    byId('sessions-next').addEventListener('click', () => this.#turnTo(1));
    byId('sessions-back').addEventListener('click', () => this.#turnTo(-1));
    byId('sessions-more').addEventListener('click', () => this.#turnTo(1));
    byId('sessions-ended-too').addEventListener('click', () => {
      this.form.ended.value = 'true';
      this.restart();
      this.form.ended.focus();
    });
    document.addEventListener('visibilitychange', () => this.wake());
  }

  start() {
    this.#isOn = true;
    this.restart();
  }

  stop() {
    this.#isOn = false;
    clearTimeout(this.#timer);
    this.#turn++;
  }

  /* From the first page; after `ms`, in which somebody may type on. */
  restart(ms = 0) {
    this.#cursors = [''];
    this.#turn++;
    this.#isAsking = false;
    this.#wait = SOON_MS;
    this.#plan(ms);
  }

  showNode(id) {
    this.form.reset();
    this.updateMenus();
    this.form.backend.value = id;
    this.restart();
    byId('sessions-title').scrollIntoView();
    byId('sessions-title').focus();
  }

  updateMenus() {
    const { backends, status } = this.model;
    setOptions(
      this.form.backend,
      'all nodes',
      backends.map(({ id }) => id),
    );
    setOptions(
      this.form.gateway,
      'all gateways',
      (status.replicas ?? []).map(({ id }) => id),
    );
  }

  #turnTo(step) {
    if (step > 0 && this.#next) this.#cursors.push(this.#next);
    else if (step < 0 && this.#cursors.length > 1) this.#cursors.pop();
    else return;
    this.#turn++;
    this.#isAsking = false;
    this.#plan(0);
    byId('sessions-title').focus({ preventScroll: true });
    byId('sessions-box').scrollTop = 0;
  }

  #plan(ms) {
    clearTimeout(this.#timer);
    if (this.#isOn) this.#timer = setTimeout(() => this.#ask(), ms);
  }

  /* There may be news, or somebody looks again. */
  wake() {
    if (!this.#isAsking && !document.hidden) this.#plan(0);
  }

  get #isIdle() {
    return document.hidden || isAnyOpen();
  }

  async #ask() {
    if (this.#isIdle && this.isShown) {
      this.#plan(SOON_MS);
      return;
    }
    if (this.#isAsking) return;
    const turn = this.#turn;
    this.#isAsking = true;
    try {
      const page = await this.#collect(turn);
      if (turn !== this.#turn) return;
      this.#wait = page.lookedAt < CHEAP_MAX ? SOON_MS : SELDOM_MS;
      /* Nothing moves below a dialog that was opened meanwhile. */
      if (!isAnyOpen()) this.#show(page);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#failed(error);
    }
    this.#isAsking = false;
    this.#plan(this.#wait);
  }

  /* One page: answers that looked at much and found little are put together,
   * up to ROUNDS_MAX of them. */
  async #collect(turn) {
    const filter = Object.fromEntries(new FormData(this.form));
    filter.search = filter.search.trim();
    const page = { sessions: [], lookedAt: 0, next: this.#cursors.at(-1) };
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const answer = await ask('sessions', {
        ...filter,
        limit: LIMIT - page.sessions.length,
        cursor: page.next,
      });
      page.sessions.push(...answer.sessions);
      page.lookedAt += answer.looked_at;
      page.next = answer.next;
      page.scope = answer.scope;
      if (turn !== this.#turn || page.next === null) break;
      if (page.sessions.length >= ENOUGH) break;
      if (round === 0) this.#note(`Looking on: ${page.lookedAt} so far`);
    }
    return page;
  }

  #failed(error) {
    this.#wait = SELDOM_MS;
    if (error.status === 401) {
      this.onRefused(error);
    } else if (error.status === 400 && this.#cursors.length > 1) {
      this.restart(); /* another process gave that cursor */
    } else {
      this.#note(`No list: ${error.message}`);
    }
  }

  #note(text) {
    setText(byId('sessions-note'), text);
  }

  #show({ sessions, next, lookedAt, scope }) {
    const isEnded = this.form.ended.value === 'true';
    const isFirst = this.#cursors.length === 1;
    const isPartial = next !== null && sessions.length < ENOUGH;
    /* SCAN may give a record twice. */
    const unique = [
      ...new Map(
        sessions.map((one) => [`${one.id} ${one.ended ?? ''}`, one]),
      ).values(),
    ];
    this.#next = next;
    this.isShown = true;
    setAttribute(byId('sessions-table'), 'data-ended', isEnded);
    setText(byId('sessions-age'), isEnded ? 'Lasted' : 'Age');
    setText(byId('sessions-idle'), isEnded ? 'Ended' : 'Idle');
    setText(byId('sessions-cause'), 'Cause');
    this.list.show(unique);
    setText(byId('sessions-page'), `Page ${this.#cursors.length}`);
    const heir = byId('sessions-title');
    setDisabled(byId('sessions-back'), isFirst, heir);
    setDisabled(byId('sessions-next'), next === null, heir);
    setHidden(byId('sessions-more'), !isPartial, heir);
    const isNone = unique.length === 0 && !isPartial;
    setHidden(byId('sessions-none'), !isNone, heir);
    setHidden(byId('sessions-ended-too'), !isNone || isEnded);
    this.#note(
      [
        `${plural(unique.length, 'session')} on this page, ` +
          `${plural(lookedAt, 'record')} looked at`,
        isPartial && 'more may match',
        scope === 'local' &&
          this.model.status?.store.kind !== 'memory' &&
          (isEnded
            ? 'of this replica only'
            : 'of this replica only, since the store is away'),
      ]
        .filter(Boolean)
        .join(', '),
    );
  }

  #row(session) {
    const open = make('button', { type: 'button', class: 'link mono' });
    const cells = {
      id: make('td', { class: 'mono wide' }),
      backend: make('td', {}),
      transport: make('td', {}),
      client: make('td', {}),
      gateway: make('td', { class: 'wide' }),
      age: make('td', { class: 'number middle' }),
      idle: make('td', { class: 'number middle' }),
      bytes: make('td', { class: 'number wide' }),
      eio: make('td', { class: 'number wide' }),
      cause: make('td', { class: 'cause' }),
    };
    const part = { ...cells, open, session };
    open.addEventListener('click', () => this.onOpen(part.session));
    part.node = make(
      'tr',
      {},
      make('th', { scope: 'row' }, open),
      ...Object.values(cells),
    );
    return part;
  }

  #fill(row, session) {
    row.session = session;
    setText(row.open, session.sid);
    const name = `Session ${session.sid} ${session.id}`;
    setAttribute(row.open, 'aria-label', name);
    setText(row.id, session.id);
    setText(row.backend, session.backend);
    setText(row.transport, session.transport);
    setText(row.client, client(session));
    setText(row.gateway, session.gateway || NONE);
    const hasEnded = 'ended' in session;
    setText(
      row.age,
      duration(hasEnded ? session.duration_s : session.age_s),
    );
    setText(
      row.idle,
      hasEnded ? clock(session.ended) : duration(session.idle_s),
    );
    setText(row.bytes, traffic(session));
    setText(row.eio, session.eio === null ? NONE : count(session.eio));
    setText(
      row.cause,
      hasEnded ? (CAUSES[session.cause] ?? session.cause) : '',
    );
  }
}
