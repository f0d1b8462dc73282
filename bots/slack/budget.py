"""SendBudget: what one workspace may be sent, by all processes together: each of Slack's methods has a line of its own.

Slack counts by method, workspace and minute, and by channel and second where messages are posted. What it allows is known
but for bursts, and what it refuses is a call that somebody waits for. So every call waits for its place in line, or is
left out where it is a preview; and where Slack asks for patience all the same, all have it. Knows no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from core.errors import QueueUnavailable
from core.rates import Rate, new_place
from core.service import Service

log = structlog.get_logger(__name__)

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
POST, UPDATE, DELETE = "chat.postMessage", "chat.update", "chat.delete"
UPLOAD, SHARE, UNSHARE = "files.getUploadURLExternal", "files.completeUploadExternal", "files.delete"
ALONE, PRIVATE, LINK = "chat.postEphemeral", "conversations.open", "chat.getPermalink"
HISTORY, REPLIES = "conversations.history", "conversations.replies"
SESSION = "agents.sessions.setStatus"
PLACEHOLDER = "placeholder"
"""A message that is an update later. So few that there are updates left for what has more need of them."""

_MINUTE_S = 62.0
"""A little more than a minute: a call may be on its way for longer than the one a minute after it."""

RATES = {
    START: Rate(18, _MINUTE_S),
    STOP: Rate(18, _MINUTE_S),
    APPEND: Rate(95, _MINUTE_S),
    UPDATE: Rate(47, _MINUTE_S),
    DELETE: Rate(47, _MINUTE_S),
    SESSION: Rate(47, _MINUTE_S),
    PLACEHOLDER: Rate(25, _MINUTE_S),
    POST: Rate(3, 3.3),
    UPLOAD: Rate(95, _MINUTE_S),
    SHARE: Rate(95, _MINUTE_S),
    UNSHARE: Rate(47, _MINUTE_S),
    ALONE: Rate(95, _MINUTE_S),
    PRIVATE: Rate(47, _MINUTE_S),
    LINK: Rate(95, _MINUTE_S),
    HISTORY: Rate(47, _MINUTE_S),
    REPLIES: Rate(47, _MINUTE_S),
}
"""Slack's tiers are 20, 50 and 100 a minute, and a message a second in a channel; a few are left for others' haste.

Of some apps Slack takes one HISTORY and one REPLIES a minute: these learn it from its refusals."""

_BY_CHANNEL = frozenset({POST})


class SendBudget:
    """The budget of one workspace, or of what stands for one: a team's id."""

    def __init__(self, service: Service, team: str) -> None:
        self._rates, self._team = service.rates, team

    async def spare(self, method: str, channel: str = "", *, keep: int = 0) -> bool:
        """Whether a call that can be left out may be made at once; `keep`: so many are left to those who need them."""
        try:
            return await self._spare(method, channel, keep=keep)
        except QueueUnavailable:
            return False

    async def spare_placeholder(self, channel: str) -> bool:
        """Whether a message that is an update later may be posted at once. Where it may not be posted, none is used up."""
        place = new_place()
        try:
            if not await self._spare(PLACEHOLDER, place=place):
                return False
            if await self._spare(POST, channel):
                return True
            await self._rates.give_back(self._name(PLACEHOLDER), place)
        except QueueUnavailable:
            pass
        return False

    async def _spare(self, method: str, channel: str = "", *, keep: int = 0, place: str = "") -> bool:
        name, rate = self._name(method, channel), RATES[method]
        return await self._rates.take(name, Rate(rate.most - keep, rate.per_s), 0.0, place=place) is not None

    async def wait(self, method: str, channel: str = "") -> None:
        """Return when a call may be made; at once where nobody counts, as Slack itself then says when it is too much."""
        if method not in RATES:
            return
        try:
            await self._rates.wait(self._name(method, channel), RATES[method])
        except QueueUnavailable as error:
            log.warning("Nobody counts calls.", action="budget_unknown", method=method, reason=str(error))

    async def refused(self, method: str, channel: str, for_s: float) -> None:
        """Slack took no call, and takes none for so long."""
        log.warning("Slack asks for patience.", action="slack_limited", method=method, team=self._team, for_s=for_s)
        try:
            await self._rates.hold(self._name(method, channel), for_s)
        except QueueUnavailable:
            return  # whoever was refused waits in any case

    def gate(self, method: str, channel: str = "", *, placed: bool = False) -> MethodGate:
        """The line of one method; `placed`: for a call whose place in line is taken already."""
        return MethodGate(self, method, channel, placed)

    def _name(self, method: str, channel: str = "") -> str:
        where = f"{self._team}-{channel}" if method in _BY_CHANNEL else self._team
        return f"slack-{method}-{where}"


@dataclass(slots=True)
class MethodGate:
    """A `wire.Gate`: the line of one method, and of one channel where that counts. `placed`: the next call has its place."""

    budget: SendBudget
    method: str
    channel: str
    placed: bool = False

    async def wait(self) -> None:
        """Wait in line."""
        if self.placed:
            self.placed = False
            return
        await self.budget.wait(self.method, self.channel)

    async def refused(self, for_s: float) -> None:
        """Let all of the line wait."""
        await self.budget.refused(self.method, self.channel, for_s)
