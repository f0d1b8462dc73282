"""The rules of blocks in messages, modals and App Homes, and how much a message may hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bots.slack.standin import element_rules
from tests.bots.slack.standin.bounds import Bound, Finding, outside
from tests.bots.slack.standin.calls import ApiError, Call
from tests.bots.slack.standin.clock import Ids
from tests.bots.slack.standin.message import block_text, elements

Json = dict[str, Any]

MOST = {"message": 50, "modal": 100, "home": 100}
MARKDOWN_CHARACTERS, COUNTED_CHARACTERS, HEADER_CHARACTERS = 12_000, 13_200, 100
TABLE_ROWS, TABLE_CELLS, TABLE_CHARACTERS = 100, 20, 10_000

BLOCK_ID = Bound("block_id", 1, 255)
BOUNDS: dict[str, tuple[Bound, ...]] = {
    "section": (Bound("text.text", 1, 3000), Bound("fields", 1, 10), Bound("fields[].text", 1, 2000)),
    "header": (Bound("text.text", 1, 150, required=True),),
    "markdown": (Bound("text", 1, MARKDOWN_CHARACTERS, required=True),),
    "divider": (),
    "context": (Bound("elements", 1, 10, required=True), Bound("elements[].text", 1, 3000)),
    "actions": (Bound("elements", 1, 25, required=True),),
    "context_actions": (Bound("elements", 1, 5, required=True),),
    "image": (Bound("alt_text", 1, 2000, required=True), Bound("image_url", 1, 3000), Bound("title.text", 1, 2000)),
    "input": (Bound("label.text", 1, 2000, required=True), Bound("hint.text", 1, 2000)),
    "rich_text": (Bound("elements", 1, 1000, required=True),),
    "table": (
        Bound("rows", 1, TABLE_ROWS, required=True),
        Bound("rows[]", 1, TABLE_CELLS),
        Bound("column_settings", 0, TABLE_CELLS),
    ),
    "file": (Bound("external_id", 1, 255, required=True),),
    "video": (Bound("alt_text", 1, 2000, required=True), Bound("title.text", 1, 200, required=True)),
    "plan": (Bound("title", 1, 256, required=True), Bound("tasks", 0, 50)),
    "task_card": (Bound("title", 1, 256, required=True),),
    "alert": (Bound("text.text", 1, 3000, required=True),),
}
IN_MESSAGES_ONLY = {"markdown", "context_actions", "table", "file", "plan", "task_card", "alert"}
IN_VIEWS_ONLY = {"input"}
ELEMENTS_OF = {
    "actions": element_rules.INTERACTIVE, "context": {"image", "mrkdwn", "plain_text"},
    "context_actions": {"feedback_buttons", "icon_button"},
    "rich_text": {"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"},
}  # fmt: skip

HEADING = re.compile(r" {0,3}#{1,6}(?:\s|$)")
RULER = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
TABLE_LINE = re.compile(r"\s*\|")


def read(call: Call) -> list[Json] | None:
    """The blocks of a call, as a list."""
    blocks = call.json("blocks", "invalid_blocks_format")
    if blocks is not None and (not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks)):
        raise ApiError("invalid_blocks_format")
    return blocks


def identified(blocks: list[Json], ids: Ids) -> list[Json]:
    """The blocks as Slack keeps them: each has a block_id."""
    return [{"block_id": ids.next("b")} | block for block in blocks]


def findings(blocks: list[Json], surface: str) -> Iterator[Finding]:
    """Everything that is wrong with the blocks of a message, a modal or an App Home."""
    if len(blocks) > MOST[surface]:
        yield Finding("blocks", f"no more than {MOST[surface]} items allowed, there are {len(blocks)}")
    for block in blocks:
        yield from _one(block, surface)
    yield from _twice("block_id", [block.get("block_id") for block in blocks])
    if surface == "message":
        yield from size_findings(blocks)
    if surface == "message" and sum(block.get("type") == "table" for block in blocks) > 1:
        yield Finding("table", "only_one_table_allowed", "invalid_attachments")


def _one(block: Json, surface: str) -> Iterator[Finding]:
    kind = block.get("type", "")
    if kind not in BOUNDS:
        yield Finding("block type", f"unsupported type: {kind!r}")
        return
    if (surface != "message" and kind in IN_MESSAGES_ONLY) or (surface == "message" and kind in IN_VIEWS_ONLY):
        yield Finding("block type", f"{kind} in a {surface}")
    yield from outside(kind, block, (BLOCK_ID, *BOUNDS[kind]))
    if kind == "section" and not block.get("text") and not block.get("fields"):
        yield Finding(kind, "text or fields must be there")
    if kind == "input" and not block.get("element"):
        yield Finding(kind, "element is missing")
    if kind == "table":
        yield from _table(block)
    yield from element_rules.text_objects(kind, block)
    for element in elements(block):
        if kind in ELEMENTS_OF and element.get("type") not in ELEMENTS_OF[kind]:
            yield Finding(kind, f"unsupported element: {element.get('type')!r}")
        yield from element_rules.findings(element)
    yield from _twice("action_id", [element.get("action_id") for element in elements(block)])


def _table(block: Json) -> Iterator[Finding]:
    rows = block.get("rows") or []
    cells = [cell for row in rows if isinstance(row, list) for cell in row]
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("type") not in {"raw_text", "raw_number", "rich_text"}:
            yield Finding("table", f"unsupported cell: {cell}")
        elif not block_text(cell):
            yield Finding("table", "an empty cell")
    characters = sum(len(block_text(cell)) for cell in cells)
    if characters > TABLE_CHARACTERS:
        yield Finding("table", f"{characters} characters, allowed are {TABLE_CHARACTERS}")


def _twice(what: str, names: list[str | None]) -> Iterator[Finding]:
    for name, times in Counter(name for name in names if name is not None).items():
        if times > 1:
            yield Finding(f"{what} twice", str(name))


# How much a message may hold


def size_findings(blocks: list[Json]) -> Iterator[Finding]:
    """Whether what Slack renders is too much: it makes blocks of the headings, rules, fences and tables in Markdown."""
    markdown = [str(block.get("text", "")) for block in blocks if block.get("type") == "markdown"]
    if sum(map(len, markdown)) > MARKDOWN_CHARACTERS and len(markdown) > 1:
        yield Finding("markdown", f"{sum(map(len, markdown))} characters in all Markdown blocks")
    rendered = [shape(text) for text in markdown]
    count = len(blocks) - len(markdown) + sum(blocks for blocks, _ in rendered)
    if markdown and count > MOST["message"]:
        yield Finding("rendered blocks", f"{count}, allowed are {MOST['message']}", "msg_blocks_too_long")
    characters = sum(counted(block_text(block)) for block in blocks)
    characters += HEADER_CHARACTERS * sum(headers for _, headers in rendered)
    if characters > COUNTED_CHARACTERS:
        yield Finding("block characters", f"{characters}, allowed are {COUNTED_CHARACTERS}", "msg_blocks_too_long")


def counted(text: str) -> int:
    """How long a text is to Slack: `&`, `<` and `>` are escaped before they are counted."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def shape(markdown: str) -> tuple[int, int]:
    """How many blocks Slack renders Markdown into, and how many of them are headers."""
    blocks = headers = 0
    before, fence = "", ""
    for line in markdown.split("\n"):
        kind, fence = _line(line, fence)
        starts = kind in {"heading", "ruler", "fence"} or (kind in {"table", "run"} and kind != before)
        blocks += starts
        headers += kind == "heading"
        before = before if kind == "blank" and before == "run" else kind
    return blocks, headers


def _line(line: str, fence: str) -> tuple[str, str]:
    """What a line is, and the fence that is open after it."""
    mark = FENCE.match(line)
    if fence:
        closes = mark is not None and mark.group(1).startswith(fence) and not line.strip().strip(fence[0])
        return "code", "" if closes else fence
    if mark is not None:
        return "fence", mark.group(1)
    if HEADING.match(line):
        return "heading", ""
    if RULER.match(line):
        return "ruler", ""
    if TABLE_LINE.match(line):
        return "table", ""
    return "run" if line.strip() else "blank", ""
