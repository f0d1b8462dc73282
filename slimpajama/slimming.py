"""Slimming: a checkpoint folder of a Llama-type model → one of SlimPajama, with a report, and healed where asked for.

The folder says of itself whether it was healed, and is not loaded by accident while it was not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from slimpajama.checkpoints import load_model, load_tokenizer
from slimpajama.conversion import Error, Moments, Sharing, calibrate, convert
from slimpajama.data import BadRows, find_sources
from slimpajama.errors import ConversionError
from slimpajama.evaluation.bits import divergence, texts
from slimpajama.memory import memory_explained
from slimpajama.options import Report, TrainOptions
from slimpajama.saving import save_model
from slimpajama.train import train

CALIBRATION_TEXTS = 64
MEASURED_BYTES = 50_000
HEALED_BELOW = 0.9
"""Of the distance from the source before: what is not a tenth nearer was hardly trained,"""
NEAR = 0.05
"""unless it is as near as this, in nats a token, as at full rank."""
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Slimmed:
    """What came of it: parameters of the source and of the SlimPajama, and the error of every matrix."""

    parameters_before: int
    parameters_after: int
    errors: list[Error]


def slim(
    source: str, out: Path, *, share: str, rank: int, pattern: str = "cycle", calibration: Path | None = None
) -> Slimmed:
    """Convert `source` into `out`, marked as not healed, beside `report.json`. Raises SlimPajamaError.

    `calibration` is a packed JSON Lines file of `text`.
    """
    _refuse_several()
    with memory_explained(f"There is too little memory to convert {source}."):
        tokenizer, model = _source(source)
        sharing = Sharing.parsed(share, model.config.num_hidden_layers)
        moments: Moments | None = None
        if calibration is not None:
            moments = calibrate(model, tokenizer, list(islice(texts(calibration), CALIBRATION_TEXTS)))
        slimmed, errors = convert(model, sharing, rank, pattern, moments)
    made = Slimmed(model.num_parameters(), slimmed.num_parameters(), errors)
    save_model(slimmed, tokenizer, out, {REPORT: json.dumps(asdict(made), indent=1)})
    return made


def heal(
    source: str, slimmed: Path, data: Path, tokens: int, *, device: str = "cpu",
    on_progress: Report | None = None, stop: Callable[[], bool] = lambda: False,
) -> Path:  # fmt: skip
    """Train `slimmed` on text to be near `source` again, and replace it by the healed one, whose report says how near.

    Raises SlimPajamaError, ConversionError among them where the training brought it no nearer.
    """
    _refuse_several()
    options = TrainOptions(
        preset="", data=data, out=slimmed.with_name(f"{slimmed.name}.healing"), tokens=tokens, instruct_share=0.0,
        matrix_rate=1e-3, other_rate=5e-4, device=device, start=slimmed, teacher=Path(source),
    )  # fmt: skip
    healed = train(options, on_progress, stop)
    with memory_explained(f"There is too little memory to measure how far {slimmed} is from {source}."):
        before, after = _distances(source, (slimmed, healed), data)
    if after > max(HEALED_BELOW * before, NEAR):
        shutil.rmtree(options.out)  # another number of tokens is another training
        raise ConversionError(
            f"{slimmed} is not healed: it is {after:.3f} nats a token from {source} and was {before:.3f}. Give it more "
            "--tokens."
        )
    report = json.loads((slimmed / REPORT).read_text(encoding="utf-8"))
    report["healing"] = {"tokens": tokens, "nats_a_token_before": before, "nats_a_token_after": after}
    model = load_model(healed, unhealed=True, dtype=torch.float32)
    model.config.healed = True
    return save_model(model, load_tokenizer(slimmed), slimmed, {REPORT: json.dumps(report, indent=1)})


def _refuse_several() -> None:
    """All processes that torchrun starts would write the same folder. Raises ConversionError."""
    if distributed.is_torchelastic_launched():
        raise ConversionError("A model is converted and healed by one process: start it without torchrun.")


def _distances(source: str, models: Iterable[Path], data: Path) -> list[float]:
    """How far each model is from the source, on held-out text or, where there is none, on the first of each source."""
    pretrain = data / "pretrain"
    files = sorted(pretrain.glob("heldout-*.jsonl.zst")) or [
        paths[0] for paths in find_sources(pretrain, "*.jsonl.zst").values()
    ]
    documents = [text for file in files for text in texts(file, MEASURED_BYTES // len(files), BadRows())]
    tokenizer, original = _source(source)
    return [
        divergence(load_model(each, unhealed=True, dtype=torch.float32).eval(), original, tokenizer, documents)
        for each in models
    ]


def _source(name: str) -> tuple[Any, Any]:
    tokenizer, model = load_tokenizer(name), load_model(name, dtype=torch.float32)
    if tokenizer.pad_token is None:  # rows of different lengths are filled up with it
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.eval()
