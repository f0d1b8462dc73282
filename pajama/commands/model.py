"""`pajama model train`: training with a progress bar, or a line now and then where there is no terminal."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.errors import PajamaError, SettingsError
from pajama.console import Exit, err, out

if TYPE_CHECKING:
    from slimpajama.options import Report, TrainProgress

_LINE_EVERY_S = 30.0


def train(preset: str, data: Path, out_folder: Path, **more: Any) -> None:
    """Train until done; Ctrl-C writes a checkpoint, and the same command goes on. `more` is of TrainOptions."""
    from slimpajama.group import is_first
    from slimpajama.options import TrainOptions
    from slimpajama.presets import PRESETS
    from slimpajama.train import train as run

    if preset not in PRESETS:
        raise SettingsError(f"--preset is {preset!r}; there are {', '.join(PRESETS)}.")
    options = TrainOptions(preset=preset, data=data, out=out_folder, device=_device(), **more)
    folder = _shown(preset, lambda report, stop: run(options, report, stop))
    if is_first():
        out.print(f"The model is in {folder}; PAJAMA_MODEL={folder} runs it.", markup=False)


def healing(source: str, slimmed: Path, data: Path, tokens: int) -> None:
    """Heal a converted model, shown and stopped like a training."""
    from slimpajama.slimming import heal

    _shown(
        "heal",
        lambda report, stop: heal(source, slimmed, data, tokens, device=_device(), on_progress=report, stop=stop),
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _shown(name: str, run: Callable[[Report, Callable[[], bool]], Path]) -> Path:
    """The folder that `run` returns, with a bar while it runs. Exits where it was stopped."""
    from slimpajama.errors import SlimPajamaError

    stop = _stop_asked()
    with _Shown(name) as shown:
        try:
            return run(shown.show, stop)
        except SlimPajamaError as error:
            raise PajamaError(str(error)) from error
        except InterruptedError as error:
            err.print(str(error), markup=False)
            sys.exit(Exit.FAILED)


def _stop_asked() -> Callable[[], bool]:
    """Whether Ctrl-C or SIGTERM came. The second one ends the process at once."""
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return lambda: bool(asked)


class _Shown:
    """The progress as someone sees it, and at the end the rows that could not be used."""

    def __init__(self, name: str) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.1f}%"), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
        )  # fmt: skip
        self._bar = Progress(*columns, console=err, disable=not err.is_terminal)
        self._task = self._bar.add_task(name, total=1.0, told="")
        self._line_at, self._bad_rows = 0.0, ""

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._bad_rows:
            err.print(f"Rows that could not be used: {self._bad_rows}.", markup=False)

    def show(self, progress: TrainProgress) -> None:
        """Show where the training stands."""
        self._bad_rows = progress.bad_rows
        told = f"step {progress.step}, loss {progress.loss:.3f}, {progress.tokens_per_s:.0f} tokens/s"
        told += "".join(f", {language} {bits:.3f} bits/byte" for language, bits in progress.held_out.items())
        self._bar.update(self._task, completed=progress.share, description=progress.phase, told=told)
        if not err.is_terminal and time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + _LINE_EVERY_S
            err.print(f"{progress.phase} {progress.share:.1%}, {told}", markup=False)
