"""What a message on Slack says, and whether it is said to the bot. Pure: reads events, asks nothing.

Mentions become names; the bot's own mention is taken away, since it is only the address.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import regex

from core.workspaces import ChannelSettings

MAX_NAME_CHARS = 80
_TOKEN = regex.compile(r"<([@#!]?)([^<>|\n]+)(?:\|([^<>\n]*))?>")
_ANSWERED_SUBTYPES = frozenset({None, "file_share", "thread_broadcast"})
_DM = "im"

Event = Mapping[str, Any]


class Address(StrEnum):
    """Why a message is said to the bot."""

    DIRECT = "direct"
    MENTION = "mention"
    THREAD = "thread"
    CHANNEL = "channel"


def is_written(event: Event) -> bool:
    """Whether a person wrote it: no bot, no notice of Slack's own."""
    written = event.get("subtype") in _ANSWERED_SUBTYPES and bool(event.get("user"))
    return written and not event.get("bot_id") and not event.get("bot_profile")


def is_direct(event: Event) -> bool:
    """Whether it stands in a DM with the bot."""
    return event.get("channel_type") == _DM or str(event.get("channel", "")).startswith("D")


def mentioned(event: Event) -> set[str]:
    """The ids of the people whom it mentions."""
    return {match[2] for match in _TOKEN.finditer(str(event.get("text") or "")) if match[1] == "@"}


def address_of(event: Event, bot: str, settings: ChannelSettings, *, ours: bool) -> Address | None:
    """Why the message is said to the bot; None where it is not. `ours`: the bot takes part in this thread."""
    if not is_written(event):
        return None
    if is_direct(event):
        return Address.DIRECT
    if settings.answer == "never":
        return None
    people = mentioned(event)
    if bot in people:
        return Address.MENTION
    if people:
        return None
    if event.get("thread_ts") and ours:
        return Address.THREAD
    return Address.CHANNEL if settings.answer == "always" else None


def words_of(event: Event, bot: str, name_of: Callable[[str], str | None]) -> str:
    """The message as plain text; `name_of` knows people by their ids."""

    def named(match: regex.Match[str]) -> str:
        kind, target, label = match[1], match[2], match[3]
        match kind:
            case "@":
                return "" if target == bot else f"@{label or name_of(target) or target}"
            case "#":
                return f"#{label or target}"
            case "!":
                return label or f"@{target.partition('^')[0]}"
            case _:
                return _link(target, label)

    return html.unescape(_TOKEN.sub(named, str(event.get("text") or ""))).strip()


def _link(target: str, label: str | None) -> str:
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (target, address) or target.endswith(f"//{label}"):
        return label if label and target.startswith(("mailto:", "tel:")) else address
    return f"{label} ({address})"
