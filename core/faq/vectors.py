"""Vectors of curated texts in SQL, so that each is computed once and not once a worker.

Kept as float16, which loses nothing that a ranking sees. A text's vector is found by its digest, whatever entry it
stands in; what people ask is never kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.database import insert_new
from core.faq.models import FaqVector
from core.models import tables

Vectors = npt.NDArray[np.float32]

_AT_ONCE = 500
(_VECTOR,) = tables(FaqVector)


def digest_of(text: str) -> str:
    """The name of exactly this text."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def load(session: Session, embedder: str, texts: Iterable[str]) -> dict[str, npt.NDArray[np.float32]]:
    """The vectors that are kept, by text."""
    by_digest = {digest_of(text): text for text in texts}
    digests, found = list(by_digest), {}
    for i in range(0, len(digests), _AT_ONCE):
        query = select(_VECTOR.c.digest, _VECTOR.c.vector)
        chosen = _VECTOR.c.digest.in_(digests[i : i + _AT_ONCE])
        for digest, vector in session.execute(query.where(_VECTOR.c.embedder == embedder, chosen)):
            found[by_digest[digest]] = np.frombuffer(vector, dtype="<f2").astype(np.float32)
    return found


def keep(session: Session, embedder: str, texts: Sequence[str], vectors: Vectors) -> None:
    """Keep the vector of each text, unless it is kept already."""
    rows = [
        {"embedder": embedder, "digest": digest_of(text), "vector": vector.astype("<f2").tobytes()}
        for text, vector in zip(texts, vectors, strict=True)
    ]
    if rows:
        insert_new(session, FaqVector, ("embedder", "digest"), rows)


def forget_others(session: Session, embedder: str) -> int:
    """Drop the vectors of every other embedder. Returns how many there were."""
    gone: Any = session.execute(delete(_VECTOR).where(_VECTOR.c.embedder != embedder))
    return int(gone.rowcount)
