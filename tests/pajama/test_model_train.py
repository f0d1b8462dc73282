"""`pajama model train` on a few rows: stopped, taken up again, finished."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from core.errors import PajamaError, SettingsError
from pajama.commands.model import train
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
        train("huge", tmp_path, tmp_path / "out", tokens=1, minutes=None)
    with pytest.raises(PajamaError, match="holds no file"):
        train("tiny", tmp_path, tmp_path / "out", tokens=1, minutes=None)


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = zstandard.compress("\n".join(json.dumps(row) for row in rows).encode())
    path.write_bytes(packed)
