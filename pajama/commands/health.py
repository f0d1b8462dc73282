"""`pajama health …`: what a container's health check asks; silent but for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

import redis

from core.errors import QueueUnavailable
from core.presence import ready_workers
from core.redis import adapter_key, connect, note_key, reaper_key, translated
from core.settings import Settings, variable
from pajama.console import Exit, err, settings_of
from pajama.running import find_running, web_url

_TIMEOUT_S = 3.0


def web() -> None:
    """Whether the page's own check is well."""
    settings = settings_of("health")
    running = find_running(settings.data_dir)
    url = running.web_url if running and running.web_url else web_url(settings)
    try:
        with urlopen(f"{url}healthz", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - always http
            _tell(answer.status == 200, f"The page answers {answer.status}.")
    except HTTPError as error:
        with error:
            _tell(False, f"The page answers {error.code}: {error.read(500).decode(errors='replace')}")
    except (OSError, HTTPException) as error:
        _tell(False, f"The page at {url} does not answer: {error}.")


def worker() -> None:
    """Whether a worker is ready."""
    with _queue() as (settings, client):
        _tell(bool(ready_workers(client, settings.redis_prefix)), "No worker is ready.")


def discord() -> None:
    """Whether the Discord bot said lately that it is connected."""
    with _queue() as (settings, client):
        _tell(bool(client.exists(adapter_key(settings.redis_prefix, "discord"))), "The Discord bot is not connected.")


def slack() -> None:
    """Whether the Slack bot said lately that it listens."""
    with _queue() as (settings, client):
        removed = client.get(note_key(settings.redis_prefix, "slack-removed"))
        _tell(not removed, "The Slack app was removed from its workspace: install it again, and set the new token.")
        _tell(bool(client.exists(adapter_key(settings.redis_prefix, "slack"))), "The Slack bot is not connected.")


def reaper() -> None:
    """Whether a reaper said lately that it is alive."""
    with _queue() as (settings, client):
        _tell(bool(client.exists(reaper_key(settings.redis_prefix))), "No reaper is alive.")


@contextmanager
def _queue() -> Iterator[tuple[Settings, redis.Redis]]:
    """Redis, or the embedded Valkey of the Pajama that runs here where none is given. Not to reach it is exit code 1."""
    settings = settings_of("health")
    running = None if settings.redis_url else find_running(settings.data_dir)
    url = running.redis_url if running else settings.redis_url
    _tell(bool(url), f"{variable('redis_url')} is empty and no Pajama runs in {settings.data_dir}.")
    try:
        with translated(), connect(url) as client:
            yield settings, client
    except QueueUnavailable as error:
        _tell(False, str(error))


def _tell(well: bool, problem: str) -> None:
    if not well:
        err.print(problem, markup=False, soft_wrap=True)
        sys.exit(Exit.FAILED)
