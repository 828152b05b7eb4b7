/* SPDX-License-Identifier: MIT */
/*
 * A backend as a process of its own for load: an Engine.IO server that sends
 * back each message, on polls and websockets; /large and /larger, which only a
 * reader gets to the end of; /quick, a small answer; and it takes any POST.
 * Says {port} once it listens. With arguments, the first is the module of a
 * real engine.io to use in place of the small one below.
 */

import http from 'node:http';

import { newSid, openPacket, parameters, wsAccept } from './engine.mjs';
import { frame, TEXT } from './frames.mjs';

const LARGE = 8e6; /* more than the kernel takes for a reader */
const PIECE = Buffer.alloc(65536, 'x');

/* Held polls and what waits for them, by sid. */
const sessions = new Map();

function poll(session, res)
{
    if (session.queue.length === 0) {
        session.held = res;
        return;
    }
    session.held = null;
    res.end(session.queue.splice(0).join('\x1e'));
}

function post(session, sid, body, res)
{
    res.end('ok');
    if (body === '1') {
        session.queue.push('6');
        sessions.delete(sid);
    } else {
        session.queue.push(body);
    }
    if (session.held)
        poll(session, session.held);
}

function handshake(res)
{
    const sid = newSid();
    sessions.set(sid, { queue: [], held: null });
    res.end(openPacket(sid));
}

function onEngine(req, res)
{
    const sid = parameters(req.url).get('sid');
    const session = sessions.get(sid);
    if (!sid) {
        handshake(res);
    } else if (req.method === 'GET' && session) {
        poll(session, res);
    } else if (req.method === 'POST' && session) {
        let body = '';
        req.on('data', (chunk) => (body += chunk));
        req.on('end', () => post(session, sid, body, res));
    } else {
        res.statusCode = 400;
        res.end('{"code":1,"message":"Session ID unknown"}');
    }
}

/* Short text frames from a client; longer ones are not for this. */
function onFrames(socket, say)
{
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        while (bytes.length >= 6 && bytes.length >= 6 + (bytes[1] & 127)) {
            const end = 6 + (bytes[1] & 127);
            const text = bytes.subarray(6, end)
                .map((byte, i) => byte ^ bytes[2 + (i & 3)]);
            bytes = bytes.subarray(end);
            say(text.toString());
        }
    });
}

function pour(socket)
{
    while (!socket.destroyed && socket.write(frame(TEXT, PIECE)))
        ;
    socket.once('drain', () => pour(socket));
}

function onUpgrade(req, socket)
{
    socket.on('error', () => {});
    socket.setNoDelay(true);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
        'Connection: Upgrade\r\nSec-WebSocket-Accept: ' +
        `${wsAccept(req.headers['sec-websocket-key'])}\r\n\r\n`);
    if (!parameters(req.url).has('sid'))
        socket.write(frame(TEXT, openPacket(newSid())));
    onFrames(socket, (text) => {
        if (text === '4pour')
            pour(socket);
        else if (text === '2probe')
            socket.write(frame(TEXT, '3probe'));
        else if (text.startsWith('4'))
            socket.write(frame(TEXT, text));
    });
}

function stream(res)
{
    let left = LARGE;
    const more = () => {
        while (left > 0 && !res.destroyed) {
            left -= PIECE.length;
            if (!res.write(PIECE))
                return;
        }
        res.end();
    };
    res.on('drain', more);
    res.writeHead(200, { 'Content-Length': Math.ceil(LARGE / PIECE.length) *
        PIECE.length });
    more();
}

function onPlain(req, res)
{
    req.on('error', () => {});
    res.on('error', () => {});
    if (req.url.startsWith('/large')) {
        stream(res);
        return;
    }
    req.resume();
    req.on('end', () => res.end('done'));
}

const server = http.createServer({ requestTimeout: 0, headersTimeout: 0 });
const [module] = process.argv.slice(2);
if (module) {
    const { default: engineIo } = await import(module);
    const engine = new engineIo.Server({ maxHttpBufferSize: 1e7 });
    engine.on('connection', (socket) =>
        socket.on('message', (data) => socket.send(data)));
    server.on('request', (req, res) => {
        if (req.url.startsWith('/socket.io/'))
            engine.handleRequest(req, res);
        else
            onPlain(req, res);
    });
    server.on('upgrade', (req, socket, head) =>
        engine.handleUpgrade(req, socket, head));
} else {
    server.on('request', (req, res) =>
        (req.url.startsWith('/socket.io/') ? onEngine : onPlain)(req, res));
    server.on('upgrade', onUpgrade);
}
server.keepAliveTimeout = 3000;
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
    process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit(0));
