"""The buttons below an answer and the form behind 👎. Their state is in their values, so that they outlive a restart.

Knows how they look; what pressing one does is in `interactions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from bots.answers import label
from bots.texts import text
from core.faq.finding import Choice
from core.service import MAX_COMMENT_CHARS

Json = dict[str, Any]


class Action(StrEnum):
    """What a button or form asks for; the value is its action_id or callback_id."""

    STOP = "pajama_stop"
    REGENERATE = "pajama_again"
    RATE = "pajama_rate"
    WHY = "pajama_why"
    COMMENT = "pajama_comment"
    CHOOSE = "pajama_choose"


UP, DOWN = "up", "down"
COMMENT_BLOCK, COMMENT_FIELD = "comment", "comment"
_MOST_MODAL_CHARS, _MOST_LABEL_CHARS = 3000, 75


def streaming_blocks(turn_id: int, language: str) -> list[Json]:
    """Below an answer that is being made."""
    return [{"type": "actions", "elements": [_button(Action.STOP, turn_id, text("button_stop", language))]}]


def answered_blocks(turn_id: int, language: str, choices: Sequence[Choice] = ()) -> list[Json]:
    """Below an answer that is complete, after what may be chosen."""
    feedback = {
        "type": "feedback_buttons",
        "action_id": Action.RATE.value,
        "positive_button": {"text": _plain("👍"), "value": f"{UP}:{turn_id}"},
        "negative_button": {"text": _plain("👎"), "value": f"{DOWN}:{turn_id}"},
    }
    again = _button(Action.REGENERATE, turn_id, text("button_regenerate", language))
    why = _button(Action.WHY, turn_id, text("button_why", language))
    offered = [_choice_button(turn_id, number, choice) for number, choice in enumerate(choices, start=1)]
    return [
        *([{"type": "actions", "elements": offered}] if offered else []),
        {"type": "context_actions", "elements": [feedback]},
        {"type": "actions", "elements": [again, why]},
    ]


def comment_form(turn_id: int, language: str) -> Json:
    """The form that asks what was wrong."""
    return {
        "type": "modal",
        "callback_id": Action.COMMENT.value,
        "private_metadata": str(turn_id),
        "title": _plain(text("form_comment", language)[:24]),
        "submit": _plain(text("form_send", language)[:24]),
        "blocks": [
            {
                "type": "input",
                "block_id": COMMENT_BLOCK,
                "optional": True,
                "label": _plain(text("form_comment_label", language)),
                "element": {
                    "type": "plain_text_input",
                    "action_id": COMMENT_FIELD,
                    "multiline": True,
                    "max_length": min(MAX_COMMENT_CHARS, _MOST_MODAL_CHARS),
                    "placeholder": _plain(text("form_comment_placeholder", language)[:150]),
                },
            }
        ],
    }


def action_of(action_id: str) -> Action:
    """What a component asks for; a choice's action_id ends in its number."""
    return Action(action_id.rstrip("_0123456789"))


def turn_of(value: str) -> int | None:
    """The Turn that a button's value names."""
    digits = value.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def entry_of(value: str) -> int | None:
    """The entry that a choice's value names before its Turn."""
    return turn_of(value.partition(":")[0])


def _choice_button(turn_id: int, number: int, choice: Choice) -> Json:
    """One of several in a block, in which an action_id stands once."""
    words = label(number, choice, _MOST_LABEL_CHARS)
    return {
        "type": "button",
        "action_id": f"{Action.CHOOSE.value}_{number}",
        "text": _plain(words),
        "value": f"{choice.entry_id}:{turn_id}",
    }


def _button(action: Action, turn_id: int, label: str) -> Json:
    return {"type": "button", "action_id": action.value, "text": _plain(label), "value": str(turn_id)}


def _plain(words: str) -> Json:
    return {"type": "plain_text", "text": words, "emoji": True}
