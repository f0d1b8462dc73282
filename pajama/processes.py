"""Child processes: started with their parent's fate, restarted when they fall, stopped in time.

Knows commands, signals and log files; what the processes do is theirs.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from pajama.children import die_with_parent

log = structlog.get_logger(__name__)

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.2, 10.0
_STEADY_S = 30.0
"""A process that ran for so long starts its backoff anew when it falls."""


class Child:
    """One process that should run until it is stopped."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], log_file: Path) -> None:
        self.name = name
        self._command, self._log_file = command, log_file
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started_at = 0.0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process and the thread that keeps it running."""
        self._thread.start()
        self._ready.wait()

    def ask_to_stop(self) -> None:
        """Send SIGTERM; `wait` waits for the end."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic), then kill."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("A process did not stop in time.", action="process_killed", child=self.name)
            self._process.kill()
            self._process.wait()
        self._thread.join()

    def _keep(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._stopping.is_set():
            self._spawn()
            assert self._process is not None
            status = self._process.wait()
            if self._stopping.is_set():
                return
            backoff_s = _FIRST_BACKOFF_S if time.monotonic() - self._started_at > _STEADY_S else backoff_s
            log.error("A process fell.", action="process_fell", child=self.name, status=status, again_in_s=backoff_s)
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _spawn(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - nothing but two system calls
                start_new_session=True,  # so that Ctrl-C reaches the parent only, which stops its children in order
            )
        self._started_at = time.monotonic()
        self._ready.set()
