"""A stand-in for Slack: Web API, Socket Mode, HTTP events and files on one port of 127.0.0.1, and the people on it.

    async with StandInSlack() as slack:
        team = slack.add_team("Acme", users=["Ann"])
        ann, channel = team.user("Ann"), team.add_channel("general")
        ...  # start the bot against slack.api_base with slack.app_token and team.bot_token
        await slack.until_connected()
        await channel.say(ann, "<@BOT> hello")
        await channel.until("Hi Ann")
        assert slack.violations == []

It keeps to Slack's documented behaviour and to what slack_sdk and slack_bolt expect of it, and knows nothing of this bot,
except for one promise that the bot makes: nothing that it writes notifies anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.bots.changes import Changes
from tests.bots.slack.standin.api import Api
from tests.bots.slack.standin.calls import Request
from tests.bots.slack.standin.clock import Clock, Ids, Timestamps
from tests.bots.slack.standin.deliveries import Deliveries, Delivery
from tests.bots.slack.standin.events import SUBSCRIPTIONS
from tests.bots.slack.standin.faults import Faults
from tests.bots.slack.standin.files import FileServer
from tests.bots.slack.standin.interactions import Interaction
from tests.bots.slack.standin.limits import Limits
from tests.bots.slack.standin.poster import Poster
from tests.bots.slack.standin.responses import Responses
from tests.bots.slack.standin.sockets import Sockets
from tests.bots.slack.standin.streams import StreamRules
from tests.bots.slack.standin.team import Team
from tests.bots.slack.standin.tokens import BOT_SCOPES, Tokens


@dataclass(frozen=True)
class Violation:
    """A call that broke a rule of the platform, or our promise."""

    rule: str
    detail: str
    request: Request | None = None


class StandInSlack:
    """The servers, the app on them, and every workspace."""

    def __init__(self, bot_name: str = "Pajama") -> None:
        self.bot_name = bot_name
        self.clock = Clock()
        self.timestamps = Timestamps(self.clock)
        self.ids = Ids()
        self.changes = Changes()
        self.tokens = Tokens(self.clock)
        self.app_id = self.ids.next("A")
        self.app_token = self.tokens.issue_app_token(self.app_id).token
        self.signing_secret, self.verification_token = "stand-in-signing-secret", "stand-in-verification"
        self.client_id, self.client_secret = "1111.2222", "stand-in-client-secret"
        self.scopes: set[str] = set(BOT_SCOPES)
        """What an installation grants."""
        self.subscriptions: set[str] = set(SUBSCRIPTIONS)
        """The events that the app has subscribed to."""
        self.commands: set[str] | None = None
        """The app's slash commands; None: any."""
        self.shortcuts: set[str] | None = None
        """The callback_ids of the app's shortcuts; None: any."""
        self.agent_view = True
        """Whether the app has the agent view; else it is an assistant of the old kind."""
        self.mention_first = True
        """Whether a mention is told before the message that it stands in; Slack promises no order."""
        self.tells_own_messages = True
        """Whether the app is told what its bot writes, as Slack does."""
        self.may_mention: set[str] = set()
        """The ids of those whom the bot may mention."""
        self.request_url: str | None = None
        """Where events are POSTed; None is Socket Mode."""
        self.teams: dict[str, Team] = {}
        self.triggers: dict[str, Interaction] = {}
        self.requests: list[Request] = []
        self.violations: list[Violation] = []
        self.faults = Faults(self.changes)
        self.limits = Limits(self.clock)
        self.streams = StreamRules()
        self.deliveries = Deliveries(self)
        self.sockets = Sockets(self)
        self.poster = Poster(self)
        self.responses = Responses(self)
        self.api = Api(self)
        self._files = FileServer(self)
        self._runner: web.AppRunner | None = None
        self._port = 0

    # Where it listens

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.deliveries.stop()
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; what the world holds stays over a stop and a start."""
        self.api = Api(self)
        app = web.Application(client_max_size=0)
        self.api.add_to(app)
        self.responses.add_to(app)
        self._files.add_to(app)
        app.router.add_get("/link/", self.sockets.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """An outage: nobody listens any more."""
        assert self._runner is not None
        self.api.stop()
        await self.sockets.stop()
        await self.poster.stop()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where everything is."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_base(self) -> str:
        """For `PAJAMA_SLACK_API_BASE`, or a client's `base_url`."""
        return f"{self.url}/api/"

    # Who is there

    def add_team(
        self, name: str, *, users: Iterable[str] = (), installed: bool = True, enterprise_id: str | None = None
    ) -> Team:
        """A workspace, with the app in it unless it is to be installed later."""
        team = Team(self, self.ids.next("T"), name, enterprise_id)
        self.teams[team.id] = team
        for user in users:
            team.add_user(user)
        if installed:
            team.install()
        return team

    # What happens

    def requests_to(self, *methods: str) -> list[Request]:
        """The recorded calls of some methods."""
        return [request for request in self.requests if request.method in methods]

    def violate(self, rule: str, detail: str, request: Request | None = None) -> None:
        """Note that a rule was broken."""
        self.violations.append(Violation(rule, detail, request))
        self.changes.happened()

    @property
    def overdue(self) -> list[Delivery]:
        """What was given up, as the app never acknowledged it in time."""
        return [one for one in self.deliveries.sent if one.over and not one.acknowledged]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for any condition on the servers."""
        await self.changes.until(condition)

    async def until_connected(self, connections: int = 1) -> None:
        """Wait for the app to listen in Socket Mode."""
        await self.changes.until(lambda: len(self.sockets.open) >= connections)

    async def until_disconnected(self) -> None:
        """Wait for nobody to listen."""
        await self.changes.until(lambda: not self.sockets.open)
