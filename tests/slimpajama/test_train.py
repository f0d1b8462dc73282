"""Training goes on exactly where it was stopped, and stops with a sentence where it cannot go on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from slimpajama.__main__ import main
from slimpajama.errors import DataError, ResumeError, TrainingDiverged
from slimpajama.evaluation.bits import bits_per_byte
from slimpajama.train import TrainOptions, TrainProgress, train

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


def test_a_stopped_run_goes_on_to_the_same_model(options: TrainOptions, tmp_path: Path) -> None:
    straight = train(replace(options, out=tmp_path / "straight"))
    for stop_at in (3, 8):
        steps: list[int] = []

        def report(progress: TrainProgress, steps: list[int] = steps) -> None:
            steps.append(progress.step)

        with pytest.raises(InterruptedError, match=f"step {stop_at}"):
            train(options, report, lambda steps=steps, stop_at=stop_at: steps[-1] == stop_at)
    finished = train(options)
    for name, tensor in weights(straight).items():
        assert torch.equal(weights(finished)[name], tensor), name


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_a_checkpoint(
    options: TrainOptions, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preset", "tiny", "--data", options.data, "--out", options.out, "--tokens", TOKENS]
    monkeypatch.setattr("slimpajama.__main__._report", lambda _: signal.raise_signal(number))
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main(["train", *map(str, arguments), "--threads", "1"]) == 1
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "Stopped at step 1; the same command goes on" in capsys.readouterr().out
    assert (options.out / "checkpoint.pt").exists()
