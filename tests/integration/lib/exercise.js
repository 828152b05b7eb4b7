/* SPDX-License-Identifier: MIT */
/*
 * What one Socket.IO client does and what it must see. Runs in Node.js and in
 * a page alike, so it imports nothing.
 */

/*
 * transports: what the client is told; engine: what it must end with. In
 * `fallback` the nodes refuse websocket handshakes (not upgrades). Client 4
 * falls back by itself and then knows polling only; the others are told the
 * other order after the failure, as their documentation advises, and upgrade.
 */
export const MODES = {
  polling: { transports: ['polling'], engine: 'polling' },
  upgrade: { transports: ['polling', 'websocket'], engine: 'websocket' },
  websocket: { transports: ['websocket'], engine: 'websocket' },
  fallback: {
    transports: ['websocket', 'polling'],
    engine: { 2: 'websocket', 3: 'websocket', 4: 'polling' },
  },
};

const STEP_MS = 30_000;

function bounded(promise, what, ms = STEP_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/* Equal as JSON, binary parts by their bytes. */
export function same(sent, got) {
  if (sent instanceof ArrayBuffer || ArrayBuffer.isView(sent)) {
    if (!(got instanceof ArrayBuffer || ArrayBuffer.isView(got))) return false;
    const [a, b] = [bytesOf(sent), bytesOf(got)];
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  }
  if (sent === null || typeof sent !== 'object') return sent === got;
  if (got === null || typeof got !== 'object') return false;
  const keys = Object.keys(sent);
  return (
    keys.length === Object.keys(got).length &&
    keys.every((key) => same(sent[key], got[key]))
  );
}

/* For reports: bytes by their number only, and never much. */
function shown(data) {
  const brief = (key, value) =>
    value instanceof ArrayBuffer || ArrayBuffer.isView(value)
      ? `${value.byteLength} bytes`
      : value?.type === 'Buffer'
        ? `${value.data.length} bytes`
        : value;
  return JSON.stringify(data, brief).slice(0, 200);
}

/* The node's payloads, made again here to compare. */
export function expectedPayload(kind, length) {
  if (kind === 'binary')
    return Uint8Array.from({ length }, (_, i) => i % 251);
  return 'abcdefghij'.repeat(Math.ceil(length / 10)).slice(0, length);
}

function expectedEngine(mode, client) {
  const { engine } = MODES[mode];
  return typeof engine === 'string' ? engine : engine[client];
}

/*
 * Opens a client and keeps a log of all that it saw. The log is what a failing
 * test prints. o: {client, url, mode, options}
 */
export function openClient(io, { client, url, mode, options = {} }) {
  const start = Date.now();
  const log = [];
  const faults = [];
  const note = (text) => log.push(`+${Date.now() - start} ms ${text}`);
  const fault = (text) => {
    note(`FAULT ${text}`);
    faults.push(text);
  };
  let refusalsDue = mode === 'fallback' && client !== '4' ? 1 : 0;
  const socket = io(url, {
    forceNew: true,
    withCredentials: false,
    reconnectionDelay: 20,
    reconnectionDelayMax: 100,
    randomizationFactor: 0,
    transports: [...MODES[mode].transports],
    tryAllTransports: mode === 'fallback',
    ...(mode === 'fallback' ? { query: { refusews: '1' } } : {}),
    ...options,
  });
  socket.on('connect_error', (error) => {
    if (refusalsDue-- > 0) {
      note('websocket refused, polling first from now on');
      socket.io.opts.transports = ['polling', 'websocket'];
    } else {
      fault(
        `connect_error: ${error.message} ` +
          `${error.description?.message ?? error.description ?? ''}`,
      );
    }
  });
  socket.on('disconnect', (reason) => {
    if (!handle.closing) fault(`disconnect: ${reason}`);
    else note(`disconnect: ${reason}`);
  });
  const handle = {
    socket,
    client,
    mode,
    log,
    faults,
    note,
    closing: false,
    engine: () => socket.io.engine,
    connected: () =>
      bounded(
        new Promise((resolve) => {
          if (socket.connected) resolve();
          else socket.once('connect', resolve);
        }),
        'connect',
      ).then(() => note(`connected, sid ${socket.io.engine.id}`)),
    /* `upgrade` must be seen to succeed, not only be tried. */
    upgraded: () =>
      bounded(
        new Promise((resolve, reject) => {
          const { engine } = socket.io;
          if (engine.transport.name === 'websocket') resolve();
          engine.once('upgrade', resolve);
          engine.once('upgradeError', (error) =>
            reject(new Error(`upgradeError: ${error.message}`)),
          );
        }),
        'upgrade to websocket',
      ).then(() => note('upgraded')),
    call: (event, ...args) =>
      bounded(
        new Promise((resolve) =>
          socket.emit(event, ...args, (...answer) => resolve(answer)),
        ),
        `ack of ${event}`,
      ),
    event: (event) =>
      bounded(
        new Promise((resolve) =>
          socket.once(event, (...data) => resolve(data)),
        ),
        `event ${event}`,
      ),
    close: () => {
      handle.closing = true;
      socket.disconnect();
    },
  };
  return handle;
}

/* Connects and, where the mode says so, waits for the upgrade. Gives what the
 * node says of the session. */
export async function settle(handle) {
  await handle.connected();
  const { id } = handle.engine();
  const due = expectedEngine(handle.mode, handle.client);
  const polls = ['upgrade', 'fallback'].includes(handle.mode);
  if (due === 'websocket' && polls) await handle.upgraded();
  const [me] = await handle.call('whoami');
  if (me.transport !== due)
    throw new Error(`on ${me.transport}, not on ${due}`);
  if (me.sid !== id)
    throw new Error(`handshake gave sid ${id}, the node says ${me.sid}`);
  return me;
}

const SAMPLES = [
  ['text'],
  ['snowman \u2603, clef \u{1d11e}, separator \u001e, quote "\\', 1.5, null],
  [{ nested: { list: [1, 'two', null, true] } }, []],
  [Uint8Array.from({ length: 256 }, (_, i) => i)],
  [{ some: Uint8Array.of(0, 255, 10, 13, 30), more: ['x'] }, 'tail'],
];

/* What every client takes as binary: a Buffer here, an ArrayBuffer in a page
 * (client 2 does not know views). */
export function sendable(value) {
  if (value instanceof Uint8Array)
    return typeof Buffer === 'undefined'
      ? value.slice().buffer
      : Buffer.from(value);
  if (Array.isArray(value)) return value.map(sendable);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, sendable(part)]),
  );
}

/* Text, objects and bytes go up, and come back by event and by ack. */
export async function echoAll(handle) {
  for (const sample of SAMPLES) {
    const event = handle.event('echo');
    const acked = await handle.call('echo', ...sendable(sample));
    if (!same(sample, acked))
      throw new Error(`ack of echo differs: ${shown(acked)}`);
    const came = await event;
    if (!same(sample, came))
      throw new Error(`event echo differs: ${shown(came)}`);
  }
}

/* `length` bytes or characters each way. */
export async function bigBothWays(handle, kind, length) {
  const payload = expectedPayload(kind, length);
  const [up] = await handle.call('bigup', sendable(payload));
  if (up.length !== length || !up.whole)
    throw new Error(`big ${kind} arrived as ${JSON.stringify(up)}`);
  const event = handle.event('bigdown');
  handle.socket.emit('bigdown', kind, length);
  const [down] = await event;
  if (!same(payload, down))
    throw new Error(`big ${kind} came back damaged (${down.length})`);
}

/*
 * The whole life of one client. o: as for openClient and big, a list of {kind,
 * length}; seconds of silence; rounds of whoami at the end. Never throws: gives
 * {name, node, sid, faults, log}; no faults means that all was as it must be.
 */
export async function exercise(io, o) {
  const handle = openClient(io, o);
  const { faults, log } = handle;
  let me = {};
  try {
    me = await settle(handle);
    await echoAll(handle);
    for (const { kind, length } of o.big ?? [])
      await bigBothWays(handle, kind, length);
    if (o.seconds) {
      await new Promise((resolve) => setTimeout(resolve, o.seconds * 1000));
      handle.note(`${o.seconds} s of silence are over`);
    }
    for (let i = 0; i < (o.rounds ?? 3); i++) {
      const [now] = await handle.call('whoami');
      if (!same(me, now))
        throw new Error(
          `was ${JSON.stringify(me)}, now ${JSON.stringify(now)}`,
        );
    }
  } catch (error) {
    faults.push(error.message);
  }
  handle.close();
  return { name: `client ${o.client} ${o.mode}`, ...me, faults, log };
}
