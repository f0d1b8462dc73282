"""Messages and files, as the servers keep them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.streams import Stream

Json = dict[str, Any]

CONTROLS = {"actions", "context_actions"}
RUNS = {"rich_text_section", "rich_text_preformatted", "rich_text_quote"}


@dataclass(eq=False)
class File:
    """A file. What is announced to the bot may differ from what is served."""

    id: str
    name: str
    content: bytes
    mimetype: str = "text/plain"
    title: str = ""
    snippet_type: str | None = None
    announced_size: int | None = None
    redirect_to: str | None = None
    chunk_delay_s: float = 0.0
    mode: str = "hosted"
    uploaded: bool = True
    """Whether its bytes are there; a bot announces a file before it sends them."""
    announced_length: int | None = None

    @property
    def size(self) -> int:
        """The size that Slack announces."""
        return len(self.content) if self.announced_size is None else self.announced_size


@dataclass(eq=False)
class Message:
    """One message, with everything that people see of it."""

    ts: str
    channel: Channel
    author: User
    text: str = ""
    markdown_text: str | None = None
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    thread_ts: str | None = None
    subtype: str | None = None
    client_msg_id: str | None = None
    files: list[File] = field(default_factory=list)
    reactions: dict[str, list[User]] = field(default_factory=dict)
    edited_at: str | None = None
    deleted: bool = False
    shown_to: User | None = None
    """The only person who sees it, if it is ephemeral."""
    stream: Stream | None = None
    """How it is being written, if by chat.startStream."""
    broadcast: bool = False
    revisions: list[str] = field(default_factory=list)
    """Every text that people could read, the newest last."""

    @property
    def streaming(self) -> bool:
        """Whether people see that more is to come."""
        return self.stream is not None and self.stream.state == "streaming"

    @property
    def ephemeral(self) -> bool:
        """Whether one person sees it only."""
        return self.shown_to is not None

    @property
    def read(self) -> str:
        """What people read: the blocks if there are any, or the text; and the words of attachments."""
        parts = [] if self.markdown_text is None else [self.markdown_text]
        shown = (block for block in self.blocks if block.get("type") not in CONTROLS)
        parts += [text for block in shown if (text := block_text(block))]
        if not parts:
            parts = [self.text]
        parts += [str(one.get("text") or one.get("fallback") or "") for one in self.attachments]
        return "\n".join(part for part in parts if part)

    @property
    def markdown(self) -> str:
        """What the bot wrote as Markdown: in a stream, in `markdown_text` or in Markdown blocks."""
        parts = [] if self.markdown_text is None else [self.markdown_text]
        parts += [block["text"] for block in self.blocks if block.get("type") == "markdown"]
        return "\n".join(parts)

    def find_action(self, name: str) -> tuple[Json, Json]:
        """A block and its element with this action_id or label."""
        return find_action(self.blocks, name)

    def note(self) -> None:
        """Remember what can be read now."""
        if not self.revisions or self.revisions[-1] != self.read:
            self.revisions.append(self.read)

    def __repr__(self) -> str:
        return f"<Message {self.ts} by {self.author.name}: {self.read[:60]!r}>"


class NotOffered(AssertionError):
    """People do not find this here: no such button, command or field, or not now."""


def elements(block: Json) -> list[Json]:
    """What people can press or fill in inside a block."""
    found = [one for one in block.get("elements", ()) if isinstance(one, dict)]
    found += [one for key in ("accessory", "element") if (one := block.get(key))]
    return found


def find_action(blocks: list[Json], name: str) -> tuple[Json, Json]:
    """A block and its element with this action_id or label."""
    for block in blocks:
        for element in elements(block):
            label = (element.get("text") or {}).get("text") if isinstance(element.get("text"), dict) else None
            if name in {element.get("action_id"), label}:
                return block, element
    offered = [one.get("action_id") for block in blocks for one in elements(block)]
    raise NotOffered(f"{name!r}: there are {offered}")


def block_text(value: Any) -> str:
    """The words that a block shows, one line for each text in it."""
    if isinstance(value, list):
        return "\n".join(text for one in value if (text := block_text(one)))
    if not isinstance(value, dict):
        return ""
    if value.get("type") in RUNS:
        return "".join(_rich_words(one) for one in value.get("elements", ()))
    if isinstance(value.get("text"), str):
        return str(value["text"])
    keys = (
        "text",
        "title",
        "label",
        "fields",
        "rows",
        "elements",
        "accessory",
        "element",
        "tasks",
        "details",
        "output",
    )
    parts = [block_text(value[key]) if isinstance(value[key], dict | list) else "" for key in keys if key in value]
    return "\n".join(part for part in parts if part)


def _rich_words(element: Json) -> str:
    match element.get("type"):
        case "text":
            return str(element["text"])
        case "link":
            return str(element.get("text") or element["url"])
        case "user":
            return f"<@{element['user_id']}>"
        case "channel":
            return f"<#{element['channel_id']}>"
        case "emoji":
            return f":{element['name']}:"
        case _:
            return ""
