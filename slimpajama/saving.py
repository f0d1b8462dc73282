"""A checkpoint folder that plain `transformers` loads: weights, tokenizer, and the code for `trust_remote_code`."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from slimpajama.errors import SavingFailed
from slimpajama.memory import is_lack_of_memory
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

AUTO_MAP = {
    "AutoConfig": "configuration_slimpajama.SlimPajamaConfig",
    "AutoModel": "modeling_slimpajama.SlimPajamaModel",
    "AutoModelForCausalLM": "modeling_slimpajama.SlimPajamaForCausalLM",
}
CODE = ("configuration_slimpajama.py", "modeling_slimpajama.py")
MAX_SHARD = "15MB"


def save_model(model: Any, tokenizer: Any, folder: Path, beside: Mapping[str, str] | None = None) -> Path:
    """Write `model` in bf16 to `folder`, with the texts `beside` it, replacing what is there by the whole new one.

    Raises SavingFailed; what was there stays then. Whenever the process ends, a whole model is in `folder` or, until
    the next call, in `folder.old`.
    """
    aside, before = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    if before.exists() and not folder.exists():
        before.rename(folder)
    for left_over in (aside, before):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        _write(model, tokenizer, aside, beside or {})
    except Exception as error:  # the writers of weights and of tokenizers have each their own for a full disk
        shutil.rmtree(aside, ignore_errors=True)
        if is_lack_of_memory(error):
            raise
        kept = "the one before it stays" if folder.exists() else "there is none before it"
        raise SavingFailed(f"{folder} cannot be written: {error}; {kept}. Make room and go on.") from error
    if folder.exists():
        folder.rename(before)
    aside.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    return folder


def _write(model: Any, tokenizer: Any, folder: Path, beside: Mapping[str, str]) -> None:
    """All of the folder, on the disk."""
    saved = copy.deepcopy(model).to(dtype=torch.bfloat16)
    saved.generation_config = _generation(tokenizer)
    texts = dict(beside)
    if isinstance(model, SlimPajamaForCausalLM):
        saved.config.auto_map = dict(AUTO_MAP)
        texts |= {name: files("slimpajama").joinpath(name).read_text(encoding="utf-8") for name in CODE}
    saved.save_pretrained(folder, max_shard_size=MAX_SHARD)
    tokenizer.save_pretrained(folder)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors lets only its owner read
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _generation(tokenizer: Any) -> GenerationConfig:
    """How the model answers where nobody says otherwise. A text ends at either end mark."""
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    return GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=0.7, top_p=0.9
    )
