"""A model's name becomes a Generator, or one sentence that says what to do."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, BertConfig, BertModel

from core.errors import ModelUnavailable
from core.prompts import Prompt, PromptPart
from core.settings import Settings
from core.values import SamplingParams
from slimpajama.names import CHECKPOINT
from tests.workers.tiny import CONTEXT
from workers.engine import packing
from workers.generator import Finished
from workers.loading import _dtype, cpu_precision, describe, load_generator


def settings(model: object, **others: object) -> Settings:
    return Settings(model=str(model), device="cpu", **others)  # type: ignore[arg-type]


def test_a_folder_is_loaded_and_answers(model_folder: Path) -> None:
    generator = load_generator(settings(model_folder, max_batch_size=2))
    try:
        assert generator.info.name == str(model_folder)
        assert generator.info.context_tokens == CONTEXT
        events = generator.generate(
            Prompt((PromptPart("user", "Hi"),)), SamplingParams(temperature=0, max_new_tokens=3), request_id="a"
        )
        assert isinstance(list(events)[-1], Finished)
    finally:
        generator.close()


def test_the_context_can_be_made_smaller_but_not_larger(model_folder: Path) -> None:
    for wanted, got in ((64, 64), (10_000, CONTEXT)):
        generator = load_generator(settings(model_folder, max_context_tokens=wanted))
        generator.close()
        assert generator.info.context_tokens == got


def test_a_model_is_described_without_its_weights(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    described = describe(settings(tmp_path, dtype="float32"))
    assert described.startswith(f"{tmp_path}: 0.0M parameters, 0.00 GB in float32 on cpu")
    assert described.endswith(f"{CONTEXT} tokens of context")
    with pytest.raises(ModelUnavailable, match="no such folder"):
        describe(settings(tmp_path / "nowhere"))


def test_the_revision_changes_with_the_weights_only(model_folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model_folder, tmp_path / "copy")
    changed = shutil.copytree(model_folder, tmp_path / "changed")
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    first, second, third = (revision(folder) for folder in (model_folder, copied, changed))
    assert first == second != third


def revision(folder: Path) -> str:
    generator = load_generator(settings(folder))
    generator.close()
    return generator.info.revision


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelUnavailable, match=r"PAJAMA_MODEL=/no/such/folder: there is no such folder"):
        load_generator(settings("/no/such/folder"))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"has no config\.json"):
        load_generator(settings(tmp_path))


def test_a_model_that_is_no_causal_lm_is_named(tmp_path: Path) -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=10, **shape)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for model_type in ("vit", "nonsense"):
        (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
        with pytest.raises(ModelUnavailable, match=model_type):
            load_generator(settings(tmp_path))


def test_broken_weights_are_named(model_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_generator(settings(broken))


def test_weights_that_do_not_fit_the_model_are_named(model_folder: Path, tmp_path: Path) -> None:
    whole = load_file(model_folder / "model.safetensors")
    layer = [name for name in whole if ".layers.0." in name]
    for folder, weights in (
        ("missing", {name: tensor for name, tensor in whole.items() if name not in layer}),
        ("foreign", {f"transformer.{name}": tensor for name, tensor in whole.items()}),
        ("mismatched", {name: tensor[1:].clone() if name in layer else tensor for name, tensor in whole.items()}),
    ):
        shutil.copytree(model_folder, tmp_path / folder)
        save_file(weights, tmp_path / folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelUnavailable, match=rf"{folder} cannot be loaded: .*") as refused:
            load_generator(settings(tmp_path / folder))
        if folder == "missing":
            assert f": {len(layer)} of its weights are missing" in str(refused.value)
            assert str(refused.value).endswith(f"the first one is {min(layer)}.")


def test_a_folder_without_a_tokenizer_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "dumb", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(
        ModelUnavailable, match=r"dumb cannot be loaded: its tokenizer is missing, e\.g\. tokenizer\.json\."
    ):
        load_generator(settings(folder))


def test_int8_is_bfloat16_with_rounded_weights(model_folder: Path) -> None:
    wanted = settings(model_folder, dtype="int8")
    if not packing.supported(torch.bfloat16):
        with pytest.raises(ModelUnavailable, match="PAJAMA_DTYPE=int8 needs an x86 CPU that multiplies bfloat16"):
            load_generator(wanted)
        return
    assert "in bfloat16 on cpu" in describe(wanted)
    generator = load_generator(wanted)
    generator.close()
    with pytest.raises(ModelUnavailable, match="PAJAMA_ENGINE=transformers knows no PAJAMA_DTYPE=int8"):
        load_generator(settings(model_folder, dtype="int8", engine="transformers", repetition_penalty=1))


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_loaded(model_folder: Path, tmp_path: Path) -> None:
    config = json.loads((model_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 1 << 18, "intermediate_size": 1 << 24}))
    with pytest.raises(ModelUnavailable, match=r"needs [\d,.]+ GB in \w+, and cpu has [\d,.]+ GB free: name a smaller"):
        load_generator(settings(tmp_path))


def test_a_hub_that_cannot_be_reached_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match="download the model and set PAJAMA_MODEL to its folder"):
        load_generator(settings("pajama-tests/no-such-model"))


def test_code_that_a_model_brings_runs_only_where_it_is_trusted(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('this code was run')")
    with pytest.raises(ModelUnavailable, match="PAJAMA_TRUST_REMOTE_CODE=true"):
        load_generator(settings(folder))


def test_a_slimpajama_that_was_trained_here_needs_no_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = shutil.copytree(CHECKPOINT, tmp_path / "trained")
    monkeypatch.delitem(CONFIG_MAPPING._extra_content, "slimpajama")  # as in a process that did not import it yet
    monkeypatch.delitem(sys.modules, "slimpajama")
    assert describe(settings(trained)).startswith(f"{trained}: 3.4M parameters")


def test_a_converted_model_that_was_not_healed_is_refused(tmp_path: Path) -> None:
    unhealed = shutil.copytree(CHECKPOINT, tmp_path / "unhealed")
    config = json.loads((unhealed / "config.json").read_text())
    (unhealed / "config.json").write_text(json.dumps({**config, "healed": False}))
    with pytest.raises(ModelUnavailable, match="converted and not healed"):
        load_generator(settings(unhealed))


@pytest.mark.parametrize(("capability", "dtype"), [((8, 0), torch.bfloat16), ((7, 5), torch.float16)])
def test_a_gpu_gets_the_precision_that_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert _dtype("auto", torch.device("cuda", 0), None) is dtype
    assert _dtype("float32", torch.device("cuda", 0), None) is torch.float32


@pytest.mark.parametrize("capable", ["avx512_bf16", "amx_bf16", "avx2"])
def test_a_cpu_gets_bfloat16_where_it_multiplies_that_and_the_model_is_large(
    monkeypatch: pytest.MonkeyPatch, capable: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capable: True})
    large = torch.float32 if capable == "avx2" else torch.bfloat16
    assert (cpu_precision(99_999_999), cpu_precision(100_000_000)) == (torch.float32, large)


def test_a_device_that_is_not_there_is_named(model_folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="PAJAMA_DEVICE=toaster"):
        load_generator(Settings(model=str(model_folder), device="toaster"))
    if not torch.cuda.is_available():
        with pytest.raises(ModelUnavailable, match="no CUDA device"):
            load_generator(Settings(model=str(model_folder), device="cuda"))
