"""Training data: rows of zstd JSON Lines → documents of token ids → packed batches.

Knows the files of a data folder (`pretrain/<src>-NNN.jsonl.zst` with `text`, `sft/<task>-<src>.train.jsonl.zst` with
`messages`). Knows no model. Bad rows are counted and named.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
import zstandard

from slimpajama.errors import DataError

CHUNK_BYTES = 1 << 20
IGNORED = -100
"""The label of a position without loss."""


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids, and for each whether it is learned."""

    ids: list[int]
    learned: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed documents, each (B, T). Positions start anew at each document; so does attention."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor

    @property
    def targets(self) -> torch.Tensor:
        """What each position should foretell, (B, T): the label of the next one."""
        return torch.nn.functional.pad(self.labels[:, 1:], (0, 1), value=IGNORED)

    def rows(self, begin: int, end: int, device: str) -> Batch:
        """Some of the rows, on a device."""
        parts = (each[begin:end].to(device) for each in (self.input_ids, self.position_ids, self.labels))
        return Batch(*parts)


@dataclass(slots=True)
class BadRows:
    """How many rows could not be used, by reason, and where the first of each stood.

    `place` is the file and line of the row that is looked at: whoever reads rows sets it, whoever uses them notes.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    place: str = ""
    _added: set[str] = field(default_factory=set)

    def note(self, reason: str) -> None:
        """Count the row at `place` as one that could not be used."""
        self.counts[reason] += 1
        self.first.setdefault(reason, self.place)

    def add(self, name: str, other: BadRows) -> None:
        """Count what was found in a part of the data, once however often that is read."""
        if name in self._added:
            return
        self._added.add(name)
        self.counts.update(other.counts)
        self.first = {**other.first, **self.first}

    def clear(self) -> None:
        """Count from 0 again."""
        self.counts.clear()
        self.first.clear()

    def __str__(self) -> str:
        return "; ".join(f"{n} × {reason} (first: {self.first[reason]})" for reason, n in self.counts.items())


class NoBadRows(BadRows):
    """For measuring, where a figure of fewer rows is another figure: the first bad row is an error."""

    __slots__ = ()

    def note(self, reason: str) -> None:
        """Raises DataError."""
        raise DataError(f"{self.place} cannot be measured on: {reason}. Fetch the file again.")


def read_rows(path: Path, bad: BadRows) -> Iterator[dict[str, Any]]:
    """Rows of one file. Raises DataError where it cannot be read or is cut off; bad rows are noted and passed over."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                bad.place = f"{path.name}:{number}"
                row = _parsed(line, bad)
                if row is not None:
                    yield row
    except (OSError, zstandard.ZstdError) as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch it again.") from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    for plain in _unpacked(file):
        *lines, rest = (rest + plain).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """What is packed in `file`, frame after frame. zstandard's own readers take a cut frame for the end."""
    frame = None
    while packed := file.read(CHUNK_BYTES):
        while packed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(packed)
            packed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise zstandard.ZstdError("it is cut off")


def _parsed(line: bytes, bad: BadRows) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode())
        if b"\\u" in line:  # an escaped half of a surrogate pair is JSON all the same, and no text
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        bad.note("not UTF-8")
    except UnicodeEncodeError:
        bad.note("half a character")
    except (ValueError, RecursionError):  # json's own error, and a number too long or brackets too deep for Python
        bad.note("not JSON")
    else:
        if isinstance(row, dict):
            return row
        bad.note("not an object")
    return None


def find_sources(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """Files by source name. Raises DataError where there is none."""
    sources: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(pattern)):
        name = path.name.removesuffix(".jsonl.zst").removesuffix(".train")
        if not name.startswith("heldout"):
            sources.setdefault(re.sub(r"-\d+$", "", name), []).append(path)
    if not sources:
        raise DataError(
            f"{folder} holds no file that matches {pattern}. Give --data the folder above pretrain/ and sft/."
        )
    return sources


def document(row: dict[str, Any], tokenizer: Any, length: int, bad: BadRows) -> Document | None:
    """A row as token ids; None where there is nothing to learn. A conversation is cut after a turn, to `length`."""
    if "messages" in row:
        return chat_document(_moved_passages(row), tokenizer, length, bad)
    return text_document(row, tokenizer, bad)


def _moved_passages(row: dict[str, Any]) -> dict[str, Any]:
    """A grounded row with its passages in the system part or, every other time, in the question's message.

    Services give passages either way: with the question, a cached system part stays the same from turn to turn.
    """
    messages = row["messages"]
    if row.get("task") != "grounded" or not _is_question_after_passages(messages):
        return row
    passages, question, *rest = messages
    if zlib.crc32(question["content"].encode(errors="replace")) % 2:
        return row
    label = "问题：" if row.get("lang") == "zh" else "Question: "
    asked = {"role": "user", "content": f"{passages['content']}\n\n{label}{question['content']}"}
    return {**row, "messages": [asked, *rest]}


def _is_question_after_passages(messages: object) -> bool:
    whole = isinstance(messages, list) and len(messages) > 1 and all(_is_message(m) for m in messages)
    return whole and [m["role"] for m in messages[:2]] == ["system", "user"]  # type: ignore[index]


def text_document(row: dict[str, Any], tokenizer: Any, bad: BadRows) -> Document | None:
    """A pretraining row between what begins and what ends a text; everything after the first token is learned."""
    text = row.get("text")
    if not isinstance(text, str) or not text:
        bad.note("no text")
        return None
    start = start_id(tokenizer)
    end = start if tokenizer.bos_token_id is None else tokenizer.eos_token_id
    ids = [start, *plain_ids(tokenizer, text), start if end is None else end]
    return Document(ids, [False] + [True] * (len(ids) - 1))


def chat_document(row: dict[str, Any], tokenizer: Any, length: int, bad: BadRows) -> Document | None:
    """A conversation, of which only what the assistant says is learned, its end mark too.

    As many turns as fit `length` are taken. The ids are those of the chat template, except that special tokens in
    what people wrote stay plain text.
    """
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_message(m) for m in messages):
        bad.note("no messages")
        return None
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    newline = plain_ids(tokenizer, "\n")
    ids: list[int] = []
    learned: list[bool] = []
    fitting = 0
    for message in messages:
        head = [start, *plain_ids(tokenizer, message["role"]), *newline]
        said = [*plain_ids(tokenizer, message["content"]), end]
        ids += head + said + newline
        answers = message["role"] == "assistant"
        learned += [False] * len(head) + [answers] * len(said) + [False] * len(newline)
        if answers and len(ids) <= length:
            fitting = len(ids)
    if not fitting:
        bad.note("no answer within the length")
        return None
    return Document(ids[:fitting], learned[:fitting])


def start_id(tokenizer: Any) -> int:
    """The token that a text begins with: where there is none for that, the one that stands between texts.

    Raises DataError for a tokenizer without any.
    """
    named = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    found = next((each for each in named if each is not None), None)
    if found is None:
        raise DataError("The tokenizer has no token that begins, ends or fills a text.")
    return int(found)


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of `text`, in which nothing is a special token."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))


class Packer:
    """Lays documents end to end into rows of `length` tokens.

    With `split`, a long document goes on in the next row. Otherwise documents stay whole (they must not be longer than
    a row), and one of the `LOOK_AHEAD` next that fits fills the room at a row's end.
    """

    LOOK_AHEAD = 16

    def __init__(self, length: int, *, split: bool) -> None:
        self._length, self._split = length, split
        self._waiting: list[Document] = []

    def batch(self, documents: Iterator[Document], rows: int) -> Batch:
        """The next (rows, length) tokens of `documents`."""
        packed = [self._row(documents) for _ in range(rows)]
        ids, positions, labels = (torch.tensor(column) for column in zip(*packed, strict=True))
        return Batch(ids, positions, labels)

    def state(self) -> list[tuple[list[int], list[bool]]]:
        """What was taken from the documents and is not in a row yet."""
        return [(waiting.ids, waiting.learned) for waiting in self._waiting]

    def restore(self, state: list[tuple[list[int], list[bool]]]) -> None:
        """Go on with what was left."""
        self._waiting = [Document(ids, learned) for ids, learned in state]

    def _row(self, documents: Iterator[Document]) -> tuple[list[int], list[int], list[int]]:
        ids: list[int] = []
        positions: list[int] = []
        labels: list[int] = []
        while room := self._length - len(ids):
            part = self._part(room, documents)
            ids += part.ids
            positions += range(len(part.ids))
            # The first token follows from nothing before it.
            labels += [IGNORED] + [
                token if learned else IGNORED for token, learned in zip(part.ids[1:], part.learned[1:], strict=True)
            ]
        return ids, positions, labels

    def _part(self, room: int, documents: Iterator[Document]) -> Document:
        """What comes next into the row: at most `room` tokens, or padding to its end."""
        while len(self._waiting) < (1 if self._split else self.LOOK_AHEAD):
            self._waiting.append(next(documents))
        if self._split:
            document = self._waiting.pop()
            if len(document.ids) > room:
                self._waiting.append(Document(document.ids[room:], document.learned[room:]))
            return Document(document.ids[:room], document.learned[:room])
        fitting = next((i for i, waiting in enumerate(self._waiting) if len(waiting.ids) <= room), None)
        return Document([0] * room, [False] * room) if fitting is None else self._waiting.pop(fitting)
