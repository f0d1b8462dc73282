"""Mixtures: how much a model learns from each source, in an order that needs no randomness and is stood in again.

Knows shares (`mixture.toml`) and positions; what is read from a source, rows or documents, it does not know.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from slimpajama.data import BadRows, find_sources, read_rows
from slimpajama.errors import DataError

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Source(Protocol[Item_co]):
    """Something that can be read from any position on, to its end."""

    def read(self, position: int) -> Iterator[tuple[int, Item_co]]:
        """Bytes of text and item, from the one at `position` on."""


class Rows:
    """The rows of a source's files."""

    def __init__(self, paths: list[Path], bad: BadRows) -> None:
        self._paths, self._bad = paths, bad

    def read(self, position: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """By reading over what stands before. Raises DataError."""
        rows = (row for path in self._paths for row in read_rows(path, self._bad))
        for row in islice(rows, position, None):
            yield size_of(row), row


def size_of(row: dict[str, Any]) -> int:
    """A row's share of the bytes."""
    return len(json.dumps(row, ensure_ascii=False).encode(errors="replace"))


class Mixture(Generic[Item]):
    """An endless stream of items from several sources, each of which gets its share of the bytes.

    The next item is from the source that is furthest behind its share; a source that ends is read from its start again.
    """

    def __init__(self, sources: dict[str, Source[Item]], shares: dict[str, float]) -> None:
        self._sources = sources
        self._shares = {name: shares[name] for name in sorted(sources) if shares.get(name, 0) > 0}
        if not self._shares:
            raise DataError(f"None of {', '.join(sorted(sources))} has a share above 0.")
        self._positions = dict.fromkeys(self._shares, 0)
        self._bytes = dict.fromkeys(self._shares, 0)
        self._readers: dict[str, Iterator[tuple[int, Item]]] = {}

    def __iter__(self) -> Iterator[Item]:
        while True:
            yield self._next_of(min(self._shares, key=lambda name: self._bytes[name] / self._shares[name]))

    def state(self) -> dict[str, tuple[int, int]]:
        """Of each source: its position, and the bytes taken from it."""
        return {name: (self._positions[name], self._bytes[name]) for name in self._shares}

    def restore(self, state: dict[str, tuple[int, int]]) -> None:
        """Stand where `state` says."""
        self._readers.clear()
        for name, (position, taken) in state.items():
            self._positions[name], self._bytes[name] = position, taken

    def _next_of(self, name: str) -> Item:
        for _ in range(2):
            if name not in self._readers:
                self._readers[name] = self._sources[name].read(self._positions[name])
            found = next(self._readers[name], None)
            if found is not None:
                self._positions[name] += 1
                self._bytes[name] += found[0]
                return found[1]
            del self._readers[name]
            self._positions[name] = 0
        raise DataError(f"The files of {name} hold no usable row.")


def planned(data: Path, *, instruct: bool) -> tuple[dict[str, list[Path]], dict[str, float]]:
    """The files of each source of a phase, and its share. Raises DataError where there is none."""
    plan = tomllib.loads(files("slimpajama").joinpath("mixture.toml").read_text(encoding="utf-8"))
    text = find_sources(data / "pretrain", "*.jsonl.zst")
    text_shares = _shares(text, plan["pretrain"])
    if not instruct:
        return text, text_shares
    chats = find_sources(data / "sft", "*.train.jsonl.zst")
    kept = plan["instruct"]["pretrain"]
    shares = {name: share * kept for name, share in text_shares.items()}
    shares |= {name: share * (1 - kept) for name, share in _shares(chats, plan["sft"]).items()}
    return {**text, **chats}, shares


def row_mixture(data: Path, bad: BadRows, *, instruct: bool) -> Mixture[dict[str, Any]]:
    """The rows of a phase, as they stand in the files. Raises DataError."""
    sources, shares = planned(data, instruct=instruct)
    return Mixture({name: Rows(paths, bad) for name, paths in sources.items()}, shares)


def _shares(sources: dict[str, list[Path]], planned: dict[str, float]) -> dict[str, float]:
    """Shares of the sources that are there, adding up to 1."""
    named = {name: planned[name] for name in sources if name in planned} or dict.fromkeys(sources, 1.0)
    total = sum(named.values())
    return {name: share / total for name, share in named.items()}
