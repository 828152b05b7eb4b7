/* SPDX-License-Identifier: MIT */
/* Puts TLS before a scripted backend. */

import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

import { listenQuietly } from './ports.mjs';

/*
 * pair: files {certificate, key} of makeCertificate(); the rest is for
 * tls.TLSSocket and tls.createSecureContext. Gives {port, seen, errors,
 * forget(), stop()}; each of seen is {socket, raw, name, isReused, peer}, the
 * connections whose handshake is over; a FIN sent on raw has no close_notify
 * before it.
 */
export async function putTlsBefore(backend, pair, options = {})
{
    const makeContext = () => tls.createSecureContext({
        cert: readFileSync(pair.certificate), key: readFileSync(pair.key),
        ...options,
    });
    let context = makeContext();
    const front = { seen: [], errors: [], accepted: 0 };
    const raws = new Set();
    const server = net.createServer({ allowHalfOpen: true }, (raw) => {
        let name = false;
        const socket = new tls.TLSSocket(raw, {
            isServer: true, secureContext: context, allowHalfOpen: true,
            SNICallback: (given, done) => {
                name = given;
                done(null, context);
            },
            ...options,
        });
        front.accepted++;
        raws.add(raw);
        raw.on('close', () => raws.delete(raw)).on('error', () => {});
        socket.on('error', (error) => front.errors.push(error));
        socket.once('secure', () => {
            front.seen.push({ socket, raw, name,
                              isReused: socket.isSessionReused(),
                              peer: socket.getPeerCertificate() });
            backend.server.emit('connection', socket);
        });
    });
    front.port = await listenQuietly(server);
    server.unref();
    /* The keys of its tickets are others then. */
    front.forget = () => (context = makeContext());
    front.stop = () => {
        for (const raw of raws)
            raw.destroy();
        return new Promise((resolve) => server.close(resolve));
    };
    return front;
}
