"""Processes that tests start, kill and start again: bots, workers without a model, and the reaper beside them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from core.database import Database
from core.models import Turn
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.redis import connect
from core.settings import Settings, variable
from core.values import TurnState

_NAMES = (
    "data_dir", "database_url", "redis_url", "redis_prefix", "max_batch_size", "lease_s", "heartbeat_s", "log_format",
    "max_queued_turns_per_person", "discord_api_base", "discord_gateway_url", "slack_api_base", "slack_mode",
    "slack_client_id", "slack_http_port", "slack_public_url",
)  # fmt: skip
_SECRETS = ("discord_token", "slack_app_token", "slack_signing_secret", "slack_client_secret")


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process gets them."""
    given = {variable(name): str(getattr(settings, name)) for name in _NAMES}
    secrets = {variable(name): getattr(settings, name).get_secret_value() for name in _SECRETS}
    return {**os.environ, **given, **secrets}


@dataclass
class BotProcess:
    """`pajama bot`, started again when it is killed."""

    platform: str
    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "pajama", "bot", self.platform]
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(*command, env=self.environment, stdout=out, stderr=out)

    async def kill(self) -> None:
        assert self.process is not None and self.process.returncode is None, "the bot ended by itself"
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            await self.kill()


@dataclass
class Workers:
    """Two worker processes, each started again when it is killed."""

    environment: dict[str, str]
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", "tests.e2e.answering_worker"]
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))

    def kill_one_at_work(self, database: Database) -> bool:
        """Kill a process that holds a Turn, so that the kill falls into work; False where everything is answered."""
        while has_open_turns(database):
            for process in self.processes:
                process.send_signal(signal.SIGSTOP)  # what it holds now, it holds until it is killed
                if str(process.pid) in pids_at_work(database):
                    process.kill()
                    process.wait()
                    self.processes.remove(process)
                    self.start()
                    return True
                process.send_signal(signal.SIGCONT)
        return False

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def has_open_turns(database: Database) -> bool:
    with database.read() as session:
        open_turns = Turn.state.in_((TurnState.QUEUED, TurnState.RUNNING))
        return session.scalar(select(Turn.id).where(open_turns).limit(1)) is not None


def pids_at_work(database: Database) -> set[str]:
    """The processes that hold a Turn, by the name that each claims with: host, process, a random word."""
    with database.read() as session:
        owners = session.scalars(select(Turn.owner).where(Turn.state == TurnState.RUNNING)).all()
    return {owner.rsplit("-", 2)[1] for owner in owners if owner}


@contextmanager
def reaping(settings: Settings) -> Iterator[None]:
    stop, database = threading.Event(), Database(settings.database_url)
    wake_ups = WakeUps(make_celery(settings.redis_url, settings.redis_prefix))
    with connect(settings.redis_url) as client:
        thread = threading.Thread(target=Reaper(settings, database, client, wake_ups).run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
    wake_ups.close()
    database.close()
