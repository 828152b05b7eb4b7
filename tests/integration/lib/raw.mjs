/* SPDX-License-Identifier: MIT */
/*
 * A bare Engine.IO session with the least of Socket.IO on top. It sends one
 * request at a time and none by itself, so a test decides when a request is in
 * flight, over which connection and from which address.
 */
import { gunzipSync, inflateSync } from 'node:zlib';
import WebSocket from 'ws';
import { S, TRUST, request as begin } from './secure.mjs';
import { within } from './wait.mjs';

const REQUEST_MS = 40_000;
const SEPARATOR = '\u001e';

export class RawError extends Error {
  constructor(session, step, { status, text }) {
    super(
      `EIO${session.eio} session ${session.sid}: ${step} was answered ` +
        `${status} ${text.slice(0, 120)}`,
    );
    this.status = status;
    /* The one answer that a live session must never see. */
    this.unknown = /"code":"?1\b|Session ID unknown|Invalid sess/.test(text);
  }
}

function inflate(body, coding) {
  if (coding === 'gzip') return gunzipSync(body);
  return coding === 'deflate' ? inflateSync(body) : body;
}

/* The text between the parentheses of ___eio[j]("…"); */
function unwrapJsonp(text, j) {
  const match = /^___eio\[(\d+)\]\((".*")\);$/s.exec(text);
  if (!match || Number(match[1]) !== j)
    throw new Error(`not the JSONP answer ${j}: ${text.slice(0, 80)}`);
  return JSON.parse(match[2]);
}

/* EIO=3 counts UTF-16 units, as JavaScript strings do. */
function decodeLengths(payload) {
  const packets = [];
  let rest = payload;
  while (rest) {
    const colon = rest.indexOf(':');
    const length = Number(rest.slice(0, colon));
    if (colon < 1 || !Number.isInteger(length))
      throw new Error(`bad EIO3 payload: ${rest.slice(0, 60)}`);
    packets.push(rest.slice(colon + 1, colon + 1 + length));
    rest = rest.slice(colon + 1 + length);
  }
  return packets;
}

export class RawSession {
  sid = '';
  ws = null;
  requests = 0;
  lastHeaders = {};
  #inbox = [];
  #waiting = null;
  #wsFailure = null;
  #ackId = 0;

  /* agent: an Agent or false for a connection per request; jsonp: the index
   * of the callback, to poll as a <script> would; localAddress: may be changed
   * at any time. */
  constructor({
    port,
    eio = 4,
    agent = false,
    headers = {},
    query = '',
    jsonp = -1,
    localAddress,
  }) {
    Object.assign(this, { port, eio, agent, headers, query });
    Object.assign(this, { jsonp, localAddress });
  }

  target(transport) {
    const j = this.jsonp >= 0 ? `&j=${this.jsonp}` : '';
    const sid = this.sid ? `&sid=${encodeURIComponent(this.sid)}` : '';
    return (
      `/socket.io/?EIO=${this.eio}&transport=${transport}` +
      `&t=${this.requests.toString(36)}${j}${this.query}${sid}`
    );
  }

  #send(method, body) {
    this.requests++;
    return new Promise((resolve, reject) => {
      const request = begin(
        {
          ...TRUST,
          host: '127.0.0.1',
          port: this.port,
          method,
          path: this.target('polling'),
          agent: this.agent,
          localAddress: this.localAddress,
          timeout: REQUEST_MS,
          headers: {
            ...(body === undefined
              ? {}
              : {
                  'Content-Type':
                    this.jsonp >= 0
                      ? 'application/x-www-form-urlencoded'
                      : 'text/plain;charset=UTF-8',
                  'Content-Length': Buffer.byteLength(body),
                }),
            ...this.headers,
          },
        },
        (response) => {
          const parts = [];
          response.on('data', (part) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => {
            const coding = response.headers['content-encoding'];
            const bytes = inflate(Buffer.concat(parts), coding);
            resolve({
              status: response.statusCode,
              headers: response.headers,
              text: bytes.toString('utf8'),
            });
          });
        },
      );
      request.on('timeout', () => request.destroy(new Error('no answer')));
      request.on('error', (error) =>
        reject(
          new Error(`${method} of session ${this.sid}: ${error.message}`),
        ),
      );
      request.end(body);
    });
  }

  #decode(text) {
    const payload = this.jsonp >= 0 ? unwrapJsonp(text, this.jsonp) : text;
    return this.eio === 4 ? payload.split(SEPARATOR) : decodeLengths(payload);
  }

  #encode(packets) {
    const payload =
      this.eio === 4
        ? packets.join(SEPARATOR)
        : packets.map((packet) => `${packet.length}:${packet}`).join('');
    return this.jsonp >= 0 ? `d=${encodeURIComponent(payload)}` : payload;
  }

  /* One GET; gives its packets. */
  async poll() {
    const step = this.sid ? 'poll' : 'handshake';
    const answer = await this.#send('GET');
    if (answer.status !== 200) throw new RawError(this, step, answer);
    this.lastHeaders = answer.headers;
    return this.#decode(answer.text);
  }

  async send(...packets) {
    if (this.ws) {
      packets.forEach((packet) => this.ws.send(packet));
      return;
    }
    const answer = await this.#send('POST', this.#encode(packets));
    if (answer.status !== 200) throw new RawError(this, 'POST', answer);
  }

  async open() {
    const [first, ...others] = await this.poll();
    if (first[0] !== '0')
      throw new Error(`not an open packet: ${first.slice(0, 60)}`);
    this.open_ = JSON.parse(first.slice(1));
    this.sid = this.open_.sid;
    this.#inbox.push(...others);
    return this;
  }

  /* The next packet that is not the engine's own. */
  async next() {
    for (;;) {
      if (this.#inbox.length === 0) await this.#fill();
      const packet = this.#inbox.shift();
      if (packet === '2') await this.send('3');
      else if (packet === '1') throw new Error(`${this.sid}: closed by server`);
      else if (packet !== '3' && packet !== '6') return packet;
    }
  }

  async #fill() {
    if (!this.ws) {
      this.#inbox.push(...(await this.poll()));
      return;
    }
    if (this.#wsFailure) throw this.#wsFailure;
    const arrival = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    await within(arrival, REQUEST_MS, `a frame of ${this.sid}`);
  }

  /* Connects to Socket.IO's main namespace. */
  async connect() {
    if (this.eio === 4) await this.send('40');
    const packet = await this.next();
    if (!packet.startsWith('40'))
      throw new Error(`${this.sid}: not connected: ${packet.slice(0, 60)}`);
    return this;
  }

  /* Emits with an ack, gives the ack's arguments. Events that come meanwhile
   * are passed over. */
  async call(event, ...args) {
    const id = this.#ackId++;
    await this.send(`42${id}${JSON.stringify([event, ...args])}`);
    const start = `43${id}`;
    for (;;) {
      const packet = await this.next();
      if (packet.startsWith(`${start}[`))
        return JSON.parse(packet.slice(start.length));
    }
  }

  emit(event, ...args) {
    return this.send(`42${JSON.stringify([event, ...args])}`);
  }

  async event() {
    for (;;) {
      const packet = await this.next();
      if (packet.startsWith('42[')) return JSON.parse(packet.slice(2));
    }
  }

  async whoami() {
    return (await this.call('whoami'))[0];
  }

  #openSocket() {
    const address =
      `ws${S}://127.0.0.1:${this.port}` + this.target('websocket');
    const ws = new WebSocket(address, {
      ...TRUST,
      agent: this.agent || undefined,
      localAddress: this.localAddress,
      perMessageDeflate: false,
      headers: this.headers,
    });
    const fail = (error) => {
      this.#wsFailure = error;
      this.#waiting?.reject(error);
    };
    ws.on('message', (data) => {
      this.#inbox.push(data.toString());
      this.#waiting?.resolve();
    });
    ws.on('close', (code) =>
      fail(new Error(`${this.sid}: websocket closed with ${code}`)),
    );
    return new Promise((resolve, reject) => {
      ws.on('open', () => resolve(ws));
      ws.on('error', (error) => {
        fail(error);
        reject(error);
      });
      ws.on('unexpected-response', (request, response) => {
        let text = '';
        response.on('data', (part) => (text += part));
        response.on('end', () =>
          reject(
            new RawError(this, 'upgrade', {
              status: response.statusCode,
              text,
            }),
          ),
        );
      });
    });
  }

  /* From polling to websocket. No poll may be in flight. */
  async upgrade() {
    const ws = await within(
      this.#openSocket(),
      REQUEST_MS,
      `the upgrade of ${this.sid}`,
    );
    const early = this.#inbox.splice(0);
    this.ws = ws;
    await this.send('2probe');
    await this.#fill();
    const probe = this.#inbox.shift();
    if (probe !== '3probe')
      throw new Error(`${this.sid}: probe was answered ${probe}`);
    await this.send('5');
    this.#inbox.unshift(...early);
    return this;
  }

  async openWebsocket() {
    this.ws = await within(this.#openSocket(), REQUEST_MS, 'websocket');
    /* The first frames may have come with the 101. */
    if (this.#inbox.length === 0) await this.#fill();
    this.open_ = JSON.parse(this.#inbox.shift().slice(1));
    this.sid = this.open_.sid;
    return this;
  }

  async close() {
    if (this.ws) {
      this.ws.removeAllListeners('close');
      this.ws.close();
    } else {
      await this.send('1');
    }
  }

  /* After a failure: nothing is left open, nothing is awaited. */
  abandon() {
    this.ws?.terminate();
  }
}
