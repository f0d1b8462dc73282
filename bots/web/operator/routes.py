"""All routes under `/operator`, and how large a body each may have."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from bots.web.assets import operators_page
from bots.web.guards import MAX_BODY_BYTES
from bots.web.language import language_of
from bots.web.operator import collections, handoffs, questions, settings, signing_in
from bots.web.operator.badges import PATH, Badges
from bots.web.operator.collections import IMPORT_PATH, MAX_IMPORT_BYTES
from bots.web.operator.questions import EVALUATE_PATH
from bots.web.refusals import Refused

MAX_FORM_BYTES = 1 << 20
"""An entry with all phrasings that one may have."""

ROUTERS: tuple[APIRouter, ...] = (
    signing_in.router,
    collections.router,
    questions.router,
    handoffs.router,
    settings.router,
)


def install(app: FastAPI, badges: Badges) -> None:
    """Add the routes. The page itself holds nothing but words: everything else asks for a badge."""
    app.state.badges = badges
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route(f"{PATH}/api/{{path:path}}", _nothing, methods=["GET"], response_model=None)
    app.add_api_route(PATH, _page, methods=["GET"], response_model=None)
    app.add_api_route(f"{PATH}/{{path:path}}", _page, methods=["GET"], response_model=None)


def body_limit(badges: Badges, scope: Scope) -> int:
    """How many bytes a request may bring: a file or a long form from an operator, from anyone else a message."""
    path: str = scope["path"]
    is_file = path.startswith(f"{PATH}/api/collections/") and path.endswith((IMPORT_PATH, EVALUATE_PATH))
    if not path.startswith(f"{PATH}/api/") or not badges.worn(scope):
        return MAX_BODY_BYTES
    return MAX_IMPORT_BYTES if is_file else MAX_FORM_BYTES


async def _page(request: Request) -> Response:
    return operators_page(language_of(request.scope))


async def _nothing(request: Request) -> Response:
    """There is no such route; whoever wears no badge is not told."""
    signing_in.signed_in(request)
    raise Refused(404, "not_found")
