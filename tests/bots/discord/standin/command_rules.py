"""The rules of application commands and of the choices that autocomplete offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import discord
import regex

from tests.bots.discord.standin.bounds import Bound, Finding, outside
from tests.bots.discord.standin.options import GROUP, STRING, SUBCOMMAND

Json = dict[str, Any]

CHAT_INPUT = 1
COMMANDS = {CHAT_INPUT: 100, 2: 15, 3: 15}
"""How many of each kind an application may register."""
CHARACTERS = 8000
NAME = regex.compile(r"^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$")
LOCALES = {locale.value for locale in discord.Locale}

CHOICES = (
    Bound("choices", 0, 25),
    Bound("choices[].name", 1, 100, required=True),
)
OPTION = (
    Bound("description", 1, 100, required=True),
    Bound("options", 0, 25),
    Bound("min_length", 0, 6000),
    Bound("max_length", 1, 6000),
    *CHOICES,
)


def commands(all_of_them: Sequence[Json]) -> Iterator[Finding]:
    """What is wrong with a whole set of commands."""
    kinds = Counter(one.get("type", CHAT_INPUT) for one in all_of_them)
    for kind, count in kinds.items():
        if count > COMMANDS[kind]:
            yield Finding("commands", f"{count} commands of type {kind}, allowed are {COMMANDS[kind]}")
    for (kind, name), count in Counter((one.get("type", CHAT_INPUT), one.get("name")) for one in all_of_them).items():
        if count > 1:
            yield Finding("commands", f"{name!r} of type {kind} is there {count} times")
    for one in all_of_them:
        yield from command(one)


def command(one: Json) -> Iterator[Finding]:
    """What is wrong with one command; one that is edited may leave things out."""
    name = one.get("name")
    if one.get("type", CHAT_INPUT) == CHAT_INPUT:
        yield from _names(one)
        yield from outside(f"command {name}", one, (Bound("description", 1, 100), Bound("options", 0, 25)))
        yield from _localisations(f"command {name}", one, "description_localizations")
        yield from _options(f"command {name}", one.get("options") or (), depth=0)
    else:
        yield from outside(f"command {name}", one, (Bound("name", 1, 32),))
        yield from _localisations(f"command {name}", one, "name_localizations", length=32)
        if one.get("description") or one.get("options"):
            yield Finding(f"command {name}", "a context menu has no description and no options")
    characters = _characters(one)
    if characters > CHARACTERS:
        yield Finding(f"command {name}", f"{characters} characters, allowed are {CHARACTERS}")


def choices(offered: Json) -> Iterator[Finding]:
    """What is wrong with the choices of an autocompletion."""
    yield from outside("autocomplete", offered, CHOICES)
    yield from _choice_values("autocomplete", offered.get("choices") or ())


def _names(one: Json) -> Iterator[Finding]:
    for name in [one.get("name"), *(one.get("name_localizations") or {}).values()]:
        if name is not None and (not NAME.match(name) or name != name.lower()):
            yield Finding("name", f"{name!r} is no name of a command or an option")
    yield from _localisations(f"command {one.get('name')}", one, "name_localizations", length=32)


def _localisations(rule: str, one: Json, key: str, length: int = 100) -> Iterator[Finding]:
    for locale, text in (one.get(key) or {}).items():
        if locale not in LOCALES:
            yield Finding(rule, f"{key}: {locale!r} is no locale")
        if not 1 <= len(text) <= length:
            yield Finding(rule, f"{key}.{locale} is {len(text)}, allowed are 1 to {length}")


def _options(rule: str, options: Sequence[Json], depth: int) -> Iterator[Finding]:
    counted = Counter(one.get("name") for one in options)
    yield from (Finding(rule, f"option {name!r} twice") for name, times in counted.items() if times > 1)
    yield from (
        Finding(rule, f"{second['name']!r} is required and comes after {first['name']!r}, which is not")
        for first, second in pairwise(options)
        if second.get("required") and not first.get("required")
    )
    nested = [one["type"] in {SUBCOMMAND, GROUP} for one in options]
    if any(nested) and not all(nested):
        yield Finding(rule, "subcommands beside other options")
    for one in options:
        yield from _option(rule, one, depth)


def _option(rule: str, one: Json, depth: int) -> Iterator[Finding]:
    rule = f"{rule} {one.get('name')}"
    yield from _names(one)
    yield from outside(rule, one, OPTION)
    yield from _localisations(rule, one, "description_localizations")
    yield from _choice_values(rule, one.get("choices") or ())
    if (one["type"] == GROUP and depth > 0) or (one["type"] == SUBCOMMAND and depth > 1):
        yield Finding(rule, "nested too deep")
    if one.get("autocomplete") and one.get("choices"):
        yield Finding(rule, "choices and autocomplete exclude each other")
    if one["type"] != STRING and ("min_length" in one or "max_length" in one):
        yield Finding(rule, "a length for what is no text")
    yield from _options(rule, one.get("options") or (), depth + 1)


def _choice_values(rule: str, offered: Sequence[Json]) -> Iterator[Finding]:
    for choice in offered:
        yield from _localisations(rule, choice, "name_localizations")
        if isinstance(choice["value"], str) and not 1 <= len(choice["value"]) <= 100:
            yield Finding(rule, f"a choice's value is {len(choice['value'])}, allowed are 1 to 100")


def _characters(one: Json) -> int:
    """The length that Discord adds up: names, descriptions and values, of each the longest localisation."""
    total = sum(_longest(one, key) for key in ("name", "description"))
    for choice in one.get("choices") or ():
        total += _longest(choice, "name") + (len(choice["value"]) if isinstance(choice["value"], str) else 0)
    return total + sum(_characters(option) for option in one.get("options") or ())


def _longest(one: Json, key: str) -> int:
    return max(len(text or "") for text in [one.get(key), *(one.get(f"{key}_localizations") or {}).values()])
