"""Shards: documents as token ids on the disk, made once and memory-mapped from then on.

A source's files are tokenised piece by piece, as far as a run needs them, so that a short run on much data begins at
once and a run that goes on reads nothing again. A shard is `NAME-NNNN.npy`, one number a token whose highest bit says that it is
learned, and `NAME-NNNN.json`, which is written last: where documents end, and what could not be used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from slimpajama.data import BadRows, Document, read_rows
from slimpajama.errors import DataError
from slimpajama.mixture import size_of

SHARD_BYTES = 1 << 20
"""Of text, about."""

Encode = Callable[[dict[str, Any], BadRows], Document | None]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where shards are kept, and how a row becomes a document: `key` changes with everything that changes that."""

    folder: Path
    encode: Encode
    key: str
    vocab_size: int

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """The smallest that holds a token and the bit above it."""
        return np.uint16 if self.vocab_size <= 1 << 15 else np.uint32


@dataclass(frozen=True, slots=True)
class _Index:
    """What a shard says of itself. `rows` of its file are read at its end; `last`: there are no more."""

    key: str
    rows: int
    last: bool
    ends: list[int]
    sizes: list[int]
    bad: dict[str, int]
    first: dict[str, str]


class Shards:
    """The documents of one source's files."""

    def __init__(self, paths: list[Path], shelf: Shelf, bad: BadRows) -> None:
        self._paths, self._shelf, self._bad = paths, shelf, bad

    def read(self, position: int) -> Iterator[tuple[int, Document]]:
        """Bytes of text and document, from the one at `position` on. Raises DataError."""
        for path in self._paths:
            for name, index in self._of(path):
                self._bad.add(name, BadRows(Counter(index.bad), dict(index.first)))
                if position < len(index.ends):
                    yield from self._documents(name, index, position)
                position = max(0, position - len(index.ends))

    def _documents(self, name: str, index: _Index, begin: int) -> Iterator[tuple[int, Document]]:
        tokens = np.load(self._shelf.folder / f"{name}.npy", mmap_mode="r")
        learned = _learned_bit(self._shelf.dtype)
        for i in range(begin, len(index.ends)):
            piece = tokens[index.ends[i - 1] if i else 0 : index.ends[i]]
            yield index.sizes[i], Document((piece & (learned - 1)).tolist(), ((piece & learned) > 0).tolist())

    def _of(self, path: Path) -> Iterator[tuple[str, _Index]]:
        """The shards of one file in order, made where they are not there or are of another key."""
        key = hashlib.sha256(f"{self._shelf.key} {_version(path)}".encode()).hexdigest()
        maker: _Maker | None = None
        rows = number = 0
        last = False
        while not last:
            name = f"{path.name.removesuffix('.jsonl.zst')}-{number:04d}"
            index = self._known(name, key)
            if index is None:
                maker = maker or _Maker(path, self._shelf, rows)
                index = maker.make(name, key)
            else:
                maker = None
            yield name, index
            rows, last, number = index.rows, index.last, number + 1

    def _known(self, name: str, key: str) -> _Index | None:
        path = self._shelf.folder / f"{name}.json"
        if not path.exists() or not path.with_suffix(".npy").exists():
            return None
        index = _Index(**json.loads(path.read_text(encoding="utf-8")))
        return index if index.key == key else None


class _Maker:
    """Makes the shards of one file one after the other, from its row `begin` on."""

    def __init__(self, path: Path, shelf: Shelf, begin: int) -> None:
        self._shelf, self._bad, self._rows = shelf, BadRows(), begin
        reader = read_rows(path, self._bad)
        for _ in islice(reader, begin):
            pass
        self._bad.clear()  # those before are told by the shards before
        self._reader = reader

    def make(self, name: str, key: str) -> _Index:
        """The next shard, whole on the disk. Raises DataError."""
        ids: list[int] = []
        ends: list[int] = []
        sizes: list[int] = []
        learned, room, last = _learned_bit(self._shelf.dtype), SHARD_BYTES, True
        for row in self._reader:
            self._rows += 1
            document = self._shelf.encode(row, self._bad)
            if document is not None:
                ids += (i | learned * yes for i, yes in zip(document.ids, document.learned, strict=True))
                ends.append(len(ids))
                sizes.append(size_of(row))
                room -= sizes[-1]
            if room <= 0:
                last = False
                break
        index = _Index(key, self._rows, last, ends, sizes, dict(self._bad.counts), dict(self._bad.first))
        self._bad.clear()
        self._write(name, np.array(ids, dtype=self._shelf.dtype), index)
        return index

    def _write(self, name: str, tokens: np.ndarray[Any, Any], index: _Index) -> None:
        """Aside first: others may train from the same folder, and a cut shard must not count."""
        self._shelf.folder.mkdir(parents=True, exist_ok=True)
        aside = self._shelf.folder / f"{name}.{os.getpid()}.new"
        with aside.open("wb") as file:
            np.save(file, tokens)
        aside.replace(self._shelf.folder / f"{name}.npy")
        aside.write_text(json.dumps(asdict(index)), encoding="utf-8")
        aside.replace(self._shelf.folder / f"{name}.json")


def _learned_bit(dtype: type[np.unsignedinteger[Any]]) -> int:
    return 1 << (8 * np.dtype(dtype).itemsize - 1)


def _version(path: Path) -> str:
    """Changes with the file. Raises DataError."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch it again.") from error
    return f"{found.st_size} {found.st_mtime_ns}"
