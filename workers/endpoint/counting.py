"""Counting: how many tokens an endpoint makes of messages. Asked of it where it tells, else bounded from above.

OpenAI's own interface has no such question. vLLM and llama.cpp's server each have one of their own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from core.errors import EndpointBroken
from workers.endpoint.body import Fields, Message
from workers.endpoint.connection import Endpoint

_FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
_SPARE = 2
"""Tokens that a tokenizer may put around a text: a space before its first word, and one more."""


class Counter(Protocol):
    """Counts the tokens of messages as one model's endpoint does."""

    @property
    def way(self) -> str:
        """How it counts, for people."""

    def fields(self) -> Fields:
        """The fields that this kind of server takes in a request."""

    async def count(self, endpoint: Endpoint, messages: list[Message]) -> int:
        """The tokens of the whole rendering, up to where the answer starts; more, but never fewer."""


@dataclass(frozen=True, slots=True)
class VllmCounter:
    """vLLM's `/tokenize`, which renders the messages too."""

    model: str

    @property
    def way(self) -> str:
        """How it counts."""
        return "counted by the endpoint (/tokenize)"

    def fields(self) -> Fields:
        """It tells the usage with every chunk, so that of a cancelled answer it is known too."""
        return Fields({"stream_options": {"include_usage": True, "continuous_usage_stats": True}})

    async def count(self, endpoint: Endpoint, messages: list[Message]) -> int:
        """One question."""
        url = f"{endpoint.root_url}/tokenize"
        told = await endpoint.post(url, {"model": self.model, "messages": messages})
        return _positive(told.get("count") if isinstance(told, dict) else None, url)


@dataclass(frozen=True, slots=True)
class LlamaCppCounter:
    """llama.cpp's server: `/apply-template`, then `/tokenize`. Where it has one model only, the name is not read."""

    model: str

    @property
    def way(self) -> str:
        """How it counts."""
        return "counted by the endpoint (/apply-template, /tokenize)"

    def fields(self) -> Fields:
        """Its own name for the penalty, and without the `min_p` that it would else add."""
        return Fields({"min_p": 0.0}, penalty="repeat_penalty")

    async def count(self, endpoint: Endpoint, messages: list[Message]) -> int:
        """Two questions."""
        url = f"{endpoint.root_url}/apply-template"
        rendered = await endpoint.post(url, {"model": self.model, "messages": messages})
        if not isinstance(rendered, dict) or not isinstance(rendered.get("prompt"), str):
            raise EndpointBroken(f"{url} gives no prompt.")
        url = f"{endpoint.root_url}/tokenize"
        text = {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        told = await endpoint.post(url, {"model": self.model, **text})
        tokens = told.get("tokens") if isinstance(told, dict) else None
        return _positive(len(tokens) if isinstance(tokens, list) else None, url)


@dataclass(frozen=True, slots=True)
class UpperBound:
    """No question: a text has at most as many tokens as bytes, and the template adds `once` and `each` message's.

    A token stands for at least a byte of the text as the tokenizer normalises it, so the longest of Unicode's normal
    forms counts. For English that is about four times too many, for Chinese five.
    """

    once: int
    each: int

    @property
    def way(self) -> str:
        """How it counts."""
        return "bounded from above by their bytes, about four times too high: the endpoint cannot count"

    def fields(self) -> Fields:
        """Nothing is known of it."""
        return Fields()

    async def count(self, endpoint: Endpoint, messages: list[Message]) -> int:
        """The bound."""
        return self.bound(messages)

    def bound(self, messages: Sequence[Message]) -> int:
        """At least the tokens of the whole rendering."""
        return self.once + sum(self.each + _SPARE + _most_bytes(message["content"]) for message in messages)


def _most_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    return max(len(form.encode()) for form in (text, *(unicodedata.normalize(name, text) for name in _FORMS)))


def _positive(count: Any, url: str) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise EndpointBroken(f"{url} gives no count.")
    return count
