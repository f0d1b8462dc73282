"""Hand-offs on Slack: a message in staff's channel with buttons, its thread, and both sides' words.

Knows the calls and ids: a hand-off is known by the message in the channel, below which staff write. Slack knows no
nonces, so what a crash may have left is looked up. What is said is in `bots.handoff`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Protocol

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import handoff
from bots.handoff import Button, Post
from bots.slack.bodies import bodies
from bots.slack.budget import DELETE, HISTORY, LINK, POST, REPLIES, UNSHARE, UPDATE, UPLOAD, SendBudget
from bots.slack.inbound import mentioned
from bots.slack.people import People
from bots.slack.places import PLATFORM, channel_of, message_id, ts_of, workspace_of
from bots.slack.speaking import MAX_CHARS
from bots.slack.targets import Target
from bots.slack.wire import Done, Gate, Refused, surely
from bots.slack.wording import escaped
from bots.texts import text
from core.errors import DeliveryFailed, NotAllowed, NotFound
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Side, Staff

log = structlog.get_logger(__name__)

Json = dict[str, Any]

ACTION = "pajama_handoff_"
_GONE = frozenset({"message_not_found", "channel_not_found", "file_not_found", "thread_not_found"})
_ABOUT_THE_BODY = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"}
)
_PAGE = 200
_LOOKED_BACK_S = 120.0
_FILE = "file:"


class HandoffRooms:
    """A RelaySink, and what staff do there. One per workspace."""

    max_chars = MAX_CHARS

    def __init__(self, client: AsyncWebClient, service: Service, people: People, budget: SendBudget) -> None:
        self._client, self._service, self._people, self._budget = client, service, people, budget

    # What is brought

    async def link(self, view: HandoffView) -> str:
        """Slack's address of the question; of what only the person sees there is none."""
        target = _target(view)
        if target.channel.startswith("D") or not target.thread:
            return ""
        try:
            told = await surely(
                lambda: self._client.chat_getPermalink(channel=target.channel, message_ts=target.thread),
                what="link",
                gate=self._budget.gate(LINK),
            )
        except Refused as error:
            log.info("There is no address of the question.", action="no_link", reason=str(error))
            return ""
        return str(told["permalink"])

    async def send(self, view: HandoffView, side: Side, post: Post, nonce: str, *, again: bool) -> str:
        """Make a new message, or find the one that a crash has left."""
        channel, thread = _where(view, side, post)
        left = await self._left(channel, thread, view) if again else []
        if post.file is not None:
            known = next((str(file["id"]) for file in _files(left) if file.get("name") == _named(nonce)), None)
            return _file_id(known or await self._upload(channel, thread, post, _named(nonce)), post)
        found = next((str(message["ts"]) for message in left if _nonce_of(message) == nonce), None)
        return message_id(channel, found or await self._post(channel, thread, post, nonce, view))

    async def edit(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        """Give a message another text and buttons; a file is another one."""
        if post.file is not None or external_id.startswith(_FILE):
            return await self._replaced(view, side, external_id, post)
        channel, ts = external_id.partition(":")[0], ts_of(external_id)

        async def change(body: Json) -> Any:
            return await self._client.chat_update(channel=channel, ts=ts, **body)

        await _first_taken(post, view, change, self._budget.gate(UPDATE))
        return external_id

    async def remove(self, view: HandoffView, side: Side, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        channel, ts = external_id.partition(":")[0], ts_of(external_id)
        is_file = external_id.startswith(_FILE)

        async def call() -> Any:
            if is_file:
                return await self._client.files_delete(file=external_id.split(":")[1])
            return await self._client.chat_delete(channel=channel, ts=ts)

        try:
            await surely(call, what="relay remove", gate=self._budget.gate(UNSHARE if is_file else DELETE))
        except Refused as error:
            if error.refusal not in _GONE:
                raise

    async def _replaced(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        """Put a file with other words in the place of one; Slack changes none."""
        if post.file is not None and external_id == _file_id(external_id.split(":")[1], post):
            return external_id
        await self.remove(view, side, external_id)
        return await self.send(view, side, post, f"{external_id.split(':')[1]}-again"[:25], again=False)

    async def _upload(self, channel: str, thread: str | None, post: Post, name: str) -> str:
        """Slack's id of the file."""
        assert post.file is not None
        content = post.file[1]

        since = _just_now()

        async def call() -> Any:
            return await self._client.files_upload_v2(
                content=content, filename=name, initial_comment=escaped(post.text), channel=channel, thread_ts=thread
            )

        async def done() -> Json | None:
            stand = _files(await self._newest(channel, thread, since))
            return next(({"files": [file]} for file in stand if file.get("name") == name), None)

        uploaded = await surely(call, what="relay file", done=done, gate=self._budget.gate(UPLOAD))
        return str(uploaded["files"][0]["id"])

    async def _post(self, channel: str, thread: str | None, post: Post, nonce: str, view: HandoffView) -> str:
        metadata = {"event_type": "pajama", "event_payload": {"nonce": nonce}}
        since = _just_now()

        async def make(body: Json) -> Any:
            return await self._client.chat_postMessage(
                channel=channel, thread_ts=thread, metadata=metadata, unfurl_links=False, unfurl_media=False, **body
            )

        async def done() -> Json | None:
            stand = await self._newest(channel, thread, since)
            return next((message for message in stand if _nonce_of(message) == nonce), None)

        return str((await _first_taken(post, view, make, self._budget.gate(POST, channel), done))["ts"])

    async def _left(self, channel: str, thread: str | None, view: HandoffView) -> list[Json]:
        """What stands there since it was asked for, the newest of it."""
        return await self._newest(channel, thread, f"{view.requested_at.timestamp():.6f}")

    async def _newest(self, channel: str, thread: str | None, oldest: str) -> list[Json]:
        """What stands there; nothing where Slack does not say."""
        client = self._client
        asked: Json = {"channel": channel, "oldest": oldest, "include_all_metadata": True, "limit": _PAGE}

        async def ask() -> Any:
            if thread is None:
                return await client.conversations_history(**asked)
            return await client.conversations_replies(ts=thread, **asked)

        try:
            gate = self._budget.gate(HISTORY if thread is None else REPLIES)
            return list((await surely(ask, what="look-up", gate=gate)).get("messages") or ())
        except Refused as error:
            log.warning("What stands there cannot be read.", action="thread_unread", reason=str(error))
            return []

    # What staff do

    async def pressed(self, body: Json) -> str | None:
        """Claim or release; what whoever pressed is told, None where the button is none of these. Raises PajamaError."""
        action = body["actions"][0]
        named = str(action["action_id"]).removeprefix(ACTION)
        if named not in set(Button) or not str(action.get("value") or "").isdigit():
            return None
        view = await self._service.handoffs.handoff(int(action["value"]))
        if (view.place.platform, view.place.workspace) != (PLATFORM, workspace_of(body)):
            raise NotFound(f"There is no hand-off {view.handoff_id} here.")
        pressed_in = (body.get("channel") or {}).get("id") or body["container"].get("channel_id")
        if pressed_in != view.staff_channel:
            raise NotAllowed("Only who sees staff's channel may do that.")
        return await handoff.press(self._service, view, Button(named), await self._staff(body["user"]["id"]))

    async def of_message(self, event: Json, workspace: str, bot: str) -> HandoffView | None:
        """The hand-off that a message is written for by staff; None for any other. Raises DatabaseUnavailable."""
        thread = event.get("thread_ts")
        if not thread or event.get("parent_user_id") != bot or bot in mentioned(event):
            return None
        return await self._service.handoffs.noticed(PLATFORM, workspace, message_id(event["channel"], thread))

    async def answered(self, event: Json, view: HandoffView, words: str) -> str | None:
        """Bring the person what staff wrote; what staff are told where that cannot be. Raises DatabaseUnavailable."""
        event_id = message_id(event["channel"], event["ts"])
        return await handoff.answer(self._service, view, await self._staff(event["user"]), event_id, words)

    async def _staff(self, user: str) -> Staff:
        return Staff(platform=PLATFORM, person=await self._people.person(user))


class RoomsOf(Protocol):
    """What finds a workspace's HandoffRooms."""

    async def __call__(self, workspace: str) -> HandoffRooms:
        """Raises ServiceUnavailable."""


class EveryWorkspace:
    """A RelaySink that brings everything to its own workspace."""

    max_chars = MAX_CHARS

    def __init__(self, rooms_of: RoomsOf) -> None:
        self._rooms_of = rooms_of

    async def link(self, view: HandoffView) -> str:
        """As HandoffRooms, as all of these."""
        return await (await self._rooms_of(view.place.workspace)).link(view)

    async def send(self, view: HandoffView, side: Side, post: Post, nonce: str, *, again: bool) -> str:
        """Make a new message."""
        return await (await self._rooms_of(view.place.workspace)).send(view, side, post, nonce, again=again)

    async def edit(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        """Give a message another text."""
        return await (await self._rooms_of(view.place.workspace)).edit(view, side, external_id, post)

    async def remove(self, view: HandoffView, side: Side, external_id: str) -> None:
        """Take a message away."""
        await (await self._rooms_of(view.place.workspace)).remove(view, side, external_id)


def _just_now() -> str:
    """The `ts` of a moment before this one, by whoever's clock."""
    return f"{time.time() - _LOOKED_BACK_S:.6f}"


def _nonce_of(message: Json) -> object:
    return ((message.get("metadata") or {}).get("event_payload") or {}).get("nonce")


def _files(messages: Iterable[Json]) -> Iterator[Json]:
    for message in messages:
        yield from message.get("files") or ()


def _named(nonce: str) -> str:
    """The name of a file, by which one that a crash has left is known again."""
    return f"{nonce}.txt"


def _file_id(file_id: str, post: Post) -> str:
    """A file's id in the ledger, with which words it has."""
    assert post.file is not None
    return f"{_FILE}{file_id}:{sha256(post.file[1]).hexdigest()[:12]}"


def _where(view: HandoffView, side: Side, post: Post) -> tuple[str, str | None]:
    """The channel and thread that a message belongs into."""
    if side is Side.PERSON:
        target = _target(view)
        return target.channel, target.thread or None
    if view.staff_channel is None or (view.notice_id is None and not post.notice):
        raise DeliveryFailed("There is no message in staff's channel to write below.")
    return view.staff_channel, None if post.notice else ts_of(view.notice_id or "")


def _target(view: HandoffView) -> Target:
    """Where the person is; of one who is forgotten, where they were."""
    here = {"channel": channel_of(view.place), "thread": view.place.conversation.partition(":")[2]}
    return Target.model_validate({**here, **view.target})


async def _first_taken(
    post: Post, view: HandoffView, call: Callable[[Json], Awaitable[Any]], gate: Gate, done: Done | None = None
) -> Json:
    """What Slack answers to the first form of the message that it takes. Raises Refused with the last one's reason."""
    refused: Refused | None = None
    for body in bodies(post.text, _buttons(post, view)):
        try:
            return await surely(lambda body=body: call(body.arguments), what="relay", gate=gate, done=done)  # type: ignore[misc]
        except Refused as error:
            refused = error
            if error.refusal not in _ABOUT_THE_BODY:
                raise
    assert refused is not None  # a text alone is always tried
    raise refused


def _buttons(post: Post, view: HandoffView) -> list[Json]:
    """The buttons below the notice; their state is in their values, so that they outlive a restart."""
    elements = [
        {
            "type": "button",
            "action_id": f"{ACTION}{button}",
            "text": {"type": "plain_text", "text": text(f"button_{button}", view.staff_language), "emoji": True},
            "value": str(view.handoff_id),
        }
        for button in post.buttons
    ]
    return [{"type": "actions", "elements": elements}] if elements else []
