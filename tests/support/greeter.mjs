/* SPDX-License-Identifier: MIT */
/* A backend as a process of its own, to be held by SIGSTOP: it answers each
 * connection before it reads anything from it. Its queue of connections that
 * it has not accepted yet has room for two. */

import net from 'node:net';

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ngreeting';

const server = net.createServer((socket) => {
    const { remotePort } = socket;
    socket.on('error', () => {});
    socket.write(ANSWER, () => process.send({ remotePort }));
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () =>
    process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit(0));
