"""The body of a request: a Prompt as messages, SamplingParams as fields, and which fields an endpoint takes.

Endpoints tokenise a whole rendering with their special tokens on, so that a typed `<|im_end|>` would end the person's
part of it. Such markers get a space after their first letter. The ones below are known; a model whose markers look
otherwise has to rely on its server.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import TypeVar

import structlog

from core.errors import EndpointRefused
from core.prompts import Prompt, Role
from core.values import SamplingParams
from workers.endpoint.connection import Body

log = structlog.get_logger(__name__)
T = TypeVar("T")

Message = dict[str, str]

_MARKER = re.compile(
    r"<(?=[|｜])"  # <|im_end|> and its like
    r"|<(?=\w{1,40}\|>)"  # <turn|>
    r"|<(?=/?(?:s|bos|eos|pad|unk|sop|start_of_turn|end_of_turn)>)"
    r"|<(?=</?SYS>>)"
    r"|\[(?=\||/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|BOS|EOS)\])"
)
_SEPARATOR = "\n\n"

MOST_STOP_STRINGS = 4
"""OpenAI's limit, which others have too. All of them are looked for here as well."""

_OPTIONAL = ("stream_options", "temperature", "top_p", "seed", "stop")
_OF_SOME = ("top_k", "repetition_penalty", "repeat_penalty", "min_p")
"""Fields that OpenAI itself does not know."""


def messages_of(prompt: Prompt, *, system_in_user: bool = False) -> list[Message]:
    """The messages of a Prompt. `system_in_user`: for models that know no system part, it opens the person's first."""
    parts: Iterable[tuple[Role, str]] = ((part.role, content(part.text)) for part in prompt.parts)
    if system_in_user:
        parts = (("user" if role == "system" else role, text) for role, text in parts)
    return [
        {"role": role, "content": _SEPARATOR.join(text for _, text in run)}
        for role, run in groupby(parts, key=lambda part: part[0])
    ]


def content(text: str) -> str:
    """`text` so that it can be nothing but what was said."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _MARKER.sub(lambda found: f"{found[0]} ", text)


class Fields:
    """Which fields an endpoint takes: all, until it refuses one and answers without it.

    `own` are further fields, for one kind of server; `penalty` is its name for the repetition penalty.
    """

    def __init__(self, own: Body | None = None, penalty: str = "repetition_penalty") -> None:
        self._own, self._penalty = own or {}, penalty
        self._left_out: frozenset[str] = frozenset()
        self._longest = "max_tokens"

    def body(self, model: str, messages: list[Message], params: SamplingParams) -> Body:
        """The body that asks for a streamed answer."""
        body = {
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._longest: params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "seed": params.seed,
            self._penalty: params.repetition_penalty,
            "stop": list(params.stop[:MOST_STOP_STRINGS]) or None,
            **self._own,
        }
        return {name: value for name, value in body.items() if value is not None and name not in self._left_out}

    def probe(self, model: str, messages: list[Message]) -> Body:
        """The body that asks for one token."""
        return {"model": model, "messages": messages, self._longest: 1}

    async def adapted(self, body: Body, ask: Callable[[Body], Awaitable[T]]) -> T:
        """What `ask` returns; asked again without the fields that the endpoint refuses. Raises EndpointRefused."""
        asked = body
        while True:
            try:
                result = await ask(asked)
            except EndpointRefused as error:
                less = _without_refused(asked, error.words)
                if less is None:
                    raise
                asked = less
            else:
                self._learn(body, asked)
                return result

    def _learn(self, wanted: Body, taken: Body) -> None:
        """Ask for no more than was taken from now on."""
        left_out = sorted(wanted.keys() - taken.keys() - {"max_tokens"})
        if left_out:
            log.warning("The endpoint does not take every field.", action="endpoint_fields", left_out=left_out)
        self._left_out |= frozenset(left_out)
        if "max_completion_tokens" in taken:
            self._longest = "max_completion_tokens"


def _without_refused(body: Body, words: str) -> Body | None:
    """`body` without what the refusal names, or where it names nothing, without what only some take; None at an end."""
    if "max_tokens" in body and "max_completion_tokens" in words:
        renamed = dict(body)
        renamed["max_completion_tokens"] = renamed.pop("max_tokens")
        return renamed
    optional = [name for name in (*_OPTIONAL, *_OF_SOME) if name in body]
    named = [name for name in optional if re.search(rf"\b{name}\b", words)]
    dropped = named or [name for name in optional if name in (*_OF_SOME, "stream_options")]
    return {name: value for name, value in body.items() if name not in dropped} if dropped else None
