"""Desk: what an operator's page asks of a worker about FAQs, over Redis, and what it is told.

A page has no model, and a question tried by words alone would not be decided as people's are. So whoever keeps the
indexes answers: try a question, gather the gaps, calibrate, evaluate. A request waits in one list for the first worker that is
free; its reply is fetched once and otherwise gone within a minute. Nothing here is a Turn: a lost request is asked again.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

import redis.asyncio
from pydantic import Field, TypeAdapter, ValidationError

from core.errors import NotFound, NoWorker, PajamaError, QueueUnavailable, WorkerBusy
from core.faq.calibration import Calibration, Source
from core.faq.decision import Thresholds
from core.faq.entry import MAX_KEY_CHARS, MAX_QUESTION_CHARS
from core.faq.evaluation import Report
from core.faq.gaps import GapReport
from core.faq.search import Verdict
from core.redis import desk_key, desk_open_key, desk_reply_key, translated
from core.values import Value

MAX_TRIED_CHARS = 2_000
MAX_EVALUATED = 5_000
"""Labelled questions that are asked for a page; `pajama faq eval` takes more."""
PATIENCE_S = {"try": 30.0, "gaps": 120.0, "calibrate": 540.0, "evaluate": 540.0}
"""How long each may take, the wait for a worker that is busy with another one included."""
REPLY_S = 60
OPEN_S, BUSY_S = 10, 600
"""For how long a worker says that it takes requests, while it waits for one and while it answers one."""

_LOOK_S = 5
_LIST_S = int(max(PATIENCE_S.values())) + 1


class TryRequest(Value):
    """What would be done with this question of a Workspace, or of none; from one collection only, where one is given."""

    kind: Literal["try"] = "try"
    text: Annotated[str, Field(min_length=1, max_length=MAX_TRIED_CHARS)]
    workspace_id: int | None = None
    collection_id: int | None = None


class GapsRequest(Value):
    """The gaps, as `gaps.report` is asked for them."""

    kind: Literal["gaps"] = "gaps"
    workspace_id: int | None = None
    collection_id: int | None = None
    days: Annotated[int, Field(ge=1, le=36_500)] | None = None


class CalibrateRequest(Value):
    """Measure a collection and keep what that gives."""

    kind: Literal["calibrate"] = "calibrate"
    collection_id: int
    target_risk: Annotated[float, Field(ge=0.001, le=0.5)]
    uncovered_share: Annotated[float, Field(ge=0, le=0.9)]


class LabelledQuestion(Value):
    """A question, and the key of the entry that answers it; empty where none does."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARS)]
    key: Annotated[str, Field(max_length=MAX_KEY_CHARS)]


class EvaluateRequest(Value):
    """Put labelled questions to a collection, and tell how it did."""

    kind: Literal["evaluate"] = "evaluate"
    collection_id: int
    questions: Annotated[tuple[LabelledQuestion, ...], Field(min_length=1, max_length=MAX_EVALUATED)]


AnyRequest = TryRequest | GapsRequest | CalibrateRequest | EvaluateRequest
Request = Annotated[AnyRequest, Field(discriminator="kind")]


class Envelope(Value):
    """A request on its way. `until` (Unix time) is when nobody waits for the reply any more."""

    version: Literal[1] = 1
    request_id: str
    until: float
    request: Request


class TriedMatch(Value):
    """An entry that was found, with its scores; `nearest` is its phrasing that came closest."""

    key: str
    version: int
    question: str
    nearest: str
    answer: str
    score: float
    lexical: float
    dense: float | None
    probability: float


class Tried(Value):
    """What would be done with a question, and from what that was decided."""

    outcome: str
    reason: str
    collection: str
    collection_id: int | None
    mode: str
    source: Source
    embedder: str | None
    thresholds: Thresholds
    first: float
    among: float
    offered: int
    matches: tuple[TriedMatch, ...]


class Failure(Value):
    """Why there is no reply: an error's code, and its sentence for the log."""

    code: str
    reason: str


class Reply(Value):
    """One of these."""

    tried: Tried | None = None
    gaps: GapReport | None = None
    calibration: Calibration | None = None
    report: Report | None = None
    failure: Failure | None = None


ENVELOPE = TypeAdapter(Envelope)


def tried(verdict: Verdict) -> Tried:
    """A verdict as it is told."""
    decision = verdict.decision
    return Tried(
        outcome=decision.outcome,
        reason=decision.reason,
        collection=verdict.collection,
        collection_id=verdict.collection_id,
        mode=verdict.mode,
        source=verdict.source,
        embedder=verdict.embedder,
        thresholds=decision.thresholds,
        first=decision.probability_first,
        among=decision.probability_among,
        offered=len(decision.offered),
        matches=tuple(
            TriedMatch(
                key=hit.stored.entry.key,
                version=hit.stored.version,
                question=hit.stored.entry.question,
                nearest=hit.stored.entry.phrasings[hit.phrasing],
                answer=hit.stored.entry.answer,
                score=hit.score,
                lexical=hit.lexical,
                dense=hit.dense,
                probability=match.probability,
            )
            for match in decision.matches
            for hit in (match.hit,)
        ),
    )


class DeskClient:
    """The page's side."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def ask(self, request: AnyRequest) -> Reply:
        """The reply of the first worker that is free.

        Raises NoWorker where none takes requests, WorkerBusy where none replied in time, NotFound, QueueUnavailable, and
        PajamaError where the worker could not do it.
        """
        patience_s = PATIENCE_S[request.kind]
        envelope = Envelope(request_id=secrets.token_hex(8), until=time.time() + patience_s, request=request)
        with translated():
            if not await self._client.exists(desk_open_key(self._prefix)):
                raise NoWorker
            await self._client.rpush(desk_key(self._prefix), envelope.model_dump_json())
            await self._client.expire(desk_key(self._prefix), _LIST_S)  # others wait in it, some for longer
            said = await self._reply(envelope.request_id, time.monotonic() + patience_s)
        return _checked(said)

    async def _reply(self, request_id: str, deadline: float) -> str:
        key = desk_reply_key(self._prefix, request_id)
        while (left_s := deadline - time.monotonic()) > 0:
            found: Any = await self._client.blpop([key], timeout=min(_LOOK_S, left_s))
            if found is not None:
                return str(found[1])
        raise WorkerBusy if await self._client.exists(desk_open_key(self._prefix)) else NoWorker


def _checked(said: str) -> Reply:
    try:
        reply = Reply.model_validate_json(said)
    except ValidationError as error:
        raise QueueUnavailable("A worker's reply cannot be read: is it of another version?") from error
    failure = reply.failure
    if failure is None:
        return reply
    if failure.code == NotFound.code:
        raise NotFound(failure.reason)
    raise PajamaError(failure.reason)
