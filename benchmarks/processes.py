"""The processes that are measured, and what they have used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
from pydantic import SecretStr

from core.presence import ready_workers
from core.redis import connect
from core.settings import Settings, variable


def environment(settings: Settings) -> dict[str, str]:
    """What a process needs to have the settings that were given to `settings`."""
    return {variable(name): _written(getattr(settings, name)) for name in settings.model_fields_set}


@contextmanager
def python(
    module: str, *arguments: str, env: Mapping[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[psutil.Popen]:
    """`python -m module` with more in its environment, ended with the block; its log lines go nowhere."""
    command = [sys.executable, "-m", module, *arguments]
    process = psutil.Popen(command, env={**os.environ, **env}, stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def token_worker(settings: Settings, **more: str) -> Iterator[psutil.Popen]:
    """A worker that is ready, with a source of tokens for its engine."""
    with python("benchmarks.token_source", env={**environment(settings), **more}) as process:
        with connect(settings.redis_url) as client:
            while not ready_workers(client, settings.redis_prefix):
                time.sleep(0.02)
        yield process


@contextmanager
def token_endpoint(**more: str) -> Iterator[str]:
    """The model of a naive bot; where it listens."""
    with python("benchmarks.token_endpoint", env=more, stdout=subprocess.PIPE) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _written(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
