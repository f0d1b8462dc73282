"""Refusals: what an endpoint's status and error body mean, as one of core's errors.

Its own words may repeat what people said, so that no sentence here holds them: only its name for the error, and, for
the code that decides what to leave out next, `EndpointRefused.words`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from core.errors import AnswerFailed, EndpointAway, EndpointBroken, EndpointDenied, EndpointRefused, EngineFailed
from core.settings import variable

_BUSY = frozenset({429, 502, 503, 504})
_MOST_WORDS = 4000
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_OVERFLOW = re.compile(
    r"context.?(length|size|window)|exceed_context|max_model_len|maximum.{0,20} tokens|inputs.{0,5} tokens", re.I
)


class ContextOverflow(EngineFailed):
    """The prompt and the longest answer do not fit the endpoint's context."""


def refusal(url: str, status: int, headers: Mapping[str, str], body: bytes) -> AnswerFailed:
    """The error that a status other than 200 stands for."""
    name, words = told(body)
    shown = f"{status}, {name}" if name else str(status)
    if status in _BUSY:
        return EndpointAway(f"{url} is busy or not ready ({shown}).", retry_after(headers.get("retry-after")))
    if status in (401, 403):
        return EndpointDenied(f"{url} does not take the key ({shown}): see {variable('openai_api_key')}.", status)
    if status == 404:
        return EndpointDenied(
            f"{url} is not there ({shown}): see {variable('openai_model')}, and {variable('openai_base_url')}, which "
            "often ends with /v1.",
            status,
        )
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere").partition("?")[0][:200]
        return EndpointDenied(f"{url} sends to {where} ({shown}): see {variable('openai_base_url')}.", status)
    if status >= 500:
        return EndpointBroken(f"{url} failed ({shown}).")
    if status == 413 or (status in (400, 422) and _OVERFLOW.search(f"{name} {words}")):
        return ContextOverflow(f"The prompt is too long for {url} ({shown}).")
    return EndpointRefused(f"{url} refuses the request ({shown}).", words)


def told(body: bytes) -> tuple[str, str]:
    """(the error's name, its words) of an error body; empty where there is none."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "", text[:_MOST_WORDS]
    if isinstance(found, dict) and isinstance(found.get("error"), dict | str):
        found = found["error"]
    return error_name(found), text[:_MOST_WORDS]


def error_name(error: Any) -> str:
    """The identifier by which an endpoint calls an error, if it has one; never a sentence."""
    fields = [error.get("code"), error.get("type"), error.get("error_type")] if isinstance(error, dict) else []
    return next((field for field in fields if isinstance(field, str) and _NAME.fullmatch(field)), "")


def retry_after(value: str | None) -> float:
    """The seconds that a Retry-After header asks for: a number or a date; 0 where there is none to be read."""
    if not value:
        return 0.0
    try:
        return max(0.0, min(float(value), 1e6))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
