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
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from slimpajama.errors import DataError, OutOfMemory, ResumeError, SavingFailed, SlimPajamaError, TrainingDiverged
from slimpajama.evaluation.bits import bits_per_byte
from slimpajama.evaluation.bits import texts as read_texts
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
    with pytest.raises(ResumeError, match="preset was 'tiny' and is 'micro'"):
        train(replace(options, preset="micro"))


def test_another_run_is_refused_before_the_first_checkpoint_too(options: TrainOptions, tmp_path: Path) -> None:
    class Killed(BaseException):
        """As a kill, nothing is written after it."""

    def kill(progress: TrainProgress) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(options, kill)
    assert not (options.out / "checkpoint.pt").exists()
    with pytest.raises(ResumeError, match="preset was 'tiny' and is 'micro'"):
        train(replace(options, preset="micro"))
    other = options.data.rename(tmp_path / "other")
    with pytest.raises(ResumeError, match="data was"):
        train(replace(options, data=other))


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
    with pytest.raises(TrainingDiverged, match="no numbers after step 1"):
        train(replace(options, other_rate=float("inf")))
    assert not (options.out / "model").exists()
    assert not (options.out / "checkpoint.pt").exists()


def test_too_little_memory_names_what_to_lower(options: TrainOptions) -> None:
    enormous = replace(options, shape={"intermediate_size": 1 << 45})
    with pytest.raises(OutOfMemory, match=r"--batch-tokens \(512\), or raise --accumulate \(1\).*smaller --preset"):
        train(enormous)


def depths(out: Path) -> list[bool]:
    """Of the layers that share blocks, which have learned anything of their own."""
    state = torch.load(out / "checkpoint.pt")["learner"]["model"]
    return [bool(tensor.any()) for name, tensor in state.items() if name.endswith("depth_embedding")]


def test_the_rate_warms_up_and_decays_and_the_depth_grows(options: TrainOptions) -> None:
    options = replace(options, tokens=20 * 512)
    with pytest.raises(InterruptedError):
        train(options, *stopped_at(4))
    assert depths(options.out) == [True, True, False, False]
    train(options)
    assert depths(options.out) == [True] * 4
    rates = [line["rate"] for line in lines_of(options) if "rate" in line]
    assert rates[0] == 0.01
    assert set(rates[1:10]) == {1.0}
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.2


def lines_of(options: TrainOptions) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (options.out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("held_out")
def test_held_out_text_is_measured_at_the_same_depth_after_a_stop(options: TrainOptions, tmp_path: Path) -> None:
    train(replace(options, out=tmp_path / "straight"))
    with pytest.raises(InterruptedError):
        train(options, *stopped_at(3))
    train(options)
    straight, stopped = (
        [line for line in lines_of(each) if "held_out" in line]
        for each in (replace(options, out=tmp_path / "straight"), options)
    )
    assert len(straight) > 5
    assert stopped == straight


@pytest.mark.usefixtures("held_out")
def test_the_running_mean_is_what_is_measured(options: TrainOptions) -> None:
    folder = train(replace(options, ema=0.9))
    measured = [line["held_out"]["en"] for line in lines_of(options) if "held_out" in line][-1]
    tokenizer, saved = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    texts = list(read_texts(options.data / "pretrain" / "heldout-en.jsonl.zst"))
    mean = bits_per_byte(saved.float(), tokenizer, texts).value
    saved.load_state_dict(torch.load(options.out / "checkpoint.pt")["learner"]["model"])
    last = bits_per_byte(saved, tokenizer, texts).value
    assert abs(measured - mean) < abs(measured - last) / 4


def test_a_dense_llama_is_trained_to_be_converted(options: TrainOptions) -> None:
    shape = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    told: list[TrainProgress] = []
    folder = train(replace(options, preset="llama", shape=shape), told.append)
    assert told[-1].loss < told[0].loss
    made = AutoModelForCausalLM.from_pretrained(folder)
    assert type(made) is LlamaForCausalLM
    assert not (folder / "modeling_slimpajama.py").exists()
    again = train(replace(options, preset="", start=folder, out=options.out / "again", instruct_share=0.0))
    assert type(AutoModelForCausalLM.from_pretrained(again)) is LlamaForCausalLM


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    options = TrainOptions(preset="tiny", data=tmp_path, out=tmp_path / "out", tokens=TOKENS)
    with pytest.raises(DataError, match=str(tmp_path / "pretrain")):
        train(options)


def test_bad_rows_are_told(options: TrainOptions, write_rows: Callable[[Path, list[Any]], Path]) -> None:
    """Once, though the tokenizer reads them too, text comes in both phases, and held-out text is measured often."""
    write_rows(options.data / "pretrain" / "bad-000.jsonl.zst", [{"text": None}, 3, {"text": "Good. " * 50}])
    write_rows(options.data / "pretrain" / "heldout-en.jsonl.zst", [{"other": 1}, {"text": "The cat sat on the mat."}])
    told: list[TrainProgress] = []
    train(options, told.append)
    assert sorted(told[-1].bad_rows.split("; ")) == [
        "1 × not an object (first: bad-000.jsonl.zst:2)", "2 × no text (first: bad-000.jsonl.zst:1)",
    ]  # fmt: skip
