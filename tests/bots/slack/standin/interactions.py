"""What people do with commands, buttons, menus, shortcuts and modals, and what becomes of it.

People only get what Slack offers them: a command that is not there, a button that is not in the message or a field that is
not in the modal raises `NotOffered` here, and never reaches the bot.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import payloads
from tests.bots.slack.standin.deliveries import COMMAND, INTERACTIVE, Delivery
from tests.bots.slack.standin.message import Message, NotOffered, find_action
from tests.bots.slack.standin.modals import View, findings, show

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]


@dataclass(eq=False)
class Interaction:
    """Something that a person did, and the bot's answers to it."""

    team: Team
    user: User
    kind: str
    channel: Channel | None = None
    view: View | None = None
    """The view in which it was done."""
    message: Message | None = None
    """The message at which it was done."""
    trigger_id: str = ""
    trigger_used: bool = False
    response_url: str = ""
    response_uses: int = 0
    created_at: float = 0.0
    delivery: Delivery | None = None
    answers: list[Message] = field(default_factory=list)
    """What the bot said by the acknowledgement or the response_url."""
    views: list[View] = field(default_factory=list)
    """The modals that it opened."""

    @property
    def texts(self) -> list[str]:
        """Every answer that can be read."""
        return [message.read for message in self.answers if not message.deleted]

    @property
    def response(self) -> Json | None:
        """What the acknowledgement carried."""
        return None if self.delivery is None else self.delivery.response

    async def acknowledged(self) -> bool:
        """Wait until Slack knows; False is what people see as "failed with dispatch_failed"."""
        await self.until(lambda: self.delivery is not None and self.delivery.over)
        assert self.delivery is not None
        return self.delivery.acknowledged

    async def opened(self) -> View:
        """Wait for the modal."""
        await self.until(lambda: self.views)
        return self.views[-1]

    async def answered(self) -> str:
        """Wait for the first answer, and read it."""
        await self.until(lambda: self.texts)
        return self.texts[0]

    async def until(self, condition: str | Callable[[], object]) -> None:
        """Wait for words to stand in an answer, or for another condition."""
        if isinstance(condition, str):
            words = condition
            await self.team.slack.changes.until(lambda: any(words in text for text in self.texts))
        else:
            await self.team.slack.changes.until(condition)

    def happened(self) -> None:
        """Wake whoever waits."""
        self.team.slack.changes.happened()


def start(
    team: Team, user: User, kind: str, channel: Channel | None = None, *, view: View | None = None,
    message: Message | None = None,
) -> Interaction:  # fmt: skip
    """Something is done, now."""
    slack = team.slack
    interaction = Interaction(team, user, kind, channel, view, message, created_at=slack.clock.now())
    interaction.trigger_id = f"{len(slack.triggers) + 1}.{secrets.randbelow(10**10)}.{secrets.token_hex(16)}"
    slack.triggers[interaction.trigger_id] = interaction
    if channel is not None:
        key = secrets.token_hex(12)
        interaction.response_url = f"{slack.url}/actions/{team.id}/{key}"
        slack.responses.remember(f"{team.id}/{key}", interaction)
    return interaction


def slash(team: Team, user: User, channel: Channel, command: str, text: str) -> Interaction:
    """Use a slash command."""
    slack = team.slack
    if slack.commands is not None and command not in slack.commands:
        raise NotOffered(f"{command!r}: there are {sorted(slack.commands)}")
    interaction = start(team, user, "slash_command", channel)
    payload = {
        "token": slack.verification_token, "team_id": team.id, "team_domain": team.domain, "channel_id": channel.id,
        "channel_name": "directmessage" if channel.is_dm else channel.name, "user_id": user.id, "user_name": user.handle,
        "command": command, "text": text, "api_app_id": slack.app_id, "is_enterprise_install": "false",
        "response_url": interaction.response_url, "trigger_id": interaction.trigger_id,
    } | ({"enterprise_id": team.enterprise_id, "enterprise_name": team.name} if team.enterprise_id else {})  # fmt: skip
    _send(interaction, COMMAND, command, payload)
    return interaction


def press(team: Team, user: User, place: Message | View, name: str, value: str | None = None) -> Interaction:
    """Press a button or choose in a menu, named by its action_id or label; `value` says which of several."""
    block, element = find_action(place.blocks, name)
    action = {"block_id": block["block_id"], "action_ts": team.slack.timestamps.next(), "type": element["type"]}
    action |= {"action_id": element.get("action_id", "")} | _chosen(element, value)
    if isinstance(place, Message):
        interaction = start(team, user, "block_actions", place.channel, message=place)
    else:
        interaction = start(team, user, "block_actions", view=place)
    payload = _base(interaction) | _where(interaction) | {"actions": [action], "state": {"values": {}}}
    _send(interaction, INTERACTIVE, "block_actions", payload)
    return interaction


def _chosen(element: Json, value: str | None) -> Json:
    """What an action says of the choice."""
    kind = element["type"]
    if kind == "feedback_buttons":
        buttons = [element["positive_button"], element["negative_button"]]
        found = [one for one in buttons if value in {one["value"], one["text"]["text"]}]
        if not found:
            raise NotOffered(f"{value!r}: there are {[one['value'] for one in buttons]}")
        return {"value": found[0]["value"], "text": found[0]["text"]}
    if kind in {"button", "icon_button"}:
        return {key: element[key] for key in ("text", "value", "style", "url") if key in element}
    if "options" in element:
        found = [one for one in element["options"] if value in {one["value"], one["text"]["text"]}]
        if not found:
            raise NotOffered(f"{value!r}: there are {[one['value'] for one in element['options']]}")
        several = kind in {"multi_static_select", "checkboxes"}
        return {"selected_options": found} if several else {"selected_option": found[0]}
    return {f"selected_{kind.removesuffix('s_select')}": value}


def shortcut(team: Team, user: User, message: Message, callback_id: str) -> Interaction:
    """Use a message's shortcut."""
    _offered(team, callback_id)
    interaction = start(team, user, "message_action", message.channel, message=message)
    payload = _base(interaction) | {
        "callback_id": callback_id, "message_ts": message.ts, "message": payloads.message(message),
        "channel": _channel(message.channel), "response_url": interaction.response_url,
        "action_ts": team.slack.timestamps.next(),
    }  # fmt: skip
    _send(interaction, INTERACTIVE, "message_action", payload)
    return interaction


def global_shortcut(team: Team, user: User, callback_id: str) -> Interaction:
    """Use a shortcut from the search or the composer."""
    _offered(team, callback_id)
    interaction = start(team, user, "shortcut")
    payload = _base(interaction) | {"callback_id": callback_id, "action_ts": team.slack.timestamps.next()}
    _send(interaction, INTERACTIVE, "shortcut", payload)
    return interaction


def submit(team: Team, user: User, view: View, values: Mapping[str, Any]) -> Interaction:
    """Fill in a modal, each field named by its block_id, action_id or label, and send it."""
    state = _state(view, values)
    interaction = start(team, user, "view_submission", view=view)
    payload = _base(interaction) | {"view": view.payload(state), "response_urls": []}
    _send(interaction, INTERACTIVE, "view_submission", payload)
    return interaction


def close(team: Team, user: User, view: View) -> Interaction:
    """Close a modal without sending it; the bot is told if it asked for that."""
    view.closed = True
    interaction = start(team, user, "view_closed", view=view)
    if view.document.get("notify_on_close"):
        payload = _base(interaction) | {"view": view.payload(), "is_cleared": False}
        _send(interaction, INTERACTIVE, "view_closed", payload)
    return interaction


def _state(view: View, values: Mapping[str, Any]) -> Json:
    """What stands in the fields of a modal."""
    state, unknown = {}, set(values)
    for block in view.blocks:
        element = block.get("element") if block.get("type") == "input" else None
        if element is None:
            continue
        names = {block["block_id"], element.get("action_id"), (block.get("label") or {}).get("text")}
        given = [values[name] for name in names if name in values]
        unknown -= {name for name in names if name is not None}
        if not given and not block.get("optional") and "initial_value" not in element:
            raise NotOffered(f"{block['label']['text']!r} must be filled in")
        state[block["block_id"]] = {element.get("action_id", ""): _filled(element, given)}
    if unknown:
        raise NotOffered(f"no fields {sorted(unknown)}")
    return state


def _filled(element: Json, given: list[Any]) -> Json:
    if element["type"] in {"plain_text_input", "number_input", "email_text_input", "url_text_input"}:
        value = given[0] if given else element.get("initial_value")
        if value is not None and not element.get("min_length", 0) <= len(value) <= element.get("max_length", 3000):
            raise NotOffered(f"{len(value)} characters in {element.get('action_id')!r}")
        return {"type": element["type"], "value": value}
    if not given:
        initial = element.get("initial_option"), element.get("initial_options")
        return {"type": element["type"], "selected_option": initial[0], "selected_options": initial[1] or []}
    return {"type": element["type"]} | _chosen(element, given[0])


def _send(interaction: Interaction, kind: str, name: str, payload: Json) -> None:
    team = interaction.team
    delivery = interaction.delivery = team.slack.deliveries.send(kind, name, team, payload)
    delivery.when_acknowledged = lambda response: _take(interaction, response)


def _take(interaction: Interaction, response: Json | None) -> None:
    """Do what the acknowledgement says."""
    if interaction.kind == "slash_command" and response:
        interaction.team.slack.responses.answer(interaction, response)
    if interaction.kind == "view_submission" and interaction.view is not None:
        _take_submission(interaction, interaction.view, response or {})
    interaction.happened()


def _take_submission(interaction: Interaction, view: View, response: Json) -> None:
    slack, action = interaction.team.slack, response.get("response_action")
    if action in {"update", "push"}:
        for finding in findings(response["view"]):
            slack.violate(finding.rule, finding.detail)
    match action:
        case "errors":
            unknown = set(response["errors"]) - {block["block_id"] for block in view.blocks}
            if unknown:
                slack.violate("view", f"errors for no block: {sorted(unknown)}")
        case "update":
            view.change(response["view"], slack.timestamps.next())
            interaction.views.append(view)
        case "push":
            show(interaction, response["view"], view)
        case _:
            view.closed = True


def _base(interaction: Interaction) -> Json:
    team, user, slack = interaction.team, interaction.user, interaction.team.slack
    return {
        "type": interaction.kind, "token": slack.verification_token, "api_app_id": slack.app_id,
        "team": {"id": team.id, "domain": team.domain}
        | ({"enterprise_id": team.enterprise_id, "enterprise_name": team.name} if team.enterprise_id else {}),
        "user": {"id": user.id, "username": user.handle, "name": user.handle, "team_id": team.id},
        "enterprise": {"id": team.enterprise_id, "name": team.name} if team.enterprise_id else None,
        "is_enterprise_install": False, "trigger_id": interaction.trigger_id,
    }  # fmt: skip


def _where(interaction: Interaction) -> Json:
    message, view = interaction.message, interaction.view
    if message is None:
        assert view is not None
        return {"container": {"type": "view", "view_id": view.id}, "view": view.payload()}
    container = {
        "type": "message", "message_ts": message.ts, "channel_id": message.channel.id, "is_ephemeral": message.ephemeral,
    } | ({"thread_ts": message.thread_ts} if message.thread_ts else {})  # fmt: skip
    return {
        "container": container, "channel": _channel(message.channel), "response_url": interaction.response_url,
        "message": payloads.message(message),
    }  # fmt: skip


def _channel(channel: Channel) -> Json:
    return {"id": channel.id, "name": "directmessage" if channel.is_dm else channel.name}


def _offered(team: Team, callback_id: str) -> None:
    shortcuts = team.slack.shortcuts
    if shortcuts is not None and callback_id not in shortcuts:
        raise NotOffered(f"{callback_id!r}: there are {sorted(shortcuts)}")
