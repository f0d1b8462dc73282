"""JSON as Slack writes it: users, channels, messages, files and views."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.message import File, Message
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

CONTROL = re.compile(
    r"<(@[UW][A-Z0-9]+|#C[A-Z0-9]+(?:\|[^>]*)?|![a-z]+(?:\^[A-Z0-9]+)?|https?://[^>|\s]+(?:\|[^>]*)?)>"
)


def user(one: User, *, locale: bool = False) -> Json:
    """A user, with the locale if it was asked for."""
    document: Json = {
        "id": one.id, "team_id": one.team_id, "name": one.handle, "deleted": one.deleted, "color": "9f69e7",
        "real_name": one.name, "tz": one.timezone, "tz_label": one.timezone, "tz_offset": 3600,
        "profile": {
            "real_name": one.name, "display_name": one.name, "real_name_normalized": one.name, "team": one.team_id,
            "email": f"{one.handle}@example.com", "status_text": "", "status_emoji": "",
        },
        "is_admin": one.admin, "is_owner": one.owner, "is_primary_owner": one.owner, "is_restricted": one.guest,
        "is_ultra_restricted": False, "is_bot": one.bot, "is_app_user": False, "updated": 1_700_000_000,
    }  # fmt: skip
    return document | {"locale": one.locale} if locale else document


def channel(one: Channel) -> Json:
    """A channel or a DM."""
    document: Json = {
        "id": one.id, "created": int(one.created_at), "is_archived": one.archived, "is_im": one.is_dm,
        "is_mpim": one.type == "mpim", "is_org_shared": False, "context_team_id": one.team.id, "updated": 0,
    }  # fmt: skip
    if one.person is not None:
        return document | {"user": one.person.id, "is_user_deleted": one.person.deleted, "priority": 0}
    return document | {
        "name": one.name, "name_normalized": one.name, "is_channel": one.type == "channel", "creator": one.team.owner.id,
        "is_group": one.type == "group", "is_private": one.private, "is_general": one.name == "general",
        "is_shared": one.ext_shared, "is_ext_shared": one.ext_shared, "is_member": one.has(one.team.bot),
        "num_members": len(one.members), "topic": {"value": one.topic, "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0}, "previous_names": [],
    }  # fmt: skip


def file(one: File, team: Team) -> Json:
    """A file that is attached."""
    base = f"{team.slack.url}/files-pri/{team.id}-{one.id}"
    kind = one.name.rpartition(".")[2] or "text"
    return {
        "id": one.id, "created": int(team.slack.clock.now()), "timestamp": int(team.slack.clock.now()), "name": one.name,
        "title": one.title or one.name, "mimetype": one.mimetype, "filetype": one.snippet_type or kind,
        "pretty_type": kind.upper(), "user": team.owner.id, "user_team": team.id, "editable": False, "size": one.size,
        "mode": one.mode, "is_external": False, "external_type": "", "is_public": True, "public_url_shared": False,
        "display_as_bot": False, "username": "", "url_private": f"{base}/{one.name}",
        "url_private_download": f"{base}/download/{one.name}", "permalink": f"{base}/permalink", "has_rich_preview": False,
        "file_access": "visible",
    }  # fmt: skip


def message(one: Message, *, metadata: bool = True) -> Json:
    """A message as the API and events show it."""
    team = one.channel.team
    document: Json = {
        "type": "message", "user": one.author.id, "ts": one.ts, "text": one.text or one.markdown_text or "",
        "team": one.author.team_id,
    }  # fmt: skip
    if one.channel.ext_shared:
        document["user_team"] = document["source_team"] = one.author.team_id
    optional: Json = {
        "subtype": one.subtype, "thread_ts": one.thread_ts, "client_msg_id": one.client_msg_id,
        "blocks": one.blocks, "attachments": one.attachments, "files": [_attached(each, one) for each in one.files],
        "reactions": [
            {"name": name, "users": [each.id for each in users], "count": len(users)}
            for name, users in one.reactions.items()
        ],
    }  # fmt: skip
    document |= {key: value for key, value in optional.items() if value}
    if one.author.bot:
        document |= {"bot_id": team.bot_id, "app_id": team.slack.app_id, "bot_profile": bot_profile(team)}
    if one.stream is not None:
        document["streaming_state"] = "in_progress" if one.streaming else "completed"
    if one.edited_at is not None:
        document["edited"] = {"user": one.author.id, "ts": one.edited_at}
    if metadata and one.metadata is not None:
        document["metadata"] = one.metadata
    return document | _thread(one)


def _thread(one: Message) -> Json:
    """What a message says of its thread."""
    if one.thread_ts is None:
        return {}
    if one.thread_ts != one.ts:
        parent = one.channel.find(one.thread_ts)
        return {} if parent is None else {"parent_user_id": parent.author.id}
    replies = [reply for reply in one.channel.thread(one.ts) if reply is not one]
    people = list(dict.fromkeys(reply.author.id for reply in replies))
    return {
        "thread_ts": one.ts, "reply_count": len(replies), "reply_users_count": len(people), "reply_users": people,
        "latest_reply": replies[-1].ts if replies else one.ts, "is_locked": False, "subscribed": False,
    }  # fmt: skip


def _attached(one: File, to: Message) -> Json:
    """A file of a message; in a channel shared with others an app is told to ask for it."""
    if to.channel.ext_shared:
        return {"id": one.id, "file_access": "check_file_info"}
    return file(one, to.channel.team)


def tombstone(one: Message) -> Json:
    """What stays of a message that was deleted and has replies."""
    return {
        "type": "message", "subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted.",
        "hidden": True, "ts": one.ts,
    } | _thread(one)  # fmt: skip


def bot_profile(team: Team) -> Json:
    """The app, as messages of it name it."""
    return {
        "id": team.bot_id, "deleted": False, "name": team.bot.name, "updated": 1_700_000_000, "app_id": team.slack.app_id,
        "user_id": team.bot.id, "icons": {}, "team_id": team.id,
    }  # fmt: skip


def authorization(team: Team) -> Json:
    """For whom the app receives an event."""
    return {
        "enterprise_id": team.enterprise_id, "team_id": team.id, "user_id": team.bot.id, "is_bot": True,
        "is_enterprise_install": False,
    }  # fmt: skip


def escaped(text: str) -> str:
    """Text as Slack stores it: `&`, `<` and `>` are escaped, but for mentions and links."""
    parts, at = [], 0
    for found in CONTROL.finditer(text):
        parts += [html.escape(text[at : found.start()], quote=False), found.group()]
        at = found.end()
    return "".join([*parts, html.escape(text[at:], quote=False)])


def rich_text(text: str, block_id: str) -> Json:
    """The block that Slack makes of what a person typed."""
    parts: list[Json] = []
    at = 0
    for found in CONTROL.finditer(text):
        if found.start() > at:
            parts.append({"type": "text", "text": text[at : found.start()]})
        parts.append(_control(found.group(1)))
        at = found.end()
    if at < len(text):
        parts.append({"type": "text", "text": text[at:]})
    return {
        "type": "rich_text", "block_id": block_id, "elements": [{"type": "rich_text_section", "elements": parts}]
    }  # fmt: skip


def _control(inside: str) -> Json:
    name, _, label = inside.partition("|")
    match name[0]:
        case "@":
            return {"type": "user", "user_id": name[1:]}
        case "#":
            return {"type": "channel", "channel_id": name[1:]}
        case "!":
            return {"type": "broadcast", "range": name[1:]}
        case _:
            return {"type": "link", "url": name} | ({"text": label} if label else {})
