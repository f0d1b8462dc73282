"""What the agent view shows around a conversation: statuses, titles, suggested prompts, and agent sessions.

State only; `assistants.py` has the methods of the Web API that change it, `team.py` what people do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel

Json = dict[str, Any]

STATUS_S = 120.0


@dataclass
class Status:
    """ "… is thinking", with the words that rotate under it."""

    text: str
    loading_messages: list[str]
    set_at: float


@dataclass
class AgentSession:
    """A thread that the agent works in."""

    status: str
    title: str = ""
    initiator_user_id: str | None = None
    statuses: list[str] = field(default_factory=list)
    """Every status that it had, in order."""


class Assistance:
    """The agent's side of one channel or DM. Threads are named by their root's `ts`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.statuses: dict[str, Status] = {}
        self.titles: dict[str, str] = {}
        self.sessions: dict[str, AgentSession] = {}
        self.prompts: list[Json] = []
        """The suggested prompts: each a `title` and a `message`."""
        self.prompts_title: str | None = None
        self.shown: list[str] = []
        """Every status that was shown here, in order."""

    def status(self, thread_ts: str) -> str:
        """What is shown now; nothing after two minutes, or when the bot has written there."""
        status = self.statuses.get(thread_ts)
        if status is None or self._channel.team.slack.clock.now() - status.set_at > STATUS_S:
            return ""
        return status.text

    def set_status(self, thread_ts: str, text: str, loading_messages: list[str]) -> None:
        """Show a status, or none."""
        if not text:
            self.statuses.pop(thread_ts, None)
        else:
            self.statuses[thread_ts] = Status(text, loading_messages, self._channel.team.slack.clock.now())
            self.shown.append(text)
        self._channel.happened()

    def clear_status(self, thread_ts: str | None) -> None:
        """The bot has written."""
        if thread_ts is not None:
            self.statuses.pop(thread_ts, None)

    def set_session(
        self, thread_ts: str, status: str, title: str | None = None, initiator: str | None = None
    ) -> AgentSession:
        """Bring a session to a status; title and initiator count for a new one only."""
        session = self.sessions.get(thread_ts)
        if session is None:
            session = self.sessions[thread_ts] = AgentSession(status, title or "", initiator)
        session.status = status
        session.statuses.append(status)
        self._channel.happened()
        return session
