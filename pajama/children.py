"""What every child process gets: an end that comes with its parent's, however that one ends.

On Linux the kernel sends the signal (PDEATHSIG) when the thread that started the child ends, so that thread has to live
for as long as the child. Elsewhere the child watches a pipe that only its parent holds open.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

KERNEL_TELLS = sys.platform == "linux"
"""Whether the kernel ends a child with its parent."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` for `subprocess`: the child is killed when its parent is gone. None where there is no such call."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def preexec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return preexec


def watch_parent(descriptor: int) -> None:
    """Ask this process to end when the pipe at `descriptor`, whose other end its parent holds, closes."""

    def wait() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="watch-parent", daemon=True).start()
