"""Users, and what they are in a guild."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class User:
    """A person or a bot, the same everywhere."""

    id: int
    name: str
    locale: str = "en-US"
    bot: bool = False
    accepts_direct_messages: bool = True

    @property
    def mention(self) -> str:
        """What stands in a message that mentions this user."""
        return f"<@{self.id}>"

    @property
    def username(self) -> str:
        """The unique handle; `name` is what people see."""
        return self.name if self.bot else self.name.lower().replace(" ", "_")


@dataclass(eq=False)
class Role:
    """A role of a guild."""

    id: int
    name: str
    permissions: int
    position: int
    bot_id: int | None = None  # the bot that brought it along

    @property
    def mention(self) -> str:
        """What stands in a message that mentions this role."""
        return f"<@&{self.id}>"


@dataclass(eq=False)
class Member:
    """A user in a guild."""

    user: User
    joined_at: float
    roles: list[Role] = field(default_factory=list)
    nick: str | None = None
