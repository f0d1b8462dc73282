"""Calls to Discord: within what it allows a bot, tried again where the network or the servers fail, typed where it refuses.

discord.py itself waits for the rate limits of channels and retries some server errors; 503, a reset connection and a
rate limit that outlasts its five tries it leaves to us, and of the limit for the whole bot it learns by being refused.
Knows no answer and no Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import discord
import structlog
from discord.http import Route

from bots.pacing import Allowance
from core.errors import DeliveryFailed

T = TypeVar("T")

log = structlog.get_logger(__name__)

CALL_TIMEOUT_S = 120.0
"""For one try, waiting for a rate limit included. What a try that timed out may have done, its nonce makes harmless."""

REQUESTS_PER_S, REQUESTS_AT_ONCE = 40.0, 5
"""Of one bot, over all channels; Discord allows 50 in any second."""

_WITHOUT_LIMIT = ("/webhooks/", "/interactions/")
"""Of these Discord counts none for the whole bot."""

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_RATE_LIMITED = 429
TOO_MANY_OLD_EDITS = 30046
"""A rate limit of messages older than an hour: there is another way, which is not to wait for it."""


class Refused(DeliveryFailed):
    """Discord does not take the call, and never will. `code` is Discord's own."""

    def __init__(self, error: discord.HTTPException) -> None:
        super().__init__(f"Discord refuses with {error.status} ({error.code}): {error.text}")
        self.refusal = error.code


async def surely(call: Callable[[], Awaitable[T]], *, what: str) -> T:
    """The result of `call`, tried until Discord takes it. Raises Refused where it never will."""
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await call()
        except discord.HTTPException as error:
            limited = error.status == _RATE_LIMITED and error.code != TOO_MANY_OLD_EDITS
            if not limited and error.status < 500:
                raise Refused(error) from error
            reason: Exception = error
        except discord.RateLimited as error:
            reason, retry_s = error, max(retry_s, error.retry_after)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            reason = error
        log.warning("Discord is asked again.", action="discord_retry", what=what, reason=str(reason) or repr(reason))
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)


def within(allowance: Allowance) -> aiohttp.TraceConfig:
    """What lets discord.py's session wait, right before each request that counts, until the allowance has room."""

    async def wait(session: object, context: object, request: aiohttp.TraceRequestStartParams) -> None:
        url = str(request.url)
        if url.startswith(Route.BASE) and not any(part in url for part in _WITHOUT_LIMIT):
            await allowance.take()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(wait)
    return trace
