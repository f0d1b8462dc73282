"""Calls to Slack that matter: tried again where the network or the servers fail, typed where Slack refuses.

slack_sdk by itself retries no rate limit, and a lost connection at once, which would post twice. Where a call failed and
may have been done all the same, it is looked up before it is made again. A wait holds up only the answer that waits.
Knows no answer and no Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError

from core.errors import DeliveryFailed

log = structlog.get_logger(__name__)

Json = dict[str, Any]

Done = Callable[[], Awaitable[Json | None]]
"""What Slack would have answered, if a call that failed was done; None if it was not."""

CALL_TIMEOUT_S = 30.0
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_RATE_LIMITED = "ratelimited"
_LIMITED = frozenset({_RATE_LIMITED, "rate_limited"})
_BROKEN = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "unreadable"})

OUTSIDE = frozenset({"not_in_channel", "channel_not_found"})
"""How Slack refuses where the bot is not in the channel; of private ones it does not say that they are there."""


class Refused(DeliveryFailed):
    """Slack does not take the call, and never will, or not within what is waited. `refusal` is Slack's own code."""

    def __init__(self, refusal: str) -> None:
        super().__init__(f"Slack refuses: {refusal}")
        self.refusal = refusal

    @property
    def limited(self) -> bool:
        """Whether Slack would take it later, from whoever has the patience."""
        return self.refusal in _LIMITED


class Unanswered(Refused):
    """Slack has not taken the call as often as it was made: it may later. `refusal` is why not."""


class Unsure(DeliveryFailed):
    """Whether Slack did what it was asked cannot be known."""


class Gate(Protocol):
    """Who says when a call may be made."""

    async def wait(self) -> None:
        """Return when it may."""

    async def refused(self, for_s: float) -> None:
        """Hear that Slack took no call, and takes none for so long."""


async def surely(
    call: Callable[[], Awaitable[Any]],
    *,
    what: str,
    tries: int | None = None,
    done: Done | None = None,
    gate: Gate | None = None,
    patient: bool = True,
) -> Json:
    """What Slack answers, asked until it takes the call, or so many times, then Unanswered. Raises Refused where it never will.

    `done` is asked after a failure that may have come too late; without it, twice is no harm. Where it is too much for
    Slack, whoever is not `patient` hears so at once.
    """
    retry_s, tried = _FIRST_RETRY_S, 0
    while True:
        if gate is not None:
            await gate.wait()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await call()
                return dict(answer.data)
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            reason, limited, told_s = _failure(error)
        tried, wait_s = tried + 1, max(retry_s, told_s)
        if limited and gate is not None:
            await gate.refused(wait_s)
        if limited and not patient:
            raise Refused(_RATE_LIMITED)
        if tried == tries:
            raise Unanswered(reason)
        log.warning("Slack is asked again.", action="slack_retry", what=what, reason=reason, wait_s=wait_s)
        await asyncio.sleep(wait_s)
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        if not limited and done is not None and (known := await done()) is not None:
            log.info("A call was done after all.", action="slack_was_done", what=what)
            return known


async def cannot_be_known() -> Json | None:
    """A `Done` for what leaves no trace that could be looked up. Raises Unsure."""
    raise Unsure


def _failure(error: Exception) -> tuple[str, bool, float]:
    """Why a call failed that may go well later, whether it was too much for Slack, and how many seconds that asks to wait.

    Raises Refused for one that never will.
    """
    match error:
        case SlackApiError(response=response):
            reason = _code(response)
        case aiohttp.ClientResponseError():  # of a server that is given the bytes of a file
            reason, response = f"HTTP {error.status}", error
        case _:
            return str(error) or repr(error), False, 0.0
    limited = _status(response) == 429 or reason in _LIMITED
    if not limited and _status(response) < 500 and reason not in _BROKEN:
        raise Refused(reason) from error
    return reason, limited, _retry_after(response)


def _status(response: Any) -> int:
    return int(getattr(response, "status_code", None) or getattr(response, "status", None) or 0)


def _code(response: Any) -> str:
    data = getattr(response, "data", response)
    return str(data.get("error") or "unreadable") if isinstance(data, dict) else "unreadable"


def _retry_after(response: Any) -> float:
    told = (getattr(response, "headers", None) or {}).get("Retry-After", "0")
    return float(told) if str(told).isdigit() else 0.0
