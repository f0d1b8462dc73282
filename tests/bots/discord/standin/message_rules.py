"""The rules of messages that a bot sends or edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.bots.discord.standin import component_rules
from tests.bots.discord.standin.bounds import Bound, Finding, outside

Json = dict[str, Any]

FILE_BYTES, FILES, EMBED_CHARACTERS = 10 * 1024 * 1024, 10, 6000

BOUNDS = (
    Bound("content", 0, 2000),
    Bound("nonce", 0, 25),
    Bound("sticker_ids", 0, 3),
    Bound("attachments", 0, FILES),
    Bound("allowed_mentions.users", 0, 100),
    Bound("allowed_mentions.roles", 0, 100),
    Bound("embeds", 0, 10),
    Bound("embeds[].title", 0, 256),
    Bound("embeds[].description", 0, 4096),
    Bound("embeds[].footer.text", 0, 2048),
    Bound("embeds[].author.name", 0, 256),
    Bound("embeds[].fields", 0, 25),
    Bound("embeds[].fields[].name", 1, 256, required=True),
    Bound("embeds[].fields[].value", 1, 1024, required=True),
)


def findings(payload: Json, files: Mapping[str, bytes], *, layout: bool) -> Iterator[Finding]:
    """Everything that is wrong with a message; `layout`: it is, or becomes, one of Components v2."""
    # Discord strips a text before it counts, and counts code points.
    stripped = payload | {"content": (payload.get("content") or "").strip()}
    yield from outside("message", stripped, BOUNDS)
    yield from _embeds(payload.get("embeds") or ())
    yield from _files(files)
    yield from component_rules.in_message(payload.get("components") or (), layout=layout)
    if layout and any(payload.get(key) for key in ("content", "embeds", "poll", "sticker_ids")):
        yield Finding("components v2", "no text, embeds, poll or stickers beside a layout")
    yield from _mentions(payload)


def _embeds(embeds: Sequence[Json]) -> Iterator[Finding]:
    characters = sum(_characters(embed) for embed in embeds)
    if characters > EMBED_CHARACTERS:
        yield Finding("embeds", f"{characters} characters together, allowed are {EMBED_CHARACTERS}")


def _characters(embed: Json) -> int:
    parts = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text")]
    parts.append((embed.get("author") or {}).get("name"))
    for field in embed.get("fields") or ():
        parts += [field.get("name"), field.get("value")]
    return sum(len(part) for part in parts if part)


def _files(files: Mapping[str, bytes]) -> Iterator[Finding]:
    if len(files) > FILES:
        yield Finding("files", f"{len(files)} files, allowed are {FILES}")
    for name, content in files.items():
        if len(content) > FILE_BYTES:
            yield Finding("files", f"{name} has {len(content)} bytes, allowed are {FILE_BYTES}")


def _mentions(payload: Json) -> Iterator[Finding]:
    """The bot's promise: a message notifies nobody, but for the author of what it replies to."""
    if not any(key in payload for key in ("content", "embeds", "components")):
        return
    allowed = payload.get("allowed_mentions")
    if allowed is None:
        yield Finding("allowed_mentions", "missing", refused=False)
        return
    if allowed.get("parse") or allowed.get("users") or allowed.get("roles"):
        yield Finding("allowed_mentions", str(allowed), refused=False)
    for kind in ("users", "roles"):
        if kind in allowed.get("parse", ()) and allowed.get(kind):
            yield Finding("allowed_mentions", f"{kind} both parsed and listed")
