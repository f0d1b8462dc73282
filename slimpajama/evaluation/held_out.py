"""Held-out tasks: what is asked of a model, and what is accepted as an answer. Knows the files of a data folder."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from slimpajama.data import NoBadRows, read_rows
from slimpajama.errors import DataError
from slimpajama.evaluation.scores import refuses

GROUNDED = {
    "fairytaleqa": "en", "xquad_en": "en", "dstc9": "en", "xquad_zh": "zh", "cmrc2018": "zh", "zh_faq": "zh"
}  # fmt: skip
TRANSLATED = ("en_zh", "zh_en")
INTENTS = ("clinc150", "banking77")
CHOICES = 8
_NO_INTENT = "oos"

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """Messages to answer, and the answers that are accepted. `unanswerable`: the passages do not say."""

    messages: Messages
    accepted: tuple[str, ...]
    unanswerable: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A message to find the label of: `labels[right]`, among `CHOICES` of its set."""

    text: str
    labels: tuple[str, ...]
    right: int

    @property
    def messages(self) -> Messages:
        """As the training data puts it."""
        asked = f"Which label fits the message?\nLabels: {', '.join(self.labels)}\nMessage: {self.text}"
        return [{"role": "user", "content": asked}]


@dataclass(frozen=True, slots=True)
class Intents:
    """A published set of intents: what to choose, and the texts and labels that a classifier may learn from."""

    choices: list[Choice]
    texts: list[str]
    labels: list[str]


def grounded(data: Path, name: str, limit: int | None = None) -> list[Asked]:
    """Questions with their passages. Raises DataError."""
    return _asked(data / "sft" / "heldout" / f"grounded-{name}.test.jsonl.zst", limit)


def translations(data: Path, direction: str, limit: int | None = None) -> list[Asked]:
    """Sentences of Tatoeba to translate. Raises DataError."""
    return _asked(data / "sft" / "heldout" / f"translate-tatoeba_{direction}.test.jsonl.zst", limit)


def intents(data: Path, name: str, limit: int | None = None) -> Intents:
    """The test part of an intent set, each with its label among others that are drawn by a fixed seed."""
    rows = [row for row in _rows(data / "bench" / f"{name}.jsonl.zst") if row["label"] != _NO_INTENT]
    named = [(row["text"], row["label"].replace("_", " "), row["split"]) for row in rows]
    known = sorted({label for _, label, _ in named})
    tested = _spread([(text, label) for text, label, split in named if split == "test"], limit)
    trained = [(text, label) for text, label, split in named if split == "train"]
    choices = [_choice(text, label, known, random.Random(i)) for i, (text, label) in enumerate(tested)]  # noqa: S311
    return Intents(choices, [text for text, _ in trained], [label for _, label in trained])


def prompts() -> list[str]:
    """The 40 greetings, small talk and questions that are answered for the eye."""
    return files("slimpajama.evaluation").joinpath("prompts.txt").read_text(encoding="utf-8").splitlines()


def _asked(path: Path, limit: int | None) -> list[Asked]:
    found = []
    for row in _spread(list(_rows(path)), limit):
        *messages, answer = row["messages"]
        accepted = tuple(row.get("refs") or [answer["content"]])
        found.append(Asked(messages, accepted, refuses(answer["content"])))
    return found


def _choice(text: str, label: str, known: Sequence[str], drawn: random.Random) -> Choice:
    others = [each for each in known if each != label]
    labels = [label, *drawn.sample(others, min(CHOICES - 1, len(others)))]
    drawn.shuffle(labels)
    return Choice(text, tuple(labels), labels.index(label))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Raises DataError where there is no row, or one that cannot be used."""
    empty = True
    for row in read_rows(path, NoBadRows()):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} cannot be measured on: it has no row. Fetch it again.")


def _spread(rows: list[Any], limit: int | None) -> list[Any]:
    """At most `limit` of `rows`, from all over: neighbours are often about the same passage."""
    if limit is None or len(rows) <= limit:
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]
