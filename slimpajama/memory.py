"""Memory that is not there: torch says so in several ways, of which a person needs one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from slimpajama.errors import OutOfMemory


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory. CUDA's OutOfMemoryError is a RuntimeError, a CPU's has no name."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


@contextmanager
def memory_explained(sentence: str) -> Iterator[None]:
    """Raises OutOfMemory with `sentence` where what is done inside finds no memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        raise OutOfMemory(sentence) from error
