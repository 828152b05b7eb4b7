/* SPDX-License-Identifier: MIT */
/* A backend on a free port: its sockets, and what was wrong. */

import net from 'node:net';

export class LocalServer {
    constructor(id)
    {
        this.id = id;
        this.sockets = new Set();
        this.errors = [];
        this.server = net.createServer({ allowHalfOpen: true });
        this.server.on('connection', (socket) => {
            this.sockets.add(socket);
            socket.on('error', () => {});
            socket.on('close', () => this.sockets.delete(socket));
            this.connected(socket);
        });
    }

    start()
    {
        return new Promise((resolve, reject) => {
            this.server.once('error', reject);
            this.server.listen(0, '127.0.0.1', () => {
                this.port = this.server.address().port;
                resolve(this);
            });
        });
    }

    stop()
    {
        for (const socket of this.sockets)
            socket.destroy();
        return new Promise((resolve) => this.server.close(resolve));
    }
}
