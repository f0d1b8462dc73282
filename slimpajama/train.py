"""Training: a tokenizer on a balanced mix, pretraining on packed text, then conversations with loss on the answers.

Knows the schedule and how to go on after a kill: `checkpoint.pt` holds model, optimizers and the data's position, and
is replaced as a whole. Knows no command line; progress is reported to a function.
"""

from __future__ import annotations

import itertools
import math
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from slimpajama.data import IGNORED, BadRows, Batch, Document, Mixture, Packer, document, find_sources
from slimpajama.errors import DataError, ResumeError, TrainingDiverged
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.optimizers import build_optimizers
from slimpajama.presets import preset
from slimpajama.saving import save_model
from slimpajama.tokenizer import train_tokenizer

TOKENIZER_BYTES = 24_000_000
WARM_UP, DECAY_FROM, FULL_DEPTH_FROM = 0.03, 0.5, 0.4
CHECKPOINT_EVERY_S = 120.0


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train. `tokens` counts both phases; `minutes`, where given, ends sooner with the same schedule."""

    preset: str
    data: Path
    out: Path
    tokens: int
    minutes: float | None = None
    instruct_share: float = 0.3
    batch_tokens: int = 4096
    threads: int | None = None
    pretrain_length: int = 256
    instruct_length: int = 512
    matrix_rate: float = 6e-3
    other_rate: float = 3e-3
    seed: int = 1
    device: str = "cpu"

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made with to be resumed."""
        kept = asdict(self)
        return {name: kept[name] for name in ("preset", "tokens", "instruct_share", "batch_tokens", "seed")}


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where the training stands. `share` is of the whole, from 0 to 1; `bad_rows` is empty where all were good."""

    phase: str
    step: int
    tokens: int
    share: float
    loss: float
    tokens_per_s: float
    bad_rows: str


Report = Callable[[TrainProgress], None]


def train(options: TrainOptions, on_progress: Report | None = None, stop: Callable[[], bool] = lambda: False) -> Path:
    """Train, or go on training, and return the folder of the finished model.

    `stop` is asked between steps: when it says so, a checkpoint is written and InterruptedError raised. Raises
    DataError, ResumeError, TrainingDiverged.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    run = _Run(options)
    run.resume()
    saved_at = time.monotonic()
    while run.share < 1:
        progress = run.step()
        if on_progress is not None:
            on_progress(progress)
        if stop():
            run.save()
            raise InterruptedError(f"Stopped at step {run.steps}; the same command goes on.")
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            run.save()
            saved_at = time.monotonic()
    run.save()
    return save_model(run.model, run.tokenizer, options.out / "model")


class _Run:
    """One training run: model, optimizers, data, and how far it is."""

    def __init__(self, options: TrainOptions) -> None:
        torch.manual_seed(options.seed)
        self.options, self.bad = options, BadRows()
        self.steps = self.tokens = 0
        self.elapsed_s = 0.0
        config = preset(options.preset)
        self.tokenizer = _tokenizer(options, config.vocab_size, config.max_position_embeddings, self.bad)
        self.model = SlimPajamaForCausalLM(config)
        self.model.to(device=torch.device(options.device))  # type: ignore[call-arg]  # wrapped by transformers
        self.model.train()
        self._optimizers = build_optimizers(self.model, options.matrix_rate, options.other_rate)
        self._phases = {name: _Phase(options, name, self.tokenizer, self.bad) for name in ("pretrain", "instruct")}

    @property
    def share(self) -> float:
        """How much of the run is done, by tokens or by time, whichever is further."""
        by_time = self.elapsed_s / (self.options.minutes * 60) if self.options.minutes else 0.0
        return max(self.tokens / self.options.tokens, by_time)

    @property
    def phase(self) -> str:
        """Which data the next step learns from."""
        return "pretrain" if self.share < 1 - self.options.instruct_share else "instruct"

    def step(self) -> TrainProgress:
        """One optimizer step. Raises TrainingDiverged."""
        began, phase, share = time.monotonic(), self.phase, self.share
        batch = self._phases[phase].batch(self.options.batch_tokens)
        full_depth = share >= FULL_DEPTH_FROM * (1 - self.options.instruct_share)
        self.model.model.active_repeats = self.model.config.num_repeats if full_depth else 1
        loss = self._learn(batch, _schedule(share))
        took_s = time.monotonic() - began
        tokens = batch.input_ids.numel()
        self.steps, self.tokens, self.elapsed_s = self.steps + 1, self.tokens + tokens, self.elapsed_s + took_s
        return TrainProgress(phase, self.steps, self.tokens, min(self.share, 1.0), loss, tokens / took_s, str(self.bad))

    def _learn(self, batch: Batch, rate: float) -> float:
        """One optimizer step at `rate` of the full learning rates; the loss before it."""
        device = self.options.device
        targets = torch.nn.functional.pad(batch.labels[:, 1:], (0, 1), value=IGNORED).to(device)  # (B, T)
        learned = targets != IGNORED
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            logits = self.model(
                input_ids=batch.input_ids.to(device),
                position_ids=batch.position_ids.to(device),
                use_cache=False,
                logits_to_keep=learned,
            ).logits  # (learned tokens, V)
            loss = torch.nn.functional.cross_entropy(logits.float(), targets[learned])
        if not math.isfinite(loss.item()):
            raise TrainingDiverged(f"The loss is {loss.item()} at step {self.steps + 1}; the last checkpoint stays.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["initial_lr"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    def save(self) -> None:
        """Replace `checkpoint.pt` by where the run stands now; the old one stays until the new one is whole."""
        state = {
            "identity": self.options.identity(),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "phases": {name: phase.state() for name, phase in self._phases.items()},
            "run": (self.steps, self.tokens, self.elapsed_s),
            "random": torch.get_rng_state(),
        }
        path = self.options.out / "checkpoint.pt"
        aside = path.with_suffix(".pt.new")
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def resume(self) -> None:
        """Stand where `checkpoint.pt` says, if there is one. Raises ResumeError for that of another run."""
        path = self.options.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["identity"] != self.options.identity():
            raise ResumeError(f"{path} was made with {state['identity']}; give the same options or another --out.")
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name, phase in self._phases.items():
            phase.restore(state["phases"][name])
        self.steps, self.tokens, self.elapsed_s = state["run"]
        torch.set_rng_state(state["random"])


class _Phase:
    """The stream of batches of one phase."""

    def __init__(self, options: TrainOptions, name: str, tokenizer: PreTrainedTokenizerFast, bad: BadRows) -> None:
        self._instruct = name == "instruct"
        self._length = options.instruct_length if self._instruct else options.pretrain_length
        context = tokenizer.model_max_length
        self._length = min(self._length, context)
        self._mixture = _mixture(options.data, bad, instruct=self._instruct)
        self._packer = Packer(self._length, split=not self._instruct)
        rows = iter(self._mixture)
        self._documents = _documents(rows, tokenizer, self._length, bad, cut=self._instruct)

    def batch(self, tokens: int) -> Batch:
        """The next batch of about `tokens` tokens."""
        return self._packer.batch(self._documents, max(1, tokens // self._length))

    def state(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {"mixture": self._mixture.state(), "packer": self._packer.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where `state` says."""
        self._mixture.restore(state["mixture"])
        self._packer.restore(state["packer"])


def _documents(
    rows: Iterator[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, length: int, bad: BadRows, *, cut: bool
) -> Iterator[Document]:
    """What `rows` give to learn. `cut`: nothing longer than a row of a batch."""
    for row in rows:
        found = document(row, tokenizer, length, bad)
        if found is not None:
            yield Document(found.ids[:length], found.learned[:length]) if cut else found


def _schedule(share: float) -> float:
    """Warm-up, constant, then linear to a hundredth."""
    if share < WARM_UP:
        return max(share / WARM_UP, 0.01)
    return 1.0 if share < DECAY_FROM else max((1 - share) / (1 - DECAY_FROM), 0.01)


def _mixture(data: Path, bad: BadRows, *, instruct: bool) -> Mixture:
    plan = tomllib.loads(files("slimpajama").joinpath("mixture.toml").read_text(encoding="utf-8"))
    text = find_sources(data / "pretrain", "*.jsonl.zst")
    text_shares = _shares(text, plan["pretrain"])
    if not instruct:
        return Mixture(text, text_shares, bad)
    chats = find_sources(data / "sft", "*.train.jsonl.zst")
    kept = plan["instruct"]["pretrain"]
    shares = {name: share * kept for name, share in text_shares.items()}
    shares |= {name: share * (1 - kept) for name, share in _shares(chats, plan["sft"]).items()}
    return Mixture({**text, **chats}, shares, bad)


def _shares(sources: dict[str, list[Path]], planned: dict[str, float]) -> dict[str, float]:
    """Shares of the sources that are there, adding up to 1."""
    named = {name: planned[name] for name in sources if name in planned} or dict.fromkeys(sources, 1.0)
    total = sum(named.values())
    return {name: share / total for name, share in named.items()}


def _tokenizer(options: TrainOptions, vocab_size: int, context: int, bad: BadRows) -> PreTrainedTokenizerFast:
    """The run's tokenizer, trained at its first start."""
    folder = options.out / "tokenizer"
    if folder.exists():
        loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
        return loaded
    tokenizer = train_tokenizer(_balanced(options.data, bad), vocab_size, context)
    aside = folder.with_name("tokenizer.new")
    tokenizer.save_pretrained(aside)
    aside.rename(folder)
    return tokenizer


def _balanced(data: Path, bad: BadRows) -> Iterator[str]:
    """English and Chinese text, half of the bytes each where both are there; text and conversations."""
    packed = sum(path.stat().st_size for path in data.rglob("*.jsonl.zst"))
    wanted = min(TOKENIZER_BYTES, packed * 8)  # little data need not be read again and again
    streams = [_by_language(_mixture(data, bad, instruct=instruct)) for instruct in (False, True)]
    given, seen = {"zh": 0, "en": 0}, 0
    for language, text in itertools.chain.from_iterable(zip(*streams, strict=True)):
        size = len(text.encode(errors="replace"))
        seen += size
        if given[language] < wanted / 2:
            given[language] += size
            yield text
        if seen > 2 * wanted or sum(given.values()) >= wanted:
            return


def _by_language(rows: Mixture) -> Iterator[tuple[str, str]]:
    for row in rows:
        messages = row.get("messages") or ()
        text = row.get("text") or "\n".join(str(m.get("content", "")) for m in messages if isinstance(m, dict))
        if isinstance(text, str) and text:
            yield ("zh" if row.get("lang") == "zh" else "en"), text


__all__ = ["DataError", "ResumeError", "TrainOptions", "TrainProgress", "TrainingDiverged", "train"]
