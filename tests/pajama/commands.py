"""Real `pajama` processes in a data folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pajama.children import die_with_parent
from tests.pajama.warm import Warm

PATIENCE_S = 60.0
STOP_S = 10.0
"""What Ctrl-C may take."""
_SHORT = ("config", "db", "faq", "health", "history", "privacy", "why")


class Pajama:
    """The command line with its data in `folder`, its working directory too."""

    def __init__(self, folder: Path, warm: Warm | None = None) -> None:
        self.folder, self.data, self._warm = folder, folder / "data", warm
        self.settings = {
            "PAJAMA_DATA_DIR": str(self.data),
            "PAJAMA_WEB_PORT": "0",
            "PAJAMA_DEVICE": "cpu",
            "PAJAMA_MAX_NEW_TOKENS": "8",
            "PAJAMA_SAMPLE_FAQ": "false",
            "PAJAMA_FAQ_EMBEDDER": "none",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start a command; its two outputs are read together, it leads a process group as on a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "pajama", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.settings, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - a test run that is killed leaves nothing behind either
        )

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Short ones need not import everything anew."""
        environment = {**os.environ, **self.settings, **settings}
        if (
            self._warm is not None
            and arguments[0] in _SHORT
            and not any(name.startswith("PYTHON") for name in settings)
        ):
            return self._warm.run(arguments, self.folder, environment, PATIENCE_S)
        return subprocess.run(
            [sys.executable, "-m", "pajama", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def json(self, *arguments: str, **settings: str) -> Any:
        """What a command prints with `--json`."""
        done = self.run(*arguments, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def running(self) -> dict[str, Any] | None:
        """What the stack says of itself, if it has said so."""
        try:
            found: dict[str, Any] = json.loads((self.data / "running.json").read_text())
        except FileNotFoundError:
            return None
        return found


class Up:
    """A `pajama up` process."""

    def __init__(self, pajama: Pajama, **settings: str) -> None:
        self.pajama = pajama
        self.process = pajama.start("up", **settings)
        self.printed = ""
        self._seen: list[psutil.Process] = []

    def wait_until_up(self) -> None:
        """Read what it prints until everything is ready."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if line.startswith("╰"):
                return
        raise AssertionError(f"It ended: {self.printed}")

    def children(self) -> dict[str, psutil.Process]:
        """Its processes: valkey, worker, web."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self._seen += found
        return {_name(process): process for process in found}

    def interrupt(self) -> float:
        """Ctrl-C, which a terminal sends to the whole process group. Returns the seconds that the end took."""
        self.children()
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.printed += self.process.communicate(timeout=PATIENCE_S)[0]
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL to this process alone."""
        self.children()
        self.process.kill()
        self.process.communicate()

    def left_behind(self) -> list[psutil.Process]:
        """Processes that still run a moment after the end."""
        _, alive = psutil.wait_procs(self._seen, timeout=5)
        return list(alive)


def until(condition: Callable[[], object]) -> None:
    """Look until the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    return command[-1] if "pajama" in command else "valkey"
