"""Sinks: opens the sink of a Turn, with a status shown until there is something to read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from slack_sdk.web.async_client import AsyncWebClient

from bots.pacing import EditBudgets
from bots.slack.budget import SendBudget
from bots.slack.pace import APPENDS_PER_S, Pace
from bots.slack.places import PLATFORM, channel_of, message_id, team_of, ts_of
from bots.slack.sink import SlackSink
from bots.slack.status import Session, Status, thinking
from bots.slack.targets import Target
from bots.slack.thread import Thread
from bots.slack.writer import Writer
from bots.texts import text
from core.history import TurnView
from core.service import Service


class Sinks:
    """One per bot process."""

    def __init__(self, client: AsyncWebClient, service: Service) -> None:
        self._client, self._service = client, service
        self._budgets = EditBudgets(APPENDS_PER_S)
        self._statuses: dict[int, Status] = {}  # of Turns whose sink is not open yet

    @contextmanager
    def waiting(self, turn: TurnView) -> Iterator[None]:
        """A status until the sink of the Turn is open, which takes it over."""
        if turn.state.ended:
            yield
            return
        status = self._statuses[turn.turn_id] = Status(
            self._client, self._target(turn), text("thinking", turn.language)
        )
        status.show()
        try:
            yield
        finally:
            if self._statuses.pop(turn.turn_id, None) is status:
                status.cancel()

    @asynccontextmanager
    async def open(self, turn: TurnView) -> AsyncIterator[SlackSink]:
        """The sink of the Turn, for as long as it is delivered."""
        target = self._target(turn)
        send_budget = SendBudget(self._service, target.team)
        since, is_known = _since(turn, target), self._knows(turn, target)
        thread = Thread(self._client, send_budget, target.channel, target.thread, since=since, is_known=is_known)
        writer = Writer(self._client, send_budget, target, thread)
        with ExitStack() as stack:
            pace = Pace(self._budgets, target.team, stack)
            status = self._statuses.pop(turn.turn_id, None) or Status(
                self._client, target, text("thinking", turn.language)
            )
            session = Session(self._client, send_budget, target)
            async with thinking(status, session, shown=not turn.state.ended):
                yield SlackSink(writer, thread, send_budget, target, turn, status, pace)

    def _target(self, turn: TurnView) -> Target:
        known = {"channel": channel_of(turn.place), "thread": turn.place.conversation.partition(":")[2]}
        return Target.model_validate({**known, "team": team_of(turn.place.workspace), **turn.target})

    def _knows(self, turn: TurnView, target: Target) -> Callable[[str], Awaitable[bool]]:
        async def known(ts: str) -> bool:
            place = turn.place
            found = await self._service.turn_of_message(PLATFORM, place.workspace, message_id(target.channel, ts))
            return found is not None

        return known


def _since(turn: TurnView, target: Target) -> str:
    """The `ts` of the question, or of its thread where no message asked."""
    asked = ts_of(turn.event_id)
    return asked if turn.event_id == message_id(target.channel, asked) else target.thread
