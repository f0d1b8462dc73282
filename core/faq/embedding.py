"""Embedder: what turns texts into vectors. Declared here and implemented in `workers`: core stays free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Texts to unit vectors. Every method may be called from any thread."""

    @property
    def revision(self) -> str:
        """Names the model and its weights for good: vectors of another revision mean something else."""

    def reads(self, text: str) -> bool:
        """Whether the model has learned the language of `text`, as far as its signs tell."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text: shape (len(texts), dimensions). Raises ModelUnavailable."""
