"""`pajama model`: training that is stopped, taken up again and finished; what the other commands print and refuse."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from core.errors import PajamaError, SettingsError
from pajama.commands import model_evaluation, model_samples
from pajama.commands.model import train
from pajama.commands.model_conversion import slim
from pajama.commands.model_samples import Sample
from slimpajama.evaluation.report import Figure, Report
from tests.pajama.commands import Pajama

STEPS = 8
STEP_TOKENS = 4096
OPTIONS = ("--preset", "tiny", "--data", "data", "--out", "out", "--tokens", str(STEPS * STEP_TOKENS))


@pytest.fixture
def data(pajama: Pajama) -> Path:
    """Text and conversations, as the trainer reads them."""
    folder = pajama.folder / "data"
    texts = [{"text": f"Sheep number {i} jumps over the fence, then sleeps. " * 8, "lang": "en"} for i in range(200)]
    said = [{"role": "user", "content": "Good night"}, {"role": "assistant", "content": "Sleep well"}]
    _write(folder / "pretrain" / "sheep-000.jsonl.zst", texts)
    _write(folder / "sft" / "chat-sheep.train.jsonl.zst", [{"messages": said, "lang": "en"}] * 200)
    return folder


def test_a_training_stops_at_ctrl_c_goes_on_and_ends_with_a_model(pajama: Pajama, data: Path) -> None:
    training = pajama.start("model", "train", *OPTIONS)
    assert training.stdout is not None
    first = next(line for line in training.stdout if "step" in line)
    assert first.startswith("pretrain")
    training.send_signal(signal.SIGINT)
    told = training.communicate(timeout=60)[0]
    assert training.returncode == 1
    assert "the same command goes on" in told
    done = pajama.run("model", "train", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "step 1," not in done.stderr  # it did not begin anew
    assert "PAJAMA_MODEL=out/model" in done.stdout
    assert (pajama.folder / "out" / "model" / "config.json").exists()


@pytest.fixture
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_as_before")
def test_options_that_are_wrong_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there are tiny, micro"):
        train("huge", tmp_path, tmp_path / "out", tokens=1)
    with pytest.raises(PajamaError, match="holds no file"):
        train("tiny", tmp_path, tmp_path / "out", tokens=1)
    with pytest.raises(PajamaError, match="give --tokens, --minutes or both"):
        train("tiny", tmp_path, tmp_path / "out")


def test_an_evaluation_is_a_table_and_answers_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    figures = (
        Figure("text en", "bits per byte", "bits", 7, 1.9701),
        Figure("grounded x", "F1 %", "%", 1190, 12.345, {"BM25": 40.0, "first": 9.96}),
    )
    model_evaluation.show(Report("slimpajama", 3_370_000, 7, 2, figures, (("Hello!", "a | b\nc"),)))
    lines = capsys.readouterr().out.splitlines()
    assert "| text en | bits per byte | 7 | 1.970 |  |  |  |" in lines
    assert "| grounded x | F1 % | 1,190 | 12.3 | 40.0 | 10.0 |  |" in lines
    assert "| Hello! | a \\| b c |" in lines
    assert "Questions too long for its context, counted as wrong: 2" in lines


def test_a_checkpoint_or_a_source_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PajamaError, match="/nowhere cannot be loaded"):
        model_evaluation.evaluate("/nowhere", tmp_path, limit=1, as_json=False)
    how = {"share": "2x2", "rank": 1, "pattern": "cycle", "calibration": None}
    with pytest.raises(PajamaError, match="/nowhere cannot be loaded"):
        slim("/nowhere", tmp_path / "out", **how, heal=None, tokens=None)
    with pytest.raises(SettingsError, match="belong together"):
        slim("/nowhere", tmp_path / "out", **how, heal=tmp_path, tokens=None)


def test_samples_are_put_by_the_recipes_and_shown_by_recipe() -> None:
    put = [model_samples.put(*each) for each in model_samples.asked()]
    assert len(set(put)) == 30
    assert put[0] == "续写：今天天气很好，适合户外活动，你可以去公园散步。"
    assert put[10].startswith("Translate into Chinese: ")
    assert "Labels: transfer, balance" in put[20]
    shown = "\n".join(
        model_samples.table([Sample("write", "a", {}, "b\nc"), Sample("translate", "d", {"to": "zh"}, "")])
    )
    assert "| a | b c |" in shown
    assert "| d (to: zh) |  |" in shown


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = zstandard.compress("\n".join(json.dumps(row) for row in rows).encode())
    path.write_bytes(packed)
