"""SlotForward: one call of a causal LM over tokens of many requests at once, with their keys and values in slots.

Knows a causal LM of transformers that keeps to the attention interface, and finds out at the start whether it does: a
probe is answered both ways, and the logits must be the same. Knows no request, thread or sampling.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import PajamaError
from workers.engine.attention import NAME, Piece, SlotPass, register
from workers.engine.forward import CLOSE, ModelForward, unsteady_rotation
from workers.engine.pool import KvPool, KvShape

_KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
_PROBES = (7, 5)


class NoSlots(PajamaError):
    """This model cannot be run on slots."""


class SlotForward:
    """The model on slots of a pool. Raises NoSlots where the model does not answer as it does without them."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.device = model.device
        _refuse_what_is_known(model)
        plain = ModelForward(model)
        self.vocabulary = plain.vocabulary
        self.dtype, self.shapes = _shapes(plain)
        self.pool = KvPool(self.shapes, 0, self.dtype, self.device)
        self._keep_last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._no_mask = torch.zeros((1, 1, 1, 1), dtype=self.dtype, device=self.device)  # 4D is handed on as it is
        self._change_attention(plain)

    @property
    def token_bytes(self) -> int:
        """What a token takes in the pool."""
        return KvPool.token_bytes(self.shapes, self.dtype)

    def make_pool(self, tokens: int) -> KvPool:
        """A pool for so many tokens, from now on in use."""
        self.pool = KvPool(self.shapes, tokens, self.dtype, self.device)
        return self.pool

    def __call__(self, pieces: Sequence[Piece]) -> Tensor:
        """Run the pieces and return the logits that are wanted (W, V), in their order. The slots' lengths stay."""
        return self._run(pieces)[0]

    @torch.inference_mode()
    def _run(self, pieces: Sequence[Piece]) -> tuple[Tensor, SlotPass]:
        slots = SlotPass(self.pool, pieces, self.device)
        ids = torch.tensor([i for piece in pieces for i in piece.token_ids], device=self.device)
        parts = zip(slots.parts, pieces, strict=True)
        wanted = [at for part, piece in parts for at in range(part.high - piece.wanted, part.high)]
        last = torch.tensor(wanted or [0], device=self.device)
        options: dict[str, Any] = {"logits_to_keep": last} if self._keep_last else {}
        output = self._model(
            input_ids=ids.unsqueeze(0),
            position_ids=slots.positions.unsqueeze(0),
            attention_mask=self._no_mask,
            use_cache=False,
            slots=slots,
            **options,
        )
        logits: Tensor = output.logits[0] if self._keep_last else output.logits[0, last]
        return logits[: len(wanted)], slots

    def _change_attention(self, plain: ModelForward) -> None:
        """Make the model attend to slots, and see that it says the same as before."""
        before = self._model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
        self._expected = torch.cat([plain.prefill(probe)[0] for probe in _probes(self.vocabulary)])
        register()
        try:
            self._model.set_attn_implementation(NAME)
            self.check()
        except Exception as error:
            self._model.set_attn_implementation(before)
            raise error if isinstance(error, NoSlots) else NoSlots(f"It cannot run on slots: {error!r}") from error

    def check(self) -> None:
        """See that the model still says what it said without slots. Before it is in use only. Raises NoSlots."""
        got, windows = self._probed(_probes(self.vocabulary))
        self._compare(got, self._expected, windows)

    def _probed(self, probes: Sequence[tuple[int, ...]]) -> tuple[Tensor, dict[int, int | None]]:
        """The probes' logits, with chunks of their prompts and single tokens of them mixed in three passes."""
        pool = self.make_pool(64)
        slots = [pool.take(len(probe)) for probe in probes]
        logits, windows = torch.empty(0), {}
        for ends in ((4, 3), (6, 4), tuple(len(probe) for probe in probes)):
            pieces = [
                Piece(probe[slot.length : end], slot)
                for probe, slot, end in zip(probes, slots, ends, strict=True)
                if slot is not None
            ]
            logits, slot_pass = self._run(pieces)
            windows = slot_pass.windows
            for piece in pieces:
                piece.slot.length += len(piece.token_ids)
        return logits, windows

    def _compare(self, got: Tensor, expected: Tensor, windows: dict[int, int | None]) -> None:
        sliding = [i for i, kind in enumerate(_layer_types(self._model)) if kind == "sliding_attention"]
        wanted = getattr(self._model.config.get_text_config(), "sliding_window", None)
        if any(windows.get(i) is None for i in sliding) or (wanted and not sliding and not _all_told(windows)):
            raise NoSlots("Its attention windows are not told to the attention function.")
        if set(windows) != set(range(len(self.shapes))):
            raise NoSlots("Not every layer keeps its keys and values by the attention function.")
        scale = float(expected.abs().max())
        far = float((got - expected).abs().max()) / max(scale, 1e-6)
        if not far <= CLOSE.get(self.dtype, 0.1):  # NaN is not close
            raise NoSlots(f"Its logits on slots differ by {far:.2g} of the largest.")


def _refuse_what_is_known(model: PreTrainedModel) -> None:
    if not model._supports_attention_backend:  # noqa: SLF001 - a class says so under this name only
        raise NoSlots("It does not keep to transformers' attention interface.")
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise NoSlots("It takes no positions.")
    strange = set(_layer_types(model)) - _KNOWN_LAYERS
    if strange:
        raise NoSlots(f"It has layers of other kinds: {', '.join(sorted(strange))}.")
    rotation = unsteady_rotation(model)
    if rotation is not None:
        raise NoSlots(f"The angles of its {rotation!r} positions depend on the whole batch.")


def _layer_types(model: PreTrainedModel) -> list[str]:
    return list(getattr(model.config.get_text_config(), "layer_types", None) or [])


def _all_told(windows: dict[int, int | None]) -> bool:
    return any(window is not None for window in windows.values())


def _shapes(plain: ModelForward) -> tuple[torch.dtype, list[KvShape]]:
    """What the layers keep, as a plain cache shows it after one token."""
    layers: list[Any] = plain.prefill((0,))[1].layers  # plain ones, as ModelForward has seen to
    shapes = [KvShape(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]) for layer in layers]
    return layers[0].keys.dtype, shapes


def _probes(vocabulary: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.randint(vocabulary, (count,), generator=generator).tolist()) for count in _PROBES]
