"""`pajama doctor`: looks at everything that Pajama needs, and says what is wrong and what would be right."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError
from rich.markup import escape
from rich.table import Table

from core.database import check
from core.errors import PajamaError
from core.findings import Finding, Verdict
from core.presence import ready_workers
from core.redis import adapter_key, connect, translated
from core.settings import Settings, unknown_variables, variable
from pajama.commands.config import masked_url
from pajama.commands.database import absent
from pajama.console import Exit, out, print_json, settings_of
from pajama.ports import usable_port
from pajama.running import Running, find_running
from pajama.valkey import find_server

_MIN_FREE_BYTES = 1 << 30
_KEEPS = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
_KEEPING = " and ".join(f"{name} {value}" for name, value in _KEEPS.items())
_MARKS = {"ok": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "failure": "[red]✗[/red]"}


def doctor(*, as_json: bool) -> None:
    """Look, print, and exit with 1 where something fails."""
    tell(list(examine(settings_of("doctor"))), as_json=as_json)


def doctor_discord(*, as_json: bool) -> None:
    """The same for the Discord bot, asked of Discord."""
    from bots.discord.doctor import examine as examine_discord

    settings = settings_of("doctor")

    async def collect() -> list[Finding]:
        return [finding async for finding in examine_discord(settings)]

    tell(asyncio.run(collect()), as_json=as_json)


def doctor_slack(*, as_json: bool) -> None:
    """The same for the Slack app, asked of Slack; and whether what it needs here is there."""
    from bots.slack.doctor import examine as examine_slack

    settings = _of_running(settings_of("doctor"))

    async def collect() -> list[Finding]:
        return [finding async for finding in examine_slack(settings)]

    here = [
        _guarded("Database", lambda: _database(settings)),
        _guarded("Queue", lambda: _queue(settings)),
        _guarded("Slack bot", lambda: _slack_bot(settings)),
    ]
    tell([*asyncio.run(collect()), *here], as_json=as_json)


def _of_running(settings: Settings) -> Settings:
    """The settings with what the Pajama that runs here has started itself."""
    running = find_running(settings.data_dir)
    if running is None:
        return settings
    return settings.model_copy(update={"redis_url": running.redis_url, "database_url": running.database_url})


def _slack_bot(settings: Settings) -> Finding:
    if not settings.redis_url:
        return Finding("Slack bot", "ok", "it does not run now; `pajama up` starts it")
    with translated(), connect(settings.redis_url) as client:
        if client.exists(adapter_key(settings.redis_prefix, "slack")):
            return Finding("Slack bot", "ok", "it listens")
    return Finding("Slack bot", "warning", "it does not listen: `pajama bot slack` starts it; see its log")


def tell(findings: list[Finding], *, as_json: bool) -> None:
    """Print the findings, and exit with 1 where something fails."""
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row(_MARKS[finding.verdict], finding.what, escape(finding.detail))
        out.print(table)
    if any(finding.verdict == "failure" for finding in findings):
        sys.exit(Exit.FAILED)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which a fault would show."""
    running = find_running(settings.data_dir)
    settings = _of_running(settings)
    yield Finding("Python", "ok", platform.python_version())
    yield from _packages(settings)
    yield from _settings()
    yield _disk(settings.data_dir)
    yield _guarded("Database", lambda: _database(settings))
    yield _guarded("Queue", lambda: _queue(settings))
    yield _guarded("Workers", lambda: _workers(settings))
    yield from _model(settings)
    yield _guarded("Web page", lambda: _web(settings, running))


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except PajamaError as error:
        return Finding(what, "failure", str(error))


def _packages(settings: Settings) -> Iterator[Finding]:
    model = () if settings.openai_base_url else ("torch", "transformers")
    for name in (*model, "celery", "redis", "sqlalchemy", "fastapi"):
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "warning", "not installed here; `make up` installs everything")


def _settings() -> Iterator[Finding]:
    for name, meant in unknown_variables().items():
        yield Finding("Settings", "warning", f"{name} is no setting{f'; did you mean {meant}?' if meant else '.'}")


def _disk(folder: Path) -> Finding:
    existing = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    verdict: Verdict = "ok" if free > _MIN_FREE_BYTES else "warning"
    return Finding("Disk", verdict, f"{free / 1e9:.1f} GB free for {folder} ({variable('data_dir')})")


def _database(settings: Settings) -> Finding:
    url = masked_url(settings.effective_database_url)
    if absent(settings.effective_database_url):
        return Finding("Database", "ok", f"{url} will be made at the first start")
    problems = check(settings.effective_database_url)
    return Finding("Database", "failure" if problems else "ok", " ".join(problems) or f"{url} is at head")


def _queue(settings: Settings) -> Finding:
    if not settings.redis_url:
        return Finding("Queue", "ok", f"embedded: {find_server()} (not running now)")
    url = masked_url(settings.redis_url)
    with translated(), connect(settings.redis_url) as client:
        client.ping()
        try:
            found: Any = client.config_get(*_KEEPS)
        except ResponseError:  # as where it is rented
            return Finding("Queue", "warning", f"{url} does not tell its settings; it should run with {_KEEPING}")
    if found != _KEEPS:
        return Finding("Queue", "warning", f"{url} should run with {_KEEPING}")
    return Finding("Queue", "ok", f"{url} keeps what it is given")


def _workers(settings: Settings) -> Finding:
    if not settings.redis_url:
        return Finding("Workers", "ok", "none runs now; `pajama up` starts one")
    with connect(settings.redis_url) as client:
        workers = ready_workers(client, settings.redis_prefix)
    if not workers:
        return Finding("Workers", "failure", "none is ready: `pajama worker` starts one; see its log")
    return Finding("Workers", "ok", "; ".join(f"{w.model} @ {w.revision} (process {w.pid})" for w in workers))


def _model(settings: Settings) -> Iterator[Finding]:
    if settings.openai_base_url:
        from workers.endpoint.doctor import examine as examine_endpoint

        yield from examine_endpoint(settings)
        return
    try:
        from workers.loading import describe
    except ImportError:
        yield Finding("Model", "warning", "torch and transformers are not installed here")
        return
    yield _guarded("Model", lambda: Finding("Model", "ok", describe(settings)))


def _web(settings: Settings, running: Running | None) -> Finding:
    if running is not None and running.web_url:
        return Finding("Web page", "ok", f"at {running.web_url} (process {running.pid})")
    usable_port(settings)
    port = f"port {settings.web_port}" if settings.web_port else "any port"
    return Finding("Web page", "ok", f"{port} on {settings.web_host} is free")
