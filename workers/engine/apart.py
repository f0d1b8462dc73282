"""The model and the state of running rows that cannot share a pass: each by itself, as `generate` does it.

Knows a causal LM of transformers and nothing of what it keeps between tokens: keys and values, a recurrent state, both,
or nothing, in which case every pass runs all tokens again. It is right for every model, and as slow as one answer after
another: the weights are read once a row.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import ModelUnavailable
from workers.engine.forward import kv_bytes, probe_ids, same

_STATES = ("past_key_values", "cache_params", "state")
"""What models call that which they keep, in what they take and give."""
_PROBE, _STEPS = 7, 2


@dataclass(slots=True, eq=False)
class Alone:
    """A row: its tokens, what the model keeps of them, and what came of the step that is being made."""

    ids: list[int]
    state: dict[str, Any]
    logits: Tensor | None = None
    error: Exception | None = None


class ApartForward:
    """Calls a causal LM as `generate` would. Raises ModelUnavailable where it does not say the same in steps."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model  # transformers mixes generation in where a type checker does not see it
        self.device = model.device
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        try:
            self.token_bytes = self._check(probe_ids(self.vocabulary, _PROBE))
        except ModelUnavailable:
            raise
        except Exception as error:
            raise ModelUnavailable(f"{type(model).__name__} cannot be run token by token: {error!r}") from error

    def prefill(self, token_ids: tuple[int, ...]) -> tuple[Tensor, Alone]:
        """Run one prompt; return its next logits (1, V) and its row."""
        row = Alone(list(token_ids), {})
        logits, row.state = self._run(row.ids, row.state)
        return logits, row

    def make_batch(self) -> Apart:
        """No rows yet."""
        return Apart(self)

    def step(self, row: Alone) -> Tensor:
        """Run a row's last id, the others being run; return the next logits (1, V)."""
        logits, row.state = self._run(row.ids, row.state)
        return logits

    @torch.inference_mode()
    def _run(self, ids: list[int], state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The logits (1, V) after all `ids`, and what is kept; all but the last are in `state`, unless it is empty."""
        _forget_lengths(self._model)
        all_ids = torch.tensor([ids], dtype=torch.long, device=self.device)
        positions = torch.arange(len(ids), device=self.device).unsqueeze(0)
        inputs = self._model.prepare_inputs_for_generation(
            all_ids,
            next_sequence_length=1 if state else None,
            attention_mask=torch.ones_like(all_ids),
            use_cache=True,
            is_first_iteration=not state,
            **({"position_ids": positions} if self._takes_positions else {}),
            **state,
        )
        output = self._model(**inputs, return_dict=True)
        kept = {name: value for name in _STATES if (value := getattr(output, name, None)) is not None}
        return output.logits[:, -1, :], kept

    def _check(self, probe: tuple[int, ...]) -> int:
        """What a token takes in a row's state, in bytes, once the probe in steps is what it is at once."""
        logits = whole = self.prefill(probe)[0]
        row = self.prefill(probe[:-_STEPS])[1]
        for token_id in probe[-_STEPS:]:
            row.ids.append(token_id)
            logits = self.step(row)
        if not same(logits, whole, self._model.dtype):
            raise ModelUnavailable(f"{type(self._model).__name__} says something else in steps than at once.")
        return sum(kv_bytes(kept) for kept in row.state.values()) // len(probe)


class Apart:
    """The running rows, each with its own state."""

    def __init__(self, forward: ApartForward) -> None:
        self._forward = forward
        self._rows: list[Alone] = []

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, row: Alone) -> None:
        """Add a prompt's row as the last one."""
        self._rows.append(row)

    def decode(self, ids: list[int]) -> Tensor:
        """Append one id to every row and return the next logits (B, V).

        Where a row raises, those before it are not run again by the next call with the same ids.
        """
        logits = torch.cat([self.decode_alone(index, token_id) for index, token_id in enumerate(ids)])
        for row in self._rows:
            row.logits = None
        return logits

    def decode_alone(self, index: int, token_id: int) -> Tensor:
        """What `decode` would return for one row. What it raised once it raises again: half a step cannot be undone."""
        row = self._rows[index]
        if row.error is not None:
            raise row.error
        if row.logits is None:
            row.ids.append(token_id)
            try:
                row.logits = self._forward.step(row)
            except Exception as error:
                row.error = error
                raise
        return row.logits

    def keep(self, rows: list[int]) -> None:
        """Keep only these rows, in this order."""
        self._rows = [self._rows[index] for index in rows]


def _forget_lengths(model: Any) -> None:
    """Let `dynamic` positions be scaled by this pass alone: their module keeps the longest that it has seen."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        for layer, kind in kinds.items() if isinstance(kinds, dict) else [("", kinds)]:
            prefix = f"{layer}_" if layer else ""
            if kind == "dynamic":
                angles = getattr(module, f"{prefix}original_inv_freq").to(getattr(module, f"{prefix}inv_freq").device)
                module.register_buffer(f"{prefix}inv_freq", angles, persistent=False)
                setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
