"""How errors read: an HTTP status, a stable code, and the catalogue's sentence in the person's language."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from bots.texts import sentence_for, text
from bots.web.headers import SECURITY_HEADERS
from bots.web.language import language_of
from core.errors import (
    AccessDenied,
    Busy,
    Conflict,
    EntryRefused,
    FaqFileRefused,
    FaqRefused,
    MessageRefused,
    MessageTooLong,
    NotAllowed,
    NotFound,
    PajamaError,
    QuotaUsed,
    ServiceUnavailable,
)

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 5
MOST_PROBLEMS = 200
"""Wrong lines of a file that are told at once."""


class Refused(Exception):
    """A refusal of the web's own, without an error of core's behind it: a status and a code of the catalogue."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


# The first that fits; what is in none of them is the server's own mistake.
_STATUS: tuple[tuple[type[PajamaError], int], ...] = (
    (MessageTooLong, 413),
    (Busy, 429),
    (QuotaUsed, 429),
    (AccessDenied, 403),
    (MessageRefused, 422),
    (NotFound, 404),
    (NotAllowed, 403),
    (Conflict, 409),
    (FaqFileRefused, 422),
    (FaqRefused, 422),
    (ServiceUnavailable, 503),
)
_HTTP_CODES = {404: "not_found", 405: "invalid", 413: "too_large", 422: "invalid"}


def refusal(scope: Scope, status: int, code: str) -> Response:
    """A refusal that has no error of core's behind it."""
    return _answer(status, code, text(f"error_{code}", language_of(scope)))


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one form."""
    app.add_exception_handler(PajamaError, _on_pajama_error)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_mistake)


async def _on_pajama_error(request: Request, error: Any) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("A request failed.", action="request_failed", path=request.url.path, reason=str(error))
    retry_after_s = error.hours * 3600 if isinstance(error, QuotaUsed) else RETRY_AFTER_S
    sentence = sentence_for(error, language_of(request.scope))
    return _answer(status, error.code, sentence, retry_after_s, problems=_problems(error))


def _problems(error: PajamaError) -> list[dict[str, Any]] | None:
    """What is wrong with a file or an entry, each with its line; 0 where there is none."""
    if isinstance(error, FaqFileRefused):
        return [{"line": each.line, "text": each.text} for each in error.problems[:MOST_PROBLEMS]]
    if isinstance(error, EntryRefused):
        return [{"line": 0, "text": text} for text in error.wrong]
    return None


async def _on_refused(request: Request, error: Any) -> Response:
    return refusal(request.scope, error.status, error.code)


async def _on_invalid(request: Request, error: Any) -> Response:
    fields = [".".join(map(str, item["loc"])) for item in error.errors()]
    log.info("A request was not understood.", action="request_invalid", path=request.url.path, fields=fields)
    return refusal(request.scope, 422, "invalid")


async def _on_http_error(request: Request, error: Any) -> Response:
    return refusal(request.scope, error.status_code, _HTTP_CODES.get(error.status_code, "invalid"))


async def _on_mistake(request: Request, error: Exception) -> Response:
    """Starlette answers this outside of every middleware, so the headers are put on here."""
    log.error("A request failed.", action="request_failed", path=request.url.path, exc_info=error)
    response = refusal(request.scope, 500, "error")
    response.headers.update(SECURITY_HEADERS)
    return response


def _answer(
    status: int,
    code: str,
    sentence: str,
    retry_after_s: int = RETRY_AFTER_S,
    *,
    problems: list[dict[str, Any]] | None = None,
) -> Response:
    headers = {"Retry-After": str(retry_after_s)} if status in (429, 503) else None
    told = {"code": code, "message": sentence} | ({} if problems is None else {"problems": problems})
    return JSONResponse({"error": told}, status, headers)
