"""Calls to Slack that matter: tried again where the network or the servers fail, typed where Slack refuses.

slack_sdk by itself retries no rate limit. A wait holds up only the answer that waits. Knows no answer and no Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError

from core.errors import DeliveryFailed

log = structlog.get_logger(__name__)

Json = dict[str, Any]

CALL_TIMEOUT_S = 30.0
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)


class Refused(DeliveryFailed):
    """Slack does not take the call, and never will. `refusal` is Slack's own code."""

    def __init__(self, refusal: str) -> None:
        super().__init__(f"Slack refuses: {refusal}")
        self.refusal = refusal


async def surely(call: Callable[[], Awaitable[Any]], *, what: str, tries: int | None = None) -> Json:
    """What Slack answers, asked until it takes the call, or so many times. Raises Refused where it never will."""
    retry_s, tried = _FIRST_RETRY_S, 0
    while True:
        wait_s = retry_s
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await call()
                return dict(answer.data)
        except SlackApiError as error:
            response: Any = error.response
            status, code = getattr(response, "status_code", 0), str(_code(response))
            if status != 429 and status < 500 and code not in _PASSING:
                raise Refused(code) from error
            wait_s = max(wait_s, _retry_after(response))
            reason = code
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or repr(error)
        tried += 1
        if tried == tries:
            raise Refused(reason)
        log.warning("Slack is asked again.", action="slack_retry", what=what, reason=reason, wait_s=wait_s)
        await asyncio.sleep(wait_s)
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)


def _code(response: Any) -> object:
    data = getattr(response, "data", response)
    return data.get("error", "unknown") if isinstance(data, dict) else "unreadable"


def _retry_after(response: Any) -> float:
    told = (getattr(response, "headers", None) or {}).get("Retry-After", "0")
    return float(told) if str(told).isdigit() else 0.0
