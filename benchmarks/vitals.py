"""Vitals of a process that is measured from outside: how late its event loop is, its memory and its CPU, in a file."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes import cpu_s

EVERY_S = 0.01
_WRITTEN_EVERY = 50


async def note_vitals(path: Path) -> None:
    """Write the vitals of this process to `path` twice a second, without end."""
    loop, me = asyncio.get_running_loop(), psutil.Process()
    with path.open("w", encoding="utf-8") as file:
        while True:
            lags_ms = []
            for _ in range(_WRITTEN_EVERY):
                due = loop.time() + EVERY_S
                await asyncio.sleep(EVERY_S)
                lags_ms.append(round(1000 * max(0.0, loop.time() - due), 2))
            memory_mib = me.memory_info().rss / 2**20
            line = {"at": time.time(), "lags_ms": lags_ms, "memory_mib": memory_mib, "cpu_s": cpu_s(me)}
            file.write(json.dumps(line) + "\n")
            file.flush()


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a process noted within some time."""

    lags_ms: list[float]
    memory_mib: list[float]
    cpu_s: float

    @classmethod
    def of(cls, path: Path, since: float, until: float | None = None) -> Vitals:
        """What was noted in `path` from `since` on, a time of the clock."""
        until = time.time() if until is None else until
        lines = [line for line in _lines(path) if since <= line["at"] <= until]
        lags_ms = [lag for line in lines for lag in line["lags_ms"]]
        used = lines[-1]["cpu_s"] - lines[0]["cpu_s"]
        return cls(lags_ms, [line["memory_mib"] for line in lines], used)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
