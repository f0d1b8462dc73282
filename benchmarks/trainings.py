"""Trainings: how those that a benchmark makes are told while they run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from slimpajama.options import TrainProgress

_EVERY_S = 60.0


def told(name: str) -> Callable[[TrainProgress], None]:
    """Tells a line a minute on standard error."""
    due = [0.0]

    def tell(progress: TrainProgress) -> None:
        if time.monotonic() >= due[0]:
            due[0] = time.monotonic() + _EVERY_S
            line = f"{progress.share:4.0%}, loss {progress.loss:.3f}, {progress.tokens_per_s:.0f} tokens/s"
            sys.stderr.write(f"{name}: {line} {progress.held_out}\n")

    return tell
