"""Which engine runs a model, and how much memory its KV gets."""

from __future__ import annotations

import structlog
import torch
from transformers import PreTrainedModel

from core.errors import ModelUnavailable
from workers import machine
from workers.engine.apart import ApartForward
from workers.engine.batch import BatchEngine
from workers.engine.forward import ModelForward, unsteady_rotation
from workers.engine.lookup import Price
from workers.engine.loop import EngineLoop
from workers.engine.packing import Packing
from workers.engine.prefixes import KvReuse
from workers.engine.slot_forward import NoSlots, SlotForward
from workers.engine.slots import SlotEngine

log = structlog.get_logger(__name__)

_LEAST_KV_TOKENS = 64
_CPU_SHARE, _DEVICE_SHARE = 0.25, 0.7
_PACKED_SHARE = 0.25
_KEPT = 2
"""A pool that nobody sized is for at most so many times what the largest batch can hold: the rest is kept KV."""


def make_engine(
    model: PreTrainedModel,
    *,
    max_batch_size: int,
    context_tokens: int,
    kv_memory_mib: int = 0,
    reuse: KvReuse = KvReuse.WORKSPACE,
    int8: bool = False,
    price: Price | None = None,
) -> EngineLoop:
    """An engine for the model: on slots, or the plain one where it cannot be. Raises ModelUnavailable.

    `int8` rounds the large weights to bytes, on a CPU; `price` says when tokens are guessed; by itself it is learnt.
    """
    try:
        forward = SlotForward(model)
    except (NoSlots, ModelUnavailable) as error:
        log.warning(
            "The model runs on the slower engine.", action="engine_plain", model=type(model).__name__, reason=str(error)
        )
        plain = plain_forward(model)
        return BatchEngine(
            plain,
            max_batch_size=max_batch_size,
            context_tokens=context_tokens,
            kv_tokens=_kv_tokens(plain, kv_memory_mib, max_batch_size * context_tokens) if plain.token_bytes else 0,
        )
    _pack(model, forward, int8=int8)
    kv_tokens = _kv_tokens(forward, kv_memory_mib, _KEPT * max_batch_size * context_tokens)
    log.info("The model runs on slots.", action="engine_slots", kv_tokens=kv_tokens, token_bytes=forward.token_bytes)
    return SlotEngine(
        forward,
        max_batch_size=max_batch_size,
        context_tokens=context_tokens,
        kv_tokens=kv_tokens,
        reuse=reuse,
        price=price,
    )


def plain_forward(model: PreTrainedModel) -> ModelForward | ApartForward:
    """The model in one padded batch, or, where its rows would not say there what they say alone, each row by itself.

    Raises ModelUnavailable where that cannot be either.
    """
    try:
        _refuse_batch(model)
        forward = ModelForward(model)
        forward.check_batch()
    except ModelUnavailable as error:
        log.warning(
            "Answers share no pass of the model.", action="engine_apart", model=type(model).__name__, reason=str(error)
        )
        return ApartForward(model)
    return forward


def _refuse_batch(model: PreTrainedModel) -> None:
    rotation = unsteady_rotation(model)
    if rotation is not None:
        raise ModelUnavailable(f"The angles of its {rotation!r} positions depend on the whole batch.")


def _pack(model: PreTrainedModel, forward: SlotForward, *, int8: bool) -> None:
    """Pack the model's linear layers where that can be, and there is memory for it, and it says the same."""
    packing = Packing(model, int8=int8)
    if not len(packing):
        return
    if packing.bytes > _PACKED_SHARE * machine.free_bytes():
        log.info("There is too little memory to pack the weights.", action="not_packed", bytes=packing.bytes)
        return
    try:
        packing.apply()
        forward.check()
    except (NoSlots, RuntimeError) as error:
        packing.undo()
        log.warning("The weights cannot be packed.", action="not_packed", reason=str(error))
    else:
        log.info("The weights are packed.", action="packed", layers=len(packing), bytes=packing.bytes, int8=int8)


def _kv_tokens(forward: SlotForward | ModelForward | ApartForward, kv_memory_mib: int, most: int) -> int:
    """The tokens of the pool: as many as the memory given holds; else a share of what is free, `most` at most."""
    tokens = (kv_memory_mib << 20) // forward.token_bytes
    if not kv_memory_mib:
        tokens = min(most, int(_free_bytes(forward.device) // forward.token_bytes))
    if tokens < _LEAST_KV_TOKENS:
        raise ModelUnavailable(
            f"There is room for the keys and values of {tokens} tokens only, at {forward.token_bytes} bytes each."
        )
    return tokens


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
    return _CPU_SHARE * machine.free_bytes()
