"""What goes to the app, one way or the other: until it is acknowledged, and how often.

An event that is not acknowledged in 3 seconds is sent three times more, with the same event_id: at once, after a minute
and after five. What people do with buttons and commands is sent once only, and people see that it failed.
"""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bots.slack.standin.server import StandInSlack
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

EVENT, INTERACTIVE, COMMAND = "events_api", "interactive", "slash_commands"

ACKNOWLEDGE_S = 3.0
TIMEOUTS = {"timeout", "http_timeout"}
RETRY_AFTER_S = (0.0, 60.0, 300.0)


@dataclass(eq=False)
class Attempt:
    """One time that something was sent."""

    number: int
    at: float
    envelope_id: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    """Why Slack holds that it failed: `timeout` in Socket Mode, or `http_timeout`, `http_error`, `connection_failed`."""
    status: int | None = None
    acknowledged_after_s: float | None = None


@dataclass(eq=False)
class Delivery:
    """Something that the app is told."""

    kind: str
    name: str
    """The event's type (for messages the subtype), the command, or the kind of interaction."""
    team: Team
    payload: Json
    created_at: float
    attempts: list[Attempt] = field(default_factory=list)
    response: Json | None = None
    """What the acknowledgement carried."""
    over: bool = False
    """Whether it is acknowledged or given up."""
    when_acknowledged: Callable[[Json | None], None] | None = None
    """What becomes of the response."""

    @property
    def acknowledged(self) -> bool:
        """Whether the app said in time that it has it."""
        return any(attempt.failure is None and attempt.acknowledged_after_s is not None for attempt in self.attempts)

    @property
    def event_id(self) -> str | None:
        """The id of an event."""
        return self.payload.get("event_id")

    @property
    def acknowledged_after_s(self) -> float | None:
        """How long the first acknowledgement took, from its sending on."""
        times = [one.acknowledged_after_s for one in self.attempts if one.acknowledged_after_s is not None]
        return times[0] if times else None

    def __repr__(self) -> str:
        return f"<Delivery {self.name} × {len(self.attempts)}{' ✓' if self.acknowledged else ''}>"


class Deliveries:
    """Everything that was sent to the app, and the faults of the way to it."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack
        self.acknowledge_s = ACKNOWLEDGE_S
        self.retry_after_s: tuple[float, ...] = RETRY_AFTER_S
        """After which pause each further attempt is made."""
        self.sent: list[Delivery] = []
        self._repeats: dict[str, int] = defaultdict(int)
        self._held: dict[str, list[Delivery]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def send(self, kind: str, name: str, team: Team, payload: Json) -> Delivery:
        """Send something, with whatever fault is arranged for its name."""
        delivery = Delivery(kind, name, team, payload, self._slack.clock.now())
        self.sent.append(delivery)
        if name in self._held:
            self._held[name].append(delivery)
            return delivery
        self._start(delivery)
        if self._repeats[name]:
            self._repeats[name] -= 1
            self._start(copy.copy(delivery))
        return delivery

    # What tests arrange

    def repeat(self, name: str, times: int = 1) -> None:
        """Send the next `times` of this name twice over, with the same event_id."""
        self._repeats[name] += times

    def hold(self, name: str) -> None:
        """Keep back what has this name, until it is released."""
        self._held[name] = []

    def release(self, name: str, *, backwards: bool = False) -> None:
        """Send what was kept back, the newest first if so wished."""
        held = self._held.pop(name)
        for delivery in reversed(held) if backwards else held:
            self._start(delivery)

    def again(self, delivery: Delivery) -> None:
        """Send once more what was sent before, with its event_id and without a word that it is a retry."""
        self._start(copy.copy(delivery))

    def named(self, name: str) -> list[Delivery]:
        """Everything that was sent under a name."""
        return [delivery for delivery in self.sent if delivery.name == name]

    @property
    def unacknowledged(self) -> list[Delivery]:
        """What the app has not, or not in time, acknowledged."""
        return [delivery for delivery in self.sent if not delivery.acknowledged]

    async def until_over(self, condition: Callable[[Delivery], bool] = lambda _: True) -> None:
        """Wait for everything sent so far to be acknowledged or given up."""
        sent = [delivery for delivery in self.sent if condition(delivery)]
        await self._slack.changes.until(lambda: all(delivery.over for delivery in sent))

    # How it goes out

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        pauses = (0.0, *self.retry_after_s) if delivery.kind == EVENT else (0.0,)
        failed_at = 0.0
        for number, pause_s in enumerate(pauses):
            await self._slack.clock.until(failed_at + pause_s)
            attempt = Attempt(number, self._slack.clock.now())
            delivery.attempts = [*delivery.attempts, attempt]
            again = await self._attempt(delivery, attempt)
            self._slack.changes.happened()
            if not again:
                break
            timed_out = attempt.failure in TIMEOUTS
            failed_at = attempt.at + self.acknowledge_s if timed_out else self._slack.clock.now()
        if delivery.acknowledged and delivery.when_acknowledged is not None:
            delivery.when_acknowledged(delivery.response)
        delivery.over = True
        self._slack.changes.happened()

    async def _attempt(self, delivery: Delivery, attempt: Attempt) -> bool:
        """Send it once; whether to try again."""
        if self._slack.request_url is not None:
            return await self._slack.poster.attempt(delivery, attempt)
        return await self._slack.sockets.attempt(delivery, attempt)

    async def stop(self) -> None:
        """Send nothing more."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
