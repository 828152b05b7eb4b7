/* SPDX-License-Identifier: MIT */
/*
 * What a node saw: its sessions from birth to end, every answer it gave to a
 * sid that was not 200 or 101, and sidgate's own questions (PUT with a sid).
 * Times are Date.now(), comparable between the nodes of one machine.
 */
import http from 'node:http';

const UNKNOWN = /"code":\s*1\b|Session ID unknown/;

/* sessions: sid -> [opened at, closed at or null, reason]; pending: requests
 * not yet answered; polled: the sids of such polls. */
function emptyRecord() {
  return {
    sessions: {},
    refusals: [],
    probes: 0,
    requests: 0,
    pending: 0,
    polled: [],
    addresses: {},
  };
}

/* Whatever stands before the query. */
function sidOf(req) {
  return new URLSearchParams(req.url.split('?')[1]).get('sid');
}

function note(record, req, answer) {
  const query = new URL(req.url, 'http://node').searchParams;
  const sid = query.get('sid');
  if (!sid) return;
  if (req.method === 'PUT') {
    record.probes++;
    return;
  }
  record.refusals.push({
    sid,
    at: Date.now(),
    method: req.method,
    transport: query.get('transport'),
    status: answer.status,
    unknown: UNKNOWN.test(answer.text),
    text: answer.text,
  });
}

function watchResponse(record, req, res) {
  let text = '';
  const keep = (chunk) => {
    if (res.statusCode !== 200 && text.length < 120 && chunk?.length)
      text += chunk.toString().slice(0, 120);
  };
  for (const method of ['write', 'end']) {
    const original = res[method];
    res[method] = function (chunk, ...rest) {
      if (typeof chunk !== 'function') keep(chunk);
      return original.call(this, chunk, ...rest);
    };
  }
  const sid = req.method === 'GET' && sidOf(req);
  record.pending++;
  if (sid) record.polled.push(sid);
  res.on('close', () => {
    record.pending--;
    if (sid) record.polled.splice(record.polled.indexOf(sid), 1);
  });
  res.on('finish', () => {
    if (res.statusCode >= 300)
      note(record, req, { status: res.statusCode, text });
  });
}

/* A refused upgrade is written to the bare socket, in one or more pieces. */
function watchUpgrade(record, req, socket) {
  let head = '';
  const write = socket.write;
  socket.write = function (chunk, ...rest) {
    if (head.length < 400) head += chunk.toString('latin1').slice(0, 400);
    if (head.startsWith('HTTP/1.1 101')) socket.write = write;
    return write.call(this, chunk, ...rest);
  };
  socket.once('close', () => {
    const status = Number(head.slice(9, 12));
    if (status >= 300) note(record, req, { status, text: head.slice(0, 300) });
  });
}

/* Call before Engine.IO attaches itself; gives the functions that keep the
 * record of sessions and a getter of it. */
export function watch(server) {
  let record = emptyRecord();
  const { emit } = server;
  server.emit = function (event, req, second, ...rest) {
    if (event === 'request' || event === 'upgrade') {
      const address = req.socket.remoteAddress;
      record.requests++;
      record.addresses[address] = (record.addresses[address] ?? 0) + 1;
    }
    if (event === 'request') watchResponse(record, req, second);
    else if (event === 'upgrade') watchUpgrade(record, req, second);
    return emit.call(this, event, req, second, ...rest);
  };
  return {
    opened: (sid) => (record.sessions[sid] = [Date.now(), null, '']),
    closed: (sid, reason) => {
      const session = record.sessions[sid];
      if (session) [session[1], session[2]] = [Date.now(), reason];
    },
    get record() {
      return record;
    },
  };
}

export function serveControl(name, seen, emitToAll) {
  return http.createServer((req, res) => {
    const url = new URL(req.url, 'http://node');
    if (url.pathname === '/emit') emitToAll(url.searchParams.get('event'));
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ name, ...seen.record }));
  });
}
