"""Messages and the files attached to them, as the servers keep them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.people import User

DEFAULT, THREAD_CREATED, REPLY, CHAT_INPUT_COMMAND, THREAD_STARTER, CONTEXT_MENU_COMMAND = 0, 18, 19, 20, 21, 23

HAS_THREAD, EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 5, 1 << 6, 1 << 7, 1 << 15


@dataclass(eq=False)
class Attachment:
    """A file on the CDN. What is announced to the bot may differ from what the CDN serves."""

    id: int
    filename: str
    content: bytes
    url: str = ""
    content_type: str | None = None
    announced_size: int | None = None
    redirect_to: str | None = None
    chunk_delay_s: float = 0.0
    description: str | None = None

    @property
    def size(self) -> int:
        """The size that Discord announces."""
        return len(self.content) if self.announced_size is None else self.announced_size


@dataclass(eq=False)
class Message:
    """One message, with everything that people see of it."""

    id: int
    channel: Channel
    author: User
    content: str
    created_at: float
    type: int = DEFAULT
    flags: int = 0
    embeds: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    mentions: list[User] = field(default_factory=list)
    """Who is mentioned, and notified."""
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    reference: dict[str, Any] | None = None
    reply_to: Message | None = None
    nonce: str | None = None
    interaction: dict[str, Any] | None = None
    edited_at: float | None = None
    reactions: dict[str, list[User]] = field(default_factory=dict)
    thread: Channel | None = None
    deleted: bool = False
    shown_to: User | None = None
    """The only person who sees it, if it is ephemeral."""
    revisions: list[str] = field(default_factory=list)
    """Every text that people could read, the newest last."""

    @property
    def ephemeral(self) -> bool:
        """Whether one person sees it only."""
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether people read "… is thinking" instead of a text."""
        return bool(self.flags & LOADING)

    @property
    def files(self) -> dict[str, bytes]:
        """The attached files by name."""
        return {one.filename: one.content for one in self.attachments}

    def rewrite(self, content: str) -> None:
        """Another text."""
        self.content = content
        self.revisions.append(content)

    def __repr__(self) -> str:
        return f"<Message {self.id} by {self.author.name}: {self.content[:60]!r}>"
