"""JSON, JSON Lines and YAML: a list of objects, an object an entry.

Knows where in the text each object stands; one that has a key twice is refused. YAML is read as plain text, lists and
mappings: `no` is a language and not a falsehood, and anchors, with which a few lines can become gigabytes, are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from core.errors import Problem
from core.faq.entry import Draft, Entry
from core.faq.fields import draft_of, field_of, values_of

_LISTS = ("entries", "faq", "faqs", "items", "data")
"""The keys under which an object may hold its list of entries."""
MAX_DEPTH = 20
"""Lists and mappings in each other; what is read goes down into them by calling itself."""
_SPACE = " \t\n"
_TOO_DEEP = "Lists and objects lie too deep in each other"
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Twice:
    """Stands for an object that has this key more than once; at which line, where that is known."""

    name: str
    line: int = 0


def json_of(text: str) -> Any:
    """What a JSON text holds, an object with a key twice as `Twice`. Raises ValueError and RecursionError."""
    return json.loads(text, object_pairs_hook=_object)


def read_jsonl(text: str) -> Iterator[Draft | Problem]:
    """The drafts of a text with an object a line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json_of(line)
            except RecursionError:
                yield Problem(number, f"{_TOO_DEEP}.")
            except ValueError as error:
                yield Problem(number, f"The line is no JSON: {_reason(error)}.")
            else:
                yield _from_object(number, value)


def read_json(text: str) -> Iterator[Draft | Problem]:
    """The drafts of a JSON list, or of an object that holds one."""
    try:
        value = json_of(text)
    except json.JSONDecodeError as error:
        yield Problem(error.lineno, f"It is no JSON: {error.msg}.")
        return
    except RecursionError:
        yield Problem(_deep_line(text), f"{_TOO_DEEP}.")
        return
    except ValueError as error:
        yield Problem(0, f"It is no JSON: {_reason(error)}.")
        return
    if isinstance(value, Twice):
        yield _twice(text.count("\n", 0, _start_of(text, value.name)) + 1, value)
        return
    start, found = _list_in(text, value)
    if found is None:
        yield Problem(1, f"It should be a list of entries, or an object with one under {', '.join(_LISTS)}.")
        return
    for line, each in zip(_lines_of_items(text, start), found, strict=True):
        yield _from_object(line, each)


def read_yaml(text: str) -> Iterator[Draft | Problem]:
    """The drafts of a YAML list, or of a mapping that holds one."""
    root = None
    try:
        refused = _refused_yaml(text)
        if refused is None:
            root = yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        refused = Problem(
            _line(getattr(error, "problem_mark", None)), f"It is no YAML: {getattr(error, 'problem', None) or error}."
        )
    if refused is not None:
        yield refused
        return
    items = _sequence_in(root)
    if isinstance(items, Twice):
        yield _twice(items.line, items)
        return
    if items is None:
        yield Problem(1, f"It should be a list of entries, or a mapping with one under {', '.join(_LISTS)}.")
        return
    for node in items.value:
        yield _from_object(_line(node.start_mark), _plain(node))


def write_jsonl(entries: Sequence[Entry]) -> str:
    """An object a line."""
    return "".join(json.dumps(values_of(entry), ensure_ascii=False) + "\n" for entry in entries)


def write_json(entries: Sequence[Entry]) -> str:
    """A list of objects."""
    return json.dumps([values_of(entry) for entry in entries], ensure_ascii=False, indent=2) + "\n"


def write_yaml(entries: Sequence[Entry]) -> str:
    """A list of mappings."""
    values = [values_of(entry) for entry in entries]
    return str(yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=120)) if values else "[]\n"


def _refused_yaml(text: str) -> Problem | None:
    """What may not stand in a YAML text, found event by event, before anything goes down into it. Raises YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            return Problem(_line(event.start_mark), "Aliases (*name) are not taken: write the text out.")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return Problem(_line(event.start_mark), f"{_TOO_DEEP}: at most {MAX_DEPTH} are taken.")
    return None


def _deep_line(text: str) -> int:
    """The line at which a JSON text is deeper than what is taken."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            return text.count("\n", 0, found.start()) + 1
    return 0


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | Twice:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    names = [name for name, _ in pairs]
    return Twice(next(name for name in names if names.count(name) > 1))


def _twice(line: int, found: Twice) -> Problem:
    return Problem(line, f"{found.name[:40]!r} is given more than once in one object.")


def _from_object(line: int, value: object) -> Draft | Problem:
    if isinstance(value, Twice):
        return _twice(value.line or line, value)
    if not isinstance(value, dict):
        return Problem(line, "An entry should be an object with a question and an answer.")
    values: dict[str, str | list[str]] = {}
    for name, given in value.items():
        field = field_of(str(name))
        if field is None or given is None:
            continue
        if field == "question" and isinstance(given, list):
            field = "phrasings"
        text = _text(given)
        if text is None:
            return Problem(line, f"{name} should be a text, or a list of texts.")
        if field in values:
            return Problem(line, f"{field} is given more than once.")
        values[field] = text
    return draft_of(line, values)


def _text(value: object) -> str | list[str] | None:
    match value:
        case str():
            return value
        case bool():
            return None
        case int() | float():
            return str(value)
        case list() if all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in value):
            return [str(each) for each in value]
        case _:
            return None


def _list_in(text: str, value: object) -> tuple[int, list[Any] | None]:
    """Where the list of entries starts in the text, and the list."""
    if isinstance(value, list):
        return text.index("["), value
    name = next((n for n in _LISTS if isinstance(value, dict) and isinstance(value.get(n), list)), None)
    if name is None:
        return 0, None
    assert isinstance(value, dict)
    return _start_of(text, name), value[name]


def _start_of(text: str, name: str) -> int:
    """Where the value of the outermost key `name` starts, the last one of several."""
    decoder, position, found = json.JSONDecoder(), text.index("{") + 1, 0
    while True:
        position = _skip(text, position, ",")
        if text[position] == "}":
            return found
        key, position = decoder.raw_decode(text, position)
        position = _skip(text, position, ":")
        found = position if key == name else found
        _, position = decoder.raw_decode(text, position)


def _lines_of_items(text: str, start: int) -> Iterator[int]:
    """The line of each item of the JSON list that starts at `start`."""
    decoder, position, line, counted = json.JSONDecoder(), start + 1, text.count("\n", 0, start) + 1, start
    while True:
        position = _skip(text, position, ",")
        line, counted = line + text.count("\n", counted, position), position
        if text[position] == "]":
            return
        yield line
        _, position = decoder.raw_decode(text, position)


def _skip(text: str, position: int, sign: str) -> int:
    while text[position] in _SPACE or text[position] == sign:
        position += 1
    return position


def _sequence_in(root: Any) -> Any:
    """The node of the list of entries; Twice where a key stands twice beside it; None where there is none."""
    if isinstance(root, yaml.SequenceNode):
        return root
    if not isinstance(root, yaml.MappingNode):
        return None
    named = _mapping([(key, value) for key, value in root.value if isinstance(key, yaml.ScalarNode)], lambda node: node)
    if isinstance(named, Twice):
        return named
    return next((named[n] for n in _LISTS if isinstance(named.get(n), yaml.SequenceNode)), None)


def _mapping(pairs: Sequence[tuple[Any, Any]], of: Callable[[Any], Any]) -> dict[str, Any] | Twice:
    """The values of key and value nodes, by name."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        name = str(_plain(key))
        if name in made:
            return Twice(name, _line(key.start_mark))
        made[name] = of(value)
    return made


def _line(mark: Any) -> int:
    """The line of a mark, counted from 1; 0 where there is none."""
    return mark.line + 1 if mark else 0


def _plain(node: Any) -> Any:
    """A node as texts, lists and mappings, whatever a scalar may look like; an empty scalar is nothing."""
    match node:
        case yaml.ScalarNode():
            return None if node.value in ("", "~", "null") and node.style is None else node.value
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.MappingNode():
            return _mapping(node.value, _plain)
    return None


def _reason(error: BaseException) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)
