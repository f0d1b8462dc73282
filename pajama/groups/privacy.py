"""`pajama privacy`: its commands and their options. What they do is in `pajama.commands.privacy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pajama.options import AsJson, usable

privacy = typer.Typer(no_args_is_help=True, help="What is kept of a person: show, export, forget; and retention.")

OnPlatform = Annotated[str, typer.Option("--platform", help="discord, slack, web or terminal.")]
WithId = Annotated[str, typer.Option("--person", metavar="ID", callback=usable, help="The platform's id of them.")]


@privacy.command("show")
def privacy_show(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """How much is kept of a person, and whether they opted out."""
    from pajama.commands import privacy as command

    command.show(platform, person, as_json=as_json)


@privacy.command("export")
def privacy_export(
    platform: OnPlatform,
    person: WithId,
    out: Annotated[Path | None, typer.Option(help="A new file to write; else standard output.")] = None,
) -> None:
    """Everything that is kept of a person, as JSON."""
    from pajama.commands import privacy as command

    command.export(platform, person, out)


@privacy.command("forget")
def privacy_forget(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Delete every word of a person, now and for good; prints how many there were."""
    from pajama.commands import privacy as command

    command.forget(platform, person, as_json=as_json)


@privacy.command("opt-out")
def privacy_opt_out(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Keep nothing of a person from now on; what is there already stays."""
    from pajama.commands import privacy as command

    command.opt(platform, person, out_of_it=True, as_json=as_json)


@privacy.command("opt-in")
def privacy_opt_in(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Keep again what a person says from now on."""
    from pajama.commands import privacy as command

    command.opt(platform, person, out_of_it=False, as_json=as_json)


@privacy.command("purge")
def privacy_purge(as_json: AsJson = False) -> None:
    """Delete now what is older than it may be kept, as the reaper does every hour; prints how much there was."""
    from pajama.commands import privacy as command

    command.purge(as_json=as_json)
