"""OperatorsDesk: answers what operators ask about FAQs, in a thread of its own, from the indexes that this worker keeps.

Knows core's desk, search, gaps and calibration; knows no page. One request at a time: people's Turns go on beside it.
What goes wrong ends that request only, and is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import redis
import structlog
from pydantic import ValidationError
from redis.exceptions import RedisError

from core.database import Database
from core.errors import PajamaError
from core.faq import collections, desk, gaps
from core.faq.calibration import Calibration, calibrate
from core.faq.desk import AnyRequest, CalibrateRequest, Envelope, EvaluateRequest, Failure, GapsRequest, Reply
from core.faq.evaluation import Labelled
from core.faq.search import FaqSearch
from core.redis import desk_key, desk_open_key, desk_reply_key

log = structlog.get_logger(__name__)

_WAIT_S = 2
_AGAIN_S = 1.0
_MATCHES = 5


class OperatorsDesk:
    """The worker's side. `search` gives the indexes as fresh as they can be, when there is something to do."""

    def __init__(self, client: redis.Redis, prefix: str, database: Database, search: Callable[[], FaqSearch]) -> None:
        self._client, self._prefix, self._database, self._search = client, prefix, database, search
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operators-desk", daemon=True)

    def start(self) -> None:
        """Take requests from now on."""
        self._thread.start()

    def close(self, wait_s: float = 0.0) -> None:
        """Take no more. What is being answered goes on for at most `wait_s`."""
        self._stop.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.set(desk_open_key(self._prefix), "1", ex=desk.OPEN_S)
                found = self._client.blpop([desk_key(self._prefix)], timeout=_WAIT_S)
                if found is not None:
                    self._client.set(desk_open_key(self._prefix), "1", ex=desk.BUSY_S)
                    self._answer(str(found[1]))
            except (RedisError, OSError) as error:
                log.warning("Operators' requests cannot be taken.", action="desk_failed", reason=str(error))
                self._stop.wait(_AGAIN_S)

    def _answer(self, said: str) -> None:
        try:
            envelope = Envelope.model_validate_json(said)
        except ValidationError:
            log.warning("A request of an operator cannot be read.", action="desk_unread")
            return
        if envelope.until < time.time():
            return
        reply = self._reply(envelope)
        key = desk_reply_key(self._prefix, envelope.request_id)
        with self._client.pipeline() as pipeline:
            pipeline.rpush(key, reply.model_dump_json())
            pipeline.expire(key, desk.REPLY_S)
            pipeline.execute()

    def _reply(self, envelope: Envelope) -> Reply:
        kind, began = envelope.request.kind, time.monotonic()
        try:
            reply = self._done(envelope.request)
        except PajamaError as error:
            log.warning("A request of an operator was refused.", action="desk_refused", kind=kind, code=error.code)
            return Reply(failure=Failure(code=error.code, reason=str(error)))
        except Exception:  # the edge: the next request must not suffer
            log.exception("A request of an operator failed.", action="desk_error", kind=kind)
            return Reply(failure=Failure(code="error", reason="The worker could not do that; its log says why."))
        took_ms = round(1000 * (time.monotonic() - began))
        log.info("A request of an operator was answered.", action="desk_answered", kind=kind, took_ms=took_ms)
        return reply

    def _done(self, request: AnyRequest) -> Reply:
        search = self._search()
        if isinstance(request, GapsRequest):
            return Reply(gaps=self._gaps(request, search))
        if isinstance(request, CalibrateRequest):
            return Reply(calibration=self._calibrate(request, search))
        if isinstance(request, EvaluateRequest):
            questions = [Labelled(each.text, each.key) for each in request.questions]
            return Reply(report=search.evaluate(request.collection_id, questions))
        verdict = search.search(
            request.workspace_id,
            request.text,
            day=_now().date(),
            limit=_MATCHES,
            collection_id=request.collection_id,
        )
        return Reply(tried=desk.tried(verdict))

    def _gaps(self, request: GapsRequest, search: FaqSearch) -> gaps.GapReport:
        since = None if request.days is None else _now() - timedelta(days=request.days)
        return gaps.report(
            self._database,
            search.embedder,
            workspace_id=request.workspace_id,
            collection_ids=None if request.collection_id is None else (request.collection_id,),
            since=since,
        )

    def _calibrate(self, request: CalibrateRequest, search: FaqSearch) -> Calibration:
        made = calibrate(
            search.index_of(request.collection_id),
            target_risk=request.target_risk,
            uncovered_share=request.uncovered_share,
        )
        with self._database.write() as session:
            collection = collections.get(session, request.collection_id, lock=True)
            collection.calibration = made.model_dump(mode="json")
        return made


def _now() -> datetime:
    return datetime.now(UTC)
