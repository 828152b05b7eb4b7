/* SPDX-License-Identifier: MIT */
/* A backend that speaks as much Engine.IO as routing needs: it mints sids,
 * knows its own, denies others, and answers the inert probe. */

import { createHash, randomBytes } from 'node:crypto';

import { ok, startBackend } from './backend.mjs';

const WS_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
export const WS_KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

export function wsAccept(key)
{
    return createHash('sha1').update(key + WS_GUID).digest('base64');
}

export function newSid()
{
    return randomBytes(15).toString('base64url');
}

export function openPacket(sid, more = {})
{
    return `0${JSON.stringify({ sid, upgrades: ['websocket'],
        pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000,
        ...more })}`;
}

/* What servers answer to a sid that is not theirs, and to a method that is
 * not for them. */
export function engineError(code, message)
{
    const body = JSON.stringify({ code, message });
    return 'HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`;
}

export const UNKNOWN_SID = engineError(1, 'Session ID unknown');

export function parameters(target)
{
    return new URL(target, 'http://h').searchParams;
}

export function handshakeRequest(more = '', path = '/socket.io/')
{
    return `GET ${path}?EIO=4&transport=polling${more} HTTP/1.1\r\n` +
        'Host: h\r\n\r\n';
}

export function sidRequest(sid, { method = 'GET', body = '', more = '',
                                  fields = '' } = {})
{
    const length = method === 'POST' ? `Content-Length: ${body.length}\r\n` :
        '';
    return `${method} /socket.io/?EIO=4&transport=polling&sid=` +
        `${encodeURIComponent(sid)}${more} HTTP/1.1\r\nHost: h\r\n${length}` +
        `${fields}\r\n${body}`;
}

export function upgradeRequest(target = '/socket.io/?EIO=4&transport=websocket',
                               fields = '')
{
    return `GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n` +
        `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: ${WS_KEY}\r\n${fields}\r\n`;
}

export function switching(request, fields = '')
{
    return 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
        'Connection: Upgrade\r\nSec-WebSocket-Accept: ' +
        `${wsAccept(request.get('sec-websocket-key'))}\r\n${fields}\r\n`;
}

/* A backend with, on top of Backend:
 *   sids      those it knows
 *   mint()    what the next handshake's sid is
 *   onPoll, onPost  (request, wire, sid): answers for a known sid
 *   probes    the inert questions that reached it; not among requests */
export async function startEngine({ id = 'n1', host, port = 0 } = {})
{
    const backend = await startBackend({ id, host, port });
    const clean = backend.reset.bind(backend);

    function handle(request, wire)
    {
        const sid = parameters(request.target).get('sid');
        if (request.method === 'PUT' && sid) {
            backend.requests.splice(backend.requests.indexOf(request), 1);
            backend.probes.push(request);
            wire.send(backend.sids.has(sid) ?
                engineError(3, 'Bad request') : UNKNOWN_SID);
            return undefined;
        }
        if (sid && !backend.sids.has(sid)) {
            wire.send(UNKNOWN_SID);
            return undefined;
        }
        if (sid && request.method === 'POST')
            return backend.onPost(request, wire, sid);
        if (sid)
            return backend.onPoll(request, wire, sid);
        return backend.onHandshake(request, wire);
    }

    /* Back to plain handshakes. */
    backend.mints = () => {
        backend.onHandshake = (request, wire) => {
            const sid = backend.mint();
            backend.sids.add(sid);
            wire.send(ok(openPacket(sid)));
        };
    };

    backend.fallback = handle;
    backend.reset = () => {
        clean();
        backend.sids = new Set();
        backend.probes = [];
        backend.mint = newSid;
        backend.mints();
        backend.onPoll = (request, wire) => wire.send(ok(`4${backend.id}`));
        backend.onPost = (request, wire) => wire.send(ok('ok'));
    };
    backend.reset();
    return backend;
}
