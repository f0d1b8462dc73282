"""What people do with a bot's commands, buttons, menus and modals, and what becomes of it.

People only get what Discord offers them: a command that is not registered, a button that is disabled or a text that is
too long for its field raises `NotOffered` here, and never reaches the bot.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.discord.standin import options as command_options
from tests.bots.discord.standin import payloads, permissions
from tests.bots.discord.standin.components import BUTTON, LINK, STRING_SELECT, USER_SELECT, NotOffered, find, submission
from tests.bots.discord.standin.gateway import Event
from tests.bots.discord.standin.message import LOADING, Message

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.people import User
    from tests.bots.discord.standin.server import StandInDiscord

Json = dict[str, Any]

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
CHAT_INPUT, ON_USER, ON_MESSAGE = 1, 2, 3
ACKNOWLEDGE_S, TOKEN_S = 3.0, 900.0
FILE_LIMIT_BYTES = 10 * 1024 * 1024


@dataclass(eq=False, repr=False)
class Interaction:
    """Something that a person did, and the bot's answers to it."""

    discord: StandInDiscord
    channel: Channel
    user: User
    type: int
    data: Json
    message: Message | None = None
    """The message whose button was pressed."""
    id: int = 0
    token: str = ""
    created_at: float = 0.0
    callback_type: int | None = None
    """How the bot acknowledged: 4 a message, 5 later, 6 later without a sign, 7 changed, 8 choices, 9 a modal."""
    acknowledged_after_s: float | None = None
    response: Message | None = None
    """`@original`: the first answer, or the message whose button was pressed if the bot changes that."""
    followups: list[Message] = field(default_factory=list)
    modal: Json | None = None
    choices: list[Json] | None = None

    def __repr__(self) -> str:
        return f"<Interaction {self.type} by {self.user.name} → {self.callback_type} {self.texts}>"

    @property
    def text(self) -> str:
        """What the person reads as the answer; empty while the bot is thinking."""
        return "" if self.response is None or self.response.loading else self.response.content

    @property
    def texts(self) -> list[str]:
        """Every answer that the person reads."""
        shown = [message for message in (self.response, *self.followups) if message is not None]
        return [message.content for message in shown if not message.deleted and not message.flags & LOADING]

    async def acknowledged(self) -> int:
        """Wait for the bot's acknowledgement; returns its type."""
        await self.channel.changes.until(lambda: self.callback_type is not None)
        assert self.callback_type is not None
        return self.callback_type

    async def until(self, condition: str | Callable[[], object]) -> None:
        """Wait for words to stand in an answer, or for another condition."""
        if isinstance(condition, str):
            words = condition
            await self.channel.changes.until(lambda: any(words in text for text in self.texts))
        else:
            await self.channel.changes.until(condition)

    async def answered(self) -> str:
        """Wait for the first answer, and read it."""
        await self.channel.changes.until(lambda: self.text)
        return self.text

    async def opened(self) -> Json:
        """Wait for the modal."""
        await self.channel.changes.until(lambda: self.modal is not None)
        assert self.modal is not None
        return self.modal

    async def submit(self, fields: Mapping[str, Any]) -> Interaction:
        """Fill in the modal, each field named by its custom_id or its label, and send it."""
        modal = await self.opened()
        data = {"custom_id": modal["custom_id"], "components": submission(modal["components"], fields), "resolved": {}}
        return _start(self.channel, self.user, MODAL, data, self.message)

    def payload(self) -> Json:
        """What the gateway tells."""
        guild, discord = self.channel.guild, self.discord
        reader, bot = self.user, discord.bot
        payload: Json = {
            "id": str(self.id), "application_id": str(discord.application_id), "type": self.type, "token": self.token,
            "version": 1, "data": self.data, "channel_id": str(self.channel.id), "locale": self.user.locale,
            "channel": payloads.partial_channel(self.channel, reader), "entitlements": [], "entitlement_sku_ids": [],
            "app_permissions": str(permissions.permissions_in(self.channel, bot)),
            "authorizing_integration_owners": {"0": str(guild.id) if guild else "0"}, "context": 0 if guild else 1,
            "attachment_size_limit": FILE_LIMIT_BYTES,
        }  # fmt: skip
        if self.message is not None:
            payload["message"] = payloads.message(self.message, sees_content=True)
        if guild is None:
            return payload | {"user": payloads.user(reader)}
        about_guild = {"id": str(guild.id), "locale": guild.locale, "features": []}
        payload |= {"guild_id": str(guild.id), "guild": about_guild, "guild_locale": guild.locale}
        allowed = {"permissions": str(permissions.permissions_in(self.channel, reader))}
        return payload | {"member": payloads.member(guild, reader) | allowed}

    def metadata(self) -> Json:
        """What its answers carry of it."""
        owners = {"0": str(self.channel.guild.id) if self.channel.guild else "0"}
        data: Json = {"id": str(self.id), "type": self.type, "user": payloads.user(self.user)}
        data["authorizing_integration_owners"] = owners
        if self.type == COMPONENT and self.message is not None:
            data["interacted_message_id"] = str(self.message.id)
        if self.type == MODAL:
            data["triggering_interaction_metadata"] = data | {"type": COMMAND}
        return data


def _start(channel: Channel, user: User, kind: int, data: Json, message: Message | None = None) -> Interaction:
    discord = channel.discord
    interaction = Interaction(discord, channel, user, kind, data, message)
    interaction.id, interaction.token = discord.snowflakes.next(), secrets.token_urlsafe(48)
    interaction.created_at = discord.clock.now()
    discord.interactions[interaction.token] = interaction
    discord.gateway.publish(Event("INTERACTION_CREATE", interaction.payload(), 0, channel.guild))
    return interaction


def slash(channel: Channel, user: User, name: str, given: Mapping[str, Any]) -> Interaction:
    """Use a slash command."""
    command, path = _offered(channel, user, CHAT_INPUT, name)
    chosen, resolved = command_options.chosen(channel, command, path, given)
    return _start(channel, user, COMMAND, _command_data(command) | {"options": chosen} | resolved)


def autocomplete(
    channel: Channel, user: User, name: str, focused: str, typed: str, given: Mapping[str, Any]
) -> Interaction:
    """Type into an option."""
    command, path = _offered(channel, user, CHAT_INPUT, name)
    chosen, resolved = command_options.chosen(channel, command, path, {**given, focused: typed}, focused)
    return _start(channel, user, AUTOCOMPLETE, _command_data(command) | {"options": chosen} | resolved)


def on_message(channel: Channel, user: User, name: str, message: Message) -> Interaction:
    """Use a command of a message's context menu; it carries the message's whole content."""
    command, _ = _offered(channel, user, ON_MESSAGE, name)
    target = payloads.message(message, sees_content=True)
    data = {"target_id": str(message.id), "resolved": {"messages": {str(message.id): target}}}
    return _start(channel, user, COMMAND, _command_data(command) | data)


def on_user(channel: Channel, user: User, name: str, target: User) -> Interaction:
    """Use a command of a user's context menu."""
    command, _ = _offered(channel, user, ON_USER, name)
    data = {"target_id": str(target.id), "resolved": command_options.resolved_user(channel, target)}
    return _start(channel, user, COMMAND, _command_data(command) | data)


def press(channel: Channel, user: User, message: Message, name: str) -> Interaction:
    """Press a button."""
    button = find(message.components, name, {BUTTON})
    if button.get("style") == LINK:
        raise NotOffered(f"{name!r} is a link")
    data = {"custom_id": button["custom_id"], "component_type": BUTTON, "id": button.get("id", 1)}
    return _start(channel, user, COMPONENT, data, message)


def select(channel: Channel, user: User, message: Message, name: str, values: Sequence[str]) -> Interaction:
    """Choose in a menu: of its options, or of all users (by their ids)."""
    menu = find(message.components, name, {STRING_SELECT, USER_SELECT})
    offered = {option["value"] for option in menu.get("options", ())}
    if menu["type"] == STRING_SELECT and not offered.issuperset(values):
        raise NotOffered(f"{values} in {name!r}")
    if not menu.get("min_values", 1) <= len(values) <= menu.get("max_values", 1):
        raise NotOffered(f"{len(values)} values in {name!r}")
    data = {"custom_id": menu["custom_id"], "component_type": menu["type"], "values": list(values)}
    if menu["type"] == USER_SELECT:
        users = [channel.discord.users[int(value)] for value in values]
        data["resolved"] = {"users": {str(one.id): payloads.user(one) for one in users}}
    return _start(channel, user, COMPONENT, data, message)


def _command_data(command: Json) -> Json:
    data = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return data | {"guild_id": command["guild_id"]} if "guild_id" in command else data


def _offered(channel: Channel, user: User, kind: int, name: str) -> tuple[Json, list[str]]:
    """The command that `user` finds under this name here, and the subcommands after it."""
    guild = channel.guild
    scopes = ([guild.id] if guild else []) + [None]
    registered = [one for scope in scopes for one in channel.discord.commands.get(scope, {}).values()]
    first, *path = name.split() if kind == CHAT_INPUT else [name]
    found = [one for one in registered if one["name"] == first and one["type"] == kind]
    if not found:
        raise NotOffered(f"{name!r}: registered are {sorted(one['name'] for one in registered)}")
    command = found[0]
    contexts = command.get("contexts")
    if guild is None and ((contexts is not None and 1 not in contexts) or not command.get("dm_permission", True)):
        raise NotOffered(f"{name!r} in a DM")
    if guild is not None and contexts is not None and 0 not in contexts:
        raise NotOffered(f"{name!r} in a guild")
    wanted = int(command.get("default_member_permissions") or 0)
    if guild is not None and permissions.permissions_in(channel, user) & wanted != wanted:
        raise NotOffered(f"{name!r} to {user.name}")
    return command, path
