"""Child processes: started with their parent's fate, restarted when they fall, stopped in time.

Knows `pajama` commands, signals and log files; what the processes do is theirs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import structlog

from pajama.children import KERNEL_TELLS, die_with_parent

log = structlog.get_logger(__name__)

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.2, 10.0
_STEADY_S = 30.0
"""A process that ran for so long starts its backoff anew when it falls."""
_FALLS_BY_SIGNAL = 3
_LAST_BYTES = 4096


class Child:
    """`pajama` with `arguments`, a process that should run until it is stopped.

    Without `kernel_tells` the child learns from a pipe that its parent has ended.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        *,
        kernel_tells: bool = KERNEL_TELLS,
    ) -> None:
        self.name, self.log_file = name, log_file
        self._arguments, self._environment = arguments, {**os.environ, **environment}
        self._pipe = None if kernel_tells else os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._spawned = threading.Event(), threading.Event()
        self._started_at, self._log_starts_at = 0.0, 0
        self._status, self._falls = 0, 0
        self._not_started, self._words = "", ""
        self._thread = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def hopeless(self) -> bool:
        """Whether it fell in a way that it would fall again: by an error of its own, or by signals repeatedly.

        It is started again all the same; whoever waits for it need not wait any longer.
        """
        return self._falls > 0 and (self._status > 0 or self._falls >= _FALLS_BY_SIGNAL)

    def start(self) -> None:
        """Start the process and the thread that keeps it running."""
        self._thread.start()
        self._spawned.wait()

    def last_words(self) -> str:
        """The last line of the last run that ended, which is the sentence of the error that ended it."""
        return self._not_started or self._words or f"it ended with status {self._status}"

    def _last_line(self) -> str:
        with self.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_starts_at, size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

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
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def _keep(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._stopping.is_set():
            status = self._run()
            if self._stopping.is_set():
                return
            self._words = "" if self._not_started else self._last_line()  # before the next run writes
            self._status, self._falls = status, self._falls + 1
            backoff_s = _FIRST_BACKOFF_S if time.monotonic() - self._started_at > _STEADY_S else backoff_s
            log.error("A process fell.", action="process_fell", child=self.name, status=status, again_in_s=backoff_s)
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _run(self) -> int:
        """Start the process and wait for its end. Returns its status; 1 where it could not be started."""
        try:
            process, self._not_started = self._spawn(), ""
        except OSError as error:  # no memory, no space, no permission to write the log
            self._not_started = f"{self.name} cannot be started: {error}."
            return 1
        finally:
            self._spawned.set()
        return process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the process. Called by one thread only, which lives for as long as the process."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as out:
            self._log_starts_at = out.tell()
            self._process = self._popen(out)
        self._started_at = time.monotonic()
        if self._stopping.is_set():  # asked to stop in between
            self._process.terminate()
        return self._process

    def _popen(self, out: IO[bytes]) -> subprocess.Popen[bytes]:
        watched = ["--parent-pipe", str(self._pipe[0])] if self._pipe else []
        return subprocess.Popen(
            [sys.executable, "-m", "pajama", *watched, *self._arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=self._pipe[:1] if self._pipe else (),
            preexec_fn=None if self._pipe else die_with_parent(),  # noqa: PLW1509 - nothing but two system calls
            start_new_session=True,  # so that Ctrl-C reaches the parent only, which stops its children in order
        )
