"""`python -m benchmarks.faq_gaps --data DIR`: how long the report of 10,000 unanswered questions takes, and how good it is.

Questions are those of published training parts; what belongs together is what has the same label (B-cubed precision and
recall). With `--meaning` the packaged embedder joins groups too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import insert

from benchmarks.faq_data import rows
from core.database import Database, upgrade
from core.faq import gaps
from core.faq.asked import Asked
from core.faq.embedding import Embedder
from core.faq.models import FaqDecision
from core.models import Conversation, Generation, Message, MessageRevision, Participant, Turn, Workspace
from core.values import FinishReason, TurnState
from workers.embedding import PACKAGED, SentenceEmbedder

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--meaning", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="*")
    given = parser.parse_args()
    embedder = SentenceEmbedder(PACKAGED, device="cpu") if given.meaning else None
    for name in ("banking77", "clinc150", "hwu64"):
        found = [(row["text"], row["label"]) for row in rows(given.data, name) if row["split"] == "train"]
        for size in given.sizes or (60, 300, 1_000, 10_000):
            chosen = np.random.default_rng(0).permutation(len(found))[:size]
            texts, labels = zip(*(found[i] for i in chosen), strict=True)
            print(name, len(texts), *_quality(texts, labels, embedder))
    print("report of 10,000 questions from SQL:", _report([text for text, _ in found]))


def _quality(texts: Sequence[str], labels: Sequence[str], embedder: Embedder | None) -> tuple[str, str, str]:
    label_of = dict(enumerate(labels))
    asked = [_asked(i, text) for i, text in enumerate(texts)]
    began = time.perf_counter()
    groups = [[each.turn_id for wording in group for each in wording.times] for group in gaps.gather(asked, embedder)]
    took_s = time.perf_counter() - began
    everywhere = {label: labels.count(label) for label in set(labels)}
    right = wanted = 0.0
    for group in groups:
        for i in group:
            same = sum(label_of[j] == label_of[i] for j in group)
            right, wanted = right + same / len(group), wanted + same / everywhere[label_of[i]]
    return f"precision {right / len(texts):.3f}", f"recall {wanted / len(texts):.3f}", f"{took_s:.2f} s"


def _asked(number: int, text: str) -> Asked:
    moment = BEGAN + timedelta(minutes=number)
    return Asked(number, 1, number % 500, text, "en", "abstain", moment, "", None, "")


def _report(texts: Sequence[str]) -> str:
    """The time for a report of 10,000 questions in SQLite, SQL and all."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/gaps.db"
        upgrade(url)
        database = Database(url)
        _fill(database, [texts[i % len(texts)] + " " * (i >= len(texts)) for i in range(10_000)])
        began, worked = time.perf_counter(), time.process_time()
        found = gaps.report(database)
        took = f"{time.perf_counter() - began:.2f} s, {time.process_time() - worked:.2f} s of a core"
        assert found.questions == 10_000
        database.close()
    return took


def _fill(database: Database, texts: Sequence[str]) -> None:
    with database.write() as session:
        session.add(Workspace(id=1, platform="web", external_id="w", settings={}, created_at=BEGAN))
        session.add_all(
            Participant(id=i + 1, platform="web", external_id=f"p{i}", created_at=BEGAN) for i in range(500)
        )
        session.flush()
        session.add(Conversation(id=1, workspace_id=1, external_id="c", created_at=BEGAN))
        session.flush()
        for model, make in _ROWS:
            session.execute(insert(model), [make(i, text) for i, text in enumerate(texts, start=1)])


def _when(i: int) -> datetime:
    return BEGAN + timedelta(minutes=i)


_ROWS = (
    (Message, lambda i, _: {"id": i, "conversation_id": 1, "participant_id": i % 500 + 1, "seq": i,
                            "external_id": f"m{i}", "revision": 1, "created_at": _when(i)}),
    (MessageRevision, lambda i, text: {"message_id": i, "number": 1, "text": text, "created_at": _when(i)}),
    (Turn, lambda i, _: {"id": i, "source_key": f"s{i}", "workspace_id": 1, "conversation_id": 1, "message_id": i,
                         "participant_id": i % 500 + 1, "seq": i, "recipe": "chat", "language": "en",
                         "state": TurnState.DONE, "queued_at": _when(i)}),
    (Generation, lambda i, _: {"id": i, "turn_id": i, "number": 1, "selected": True, "text": "",
                               "finish_reason": FinishReason.STOP, "created_at": _when(i)}),
    (FaqDecision, lambda i, _: {"generation_id": i, "turn_id": i, "workspace_id": 1, "outcome": "abstain",
                                "reason": "too_far", "thresholds": {}, "embedder": None, "created_at": _when(i)}),
)  # fmt: skip

if __name__ == "__main__":
    main()
