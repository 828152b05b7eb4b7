/* SPDX-License-Identifier: MIT */
/*
 * One Socket.IO node: `node servers/node.mjs VERSION NAME [OPTIONS-AS-JSON]`.
 *
 * VERSION is 2, 3 or 4 (the npm aliases server2, server3, server4); OPTIONS
 * go to Engine.IO, but for tls: {certificate, key}, files for a node that
 * speaks TLS, and at: {host, port}, where to listen. GET /healthz is answered
 * with 200, what else is not Engine.IO's with 404. Prints one line
 * {"port":…,"control":…} when both listen and ends when its standard input
 * does, so that it never outlives its parent.
 * The control port answers GET /stats (lib/watch.mjs) and POST /emit?event=E.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { listenQuietly } from '../../support/ports.mjs';
import { serveControl, watch } from './watch.mjs';

const [version, name, json = '{}'] = process.argv.slice(2);
const { tls, at = {}, ...options } = JSON.parse(json);
const require = createRequire(import.meta.url);
const library = require(`server${version}`);

/* Lets a test refuse websocket handshakes, so that a client has to fall back;
 * an upgrade carries a sid and is never asked about. */
function allowRequest(req, callback) {
  const query = new URL(req.url, 'http://node').searchParams;
  const refused =
    query.get('refusews') === '1' && query.get('transport') === 'websocket';
  const reason = version === '2' ? 3 : 'websocket refused';
  callback(refused ? reason : null, !refused);
}

function createServer(httpServer) {
  const engineOptions = {
    maxHttpBufferSize: 8e6,
    allowRequest,
    ...options,
  };
  if (version === '2') return library(httpServer, engineOptions);
  return new library.Server(httpServer, {
    allowEIO3: true,
    cors: { origin: '*' },
    ...engineOptions,
  });
}

/* Cuts the TCP connection under the session, as a failing network would: that
 * of its poll, since others may by now serve other sessions. */
function cutTransport(conn) {
  const { transport } = conn;
  if (transport.name === 'websocket') transport.socket.terminate();
  else if (transport.req) transport.req.socket.destroy();
  else setTimeout(cutTransport, 5, conn);
}

function payloadOf(kind, length) {
  if (kind === 'binary') {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = i % 251;
    return bytes;
  }
  return 'abcdefghij'.repeat(Math.ceil(length / 10)).slice(0, length);
}

function onConnection(socket) {
  socket.on('whoami', (ack) =>
    ack({
      node: name,
      transport: socket.conn.transport.name,
      sid: socket.conn.id,
    }),
  );
  socket.on('echo', (...data) => {
    const ack = data.pop();
    socket.emit('echo', ...data);
    ack(...data);
  });
  socket.on('say', (text) => socket.emit('said', text));
  let counted = 0;
  socket.on('count', (n, text) =>
    socket.emit('counted', n, text, ++counted, name, socket.conn.id),
  );
  socket.on('bigdown', (kind, length) =>
    socket.emit('bigdown', payloadOf(kind, length)),
  );
  socket.on('bigup', (data, ack) => {
    const expected = payloadOf(
      typeof data === 'string' ? 'text' : 'binary',
      data.length,
    );
    ack({
      length: data.length,
      whole:
        typeof data === 'string' ? data === expected : expected.equals(data),
    });
  });
  socket.on('disconnect-me', () => socket.disconnect(true));
  socket.on('close-me', () => socket.conn.close());
  socket.on('cut-me', () => cutTransport(socket.conn));
}

function onRequest(req, res) {
  res.statusCode = req.url === '/healthz' ? 200 : 404;
  res.end();
}

const server = tls
  ? https.createServer(
      {
        cert: readFileSync(tls.certificate),
        key: readFileSync(tls.key),
      },
      onRequest,
    )
  : http.createServer(onRequest);
const seen = watch(server);
const io = createServer(server);
io.engine.on('connection', (conn) => {
  seen.opened(conn.id);
  conn.on('close', (reason) => seen.closed(conn.id, reason));
});
io.on('connection', onConnection);

const control = serveControl(name, seen, (event) => io.emit(event, name));
if (at.port)
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.host ?? '127.0.0.1', resolve);
  });
else await listenQuietly(server, at.host);
await listenQuietly(control);
process.stdout.write(
  JSON.stringify({
    port: server.address().port,
    control: control.address().port,
  }) + '\n',
);
process.stdin.on('end', () => process.exit(0)).resume();
