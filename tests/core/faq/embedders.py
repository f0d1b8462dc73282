"""An embedder that needs no model: texts that share letters in a row are near each other."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from core.faq.embedding import Vectors


class Trigrams:
    """Counts of three letters in a row, hashed into `size` numbers. Reads no Chinese. Notes what it was asked for."""

    def __init__(self, revision: str = "trigrams@1", size: int = 64) -> None:
        self.revision, self._size = revision, size
        self.embedded: list[str] = []

    def reads(self, text: str) -> bool:
        return text.isascii()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        vectors = np.zeros((len(texts), self._size), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            plain = f" {text.lower()} "
            for i in range(len(plain) - 2):
                row[crc32(plain[i : i + 3].encode()) % self._size] += 1
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)
