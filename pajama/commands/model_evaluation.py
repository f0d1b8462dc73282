"""`pajama model eval`: the figures of a checkpoint beside those of baselines, and what it says to forty prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import PajamaError
from pajama.console import err, out, print_json

if TYPE_CHECKING:
    from slimpajama.evaluation.report import Report
    from slimpajama.evaluation.speaker import Speaker


def evaluate(checkpoint: str, data: Path, *, limit: int | None, as_json: bool) -> None:
    """Measure a checkpoint, a name or a folder, on at most `limit` rows of each held-out set."""
    from slimpajama.errors import SlimPajamaError
    from slimpajama.evaluation.report import evaluate as run

    speaker = speaker_of(checkpoint)
    try:
        with _Bar() as bar:
            report = run(speaker, checkpoint, data, limit, bar.show)
    except SlimPajamaError as error:
        raise PajamaError(str(error)) from error
    if as_json:
        print_json(report.as_json())
    else:
        show(report)


def speaker_of(checkpoint: str) -> Speaker:
    """The checkpoint of this name or folder, on a GPU where there is one. Raises PajamaError."""
    import torch

    import slimpajama  # noqa: F401 - registers the model and its name
    from slimpajama.errors import SlimPajamaError
    from slimpajama.evaluation.speaker import Speaker

    try:
        return Speaker.load(checkpoint, "cuda" if torch.cuda.is_available() else "cpu")
    except SlimPajamaError as error:
        raise PajamaError(str(error)) from error


def show(report: Report) -> None:
    """Print the table, and the prompts beside their answers."""
    for line in report.table():
        out.print(line, markup=False)
    if report.too_long:
        out.print(f"\nQuestions too long for its context, counted as wrong: {report.too_long}", markup=False)
    out.print("\n| prompt | answer |\n|---|---|", markup=False)
    for prompt, answer in report.talk:
        out.print(f"| {prompt} | {cell(answer)} |", markup=False)


def cell(text: str) -> str:
    """`text` as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


class _Bar:
    """One bar, for what is measured now."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=err, disable=not err.is_terminal, transient=True)
        self._task = self._bar.add_task("", total=1)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def show(self, task: str, done: int, total: int) -> None:
        """Show how far the measuring of `task` is."""
        self._bar.update(self._task, description=task, completed=done, total=total)
