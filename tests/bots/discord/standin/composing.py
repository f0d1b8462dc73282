"""What a bot's JSON makes of a message: text, embeds, components, files, and who is notified."""

from __future__ import annotations

from typing import Any

from tests.bots.discord.standin import message_rules, rules
from tests.bots.discord.standin.calls import ApiError, Call
from tests.bots.discord.standin.channel import ROLE_MENTION, USER_MENTION
from tests.bots.discord.standin.message import COMPONENTS_V2, EPHEMERAL, LOADING, Attachment, Message

Json = dict[str, Any]

SETTABLE_FLAGS = (1 << 2) | (1 << 12) | COMPONENTS_V2  # no embeds, silent, components v2


def write(call: Call, message: Message, payload: Json) -> None:
    """Bring a message to what `payload` says; what it does not name stays."""
    check(call, payload, message)
    if "content" in payload:
        message.rewrite((payload["content"] or "").strip())
    if "embeds" in payload:
        message.embeds = payload["embeds"] or []
    if "components" in payload:
        message.components = payload["components"] or []
    if "flags" in payload:
        keep = message.flags & ~SETTABLE_FLAGS | message.flags & COMPONENTS_V2
        message.flags = keep | (payload["flags"] or 0) & SETTABLE_FLAGS
    message.flags &= ~LOADING
    attach(call, message, payload)
    notify(call, message, payload.get("allowed_mentions"))


def check(call: Call, payload: Json, message: Message | None = None) -> None:
    """Refuse what breaks a rule, and what would show nothing."""
    flags = (message.flags if message else 0) | (payload.get("flags") or 0)
    rules.enforce(call, message_rules.findings(payload, call.files, layout=bool(flags & COMPONENTS_V2)))
    shown: list[Any] = [_after(payload, message, key) for key in ("content", "embeds", "components", "attachments")]
    shown[0] = (shown[0] or "").strip()
    if not any([*shown, call.files]):
        call.discord.violate("empty message", "nothing to show", call.request)
        raise ApiError(400, 50006, "Cannot send an empty message")


def _after(payload: Json, message: Message | None, key: str) -> Any:
    return payload[key] if key in payload else getattr(message, key, None)


def attach(call: Call, message: Message, payload: Json) -> None:
    """Keep the attachments that the payload lists, and add the uploaded files."""
    listed = payload.get("attachments")
    if listed is not None:
        kept = {str(one["id"]) for one in listed}
        message.attachments = [one for one in message.attachments if str(one.id) in kept]
    described = {one.get("filename"): one.get("description") for one in listed or ()}
    for name, content in call.files.items():
        file = Attachment(0, name, content, description=described.get(name))
        message.attachments.append(call.discord.cdn.publish(message.channel, file))


def notify(call: Call, message: Message, allowed: Json | None) -> None:
    """Note whom the message notifies. Without `allowed_mentions` that is everyone whom it names."""
    allowed = {"parse": ["users", "roles", "everyone"], "replied_user": True} if allowed is None else allowed
    parse = allowed.get("parse", [])
    users = {int(one) for one in allowed.get("users", ())}
    roles = {int(one) for one in allowed.get("roles", ())}
    named = [call.discord.users.get(int(found)) for found in USER_MENTION.findall(message.content)]
    people = [one for one in named if one is not None and ("users" in parse or one.id in users)]
    if message.reply_to is not None and allowed.get("replied_user"):
        people.append(message.reply_to.author)
    message.mentions = list(dict.fromkeys(people))
    named_roles = [int(found) for found in ROLE_MENTION.findall(message.content)]
    message.mention_roles = [one for one in named_roles if "roles" in parse or one in roles]
    says_everyone = "@everyone" in message.content or "@here" in message.content
    message.mention_everyone = says_everyone and "everyone" in parse


def ephemeral(payload: Json) -> bool:
    """Whether the payload asks for a message that one person sees only."""
    return bool((payload.get("flags") or 0) & EPHEMERAL)
