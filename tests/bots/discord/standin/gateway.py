"""The gateway: IDENTIFY, RESUME, heartbeats, and which event goes to which session."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aiohttp import WSMsgType, web

from tests.bots.discord.standin import payloads
from tests.bots.discord.standin.compression import stream
from tests.bots.discord.standin.session import INVALID_SESSION, Connection, Session

if TYPE_CHECKING:
    import asyncio

    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.guild import Guild
    from tests.bots.discord.standin.server import StandInDiscord

GUILDS, GUILD_MEMBERS, GUILD_MESSAGES, GUILD_MESSAGE_REACTIONS = 1 << 0, 1 << 1, 1 << 9, 1 << 10
GUILD_MESSAGE_TYPING, DIRECT_MESSAGES, DIRECT_MESSAGE_REACTIONS = 1 << 11, 1 << 12, 1 << 13
DIRECT_MESSAGE_TYPING, MESSAGE_CONTENT = 1 << 14, 1 << 15

HEARTBEAT, IDENTIFY, PRESENCE, RESUME, REQUEST_MEMBERS, HELLO, HEARTBEAT_ACK = 1, 2, 3, 6, 8, 10, 11

WRONG_TOKEN, RATE_LIMITED, SHARDING_REQUIRED, DISALLOWED_INTENTS = 4004, 4008, 4011, 4014
SENDS_PER_MINUTE, GUILDS_PER_SHARD, MEMBERS_PER_CHUNK = 120, 2500, 1000

Data = dict[str, Any] | Callable[[Session], dict[str, Any]]


@dataclass
class Event:
    """Something that happened, for the sessions with its intent; 0 is for all."""

    name: str
    data: Data
    intent: int = 0
    guild: Guild | None = None
    channel: Channel | None = None


class Gateway:
    """All sessions, and the faults of the way to them."""

    def __init__(self, discord: StandInDiscord) -> None:
        self.discord = discord
        self.sessions: list[Session] = []
        self.heartbeat_interval_s = 41.25
        self.acks_heartbeats = True
        self.down = False
        self.identifies = 0
        self._connections: set[Connection] = set()
        self._identified_at: dict[int, float] = {}
        self._repeats: dict[str, int] = defaultdict(int)
        self._held: dict[str, list[Event]] = {}

    # What the world tells

    def publish(self, event: Event) -> None:
        """Tell the sessions of an event, with whatever fault is arranged for its name."""
        if event.name in self._held:
            self._held[event.name].append(event)
            return
        self._send(event)
        if self._repeats[event.name]:
            self._repeats[event.name] -= 1
            self._send(event)

    def _send(self, event: Event) -> None:
        for session in self.sessions:
            self._expire(session)
            if session.wants(event):
                session.dispatch(event.name, event.data(session) if callable(event.data) else event.data)
        self.discord.changes.happened()

    def _expire(self, session: Session) -> None:
        gone_at = session.detached_at
        if session.alive and gone_at and self.discord.clock.now() - gone_at > self.discord.resume_window_s:
            session.forget()

    # What tests arrange

    def repeat(self, name: str, times: int = 1) -> None:
        """Tell the next `times` events of this name twice."""
        self._repeats[name] += times

    def hold(self, name: str) -> None:
        """Keep back the events of this name, until they are released."""
        self._held[name] = []

    def release(self, name: str, *, backwards: bool = False) -> None:
        """Tell what was kept back, the newest first if so wished."""
        held = self._held.pop(name)
        for event in reversed(held) if backwards else held:
            self.publish(event)

    def inject(self, name: str, data: dict[str, Any]) -> None:
        """Tell every session something that no world behind it supports, as a malformed event."""
        for session in self.sessions:
            if session.alive:
                session.dispatch(name, data)

    @property
    def connected(self) -> bool:
        """Whether every shard of the bot listens."""
        listening = [session.shard for session in self.sessions if session.connected]
        return any({number for number, of in listening if of == count} == set(range(count)) for _, count in listening)

    # What a client says

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection from HELLO to its end."""
        if self.down:
            return web.Response(status=503)
        ws = web.WebSocketResponse(compress=False, max_msg_size=0)
        await ws.prepare(request)
        transport = cast("asyncio.Transport", request.transport)
        connection = Connection(ws, transport, stream(request.query.get("compress")))
        self._connections.add(connection)
        connection.send_op(HELLO, {"heartbeat_interval": int(self.heartbeat_interval_s * 1000)})
        try:
            await self._listen(connection)
        finally:
            self._connections.discard(connection)
            await connection.end()
            self._detach(connection)
        return ws

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.ws:
            if message.type is WSMsgType.TEXT:
                now = self.discord.clock.now()
                if len(connection.received_at) == SENDS_PER_MINUTE and now - connection.received_at[0] < 60:
                    self.discord.violate("gateway sends", "more than 120 in a minute")
                    await connection.close(RATE_LIMITED)
                    return
                connection.received_at.append(now)
                await self._receive(connection, json.loads(message.data))

    async def _receive(self, connection: Connection, message: dict[str, Any]) -> None:
        data: Any = message.get("d")
        op = message["op"]
        if op == HEARTBEAT and self.acks_heartbeats:
            connection.send_op(HEARTBEAT_ACK)
        elif op == IDENTIFY:
            await self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif op == PRESENCE:
            self._session_of(connection).presence = data
        elif op == REQUEST_MEMBERS:
            self._tell_members(self._session_of(connection), data)

    async def _identify(self, connection: Connection, data: dict[str, Any]) -> None:
        shard = cast("tuple[int, int]", tuple(data.get("shard", (0, 1))))
        refusal = self._refusal(data, shard)
        if refusal:
            await connection.close(refusal)
        elif self._too_early(shard[0]):
            connection.send_op(INVALID_SESSION, False)
        else:
            self.identifies += 1
            session = Session(self, secrets.token_hex(16), shard, data["intents"])
            session.connection = connection
            self.sessions.append(session)
            self._welcome(session)

    def _refusal(self, data: dict[str, Any], shard: tuple[int, int]) -> int | None:
        discord = self.discord
        forbidden = 0 if discord.message_content_allowed else MESSAGE_CONTENT
        forbidden |= 0 if discord.members_allowed else GUILD_MEMBERS
        if data["token"].removeprefix("Bot ") != discord.token:
            return WRONG_TOKEN
        if data["intents"] & forbidden:
            return DISALLOWED_INTENTS
        return SHARDING_REQUIRED if len(self._guilds_of(shard)) > GUILDS_PER_SHARD else None

    def _too_early(self, shard: int) -> bool:
        """At most `max_concurrency` IDENTIFYs in 5 seconds."""
        now, key = self.discord.clock.now(), shard % self.discord.limits.max_concurrency
        early = now - self._identified_at.get(key, 0) < 5 * self.discord.limits.scale
        self._identified_at[key] = now
        return early and self.discord.limits.max_concurrency < 16

    def _guilds_of(self, shard: tuple[int, int]) -> list[Guild]:
        number, count = shard
        return [guild for guild in self.discord.guilds.values() if (guild.id >> 22) % count == number]

    def _welcome(self, session: Session) -> None:
        discord, guilds = self.discord, self._guilds_of(session.shard)
        session.dispatch(
            "READY",
            {
                "v": 10, "user": payloads.user(discord.bot) | {"verified": True, "mfa_enabled": False, "email": None},
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id, "resume_gateway_url": discord.gateway_url, "shard": list(session.shard),
                "session_type": "normal", "private_channels": [], "presences": [], "relationships": [],
                "application": {"id": str(discord.application_id), "flags": discord.application_flags},
            },
        )  # fmt: skip
        if session.intents & GUILDS:
            for guild in guilds:
                session.dispatch("GUILD_CREATE", payloads.guild(guild) | {"unavailable": False})
        discord.changes.happened()

    def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        found = [session for session in self.sessions if session.id == data["session_id"] and session.alive]
        for session in found:
            self._expire(session)
        if not found or not found[0].alive or not found[0].replay(connection, data["seq"]):
            connection.send_op(INVALID_SESSION, False)
        self.discord.changes.happened()

    def _tell_members(self, session: Session, data: dict[str, Any]) -> None:
        guild = self.discord.guilds[int(data["guild_id"])]
        wanted = {int(one) for one in data.get("user_ids") or ()}
        query = (data.get("query") or "").lower()
        found = [
            payloads.member(guild, member.user)
            for member in guild.members.values()
            if (member.user.id in wanted if wanted else member.user.name.lower().startswith(query))
        ]
        found = found[: data.get("limit") or None]
        chunks = [found[i : i + MEMBERS_PER_CHUNK] for i in range(0, len(found), MEMBERS_PER_CHUNK)] or [[]]
        for index, chunk in enumerate(chunks):
            answer = {"guild_id": str(guild.id), "members": chunk, "chunk_index": index, "chunk_count": len(chunks)}
            session.dispatch("GUILD_MEMBERS_CHUNK", answer | ({"nonce": data["nonce"]} if "nonce" in data else {}))

    def _session_of(self, connection: Connection) -> Session:
        return next(session for session in self.sessions if session.connection is connection)

    def _detach(self, connection: Connection) -> None:
        for session in self.sessions:
            if session.connection is connection:
                session.detach(connection.goodbye, self.discord.clock.now())
        self.discord.changes.happened()

    async def stop(self) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            connection.thaw()
            connection.drop()
