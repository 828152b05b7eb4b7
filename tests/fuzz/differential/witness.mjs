/* SPDX-License-Identifier: MIT */
/* A backend on Node's own HTTP parser. It keeps each request as that parser
 * understood it and, of each connection, the very bytes; and it answers each
 * request with a name of its own, so that an answer that went astray shows. */

import { randomBytes } from 'node:crypto';
import http from 'node:http';

import { openPacket, parameters, wsAccept } from '../../support/engine.mjs';
import { LocalServer } from './local-server.mjs';
import { Malformed, Partial, readRequest } from './strict.mjs';

/* Forms of answers, chosen by a request's number. */
const FORMS = [
    (response, text) => response.end(text),
    (response, text) => {
        response.write(text);
        response.end();
    },
    (response, text) => {
        response.setHeader('Content-Length', text.length);
        response.end(text);
    },
    (response) => response.writeHead(204).end(),
    (response) => response.writeHead(304).end(),
    (response, text) => response.writeHead(404).end(text),
    (response, text) => {
        response.setHeader('Connection', 'close');
        response.end(text);
    },
    (response, text) => {
        response.writeEarlyHints({ link: '</x>; rel=preload' });
        response.write(text);
        response.end(text);
    },
];

let order = 0; /* over all witnesses */

export class Witness extends LocalServer {
    constructor(id, sids)
    {
        super(id);
        this.sids = sids;
        this.heads = 0;         /* requests whose head came */
        this.bySource = new Map(); /* X-Forwarded-For to a list */
        this.nonces = new Map();
        this.prefix = randomBytes(6).toString('hex');
        this.http = http.createServer(
            { maxHeaderSize: 131072, keepAliveTimeout: 5000 });
        this.http.httpAllowHalfOpen = true;
        this.http.on('request', (q, s) => this.#request(q, s));
        this.http.on('upgrade', (q, socket) => this.#upgrade(q, socket));
        this.http.on('connect', (q, socket) => {
            this.errors.push('CONNECT came');
            socket.destroy();
        });
        for (const event of ['checkContinue', 'checkExpectation'])
            this.http.on(event, (q, s) => {
                this.errors.push('Expect came');
                this.#request(q, s);
            });
        this.http.on('clientError', (error, socket) => {
            if (!this.#isCut(error))
                this.errors.push(`Node's parser: ${error.code} on ` +
                    JSON.stringify(error.rawPacket?.toString('latin1')));
            socket.destroy();
        });
    }

    /* What a client's leaving comes to. */
    #isCut(error)
    {
        return ['ECONNRESET', 'EPIPE', 'HPE_INVALID_EOF_STATE']
            .includes(error.code);
    }

    connected(socket)
    {
        const tap = { bytes: [], requests: [], isTunnel: false };
        socket.tap = tap;
        this.http.emit('connection', socket);
        /* Adding a listener here makes Node's parser take its bytes from the
         * same events. */
        socket.prependListener('data', (piece) => {
            if (!tap.isTunnel)
                tap.bytes.push(piece);
        });
        socket.on('close', () => this.#checkTap(tap));
    }

    #record(request)
    {
        const nonce = `${this.prefix}-${this.heads++}`;
        const { method, url, rawHeaders } = request;
        const fields = [];
        for (let i = 0; i < rawHeaders.length; i += 2)
            fields.push([rawHeaders[i].toLowerCase(), rawHeaders[i + 1]]);
        const record = { at: order++, nonce, method, url, fields,
                         witness: this, body: null, isWhole: false };
        request.socket.tap.requests.push(record);
        const source = fields.find(([n]) => n === 'x-forwarded-for')?.[1];
        if (!this.bySource.has(source))
            this.bySource.set(source, []);
        this.bySource.get(source).push(record);
        this.nonces.set(nonce, record);
        return record;
    }

    #request(request, response)
    {
        const record = this.#record(request);
        const pieces = [];
        request.on('data', (piece) => pieces.push(piece));
        request.on('error', () => {});
        response.on('error', () => {});
        request.on('end', () => {
            record.body = Buffer.concat(pieces);
            record.isWhole = true;
            this.#answer(record, response);
        });
    }

    #answer(record, response)
    {
        response.setHeader('X-Nonce', record.nonce);
        const query = record.url.startsWith('/socket.io/?') &&
            parameters(record.url);
        if (query && !query.get('sid') && record.method === 'GET') {
            response.end(openPacket(this.sids[this.heads % this.sids.length],
                                    { nonce: record.nonce }));
            return;
        }
        FORMS[this.heads % FORMS.length](response, record.nonce);
    }

    #upgrade(request, socket)
    {
        const record = this.#record(request);
        record.body = Buffer.alloc(0);
        record.isWhole = true;
        socket.tap.isTunnel = true;
        if (this.heads % 3 === 0) {
            socket.end(`HTTP/1.1 403 No\r\nX-Nonce: ${record.nonce}\r\n` +
                'Content-Length: 2\r\nConnection: close\r\n\r\nno');
            return;
        }
        socket.end('HTTP/1.1 101 Switching Protocols\r\n' +
            'Upgrade: websocket\r\nConnection: Upgrade\r\n' +
            `X-Nonce: ${record.nonce}\r\nSec-WebSocket-Accept: ` +
            `${wsAccept(request.headers['sec-websocket-key'])}\r\n\r\n`);
    }

    /* The strict reader finds the same requests in the bytes as Node did. */
    #checkTap({ bytes, requests })
    {
        const whole = Buffer.concat(bytes);
        const mismatch = (why) => this.errors.push(`${this.id}: ${why}: ` +
            JSON.stringify(whole.toString('latin1')).slice(0, 3000));
        let at = 0;
        for (const record of requests) {
            try {
                const found = readRequest(whole, at);
                if (!record.isWhole || found.method !== record.method ||
                    found.target !== record.url ||
                    !found.body.equals(record.body))
                    mismatch(`Node saw ${record.method} ${record.url}, and ` +
                        `${found.method} ${found.target} came`);
                if (found.frame === 'chunked' &&
                    /;/.test(whole.toString('latin1', at, found.end)
                        .split('\r\n\r\n').slice(1).join().slice(0, 10)))
                    mismatch('a chunk extension');
                at = found.end;
            } catch (error) {
                if (error instanceof Partial && !record.isWhole)
                    return;
                if (!(error instanceof Malformed || error instanceof Partial))
                    throw error;
                mismatch(`${error.constructor.name} ${error.message}`);
                return;
            }
        }
        if (at < whole.length) {
            try {
                readRequest(whole, at);
                mismatch('a request that Node did not see');
            } catch (error) {
                if (!(error instanceof Partial))
                    mismatch(`${error.message} behind the last request`);
            }
        }
    }

    /* Takes away what was recorded of a client. */
    collect(source)
    {
        const list = this.bySource.get(source) || [];
        this.bySource.delete(source);
        for (const { nonce } of list)
            this.nonces.delete(nonce);
        return list;
    }
}
