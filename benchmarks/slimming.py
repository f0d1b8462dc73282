"""`python -m benchmarks.slimming --data DIR --out DIR`: does converting pay? A dense Llama, slimmed, healed, and from scratch.

Trains a teacher, converts it, heals what came of it, and trains a SlimPajama of the same shape from nothing on as many
tokens as the healing took. All have one tokenizer and are measured on the same held-out text. It goes on where it was
stopped, and writes the table of docs/model.md with `--record`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import zstandard

from benchmarks.trainings import told
from slimpajama.checkpoints import load_model, load_tokenizer
from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.data import BadRows
from slimpajama.evaluation.bits import bits_per_byte, texts
from slimpajama.mixture import row_mixture
from slimpajama.options import TrainOptions
from slimpajama.slimming import CALIBRATION_TEXTS, heal, slim
from slimpajama.train import train

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- slimming: begin -->", "<!-- slimming: end -->"

TEACHER: dict[str, Any] = {}
"""What of the preset `llama` is otherwise."""
SHARE, RANK = "1+2x3+1", 16
_HELD_OUT_BYTES = 440_000


@dataclass(frozen=True, slots=True)
class Result:
    """One model. `tokens` are those of its own training, `seconds` of making it in the last start."""

    model: str
    parameters: int
    tokens: int
    seconds: float
    bits: dict[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for, and the folders of what is made."""

    data: Path
    out: Path
    teacher_tokens: int
    healing_tokens: int
    threads: int

    @property
    def teacher(self) -> Path:
        """The folder of the teacher's training."""
        return self.out / "teacher"

    @property
    def source(self) -> Path:
        """The teacher."""
        return self.teacher / "model"

    @property
    def slimmed(self) -> Path:
        """The converted model, which the healed one replaces."""
        return self.out / "slimmed"


def main() -> None:
    """Make what is not there yet, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slimming", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that `pajama model train` reads")
    parser.add_argument("--out", type=Path, required=True, help="where the models are kept")
    parser.add_argument("--teacher-tokens", type=int, default=2_000_000)
    parser.add_argument("--healing-tokens", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the table of docs/model.md")
    given = vars(parser.parse_args())
    record = given.pop("record")
    table = "\n".join(table_of(run(Plan(**given))))
    sys.stdout.write(table + "\n")
    if record:
        page = (DOCS / "model.md").read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        (DOCS / "model.md").write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def run(plan: Plan) -> list[Result]:
    """Every model in turn, each made and measured once."""
    torch.set_num_threads(plan.threads)
    stages: dict[str, Callable[[Plan], tuple[Path, int]]] = {
        "dense Llama, the source": _teacher,
        "converted, not healed": _unhealed,
        "converted and healed": _healed,
        "the same shape from scratch": _from_scratch,
    }
    return [_measured(name, make, plan) for name, make in stages.items()]


def _measured(name: str, make: Callable[[Plan], tuple[Path, int]], plan: Plan) -> Result:
    """Make one model and measure it, where that is not done."""
    path = plan.out / f"{make.__name__.strip('_')}.json"
    if path.exists():
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    began = time.monotonic()
    folder, tokens = make(plan)
    took_s = time.monotonic() - began
    model, tokenizer = load_model(folder, unhealed=True, dtype=torch.float32).eval(), load_tokenizer(folder)
    bits = {
        file.name.removeprefix("heldout-").removesuffix(".jsonl.zst"): bits_per_byte(
            model, tokenizer, texts(file, _HELD_OUT_BYTES)
        ).value
        for file in sorted((plan.data / "pretrain").glob("heldout-*.jsonl.zst"))
    }
    result = Result(name, model.num_parameters(), tokens, round(took_s, 1), bits)
    path.write_text(json.dumps(asdict(result)), encoding="utf-8")
    return result


def _teacher(plan: Plan) -> tuple[Path, int]:
    return _trained(plan, plan.teacher, "llama", TEACHER, plan.teacher_tokens), plan.teacher_tokens


def _unhealed(plan: Plan) -> tuple[Path, int]:
    """Weighed by the inputs that the matrices have on text of every source."""
    rows = islice(row_mixture(plan.data, BadRows(), instruct=False), CALIBRATION_TEXTS)
    calibration = plan.out / "calibration.jsonl.zst"
    calibration.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    slim(str(plan.source), plan.slimmed, share=SHARE, rank=RANK, calibration=calibration)
    return plan.slimmed, 0


def _healed(plan: Plan) -> tuple[Path, int]:
    config = json.loads((plan.slimmed / "config.json").read_text(encoding="utf-8"))
    if not config["healed"]:  # else it was stopped before it was measured
        heal(str(plan.source), plan.slimmed, plan.data, plan.healing_tokens, on_progress=told("healing"))
    return plan.slimmed, plan.healing_tokens


def _from_scratch(plan: Plan) -> tuple[Path, int]:
    """With the source's tokenizer, and what it has tokenised."""
    folder = plan.out / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer", "tokens"):
        if not (folder / name).exists():
            shutil.copytree(plan.teacher / name, folder / name)
    config = load_model(plan.slimmed, unhealed=True).config
    told = set(SlimPajamaConfig.__annotations__) - {"healed", "num_hidden_layers"}
    shape = {name: getattr(config, name) for name in sorted(told)}
    return _trained(plan, folder, "micro", shape, plan.healing_tokens), plan.healing_tokens


def _trained(plan: Plan, folder: Path, preset: str, shape: dict[str, Any], tokens: int) -> Path:
    options = TrainOptions(preset, plan.data, folder, tokens, instruct_share=0.0, threads=plan.threads, shape=shape)
    return train(options, told(folder.name))


def table_of(results: list[Result]) -> Iterator[str]:
    """Lines of a Markdown table."""
    languages = sorted({language for result in results for language in result.bits})
    yield f"| model | parameters | tokens learned from | {' | '.join(f'{each}, bits/byte' for each in languages)} | made in |"
    yield "|---|---:|---:|" + "---:|" * len(languages) + "---:|"
    for each in results:
        bits = " | ".join(f"{each.bits[language]:.4f}" for language in languages)
        yield f"| {each.model} | {each.parameters / 1e6:.2f}M | {each.tokens:,} | {bits} | {each.seconds / 60:.0f} min |"


if __name__ == "__main__":
    main()
