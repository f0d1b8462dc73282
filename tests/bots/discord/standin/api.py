"""What every REST request goes through: record, faults, token, limits, rules, then its handler."""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.bots.discord.standin import applications, channels, messages, routes, rules, webhooks
from tests.bots.discord.standin.calls import HANDLERS, ApiError, Call, Request, too_many
from tests.bots.discord.standin.faults import Fault
from tests.bots.discord.standin.session import reset

if TYPE_CHECKING:
    from tests.bots.discord.standin.server import StandInDiscord

ROUTES_OF = (applications, channels, messages, webhooks)  # imported for the handlers that they register

INVALID_STATUSES = {401, 403, 429}
SERVER_SAID = {"Via": "1.1 google"}


class Api:
    """The REST API of one stand-in."""

    def __init__(self, discord: StandInDiscord) -> None:
        self._discord = discord
        self._stopping = asyncio.Event()

    def add_to(self, app: web.Application, prefix: str) -> None:
        """Serve every route under `prefix`; templates without variables come first, as theirs is the better fit."""
        for route in sorted(HANDLERS, key=lambda route: route.count("{")):
            method, template = route.split(" ", 1)
            app.router.add_route(method, prefix + template, partial(self._serve, route))
        app.router.add_route("*", prefix + "/{rest:.*}", self._serve_unknown)

    def stop(self) -> None:
        """Let the requests go that hang."""
        self._stopping.set()

    async def _serve_unknown(self, http: web.Request) -> web.StreamResponse:
        self._discord.violate("unknown route", f"{http.method} {http.path}")
        return self._respond(404, {"message": "404: Not Found", "code": 0}, {})

    async def _serve(self, route: str, http: web.Request) -> web.StreamResponse:
        call = await self._record(route, http)
        fault = self._discord.faults.take(route)
        if fault is not None and not fault.work_done:
            response = await self._fail(fault, call)
        else:
            response = self._answer(route, call)
            if fault is not None:
                response = await self._fail(fault, call)
        self._discord.changes.happened()
        return response

    async def _record(self, route: str, http: web.Request) -> Call:
        headers = {**http.headers}
        request = Request(http.method, route, http.path, self._discord.clock.now(), headers, {**http.query})
        request.json, request.files = await _body(http)
        self._discord.requests.append(request)
        return Call(self._discord, http, request)

    def _answer(self, route: str, call: Call) -> web.Response:
        limits = self._discord.limits
        if limits.banned:
            return web.Response(status=429, text="error code: 1015", content_type="text/html")  # Cloudflare's, no Via
        try:
            self._admit(route, call)
            rules.check(route, call)
            document = HANDLERS[route](call)
        except ApiError as error:
            return self._finish(call, error.status, error.document(), call.headers | error.headers)
        status = call.status or (204 if document is None else 200)
        return self._finish(call, status, document, call.headers)

    def _admit(self, route: str, call: Call) -> None:
        """Token and rate limits."""
        token = call.http.headers.get("Authorization", "")
        if route not in routes.WITHOUT_TOKEN and token != f"Bot {self._discord.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        allowance = self._discord.limits.take(route, call.http.match_info.get)
        call.headers.update(allowance.headers())
        if not allowance.allowed:
            raise too_many(allowance.reset_after_s, everywhere=allowance.shared_by_all)

    async def _fail(self, fault: Fault, call: Call) -> web.Response:
        match fault.answer:
            case "reset":
                reset(call.http.transport)
                call.request.status = None
                return web.Response(status=500)  # reaches nobody
            case "hang":
                call.request.status = None
                await self._stopping.wait()
                return web.Response(status=500)
            case 429:
                refusal = too_many(fault.retry_after_s, everywhere=fault.everywhere)
                return self._finish(call, 429, refusal.document(), refusal.headers)
            case status:
                return self._finish(call, int(status), {"message": f"{status}: on demand", "code": 0}, {})

    def _finish(self, call: Call, status: int, document: Any, headers: dict[str, str]) -> web.Response:
        call.request.status, call.request.answered_at = status, self._discord.clock.now()
        if status in INVALID_STATUSES and headers.get("X-RateLimit-Scope") != "shared":
            self._discord.limits.note_invalid()
        return self._respond(status, document, headers)

    def _respond(self, status: int, document: Any, headers: dict[str, str]) -> web.Response:
        headers = headers | SERVER_SAID | {"Date": formatdate(self._discord.clock.now(), usegmt=True)}
        if document is None:
            return web.Response(status=status, headers=headers)
        body = json.dumps(document).encode()
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _body(http: web.Request) -> tuple[Any, dict[str, bytes]]:
    """The JSON and the files of a request, whichever way they were sent."""
    if http.content_type != "multipart/form-data":
        text = await http.text()
        return (json.loads(text) if text else None), {}
    document: Any = None
    files: dict[str, bytes] = {}
    async for part in await http.multipart():
        assert isinstance(part, BodyPartReader)
        if part.name == "payload_json":
            document = json.loads(await part.text())
        else:
            files[part.filename or part.name or ""] = bytes(await part.read())
    return document, files
