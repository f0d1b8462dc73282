"""The name `slimpajama`: registration with the Auto classes, and where its packaged checkpoint is.

Registration alone is not enough: from a checkout's root the package folder itself counts as a local path of that name.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM, SlimPajamaModel

NAME = "slimpajama"
CHECKPOINT = Path(__file__).parent / "checkpoint"


def register() -> None:
    """Make the Auto classes know the model and its name. Doing so again changes nothing."""
    AutoConfig.register(NAME, SlimPajamaConfig, exist_ok=True)
    AutoModel.register(SlimPajamaConfig, SlimPajamaModel, exist_ok=True)
    AutoModelForCausalLM.register(SlimPajamaConfig, SlimPajamaForCausalLM, exist_ok=True)
    for auto_class in (AutoConfig, AutoTokenizer, AutoModel, AutoModelForCausalLM):
        _resolve_name(auto_class)


def _resolve_name(auto_class: Any) -> None:
    original = auto_class.from_pretrained
    if getattr(original, "resolves_slimpajama", False):
        return

    @functools.wraps(original)
    def from_pretrained(pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        known = pretrained_model_name_or_path == NAME
        return original(str(CHECKPOINT) if known else pretrained_model_name_or_path, *args, **kwargs)

    from_pretrained.resolves_slimpajama = True  # type: ignore[attr-defined]
    auto_class.from_pretrained = from_pretrained
