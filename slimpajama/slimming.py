"""Slimming: a checkpoint folder of a Llama-type model → one of SlimPajama, with a report, and healed where asked for.

The folder says of itself whether it was healed, and is not loaded by accident while it was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from slimpajama.conversion import Error, Moments, Sharing, calibrate, convert
from slimpajama.errors import ConversionError, SavingFailed
from slimpajama.evaluation.bits import texts
from slimpajama.options import Report, TrainOptions
from slimpajama.saving import save_model
from slimpajama.train import train

CALIBRATION_TEXTS = 64


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
    tokenizer, model = _source(source)
    sharing = Sharing.parsed(share, model.config.num_hidden_layers)
    moments: Moments | None = None
    if calibration is not None:
        moments = calibrate(model, tokenizer, list(islice(texts(calibration), CALIBRATION_TEXTS)))
    slimmed, errors = convert(model, sharing, rank, pattern, moments)
    made = Slimmed(model.num_parameters(), slimmed.num_parameters(), errors)
    try:
        save_model(slimmed, tokenizer, out)
        (out / "report.json").write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
    except OSError as error:
        raise SavingFailed(f"{out} cannot be written: {error}.") from error
    return made


def heal(
    source: str, slimmed: Path, data: Path, tokens: int, *, device: str = "cpu",
    on_progress: Report | None = None, stop: Callable[[], bool] = lambda: False,
) -> Path:  # fmt: skip
    """Train `slimmed` on text to be near `source` again, and replace it by the healed one. Raises SlimPajamaError."""
    options = TrainOptions(
        preset="", data=data, out=slimmed.with_name(f"{slimmed.name}.healing"), tokens=tokens, instruct_share=0.0,
        matrix_rate=1e-3, other_rate=5e-4, device=device, start=slimmed, teacher=Path(source),
    )  # fmt: skip
    healed = train(options, on_progress, stop)
    model: Any = AutoModelForCausalLM.from_pretrained(healed, dtype=torch.float32, allow_unhealed=True)
    model.config.healed = True
    report = (slimmed / "report.json").read_text(encoding="utf-8")
    save_model(model, AutoTokenizer.from_pretrained(slimmed), slimmed)
    (slimmed / "report.json").write_text(report, encoding="utf-8")
    return slimmed


def _source(name: str) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ConversionError(f"{name} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if tokenizer.pad_token is None:  # documents are laid end to end with it between them
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.eval()
