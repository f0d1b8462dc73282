"""The buttons below an answer and the form behind 👎. Their state is in their ids, so that they outlive a restart.

Knows how they look and how an id reads; what pressing one does is in `interactions`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import discord
from discord import ui

from bots.answers import label
from bots.texts import text
from core.faq.finding import Choice
from core.service import MAX_COMMENT_CHARS


class Action(StrEnum):
    """What a button or form asks for."""

    STOP = "stop"
    REGENERATE = "again"
    UP = "up"
    DOWN = "down"
    WHY = "why"
    COMMENT = "comment"
    CHOOSE = "choose"


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button or form of ours. `entry_id` is what was chosen."""

    action: Action
    turn_id: int
    entry_id: int | None = None


_ID = re.compile(r"pj:([a-z]+):(\d{1,18})(?::(\d{1,18}))?", re.ASCII)
_COMMENT_FIELD = "comment"
_MOST_LABEL_CHARS = 80


def read_id(custom_id: str) -> Pressed | None:
    """What the component asks for; None where it is none of ours."""
    match = _ID.fullmatch(custom_id)
    if match is None or match[1] not in set(Action) or (match[1] == Action.CHOOSE) != (match[3] is not None):
        return None
    return Pressed(Action(match[1]), int(match[2]), int(match[3]) if match[3] else None)


def custom_id(action: Action, turn_id: int) -> str:
    """The id of a component."""
    return f"pj:{action}:{turn_id}"


def streaming_view(turn_id: int, language: str) -> ui.View:
    """Below an answer that is being written."""
    return _view(_button(Action.STOP, turn_id, "⏹", text("button_stop", language)))


def answered_view(turn_id: int, language: str, choices: Sequence[Choice] = ()) -> ui.View:
    """Below an answer that is complete, with what may be chosen in a row of its own."""
    return _view(
        *(_choice_button(turn_id, number, choice) for number, choice in enumerate(choices, start=1)),
        _button(Action.UP, turn_id, "👍"),
        _button(Action.DOWN, turn_id, "👎"),
        _button(Action.REGENERATE, turn_id, "🔄", text("button_regenerate", language)),
        _button(Action.WHY, turn_id, None, text("button_why", language)),
    )


def comment_form(turn_id: int, language: str) -> ui.Modal:
    """The form that asks what was wrong."""
    form = ui.Modal(title=text("form_comment", language), custom_id=custom_id(Action.COMMENT, turn_id), timeout=None)
    field: ui.TextInput[ui.Modal] = ui.TextInput(
        custom_id=_COMMENT_FIELD,
        style=discord.TextStyle.paragraph,
        required=False,
        max_length=MAX_COMMENT_CHARS,
        placeholder=text("form_comment_placeholder", language),
    )
    form.add_item(ui.Label(text=text("form_comment_label", language), component=field))
    form.stop()  # answered by its id: discord.py need not keep it
    return form


def _button(action: Action, turn_id: int, emoji: str | None, words: str | None = None) -> ui.Button[ui.View]:
    style = discord.ButtonStyle.secondary
    return ui.Button(style=style, emoji=emoji, label=words, custom_id=custom_id(action, turn_id), row=1)


def _choice_button(turn_id: int, number: int, choice: Choice) -> ui.Button[ui.View]:
    return ui.Button(
        style=discord.ButtonStyle.primary,
        label=label(number, choice, _MOST_LABEL_CHARS),
        custom_id=f"{custom_id(Action.CHOOSE, turn_id)}:{choice.entry_id}",
        row=0,
    )


def _view(*buttons: ui.Button[ui.View]) -> ui.View:
    view = ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()  # answered by its ids: discord.py would keep every view it ever sent
    return view
