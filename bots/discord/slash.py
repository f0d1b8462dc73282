"""Slash commands and context menus: what is registered with Discord, and how a use of one reads.

The slash commands are those that every platform has (`bots.commands`), with names and descriptions in every language of
the catalogue. Knows Discord's form of both; sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from discord import AppCommandOptionType, AppCommandType

from bots.commands import COMMANDS, Call, Command, Option
from bots.texts import LANGUAGES, text
from core.errors import BadCommand

_MAX_DESCRIPTION = 100
_MAX_CHOICES = 25
_MAX_TEXT = 6_000
_DISCORD_LOCALES = {"zh-CN": ("zh-CN", "zh-TW")}
_EVERYWHERE = {"integration_types": [0], "contexts": [0, 1]}
"""Installed in a guild, used in guilds and in DMs with the bot."""

_MANAGE_GUILD = str(1 << 5)


class Menu(StrEnum):
    """What the context menu of a message offers; the value is its key in the catalogue."""

    ANSWER = "menu_answer"
    TRANSLATE = "menu_translate"
    SUMMARISE = "menu_summarise"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A use of a context menu on a message."""

    menu: Menu
    message_id: int


def payload() -> list[dict[str, Any]]:
    """Everything that is registered with Discord."""
    return [*(_slash(command) for command in COMMANDS.values()), *map(_menu, Menu)]


def fingerprint() -> str:
    """A short name of exactly this payload: it is sent again only when it changes."""
    return sha256(json.dumps(payload(), sort_keys=True).encode()).hexdigest()[:16]


def missing(registered: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of what is not, or not as it is now, among `registered`, Discord's own list."""
    there = [_essence(command) for command in registered]
    return [each["name"] for each in payload() if _essence(each) not in there]


def call_of(data: Mapping[str, Any]) -> Call:
    """The command that was used. Raises BadCommand where a newer version registered what is not known here."""
    name = data["name"]
    if name not in COMMANDS:
        raise BadCommand(name, "/help")
    known = {option.name for option in COMMANDS[name].options}
    given = {option["name"]: str(option["value"]) for option in data.get("options", ())}
    return Call(name, {option: value for option, value in given.items() if option in known})


def chosen_of(data: Mapping[str, Any]) -> Chosen | None:
    """The context menu that was used; None where it is none of ours."""
    menu = next((menu for menu in Menu if data["name"] == text(menu)), None)
    return Chosen(menu, int(data["target_id"])) if menu is not None else None


def completions(data: Mapping[str, Any]) -> list[str]:
    """What may be meant by the option that is being typed."""
    typed = next((option for option in data.get("options", ()) if option.get("focused")), None)
    command = COMMANDS.get(data["name"])
    if typed is None or command is None:
        return []
    option = next((option for option in command.options if option.name == typed["name"]), None)
    begun = str(typed["value"]).lower()
    choices = option.choices if option else ()
    return [choice for choice in choices if choice.lower().startswith(begun)][:_MAX_CHOICES]


def _essence(command: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a command both Discord's list and ours tell: Discord leaves out what is the default, and translations."""
    options = [
        (
            option["type"],
            option["name"],
            option["description"],
            bool(option.get("required")),
            tuple(choice["value"] for choice in option.get("choices") or ()),
        )
        for option in command.get("options") or ()
    ]
    return command["type"], command["name"], command.get("description") or "", tuple(options)


def _slash(command: Command) -> dict[str, Any]:
    return {
        "type": AppCommandType.chat_input.value,
        "name": command.name,
        **_localised("name", lambda language: text(f"slash_{command.name}", language)),
        **_described(command.description),
        "options": [_option(option) for option in sorted(command.options, key=lambda option: not option.required)],
        **_EVERYWHERE,
        **({"default_member_permissions": _MANAGE_GUILD} if command.admin else {}),
    }


def _option(option: Option) -> dict[str, Any]:
    fixed = bool(option.choices) and not option.free and len(option.choices) <= _MAX_CHOICES
    return {
        "type": AppCommandOptionType.string.value,
        "name": option.name,
        **_localised("name", lambda language: text(f"slash_option_{option.name}", language)),
        **_described(option.description),
        "required": option.required,
        **({"choices": list(map(_choice, option.choices))} if fixed else {}),
        **({"autocomplete": True} if option.choices and not fixed else {}),
        **({"max_length": _MAX_TEXT} if not option.choices else {}),
    }


def _choice(value: str) -> dict[str, Any]:
    names = _localised("name", lambda language: text(f"slash_choice_{value}", language))
    return {"name": value, "value": value, **names}


def _menu(menu: Menu) -> dict[str, Any]:
    names = _localised("name", lambda language: text(menu, language))
    return {"type": AppCommandType.message.value, "name": text(menu), **names, **_EVERYWHERE}


def _described(key: str) -> dict[str, Any]:
    def say(language: str) -> str:
        return text(key, language)[:_MAX_DESCRIPTION]

    return {"description": say(LANGUAGES[0][0]), **_localised("description", say)}


def _localised(field: str, say: Callable[[str], str]) -> dict[str, Any]:
    """The field in every language but the fallback, by Discord's names for them."""
    locales = ((code, locale) for code, _ in LANGUAGES[1:] for locale in _DISCORD_LOCALES[code])
    return {f"{field}_localizations": {locale: say(code) for code, locale in locales}}
