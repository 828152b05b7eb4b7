# SPDX-License-Identifier: MIT
"""What one python-socketio client does and must see; see lib/exercise.js.

Takes {"url", "runs": [{"mode"}], "seconds"} as its argument, runs all at once
and prints one line of JSON for each.
"""
import asyncio
import json
import sys
import time

import socketio
from engineio.packet import CLOSE, Packet

STEP_S = 15
TRANSPORTS = {
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
    "websocket": ["websocket"],
    "fallback": ["websocket"],
}
ENGINE = {"polling": "polling"}
SAMPLES = [
    ("text",),
    ('snowman \u2603, clef \U0001d11e, separator \u001e, quote "\\', 1.5, None),
    ({"nested": {"list": [1, "two", None, True]}}, []),
    (bytes(range(256)),),
    ({"some": bytes([0, 255, 10, 13, 30]), "more": ["x"]}, "tail"),
]


class Fault(Exception):
    pass


class Run:
    def __init__(self, url, mode, seconds):
        self.url = url
        self.mode = mode
        self.seconds = seconds
        self.start = time.monotonic()
        self.log = []
        self.faults = []
        self.closing = False
        self.echoes = asyncio.Queue()
        self.sio = socketio.AsyncClient(reconnection=False)
        self.sio.on("disconnect", self.on_disconnect)
        self.sio.on("echo", self.on_echo)

    def note(self, text):
        ms = int((time.monotonic() - self.start) * 1000)
        self.log.append(f"+{ms} ms {text}")

    async def on_disconnect(self):
        self.note("disconnect")
        if not self.closing:
            self.faults.append("disconnect")

    async def on_echo(self, *data):
        await self.echoes.put(data)

    async def call(self, event, *data):
        answer = await self.sio.call(
            event, data if data else None, timeout=STEP_S
        )
        return answer

    async def whoami(self):
        return await self.sio.call("whoami", timeout=STEP_S)

    async def join(self, url, transports):
        await self.sio.connect(
            url, transports=transports, wait_timeout=STEP_S
        )

    async def connect(self):
        url = self.url
        if self.mode != "fallback":
            await self.join(url, TRANSPORTS[self.mode])
            return
        url += "?refusews=1"
        try:
            await self.join(url, ["websocket"])
            raise Fault("the refused websocket connected")
        except socketio.exceptions.ConnectionError:
            self.note("websocket refused, polling first from now on")
        await self.join(url, ["polling", "websocket"])

    async def echo_all(self):
        for sample in SAMPLES:
            answer = await self.call("echo", *sample)
            if len(sample) == 1:
                answer = (answer,)
            if tuple(answer) != sample:
                raise Fault(f"ack of echo differs: {answer!r}")
            came = await asyncio.wait_for(self.echoes.get(), STEP_S)
            if came != sample:
                raise Fault(f"event echo differs: {came!r}")

    async def live(self):
        await self.connect()
        self.note(f"connected, sid {self.sio.eio.sid}")
        me = await self.whoami()
        due = ENGINE.get(self.mode, "websocket")
        if me["transport"] != due or self.sio.transport() != due:
            raise Fault(f"on {me['transport']}, not on {due}")
        if me["sid"] != self.sio.eio.sid:
            raise Fault(f"sid {self.sio.eio.sid}, the node says {me['sid']}")
        await self.echo_all()
        await asyncio.sleep(self.seconds)
        for _ in range(3):
            now = await self.whoami()
            if now != me:
                raise Fault(f"was {me}, now {now}")
        return me

    async def close(self):
        self.closing = True
        # disconnect() drops the connection before its farewell is sent.
        engine = self.sio.eio
        if self.sio.connected:
            await engine._send_packet(Packet(CLOSE))
            await asyncio.wait_for(engine.queue.join(), 5)
        await self.sio.disconnect()

    async def result(self):
        me = {}
        try:
            me = await self.live()
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        await self.close()
        return {
            "name": f"client python {self.mode}",
            **me,
            "faults": self.faults,
            "log": self.log,
        }


async def main():
    job = json.loads(sys.argv[1])
    runs = [
        Run(job["url"], run["mode"], job.get("seconds", 0)).result()
        for run in job["runs"]
    ]
    for result in await asyncio.gather(*runs):
        print(json.dumps(result), flush=True)


asyncio.run(main())
