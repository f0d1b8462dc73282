"""`pajama model train`: training with a progress bar."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.errors import PajamaError, SettingsError
from pajama.console import Exit, err, out


def train(preset: str, data: Path, out_folder: Path, tokens: int, minutes: float | None) -> None:
    """Train until done; Ctrl-C writes a checkpoint, and the same command goes on."""
    import torch

    from slimpajama.errors import SlimPajamaError
    from slimpajama.presets import PRESETS
    from slimpajama.train import TrainOptions, TrainProgress
    from slimpajama.train import train as run

    if preset not in PRESETS:
        raise SettingsError(f"--preset is {preset!r}; there are {', '.join(PRESETS)}.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = TrainOptions(preset=preset, data=data, out=out_folder, tokens=tokens, minutes=minutes, device=device)
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)  # the second one ends at once

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.1f}%"), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
    )  # fmt: skip
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(preset, total=1.0, told="")

        def show(progress: TrainProgress) -> None:
            told = f"step {progress.step}, loss {progress.loss:.3f}, {progress.tokens_per_s:.0f} tokens/s"
            bar.update(task, completed=progress.share, description=progress.phase, told=told)

        try:
            folder = run(options, show, lambda: bool(asked))
        except SlimPajamaError as error:
            raise PajamaError(str(error)) from error
        except InterruptedError as error:
            err.print(str(error), markup=False)
            sys.exit(Exit.FAILED)
    out.print(f"The model is in {folder}; PAJAMA_MODEL={folder} runs it.", markup=False)
