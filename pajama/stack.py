"""Stack: everything that `pajama up` runs on one machine, and how other commands find it.

Embedded Valkey where no Redis is given, the schema at head, a worker, the web page, the reaper. A lock in the data
folder keeps a second one out; `running.json` beside it says where the first one is.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from core.database import Database, upgrade
from core.errors import AlreadyRunning, ModelUnavailable, SettingsError
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.redis import connect, translated, worker_key
from core.settings import Settings, variable
from pajama.processes import Child
from pajama.valkey import EmbeddedValkey

STOP_WITHIN_S = 8.0


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running stack is."""

    pid: int
    redis_url: str
    database_url: str
    web_url: str


class Stack:
    """The processes of one machine."""

    def __init__(self, settings: Settings, *, web: bool = True) -> None:
        self._folder = settings.data_dir
        self._settings = settings
        self._web = web
        self._lock: IO[str] | None = None
        self._valkey: EmbeddedValkey | None = None
        self._children: list[Child] = []
        self._stop = threading.Event()
        self._reaper: threading.Thread | None = None

    @property
    def settings(self) -> Settings:
        """The settings as they are once the stack is started: the URL of Redis and the port filled in."""
        return self._settings

    @property
    def web_url(self) -> str:
        """Where the page is."""
        host = "127.0.0.1" if self._settings.web_host in ("0.0.0.0", "::") else self._settings.web_host  # noqa: S104
        return f"http://{host}:{self._settings.web_port}/"

    @property
    def embedded_valkey(self) -> bool:
        """Whether the queue is the embedded one."""
        return self._valkey is not None

    @property
    def log_folder(self) -> Path:
        """Where the processes write their logs."""
        return self._folder / "logs"

    def start(self) -> None:
        """Start everything. Raises AlreadyRunning, SettingsError, DatabaseUnavailable, QueueUnavailable."""
        self._take_lock()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        if self._web:
            self._settings = self._settings.model_copy(update={"web_port": _usable_port(self._settings)})
        upgrade(self._settings.effective_database_url)
        if not self._settings.redis_url:
            self._valkey = EmbeddedValkey(self._folder / "valkey")
            self._settings = self._settings.model_copy(update={"redis_url": self._valkey.start()})
        with translated(), connect(self._settings.redis_url) as client:
            client.ping()
        self._spawn("worker", "worker")
        if self._web:
            self._spawn("web", "bot", "web")
        self._reaper = threading.Thread(target=self._reap, name="reaper", daemon=True)
        self._reaper.start()
        running = Running(
            os.getpid(),
            self._settings.redis_url,
            self._settings.effective_database_url,
            self.web_url if self._web else "",
        )
        (self._folder / "running.json").write_text(json.dumps(asdict(running)), encoding="utf-8")

    def wait_for_worker(self, timeout_s: float) -> dict[str, Any]:
        """The worker's own words once it is ready: model, revision. Raises ModelUnavailable when it does not come up."""
        deadline = time.monotonic() + timeout_s
        with connect(self._settings.redis_url) as client:
            while time.monotonic() < deadline:
                found = ready_workers(client, self._settings.redis_prefix)
                if found:
                    return found[0]
                self._stop.wait(0.05)
        raise ModelUnavailable(
            f"The worker is not ready after {timeout_s:.0f} s; see {self.log_folder / 'worker.log'}."
        )

    def stop(self) -> None:
        """Stop everything within STOP_WITHIN_S seconds; what is being answered goes back to the queue."""
        self._stop.set()
        deadline = time.monotonic() + STOP_WITHIN_S
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.wait(deadline)
        if self._reaper is not None:
            self._reaper.join()
        if self._valkey is not None:
            self._valkey.stop()
        if self._lock is not None:
            (self._folder / "running.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("a")
        except OSError as error:
            raise SettingsError(f"{variable('data_dir')}: {self._folder} cannot be used: {error}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            other = find_running(self._folder)
            where = f" (process {other.pid}{', ' + other.web_url if other.web_url else ''})" if other else ""
            raise AlreadyRunning(f"Pajama runs already in {self._folder}{where}.") from error

    def _spawn(self, name: str, *arguments: str) -> None:
        filled = {
            "redis_url": self._settings.redis_url,
            "database_url": self._settings.effective_database_url,
            "web_port": str(self._settings.web_port),
            "data_dir": str(self._folder.resolve()),
        }
        environment = {variable(setting): value for setting, value in filled.items()}
        command = [sys.executable, "-m", "pajama", *arguments]
        child = Child(name, command, environment, self.log_folder / f"{name}.log")
        child.start()
        self._children.append(child)

    def _reap(self) -> None:
        database = Database(self._settings.effective_database_url)
        wake_ups = WakeUps(make_celery(self._settings.redis_url, self._settings.redis_prefix))
        with connect(self._settings.redis_url) as client:
            Reaper(self._settings, database, client, wake_ups).run(self._stop)
        wake_ups.close()
        database.close()


def find_running(folder: Path) -> Running | None:
    """The stack that runs on this data folder, if there is one."""
    try:
        running = Running(**json.loads((folder / "running.json").read_text(encoding="utf-8")))
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return running
    except (OSError, ValueError, TypeError):
        return None
    return None  # nobody holds the lock: the file was left by a kill


def ready_workers(client: Any, prefix: str) -> list[dict[str, Any]]:
    """What every ready worker says of itself. Raises QueueUnavailable."""
    with translated():
        keys = list(client.scan_iter(match=worker_key(prefix, "*"), count=1000))
        return [json.loads(value) for value in client.mget(keys) if value] if keys else []


def _usable_port(settings: Settings) -> int:
    """The port of the page, chosen where it is 0. Raises SettingsError where it is taken."""
    family = socket.AF_INET6 if ":" in settings.web_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.web_host, settings.web_port))
        except OSError as error:
            raise SettingsError(
                f"{variable('web_port')}: {settings.web_host}:{settings.web_port} cannot be used ({error.strerror});"
                " give another port, or 0 for any free one."
            ) from error
        return int(probe.getsockname()[1])
