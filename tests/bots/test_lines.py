"""What is said while it is not known what was missed."""

from __future__ import annotations

import asyncio

import pytest

from bots import lines
from bots.lines import Lines


async def test_a_hold_that_has_taken_too_long_for_one_is_over_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Lines()
    held.hold()
    monkeypatch.setattr(lines, "HELD_S", 0.05)
    async with held.turn("here"):
        monkeypatch.setattr(lines, "HELD_S", 3_600.0)
    async with held.turn("there"):
        pass


async def test_a_hold_that_was_released_does_not_end_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Lines()

    async def line_up() -> None:
        async with held.turn("here"):
            pass

    monkeypatch.setattr(lines, "HELD_S", 0.05)
    held.hold()
    async with asyncio.TaskGroup() as group:
        group.create_task(line_up())
        await asyncio.sleep(0)  # until it waits
        held.release()
    monkeypatch.setattr(lines, "HELD_S", 3_600.0)
    held.hold()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await line_up()
