"""The rules of components, in messages of both layouts and in modals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bots.discord.standin.bounds import Bound, Finding, outside
from tests.bots.discord.standin.components import BUTTON, LABEL, LINK, ROW, STRING_SELECT, TEXT_INPUT, USER_SELECT, walk

Json = dict[str, Any]

ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 6, 7, 8
SECTION, TEXT_DISPLAY, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER = 9, 10, 11, 12, 13, 14, 17
PREMIUM = 6

SELECTS = {STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT}
IN_LAYOUT = {ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR, CONTAINER}
IN_MODAL = {ROW, TEXT_DISPLAY, LABEL}

ROWS, LAYOUT_COMPONENTS, LAYOUT_CHARACTERS = 5, 40, 4000

ID = Bound("custom_id", 1, 100, required=True)
SELECT = (ID, Bound("placeholder", 0, 150), Bound("min_values", 0, 25), Bound("max_values", 1, 25))
BOUNDS = {
    ROW: (Bound("components", 1, 5, required=True),),
    BUTTON: (
        Bound("custom_id", 1, 100),
        Bound("label", 0, 80),
        Bound("url", 1, 512),
        Bound("style", 1, 6, required=True),
    ),
    STRING_SELECT: (
        *SELECT,
        Bound("options", 1, 25, required=True),
        Bound("options[].label", 1, 100, required=True),
        Bound("options[].value", 1, 100, required=True),
        Bound("options[].description", 0, 100),
    ),
    USER_SELECT: SELECT,
    ROLE_SELECT: SELECT,
    MENTIONABLE_SELECT: SELECT,
    CHANNEL_SELECT: SELECT,
    TEXT_INPUT: (
        ID,
        Bound("label", 0, 45),
        Bound("style", 1, 2, required=True),
        Bound("value", 0, 4000),
        Bound("placeholder", 0, 100),
        Bound("min_length", 0, 4000),
        Bound("max_length", 1, 4000),
    ),
    SECTION: (Bound("components", 1, 3, required=True),),
    TEXT_DISPLAY: (Bound("content", 1, 4000, required=True),),
    GALLERY: (Bound("items", 1, 10, required=True),),
    LABEL: (Bound("label", 1, 45, required=True), Bound("description", 0, 100)),
}

MODAL = (
    Bound("title", 1, 45, required=True),
    Bound("custom_id", 1, 100, required=True),
    Bound("components", 1, 5, required=True),
)


def in_message(components: Sequence[Json], *, layout: bool) -> Iterator[Finding]:
    """What is wrong with a message's components; `layout` is Components v2."""
    if layout:
        yield from _layout(components)
    else:
        yield from _only(components, {ROW})
        if len(components) > ROWS:
            yield Finding("component rows", f"{len(components)} rows, allowed are {ROWS}")
    yield from _each(components)


def in_modal(modal: Json) -> Iterator[Finding]:
    """What is wrong with a modal."""
    yield from outside("modal", modal, MODAL)
    components = modal.get("components") or []
    yield from _only(components, IN_MODAL)
    for row in components:
        if row["type"] == ROW and [one["type"] for one in row.get("components", ())] != [TEXT_INPUT]:
            yield Finding("modal", "a row of a modal holds one text input")
        if row["type"] == LABEL and "component" not in row:
            yield Finding("modal", "a label needs its component")
    yield from _each(components)


def _layout(components: Sequence[Json]) -> Iterator[Finding]:
    yield from _only(components, IN_LAYOUT)
    everything = list(walk(components))
    if len(everything) > LAYOUT_COMPONENTS:
        yield Finding("components v2", f"{len(everything)} components, allowed are {LAYOUT_COMPONENTS}")
    characters = sum(len(one["content"]) for one in everything if one["type"] == TEXT_DISPLAY)
    if characters > LAYOUT_CHARACTERS:
        yield Finding("components v2", f"{characters} characters, allowed are {LAYOUT_CHARACTERS}")


def _only(components: Sequence[Json], allowed: set[int]) -> Iterator[Finding]:
    for component in components:
        if component["type"] not in allowed:
            yield Finding("component types", f"type {component['type']} at the top, allowed are {sorted(allowed)}")


def _each(components: Sequence[Json]) -> Iterator[Finding]:
    everything = list(walk(components))
    for component in everything:
        yield from outside(f"component {component['type']}", component, BOUNDS.get(component["type"], ()))
        if component["type"] == ROW:
            yield from _row(component)
        if component["type"] == BUTTON:
            yield from _button(component)
    counted = Counter(one["custom_id"] for one in everything if one.get("custom_id") is not None)
    for custom_id, times in counted.items():
        if times > 1:
            yield Finding("custom_id twice", custom_id)


def _row(row: Json) -> Iterator[Finding]:
    kinds = {one["type"] for one in row.get("components", ())}
    if not kinds <= {BUTTON} and (len(row["components"]) > 1 or not kinds <= SELECTS | {TEXT_INPUT}):
        yield Finding("component rows", "a row holds up to five buttons, or one menu")


def _button(button: Json) -> Iterator[Finding]:
    style = button.get("style")
    if style == LINK and ("url" not in button or button.get("custom_id")):
        yield Finding("component 2", "a link has a URL and no custom_id")
    if style not in {LINK, PREMIUM} and not button.get("custom_id"):
        yield Finding("component 2", "custom_id is missing")
    if style != PREMIUM and not (button.get("label") or button.get("emoji")):
        yield Finding("component 2", "a button shows a label or an emoji")
