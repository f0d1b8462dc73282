"""Passing threads: where everything but the engine multiplies, so that it does not slow the engine down for good.

OpenMP keeps a team for each thread that has ever multiplied. Once there are more threads in teams than cores, GCC's OpenMP
no longer waits for the end of a product but lets its threads sleep: a step of the engine then took 1.3 to 1.6 times as
long. A thread that ends takes its team along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_passing_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done in a thread of its own that is gone afterwards.

    The thread is no reason for the process to stay: a signal that ends the caller's waiting ends the work too.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            done.set_exception(error)

    thread = threading.Thread(target=run, name="passing", daemon=True)
    thread.start()
    thread.join()
    return done.result()
