"""ChatTemplate: a Prompt to token ids, with the model's own chat template.

Knows tokenizers and templates of transformers; knows no engine. The template is rendered with marks in place of the
contents; what stands between the marks is the template's own and is tokenised with special tokens on. Contents are
tokenised apart with special tokens off, so that a typed `<|im_start|>` stays text, and answers go in as the ids they
were generated as. Both are cached, so that counting a long history again costs little.

A template that refuses or loses a message is asked again with the system part put into the first message of the
person. A model without a template, or with one that refuses even that, gets a plain transcript:

    System: …

    User: …

    Assistant: …

which ends with `Assistant:`; `stop_strings` then end the answer where the model goes on for the person.
"""

from __future__ import annotations

import copy
import secrets
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

from jinja2 import TemplateError
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from core.prompts import Prompt, Role

Content = str | tuple[int, ...]
Message = tuple[Role, tuple[Content, ...]]
"""A role, and what it says: the contents are joined by an empty line."""

_SEPARATOR = "\n\n"
_NAMES: dict[Role, str] = {"system": "System", "user": "User", "assistant": "Assistant"}
# What a template raises when it is given roles it does not know how to put. UndefinedError is a TemplateError.
_REFUSALS = (TemplateError, ValueError, TypeError, LookupError)
_CACHED_CONTENTS = 1024
_CACHED_FRAMES = 512


class ChatTemplate:
    """The way of one model to write a conversation. May be used by many threads."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._own = _Encoder(tokenizer)
        self._contents = _Encoder(_without_special_tokens(tokenizer))
        # Caches are made here rather than by decorators on methods, which would keep every instance alive.
        self._frame = lru_cache(_CACHED_FRAMES)(self._rendered)
        self._literal_ids = lru_cache(_CACHED_FRAMES)(self._own.encode)
        self._content_ids = lru_cache(_CACHED_CONTENTS)(self._contents.encode)
        self.plain = self._frame(("user",)) is None

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """The token ids of the whole rendering, up to where the answer starts."""
        messages = _messages(prompt)
        for attempt in (messages, _system_into_user(messages), _alternating(_system_into_user(messages))):
            frame = self._frame(tuple(role for role, _ in attempt))
            if frame is not None:
                return self._spliced(frame, attempt)
        return self._spliced(_transcript([role for role, _ in messages], self._tokenizer), messages)

    def count(self, prompt: Prompt) -> int:
        """How many token ids `encode` returns."""
        return len(self.encode(prompt))

    def forget(self) -> None:
        """Drop the cached contents."""
        self._content_ids.cache_clear()

    @property
    def stop_ids(self) -> frozenset[int]:
        """The special tokens that the template itself puts between messages: an answer that reaches one is over."""
        frame = self._frame(("user", "assistant", "user")) or ()
        special = {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset(i for literal in frame[1:] for i in self._literal_ids(literal) if i in special)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """What ends an answer in the plain transcript."""
        return (f"\n{_NAMES['user']}:", f"\n{_NAMES['system']}:") if self.plain else ()

    def _spliced(self, frame: Sequence[str], messages: Sequence[Message]) -> tuple[int, ...]:
        ids = list(self._literal_ids(frame[0]))
        for (_, contents), literal in zip(messages, frame[1:], strict=True):
            for index, content in enumerate(contents):
                ids += self._content_ids(_SEPARATOR) if index else ()
                ids += self._content_ids(content) if isinstance(content, str) else content
            ids += self._literal_ids(literal)
        return tuple(ids)

    def _rendered(self, roles: tuple[Role, ...]) -> tuple[str, ...] | None:
        """The template's own text before, between and after the contents; None where it does not show each once."""
        if not self._tokenizer.chat_template:
            return None
        marks = [f"{secrets.token_hex(12)}x{index}x" for index in range(len(roles))]
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            text = str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except _REFUSALS:
            return None
        return _split(text, marks)


class _Encoder:
    """Text to ids, without the tokens that a tokenizer adds at the ends. One thread at a time.

    Tokenizers in the manner of SentencePiece put a space before the first word of whatever they are given; a piece
    of a longer text must not get one. It is then encoded after a newline, whose ids are taken off again.
    """

    _ANCHOR = "\n"

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        tokens = tokenizer.convert_ids_to_tokens(list(self._plain("a")))
        self._anchor = self._plain(self._ANCHOR) if tokens and str(tokens[0]).startswith("▁") else ()

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of `text` as a piece of a longer text."""
        with self._lock:
            if self._anchor:
                ids = self._plain(self._ANCHOR + text)
                if ids[: len(self._anchor)] == self._anchor:
                    return ids[len(self._anchor) :]
            return self._plain(text)

    def _plain(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _without_special_tokens(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy that reads special tokens as text, and so every added token that the chat template uses.

    A copy, since the switch is a state of the tokenizer that other threads would see.
    """
    contents = copy.deepcopy(tokenizer)
    template = str(tokenizer.chat_template or "")
    used = [
        AddedToken(token.content, special=True, normalized=False)
        for token in tokenizer.added_tokens_decoder.values()
        if not token.special and not token.content.isspace() and token.content in template
    ]
    if used:
        contents.add_tokens(used, special_tokens=True)
    contents.split_special_tokens = True
    if contents.is_fast:
        contents.backend_tokenizer.encode_special_tokens = True
    return contents


def _split(text: str, marks: Sequence[str]) -> tuple[str, ...] | None:
    """`text` without the marks; None unless it has each mark once, in order."""
    pieces = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            return None
        pieces.append(before)
    return (*pieces, text)


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    return tuple((part.role, (part.token_ids or part.text,)) for part in prompt.parts)


def _system_into_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Put system contents before the first contents of the person."""
    system = tuple(content for role, contents in messages if role == "system" for content in contents)
    rest = [message for message in messages if message[0] != "system"]
    first = next((index for index, (role, _) in enumerate(rest) if role == "user"), None)
    if first is not None:
        rest[first] = ("user", (*system, *rest[first][1]))
    return tuple(rest)


def _alternating(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Join neighbours of the same role."""
    runs = groupby(messages, key=lambda message: message[0])
    return tuple((role, tuple(c for _, contents in run for c in contents)) for role, run in runs)


def _transcript(roles: Sequence[Role], tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The frame of the plain transcript."""
    between = [f"{_SEPARATOR}{_NAMES[role]}: " for role in roles[1:]]
    first = f"{_beginning(tokenizer)}{_NAMES[roles[0]]}: "
    return (first, *between, f"{_SEPARATOR}{_NAMES['assistant']}:")


def _beginning(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that the tokenizer starts a text with, if any."""
    ids = tokenizer("a")["input_ids"]
    starts = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    return str(tokenizer.bos_token) if starts else ""
