"""The stand-in Discord as a benchmark fills it: guilds, and seats from which people ask the bot, one after another.

A question says what its answer is to be, so that what is shown at the end can be checked: "say w17 120" is answered with
120 times "w17". Knows what people see; knows no bot.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord

PEOPLE_A_CHANNEL = 4
_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is announced and asked."""

    guilds: int
    members_a_guild: int
    shared_channels: int
    """With PEOPLE_A_CHANNEL conversations each."""
    own: int
    """Conversations in DMs or channels of their own."""
    tokens: int
    ramp_s: float
    patience_s: float
    """For the naive bot, from the last question on."""
    samples: int

    @property
    def conversations(self) -> int:
        """How many there are at once."""
        return self.shared_channels * PEOPLE_A_CHANNEL + self.own


FULL = Scale(2500, 40, 50, 300, tokens=120, ramp_s=15.0, patience_s=35.0, samples=80)
QUICK = Scale(100, 40, 10, 60, tokens=32, ramp_s=3.0, patience_s=10.0, samples=20)


@dataclass(eq=False, slots=True)
class Asked:
    """A question, and what is seen of its answer."""

    message: Message
    word: str
    times: int

    @property
    def answers(self) -> list[Message]:
        """What replies to it with the word; a reply may also say how many are ahead."""
        replies = [each for each in self.message.channel.answers if each.reply_to is self.message]
        return [each for each in replies if each.content.split()[:1] == [self.word]]

    @property
    def first_text_ms(self) -> float | None:
        """From the question to the first text that could be read."""
        answers = self.answers
        return 1000 * (answers[0].created_at - self.message.created_at) if answers else None

    @property
    def exact(self) -> bool:
        """Whether the answer stands there, once, to the letter."""
        return [each.content.strip() for each in self.answers] == [" ".join([self.word] * self.times)]


class World:
    """One stand-in Discord with everybody on it."""

    def __init__(self, discord: StandInDiscord, scale: Scale) -> None:
        self.discord, self.scale = discord, scale
        self._guilds = discord.add_guilds(scale.guilds, members=scale.members_a_guild)
        self._channels = [next(iter(guild.channels.values())) for guild in self._guilds]
        self.seats = list(self._seats())
        self._lone = [self._seat(channel) for channel in self._channels[-40:]]
        self._asked = 0

    def _seats(self) -> Iterator[tuple[User, Channel]]:
        shared, channels = self.scale.shared_channels, iter(self._channels)
        for channel in [next(channels) for _ in range(shared)]:
            for _ in range(PEOPLE_A_CHANNEL):
                yield self._seat(channel)
        for number in range(self.scale.own):
            if number % 2:
                user = self.discord.add_user(f"Person {number}")
                yield user, self.discord.dm(user)
            else:
                yield self._seat(next(channels))

    def _seat(self, channel: Channel) -> tuple[User, Channel]:
        user = self.discord.add_user(f"Person {len(self.discord.users)}")
        assert channel.guild is not None
        return channel.guild.add_member(user), channel

    async def ask_alone(self, number: int) -> float:
        """Ask while nobody else does; milliseconds to the first text."""
        asked = await self._ask(self._lone[number % len(self._lone)], 2)
        await asked.message.channel.until(lambda: asked.answers)
        assert asked.first_text_ms is not None
        return asked.first_text_ms

    async def ask_all(self, patience_s: float) -> list[Asked]:
        """Ask from every seat, spread over the ramp, and wait for every answer and for silence, so long at most."""
        asked: list[Asked] = []
        gap_s = self.scale.ramp_s / len(self.seats)

        async def one(number: int) -> None:
            await asyncio.sleep(number * gap_s)
            asked.append(own := await self._ask(self.seats[number], self.scale.tokens))
            await own.message.channel.until(lambda: own.exact)

        order = sorted(range(len(self.seats)), key=lambda number: number % PEOPLE_A_CHANNEL)
        tasks = [asyncio.create_task(one(number)) for number in order]
        _, late = await asyncio.wait(tasks, timeout=self.scale.ramp_s + patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if not late:
            await self._silence()
        return asked

    async def _ask(self, seat: tuple[User, Channel], tokens: int) -> Asked:
        user, channel = seat
        self._asked += 1
        word = f"w{self._asked}"
        mentions = [] if channel.is_dm else [self.discord.bot]
        message = await channel.say(user, f"say {word} {tokens}", mentions=mentions)
        return Asked(message, word, tokens)

    async def _silence(self) -> None:
        """Wait until the bot has done everything."""
        seen = -1
        while seen != len(self.discord.requests):
            seen = len(self.discord.requests)
            await asyncio.sleep(_QUIET_S)

    def requests_by_route(self, since: int) -> Counter[str]:
        """How many requests came of each route, from request number `since` on."""
        return Counter(request.route for request in self.discord.requests[since:])


def first_texts_ms(asked: Sequence[Asked]) -> list[float]:
    """The latencies of those that were answered."""
    return [taken for each in asked if (taken := each.first_text_ms) is not None]
