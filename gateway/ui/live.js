/* SPDX-License-Identifier: MIT */
/*
 * What the gateway tells once a second. Where the websocket does not come
 * about (a proxy between, eight pages already), the page asks instead.
 */
import { ask, openLive } from './api.js';

const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;
const ASK_EVERY_MS = 5000;
const TRIES_ALONE = 1; /* of the websocket, before the page asks */
const SILENCE_MS = 5000;
const DEAD_MS = 20_000;
const HIDDEN_MS = 300_000; /* a tab that nobody looks at gives its place up */

/*
 * onMessage(message): as the websocket has them; the first of each connection
 * has `history`. onLink({state, text}): connecting, live, asking, lost, silent.
 * onRefused(error): a token is needed, or this one is wrong.
 */
export class Live {
  #socket = null;
  #timer = 0;
  #tries = 0;
  #heard = 0;
  #isStopped = true;
  #hiddenAt = 0;

  constructor({ onMessage, onLink, onRefused }) {
    Object.assign(this, { onMessage, onLink, onRefused });
    setInterval(() => this.#watch(), 1000);
    addEventListener('online', () => this.#hurry());
    document.addEventListener('visibilitychange', () => this.#seen());
  }

  start() {
    this.stop();
    this.#isStopped = false;
    this.#tries = 0;
    this.#link('connecting', 'Connecting');
    this.#begin();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #link(state, text) {
    this.state = state;
    this.onLink({ state, text });
  }

  /* The answer says by its status what a websocket that fails cannot. */
  async #begin() {
    let status;
    try {
      status = await ask('status');
    } catch (error) {
      if (this.#isStopped) return;
      if (error.status === 401) {
        this.stop();
        this.onRefused(error);
      } else {
        this.#later(error.message);
      }
      return;
    }
    if (this.#isStopped) return;
    if (this.#tries > TRIES_ALONE) await this.#askAll(status);
    if (!this.#isStopped) this.#open();
  }

  #open() {
    const socket = openLive();
    let hasBegun = false;
    this.#drop();
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      hasBegun = true;
      this.#tries = 0;
      this.#heard = Date.now();
      if (this.state !== 'live') this.#link('live', 'Live');
      this.onMessage(JSON.parse(data));
    };
    socket.onclose = () => {
      this.#socket = null;
      if (hasBegun) this.#later('the connection has ended');
      else this.#later('the live connection was refused');
    };
  }

  /* In place of a first message. */
  async #askAll(status) {
    try {
      const [{ backends }, history, { events }] = await Promise.all([
        ask('backends'),
        ask('history'),
        ask('events', { limit: 50 }),
      ]);
      if (this.#isStopped) return;
      this.#heard = Date.now();
      this.onMessage({ status, backends, history, events });
      this.#link('asking', `Asking every ${ASK_EVERY_MS / 1000} s`);
    } catch {
      /* The websocket is tried next, and says so if that fails too. */
    }
  }

  #later(why) {
    const isAsking =
      this.state === 'asking' && Date.now() - this.#heard < ASK_EVERY_MS;
    const most = Math.min(FIRST_WAIT_MS * 2 ** this.#tries++, LAST_WAIT_MS);
    const wait = isAsking
      ? ASK_EVERY_MS
      : Math.round(most * (0.75 + Math.random() / 4));
    if (!isAsking)
      this.#link('lost', `Not connected: ${why}. Trying again`);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), wait);
  }

  #hurry() {
    if (this.#isStopped || this.#socket) return;
    clearTimeout(this.#timer);
    this.#tries = Math.min(this.#tries, 1);
    this.#begin();
  }

  #seen() {
    this.#hiddenAt = document.hidden ? Date.now() : 0;
    if (!document.hidden) this.#hurry();
  }

  get heard() {
    return this.#heard;
  }

  #watch() {
    if (this.#isStopped) return;
    const silence = Date.now() - this.#heard;
    if (this.#hiddenAt && Date.now() - this.#hiddenAt > HIDDEN_MS) {
      clearTimeout(this.#timer);
      this.#drop();
      this.#link('lost', 'Not connected: nobody looked at this page');
    } else if (['live', 'silent'].includes(this.state)) {
      if (silence > DEAD_MS) {
        this.#drop();
        this.#later('nothing came any more');
      } else if (silence > SILENCE_MS) {
        this.#link('silent', 'Connected, but nothing comes');
      }
    }
  }
}
