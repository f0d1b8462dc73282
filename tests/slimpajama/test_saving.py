"""A checkpoint folder holds everything once, and loads with and without slimpajama."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from slimpajama.errors import SavingFailed
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.names import CHECKPOINT
from slimpajama.saving import CODE, save_model

PLAIN = """
import sys, torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
body = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
ids = tokenizer("The cat sat", return_tensors="pt").input_ids
assert "slimpajama" not in sys.modules
assert torch.equal(model.model(ids).last_hidden_state, body(ids).last_hidden_state)
print(model(ids).logits.double().sum().item())
"""


@pytest.fixture
def folder(tmp_path: Path, model: SlimPajamaForCausalLM, tokenizer: Any) -> Path:
    return save_model(model, tokenizer, tmp_path / "saved")


def test_no_matrix_is_stored_twice(folder: Path, model: SlimPajamaForCausalLM) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    assert sum(t.numel() for t in stored.values()) == sum(p.numel() for p in model.parameters())
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in stored


def test_a_saved_model_gives_the_same_logits(folder: Path, model: SlimPajamaForCausalLM) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data = parameter.to(torch.bfloat16).float()
    ids = torch.tensor([[5, 6, 7]])
    assert type(loaded) is SlimPajamaForCausalLM
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_saving_leaves_the_model_as_it_was(folder: Path, model: SlimPajamaForCausalLM) -> None:
    assert folder.exists()
    assert model.dtype == torch.float32


def test_saving_again_replaces_the_folder(folder: Path, model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    (folder / "left_over").touch()
    names = {path.name for path in save_model(model, tokenizer, folder).iterdir()}
    assert "left_over" not in names
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", *CODE} <= names
    assert not folder.with_name("saved.new").exists()


@contextmanager
def full_disk(file_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("file_bytes", [10_000, 200])  # of weights, and of everything
def test_a_full_disk_leaves_the_model_before(
    folder: Path, model: SlimPajamaForCausalLM, tokenizer: Any, file_bytes: int
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        full_disk(file_bytes),
        pytest.raises(SavingFailed, match=r"saved cannot be written: .*the one before it stays"),
    ):
        save_model(model, tokenizer, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


class Killed(BaseException):
    """As a kill, nothing is tidied up after it."""


@pytest.mark.parametrize("steps", [0, 1])
def test_a_kill_at_any_step_of_the_exchange_leaves_a_whole_model(
    folder: Path, model: SlimPajamaForCausalLM, tokenizer: Any, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done, rename = [], Path.rename

    def killed_after_some(self: Path, target: Path) -> Path:
        if len(done) == steps:
            raise Killed
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_after_some)
        with pytest.raises(Killed):
            save_model(model, tokenizer, folder)
    with full_disk(200), pytest.raises(SavingFailed):  # the next start, whatever becomes of it, finds the one before
        save_model(model, tokenizer, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_the_folder_loads_in_plain_transformers(folder: Path, tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder)],
        cwd=tmp_path,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert output.returncode == 0, output.stderr
    ids = AutoTokenizer.from_pretrained(folder)("The cat sat", return_tensors="pt").input_ids
    here = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert float(output.stdout) == pytest.approx(here(ids).logits.double().sum().item(), abs=1e-3)


def test_the_shipped_checkpoint_carries_todays_code_and_is_small() -> None:
    for name in CODE:
        assert (CHECKPOINT / name).read_text() == (CHECKPOINT.parent / name).read_text(), f"{name}: copy it anew"
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < 25_000_000
    assert json.loads((CHECKPOINT / "config.json").read_text())["auto_map"]["AutoModel"].endswith("SlimPajamaModel")
