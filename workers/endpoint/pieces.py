"""Pieces: the stream of an answer, chunk by chunk, from server-sent events to values.

Knows the format and its ends; lenient where endpoints differ (a missing field says nothing), strict where it could not
go on (no JSON, another type, a stream that breaks off). Never more than a bound is read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
from pydantic import Field, ValidationError

from core.errors import EndpointAway, EndpointBroken
from core.values import Usage, Value
from workers.endpoint.refusals import error_name

_EVENT_STREAM = "text/event-stream"
_MOST_EVENT_BYTES = 1 << 20
_REST_S = 0.2
"""How long the end of the response is waited for after `[DONE]`, so that its connection serves again."""

Tokens = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk. `made` says that the model made something, be it thoughts; `reason` ends the answer."""

    text: str = ""
    made: bool = False
    reason: str | None = None
    usage: Usage | None = None


async def read_pieces(response: httpx2.Response, most_bytes: int) -> AsyncGenerator[Piece]:
    """Yield the pieces of an answer to its end.

    Raises EndpointBroken for what cannot be read, EndpointAway where the stream breaks off, and what httpx2 raises.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _EVENT_STREAM:
        raise EndpointBroken(f"{response.url} answers with {kind[:60] or 'something'}, not with {_EVENT_STREAM}.")
    ended = False
    async with aclosing(_events(response)) as events:
        try:
            async for event in events:
                if response.num_bytes_downloaded > most_bytes:
                    raise EndpointBroken(f"{response.url} sent more than {most_bytes} bytes for one answer.")
                if event.data.strip() == "[DONE]":
                    await _rest(events)
                    return
                piece = _piece(event, str(response.url))
                ended = ended or piece.reason is not None
                yield piece
        except httpx2.TransportError:
            if not ended:
                raise
    if not ended:
        raise EndpointAway(f"{response.url} broke off its answer.")


async def _events(response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent]:
    async for event in httpx2.EventSource(response, _MOST_EVENT_BYTES):
        if event.data:  # an event without data is none
            yield event


async def _rest(events: AsyncIterator[httpx2.ServerSentEvent]) -> None:
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_REST_S):
            async for _ in events:
                pass


class _Delta(Value):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(Value):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Value):
    choices: tuple[_Choice, ...] | None = None
    usage: Any = None
    error: Any = None


class _Cached(Value):
    cached_tokens: Tokens | None = None


class _Usage(Value):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0
    prompt_tokens_details: _Cached | None = None


def _piece(event: httpx2.ServerSentEvent, url: str) -> Piece:
    try:
        chunk = _Chunk.model_validate(json.loads(event.data))
    except (ValueError, RecursionError) as error:  # pydantic's ValidationError is a ValueError
        raise EndpointBroken(f"{url} sent a chunk that is none.") from error
    if chunk.error or event.event == "error":
        name = error_name(chunk.error)
        raise EndpointBroken(f"{url} failed in the middle of an answer{f' ({name})' if name else ''}.")
    choice = next((choice for choice in chunk.choices or () if choice.index == 0), None)
    delta = choice.delta if choice is not None and choice.delta is not None else _Delta()
    return Piece(
        text=_without_surrogates(delta.content or ""),
        made=bool(delta.content or delta.reasoning_content or delta.reasoning),
        reason=choice.finish_reason if choice is not None else None,
        usage=_usage(chunk.usage),
    )


def _usage(told: Any) -> Usage | None:
    """The usage of a chunk; None where it tells none that can be read."""
    if told is None:
        return None
    try:
        usage = _Usage.model_validate(told)
    except ValidationError:
        return None
    details = usage.prompt_tokens_details
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        completion_tokens=usage.completion_tokens,
    )


def _without_surrogates(text: str) -> str:
    """JSON can name halves of a character, which no database stores."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
