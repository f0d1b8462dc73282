"""Modals and App Homes: the views, and the Web API's methods that show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import block_rules
from tests.bots.slack.standin.bounds import Bound, Finding, outside
from tests.bots.slack.standin.calls import ApiError, Call, serves
from tests.bots.slack.standin.message import block_text

if TYPE_CHECKING:
    from tests.bots.slack.standin.interactions import Interaction
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

TRIGGER_S, VIEW_BYTES, STACK = 3.0, 250_000, 3

COMMON = (Bound("blocks", 1, 10_000, required=True), Bound("private_metadata", 0, 3000), Bound("callback_id", 1, 255))
BOUNDS = {
    "modal": (
        Bound("title.text", 1, 24, required=True),
        Bound("submit.text", 1, 24),
        Bound("close.text", 1, 24),
        *COMMON,
    ),
    "home": COMMON,
}


@dataclass(eq=False)
class View:
    """A modal, or somebody's App Home."""

    id: str
    team: Team
    user: User
    document: Json
    hash: str
    below: View | None = None
    """The modal under it, if it was pushed."""
    closed: bool = False
    texts: list[str] = field(default_factory=list)
    """Everything that it showed, in order."""

    @property
    def blocks(self) -> list[Json]:
        """What it consists of."""
        return list(self.document["blocks"])

    @property
    def title(self) -> str:
        """What stands on top of a modal."""
        return str((self.document.get("title") or {}).get("text", ""))

    @property
    def read(self) -> str:
        """What people read."""
        return "\n".join(text for block in self.blocks if (text := block_text(block)))

    def change(self, document: Json, stamp: str) -> None:
        """Show something else."""
        blocks = block_rules.identified(document["blocks"], self.team.slack.ids)
        self.document, self.hash = document | {"blocks": blocks}, stamp
        self.texts.append(self.read)

    def payload(self, state: Json | None = None) -> Json:
        """As the API and interactions show it."""
        root = self
        while root.below is not None:
            root = root.below
        base: Json = {
            "private_metadata": "", "callback_id": "", "external_id": "", "clear_on_close": False,
            "notify_on_close": False, "title": None, "close": None, "submit": None,
        }  # fmt: skip
        return base | self.document | {
            "id": self.id, "team_id": self.team.id, "state": {"values": state or {}}, "hash": self.hash,
            "root_view_id": root.id, "previous_view_id": self.below.id if self.below else None,
            "app_id": self.team.slack.app_id, "app_installed_team_id": self.team.id, "bot_id": self.team.bot_id,
        }  # fmt: skip


def findings(document: Json) -> Iterator[Finding]:
    """Everything that is wrong with a view."""
    kind, code = document.get("type"), "invalid_arguments"
    if kind not in BOUNDS:
        yield Finding("view", f"type {kind!r}", code)
        return
    yield from outside("view", document, BOUNDS[kind], code)
    blocks = document.get("blocks") or []
    for finding in block_rules.findings(blocks, kind):
        yield finding._replace(code=code)
    if kind == "home" and (document.get("submit") or document.get("close")):
        yield Finding("view", "an App Home has no submit and no close", code)
    if kind == "modal" and not document.get("submit") and any(one.get("type") == "input" for one in blocks):
        yield Finding("view", "a modal with inputs needs submit", code)
    for name in ("title", "submit", "close"):
        if document.get(name) and document[name].get("type") != "plain_text":
            yield Finding("view", f"{name} must be plain text", code)
    if len(json.dumps(document)) > VIEW_BYTES:
        yield Finding("view", f"more than {VIEW_BYTES} bytes", "view_too_large")


def _document(call: Call) -> Json:
    document = call.json("view")
    if not isinstance(document, dict):
        raise ApiError("invalid_arguments", "view is no object")
    call.enforce(findings(document))
    return document


def _trigger(call: Call) -> Interaction:
    """What somebody did a moment ago; each lets one view be shown."""
    interaction = call.slack.triggers.get(call.need("trigger_id"))
    if interaction is None or interaction.team is not call.team:
        raise ApiError("invalid_trigger_id")
    if call.slack.clock.now() - interaction.created_at > TRIGGER_S:
        call.slack.violate("trigger", "used after more than 3 seconds", call.request)
        raise ApiError("expired_trigger_id")
    if interaction.trigger_used:
        call.slack.violate("trigger", "used twice", call.request)
        raise ApiError("exchanged_trigger_id")
    interaction.trigger_used = True
    return interaction


def show(interaction: Interaction, document: Json, below: View | None = None) -> View:
    """Open a modal over another one, or over nothing."""
    team, slack = interaction.team, interaction.team.slack
    view = View(slack.ids.next("V"), team, interaction.user, {}, "", below)
    view.change(document, slack.timestamps.next())
    team.views[view.id] = view
    interaction.views.append(view)
    interaction.happened()
    return view


@serves("views.open", tier=4)
def open_view(call: Call) -> Json:
    """Open a modal."""
    document = _document(call)
    return {"view": show(_trigger(call), document).payload()}


@serves("views.push", tier=4)
def push(call: Call) -> Json:
    """Open a modal over the one that somebody is in."""
    document, interaction = _document(call), _trigger(call)
    below = interaction.view
    if below is None:
        raise ApiError("invalid_trigger_id")
    if _depth(below) >= STACK:
        raise ApiError("push_limit_reached")
    return {"view": show(interaction, document, below).payload()}


def _depth(view: View) -> int:
    return 1 if view.below is None else 1 + _depth(view.below)


@serves("views.update", tier=4)
def update(call: Call) -> Json:
    """Show something else in a modal or an App Home."""
    document, view = _document(call), _named(call)
    if call.text("hash") not in {None, view.hash}:
        raise ApiError("hash_conflict")
    view.change(document, call.slack.timestamps.next())
    return {"view": view.payload()}


def _named(call: Call) -> View:
    external_id = call.text("external_id")
    if external_id is not None:
        found = [one for one in call.team.views.values() if one.document.get("external_id") == external_id]
    else:
        found = [one for one in [call.team.views.get(call.need("view_id"))] if one is not None]
    if not found or found[0].closed:
        raise ApiError("not_found")
    return found[0]


@serves("views.publish", tier=4)
def publish(call: Call) -> Json:
    """Fill somebody's App Home."""
    document, user = _document(call), call.user("user_id")
    if document["type"] != "home":
        raise ApiError("invalid_arguments", "an App Home has type home")
    view = call.team.homes.get(user.id)
    if view is None:
        view = call.team.homes[user.id] = View(call.slack.ids.next("V"), call.team, user, {}, "")
        call.team.views[view.id] = view
    elif call.text("hash") not in {None, view.hash}:
        raise ApiError("hash_conflict")
    view.change(document, call.slack.timestamps.next())
    return {"view": view.payload()}
