"""The long-running processes: `worker`, `reaper`, `bot web`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.errors import SettingsError
from core.settings import Settings, variable
from pajama.console import settings_of

if TYPE_CHECKING:
    from workers.generator import Generator


def worker() -> None:
    """Answer Turns until SIGTERM."""
    settings = _with_redis("worker")
    from workers.runtime import run

    status = run(settings, _loader(settings))
    sys.stderr.flush()
    os._exit(status)  # everything is closed; to take torch's modules apart would take seconds of the time to stop


def _loader(settings: Settings) -> Callable[[Settings], Generator]:
    """What makes the Generator. For an endpoint neither torch nor transformers is imported, nor needed."""
    if settings.openai_base_url:
        from workers import remote_generator

        return remote_generator.load_generator
    from transformers.utils.logging import disable_progress_bar

    from workers import loading

    if not sys.stderr.isatty():  # a log holds events, no bars
        disable_progress_bar()
    return loading.load_generator


def web() -> None:
    """Serve the page until SIGTERM."""
    settings = _with_redis("web")
    from bots.web.server import serve

    asyncio.run(serve(settings))


def discord() -> None:
    """Talk on Discord until SIGTERM."""
    settings = _with_redis("discord")
    from bots.discord.server import serve

    asyncio.run(serve(settings))


def slack() -> None:
    """Talk on Slack until SIGTERM."""
    settings = _with_redis("slack")
    from bots.slack.server import serve

    asyncio.run(serve(settings))


def reaper() -> None:
    """Look for lost Turns until SIGTERM."""
    settings = _with_redis("reaper")
    from core.database import Database
    from core.queue import WakeUps, make_celery
    from core.reaper import Reaper
    from core.redis import connect

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.effective_database_url)
    wake_ups = WakeUps(make_celery(settings.redis_url, settings.redis_prefix))
    with connect(settings.redis_url) as client:
        Reaper(settings, database, client, wake_ups).run(stop)
    wake_ups.close()
    database.close()


def _with_redis(process: str) -> Settings:
    settings = settings_of(process)
    if not settings.redis_url:
        raise SettingsError(
            f"{variable('redis_url')} is empty: a process of its own needs the URL of Redis, such as"
            " redis://127.0.0.1:6379/0. `pajama up` brings an embedded one."
        )
    return settings
