"""The application: routes, sessions and protection put together on an opened Service."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bots.web import api, refusals, sessions, talk
from bots.web.assets import Assets, assets_path, page
from bots.web.guards import BodyLimit, SameOrigin
from bots.web.headers import SecurityHeaders
from bots.web.language import language_of
from bots.web.operator import routes
from bots.web.operator.badges import Badges
from core.service import Service
from core.settings import Settings


def create_app(service: Service, settings: Settings, closing: asyncio.Event | None = None) -> FastAPI:
    """The visitors' page, the operators', and what both ask. Streams end when `closing` is set; without it they only end with their Turns."""
    badges = Badges(settings)
    middleware = _middleware(settings, badges)
    app = FastAPI(title="Pajama", openapi_url=None, docs_url=None, redoc_url=None, middleware=middleware)
    app.state.service = service
    app.state.closing = closing or asyncio.Event()
    refusals.install(app)
    app.include_router(api.router)
    app.include_router(talk.router)
    routes.install(app, badges)
    app.mount(assets_path(), Assets())
    app.add_api_route("/", _page, methods=["GET"], response_model=None)
    app.add_api_route("/healthz", _health, methods=["GET"], response_model=None)
    return app


def _middleware(settings: Settings, badges: Badges) -> list[Middleware]:
    """Outermost first."""
    session = Middleware(
        SessionMiddleware,
        secret_key=sessions.signing_key(settings),
        session_cookie=sessions.COOKIE,
        max_age=sessions.COOKIE_AGE_S,
        same_site="strict",
        https_only=settings.web_secure_cookie,
    )
    return [
        Middleware(SecurityHeaders),
        Middleware(SameOrigin),
        Middleware(BodyLimit, partial(routes.body_limit, badges)),
        session,
    ]


async def _page(request: Request) -> Response:
    """The page. It starts no session: a strict cookie does not come with a link from elsewhere, and would be lost."""
    return page(language_of(request.scope))


async def _health(request: Request) -> Response:
    """Whether SQL and Redis can be used; 503 where not, by way of the refusals."""
    service: Service = request.app.state.service
    await service.check_health()
    return JSONResponse({"status": "ok"})
