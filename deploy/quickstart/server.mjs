/* SPDX-License-Identifier: MIT */
/* One Socket.IO node with the page at /. Started by start.mjs, which learns
 * the port by a message; ends when that process does. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const name = process.argv[2];
const page = readFileSync(new URL('page.html', import.meta.url), 'utf8')
    .replaceAll('{{node}}', name);

const http = createServer((request, response) => {
    if (request.url !== '/') {
        response.writeHead(404, { 'content-type': 'text/plain' });
        response.end('not found\n');
        return;
    }
    response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
    });
    response.end(page);
});

const io = new Server(http);
io.on('connection', (socket) => {
    socket.emit('node', name);
    socket.on('echo', (text, answer) => {
        if (typeof answer === 'function')
            answer({ node: name, text: String(text).slice(0, 1000) });
    });
});

process.on('disconnect', () => process.exit(0));
http.listen(0, '127.0.0.1', () => process.send({ port: http.address().port }));
