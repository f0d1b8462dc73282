"""Streams: the batches of one phase of a training, which are the same however often it is stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedTokenizerBase

from slimpajama.data import BadRows, Batch, Document, Packer, document
from slimpajama.mixture import Mixture, planned
from slimpajama.options import TrainOptions
from slimpajama.shards import Shards, Shelf

PHASES = ("pretrain", "instruct")


class Stream:
    """Packed batches of a phase's mixture. Text goes on in the next row; conversations stay whole."""

    def __init__(self, options: TrainOptions, phase: str, tokenizer: PreTrainedTokenizerBase, bad: BadRows) -> None:
        instruct = phase == "instruct"
        length = min(options.instruct_length if instruct else options.pretrain_length, tokenizer.model_max_length)
        sources, shares = planned(options.data, instruct=instruct)
        shelf = _shelf(options, tokenizer, length)
        self._length, self._whole = length, instruct
        self._mixture = Mixture({name: Shards(paths, shelf, bad) for name, paths in sources.items()}, shares)
        self._packer = Packer(length, split=not instruct)
        self._documents = self._fitting()

    def rows_of(self, tokens: int) -> int:
        """How many rows a batch of about `tokens` tokens has."""
        return max(1, tokens // self._length)

    def batch(self, tokens: int) -> Batch:
        """The next batch of about `tokens` tokens. Raises DataError."""
        return self._packer.batch(self._documents, self.rows_of(tokens))

    def state(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {"mixture": self._mixture.state(), "packer": self._packer.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where `state` says."""
        self._mixture.restore(state["mixture"])
        self._packer.restore(state["packer"])

    def _fitting(self) -> Iterator[Document]:
        for found in self._mixture:
            yield Document(found.ids[: self._length], found.learned[: self._length]) if self._whole else found


def _shelf(options: TrainOptions, tokenizer: PreTrainedTokenizerBase, length: int) -> Shelf:
    """Token ids depend on the tokenizer and, since conversations are cut to it, on the length."""
    words = hashlib.sha256(str(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()

    def encode(row: dict[str, Any], bad: BadRows) -> Document | None:
        return document(row, tokenizer, length, bad)

    return Shelf(options.out / "tokens" / str(length), encode, f"{words} {length}", len(tokenizer))
