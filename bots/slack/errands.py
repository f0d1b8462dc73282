"""Errands: what is left to do about an event once Slack knows that it is taken. Slack waits three seconds for that.

What must not be lost is stored before the acknowledgement; telling, fetching and calling Slack come after it. Where
storing takes too long it is acknowledged all the same, and insisted on: Slack would count a failure, and tell it again.
What somebody does with a command or a button Slack tells once: it is acknowledged when it is done, so that Slack itself
says that it failed where the process ends before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from core.errors import ServiceUnavailable
from core.tasks import end

log = structlog.get_logger(__name__)

Later = Callable[[], Awaitable[None]]
"""What is left to do, for which nobody need wait."""

ACK_WITHIN_S = 2.0
_AGAIN_S, _LONGEST_AGAIN_S = 0.5, 10.0
_END_WITHIN_S = 2.0


async def nothing() -> None:
    """Nothing is left to do."""


class Errands:
    """One per bot process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def stored(self, store: Callable[[], Awaitable[Later]]) -> None:
        """Return when it is stored, or has taken long; what is left to do then goes on.

        Raises what `store` raises in time, so that nothing is acknowledged; after that it is tried again here.
        """
        storing = asyncio.ensure_future(store())
        done, _ = await asyncio.wait({storing}, timeout=ACK_WITHIN_S)
        if done:
            self.start(storing.result())
        else:
            log.warning("An event takes long to be stored.", action="event_slow")
            self.start(lambda: self._insist(storing, store))

    async def done(self, work: Later) -> None:
        """Return when it is done, or has taken long; it then goes on. Raises what it raises in time."""
        working = self._begin(work)
        done, _ = await asyncio.wait({working}, timeout=ACK_WITHIN_S)
        if done:
            working.result()

    def start(self, work: Later) -> None:
        """Do it now, and let nobody wait for it."""
        if work is not nothing:
            self._begin(work)

    def _begin(self, work: Later) -> asyncio.Task[None]:
        task = asyncio.create_task(_logged(work), name="errand-")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # which is in the log

    async def close(self) -> None:
        """Give what is under way a moment; what was stored is taken up by the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_WITHIN_S)
        await end(*self._tasks)

    async def _insist(self, storing: asyncio.Future[Later], store: Callable[[], Awaitable[Later]]) -> None:
        again_s = _AGAIN_S
        while True:
            try:
                later = await storing
            except ServiceUnavailable as error:
                log.warning("An event waits to be stored.", action="store_retry", reason=str(error))
                await asyncio.sleep(again_s)
                again_s = min(2 * again_s, _LONGEST_AGAIN_S)
                storing = asyncio.ensure_future(store())
            else:
                return await later()


async def _logged(work: Later) -> None:
    try:
        await work()
    except Exception:  # the edge: whatever fails here fails alone, and the operator sees where
        log.exception("An errand failed.", action="errand_failed")
        raise
