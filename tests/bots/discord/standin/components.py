"""The components of a message or a modal: finding what a person presses, filling in what a person writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

ROW, BUTTON, STRING_SELECT, TEXT_INPUT, USER_SELECT, LABEL = 1, 2, 3, 4, 5, 18
RADIO, CHECKBOX = 21, 23
LINK = 5
TEXT_INPUT_LENGTH = 4000


class NotOffered(Exception):
    """Discord does not offer this to a person."""


def walk(components: Sequence[Json]) -> Iterator[Json]:
    """Every component, those inside others too."""
    for component in components:
        yield component
        yield from walk(component.get("components", ()))
        for key in ("accessory", "component"):
            if key in component:
                yield from walk([component[key]])


def find(components: Sequence[Json], name: str, kinds: Collection[int]) -> Json:
    """The component that a person means by `name`: its custom_id, label, placeholder or emoji."""
    offered = [component for component in walk(components) if component["type"] in kinds]
    for component in offered:
        if name in _names(component):
            if component.get("disabled"):
                raise NotOffered(f"{name!r} is disabled")
            return component
    raise NotOffered(f"{name!r}: offered are {[_names(component) for component in offered]}")


def submission(components: Sequence[Json], fields: Mapping[str, Any]) -> list[Json]:
    """A modal's components as they are submitted, with what the person wrote into each field."""
    unknown = set(fields) - {name for component in walk(components) for name in _names(component)}
    if unknown:
        raise NotOffered(f"no such fields: {sorted(unknown)}")
    return [_submitted(component, fields) for component in components]


def _submitted(component: Json, fields: Mapping[str, Any]) -> Json:
    shell = {"type": component["type"], "id": component.get("id", 1)}
    if component["type"] == ROW:
        return shell | {"components": [_filled(one, fields, ()) for one in component["components"]]}
    if component["type"] == LABEL:
        return shell | {"component": _filled(component["component"], fields, (component["label"],))}
    return shell


def _filled(component: Json, fields: Mapping[str, Any], more_names: Sequence[str]) -> Json:
    names = [*_names(component), *more_names]
    given = next((fields[name] for name in names if name in fields), None)
    filled = {"type": component["type"], "id": component.get("id", 1), "custom_id": component["custom_id"]}
    if component["type"] == TEXT_INPUT:
        return filled | {"value": _typed(component, names, given)}
    if component["type"] in {RADIO, CHECKBOX}:
        return filled | {"value": given}
    return filled | {"values": list(given or ())}


def _typed(component: Json, names: Sequence[str], given: Any) -> str:
    text = component.get("value") or "" if given is None else str(given)
    least, most = component.get("min_length") or 0, component.get("max_length") or TEXT_INPUT_LENGTH
    if (text or component.get("required", True)) and not max(least, int(component.get("required", True))) <= len(
        text
    ) <= most:
        raise NotOffered(f"{len(text)} characters in {names[0]!r}")
    return text


def _names(component: Json) -> list[str]:
    emoji = (component.get("emoji") or {}).get("name")
    found = [component.get("custom_id"), component.get("label"), component.get("placeholder"), emoji]
    return [name for name in found if name]
