"""`python -m slimpajama train …`: training without the service's command line. Knows arguments, signals and standard output."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from slimpajama.errors import SlimPajamaError
from slimpajama.presets import PRESETS
from slimpajama.train import TrainOptions, TrainProgress, train

REPORT_EVERY = 20


def main(arguments: list[str] | None = None) -> int:
    """Train, or go on training; SIGTERM and Ctrl-C write a checkpoint first. Return the exit status."""
    given = _parser().parse_args(arguments)
    options = TrainOptions(
        preset=given.preset,
        data=given.data,
        out=given.out,
        tokens=given.tokens,
        minutes=given.minutes,
        instruct_share=given.instruct_share,
        batch_tokens=given.batch_tokens,
        threads=given.threads,
    )
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    try:
        say(f"The model is in {train(options, _report, lambda: bool(asked))}")
    except (SlimPajamaError, InterruptedError) as error:
        say(str(error))
        return 1
    return 0


def say(text: str) -> None:
    """One line on standard output, now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _report(progress: TrainProgress) -> None:
    if progress.step % REPORT_EVERY == 1:
        say(
            f"{progress.phase} {progress.share:.1%} step {progress.step} tokens {progress.tokens} "
            f"loss {progress.loss:.3f} {progress.tokens_per_s:.0f} tokens/s {progress.bad_rows}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slimpajama")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train a model; the same command again goes on after a stop")
    training.add_argument("--preset", choices=PRESETS, required=True)
    training.add_argument("--data", type=Path, required=True, help="the folder above pretrain/ and sft/")
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--tokens", type=int, required=True, help="of both phases")
    training.add_argument("--minutes", type=float, help="ends sooner than the tokens, with the same schedule")
    training.add_argument("--instruct-share", type=float, default=0.3)
    training.add_argument("--batch-tokens", type=int, default=4096)
    training.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
