/* SPDX-License-Identifier: MIT */
/*
 * One session of a crowd: sends numbered messages which its node counts and
 * sends back, and keeps record of what it lived through. All times are
 * Date.now(), comparable between the processes of one machine.
 */
import http from 'node:http';
import net from 'node:net';
import WebSocket from 'ws';
import { clientFactory } from '../lib/clients.mjs';
import { S, TRUST } from '../lib/secure.mjs';

const OUTSTANDING_MAX = 8;
const FAULTS_MAX = 5;
const SLOW_MS = 1000; /* slow readers look away for most of that */

/* Each connection goes to the next of `list`. */
export class Ports {
  #turn;

  constructor(list, first = 0) {
    this.list = list;
    this.#turn = first;
  }

  next() {
    return this.list[this.#turn++ % this.list.length];
  }

  /* The same in a turn of its own. */
  own() {
    return new Ports(this.list, this.#turn++);
  }
}

class SpreadingAgent extends http.Agent {
  #ports;

  constructor(ports, options) {
    super(options);
    this.#ports = ports;
  }

  createConnection(options, callback) {
    const port = this.#ports.next();
    return net.connect({ ...options, port, noDelay: true }, callback);
  }
}

/* What was sent as number n; the node gives it back unchanged. */
function textOf(id, n, size) {
  const head = `${id}.${n}.`;
  if (!size) return head + 'x'.repeat((n * 7) % 60);
  const length = size + ((n * 4099) % size);
  return head.repeat(Math.ceil(length / head.length)).slice(0, length);
}

/*
 * spec: {id, everyMs, size}; everyMs 0 sends nothing by itself. lives: one for
 * each connection, {sid, node, from, to, reason}; faults: messages that were
 * lost, doubled, changed, out of order, or answered by another node or session
 * than the one that the life began with.
 */
class Member {
  lives = [];
  errors = [];
  faults = [];
  sent = 0;
  back = 0;
  worst = { ms: 0, at: 0 };
  #life = null;
  #pending = new Map();
  #last = 0;
  #next = 1;
  #timer = null;

  constructor(spec) {
    this.spec = spec;
    if (!spec.everyMs) return;
    setTimeout(() => {
      this.say();
      this.#timer = setInterval(() => this.say(), spec.everyMs);
    }, Math.random() * spec.everyMs);
  }

  hush() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.isHushed = true;
  }

  fault(text) {
    if (this.faults.length < FAULTS_MAX)
      this.faults.push({ at: Date.now(), text, life: this.lives.length });
  }

  error(error) {
    const text = `${error?.message ?? error} ${error?.description ?? ''}`;
    this.errors.push({ at: Date.now(), text: text.slice(0, 200) });
  }

  began(sid) {
    this.#life = { sid, node: '', from: Date.now(), to: null, reason: '' };
    this.lives.push(this.#life);
    this.#pending.clear();
    this.#last = 0;
    this.#next = 1;
    this.say(true); /* tells the node */
  }

  ended(reason) {
    if (!this.#life) return;
    this.#life.to = Date.now();
    this.#life.reason = reason;
    this.#life = null;
  }

  get isConnected() {
    return Boolean(this.#life?.node);
  }

  get outstanding() {
    return this.#life ? this.#pending.size : 0;
  }

  say(always = false) {
    const { id, size } = this.spec;
    const max = size ? 2 : OUTSTANDING_MAX;
    if (!this.#life || this.#pending.size >= max) return;
    if (this.isHushed && !always) return;
    const n = this.#next++;
    const text = textOf(id, n, size);
    this.#pending.set(n, Date.now());
    this.sent++;
    this.transmit(n, text);
  }

  counted(n, text, count, node, sid) {
    const life = this.#life;
    if (!life) return;
    if (!life.node) life.node = node;
    if (n !== this.#last + 1) this.fault(`${n} came after ${this.#last}`);
    if (count !== n) this.fault(`${n} was the node's number ${count}`);
    if (text !== textOf(this.spec.id, n, this.spec.size))
      this.fault(`${n} came back changed`);
    if (node !== life.node || sid !== life.sid)
      this.fault(`${life.sid} on ${life.node} became ${sid} on ${node}`);
    this.#last = n;
    this.back++;
    const since = this.#pending.get(n);
    this.#pending.delete(n);
    const ms = Date.now() - since;
    if (ms > this.worst.ms) this.worst = { ms, at: since };
  }

  /* Longest time that anything has been on its way since `worst` was reset. */
  longest() {
    const oldest = Math.min(...this.#pending.values(), Infinity);
    const ms = this.#life ? Date.now() - oldest : 0;
    return ms > this.worst.ms ? { ms, at: oldest } : this.worst;
  }

  report() {
    const { spec, lives, errors, faults, sent, back } = this;
    const { outstanding, isConnected } = this;
    const { id, kind } = spec;
    const worst = this.longest();
    return { id, kind, lives, errors, faults, sent, back, outstanding, worst,
      isConnected, transport: this.transport() };
  }
}

/* A socket.io-client of generation spec.client, in spec.mode: polling, upgrade
 * or websocket. It connects anew by itself, after reconnectMs. */
class ClientMember extends Member {
  #socket;

  constructor(spec, { ports, shared, reconnectMs }) {
    super(spec);
    const transports = {
      polling: ['polling'],
      upgrade: ['polling', 'websocket'],
      websocket: ['websocket'],
    }[spec.mode];
    const agent = spec.shares ? shared : new SpreadingAgent(ports.own());
    this.#socket = clientFactory(spec.client)(
      `http${S}://127.0.0.1:${ports.list[0]}`, /* the agent has the say */
      {
        transports,
        agent,
        forceNew: true,
        reconnectionDelay: reconnectMs,
        reconnectionDelayMax: reconnectMs,
        randomizationFactor: 0,
      },
    );
    const socket = this.#socket;
    socket.on('connect', () => {
      const { engine } = socket.io;
      engine.on('upgradeError', (error) => this.error(error));
      this.began(engine.id);
    });
    socket.on('disconnect', (reason) => this.ended(reason));
    socket.on('connect_error', (error) => this.error(error));
    socket.on('counted', (...args) => this.counted(...args));
  }

  transmit(n, text) {
    this.#socket.emit('count', n, text);
  }

  transport() {
    return this.#socket.io.engine?.transport?.name ?? '';
  }

  close() {
    this.#socket.off?.('disconnect');
    this.#socket.disconnect();
  }
}

/* A bare websocket, whose end is the end. With spec.size its messages are that
 * large or twice as large; with spec.slow it reads by fits and starts; with
 * spec.secure it goes to the port for TLS. */
class TunnelMember extends Member {
  #ws;
  #timer = null;

  constructor(spec, { ports, securePort }) {
    super(spec);
    const base = spec.secure
      ? `wss://127.0.0.1:${securePort}`
      : `ws${S}://127.0.0.1:${ports.next()}`;
    this.#ws = new WebSocket(`${base}/socket.io/?EIO=4&transport=websocket`, {
      ...TRUST,
      rejectUnauthorized: !spec.secure,
      perMessageDeflate: false,
    });
    const ws = this.#ws;
    let sid = '';
    ws.on('message', (data) => {
      const packet = data.toString();
      if (packet === '2') ws.send('3');
      else if (packet[0] === '0') {
        ({ sid } = JSON.parse(packet.slice(1)));
        ws.send('40');
      } else if (packet.startsWith('40')) this.began(sid);
      else if (packet.startsWith('42'))
        this.counted(...JSON.parse(packet.slice(2)).slice(1));
      else this.fault(`unexpected packet ${packet.slice(0, 60)}`);
    });
    ws.on('error', (error) => this.error(error));
    ws.on('close', (code) => {
      clearInterval(this.#timer);
      this.ended(`closed with ${code}`);
    });
    if (spec.slow) this.#timer = setInterval(() => this.#lookAway(), SLOW_MS);
  }

  #lookAway() {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    this.#ws.pause();
    setTimeout(() => this.#ws.resume(), SLOW_MS * 0.8);
  }

  hush() {
    super.hush();
    clearInterval(this.#timer);
  }

  transmit(n, text) {
    this.#ws.send(`42${JSON.stringify(['count', n, text])}`);
  }

  transport() {
    return 'websocket';
  }

  close() {
    this.#ws.removeAllListeners('close');
    this.#ws.close();
  }
}

export function startMember(spec, way) {
  return spec.kind.startsWith('tunnel')
    ? new TunnelMember(spec, way)
    : new ClientMember(spec, way);
}

export function sharedAgent(ports) {
  return new SpreadingAgent(ports, { keepAlive: true });
}

/* Each request on a connection of its own, to the next port. */
export function rovingAgent(ports) {
  return new SpreadingAgent(ports);
}
