"""The application: routes, sessions and protection put together on an opened Service."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bots.web import refusals, sessions
from bots.web.api import router
from bots.web.assets import Assets, assets_path, page
from bots.web.guards import BodyLimit, SameOrigin
from bots.web.headers import SecurityHeaders
from bots.web.language import language_of
from core.service import Service
from core.settings import Settings


def create_app(service: Service, settings: Settings, closing: asyncio.Event | None = None) -> FastAPI:
    """The page and its API. Streams end when `closing` is set; without it they only end with their Turns."""
    app = FastAPI(title="Pajama", openapi_url=None, docs_url=None, redoc_url=None, middleware=_middleware(settings))
    app.state.service = service
    app.state.closing = closing or asyncio.Event()
    refusals.install(app)
    app.include_router(router)
    app.mount(assets_path(), Assets())
    app.add_api_route("/", _page, methods=["GET"], response_model=None)
    app.add_api_route("/healthz", _health, methods=["GET"], response_model=None)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """Outermost first."""
    session = Middleware(
        SessionMiddleware,
        secret_key=sessions.signing_key(settings),
        session_cookie=sessions.COOKIE,
        max_age=sessions.COOKIE_AGE_S,
        same_site="strict",
        https_only=settings.web_secure_cookie,
    )
    return [Middleware(SecurityHeaders), Middleware(SameOrigin), Middleware(BodyLimit), session]


async def _page(request: Request) -> Response:
    """The page. It starts no session: a strict cookie does not come with a link from elsewhere, and would be lost."""
    return page(language_of(request.scope))


async def _health(request: Request) -> Response:
    """Whether SQL and Redis can be used; 503 where not, by way of the refusals."""
    service: Service = request.app.state.service
    await service.check_health()
    return JSONResponse({"status": "ok"})
