"""Which requests break a rule of the platform."""

from __future__ import annotations

from tests.bots.discord.standin.calls import Call


def check(route: str, call: Call) -> None:
    """Note every broken rule; refuse as Discord does."""
