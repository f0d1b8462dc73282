"""The options of a slash command, as a person fills them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.bots.discord.standin import payloads
from tests.bots.discord.standin.components import NotOffered

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.people import User

Json = dict[str, Any]

SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
PLAIN: dict[int, type | tuple[type, ...]] = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: (int, float)}
STRING_LENGTH = 6000


def chosen(
    channel: Channel, command: Json, path: Sequence[str], given: Mapping[str, Any], focused: str | None = None
) -> tuple[list[Json], Json]:
    """The `options` and `resolved` of an interaction. While one option is `focused`, the others may be missing."""
    specs: list[Json] = command.get("options") or []
    steps: list[Json] = []
    for name in path:
        step = _named(specs, name)
        steps.append(step)
        specs = step.get("options") or []
    if any(spec["type"] in {SUBCOMMAND, GROUP} for spec in specs):
        raise NotOffered(f"{command['name']} needs one of {[spec['name'] for spec in specs]}")
    resolved: Json = {}
    values = [_value(channel, _named(specs, name), value, name == focused, resolved) for name, value in given.items()]
    missing = [spec["name"] for spec in specs if spec.get("required") and spec["name"] not in given]
    if missing and focused is None:
        raise NotOffered(f"{command['name']} without {missing}")
    for step in reversed(steps):
        values = [{"name": step["name"], "type": step["type"], "options": values}]
    return values, {"resolved": resolved} if resolved else {}


def _named(specs: Sequence[Json], name: str) -> Json:
    for spec in specs:
        if spec["name"] == name:
            return spec
    raise NotOffered(f"no option {name!r}, but {[spec['name'] for spec in specs]}")


def _value(channel: Channel, spec: Json, value: Any, focused: bool, resolved: Json) -> Json:
    option = {"name": spec["name"], "type": spec["type"]}
    if focused:
        return option | {"value": value, "focused": True}
    if spec["type"] in PLAIN:
        _check_plain(spec, value)
        return option | {"value": value}
    for kind, found in _resolved(channel, spec["type"], value).items():
        resolved.setdefault(kind, {}).update(found)
    return option | {"value": str(value.id)}


def _check_plain(spec: Json, value: Any) -> None:
    fits = isinstance(value, PLAIN[spec["type"]])
    if not fits:
        raise NotOffered(f"{value!r} in {spec['name']!r}")
    choices = [choice["value"] for choice in spec.get("choices") or ()]
    if choices and value not in choices:
        raise NotOffered(f"{value!r} in {spec['name']!r}: offered are {choices}")
    low, high, size = spec.get("min_value", -(2**53)), spec.get("max_value", 2**53), value
    if spec["type"] == STRING:
        low, high, size = spec.get("min_length") or 0, spec.get("max_length") or STRING_LENGTH, len(value)
    if not low <= size <= high:
        raise NotOffered(f"{spec['name']!r} takes {low} to {high}")


def _resolved(channel: Channel, kind: int, value: Any) -> Json:
    """A user, channel, role or attachment, under its kind and id."""
    if kind == CHANNEL:
        return {"channels": {str(value.id): payloads.partial_channel(value, channel.discord.bot)}}
    if kind == ROLE:
        return {"roles": {str(value.id): payloads.role(value)}}
    if kind == ATTACHMENT:
        file = channel.discord.cdn.publish(channel, value)
        return {"attachments": {str(file.id): payloads.attachment(file)}}
    return resolved_user(channel, value)


def resolved_user(channel: Channel, user: User) -> Json:
    """A user, and a member if this is a guild."""
    data = {"users": {str(user.id): payloads.user(user)}}
    if channel.guild is None or user.id not in channel.guild.members:
        return data
    return data | {
        "members": {str(user.id): payloads.member(channel.guild, user, with_user=False) | {"permissions": "0"}}
    }
