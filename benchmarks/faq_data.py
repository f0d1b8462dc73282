"""Published sets of questions, as collections and labelled questions, and vectors that are computed once."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from core.faq.embedding import Embedder, Vectors
from core.faq.entry import MAX_QUESTION_CHARS, Entry, one_line
from core.faq.vectors import digest_of

OUT_OF_SCOPE = ("oos", "NO_NODES_DETECTED")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the entry that it means; None where none does."""

    text: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Phrasings to make a collection of, and questions to ask it."""

    train: tuple[Asked, ...]
    test: tuple[Asked, ...]

    def entries(self) -> list[Entry]:
        """One entry a label."""
        grouped: dict[str, dict[str, None]] = {}
        for asked in self.train:
            if asked.label is not None:
                grouped.setdefault(asked.label, {})[question_of(asked.text)] = None
        return [Entry(label, tuple(texts), label) for label, texts in sorted(grouped.items())]


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a packed file."""
    with (folder / f"{name}.jsonl.zst").open("rb") as file:
        reader = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [json.loads(line) for line in reader]


def part(found: Iterable[dict[str, Any]], train: str, test: str) -> Part:
    """The rows of two splits."""
    everything = list(found)
    return Part(tuple(_asked(everything, train)), tuple(_asked(everything, test)))


def question_of(text: str) -> str:
    """A text as an entry may hold it."""
    return one_line(text)[:MAX_QUESTION_CHARS] or "-"


def _asked(found: list[dict[str, Any]], split: str) -> list[Asked]:
    return [
        Asked(row["text"], None if row["label"] in OUT_OF_SCOPE else row["label"])
        for row in found
        if row["split"] == split
    ]


class Remembering:
    """An embedder whose vectors are kept in a file, so that a second run costs none."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        self._embedder = embedder
        self.revision = embedder.revision
        self._file = folder / f"vectors-{self.revision.replace('/', '_')}.npz"
        self._known: dict[str, Any] = {}
        if self._file.exists():
            with np.load(self._file) as kept:
                self._known = dict(zip(kept["digests"].tolist(), kept["vectors"], strict=True))

    def reads(self, text: str) -> bool:
        """As the embedder says."""
        return self._embedder.reads(text)

    def learn(self, texts: Sequence[str]) -> None:
        """Compute what is not known yet, and keep it."""
        new = [text for text in dict.fromkeys(texts) if digest_of(text) not in self._known]
        for i in range(0, len(new), 1024):
            batch = new[i : i + 1024]
            sys.stderr.write(f"embedding {i + len(batch)} of {len(new)} texts\n")
            self._known |= dict(zip(map(digest_of, batch), self._embedder.embed(batch), strict=True))
        if new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self._file, digests=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The kept vectors; what is new is computed."""
        if any(digest_of(text) not in self._known for text in texts):
            self.learn(texts)
        return np.stack([self._known[digest_of(text)] for text in texts]).astype(np.float32)
