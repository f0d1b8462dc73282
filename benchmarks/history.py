"""Prompt assembly and history load for one conversation in a database of a million messages."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from sqlalchemy import insert, text

from benchmarks.figures import Figure, median, percentile
from core import recipes
from core.database import Database, upgrade
from core.history import load_history
from core.models import Participant, Workspace
from core.prompts import PromptRequest, Speech, assemble
from core.settings import Settings
from workers.generator import Generator
from workers.loading import load_generator

CONVERSATIONS_OF = 50  # messages each
BUDGET = 768  # tokens
QUESTION = "Which of the two would you take on a rainy day, and why not the other one? "
ANSWER = "I would take the blue one, since it is lighter and dries faster; the other one is for the cold. "


def measure(database_url: str, name: str, messages: int, target_ms: float, samples: int) -> list[Figure]:
    """Fill, then load and assemble for conversations all over the table; a small table is the baseline.

    Each conversation has its cut stored, as after its first turns; what the turn that moves the cut costs is told apart.
    """
    upgrade(database_url)
    database = Database(database_url)
    generator = load_generator(Settings())
    small, _ = _times_ms(database, _fill(database, 0, 1_000), samples, generator)
    large, moving = _times_ms(database, _fill(database, 1_000, messages - 1_000), samples, generator)
    generator.close()
    database.close()
    label = f"{name}: history + prompt, {messages:,} messages"
    return [
        Figure(f"{label}, p50", median(large), "ms", None, median(small), "1,000 messages"),
        Figure(f"{label}, p99", percentile(large, 0.99), "ms", target_ms, percentile(small, 0.99), "1,000 messages"),
        Figure(f"{label}, a turn that moves the cut, p50", median(moving), "ms"),
    ]


def _times_ms(
    database: Database, conversations: int, samples: int, generator: Generator
) -> tuple[list[float], list[float]]:
    """Times of turns with a stored cut, and of the turns that moved it there."""
    steady, moving = [], []
    for i in range(samples + 10):
        conversation_id = 1 + i * 7919 % conversations
        moved_ms, cut_seq = _assemble_ms(database, conversation_id, 1, generator)
        steady_ms, _ = _assemble_ms(database, conversation_id, cut_seq, generator)
        steady.append(steady_ms)
        moving.append(moved_ms)
    return steady[10:], moving[10:]


def _assemble_ms(database: Database, conversation_id: int, cut_seq: int, generator: Generator) -> tuple[float, int]:
    began = time.perf_counter()
    with database.read() as session:
        history = load_history(session, conversation_id, cut_seq, CONVERSATIONS_OF + 1, "r1")
    newest = Speech(CONVERSATIONS_OF + 1, 0, 1, QUESTION)
    recipe = recipes.load("chat")
    request = PromptRequest(recipe=recipe, newest=newest, budget=BUDGET, history=history, cut_seq=cut_seq)
    assembled = assemble(request, generator.count)
    took_ms = 1000 * (time.perf_counter() - began)
    assert assembled.prompt_tokens <= BUDGET
    return took_ms, assembled.cut_seq


def _fill(database: Database, first: int, messages: int) -> int:
    """Add `messages` messages after `first` with a Turn and an answer each; returns how many conversations there are."""
    bounds = {"first": first + 1, "last": first + messages, "now": datetime.now(UTC), "size": CONVERSATIONS_OF}
    with database.write() as session:
        if first == 0:
            session.execute(
                insert(Workspace).values(id=1, platform="web", external_id="b", settings={}, created_at=bounds["now"])
            )
            session.execute(insert(Participant).values(id=1, platform="web", external_id="p", created_at=bounds["now"]))
        for table, columns in _ROWS.items():
            names, values = ", ".join(columns), ", ".join(columns.values())
            every = " WHERE (i - 1) % :size = 0" if table == "conversation" else ""
            session.execute(text(f"INSERT INTO {table} ({names}) {_NUMBERS} SELECT {values} FROM n{every}"), bounds)
        session.execute(text("ANALYZE"))
    return (first + messages) // CONVERSATIONS_OF


_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT CAST(:first AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
_CONVERSATION, _SEQ, _NOW = "(i - 1) / :size + 1", "(i - 1) % :size + 1", ":now"
_ROWS: dict[str, dict[str, str]] = {
    "conversation": {
        "id": _CONVERSATION, "workspace_id": "1", "external_id": "'c' || i", "shared": "FALSE", "next_seq": ":size + 1",
        "cut_seq": "1", "reset_seq": "1", "created_at": _NOW,
    },
    "message": {
        "id": "i", "conversation_id": _CONVERSATION, "participant_id": "1", "seq": _SEQ, "external_id": "'e' || i",
        "revision": "1", "created_at": _NOW,
    },
    "message_revision": {"message_id": "i", "number": "1", "text": f"'{QUESTION}' || i", "created_at": _NOW},
    "turn": {
        "id": "i", "source_key": "'k' || i", "workspace_id": "1", "conversation_id": _CONVERSATION, "participant_id": "1",
        "message_id": "i", "seq": _SEQ, "recipe": "'chat'", "arguments": "'{}'", "language": "'en'", "target": "'{}'",
        "state": "'done'", "fence": "1", "attempt": "1", "cancel_requested": "FALSE", "queued_at": _NOW,
        "finished_at": _NOW, "delivered_at": _NOW,
    },
    "generation": {
        "id": "i", "turn_id": "i", "number": "1", "selected": "TRUE", "text": f"'{ANSWER}' || i", "prompt_tokens": "0",
        "cached_tokens": "0", "completion_tokens": "0", "finish_reason": "'stop'", "created_at": _NOW,
    },
}  # fmt: skip
"""SQL of each column for message number i, the same on both databases."""
