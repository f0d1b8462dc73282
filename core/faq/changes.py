"""Changes: what an import would do to a collection, as values that can be shown before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from core.faq.entry import Entry


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that is there in other words."""

    before: Entry
    after: Entry

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what differs."""
        names = (each.name for each in fields(Entry))
        return tuple(name for name in names if getattr(self.before, name) != getattr(self.after, name))


@dataclass(frozen=True, slots=True)
class Changes:
    """What is added, changed and removed, in the file's order; `same` counts what stays as it is."""

    added: tuple[Entry, ...]
    changed: tuple[Change, ...]
    removed: tuple[Entry, ...]
    same: int

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def compare(there: Mapping[str, Entry], given: Sequence[Entry], *, replace: bool = False) -> Changes:
    """What upserting `given` by key changes; with `replace`, entries that are not given are removed."""
    keys = {entry.key for entry in given}
    changed = tuple(Change(there[e.key], e) for e in given if e.key in there and there[e.key] != e)
    added = tuple(entry for entry in given if entry.key not in there)
    removed = tuple(entry for key, entry in there.items() if key not in keys) if replace else ()
    return Changes(added, changed, removed, len(given) - len(added) - len(changed))
