# SPDX-License-Identifier: MIT
"""One python-socketio node on aiohttp: `python_node.py NAME PORT [OPTIONS]`.

Listens on that port, and for its control on the next one. Speaks the same
control protocol and events as node.mjs. It is meant for the interpreter that
has Debian's python3-socketio and python3-aiohttp.
"""
import asyncio
import json
import sys
import time

import aiohttp.web
import socketio

NAME = sys.argv[1]
PORT = int(sys.argv[2])
OPTIONS = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}


def now_ms():
    return int(time.time() * 1000)


class Record:
    """The record that watch.mjs keeps on the other nodes."""

    def __init__(self):
        self.sessions = {}
        self.refusals = []
        self.probes = 0
        self.requests = 0
        self.pending = 0
        self.addresses = {}

    def as_dict(self):
        return {
            "name": NAME,
            "sessions": self.sessions,
            "refusals": self.refusals,
            "probes": self.probes,
            "requests": self.requests,
            "pending": self.pending,
            "addresses": self.addresses,
        }

    def count(self, request):
        self.requests += 1
        self.addresses[request.remote] = (
            self.addresses.get(request.remote, 0) + 1
        )

    def answered(self, request, response):
        sid = request.query.get("sid")
        if not sid or response.status in (101, 200):
            return
        if request.method == "PUT":
            self.probes += 1
            return
        text = ""
        body = getattr(response, "body", None)
        if isinstance(body, bytes):
            text = body[:120].decode("latin-1")
        self.refusals.append(
            {
                "sid": sid,
                "at": now_ms(),
                "method": request.method,
                "transport": request.query.get("transport"),
                "status": response.status,
                "unknown": "Invalid session" in text,
                "text": text,
            }
        )


record = Record()


class Server(socketio.AsyncServer):
    async def _handle_eio_connect(self, eio_sid, environ):
        record.sessions[eio_sid] = [now_ms(), None, ""]
        return await super()._handle_eio_connect(eio_sid, environ)

    async def _handle_eio_disconnect(self, eio_sid):
        if eio_sid in record.sessions:
            record.sessions[eio_sid][1] = now_ms()
        return await super()._handle_eio_disconnect(eio_sid)


sio = Server(
    async_mode="aiohttp",
    cors_allowed_origins="*",
    max_http_buffer_size=8_000_000,
    **OPTIONS,
)


def engine_sid(sid):
    return sio.manager.eio_sid_from_sid(sid, "/")


@sio.on("whoami")
async def whoami(sid):
    return {
        "node": NAME,
        "transport": sio.eio.transport(engine_sid(sid)),
        "sid": engine_sid(sid),
    }


@sio.on("echo")
async def echo(sid, *data):
    await sio.emit("echo", data, to=sid)
    return data


def payload_of(kind, length):
    if kind == "binary":
        return bytes(i % 251 for i in range(length))
    return ("abcdefghij" * (length // 10 + 1))[:length]


@sio.on("bigdown")
async def bigdown(sid, kind, length):
    await sio.emit("bigdown", payload_of(kind, length), to=sid)


@sio.on("say")
async def say(sid, text):
    await sio.emit("said", text, to=sid)


@sio.on("bigup")
async def bigup(sid, data):
    kind = "text" if isinstance(data, str) else "binary"
    return {
        "length": len(data),
        "whole": data == payload_of(kind, len(data)),
    }


@sio.on("disconnect-me")
async def disconnect_me(sid):
    await sio.disconnect(sid)


@aiohttp.web.middleware
async def watch(request, handler):
    record.count(request)
    query = request.query
    refused = (
        query.get("refusews") == "1"
        and query.get("transport") == "websocket"
        and "sid" not in query
    )
    if refused:
        return aiohttp.web.json_response(
            {"code": 3, "message": "Bad request"}, status=400
        )
    # This python-engineio takes one read() of the stream for the whole body.
    if request.method == "POST":
        request.content.unread_data(await request.read())
    record.pending += 1
    try:
        response = await handler(request)
    finally:
        record.pending -= 1
    record.answered(request, response)
    return response


async def control(request):
    if request.path == "/emit":
        await sio.emit(request.query["event"], NAME)
    return aiohttp.web.json_response(record.as_dict())


async def listen(app, port):
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", port).start()
    return port


async def until_stdin_ends():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.read(1024):
        pass


async def main():
    app = aiohttp.web.Application(
        middlewares=[watch], client_max_size=16_000_000
    )
    sio.attach(app)
    side = aiohttp.web.Application()
    side.router.add_route("*", "/{path:.*}", control)
    ports = {
        "port": await listen(app, PORT),
        "control": await listen(side, PORT + 1),
    }
    print(json.dumps(ports), flush=True)
    await until_stdin_ends()


asyncio.run(main())
