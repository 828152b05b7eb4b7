/* SPDX-License-Identifier: MIT */
/* A backend that does what a test tells it, byte for byte, and records what
 * reached it. */

import net from 'node:net';

import { listenQuietly } from './ports.mjs';
import { FOREVER, Wire } from './wire.mjs';

export function ok(body = 'ok', fields = '')
{
    const length = `Content-Length: ${body.length}\r\n`;
    return `HTTP/1.1 200 OK\r\n${length}${fields}\r\n${body}`;
}

/* What a backend answers that nobody told what to do: the request's target. */
function echoTarget(request, wire)
{
    wire.send(ok(request.method === 'HEAD' ? '' : request.target));
}

class Backend {
    constructor(id)
    {
        this.id = id;
        this.server = net.createServer({ allowHalfOpen: true });
        this.server.on('connection', (socket) => this.#serve(socket));
        this.connections = [];
        this.fallback = echoTarget;
        this.waiters = new Set();
        this.reset();
    }

    /* Forgets what came and what to do; connections stay. */
    reset()
    {
        this.handler = this.fallback;
        this.early = null;
        this.requests = [];
        this.errors = [];
        this.accepted = this.connections.length;
        for (const wire of this.connections)
            wire.history = [];
    }

    /* Connections accepted since the last reset. */
    get fresh()
    {
        return this.connections.slice(this.accepted);
    }

    get targets()
    {
        return this.requests.map(({ target }) => target);
    }

    async #serve(socket)
    {
        const wire = new Wire(socket);
        socket.unref();
        this.connections.push(wire);
        this.#changed();
        try {
            while (!wire.taken)
                await this.#one(wire);
        } catch (error) {
            if (error.malformed || !wire.over)
                this.errors.push(error);
        }
        if (wire.fin && !wire.taken)
            wire.finish();
    }

    /* `early` is called with the head alone and reads the body itself;
     * `handler` with the whole request. Either sets wire.taken to keep the
     * connection for itself. */
    async #one(wire)
    {
        const request = await wire.head('request', FOREVER);
        const { early } = this;
        request.wire = wire;
        if (!early)
            await wire.body(request, { ms: FOREVER });
        this.requests.push(request);
        this.#changed();
        await (early || this.handler)(request, wire);
    }

    #changed()
    {
        for (const look of [...this.waiters])
            look();
    }

    #until(test, what, ms)
    {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                this.waiters.delete(look);
                reject(new Error(`backend ${this.id}: no ${what} in ${ms} ms;` +
                    ` it saw ${JSON.stringify(this.targets)}` +
                    ` ${this.errors.join('; ')}`));
            }, ms);
            const look = () => {
                const value = test();
                if (!value)
                    return;
                clearTimeout(timer);
                this.waiters.delete(look);
                resolve(value);
            };
            this.waiters.add(look);
            look();
        });
    }

    /* The request number `index` since the last reset. */
    request(index = 0, ms = 9000)
    {
        return this.#until(() => this.requests[index], `request ${index}`, ms);
    }

    connection(index = 0, ms = 9000)
    {
        return this.#until(() => this.fresh[index], `connection ${index}`, ms);
    }

    /* Everything that came on any connection since the last reset. */
    get received()
    {
        return Buffer.concat(this.connections.flatMap((w) => w.history))
            .toString('latin1');
    }

    stop()
    {
        for (const wire of this.connections)
            wire.destroy();
        return new Promise((resolve) => this.server.close(resolve));
    }
}

/* Resolves to a listening Backend with its port. */
export async function startBackend({ id = 'n1', handler, host = '127.0.0.1',
                                     port = 0 } = {})
{
    const backend = new Backend(id);
    const { server } = backend;
    if (handler)
        backend.fallback = backend.handler = handler;
    if (port === 0) {
        backend.port = await listenQuietly(server, host);
    } else {
        backend.port = port;
        await new Promise((resolve, reject) => {
            server.once('error', reject);
            server.listen(port, host, resolve);
        });
    }
    server.unref();
    return backend;
}
