"""A gateway session and the connection that it goes over, if there is one now.

A session numbers its events and keeps them, so that a client that comes back gets what it missed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.bots.discord.standin import permissions
from tests.bots.discord.standin.compression import Stream

if TYPE_CHECKING:
    from tests.bots.discord.standin.gateway import Event, Gateway

DISPATCH, RECONNECT, INVALID_SESSION = 0, 7, 9

GUILD_MESSAGES, MESSAGE_CONTENT = 1 << 9, 1 << 15

KEPT_EVENTS = 10_000
NORMAL_CLOSURES = {1000, 1001}


class Connection:
    """One WebSocket. What is sent goes out in order, by a task of its own."""

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport, packing: Stream) -> None:
        self.ws, self._transport, self._packing = ws, transport, packing
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writer = asyncio.create_task(self._write())
        self.received_at: deque[float] = deque(maxlen=120)
        self._closed_here = False

    @property
    def goodbye(self) -> int | None:
        """The code with which the client closed, if it did."""
        return None if self._closed_here else self.ws.close_code

    def send(self, text: str) -> None:
        """Send a gateway message."""
        self._outgoing.put_nowait(text)

    def send_op(self, op: int, data: object = None) -> None:
        """Send what is no event."""
        self.send(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    def freeze(self) -> None:
        """Fall silent: the connection stays, nothing comes any more."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Speak again, with everything that waited."""
        self._flowing.set()

    async def close(self, code: int) -> None:
        """Close with a code, after what was already sent."""
        await self._outgoing.join()
        self._closed_here = True
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
                packed = self._packing.pack(text)
                await (self.ws.send_str(packed) if isinstance(packed, str) else self.ws.send_bytes(packed))
            except (ConnectionError, RuntimeError):
                self._transport.abort()  # the client is gone: what it missed waits in its session
            finally:
                self._outgoing.task_done()


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Send RST instead of FIN."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Session:
    """What IDENTIFY started on one shard."""

    def __init__(self, gateway: Gateway, session_id: str, shard: tuple[int, int], intents: int) -> None:
        self._gateway, self.id, self.shard, self.intents = gateway, session_id, shard, intents
        self.connection: Connection | None = None
        self.detached_at: float | None = None
        self.alive = True
        self.resumes = 0
        self.sequence = 0
        self.presence: dict[str, Any] | None = None
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT_EVENTS)

    @property
    def connected(self) -> bool:
        """Whether a client listens right now."""
        return self.connection is not None

    @property
    def sees_content(self) -> bool:
        """Whether message content is told to it."""
        return bool(self.intents & MESSAGE_CONTENT)

    def wants(self, event: Event) -> bool:
        """Whether this session is told of the event: intents, shard, and what the bot may see."""
        if not self.alive or (event.intent and not self.intents & event.intent):
            return False
        number, count = self.shard
        if number != ((event.guild.id >> 22) % count if event.guild else 0):
            return False
        if event.channel is None or event.guild is None or event.name.startswith("CHANNEL_"):
            return True
        return permissions.may(event.channel, self._gateway.discord.bot, "view_channel")

    def dispatch(self, name: str, data: dict[str, Any]) -> None:
        """Tell the client of an event, now or when it comes back."""
        self.sequence += 1
        text = json.dumps({"op": DISPATCH, "s": self.sequence, "t": name, "d": data})
        self._kept.append((self.sequence, text))
        if self.connection is not None:
            self.connection.send(text)

    def replay(self, connection: Connection, after: int) -> bool:
        """Go on over a new connection from the event `after` on; False if that is not possible any more."""
        if after > self.sequence or (self._kept and after < self._kept[0][0] - 1):
            return False
        self.connection, self.detached_at = connection, None
        self.resumes += 1
        for sequence, text in self._kept:
            if sequence > after:
                connection.send(text)
        self.dispatch("RESUMED", {})
        return True

    def detach(self, code: int | None, now: float) -> None:
        """The connection is gone. A client that said goodbye does not come back to this session."""
        self.connection, self.detached_at = None, now
        if code in NORMAL_CLOSURES:
            self.forget()

    def forget(self) -> None:
        """The session is over."""
        self.alive = False
        self._kept.clear()

    # What tests do to it

    async def close(self, code: int) -> None:
        """Close the connection with a code."""
        await self._live().close(code)

    def drop(self) -> None:
        """Reset the TCP connection without a word; the session can be resumed."""
        self._live().drop()

    def ask_reconnect(self) -> None:
        """Ask the client to reconnect, as before a deployment."""
        self._live().send_op(RECONNECT)

    def invalidate(self, *, resumable: bool = False) -> None:
        """Declare the session invalid."""
        if not resumable:
            self.forget()
        self._live().send_op(INVALID_SESSION, resumable)

    def freeze(self) -> None:
        """Say nothing any more, not even that heartbeats arrive."""
        self._live().freeze()

    def thaw(self) -> None:
        """Say everything that waited."""
        self._live().thaw()

    def _live(self) -> Connection:
        assert self.connection is not None, "the session has no connection now"
        return self.connection
