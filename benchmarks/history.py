"""Prompt assembly and history load for one conversation in a database of a million messages."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from benchmarks.figures import Figure, median, percentile
from core import recipes
from core.database import Database, upgrade
from core.history import load_history
from core.models import Base, Conversation, Generation, Message, MessageRevision, Participant, Turn, Workspace
from core.prompts import PromptRequest, Speech, assemble
from core.settings import Settings
from core.values import FinishReason, TurnState
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
    with database.write() as session:
        if first == 0:
            _people(session)
        for start in range(first, first + messages, 20_000):
            _add(session, start, min(20_000, first + messages - start))
    with database.write() as session:
        session.execute(text("ANALYZE"))
    return (first + messages) // CONVERSATIONS_OF


def _people(session: Session) -> None:
    now = datetime.now(UTC)
    session.execute(insert(Workspace).values(id=1, platform="web", external_id="b", settings={}, created_at=now))
    session.execute(insert(Participant).values(id=1, platform="web", external_id="p", created_at=now))


def _add(session: Session, start: int, count: int) -> None:
    """Rows start … start + count of every table, in one INSERT a table."""
    now = datetime.now(UTC)
    ids = range(start + 1, start + count + 1)
    rows: dict[type[Base], list[dict[str, object]]] = {
        Conversation: [
            {"id": i // CONVERSATIONS_OF + 1, "workspace_id": 1, "external_id": f"c{i}", "created_at": now, "shared": False,
             "next_seq": CONVERSATIONS_OF + 1, "cut_seq": 1, "reset_seq": 1}
            for i in range(start, start + count, CONVERSATIONS_OF)
        ],
        Message: [
            {"id": i, "conversation_id": (i - 1) // CONVERSATIONS_OF + 1, "participant_id": 1,
             "seq": (i - 1) % CONVERSATIONS_OF + 1, "external_id": f"e{i}", "revision": 1, "created_at": now}
            for i in ids
        ],
        MessageRevision: [{"message_id": i, "number": 1, "text": f"{QUESTION}{i}", "created_at": now} for i in ids],
        Turn: [
            {"id": i, "source_key": f"k{i}", "workspace_id": 1, "conversation_id": (i - 1) // CONVERSATIONS_OF + 1,
             "participant_id": 1, "message_id": i, "seq": (i - 1) % CONVERSATIONS_OF + 1, "recipe": "chat",
             "arguments": {}, "language": "en", "target": {}, "state": TurnState.DONE, "fence": 1, "attempt": 1,
             "cancel_requested": False, "queued_at": now, "finished_at": now, "delivered_at": now}
            for i in ids
        ],
        Generation: [
            {"id": i, "turn_id": i, "number": 1, "selected": True, "text": f"{ANSWER}{i}", "prompt_tokens": 0,
             "cached_tokens": 0, "completion_tokens": 0, "finish_reason": FinishReason.STOP, "created_at": now}
            for i in ids
        ],
    }  # fmt: skip
    for table, values in rows.items():
        session.execute(insert(table), values)


def folder_url(folder: Path) -> str:
    """A SQLite database of its own."""
    return f"sqlite:///{folder / 'million.db'}"
