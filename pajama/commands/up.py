"""`pajama up`: the whole stack on this machine, on one screen, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import webbrowser

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from core.presence import WorkerStatus
from core.settings import unknown_variables, variable
from pajama.commands.config import masked_url
from pajama.commands.operator import link_to
from pajama.console import err, out, settings_of
from pajama.stack import Stack


def up() -> None:
    """Start everything, say where it is, wait for Ctrl-C, stop everything."""
    began = time.monotonic()
    settings = settings_of("up")
    for name, meant in unknown_variables().items():
        err.print(f"{name} is no setting{f'; did you mean {meant}?' if meant else '.'}", style="yellow", markup=False)
    leave = _signals()
    stack = Stack(settings)
    stack.start()
    try:
        out.print(f"Pajama is at [bold]{escape(stack.web_url)}[/bold]; the model is being loaded …")
        info = stack.wait_until_ready(leave)
        if info is not None:
            out.print(_screen(stack, info, time.monotonic() - began))
            if out.is_terminal:  # a file may be read by others, and for longer than the link should be
                out.print("Manage FAQs and settings (this link signs you in once, within an hour):")
                out.print(link_to(stack.settings, stack.web_url), markup=False, soft_wrap=True)
            if settings.open_browser and _has_screen():
                webbrowser.open(stack.web_url)
            leave.wait()
        out.print("Stopping; what is being answered goes on at the next start …")
    finally:
        stack.stop()
    out.print("Stopped.")


def _signals() -> threading.Event:
    """Set by Ctrl-C, SIGTERM, and the end of the terminal (unless `nohup` wants that to be overheard)."""
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: leave.set())
    return leave


def _screen(stack: Stack, info: WorkerStatus, took_s: float) -> Panel:
    settings = stack.settings
    table = Table.grid(padding=(0, 2))
    database = masked_url(settings.effective_database_url)
    queue = "embedded Valkey" if stack.embedded_valkey else masked_url(settings.redis_url)
    rows = [
        ("Web page", f"[bold]{escape(stack.web_url)}[/bold]", f"{variable('web_host')}, {variable('web_port')}"),
        ("Operators", "pajama operator link", variable("operator_key")),
        ("Terminal", "pajama chat", ""),
        (
            "Model",
            escape(f"{info.model} @ {info.revision}"),
            variable("openai_model" if settings.openai_base_url else "model"),
        ),
        ("Worker", f"1 process, up to {settings.max_batch_size} answers at once", variable("max_batch_size")),
        ("Database", escape(database), variable("database_url")),
        ("Queue", escape(queue), variable("redis_url")),
        ("Reaper", "running", ""),
        ("FAQ", escape(_collections(stack)), variable("sample_faq")),
        ("Discord", _platform(stack, "discord", on=stack.discord), variable("discord_token")),
        ("Slack", _platform(stack, "slack", on=stack.slack), variable("slack_bot_token")),
        ("Logs", escape(str(stack.log_folder)), variable("log_level")),
    ]
    table.add_row("", "", "[dim]changed by[/dim]")
    for what, where, changed_by in rows:
        table.add_row(what, where, f"[dim]{changed_by}[/dim]")
    return Panel(table, title=f"Pajama is up after {took_s:.1f} s", subtitle="Ctrl-C stops all of it", expand=False)


def _collections(stack: Stack) -> str:
    """What everybody is answered from."""
    found = (f"{view.name} ({view.entries} entries)" for view in stack.collections())
    return ", ".join(found) or "none yet: pajama faq import"


def _platform(stack: Stack, name: str, *, on: bool) -> str:
    """How a platform's bot does."""
    if not on:
        return "[dim]off: no token[/dim]"
    trouble = stack.trouble(name)
    if trouble:
        return f"[red]{escape(trouble)}[/red]"
    return "connected" if stack.connected(name) else f"connecting … (`pajama health {name}` tells when it is)"


def _has_screen() -> bool:
    """Whether someone sits before a desktop who would see a browser open."""
    desktop = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and desktop
