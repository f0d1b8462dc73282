"""The people of a workspace, and the bot's user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class User:
    """Somebody in one workspace."""

    id: str
    team_id: str
    name: str
    locale: str = "en-US"
    timezone: str = "Europe/Berlin"
    admin: bool = False
    owner: bool = False
    bot: bool = False
    guest: bool = False
    deleted: bool = False

    @property
    def mention(self) -> str:
        """What stands in a message that mentions this user."""
        return f"<@{self.id}>"

    @property
    def handle(self) -> str:
        """The name in lower case, without spaces."""
        return self.name.lower().replace(" ", ".")
