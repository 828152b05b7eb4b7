/* SPDX-License-Identifier: MIT */
/* What the gateway has logged, newest first. */
import { ask } from './api.js';
import { KeyedList, byId, make, setHidden, setText } from './dom.js';
import { clock, date } from './format.js';

const LEVELS = ['error', 'warning', 'info', 'debug'];
const SIGNS = { error: '✖', warning: '!', info: 'ℹ', debug: '·' };
const KINDS = { error: 'bad', warning: 'warn', info: 'info', debug: 'info' };
const SHOWN_MAX = 100;
const ASKED = 200;

function fieldsOf({ fields }) {
  return Object.entries(fields ?? {})
    .map(([name, value]) =>
      `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('  ');
}

export class Events {
  #level = byId('event-level');
  #last = '';

  constructor(model) {
    this.model = model;
    this.list = new KeyedList(byId('events-list'), {
      keyOf: ({ seq, time }) => `${seq} ${time}`,
      create: (event) => this.#item(event),
      update: () => {},
    });
    this.#level.addEventListener('change', () => this.#older());
  }

  #item({ time, level, event, ...rest }) {
    const node = make(
      'li',
      { 'data-kind': KINDS[level] ?? 'info' },
      make('time', { datetime: time, title: date(time) }, clock(time)),
      make(
        'span',
        { class: 'level' },
        make('span', { class: 'sign', 'aria-hidden': 'true' },
          SIGNS[level] ?? '·'),
        level,
      ),
      make('strong', {}, event),
      make('span', { class: 'fields' }, fieldsOf(rest)),
    );
    return { node };
  }

  update() {
    const { events } = this.model;
    const last = events.at(-1);
    const key = `${events[0]?.seq} ${last?.seq} ${last?.time}`;
    const state = `${key} ${this.#level.value}`;
    if (state === this.#last) return;
    this.#last = state;
    const most = LEVELS.indexOf(this.#level.value);
    const shown = events
      .filter(({ level }) => LEVELS.indexOf(level) <= most)
      .slice(-SHOWN_MAX)
      .reverse();
    this.list.show(shown);
    setHidden(byId('events-none'), shown.length > 0);
  }

  /* Of a rare kind there may be some before those that were sent. */
  async #older() {
    this.update();
    try {
      const { events } = await ask('events', {
        level: this.#level.value,
        limit: ASKED,
      });
      this.model.addEvents(events);
      this.update();
    } catch (error) {
      setText(byId('events-none'), `No older ones: ${error.message}`);
      setHidden(byId('events-none'), false);
    }
  }
}
