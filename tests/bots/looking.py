"""Looking again for what nothing tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object]) -> None:
    """Look again until `condition` holds; for what only SQL knows. The test's own timeout judges how long."""
    while not condition():  # noqa: ASYNC110 - nothing tells of a change in SQL
        await asyncio.sleep(0.01)
