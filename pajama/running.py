"""Running: where the Pajama of this machine is, as every other command finds it.

Reads what the stack leaves in its data folder. Knows no SQL, no Redis and no Celery.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running stack is."""

    pid: int
    redis_url: str
    database_url: str
    web_url: str


def find_running(folder: Path) -> Running | None:
    """The stack that runs on this data folder, if there is one."""
    try:
        running = Running(**json.loads((folder / "running.json").read_text(encoding="utf-8")))
        return running if _held(folder / "lock") else None  # nobody holds it: the file was left by a kill
    except (OSError, ValueError, TypeError):
        return None


def _held(lock: Path) -> bool:
    """Whether a process holds the lock."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def web_url(settings: Settings) -> str:
    """Where this machine reaches its own page."""
    host = reachable_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}/"


def reachable_host(settings: Settings) -> str:
    """The address at which this machine reaches what listens on `web_host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.web_host, settings.web_host)  # noqa: S104 - compared only
