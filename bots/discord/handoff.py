"""Hand-offs on Discord: a message in staff's channel with buttons, a thread below it, and both sides' words.

Knows the calls and ids: staff's thread has the id of the message it stands below; where there can be none, staff reply to
that message. Only who sees the channel sees the buttons, and is believed there. What is said is in `bots.handoff`.
"""

from __future__ import annotations

import re
from typing import Any

import discord
import structlog
from discord import ui

from bots import handoff
from bots.discord.inbound import person_of
from bots.discord.places import PLATFORM, channel_of, workspace_of
from bots.discord.replying import as_reply
from bots.discord.responding import Responder
from bots.discord.sink import MAX_CHARS
from bots.discord.speaking import files_of
from bots.discord.wire import Refused, surely
from bots.handoff import Button, Post
from bots.rooms import Rooms
from bots.texts import text
from core.errors import DeliveryFailed, HandoffNotClaimed, NotAllowed, NotFound
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Side, Staff

log = structlog.get_logger(__name__)

NOBODY = discord.AllowedMentions.none()
_ID = re.compile(r"pjh:([a-z]+):(\d{1,18})", re.ASCII)
_THREAD_CHARS = 100
_THERE_ALREADY = 160004
_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE, _NO_ACCESS, _NO_PERMISSION = 10003, 10008, 50001, 50013
_NO_THREAD = frozenset({_UNKNOWN_CHANNEL, _NO_ACCESS, _NO_PERMISSION})


class HandoffRooms:
    """A RelaySink, and what staff do there. One per client."""

    max_chars = MAX_CHARS

    def __init__(self, client: discord.Client, service: Service, rooms: Rooms) -> None:
        self._client, self._service, self._rooms = client, service, rooms

    # What is brought

    async def link(self, view: HandoffView) -> str:
        """Discord's address of the question, or of its channel."""
        channel, question = channel_of(view.place), view.target.get("reply_to")
        return f"https://discord.com/channels/{view.place.workspace}/{channel}{f'/{question}' if question else ''}"

    async def send(self, view: HandoffView, side: Side, post: Post, nonce: str, *, again: bool) -> str:
        """Make a new message; Discord knows the nonce."""
        if post.notice:
            return await self._notify(view, post, nonce)
        if side is Side.PERSON:
            return await self._to_person(view, post, nonce)
        return await self._to_staff(view, post, nonce)

    async def edit(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        """Give a message another text, buttons and file."""
        message = self._message(view, external_id)
        await surely(
            lambda: message.edit(
                content=post.text,
                view=_buttons(post, view) if post.notice else None,
                attachments=files_of(post.file),
                allowed_mentions=NOBODY,
            ),
            what="relay edit",
        )
        return external_id

    async def remove(self, view: HandoffView, side: Side, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        try:
            await surely(self._message(view, external_id).delete, what="relay remove")
        except Refused as error:
            if error.refusal not in (_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE):
                raise

    async def _notify(self, view: HandoffView, post: Post, nonce: str) -> str:
        """The message in staff's channel, with its thread."""
        channel = await self._staff_channel(view)

        async def post_it() -> discord.Message:
            files, buttons = files_of(post.file), _buttons(post, view)
            return await channel.send(post.text, nonce=nonce, view=buttons, files=files, allowed_mentions=NOBODY)

        message = await surely(post_it, what="relay notice")
        name = handoff.shortened(handoff.person_name(view), _THREAD_CHARS)
        try:
            await surely(lambda: message.create_thread(name=name, auto_archive_duration=1440), what="relay thread")
        except Refused as error:
            if error.refusal != _THERE_ALREADY:
                log.info("Staff get no thread; they may reply.", action="no_thread", reason=str(error))
        return str(message.id)

    async def _to_staff(self, view: HandoffView, post: Post, nonce: str) -> str:
        """Into the thread; where there is none, as a reply to the notice."""
        notice, channel = int(view.notice_id or 0), int(view.staff_channel or 0)
        try:
            return await self._post(notice, post, nonce)
        except Refused as error:
            if error.refusal not in _NO_THREAD:
                raise
        return await self._post(channel, post, nonce, reply_to=notice)

    async def _to_person(self, view: HandoffView, post: Post, nonce: str) -> str:
        """Where the person is, as a reply to what they asked by, if that was a message."""
        channel, question = channel_of(view.place), view.target.get("reply_to")
        pinged = discord.AllowedMentions(everyone=False, users=False, roles=False, replied_user=question is not None)
        return await self._post(channel, post, nonce, reply_to=question, mentions=pinged)

    async def _post(
        self,
        channel: int,
        post: Post,
        nonce: str,
        *,
        reply_to: int | None = None,
        mentions: discord.AllowedMentions = NOBODY,
    ) -> str:
        place = self._client.get_partial_messageable(channel)

        async def send(**reply: Any) -> discord.Message:
            files = files_of(post.file)
            return await place.send(post.text, nonce=nonce, files=files, allowed_mentions=mentions, **reply)

        message = await surely(lambda: as_reply(send, channel, reply_to), what="relay")
        return f"{channel}:{message.id}"

    async def _staff_channel(self, view: HandoffView) -> discord.abc.Messageable:
        """The channel, if it is the Workspace's own: whoever manages one place sends nothing to another."""
        named = view.staff_channel or ""
        if not named.isascii() or not named.isdigit():
            raise DeliveryFailed(f"There is no channel {named!r}.")
        channel = self._client.get_channel(int(named)) or await surely(
            lambda: self._client.fetch_channel(int(named)), what="staff channel"
        )
        guild = getattr(channel, "guild", None)
        if guild is None or str(guild.id) != view.place.workspace or not isinstance(channel, discord.abc.Messageable):
            raise DeliveryFailed(f"Channel {named} is none of this guild's that can be written in.")
        return channel

    def _message(self, view: HandoffView, external_id: str) -> discord.PartialMessage:
        channel, _, message = external_id.rpartition(":")
        return self._client.get_partial_messageable(int(channel or view.staff_channel or 0)).get_partial_message(
            int(message)
        )

    # What staff do

    async def pressed(self, response: Responder, custom_id: str) -> str | None:
        """Claim or release; what whoever pressed is told, None where the button is none of these. Raises PajamaError."""
        match = _ID.fullmatch(custom_id)
        if match is None or match[1] not in set(Button):
            return None
        await response.think(ephemeral=True)
        interaction = response.interaction
        view = await self._service.handoffs.handoff(int(match[2]))
        workspace = workspace_of(interaction.guild_id, interaction.channel_id or 0)
        if (view.place.platform, view.place.workspace) != (PLATFORM, workspace):
            raise NotFound(f"There is no hand-off {view.handoff_id} here.")
        if str(interaction.channel_id) != view.staff_channel or not interaction.permissions.view_channel:
            raise NotAllowed("Only who sees staff's channel may do that.")
        return await handoff.press(self._service, view, Button(match[1]), _staff(interaction.user))

    async def of_message(self, message: discord.Message) -> HandoffView | None:
        """The hand-off that a message is written for by staff; None for any other.

        Raises DatabaseUnavailable, and HandoffNotClaimed in a thread of ours of which nothing is known yet.
        """
        if message.guild is None or self._client.user is None or self._client.user in message.mentions:
            return None
        workspace = str(message.guild.id)
        notice = await self._notice_of(message, workspace)
        if notice is None:
            return None
        view = await self._service.handoffs.noticed(PLATFORM, workspace, notice)
        if view is None and isinstance(message.channel, discord.Thread):
            raise HandoffNotClaimed
        return view

    async def _notice_of(self, message: discord.Message, workspace: str) -> str | None:
        """The message of ours that this one stands below, where that may be a notice."""
        if isinstance(message.channel, discord.Thread):
            ours = self._client.user is not None and message.channel.owner_id == self._client.user.id
            return str(message.channel.id) if ours else None
        replied = message.reference.message_id if message.reference is not None else None
        if replied is None or await self._rooms.staff_channel(workspace) != str(message.channel.id):
            return None
        return str(replied)

    async def answered(self, message: discord.Message, view: HandoffView, words: str) -> str | None:
        """Bring the person what staff wrote; what staff are told where that cannot be."""
        if not message.content and not message.attachments and not self._client.intents.message_content:
            return text("handoff_unread", view.staff_language)
        return await handoff.answer(self._service, view, _staff(message.author), str(message.id), words)


def _staff(user: discord.abc.User) -> Staff:
    return Staff(platform=PLATFORM, person=person_of(user))


def _buttons(post: Post, view: HandoffView) -> ui.View:
    """The buttons below the notice; their state is in their ids, so that they outlive a restart."""
    shown = ui.View(timeout=None)
    for button in post.buttons:
        style = discord.ButtonStyle.success if button is Button.CLAIM else discord.ButtonStyle.secondary
        label = text(f"button_{button}", view.staff_language)
        shown.add_item(ui.Button(style=style, label=label, custom_id=f"pjh:{button}:{view.handoff_id}"))
    shown.stop()
    return shown
