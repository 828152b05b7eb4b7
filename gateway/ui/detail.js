/* SPDX-License-Identifier: MIT */
/* One session with all that is known of it, and its kick. */
import { ask, order, part } from './api.js';
import { closerOf, confirm, onClosed } from './dialogs.js';
import { byId, setHidden, setText } from './dom.js';
import {
  CAUSES,
  NONE,
  bytes,
  count,
  date,
  duration,
  plural,
} from './format.js';
import { showFields } from './nodes.js';

const EVERY_MS = 2000;

const dialog = byId('session');

function milli(value) {
  return typeof value === 'number' ? `${count(value)} ms` : NONE;
}

function fieldsOf(one, isEnded) {
  return [
    ['State', isEnded ? `ended: ${CAUSES[one.cause] ?? one.cause}` : 'live'],
    ['Id', one.id],
    ['sid (masked)', one.sid],
    ['Node', one.backend],
    ['Transport', one.transport],
    ['Client', one.client || NONE],
    ['Gateway', one.gateway || NONE],
    ['Engine.IO version', one.eio ?? NONE],
    ['Began', date(one.created)],
    ['Last seen', `${date(one.seen)} (${duration(one.idle_s)} ago)`],
    ...(isEnded
      ? [
          ['Ended', date(one.ended)],
          ['Lasted', duration(one.duration_s)],
        ]
      : [
          ['Age', duration(one.age_s)],
          ['Expires in', duration(one.expires_s)],
        ]),
    ['Requests here', count(one.requests)],
    ['Bytes from the client', bytes(one.bytes_in)],
    ['Bytes to the client', bytes(one.bytes_out)],
    ['Ping interval', milli(one.ping_interval_ms)],
    ['Ping timeout', milli(one.ping_timeout_ms)],
  ];
}

export class Detail {
  #id = null;
  #timer = 0;
  #turn = 0; /* answers to older questions are dropped */

  constructor(model) {
    this.model = model;
    onClosed(
      dialog,
      () => {
        this.#id = null;
        this.#turn++;
        clearTimeout(this.#timer);
      },
      () => byId('sessions-title'),
    );
    byId('session-kick').addEventListener('click', () => this.#kick());
  }

  /* What the table has is shown at once, the rest when it comes. */
  open(session) {
    this.#id = session.id;
    setText(byId('session-title'), `Session ${session.sid}`);
    this.#say('');
    this.#show({ ...session, state: session.ended ? 'ended' : 'live' });
    dialog.showModal();
    this.#load();
  }

  #show(session) {
    const isEnded = session.state === 'ended';
    showFields(byId('session-fields'), fieldsOf(session, isEnded));
    setHidden(
      byId('session-kick'),
      isEnded || this.model.status?.access !== 'full',
      closerOf(dialog),
    );
    setHidden(
      byId('session-read-only'),
      isEnded || this.model.status?.access === 'full',
    );
    return isEnded;
  }

  async #load() {
    const id = this.#id;
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    let isEnded = false;
    try {
      const { session } = await ask(`sessions/${part(id)}`);
      if (turn !== this.#turn) return;
      isEnded = this.#show(session);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.status === 404) {
        isEnded = true;
        setHidden(byId('session-kick'), true, closerOf(dialog));
      }
      this.#say(
        error.status === 404
          ? 'This session has ended; this replica does not know how.'
          : `No news of it: ${error.message}`,
      );
    }
    if (!isEnded) this.#timer = setTimeout(() => this.#load(), EVERY_MS);
  }

  #say(text) {
    const note = byId('session-note');
    setText(note, text);
    setHidden(note, text === '');
  }

  #kick() {
    const id = this.#id;
    confirm({
      title: 'End this session?',
      text:
        'Its client is disconnected, whichever replica it is at, and may ' +
        'connect anew.',
      yes: 'End the session',
      carry: async () => {
        const { gateways } = await order(`sessions/${part(id)}/kick`);
        if (id !== this.#id) return;
        setHidden(byId('session-kick'), true);
        this.#say(`Ended: ${plural(gateways, 'replica')} told.`);
        /* Once the confirmation is closed, this is read out. */
        setTimeout(() => byId('session-note').focus(), 0);
        this.#load();
      },
    });
  }
}
