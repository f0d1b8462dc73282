"""A checkpoint folder that plain `transformers` loads: weights, tokenizer, and the code for `trust_remote_code`."""

from __future__ import annotations

import copy
import os
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

AUTO_MAP = {
    "AutoConfig": "configuration_slimpajama.SlimPajamaConfig",
    "AutoModel": "modeling_slimpajama.SlimPajamaModel",
    "AutoModelForCausalLM": "modeling_slimpajama.SlimPajamaForCausalLM",
}
CODE = ("configuration_slimpajama.py", "modeling_slimpajama.py")
MAX_SHARD = "15MB"


def save_model(model: SlimPajamaForCausalLM, tokenizer: Any, folder: Path) -> Path:
    """Write `model` in bf16 to `folder`, replacing what is there only once the new one is whole on the disk."""
    aside = folder.with_name(folder.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    saved = copy.deepcopy(model).to(dtype=torch.bfloat16)  # type: ignore[call-arg]  # wrapped by transformers
    saved.config.auto_map = dict(AUTO_MAP)
    saved.generation_config = _generation(tokenizer)
    saved.save_pretrained(aside, max_shard_size=MAX_SHARD)
    tokenizer.save_pretrained(aside)
    for name in CODE:
        (aside / name).write_text(files("slimpajama").joinpath(name).read_text(encoding="utf-8"), encoding="utf-8")
    for path in aside.iterdir():
        path.chmod(0o644)  # safetensors lets only its owner read
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return folder


def _generation(tokenizer: Any) -> GenerationConfig:
    """How the model answers where nobody says otherwise. A text ends at either end mark."""
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    return GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=0.7, top_p=0.9
    )
