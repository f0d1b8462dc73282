"""The REST routes with which a bot answers interactions."""

from __future__ import annotations

from typing import Any

from tests.bots.discord.standin import composing, payloads, routes
from tests.bots.discord.standin.calls import ApiError, Call, serves, unknown
from tests.bots.discord.standin.interactions import (
    ACKNOWLEDGE_S,
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL,
    ON_MESSAGE,
    ON_USER,
    TOKEN_S,
    Interaction,
)
from tests.bots.discord.standin.message import (
    CHAT_INPUT_COMMAND,
    CONTEXT_MENU_COMMAND,
    DEFAULT,
    EPHEMERAL,
    LOADING,
    Message,
)

Json = dict[str, Any]

MESSAGE, LATER, LATER_SILENTLY, CHANGE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
ALLOWED_CALLBACKS = {
    COMMAND: {MESSAGE, LATER, SHOW_MODAL},
    COMPONENT: {MESSAGE, LATER, LATER_SILENTLY, CHANGE, SHOW_MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL: {MESSAGE, LATER, LATER_SILENTLY, CHANGE},
}


@serves(routes.CALLBACK)
def acknowledge(call: Call) -> Json | None:
    """The first answer, within 3 seconds and only once."""
    interaction = _unacknowledged(call)
    kind, data = call.json["type"], call.json.get("data") or {}
    if kind not in ALLOWED_CALLBACKS[interaction.type]:
        call.discord.violate("interaction callback", f"type {kind} to an interaction {interaction.type}", call.request)
        raise ApiError(400, 50035, "Invalid Form Body")
    _answer(call, interaction, kind, data)
    interaction.callback_type = kind
    interaction.acknowledged_after_s = call.discord.clock.now() - interaction.created_at
    interaction.channel.changes.happened()
    return _receipt(interaction, kind) if call.query.get("with_response", "") in {"1", "true"} else None


def _unacknowledged(call: Call) -> Interaction:
    interaction = call.discord.interactions.get(call.parameter("interaction_token"))
    if interaction is None or interaction.id != call.number("interaction_id"):
        call.discord.violate("unknown interaction", call.request.path, call.request)
        raise unknown("interaction", 10062)
    if interaction.callback_type is not None:
        call.discord.violate("acknowledged twice", call.request.path, call.request)
        raise ApiError(400, 40060, "Interaction has already been acknowledged.")
    waited_s = call.discord.clock.now() - interaction.created_at
    if waited_s > ACKNOWLEDGE_S:
        call.discord.violate("acknowledged late", f"after {waited_s:.1f} s", call.request)
        raise unknown("interaction", 10062)
    return interaction


def _answer(call: Call, interaction: Interaction, kind: int, data: Json) -> None:
    if kind in {MESSAGE, LATER}:
        message = _new_message(interaction, data)
        if kind == MESSAGE:
            composing.write(call, message, data)
        else:
            message.flags |= LOADING
        interaction.response = message
        interaction.channel.publish(message)
    elif kind == CHOICES:
        interaction.choices = data["choices"]
    elif kind == SHOW_MODAL:
        interaction.modal = data
    else:
        _change(call, interaction, data if kind == CHANGE else None)


def _change(call: Call, interaction: Interaction, data: Json | None) -> None:
    """The message with the component is the answer, changed now (`data`) or later."""
    if interaction.message is None:
        raise ApiError(400, 50035, "Invalid Form Body: there is no message to change")
    if data is not None:
        composing.write(call, interaction.message, data)
        interaction.channel.publish_edit(interaction.message)
    interaction.response = interaction.message


def _new_message(interaction: Interaction, payload: Json) -> Message:
    kind = DEFAULT
    if interaction.type == COMMAND:
        in_menu = interaction.data["type"] in {ON_USER, ON_MESSAGE}
        kind = CONTEXT_MENU_COMMAND if in_menu else CHAT_INPUT_COMMAND
    message = interaction.channel.new_message(interaction.discord.bot, "", kind)
    message.revisions.clear()
    message.interaction = interaction.metadata()
    if interaction.type == COMPONENT and interaction.message is not None:
        interaction.channel.answer(message, interaction.message, ping=False)
    if composing.ephemeral(payload):
        message.flags |= EPHEMERAL
        message.shown_to = interaction.user
    return message


def _receipt(interaction: Interaction, kind: int) -> Json:
    about: Json = {"id": str(interaction.id), "type": interaction.type}
    resource: Json = {"type": kind}
    message = interaction.response
    if message is not None:
        about |= {
            "response_message_id": str(message.id), "response_message_loading": message.loading,
            "response_message_ephemeral": message.ephemeral,
        }  # fmt: skip
        if kind in {MESSAGE, CHANGE}:
            resource["message"] = payloads.message(message, sees_content=True)
    return {"interaction": about, "resource": resource}


def _interaction(call: Call) -> Interaction:
    """The interaction whose token is in the path, if it was acknowledged and is not 15 minutes old."""
    interaction = call.discord.interactions.get(call.parameter("webhook_token"))
    if interaction is None or call.number("webhook_id") != call.discord.application_id:
        raise unknown("Webhook", 10015)
    if call.discord.clock.now() - interaction.created_at > TOKEN_S:
        raise ApiError(401, 50027, "Invalid Webhook Token")
    if interaction.callback_type is None:
        raise unknown("Webhook", 10015)
    return interaction


@serves(routes.FOLLOWUP)
def follow_up(call: Call) -> Json:
    """A further message; the first one after a deferral takes the place of "… is thinking"."""
    interaction = _interaction(call)
    if interaction.response is not None and interaction.response.loading:
        return _edit(call, interaction.response)
    message = _new_message(interaction, call.json)
    composing.write(call, message, call.json)
    interaction.followups.append(message)
    interaction.channel.publish(message)
    return payloads.message(message, sees_content=True)


def _original(call: Call) -> Message:
    message = _interaction(call).response
    if message is None or message.deleted:
        raise unknown("Message", 10008)
    return message


def _followup(call: Call) -> Message:
    interaction, wanted = _interaction(call), call.number("message_id")
    for message in (interaction.response, *interaction.followups):
        if message is not None and message.id == wanted and not message.deleted:
            return message
    raise unknown("Message", 10008)


def _edit(call: Call, message: Message) -> Json:
    composing.write(call, message, call.json)
    message.channel.publish_edit(message)
    return payloads.message(message, sees_content=True)


@serves(routes.ORIGINAL)
def get_original(call: Call) -> Json:
    """The first answer."""
    return payloads.message(_original(call), sees_content=True)


@serves(routes.EDIT_ORIGINAL)
def edit_original(call: Call) -> Json:
    """Change the first answer, which a deferral announced."""
    return _edit(call, _original(call))


@serves(routes.DELETE_ORIGINAL)
def delete_original(call: Call) -> None:
    """Delete the first answer."""
    message = _original(call)
    message.channel.take_away(message)


@serves(routes.FOLLOWUP_MESSAGE)
def get_followup(call: Call) -> Json:
    """A further answer."""
    return payloads.message(_followup(call), sees_content=True)


@serves(routes.EDIT_FOLLOWUP)
def edit_followup(call: Call) -> Json:
    """Change a further answer."""
    return _edit(call, _followup(call))


@serves(routes.DELETE_FOLLOWUP)
def delete_followup(call: Call) -> None:
    """Delete a further answer."""
    message = _followup(call)
    message.channel.take_away(message)
