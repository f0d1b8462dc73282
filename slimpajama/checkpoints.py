"""Checkpoints: a folder or name → the model or tokenizer, whole, or one sentence that says why not.

Knows any causal language model of `transformers`. How one of SlimPajama is written is in `saving`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from slimpajama.errors import SlimPajamaError
from slimpajama.memory import is_lack_of_memory

# from_pretrained reports what is wrong with a model by these.
_LOADING_ERRORS = (
    OSError, ValueError, ImportError, RuntimeError, KeyError, AttributeError, TypeError, SafetensorError,
)  # fmt: skip
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_DEFAULT_CONTEXT = 2048


def load_model(name: str | Path, *, unhealed: bool = False, **options: Any) -> Any:
    """The causal language model of this folder or name; with `unhealed` also one that was converted and not healed.

    Raises SlimPajamaError, also where weights are missing or do not fit.
    """
    if unhealed and _loaded(AutoConfig, name).model_type == "slimpajama":
        options["allow_unhealed"] = True
    model, told = _loaded(AutoModelForCausalLM, name, output_loading_info=True, **options)
    reason = lacking(told)
    if reason:
        raise SlimPajamaError(f"{name} cannot be loaded: {reason}.")
    return model


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of this folder or name. Raises SlimPajamaError."""
    return _loaded(AutoTokenizer, name)


def lacking(told: Mapping[str, Any]) -> str:
    """What `output_loading_info` says is not there, which transformers begins at random; empty where all is."""
    missing = sorted({*told["missing_keys"], *(key for key, *_ in told["mismatched_keys"])})
    if not missing:
        return ""
    return f"{len(missing)} of its weights are missing or of another shape, the first one is {missing[0]}"


def digest(folder: Path) -> str:
    """A hash of the weights in a model's folder."""
    found = hashlib.sha256()
    for path in sorted(each for pattern in ("*.safetensors", "*.bin") for each in folder.glob(pattern)):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def context_tokens(config: Any) -> int:
    """How many tokens a model takes at once, by whatever name its configuration has for it."""
    return int(next((value for name in _CONTEXT_NAMES if (value := getattr(config, name, None))), _DEFAULT_CONTEXT))


def _loaded(auto: Any, name: str | Path, **options: Any) -> Any:
    try:
        return auto.from_pretrained(name, **options)
    except _LOADING_ERRORS as error:
        if is_lack_of_memory(error):
            raise
        if "backend tokenizer" in str(error):
            raise SlimPajamaError(f"{name} cannot be loaded: its tokenizer is missing, e.g. tokenizer.json.") from error
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise SlimPajamaError(f"{name} cannot be loaded: {said[0]}") from error
