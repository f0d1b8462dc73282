"""FaqDesk: what FAQs have to say to a Turn, from an index that is kept fresh beside the answering.

A thread of its own reads what changed, at first by words alone and the nearest phrasing, then as well as it can; the
embedder is loaded only where there is a collection. A Turn pays for a search in memory and, in a collection that is
left to pgvector, for one in SQL. Knows collections and the settings of a place; knows no Prompt and no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import structlog

from core.database import Database
from core.errors import ModelUnavailable, ServiceUnavailable
from core.faq import neighbours, vectors
from core.faq.decision import Outcome
from core.faq.embedding import Embedder
from core.faq.finding import CHOSEN
from core.faq.search import FaqSearch, Verdict, nothing
from core.turns import ClaimedTurn
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

ASKED_RECIPES = ("chat", "faq")
"""Recipes whose messages are questions; the other tasks are for the model."""

_LOOK_EVERY_S = 3.0
_AGAIN_S = 0.5
_FIRST_LOOK_S = 10.0
"""A Turn waits so long for the first look of a worker that has just started: before it nothing is known."""
_MOST_CHARS = 2_000
"""Of a longer message the beginning is looked up."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do with a Turn: answer, ask back, ground the model, or say nothing of one's own."""

    outcome: Outcome
    reason: str
    verdict: Verdict
    speaks: bool
    """Whether the model may answer by itself where no FAQ does."""

    @property
    def nearest(self) -> str:
        """The first entry's answer, word for word."""
        return self.verdict.decision.matches[0].hit.stored.entry.answer

    @property
    def likely(self) -> bool:
        """Whether the first entry is itself more likely than not to be what was meant."""
        decision = self.verdict.decision
        return bool(decision.matches) and decision.probability_first >= decision.thresholds.ground


class FaqDesk:
    """One per worker process. `load_embedder` is called once, in the thread; it raises ModelUnavailable.

    The vectors of collections with `pgvector_from` phrasings and more, unless that is 0, are left to pgvector.
    """

    def __init__(
        self, database: Database, load_embedder: Callable[[], Embedder | None], *, pgvector_from: int = 0
    ) -> None:
        self._database, self._load, self._pgvector_from = database, load_embedder, pgvector_from
        self._search, self._whole = FaqSearch(database, None), False
        self._looking = threading.Lock()
        self._looked, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="faq", daemon=True)

    def start(self) -> None:
        """Start looking. SQL need not be there yet."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def fresh(self) -> FaqSearch:
        """The search with everything that it can have and with what changed a moment ago, for who has time to wait.

        Raises DatabaseUnavailable, ModelUnavailable.
        """
        with self._looking:
            if self._whole:
                self._search.refresh()
            else:
                self._search, self._whole = self._made_whole(), True
        return self._search

    def consult(self, claimed: ClaimedTurn, here: ChannelSettings) -> Advice | None:
        """What to do with the Turn; None where no FAQ is to be asked, or there is none to ask.

        Raises DatabaseUnavailable.
        """
        mode, for_faq = here.faq_mode or "assistant", claimed.recipe == "faq"
        if claimed.recipe not in ASKED_RECIPES or (mode == "off" and not for_faq):
            return None
        speaks = mode == "assistant" and not for_faq
        verdict = nothing("switched_off") if mode == "off" else self._verdict(claimed, here)
        if speaks and not verdict.collection:
            return None
        return _advice(verdict, speaks)

    def _verdict(self, claimed: ClaimedTurn, here: ChannelSettings) -> Verdict:
        self._looked.wait(_FIRST_LOOK_S)
        names, wanted = here.faq_collections, claimed.arguments.get("collection")
        if wanted:
            names = (wanted,) if names is None or wanted in names else ()
        today = datetime.now(UTC).date()
        chosen = claimed.arguments.get(CHOSEN)
        return self._search.search(
            claimed.workspace_id,
            claimed.text[:_MOST_CHARS],
            day=today,
            names=names,
            chosen=int(chosen) if chosen else None,
        )

    def _keep_fresh(self) -> None:
        could = True
        while not self._stop.is_set():
            could = self._look(quiet=not could)
            self._stop.wait(_LOOK_EVERY_S if self._looked.is_set() else _AGAIN_S)

    def _look(self, *, quiet: bool = False) -> bool:
        """Take in what changed. Whether that could be done; `quiet` does not say once more that it could not."""
        try:
            with self._looking:
                self._search.refresh(trained=self._whole)
                self._looked.set()
                if not self._whole and not self._search.empty:
                    self._search, self._whole = self._made_whole(), True
        except (ServiceUnavailable, ModelUnavailable) as error:
            if not quiet:
                log.warning("FAQs cannot be read; trying again.", action="faq_refresh_failed", reason=str(error))
            return False
        except Exception:  # the edge: one collection that cannot be read must not end the looking
            if not quiet:
                log.exception("FAQs cannot be read; trying again.", action="faq_refresh_failed")
            self._looked.set()  # nobody waits for what may not come
            return False
        return True

    def _made_whole(self) -> FaqSearch:
        """The search with everything that it can have; the simple one goes on meanwhile.

        The vectors of other embedders go: a worker that still has one computes them anew when it starts again.
        """
        search = FaqSearch(self._database, self._embedder, pgvector_from=self._pgvector_from)
        if self._embedder is not None:
            with self._database.write() as session:
                gone = vectors.forget_others(session, self._embedder.revision)
            neighbours.forget(self._database, self._embedder.revision)
            if gone:
                log.info("Vectors of other embedders were dropped.", action="vectors_dropped", vectors=gone)
        search.refresh()
        return search

    @cached_property
    def _embedder(self) -> Embedder | None:
        try:
            return self._load()
        except ModelUnavailable as error:
            log.warning("FAQs are searched by words alone.", action="embedder_failed", reason=str(error))
            return None


def _advice(verdict: Verdict, speaks: bool) -> Advice:
    decision = verdict.decision
    advice = Advice(decision.outcome, decision.reason, verdict, speaks)
    if speaks and decision.outcome is Outcome.GROUND and not advice.likely:
        # Whoever only chats is not made to wait for an answer from passages that are probably about something else.
        return Advice(Outcome.ABSTAIN, "not_near_enough", verdict, speaks)
    return advice
