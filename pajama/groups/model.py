"""`pajama model`: its commands and their options. What they do is in `pajama.commands.model` and its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pajama.options import AsJson

model = typer.Typer(no_args_is_help=True, help="SlimPajama, the model.")


@model.command("train")
def model_train(
    preset: Annotated[str, typer.Option(help="tiny, micro, nano, small or base; llama is a dense model to convert.")],
    data: Annotated[Path, typer.Option(help="Folder with pretrain/ and sft/, zstd JSON Lines.")],
    out: Annotated[Path, typer.Option(help="Folder of checkpoints; the same command goes on where it stood.")],
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to learn from, both phases together.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="End after so long; without --tokens the schedule.")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a step.")] = 4096,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts of a batch that are in memory one at a time.")] = 1,
    ema: Annotated[
        float, typer.Option(min=0, max=0.9999, help="Keep a running mean of the weights, e.g. 0.99; 0 is none.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the first weights.")] = 1,
) -> None:
    """Train a SlimPajama: tokenizer, pretraining, then conversations. On a GPU where there is one, or under torchrun."""
    from pajama.commands import model as command

    asked = {"tokens": tokens, "minutes": minutes, "batch_tokens": batch_tokens, "accumulate": accumulate}
    command.train(preset, data, out, **asked, ema=ema, seed=seed)


@model.command("eval")
def model_eval(
    checkpoint: Annotated[str, typer.Argument(help="`slimpajama`, a folder or a hub name.")],
    data: Annotated[Path, typer.Option(help="Folder with pretrain/, sft/heldout/ and bench/, zstd JSON Lines.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows of each held-out set.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on held-out text, questions, translations and intents, beside baselines."""
    from pajama.commands import model_evaluation as command

    command.evaluate(checkpoint, data, limit=limit, as_json=as_json)


@model.command("samples")
def model_samples(
    checkpoint: Annotated[str, typer.Argument(help="`slimpajama`, a folder or a hub name.")],
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    as_json: AsJson = False,
) -> None:
    """What a checkpoint makes of ten texts to continue, ten to translate and ten to understand: Markdown."""
    from pajama.commands import model_samples as command

    command.samples(checkpoint, seed, as_json=as_json)


@model.command("slim")
def model_slim(
    source: Annotated[str, typer.Argument(help="A Llama-type model: a folder or a hub name.")],
    out: Annotated[Path, typer.Option(help="Folder of the SlimPajama.")],
    share: Annotated[str, typer.Option(help="Blocks x repeats, as 4x5; or with the unique layers, as 1+4x5+1.")],
    rank: Annotated[int, typer.Option(min=0, help="Of the addition that each tied layer has to each matrix.")],
    pattern: Annotated[
        Literal["cycle", "sequence"], typer.Option(help="Tied are every so many layers, or neighbours.")
    ] = "cycle",
    calibrate: Annotated[Path | None, typer.Option(help="Text to weigh by, zstd JSON Lines.")] = None,
    heal: Annotated[Path | None, typer.Option(help="Folder with pretrain/, to heal on.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to heal on.")] = None,
) -> None:
    """Make a SlimPajama of a Llama-type model. Of no use before it is healed, and refused until then."""
    from pajama.commands import model_conversion as command

    command.slim(source, out, share=share, rank=rank, pattern=pattern, calibration=calibrate, heal=heal, tokens=tokens)
