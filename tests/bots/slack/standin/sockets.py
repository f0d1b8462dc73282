"""Socket Mode: the WebSockets that the app opens, what is sent over them, and what it acknowledges."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import uuid
from typing import TYPE_CHECKING, Any, cast

from aiohttp import WSMsgType, web

from tests.bots.slack.standin.deliveries import EVENT, Attempt, Delivery

if TYPE_CHECKING:
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]

MOST = 10
HOST = "applink-stand-in"


class Connection:
    """One WebSocket. What is sent goes out in order, by a task of its own."""

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.ws, self._transport = ws, transport
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writer = asyncio.create_task(self._write())
        self.sent = 0
        self.leaving = False
        """Whether the app was asked to leave it."""

    @property
    def frozen(self) -> bool:
        """Whether it says nothing."""
        return not self._flowing.is_set()

    def send(self, document: Json) -> None:
        """Send a frame."""
        self._outgoing.put_nowait(json.dumps(document))
        self.sent += 1

    def freeze(self) -> None:
        """Fall silent: the connection stays, nothing comes any more, no pong either."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Speak again, with everything that waited."""
        self._flowing.set()

    async def disconnect(self, reason: str = "refresh_requested", *, close: bool = True) -> None:
        """Ask the app to come anew, as Slack does every few hours; then close, or stay for a while."""
        self.leaving = True
        self.send({"type": "disconnect", "reason": reason, "debug_info": {"host": HOST}})
        if close:
            await self.close()

    async def close(self, code: int = 1000) -> None:
        """Close, after what was already sent."""
        await self._outgoing.join()
        await self.ws.close(code=code)

    def drop(self) -> None:
        """Reset the TCP connection without a word."""
        reset(self._transport)

    async def end(self) -> None:
        """The connection is over."""
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            text = await self._outgoing.get()
            await self._flowing.wait()
            try:
                await self.ws.send_str(text)
            except (ConnectionError, RuntimeError):
                self._transport.abort()  # the app is gone: what it missed is sent again
            finally:
                self._outgoing.task_done()


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Send RST instead of FIN."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Sockets:
    """Every connection of the app, and what waits for its acknowledgement."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack
        self.open: list[Connection] = []
        self.opened = 0
        """How many connections there ever were."""
        self.down = False
        self.acknowledges = True
        """Whether acknowledgements arrive; off, they are lost on their way."""
        self._tickets: set[str] = set()
        self._waiting: dict[str, asyncio.Future[object]] = {}
        self._turn = 0

    def ticket_url(self) -> str:
        """Where to connect, once."""
        ticket = secrets.token_hex(16)
        self._tickets.add(ticket)
        return f"{self._slack.url.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={self._slack.app_id}"

    @property
    def connection(self) -> Connection:
        """The newest connection."""
        return self.open[-1]

    def inject(self, frame: Json) -> None:
        """Send a frame that no world behind it supports, as a malformed one."""
        self.connection.send(frame)

    # Sending

    async def attempt(self, delivery: Delivery, attempt: Attempt) -> bool:
        """Send something over one of the connections and wait for the acknowledgement; whether to try again."""
        connection = await self._next()
        if connection is None:
            attempt.failure = "connection_failed"
            return True
        attempt.envelope_id = str(uuid.uuid4())
        acknowledged: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[attempt.envelope_id] = acknowledged
        connection.send(_envelope(delivery, attempt))
        if not await self._slack.clock.wait(acknowledged, self._slack.deliveries.acknowledge_s):
            attempt.failure = "timeout"
            return True
        attempt.acknowledged_after_s = self._slack.clock.now() - attempt.at
        delivery.response = cast("Json | None", acknowledged.result())
        return False

    def _there(self) -> list[Connection]:
        """The connections that something can be sent over."""
        return [one for one in self.open if not one.leaving and not one.ws.closed]

    async def _next(self) -> Connection | None:
        """Slack sends to any of the connections; here, to each in turn. For one to come, it waits a moment."""
        if not self._there():
            coming = asyncio.ensure_future(self._slack.changes.until(self._there))
            await self._slack.clock.wait(coming, self._slack.deliveries.acknowledge_s)
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        there = self._there()
        if not there:
            return None
        self._turn += 1
        return there[self._turn % len(there)]

    # Receiving

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection from hello to its end."""
        ticket = request.query.get("ticket", "")
        if self.down or ticket not in self._tickets:
            return web.Response(status=503 if self.down else 403)
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=0)
        await ws.prepare(request)
        connection = Connection(ws, cast("asyncio.Transport", request.transport))
        self.open.append(connection)
        self.opened += 1
        connection.send(self._hello())
        if len(self.open) > MOST:
            self._slack.violate("connections", f"{len(self.open)} at once, allowed are {MOST}")
            await connection.disconnect("too_many_websockets")
        self._slack.changes.happened()
        try:
            await self._listen(connection)
        finally:
            self.open.remove(connection)
            await connection.end()
            self._slack.changes.happened()
        return ws

    def _hello(self) -> Json:
        return {
            "type": "hello", "num_connections": len(self.open), "connection_info": {"app_id": self._slack.app_id},
            "debug_info": {"host": HOST, "build_number": 10, "approximate_connection_time": 18060},
        }  # fmt: skip

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.ws:
            if message.type is WSMsgType.PING and not connection.frozen:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.TEXT and self.acknowledges and not connection.frozen:
                self._receive(json.loads(message.data))

    def _receive(self, frame: Json) -> None:
        waiting = self._waiting.pop(frame.get("envelope_id", ""), None)
        if waiting is None:
            self._slack.violate("acknowledgement", f"of no envelope: {frame}")
        elif not waiting.done():
            waiting.set_result(frame.get("payload"))

    async def stop(self) -> None:
        """Close every connection."""
        for connection in list(self.open):
            connection.thaw()
            connection.drop()


def _envelope(delivery: Delivery, attempt: Attempt) -> Json:
    frame: Json = {
        "envelope_id": attempt.envelope_id, "type": delivery.kind, "payload": delivery.payload,
        "accepts_response_payload": delivery.kind != EVENT,
    }  # fmt: skip
    if delivery.kind == EVENT:
        retried = {"retry_attempt": attempt.number, "retry_reason": "timeout" if attempt.number else ""}
        frame |= retried
    return frame
