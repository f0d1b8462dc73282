"""100,000 phrasings, in memory and left to pgvector: `python -m benchmarks.faq pgvector --data DIR`.

The phrasings and questions are what people asked, of all sets, each once; five phrasings are an entry, whatever they
mean. Each kind of search has a process of its own, which starts as a worker does: with the vectors in the PostgreSQL that
PAJAMA_TEST_POSTGRES_URL names.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
from sqlalchemy import text

from benchmarks.faq_data import Remembering, question_of, rows
from benchmarks.faq_table import Row
from benchmarks.figures import percentile
from benchmarks.postgres import own_database
from core.database import Database, upgrade
from core.faq import collections, vectors
from core.faq.embedding import Vectors
from core.faq.entry import Entry
from core.faq.index import CollectionIndex
from core.faq.neighbours import Neighbours

SETS = ("clinc150", "hwu64", "banking77", "banking77-oos", "hint3", "multidogo")
PHRASINGS, AN_ENTRY, QUESTIONS, MOST_MS = 100_000, 5, 1_000, 50.0


@dataclass(frozen=True, slots=True)
class Served:
    """How one process fared: what it took to be ready, its index's memory, its searches, and what came first."""

    ready_s: float
    memory_mb: float
    middle_ms: float
    slow_ms: float
    first: list[str]

    def ms(self) -> str:
        """The times of a search."""
        return f"{self.middle_ms:.1f} / {self.slow_ms:.1f}"


def measure(data: Path, embedder: Remembering) -> Iterator[Row]:
    """Rows beside each other; none where no PostgreSQL is given."""
    texts = sorted({question_of(row["text"]) for name in SETS for row in rows(data, name)})
    chosen = [texts[i] for i in np.random.default_rng(3).permutation(len(texts))[: PHRASINGS + QUESTIONS]]
    embedder.learn(chosen)
    with own_database() as url, tempfile.TemporaryDirectory() as folder:
        if url is None or not _has_pgvector(url):
            sys.stderr.write("pgvector is left out: there is no PostgreSQL that has it.\n")
            return
        collection_id = _stored(url, chosen[:PHRASINGS], embedder)
        questions = Path(folder, "questions.npz")
        np.savez(questions, texts=chosen[PHRASINGS:], vectors=embedder.embed(chosen[PHRASINGS:]))
        filling, by_pgvector, in_memory = (_served(url, collection_id, embedder, questions, n) for n in (1, 1, 0))
    same = sum(some == other for some, other in zip(by_pgvector.first, in_memory.first, strict=True))
    name = f"{PHRASINGS:,} phrasings, left to pgvector"
    target = f"≤ {MOST_MS:g} {'✓' if by_pgvector.slow_ms <= MOST_MS else '✗'}"
    yield Row(name, "search in ms, p50 / p99; in memory", "", "", f"{by_pgvector.ms()}; {in_memory.ms()}", target)
    memory = f"{by_pgvector.memory_mb:.0f}; {in_memory.memory_mb:.0f}"
    yield Row(name, "memory of a worker's index in MB; in memory", "", "", memory)
    ready = f"{filling.ready_s:.0f} / {by_pgvector.ready_s:.0f}; {in_memory.ready_s:.0f}"
    yield Row(name, "making the index in s, the first time / later; in memory", "", "", ready)
    yield Row(name, "questions with the same first entry as in memory", "", "", f"{100 * same / QUESTIONS:.1f}")


def _has_pgvector(url: str) -> bool:
    database = Database(url)
    with database.read() as session:
        found = session.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"))
    database.close()
    return bool(found)


def _stored(url: str, texts: Sequence[str], embedder: Remembering) -> int:
    """The collection in SQL, with its vectors."""
    upgrade(url)
    database, now = Database(url), datetime.now(UTC)
    entries = [Entry(f"k{i}", tuple(texts[i : i + AN_ENTRY]), "-") for i in range(0, len(texts), AN_ENTRY)]
    with database.write() as session:
        collection = collections.create(session, "many", None, now)
        collections.upsert(session, collection, entries, now)
    for i in range(0, len(texts), 1000):
        batch = texts[i : i + 1000]
        with database.write() as session:
            vectors.keep(session, embedder.revision, batch, embedder.embed(batch))
    database.close()
    return collection.id


def _served(url: str, collection_id: int, embedder: Remembering, questions: Path, pgvector_from: int) -> Served:
    arguments = [url, str(collection_id), embedder.revision, str(questions), str(pgvector_from)]
    command = [sys.executable, "-m", "benchmarks.faq_pgvector", *arguments]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    served = Served(**json.loads(said.splitlines()[-1]))
    sys.stderr.write(f"pgvector from {pgvector_from}: ready in {served.ready_s:.1f} s, {served.ms()} ms\n")
    return served


@dataclass(frozen=True, slots=True)
class _Kept:
    """An embedder all of whose vectors are in SQL."""

    revision: str

    def reads(self, text: str) -> bool:
        return True

    def embed(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError(f"{len(texts)} texts are not in SQL.")


def _serve(url: str, collection_id: int, revision: str, questions: Path, pgvector_from: int) -> Served:
    database = Database(url)
    index = CollectionIndex(collection_id, _Kept(revision), pgvector_from=pgvector_from)
    before, began = _memory_mb(), time.perf_counter()
    index.refresh(database)
    ready_s, after = time.perf_counter() - began, _memory_mb()
    assert isinstance(index.snapshot.kernel.meaning, Neighbours) == bool(pgvector_from)
    taken, first = [], []
    with np.load(questions) as asked:
        for words, vector in zip(asked["texts"].tolist(), asked["vectors"], strict=True):
            question = index.question(words, vector)
            began = time.perf_counter()
            hits = index.snapshot.search(question, 5)
            taken.append(1000 * (time.perf_counter() - began))
            first.append(hits[0].stored.entry.key)
    database.close()
    return Served(ready_s, after - before, percentile(taken, 0.5), percentile(taken, 0.99), first)


def _memory_mb() -> float:
    """What this process holds, once what it has freed is given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    place, key, name, file, least = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(_serve(place, int(key), name, Path(file), int(least)))) + "\n")
