"""The stand-in Slack as a benchmark fills it: workspaces whose people talk to each other, and ask the bot in private.

A question says what its answer is to be, so that what is shown at the end can be checked: "say w17 60" is answered with 60
times "w17". Knows what people see; knows no bot.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.deliveries import Delivery
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

ALONE_A_TEAM = 12
"""So many are asked one by one in a workspace: Slack gives it no more than about 20 streams a minute."""

_SIGNS = frozenset({"assistant.threads.setStatus", "chat.startStream", "chat.postMessage"})
_ROOMS, _EVERY_NTH_ASKS = 20, 5
_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is asked."""

    alone: int
    at_once: int
    tokens: int
    events_per_s: int
    events_for_s: float
    patience_s: float
    """For the naive bot, from the last question on."""

    @property
    def teams(self) -> int:
        """One for those who ask at once, one for the events, and as many as it takes for those who ask alone."""
        return 2 + -(-self.alone // ALONE_A_TEAM)


FULL = Scale(alone=96, at_once=100, tokens=60, events_per_s=100, events_for_s=20.0, patience_s=60.0)
QUICK = Scale(alone=24, at_once=100, tokens=24, events_per_s=100, events_for_s=4.0, patience_s=20.0)


@dataclass(eq=False, slots=True)
class Asked:
    """A question in a DM of its own, and what is seen of its answer."""

    dm: Channel
    word: str
    times: int
    at: float
    first_text_ms: float | None = None

    @property
    def shown(self) -> list[str]:
        """What stands there of the answer: once, if all is well."""
        return [answer.read.strip() for answer in self.dm.answers]

    @property
    def exact(self) -> bool:
        """Whether the answer stands there, once, to the letter."""
        return self.shown == [" ".join([self.word] * self.times)]

    @property
    def streamed(self) -> bool:
        """Whether it grew before the asker's eyes as a stream."""
        return any(answer.stream is not None for answer in self.dm.answers)


class World:
    """One stand-in Slack with everybody on it."""

    def __init__(self, slack: StandInSlack, teams: Iterable[Team]) -> None:
        self.slack = slack
        self._at_once, self._busy, *self._alone = teams
        self._rooms = [self._busy.add_channel(f"room-{number}") for number in range(_ROOMS)]
        self._asked = 0

    async def ask_alone(self, number: int) -> float:
        """Ask while nobody else does; milliseconds to the first text."""
        asked = await self._ask(self._alone[number // ALONE_A_TEAM % len(self._alone)], 2)
        assert asked.first_text_ms is not None
        return asked.first_text_ms

    async def ask_all(self, scale: Scale, patience_s: float) -> list[Asked]:
        """Let all ask in one workspace at once, and wait for every answer and for silence, so long at most."""
        asked: list[Asked] = []

        async def one() -> None:
            own = await self._ask(self._at_once, scale.tokens, asked)
            await own.dm.until(lambda: own.exact)

        tasks = [asyncio.create_task(one()) for _ in range(scale.at_once)]
        _, late = await asyncio.wait(tasks, timeout=patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._silence()
        return asked

    async def be_busy(self, scale: Scale) -> list[Delivery]:
        """So many events a second, every fifth a question; what was told of what people said."""
        loop = asyncio.get_running_loop()
        began, told = loop.time(), len(self.slack.deliveries.sent)
        for number in range(int(scale.events_per_s * scale.events_for_s)):
            await asyncio.sleep(max(0.0, began + number / scale.events_per_s - loop.time()))
            if number % _EVERY_NTH_ASKS:
                await self._rooms[number % _ROOMS].say(self._busy.owner, f"words to the others {number}")
            else:
                await self._say(self._busy, 1)
        spoken = [one for one in self.slack.deliveries.sent[told:] if not one.payload["event"].get("bot_id")]
        await self.slack.deliveries.until_over()
        await self._silence()
        return spoken

    async def _ask(self, team: Team, tokens: int, asked: list[Asked] | None = None) -> Asked:
        """A question, until the first text of its answer can be read."""
        own = await self._say(team, tokens)
        if asked is not None:
            asked.append(own)
        await own.dm.until(lambda: any(words.startswith(own.word) for words in own.shown))
        own.first_text_ms = 1000 * (self.slack.clock.now() - own.at)
        return own

    async def _say(self, team: Team, tokens: int) -> Asked:
        """A question of somebody new."""
        self._asked += 1
        user, word = team.add_user(f"Person {self._asked}"), f"w{self._asked}"
        dm, at = team.dm(user), self.slack.clock.now()
        await dm.say(user, f"say {word} {tokens}")
        return Asked(dm, word, tokens, at)

    async def _silence(self) -> None:
        """Wait until the bot has done everything."""
        seen = -1
        while seen != len(self.slack.requests):
            seen = len(self.slack.requests)
            await asyncio.sleep(_QUIET_S)

    def calls(self, since: int) -> Counter[str]:
        """How many calls came of each method, from request number `since` on."""
        return Counter(request.method for request in self.slack.requests[since:])

    def silences_s(self, asked: Iterable[Asked]) -> list[float]:
        """How long each of them saw nothing at all: no status, no placeholder, no text."""
        signs: dict[str, float] = {}
        for request in self.slack.requests:
            if request.ok and request.method in _SIGNS and request.answered_at is not None:
                channel = str(request.arguments.get("channel") or request.arguments.get("channel_id"))
                signs.setdefault(channel, request.answered_at)
        return [signs.get(one.dm.id, self.slack.clock.now()) - one.at for one in asked]
