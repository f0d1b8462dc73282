"""What a bot's arguments make of a message: text, blocks, attachments and metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import block_rules, text_rules
from tests.bots.slack.standin.bounds import Finding
from tests.bots.slack.standin.calls import ApiError, Call

if TYPE_CHECKING:
    from tests.bots.slack.standin.message import Message

Json = dict[str, Any]

POST_CHARACTERS, UPDATE_CHARACTERS, MARKDOWN_CHARACTERS = 40_000, 4_000, 12_000
METADATA_BYTES, ATTACHMENTS = 8_192, 100


def write(call: Call, message: Message, *, text_limit: int) -> None:
    """Bring a new or an existing message to what the arguments say."""
    text, markdown, blocks = call.text("text"), call.text("markdown_text"), block_rules.read(call)
    attachments = call.json("attachments", "invalid_attachments")
    if markdown is not None and (text is not None or blocks):
        raise ApiError("markdown_text_conflict")
    call.enforce(_findings(text or "", markdown or "", blocks or [], attachments or [], text_limit))
    metadata = metadata_of(call)
    _pings(call, text or "", markdown or "", blocks or [], attachments or [])
    if text is not None or markdown is not None:
        message.text = (text or "")[:POST_CHARACTERS]
    if text is not None or markdown is not None or blocks is not None:
        message.markdown_text, message.blocks = markdown, block_rules.identified(blocks or [], call.slack.ids)
    if attachments is not None:
        message.attachments = attachments
    if "metadata" in call.arguments:
        message.metadata = metadata
    if not (message.read.strip() or message.blocks or message.attachments or message.files):
        raise ApiError("no_text")


def _findings(text: str, markdown: str, blocks: list[Json], attachments: list[Json], limit: int) -> Iterator[Finding]:
    if len(text) > limit:
        code = "msg_too_long" if limit == UPDATE_CHARACTERS else None
        yield Finding("text", f"{len(text)} characters, allowed are {limit}", code)
    if len(markdown) > MARKDOWN_CHARACTERS:
        yield Finding("markdown_text", f"{len(markdown)} characters, allowed are {MARKDOWN_CHARACTERS}", "msg_too_long")
    if markdown:
        yield from block_rules.size_findings([{"type": "markdown", "text": markdown}])
    if blocks:
        yield from block_rules.findings(blocks, "message")
    if len(attachments) > ATTACHMENTS:
        yield Finding("attachments", f"{len(attachments)}, allowed are {ATTACHMENTS}", "too_many_attachments")


def _pings(call: Call, text: str, markdown: str, blocks: list[Json], attachments: list[Json]) -> None:
    linked = call.flag("link_names") or call.text("parse") == "full"
    call.enforce(text_rules.pings(text, call.team, linked=linked))
    call.enforce(text_rules.pings(markdown, call.team, markdown=True))
    call.enforce(text_rules.pings_in_blocks(blocks, call.team))
    for one in attachments:
        call.enforce(text_rules.pings(str(one.get("text", "")), call.team, linked=linked))
        call.enforce(text_rules.pings_in_blocks(one.get("blocks") or [], call.team))


def metadata_of(call: Call) -> Json | None:
    """The metadata of a message; an empty object is none."""
    metadata = call.json("metadata", "invalid_metadata_format")
    if not metadata:
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        raise ApiError("invalid_metadata_format")
    if not isinstance(metadata.get("event_payload"), dict):
        raise ApiError("invalid_metadata_schema")
    if len(json.dumps(metadata)) > METADATA_BYTES:
        raise ApiError("metadata_too_large")
    return metadata
