"""`pajama model slim`: a Llama-type model as a SlimPajama, how far it is from it, and healing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from core.errors import PajamaError, SettingsError
from pajama.commands.model import healing
from pajama.console import err, out

if TYPE_CHECKING:
    from slimpajama.conversion import Error
    from slimpajama.slimming import Slimmed


def slim(
    source: str, folder: Path, *, share: str, rank: int, pattern: str,
    calibration: Path | None, heal: Path | None, tokens: int | None,
) -> None:  # fmt: skip
    """Convert, report, and heal where there is text for it."""
    from slimpajama.errors import SlimPajamaError
    from slimpajama.slimming import slim as convert

    if (heal is None) != (tokens is None):
        raise SettingsError(
            "--heal and --tokens belong together: the folder of text, and how much of it to learn from."
        )
    try:
        made = convert(source, folder, share=share, rank=rank, pattern=pattern, calibration=calibration)
    except SlimPajamaError as error:
        raise PajamaError(str(error)) from error
    _print(made)
    if heal is None or tokens is None:
        err.print(
            f"{folder} is not healed: it writes garbage, and is refused as a model. Heal it: --heal DIR --tokens N.",
            style="yellow", markup=False,
        )  # fmt: skip
        return
    healing(source, folder, heal, tokens)
    out.print(f"The healed model is in {folder}; PAJAMA_MODEL={folder} runs it.", markup=False)


def _print(made: Slimmed) -> None:
    """The error of every matrix, a line a layer."""
    names = list(dict.fromkeys(error.matrix for error in made.errors))
    table = Table("layer", *names, title="What is missing of each matrix, tied only → with its delta", box=None)
    layers: dict[int, list[Error]] = {}
    for error in made.errors:
        layers.setdefault(error.layer, []).append(error)
    for layer, errors in layers.items():
        table.add_row(str(layer), *(_cell(error) for error in errors))
    out.print(table)
    share = made.parameters_after / made.parameters_before
    out.print(f"{made.parameters_before:,} parameters became {made.parameters_after:,} ({share:.0%}).", markup=False)


def _cell(error: Error) -> str:
    on_inputs = "" if error.on_inputs is None else f" ({error.on_inputs:.0%} on inputs)"
    return f"{error.tied:.0%} → {error.kept:.0%}{on_inputs}"
