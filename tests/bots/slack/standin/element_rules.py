"""The rules of block elements and of the objects in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bots.slack.standin.bounds import Bound, Finding, outside

Json = dict[str, Any]

ACTION_ID, PLACEHOLDER = Bound("action_id", 1, 255), Bound("placeholder.text", 1, 150)
CONFIRM = (
    Bound("confirm.title.text", 1, 100),
    Bound("confirm.text.text", 1, 300),
    Bound("confirm.confirm.text", 1, 30),
    Bound("confirm.deny.text", 1, 30),
)
OPTION = (
    Bound("options[].text.text", 1, 75, required=True),
    Bound("options[].value", 1, 150, required=True),
    Bound("options[].description.text", 1, 75),
)
SELECT = (Bound("options", 1, 100), *OPTION, Bound("option_groups", 1, 100), PLACEHOLDER)
FEEDBACK = (Bound("{}.text.text", 1, 75, required=True), Bound("{}.value", 1, 2000, required=True))

BOUNDS: dict[str, tuple[Bound, ...]] = {
    "button": (
        Bound("text.text", 1, 75, required=True),
        Bound("value", 1, 2000),
        Bound("url", 1, 3000),
        Bound("accessibility_label", 1, 75),
    ),
    "icon_button": (
        Bound("icon", 1, 75, required=True),
        Bound("text.text", 1, 75, required=True),
        Bound("value", 1, 2000),
    ),
    "feedback_buttons": tuple(
        Bound(bound.path.format(name), bound.low, bound.high, bound.required)
        for name in ("positive_button", "negative_button")
        for bound in FEEDBACK
    ),
    "static_select": SELECT,
    "multi_static_select": SELECT,
    "external_select": (PLACEHOLDER,),
    "users_select": (PLACEHOLDER,),
    "multi_users_select": (PLACEHOLDER,),
    "conversations_select": (PLACEHOLDER,),
    "multi_conversations_select": (PLACEHOLDER,),
    "channels_select": (PLACEHOLDER,),
    "multi_channels_select": (PLACEHOLDER,),
    "radio_buttons": (Bound("options", 1, 10, required=True), *OPTION),
    "checkboxes": (Bound("options", 1, 10, required=True), *OPTION),
    "overflow": (Bound("options", 1, 5, required=True), *OPTION),
    "datepicker": (PLACEHOLDER,),
    "timepicker": (PLACEHOLDER,),
    "plain_text_input": (
        PLACEHOLDER,
        Bound("min_length", 0, 3000),
        Bound("max_length", 1, 3000),
        Bound("initial_value", 0, 3000),
    ),
    "rich_text_input": (PLACEHOLDER,),
    "email_text_input": (PLACEHOLDER,),
    "url_text_input": (PLACEHOLDER,),
    "number_input": (PLACEHOLDER,),
    "file_input": (Bound("max_files", 1, 10),),
    "image": (Bound("alt_text", 1, 2000, required=True), Bound("image_url", 1, 3000)),
}
INTERACTIVE = {
    "button", "static_select", "multi_static_select", "external_select", "users_select", "multi_users_select",
    "conversations_select", "multi_conversations_select", "channels_select", "multi_channels_select", "radio_buttons",
    "checkboxes", "overflow", "datepicker", "timepicker",
}  # fmt: skip
OTHER = {"mrkdwn", "plain_text", "rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"}
STYLES = {None, "primary", "danger"}
ICONS = {"trash"}


def findings(element: Json) -> Iterator[Finding]:
    """What is wrong with an element."""
    kind = element.get("type", "")
    if kind in OTHER:
        return
    if kind not in BOUNDS:
        yield Finding("element type", f"unsupported type: {kind!r}")
        return
    yield from outside(kind, element, (ACTION_ID, *CONFIRM, *BOUNDS[kind]))
    if kind == "button" and element.get("style") not in STYLES:
        yield Finding(kind, f"style {element.get('style')!r}")
    if kind == "icon_button" and element.get("icon") not in ICONS:
        yield Finding(kind, f"icon {element.get('icon')!r}")
    if (
        kind in {"static_select", "multi_static_select"}
        and not element.get("options")
        and not element.get("option_groups")
    ):
        yield Finding(kind, "options are missing")
    yield from text_objects(kind, element)


PLAIN = {
    "header": ("text",),
    "button": ("text",),
    "icon_button": ("text",),
    "input": ("label", "hint"),
    "image": ("title",),
}


def text_objects(kind: str, owner: Json) -> Iterator[Finding]:
    """Whether the texts of a block or an element are objects of the kind that stands there."""
    for name in ("text", "label", "hint", "title", "placeholder"):
        value = owner.get(name)
        if kind in {"markdown", "plan", "task_card"} or value is None:
            continue
        if not isinstance(value, dict) or value.get("type") not in {"plain_text", "mrkdwn"}:
            yield Finding(kind, f"{name} is no text object: {value!r}")
        elif value["type"] == "mrkdwn" and (name == "placeholder" or name in PLAIN.get(kind, ())):
            yield Finding(kind, f"{name} must be plain text")
