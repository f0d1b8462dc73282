"""Training goes on exactly where it was stopped, and stops with a sentence where it cannot go on."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from slimpajama.errors import DataError, ResumeError, SavingFailed, SlimPajamaError, TrainingDiverged
from slimpajama.evaluation.bits import bits_per_byte
from slimpajama.options import TrainOptions, TrainProgress
from slimpajama.train import train

TOKENS = 10 * 512


@pytest.fixture
def options(data: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(preset="tiny", data=data, out=tmp_path / "out", tokens=TOKENS, batch_tokens=512)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_trained_model_knows_more_than_nothing(options: TrainOptions) -> None:
    told: list[TrainProgress] = []
    folder = train(options, told.append)
    assert [p.step for p in told] == list(range(1, 11))
    assert [p.phase for p in told] == ["pretrain"] * 7 + ["instruct"] * 3
    assert told[-1].share == 1
    assert told[-1].loss < told[0].loss
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert bits_per_byte(model, tokenizer, ["The cat sat on the mat.", "今天天气很好。"]).value < 8


def test_a_preset_can_be_trained_in_another_shape(options: TrainOptions) -> None:
    folder = train(replace(options, shape={"num_repeats": 3, "delta_rank": 0}))
    made = AutoModelForCausalLM.from_pretrained(folder).config
    assert (made.num_hidden_layers, made.delta_rank, made.hidden_size) == (8, 0, 64)
    with pytest.raises(ResumeError):
        train(options)


def stopped_at(step: int) -> tuple[Callable[[TrainProgress], None], Callable[[], bool]]:
    """What to report to, and what says that step `step` should be the last."""
    steps: list[int] = []
    return lambda progress: steps.append(progress.step), lambda: len(steps) + 1 == step


def flat(value: Any) -> Iterator[Any]:
    """Everything that a checkpoint holds, one after the other, tensors as bytes."""
    if isinstance(value, torch.Tensor):
        yield value.numpy().tobytes()
    elif isinstance(value, dict | list | tuple):
        for each in value.items() if isinstance(value, dict) else value:
            yield from flat(each)
    else:
        yield value


def test_a_stopped_run_goes_on_to_the_same_bits(options: TrainOptions, tmp_path: Path) -> None:
    options = replace(options, ema=0.9, accumulate=2)
    train(replace(options, out=tmp_path / "straight"))
    for steps, stop_at in ((3, 3), (5, 8)):
        with pytest.raises(InterruptedError, match=f"step {stop_at}"):
            train(options, *stopped_at(steps))
    train(options)
    straight, finished = (torch.load(out / "checkpoint.pt") for out in (tmp_path / "straight", options.out))
    for part in ("learner", "streams", "random"):
        assert list(flat(finished[part])) == list(flat(straight[part])), part
    for name, tensor in weights(tmp_path / "straight" / "model").items():
        assert torch.equal(weights(options.out / "model")[name], tensor), name


def test_a_run_that_was_killed_tells_each_step_once(options: TrainOptions, held_out: None) -> None:
    with pytest.raises(InterruptedError):
        train(options, *stopped_at(3))
    with (options.out / "metrics.jsonl").open("a") as file:  # steps after the checkpoint, and a line cut by the kill
        file.write(json.dumps({"step": 4, "tokens": 1, "loss": 9.0}) + '\n{"step": 5, "lo')
    told: list[TrainProgress] = []
    train(options, told.append)
    lines = [json.loads(line) for line in (options.out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 11))
    measured = [line for line in lines if "held_out" in line]
    assert set(measured[-1]["held_out"]) == {"en"}
    assert measured[-1]["held_out"]["en"] < measured[0]["held_out"]["en"]
    assert told[-1].held_out == measured[-2]["held_out"]
    assert (options.out / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def held_out(options: TrainOptions, write_rows: Callable[[Path, list[Any]], Path]) -> None:
    write_rows(options.data / "pretrain" / "heldout-en.jsonl.zst", [{"text": "The cat sat on the mat. " * 9}])


def test_a_finished_run_is_not_trained_again(options: TrainOptions) -> None:
    folder = train(options)
    told: list[TrainProgress] = []
    assert train(options, told.append) == folder
    assert told == []


def test_another_runs_checkpoint_is_refused(options: TrainOptions) -> None:
    train(options)
    with pytest.raises(ResumeError, match="another --out"):
        train(replace(options, tokens=TOKENS * 2))
    with pytest.raises(ResumeError, match="'preset': 'tiny'"):
        train(replace(options, preset="micro"))


def test_a_disk_that_is_full_leaves_the_checkpoint_before(options: TrainOptions) -> None:
    with pytest.raises(InterruptedError):
        train(options, *stopped_at(2))
    path = options.out / "checkpoint.pt"
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(SavingFailed, match=r"the one before it stays\. Make room"):
            train(options, *stopped_at(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert not path.with_suffix(".pt.new").exists()
    train(options)


def test_a_folder_that_cannot_be_written_is_a_sentence(options: TrainOptions) -> None:
    options.out.write_text("in the way")
    with pytest.raises(SavingFailed, match=r"out cannot be used: .*File exists"):
        train(options)


def test_a_run_without_an_end_is_refused(options: TrainOptions) -> None:
    with pytest.raises(SlimPajamaError, match="--tokens, --minutes or both"):
        train(replace(options, tokens=None))


def test_time_may_end_a_run_sooner(options: TrainOptions) -> None:
    told: list[TrainProgress] = []
    train(replace(options, minutes=1e-9), told.append)
    assert len(told) == 1


def test_a_loss_that_is_no_number_stops_the_run(options: TrainOptions) -> None:
    with pytest.raises(TrainingDiverged, match="at step"):
        train(replace(options, other_rate=float("inf")))
    assert not (options.out / "model").exists()


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    options = TrainOptions(preset="tiny", data=tmp_path, out=tmp_path / "out", tokens=TOKENS)
    with pytest.raises(DataError, match=str(tmp_path / "pretrain")):
        train(options)


def test_bad_rows_are_told(options: TrainOptions, write_rows: Callable[[Path, list[Any]], Path]) -> None:
    write_rows(options.data / "pretrain" / "bad-000.jsonl.zst", [{"text": None}, {"text": "Good. " * 50}])
    told: list[TrainProgress] = []
    train(options, told.append)
    assert "no text" in told[-1].bad_rows
