"""Stack: everything that `pajama up` runs on one machine.

Embedded Valkey where no Redis is given, the schema at head, a worker, the web page, the reaper. A lock in the data
folder keeps a second one out; `pajama.running` says where the first one is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import structlog

from core.database import Database, upgrade
from core.errors import AlreadyRunning, PajamaError, QueueUnavailable, SettingsError
from core.faq import collections
from core.faq.collections import CollectionView
from core.presence import WorkerStatus, ready_workers
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.redis import adapter_key, connect, translated
from core.settings import Settings, variable
from pajama.ports import usable_port
from pajama.processes import Child
from pajama.running import Running, find_running, reachable_host, web_url
from pajama.valkey import EmbeddedValkey

log = structlog.get_logger(__name__)

STOP_WITHIN_S = 8.0
_REAPER_WITHIN_S = 0.5
_LOCK_WITHIN_S = 0.25
"""Somebody who only looks whether a stack runs holds the lock for a moment."""
_VALKEY_LOOK_EVERY_S = 0.5


_NEEDED = ("worker", "web")
"""Without these there is nothing to show; a platform that cannot be reached keeps nobody from the page."""


class Stack:
    """The processes of one machine."""

    def __init__(self, settings: Settings, *, web: bool = True) -> None:
        self._folder = settings.data_dir
        self._settings = settings
        self._web = web
        self._lock: IO[str] | None = None
        self._valkey: EmbeddedValkey | None = None
        self._children: list[Child] = []
        self._stop, self._valkey_stops = threading.Event(), threading.Event()
        self._reaper: threading.Thread | None = None

    @property
    def settings(self) -> Settings:
        """The settings as they are once the stack is started: the URL of Redis and the port filled in."""
        return self._settings

    @property
    def web_url(self) -> str:
        """Where the page is."""
        return web_url(self._settings)

    @property
    def discord(self) -> bool:
        """Whether the Discord bot runs: it does where it has a token."""
        return bool(self._settings.discord_token.get_secret_value())

    @property
    def slack(self) -> bool:
        """Whether the Slack bot runs: it does where it has a token, or may be installed."""
        return self._settings.slack_wanted

    def trouble(self, name: str) -> str:
        """Why the process `name` keeps falling; empty where it does not."""
        fallen = next((child for child in self._children if child.name == name and child.hopeless), None)
        return fallen.last_words() if fallen is not None else ""

    def connected(self, name: str) -> bool:
        """Whether the platform's bot said lately that it is connected."""
        try:
            with translated(), connect(self._settings.redis_url) as client:
                return bool(client.exists(adapter_key(self._settings.redis_prefix, name)))
        except QueueUnavailable:
            return False

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
            self._settings = self._settings.model_copy(update={"web_port": usable_port(self._settings)})
        upgrade(self._settings.effective_database_url)
        if self._settings.sample_faq:
            self._bring_sample()
        if not self._settings.redis_url:
            self._valkey = EmbeddedValkey(self._folder / "valkey")
            self._settings = self._settings.model_copy(update={"redis_url": self._valkey.start()})
            threading.Thread(target=self._keep_valkey, args=(self._valkey,), name="keep-valkey", daemon=True).start()
        with translated(), connect(self._settings.redis_url) as client:
            client.ping()
        self._spawn("worker", "worker")
        if self._web:
            self._spawn("web", "bot", "web")
        if self._web and self.discord:
            self._spawn("discord", "bot", "discord")
        if self._web and self.slack:
            self._spawn("slack", "bot", "slack")
        self._reaper = threading.Thread(target=self._reap, name="reaper", daemon=True)
        self._reaper.start()
        self._say_where()

    def collections(self) -> list[CollectionView]:
        """The FAQ collections that every Workspace sees."""
        with self._opened() as database, database.read() as session:
            return collections.visible(session, None)

    def _bring_sample(self) -> None:
        from core.faq import sample  # with the readers of every kind of file

        with self._opened() as database, database.write() as session:
            sample.install(session, datetime.now(UTC))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Database]:
        database = Database(self._settings.effective_database_url)
        try:
            yield database
        finally:
            database.close()

    def wait_until_ready(self, leave: threading.Event | None = None) -> WorkerStatus | None:
        """The worker's own words (model, revision) once it and the page are ready; None when `leave` is set first.

        However long a model takes to come: a wait ends when a process cannot start. Raises PajamaError with its words.
        """
        leave = leave or threading.Event()
        with connect(self._settings.redis_url) as client:
            while not leave.is_set():
                for child in self._children:
                    if child.hopeless and child.name in _NEEDED:
                        raise PajamaError(f"{child.last_words()}\nThe log of {child.name} is {child.log_file}.")
                pid = self._children[0].pid
                ready = [w for w in ready_workers(client, self._settings.redis_prefix) if w.pid == pid]
                if ready and (not self._web or self._page_listens()):
                    return ready[0]
                leave.wait(0.05)
        return None

    def stop(self) -> None:
        """Stop everything within STOP_WITHIN_S and a moment; what is being answered goes back to the queue."""
        self._stop.set()
        deadline = time.monotonic() + STOP_WITHIN_S
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.wait(deadline)
        if self._reaper is not None:
            self._reaper.join(_REAPER_WITHIN_S)
        self._valkey_stops.set()
        if self._valkey is not None:
            self._valkey.stop()
        if self._lock is not None:
            (self._folder / "running.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("a")
        except OSError as error:
            raise SettingsError(f"{variable('data_dir')}: {self._folder} cannot be used: {error}.") from error
        if not _locked(self._lock):
            self._lock.close()
            self._lock = None
            other = find_running(self._folder)
            where = f" (process {other.pid}{', ' + other.web_url if other.web_url else ''})" if other else ""
            raise AlreadyRunning(f"Pajama runs already in {self._folder}{where}.")

    def _say_where(self) -> None:
        running = Running(
            os.getpid(),
            self._settings.redis_url,
            self._settings.effective_database_url,
            self.web_url if self._web else "",
        )
        aside = self._folder / "running.json.new"
        aside.touch(mode=0o600)  # a URL may carry a password
        aside.write_text(json.dumps(asdict(running)), encoding="utf-8")
        aside.replace(self._folder / "running.json")

    def _spawn(self, name: str, *arguments: str) -> None:
        filled = {
            "redis_url": self._settings.redis_url,
            "database_url": self._settings.effective_database_url,
            "web_port": str(self._settings.web_port),
            "data_dir": str(self._folder.resolve()),
        }
        environment = {variable(setting): value for setting, value in filled.items()}
        child = Child(name, arguments, environment, self.log_folder / f"{name}.log")
        child.start()
        self._children.append(child)

    def _page_listens(self) -> bool:
        address = (reachable_host(self._settings), self._settings.web_port)
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            return True
        return False

    def _keep_valkey(self, valkey: EmbeddedValkey) -> None:
        """Start the server again where it falls: at the same address, with what it had written."""
        while not self._valkey_stops.wait(_VALKEY_LOOK_EVERY_S):
            if valkey.running():
                continue
            log.error("The embedded Valkey fell.", action="valkey_fell")
            try:
                valkey.start()
            except QueueUnavailable as error:
                log.warning("The embedded Valkey cannot be started.", action="valkey_failed", reason=str(error))

    def _reap(self) -> None:
        database = Database(self._settings.effective_database_url)
        wake_ups = WakeUps(make_celery(self._settings.redis_url, self._settings.redis_prefix))
        with connect(self._settings.redis_url) as client:
            Reaper(self._settings, database, client, wake_ups).run(self._stop)
        wake_ups.close()
        database.close()


def _locked(file: IO[str]) -> bool:
    """Whether the lock could be taken."""
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True
