"""Managing: what is set for a place, and how Pajama does, as sentences; and setting it.

Knows the Service and the catalogue. What a command does for admins only is refused here or in `commands`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bots.texts import text
from core import workspaces
from core.errors import BadSetting, UnknownSetting
from core.service import Service
from core.workspaces import ChannelSettings

if TYPE_CHECKING:
    from bots.commands import Asker

DEFAULT = "default"
"""The word that brings a setting's default back."""

_LISTED_IDS = 5
_LISTED_CHARS = 80
_NAMING = ("allowed_", "blocked_", "handoff_channel")
"""Settings whose values are people, roles and channels."""

_ADDRESSED = re.compile(r"<[@#][!&]?([^\s|>]+)(?:\|[^>]*)?>")
"""How chat platforms write somebody, a role or a channel that was picked: `<@1>`, `<@&1>`, `<#1>`, `<#C1|name>`."""


async def settings(service: Service, asker: Asker, arguments: Mapping[str, str]) -> str:
    """Show everything that is set, or one thing, or set it. Raises BadSetting, UnknownSetting."""
    name, value = arguments.get("name"), arguments.get("value")
    if name is None and value is not None:  # a lone word is the name
        name, value = value, None
    if name is None:
        return await _all_settings(service, asker)
    if value is None:
        return await _one_setting(service, asker, name)
    return await _change(service, asker, name, value, arguments.get("here"))


async def persona(service: Service, asker: Asker, arguments: Mapping[str, str]) -> str:
    """Show who the assistant is here, or say who it shall be. Raises BadSetting, and AdminsOnly where one may not."""
    if (value := arguments.get("text")) is not None:
        asker.check_admin()
        return await _change(service, asker, "persona", value, arguments.get("here"))
    here = (await service.workspace_settings(asker.place)).for_channel(asker.channel)
    if not here.persona:
        return text("persona_none", asker.language)
    return text("persona_is", asker.language, persona=here.persona)


async def _all_settings(service: Service, asker: Asker) -> str:
    """Everything that can be set, and how it is for the place and its channel."""
    settings = await service.workspace_settings(asker.place)
    lines = [text("settings_head", asker.language), ""]
    lines += [_line(settings, name, asker.language) for name in workspaces.NAMES]
    own = settings.channels.get(asker.channel) if asker.channel else None
    if own is not None:
        lines += ["", text("settings_head_channel", asker.language), ""]
        lines += [
            f"- `{name}`: {_listed(getattr(own, name), asker.language)}"
            for name in workspaces.CHANNEL_NAMES
            if getattr(own, name) is not None
        ]
    return "\n".join(lines)


async def _one_setting(service: Service, asker: Asker, name: str) -> str:
    """How one thing is set, in full. Raises UnknownSetting."""
    if name not in workspaces.NAMES:
        raise UnknownSetting(name, workspaces.NAMES)
    settings = await service.workspace_settings(asker.place)
    here = settings.for_channel(asker.channel) if name in workspaces.CHANNEL_NAMES else settings
    return f"`{name}`: {_whole(getattr(here, name), asker.language)}\n{_meaning(name, asker.language)}"


async def _change(service: Service, asker: Asker, name: str, typed: str, here: str | None) -> str:
    """Set one thing to what was typed; `default` brings its default back. Raises BadSetting, UnknownSetting."""
    channel = asker.channel if here == "channel" else None
    if here == "channel" and channel is None:
        raise BadSetting(name, ("here=workspace",))
    if typed.strip().lower() == DEFAULT:
        await service.change_setting(asker.place, name, None, channel)
        return text("setting_default", asker.language, name=name)
    value = _ADDRESSED.sub(r"\1 ", typed) if name.startswith(_NAMING) else typed
    settings = await service.change_setting(asker.place, name, value, channel)
    holder = settings if channel is None else settings.for_channel(channel)
    return text("setting_changed", asker.language, name=name, value=_listed(getattr(holder, name), asker.language))


async def status(service: Service, asker: Asker) -> str:
    """Which workers are ready, what waits, and what is ahead of the newest question here."""
    now = await service.status(asker.place)
    models = Counter(f"{worker.model} @ {worker.revision}" for worker in now.workers)
    ready = ", ".join(f"{count} × {model}" for model, count in models.items())
    lines = [
        text("status_workers", asker.language, workers=ready) if ready else text("status_no_worker", asker.language)
    ]
    lines.append(text("status_turns", asker.language, queued=now.queued, running=now.running))
    if now.ahead:
        lines.append(text("ahead", asker.language, count=now.ahead))
    return "\n".join(lines)


def _line(settings: ChannelSettings, name: str, language: str) -> str:
    return f"- `{name}`: {_listed(getattr(settings, name), language)} · {_meaning(name, language)}"


def _meaning(name: str, language: str) -> str:
    return text(f"setting_{name}", language)


def _listed(value: object, language: str) -> str:
    """A value on one short line."""
    if isinstance(value, tuple) and len(value) > _LISTED_IDS:
        return f"{', '.join(value[:_LISTED_IDS])}, … ({len(value)})"
    whole = " ".join(_whole(value, language).split())
    return whole if len(whole) <= _LISTED_CHARS else f"{whole[: _LISTED_CHARS - 1]}…"


def _whole(value: object, language: str) -> str:
    if value is None or value in ((), ""):
        return text("setting_unset", language)
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
