"""Training: a tokenizer on a balanced mix, pretraining on packed text, then conversations with loss on the answers.

Knows the schedule and how to go on after a kill: `run.json` says what run a folder holds, `checkpoint.pt` holds the
learner and the data's position, and is replaced as a whole. Knows no command line; progress is reported to a function. Started by torchrun, it trains with
the other processes, of which the first writes and reports.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from slimpajama import metrics
from slimpajama.checkpoints import digest, load_model, load_tokenizer
from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.data import BadRows
from slimpajama.errors import DataError, OutOfMemory, ResumeError, SavingFailed, SlimPajamaError, TrainingDiverged
from slimpajama.evaluation.bits import bits_per_byte, texts
from slimpajama.group import Group
from slimpajama.learner import Learner
from slimpajama.memory import memory_explained
from slimpajama.metrics import Metrics
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.objectives import Distillation, Objective, cross_entropy
from slimpajama.options import Report, TrainOptions, TrainProgress
from slimpajama.presets import preset
from slimpajama.saving import save_model
from slimpajama.stream import PHASES, Stream
from slimpajama.tokenizer import balanced_texts, train_tokenizer

WARM_UP, DECAY_FROM, FULL_DEPTH_FROM = 0.03, 0.5, 0.4
CHECKPOINT_EVERY_S = 120.0
MEASURE_EVERY = 0.05
"""Held-out text is measured after each such share of the run."""
MEASURED_BYTES = 50_000


def train(options: TrainOptions, on_progress: Report | None = None, stop: Callable[[], bool] = lambda: False) -> Path:
    """Train until the tokens or the minutes are used up, and return the folder of the model.

    Goes on from `options.out` if a run of the same options was interrupted. `stop` is asked after every step; where it
    says yes, a checkpoint is written and InterruptedError raised. Raises SlimPajamaError.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.tokens is None and options.minutes is None:
        raise SlimPajamaError("A training needs an end: give --tokens, --minutes or both.")
    try:
        with memory_explained(_too_little_memory(options)):
            return _train(options, on_progress, stop)
    except InterruptedError:
        raise
    except OSError as error:  # what else is written beside checkpoints, and the folders of models
        raise SavingFailed(f"{options.out} cannot be used: {error}. The same command goes on.") from error


def _train(options: TrainOptions, on_progress: Report | None, stop: Callable[[], bool]) -> Path:
    options.out.mkdir(parents=True, exist_ok=True)
    group = Group.joined(options.device)
    _begin(options, group)
    run = _Run(options, group)
    run.resume()
    saved_at = time.monotonic()
    while run.share < 1:
        progress, stopped = run.step(stop)
        if on_progress is not None and run.group.first:
            on_progress(progress)
        if stopped:
            run.save()
            raise InterruptedError(f"Stopped at step {run.learner.steps}; the same command goes on.")
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            run.save()
            saved_at = time.monotonic()
    run.measure()
    run.save()
    return run.finish()


class _Run:
    """One training run: the learner, its data, and how far it is."""

    def __init__(self, options: TrainOptions, group: Group) -> None:
        torch.manual_seed(options.seed)
        self.options, self.group, self.bad = options, group, BadRows()
        self.tokens, self.elapsed_s = 0, 0.0
        self.held_out: dict[str, float] = {}
        self._measured = 0
        self.tokenizer, model = _beginning(options, group)
        model.to(device=torch.device(options.device)).train()
        self.learner = Learner(model, options, group, _objective(options))
        self.metrics = Metrics(options.out / "metrics.jsonl" if group.first else None)
        self._streams = {name: Stream(options, name, self.tokenizer, self.bad) for name in _phases(options)}

    @property
    def share(self) -> float:
        """How much of the run is done, by tokens or by time, whichever is further."""
        by_time = self.elapsed_s / (self.options.minutes * 60) if self.options.minutes else 0.0
        by_tokens = self.tokens / self.options.tokens if self.options.tokens else 0.0
        return max(by_tokens, by_time)

    @property
    def phase(self) -> str:
        """Which data the next step learns from."""
        return PHASES[self.share >= 1 - self.options.instruct_share]

    def step(self, stop: Callable[[], bool]) -> tuple[TrainProgress, bool]:
        """One optimizer step, and whether any process was asked to stop. Raises SlimPajamaError."""
        began = time.monotonic()
        self.measure()
        learning, phase, share = time.monotonic(), self.phase, self.share
        batch = self._streams[phase].batch(self.options.batch_tokens)
        self._set_depth(share)
        rate = _schedule(share)
        loss = self.learner.learn(batch, rate)
        now = time.monotonic()
        stopped, took_s = self.group.largest([stop(), now - began], self.options.device)
        tokens = batch.input_ids.numel()
        self.tokens, self.elapsed_s = self.tokens + tokens, self.elapsed_s + took_s
        step, speed = self.learner.steps, tokens / (now - learning)
        told = {"phase": phase, "loss": loss, "rate": rate, "tokens_per_s": round(speed), "s": round(self.elapsed_s, 2)}
        self.metrics.write(step=step, tokens=self.tokens, **told)
        done = min(self.share, 1.0)
        return TrainProgress(phase, step, self.tokens, done, loss, speed, str(self.bad), self.held_out), bool(stopped)

    def _set_depth(self, share: float) -> None:
        """One repeat of the shared blocks at first, all of them later; what begins with a model begins whole."""
        full = self.options.start or share >= FULL_DEPTH_FROM * (1 - self.options.instruct_share)
        model = self.learner.model
        if isinstance(model, SlimPajamaForCausalLM):
            model.model.active_repeats = model.config.num_repeats if full else 1

    def measure(self) -> None:
        """Bits per byte of the beginning of the held-out text, where there is any and it is time."""
        due = int(self.share / MEASURE_EVERY)
        if due <= self._measured:
            return
        self._measured = due
        if not self.group.first:
            return
        self._set_depth(self.share)
        with self.learner.averaged() as model:
            for path in sorted((self.options.data / "pretrain").glob("heldout-*.jsonl.zst")):
                language, bad = path.name.removeprefix("heldout-").removesuffix(".jsonl.zst"), BadRows()
                measured = bits_per_byte(model, self.tokenizer, texts(path, MEASURED_BYTES, bad))
                self.bad.add(path.name, bad)
                self.held_out = {**self.held_out, language: round(measured.value, 4)}
        if self.held_out:
            self.metrics.write(step=self.learner.steps, tokens=self.tokens, held_out=self.held_out)

    def save(self) -> None:
        """Replace `checkpoint.pt` by where the run stands now. Raises SavingFailed; the old one stays then."""
        if not self.group.first:
            return
        state = {
            "learner": self.learner.state(),
            "streams": {name: stream.state() for name, stream in self._streams.items()},
            "run": (self.tokens, self.elapsed_s, self.held_out, self._measured),
            "random": torch.get_rng_state(),
        }
        _save_whole(state, self.options.out / "checkpoint.pt")

    def resume(self) -> None:
        """Stand where `checkpoint.pt` says, if there is one."""
        path = self.options.out / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=self.options.device)
            self.learner.restore(state["learner"])
            for name, stream in self._streams.items():
                stream.restore(state["streams"][name])
            self.tokens, self.elapsed_s, self.held_out, self._measured = state["run"]
            torch.set_rng_state(state["random"].cpu())
        self.metrics.cut(self.learner.steps)

    def finish(self) -> Path:
        """Write the model and the plot of its training, and return the model's folder. Raises SavingFailed and OSError."""
        folder = self.options.out / "model"
        if self.group.first:
            with self.learner.averaged() as model:
                save_model(model, self.tokenizer, folder)
            self._plot()
        self.group.wait(self.options.device)
        return folder

    def _plot(self) -> None:
        lines = self.options.out / "metrics.jsonl"
        if lines.exists():
            try:
                metrics.plot(lines, self.options.out / "loss.png")
            except ModuleNotFoundError:  # an extra: the figures are in metrics.jsonl
                return


def _begin(options: TrainOptions, group: Group) -> None:
    """Write down in `run.json` what run this is, before anything else is. Raises ResumeError where another is there."""
    path, asked = options.out / "run.json", options.identity()
    if options.start is not None:
        asked["weights of start"] = digest(options.start)
    if group.first and not path.exists():
        aside = path.with_suffix(".json.new")
        aside.write_text(json.dumps(asked, indent=1), encoding="utf-8")
        aside.replace(path)
    group.wait(options.device)
    begun = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in asked if begun.get(name) != asked[name]]
    if differing:
        told = "; ".join(f"{name} was {begun.get(name)!r} and is {asked[name]!r}" for name in differing)
        raise ResumeError(
            f"{options.out} holds another run: {told}. Give the same options or another --out, or remove it."
        )


def _beginning(options: TrainOptions, group: Group) -> tuple[PreTrainedTokenizerBase, Any]:
    """Tokenizer and model that a run begins with: of `options.start`, or new ones of the preset."""
    if options.start is not None:
        return load_tokenizer(options.start), load_model(options.start, unhealed=True, dtype=torch.float32)
    config = preset(options.preset, **options.shape)
    folder = options.out / "tokenizer"
    if group.first and not folder.exists():
        texts_of_both = balanced_texts(options.data, BadRows())  # bad rows are told when they would be learned from
        made = train_tokenizer(texts_of_both, config.vocab_size, config.max_position_embeddings)
        aside = folder.with_name("tokenizer.new")
        made.save_pretrained(aside)
        aside.rename(folder)
    group.wait(options.device)
    model = SlimPajamaForCausalLM(config) if isinstance(config, SlimPajamaConfig) else LlamaForCausalLM(config)
    return load_tokenizer(folder), model


def _objective(options: TrainOptions) -> Objective:
    if options.teacher is None:
        return cross_entropy
    return Distillation(load_model(options.teacher, dtype=torch.float32).to(options.device))


def _too_little_memory(options: TrainOptions) -> str:
    if options.teacher is not None:
        return (
            f"There is too little memory on {options.device} for the model and the source that it is drawn to: heal it "
            "where there is more, or convert a smaller source."
        )
    return (
        f"There is too little memory on {options.device}: lower --batch-tokens ({options.batch_tokens}), or raise "
        f"--accumulate ({options.accumulate}), which learns the same from smaller parts, or take a smaller --preset."
    )


def _phases(options: TrainOptions) -> tuple[str, ...]:
    """The phases that the run has; data of one that it has not need not be there."""
    return PHASES if options.instruct_share else PHASES[:1]


def _schedule(share: float) -> float:
    """Warm-up, constant, then linear to a hundredth."""
    if share < WARM_UP:
        return max(share / WARM_UP, 0.01)
    return 1.0 if share < DECAY_FROM else max((1 - share) / (1 - DECAY_FROM), 0.01)


def _save_whole(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`, which is replaced only by a whole file that is on the disk. Raises SavingFailed."""
    aside = path.with_suffix(".pt.new")
    try:
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer has its own words for a full disk
        aside.unlink(missing_ok=True)
        kept = "the one before it stays" if path.exists() else "there is none before it"
        raise SavingFailed(f"{path} cannot be written: {error}; {kept}. Make room and go on.") from error


__all__ = [
    "DataError", "OutOfMemory", "ResumeError", "SavingFailed", "TrainOptions", "TrainProgress", "TrainingDiverged", "train",
]  # fmt: skip
