"""The processes that train one model together, as torchrun starts them; without it, this one alone.

Each takes its rows of the same batch, so the data's order does not depend on how many they are. Gradients are summed
once a step over one flat buffer: the models here are small, and nothing else has to know that there are several.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import distributed


class Group:
    """This process among those that train together. `among` is a process group; None is nobody else."""

    def __init__(self, among: distributed.ProcessGroup | None = None) -> None:
        self._among = among
        self.rank = among.rank() if among is not None else 0
        self.size = among.size() if among is not None else 1

    @classmethod
    def joined(cls, device: str) -> Group:
        """The group that torchrun started this process in."""
        if not distributed.is_torchelastic_launched():
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("gloo" if device == "cpu" else "nccl")
        group = cls(distributed.group.WORLD)
        if device != "cpu":
            torch.cuda.set_device(group.rank % torch.cuda.device_count())
        return group

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def share_of(self, rows: int) -> tuple[int, int]:
        """Which of `rows` rows this process takes: from, to."""
        return rows * self.rank // self.size, rows * (self.rank + 1) // self.size

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make every gradient the sum over the processes; all of them have the same ones."""
        if self._among is None:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._among.allreduce([flat]).wait()
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over the processes."""
        if self._among is not None:
            self._among.allreduce([value]).wait()
        return value

    def largest(self, values: list[float], device: str) -> list[float]:
        """The largest of each over the processes, so that all decide alike."""
        if self._among is None:
            return values
        told = torch.tensor(values, device=device, dtype=torch.float64)
        options = distributed.AllreduceOptions()
        options.reduceOp = distributed.ReduceOp(distributed.ReduceOp.MAX)
        self._among.allreduce([told], options).wait()
        return list(map(float, told.tolist()))

    def wait(self, device: str) -> None:
        """Wait until every process is here."""
        self.largest([0.0], device)


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that trained together."""
    return not distributed.is_initialized() or distributed.get_rank() == 0
