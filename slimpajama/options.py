"""What a training is asked for, and what it tells of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_IDENTITY = (
    "preset", "shape", "data", "start", "teacher", "tokens", "instruct_share", "batch_tokens", "seed", "ema",
    "pretrain_length", "instruct_length", "matrix_rate", "other_rate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train. `tokens` counts both phases; `minutes` ends sooner with the same schedule, or is the whole of it.

    `shape` has what of the preset's configuration is to be otherwise.
    `start`, a model's folder, stands in for a preset and a new tokenizer; `teacher`, a model of as many layers and the
    same tokenizer, is what its outputs are drawn to. `accumulate` parts of a batch are in memory one at a time. `ema`, where it is
    not 0, is how much of the weights' running mean stays at each step, less in the first ones; that mean is then what is
    measured and saved.
    `bf16` and `compile` None are: where it pays.
    """

    preset: str
    data: Path
    out: Path
    tokens: int | None = None
    minutes: float | None = None
    instruct_share: float = 0.3
    batch_tokens: int = 4096
    accumulate: int = 1
    ema: float = 0.0
    threads: int | None = None
    pretrain_length: int = 256
    instruct_length: int = 512
    matrix_rate: float = 6e-3
    other_rate: float = 3e-3
    seed: int = 1
    device: str = "cpu"
    bf16: bool | None = None
    compile: bool | None = None
    start: Path | None = None
    teacher: Path | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What a run must have been begun with to go on: of JSON's types, files by their whole path."""
        kept = asdict(self)
        named = {name: str(kept[name].resolve()) if isinstance(kept[name], Path) else kept[name] for name in _IDENTITY}
        same: dict[str, Any] = json.loads(json.dumps(named))
        return same


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where the training stands. `share` is of the whole, from 0 to 1; `bad_rows` is empty where all were good.

    `held_out` has bits per byte of held-out text by language, as last measured.
    """

    phase: str
    step: int
    tokens: int
    share: float
    loss: float
    tokens_per_s: float
    bad_rows: str
    held_out: dict[str, float] = field(default_factory=dict)


Report = Callable[[TrainProgress], None]
