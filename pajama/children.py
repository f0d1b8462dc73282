"""What every child process gets: an end that comes with its parent's, however that one ends.

On Linux the kernel sends the signal (PDEATHSIG). Elsewhere the child's own watchdog sees the pipe from its parent
close (`watch_parent`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

WATCH_VARIABLE = "PAJAMA_PARENT_PIPE"
_PR_SET_PDEATHSIG = 1


def die_with_parent(sent: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A `preexec_fn` for `subprocess`: the child gets `sent` when its parent is gone. None where there is no such call."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def preexec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, sent, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return preexec


def watch_parent(descriptor: int) -> None:
    """End this process when the pipe at `descriptor`, whose other end the parent holds, closes."""

    def wait() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="watch-parent", daemon=True).start()
