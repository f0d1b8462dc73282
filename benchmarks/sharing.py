"""`python -m benchmarks.sharing --data DIR --out DIR`: does sharing pay? SlimPajama and dense models, trained alike.

Every arm learns from the same tokens in the same order, with the same tokenizer and the same settings; a seed decides
the weights that an arm begins with. Arms take turns, so that whoever stops the run early has a whole comparison of fewer
seeds. It goes on where it was stopped, and writes the table and the plot of docs/model.md with `--record`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.trainings import told
from slimpajama import metrics
from slimpajama.evaluation.bits import bits_per_byte, texts
from slimpajama.options import TrainOptions
from slimpajama.train import train

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
PLOT = "images/model-comparison.png"

PRESET = "micro"
_SMALL: dict[str, Any] = {
    "vocab_size": 4096, "embedding_rank": 64, "hidden_size": 128, "intermediate_size": 512, "num_repeats": 3,
    "delta_rank": 8, "max_position_embeddings": 512,
}  # fmt: skip
_DENSE: dict[str, Any] = {"num_repeats": 1, "delta_rank": 0, "depth_embedding": False}
ARMS: dict[str, dict[str, Any]] = {
    "SlimPajama": _SMALL,
    "dense, equal parameters": _SMALL | _DENSE | {"intermediate_size": 552},
    "dense, equal shape": _SMALL | _DENSE | {"num_shared_blocks": 3},
    "dense, equal parameters, deeper": _SMALL | _DENSE | {
        "num_shared_blocks": 3, "hidden_size": 96, "intermediate_size": 444,
    },
    "SlimPajama without low rank": _SMALL | {"delta_rank": 0},
    "SlimPajama, rank 32": _SMALL | {"delta_rank": 32},
    "SlimPajama, low rank in attention too": _SMALL | {
        "delta_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    },
    "SlimPajama, two blocks in sequence": _SMALL | {
        "num_shared_blocks": 2, "num_repeats": 2, "sharing_pattern": "sequence", "intermediate_size": 384,
    },
}  # fmt: skip
"""What of the preset is otherwise. The first three are the comparison; the others say what each part brings."""
COMPARED = tuple(ARMS)[:3]
_HELD_OUT_BYTES = 440_000


@dataclass(frozen=True, slots=True)
class Result:
    """One arm trained from one seed. `stored` are parameters; `work` the multiplications a token at full depth."""

    arm: str
    seed: int
    stored: int
    work: int
    tokens: int
    seconds: float
    bits: dict[str, float]


def main() -> None:
    """Train what is asked for and not there yet, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("arms", nargs="*", choices=[*ARMS, []], help="the first three where nothing is named")
    parser.add_argument("--data", type=Path, required=True, help="the folder that `pajama model train` reads")
    parser.add_argument("--out", type=Path, required=True, help="where the trainings are kept")
    parser.add_argument("--tokens", type=int, default=3_000_000, help="that every training learns from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the table and plot of docs/model.md")
    given = parser.parse_args()
    for seed in range(1, given.seeds + 1):
        for arm in given.arms or COMPARED:
            _trained(arm, seed, given)
    results = _results(given.out)
    table = "\n".join(_table(results))
    sys.stdout.write(table + "\n")
    if given.record:
        page = (DOCS / "model.md").read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        (DOCS / "model.md").write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
        _plot(given.out, results, DOCS / PLOT)


def _trained(arm: str, seed: int, given: argparse.Namespace) -> None:
    """Train one arm from one seed and measure it, where that is not done."""
    folder = _folder(given.out, arm, seed)
    if (folder / "result.json").exists():
        return
    options = TrainOptions(
        PRESET, given.data, folder, given.tokens, instruct_share=0.0, seed=seed, threads=given.threads, shape=ARMS[arm]
    )
    _take_tokens(given.out, folder)
    model_folder = train(options, told(f"{arm}, seed {seed}"))
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    bits = {
        path.name.removeprefix("heldout-").removesuffix(".jsonl.zst"): bits_per_byte(
            model, tokenizer, texts(path, _HELD_OUT_BYTES)
        ).value
        for path in sorted((given.data / "pretrain").glob("heldout-*.jsonl.zst"))
    }
    last = [line for line in metrics.read(folder / "metrics.jsonl") if "s" in line][-1]
    stored = sum(p.numel() for p in model.parameters())
    result = Result(arm, seed, stored, _work(model), last["tokens"], last["s"], bits)
    (folder / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / "".join(c if c.isalnum() else "-" for c in arm) / str(seed)


def _take_tokens(out: Path, folder: Path) -> None:
    """The tokenizer, and what was tokenised, are the same for all."""
    folder.mkdir(parents=True, exist_ok=True)
    for there in out.glob("*/*/result.json"):
        for name in ("tokenizer", "tokens"):
            if not (folder / name).exists():
                shutil.copytree(there.parent / name, folder / name)


def _work(model: Any) -> int:
    """Multiplications a token at full depth, of every matrix, each as often as it is used. Attention's own is left out."""
    config = model.config
    shared = sum(p.numel() for p in model.model.blocks[config.num_prelude_layers].parameters() if p.ndim == 2)
    once = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    return once + shared * config.num_shared_blocks * (config.num_repeats - 1)


def _results(out: Path) -> list[Result]:
    found = [Result(**json.loads(path.read_text(encoding="utf-8"))) for path in out.glob("*/*/result.json")]
    return sorted(found, key=lambda result: (list(ARMS).index(result.arm), result.seed))


def _by_arm(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    for arm in ARMS:
        of_arm = [result for result in results if result.arm == arm]
        if of_arm:
            yield arm, of_arm


def _table(results: Sequence[Result]) -> Iterator[str]:
    """Mean ± sd over the seeds, and the difference to SlimPajama with the same seed."""
    languages = sorted({language for result in results for language in result.bits})
    heads = [f"{language}, bits/byte | … over SlimPajama's" for language in languages]
    yield f"| arm | parameters | multiplications a token | seeds | {' | '.join(heads)} |"
    yield "|---|---:|---:|---:|" + "---:|---:|" * len(languages)
    own = {result.seed: result for result in results if result.arm == COMPARED[0]}
    for arm, runs in _by_arm(results):
        first = runs[0]
        cells = [arm, f"{first.stored / 1e6:.2f}M", f"{first.work / 1e6:.2f}M", str(len(runs))]
        for language in languages:
            cells.append(_spread([run.bits[language] for run in runs]))
            more = [run.bits[language] - own[run.seed].bits[language] for run in runs if run.seed in own]
            cells.append("" if arm == COMPARED[0] or not more else _spread(more, signed=True))
        yield f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float], *, signed: bool = False) -> str:
    sd = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{'+' if signed else ''}.4f}{sd}"


def _plot(out: Path, results: Sequence[Result], target: Path) -> None:
    """Held-out bits per byte of English by tokens, the mean of the seeds with their range."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="tokens learned from", ylabel="held out, bits per byte of English")
    for arm, runs in _by_arm(results):
        curves = [
            [(line["tokens"], line["held_out"]["en"]) for line in metrics.read(_folder(out, arm, run.seed) / "metrics.jsonl")
             if "held_out" in line]
            for run in runs
        ]  # fmt: skip
        tokens = [point[0] for point in curves[0]][2:]
        values = list(zip(*([bits for _, bits in curve][2:] for curve in curves), strict=True))
        (line,) = axes.plot(tokens, [statistics.mean(of) for of in values], marker=".", label=arm)
        axes.fill_between(
            tokens, [min(of) for of in values], [max(of) for of in values], color=line.get_color(), alpha=0.15
        )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target)


if __name__ == "__main__":
    main()
