"""Length limits of JSON fields, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """A broken rule: its name, what broke it, and the error that Slack answers; None is a promise of ours alone."""

    rule: str
    detail: str
    code: str | None = "invalid_blocks"


@dataclass(frozen=True)
class Bound:
    """The length of a text or a list, or the value of a number, at a path such as `options[].text.text`."""

    path: str
    low: int
    high: int
    required: bool = False

    def findings(self, rule: str, document: Any, code: str) -> Iterator[Finding]:
        """Where `document` is outside."""
        for place, value in _at(document, self.path.split("."), ""):
            if value is None:
                if self.required:
                    yield Finding(rule, f"{place} is missing", code)
                continue
            size = value if isinstance(value, int) else len(value)
            if not self.low <= size <= self.high:
                yield Finding(rule, f"{place} is {size}, allowed are {self.low} to {self.high}", code)


def outside(rule: str, document: Any, bounds: Iterable[Bound], code: str = "invalid_blocks") -> Iterator[Finding]:
    """Every bound that `document` breaks."""
    for bound in bounds:
        yield from bound.findings(rule, document, code)


def _at(document: Any, keys: list[str], place: str) -> Iterator[tuple[str, Any]]:
    """Every value at a path; None where a key is missing."""
    key, *rest = keys
    name = key.removesuffix("[]")
    value = document.get(name) if isinstance(document, dict) else None
    place = f"{place}.{name}" if place else name
    if key.endswith("[]"):
        for index, item in enumerate(value or ()):
            if rest:
                yield from _at(item, rest, f"{place}[{index}]")
            else:
                yield f"{place}[{index}]", item
    elif not rest or value is None:
        yield place, value
    else:
        yield from _at(value, rest, place)
