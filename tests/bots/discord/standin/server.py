"""A stand-in for Discord: gateway, REST API and CDN on one port of 127.0.0.1, and the people on it.

    async with StandInDiscord() as discord:
        ann = discord.add_user("Ann")
        channel = discord.add_guild("Shop", members=[ann]).add_text_channel("general")
        ...  # start the bot against discord.api_base, discord.gateway_url and discord.token
        await discord.until_connected()
        await channel.say(ann, "hello", mentions=[discord.bot])
        await channel.until("Hi Ann")
        assert discord.violations == []

It keeps to Discord's documented behaviour and to what discord.py expects of it, and knows nothing of this bot, except for
one promise that the bot makes: no message of it may notify anybody (`allowed_mentions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.bots.changes import Changes
from tests.bots.discord.standin import payloads, permissions
from tests.bots.discord.standin.api import Api
from tests.bots.discord.standin.calls import Request
from tests.bots.discord.standin.cdn import Cdn
from tests.bots.discord.standin.channel import DM, Channel
from tests.bots.discord.standin.clock import Clock, Snowflakes
from tests.bots.discord.standin.faults import Faults
from tests.bots.discord.standin.gateway import GUILDS, Event, Gateway
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.interactions import ACKNOWLEDGE_S, Interaction
from tests.bots.discord.standin.limits import Limits
from tests.bots.discord.standin.message import Attachment, Message
from tests.bots.discord.standin.people import Role, User
from tests.bots.discord.standin.session import Session

BODY_BYTES = 256 * 1024 * 1024  # more than Discord's own limit, which `message_rules.py` knows
MEMBERS_LIMITED, MESSAGE_CONTENT_LIMITED = 1 << 15, 1 << 19  # the portal's switches, as application flags


@dataclass(frozen=True)
class Violation:
    """A request that broke a rule of the platform, or our promise."""

    rule: str
    detail: str
    request: Request | None = None


class StandInDiscord:
    """The servers, and everybody on them."""

    def __init__(
        self, bot_name: str = "Pajama", *, message_content_allowed: bool = True, members_allowed: bool = True
    ) -> None:
        self.clock = Clock()
        self.snowflakes = Snowflakes(self.clock)
        self.changes = Changes()
        self.message_content_allowed = message_content_allowed
        """The switch of the developer portal; off, IDENTIFY with this intent is closed with 4014."""
        self.members_allowed = members_allowed
        self.shards: int | None = None
        """How many shards /gateway/bot recommends; None: one for every 1,000 guilds."""
        self.resume_window_s = 180.0
        self.description = ""
        self.token = "stand-in.token"
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.commands: dict[int | None, dict[int, dict[str, Any]]] = {}
        """The registered commands by guild; None: the global ones."""
        self.interactions: dict[str, Interaction] = {}
        self.nonces: dict[tuple[int, str], Message] = {}
        self.requests: list[Request] = []
        self.violations: list[Violation] = []
        self.owner = self.add_user("Owner")
        self.bot = self.add_user(bot_name, bot=True)
        self.application_id = self.bot.id
        self.faults = Faults(self.changes)
        self.limits = Limits(self.clock)
        self.gateway = Gateway(self)
        self.cdn = Cdn(self)
        self._api = Api(self)
        self._dms: dict[int, Channel] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    # Where it listens

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; what the world holds stays over a stop and a start."""
        self._api = Api(self)
        app = web.Application(client_max_size=BODY_BYTES)
        self._api.add_to(app, "/api/v10")
        self.cdn.add_to(app)
        app.router.add_get("/gateway/", self.gateway.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """An outage: nobody listens any more."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._api.stop()
            await self.gateway.stop()
            await runner.cleanup()

    @property
    def api_base(self) -> str:
        """For `discord.http.Route.BASE`."""
        return f"http://127.0.0.1:{self._port}/api/v10"

    @property
    def gateway_url(self) -> str:
        """For `DiscordWebSocket.DEFAULT_GATEWAY`."""
        return f"ws://127.0.0.1:{self._port}/gateway/"

    @property
    def cdn_url(self) -> str:
        """Where attachments are."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def application_flags(self) -> int:
        """Which privileged intents the portal allows."""
        return MESSAGE_CONTENT_LIMITED * self.message_content_allowed + MEMBERS_LIMITED * self.members_allowed

    # Who is there

    def add_user(self, name: str, *, locale: str = "en-US", bot: bool = False) -> User:
        """Somebody new."""
        user = User(self.snowflakes.next(), name, locale, bot)
        self.users[user.id] = user
        return user

    def add_guild(
        self,
        name: str,
        *,
        members: Iterable[User] = (),
        owner: User | None = None,
        locale: str = "en-US",
        announced_members: int | None = None,
    ) -> Guild:
        """A guild that invites the bot, with a role for it."""
        guild = Guild(self, self.snowflakes.next_guild(), name, owner or self.owner, locale, announced_members)
        guild.roles[guild.id] = Role(guild.id, "@everyone", permissions.EVERYONE, 0)
        own = guild.add_role(self.bot.name, bot_id=self.bot.id)
        for user in dict.fromkeys([guild.owner, *members]):
            guild.add_member(user)
        guild.add_member(self.bot, own)
        self.guilds[guild.id] = guild
        self.gateway.publish(Event("GUILD_CREATE", lambda _: payloads.guild(guild), GUILDS, guild))
        return guild

    def add_guilds(self, count: int, *, members: int, channels: int = 3) -> list[Guild]:
        """Many guilds at once, with `members` announced in each."""
        guilds = [self.add_guild(f"Guild {number}", announced_members=members) for number in range(count)]
        for guild in guilds:
            for number in range(channels):
                guild.add_text_channel(f"channel-{number}")
        return guilds

    def dm(self, user: User) -> Channel:
        """The DM of a person with the bot."""
        if user.id not in self._dms:
            channel = Channel(self, self.snowflakes.next(), DM, user.name, recipient=user)
            self._dms[user.id] = self.channels[channel.id] = channel
        return self._dms[user.id]

    def attachment(
        self,
        filename: str,
        content: bytes,
        *,
        content_type: str | None = None,
        announced_size: int | None = None,
        redirect_to: str | None = None,
        chunk_delay_s: float = 0.0,
        url: str = "",
    ) -> Attachment:
        """A file to attach: honest, or with a false size, a redirect, slow, or elsewhere."""
        return Attachment(
            0,
            filename,
            content,
            content_type=content_type,
            announced_size=announced_size,
            redirect_to=redirect_to,
            chunk_delay_s=chunk_delay_s,
            url=url,
        )

    def bot_may(self, channel: Channel, *names: str) -> bool:
        """Whether the bot has these permissions there."""
        if channel.guild is not None and channel.guild.id not in self.guilds:
            return False
        return permissions.may(channel, self.bot, *names)

    # What happens

    @property
    def sessions(self) -> list[Session]:
        """Every gateway session so far."""
        return self.gateway.sessions

    @property
    def session(self) -> Session:
        """The newest session that is connected."""
        return next(session for session in reversed(self.sessions) if session.connected)

    @property
    def overdue(self) -> list[Interaction]:
        """The interactions that the bot let lapse."""
        now = self.clock.now()
        waiting = [one for one in self.interactions.values() if one.callback_type is None]
        return [one for one in waiting if now - one.created_at > ACKNOWLEDGE_S]

    def requests_to(self, *routes: str) -> list[Request]:
        """The recorded requests of some routes."""
        return [request for request in self.requests if request.route in routes]

    def violate(self, rule: str, detail: str, request: Request | None = None) -> None:
        """Note that a rule was broken."""
        self.violations.append(Violation(rule, detail, request))

    async def submit_modal(self, interaction: Interaction, fields: Mapping[str, Any]) -> Interaction:
        """Fill in the modal that an interaction opened."""
        return await interaction.submit(fields)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for any condition on the servers."""
        await self.changes.until(condition)

    async def until_connected(self) -> None:
        """Wait for the bot to listen on every shard."""
        await self.changes.until(lambda: self.gateway.connected)

    async def until_disconnected(self) -> None:
        """Wait for nobody to listen."""
        await self.changes.until(lambda: not any(session.connected for session in self.sessions))

    async def until_commands(self, *names: str) -> None:
        """Wait for commands to be registered."""

        def registered() -> bool:
            known = {command["name"] for scope in self.commands.values() for command in scope.values()}
            return bool(known) and known.issuperset(names)

        await self.changes.until(registered)
