"""`pajama health …`: what a container's health check asks; silent but for what is wrong."""

from __future__ import annotations

import sys
from urllib.error import URLError
from urllib.request import urlopen

from core.redis import connect, reaper_key, translated
from core.settings import Settings
from pajama.console import Exit, err, settings_of
from pajama.stack import find_running, ready_workers

_TIMEOUT_S = 3.0


def web() -> None:
    """Whether the page's own check is well."""
    settings = settings_of("health")
    host = "127.0.0.1" if settings.web_host in ("0.0.0.0", "::") else settings.web_host  # noqa: S104 - compared only
    try:
        with urlopen(f"http://{host}:{settings.web_port}/healthz", timeout=_TIMEOUT_S) as answer:
            _tell(answer.status == 200, f"The page answers {answer.status}.")
    except (URLError, OSError) as error:
        _tell(False, f"The page does not answer: {error}.")


def worker() -> None:
    """Whether a worker is ready."""
    settings = _settings()
    with connect(settings.redis_url) as client:
        _tell(bool(ready_workers(client, settings.redis_prefix)), "No worker is ready.")


def reaper() -> None:
    """Whether a reaper said lately that it is alive."""
    settings = _settings()
    with translated(), connect(settings.redis_url) as client:
        _tell(bool(client.exists(reaper_key(settings.redis_prefix))), "No reaper is alive.")


def _settings() -> Settings:
    settings = settings_of("health")
    running = None if settings.redis_url else find_running(settings.data_dir)
    return settings.model_copy(update={"redis_url": running.redis_url}) if running else settings


def _tell(well: bool, problem: str) -> None:
    if not well:
        err.print(problem, markup=False)
        sys.exit(Exit.FAILED)
