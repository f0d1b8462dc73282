"""Patience: an endpoint that is busy or away is asked again, ever less often, until it is too late."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from core.errors import EndpointAway

log = structlog.get_logger(__name__)
T = TypeVar("T")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 5.0


async def patiently(ask: Callable[[], Awaitable[T]], for_s: float) -> T:
    """What `ask` returns. While it raises EndpointAway it is called again, as long as that is within `for_s`.

    The wait that the endpoint asks for is kept; ours is spread, so that many answers do not come back at once.
    """
    give_up_at, ours_s = time.monotonic() + for_s, _FIRST_WAIT_S
    while True:
        try:
            return await ask()
        except EndpointAway as error:
            wait_s = max(error.wait_s, ours_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
            if time.monotonic() + wait_s >= give_up_at:
                raise
            log.warning("The endpoint is away; asking again.", action="endpoint_retry", reason=str(error), in_s=wait_s)
        await asyncio.sleep(wait_s)
        ours_s = min(2 * ours_s, _LONGEST_WAIT_S)
