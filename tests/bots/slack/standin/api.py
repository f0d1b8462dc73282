"""What every call of the Web API goes through: record, faults, token, scope, limits, then its handler."""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.bots.slack.standin import assistants, chat, conversations, files, installing, modals, streams
from tests.bots.slack.standin.calls import METHODS, ApiError, Call, Method, Request, too_many
from tests.bots.slack.standin.sockets import reset

if TYPE_CHECKING:
    from tests.bots.slack.standin.faults import Fault
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]

METHODS_OF = (assistants, chat, conversations, files, installing, modals, streams)  # imported for what they register


class Api:
    """The Web API of one stand-in."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack
        self._stopping = asyncio.Event()

    def add_to(self, app: web.Application) -> None:
        """Serve every method."""
        app.router.add_route("*", "/api/{method:.*}", self._serve)

    def stop(self) -> None:
        """Let the calls go that hang."""
        self._stopping.set()

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        call = await self._record(http)
        grant = self._slack.tokens.grants.get(call.request.token or "")
        if grant is not None and grant.team is not None:
            call.request.team_id = grant.team.id
        self._slack.limits.note_call(call.request.method, call.request.team_id or "", call.text("channel"))
        fault = self._slack.faults.take(call.request.method, call.request.team_id)
        if fault is not None and not fault.work_done:
            response = await self.fail(fault, call)
        else:
            response = self._answer(call)
            if fault is not None:
                response = await self.fail(fault, call)
        self._slack.changes.happened()
        return response

    async def _record(self, http: web.Request) -> Call:
        arguments = {**http.query} | await _body(http)
        kind, _, token = http.headers.get("Authorization", "").partition(" ")
        request = Request(
            http.match_info["method"],
            self._slack.clock.now(),
            arguments,
            {**http.headers},
            http.method,
            http.content_type,
            token=token if kind == "Bearer" else arguments.pop("token", None),
        )
        self._slack.requests.append(request)
        return Call(self._slack, http, request)

    def _answer(self, call: Call) -> web.Response:
        try:
            method = self._method(call)
            self._admit(call, method)
            document = {"ok": True} | (method.handler(call) or {})
        except ApiError as error:
            return self._finish(call, error.status, error.document(), call.headers | error.headers)
        return self._finish(call, 200, document, call.headers)

    def _method(self, call: Call) -> Method:
        name = call.request.method
        if name not in METHODS:
            self._slack.violate("unknown method", name, call.request)
            raise ApiError("unknown_method", req_method=name)
        return METHODS[name]

    def _admit(self, call: Call, method: Method) -> None:
        """Token, scopes and rate limits."""
        if method.token is None:
            return
        call.grant = self._slack.tokens.check(call.request.token, method.token)
        call.headers["x-oauth-scopes"] = ",".join(sorted(call.grant.scopes))
        if method.scopes:
            call.headers["x-accepted-oauth-scopes"] = ",".join(method.scopes)
        call.require_scope(*method.scopes)
        team_id = call.request.team_id or ""
        wait_s = self._slack.limits.take(method.name, method.tier, team_id, call.text("channel"))
        if wait_s is not None:
            raise self._too_many(call, wait_s)

    async def fail(self, fault: Fault, call: Call) -> web.Response:
        """Answer badly."""
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
                refusal = self._too_many(call, fault.retry_after_s)
                return self._finish(call, 429, refusal.document(), refusal.headers)
            case int(status):
                call.request.status, call.request.error = status, f"HTTP {status}"
                return web.Response(status=status, text=f"<html>{status}</html>", content_type="text/html")
            case code:
                return self._finish(call, 200, {"ok": False, "error": code}, {})

    def _too_many(self, call: Call, retry_after_s: int) -> ApiError:
        request = call.request
        self._slack.limits.note_refusal(request.method, request.team_id or "", call.text("channel"), retry_after_s)
        return too_many(retry_after_s)

    def _finish(self, call: Call, status: int, document: Json, headers: dict[str, str]) -> web.Response:
        request = call.request
        request.status, request.error, request.answer = status, document.get("error"), document
        request.answered_at = self._slack.clock.now()
        date = {"Date": formatdate(request.answered_at, usegmt=True)}
        return web.json_response(document, status=status, headers=headers | date)


async def _body(http: web.Request) -> Json:
    """What was sent, as JSON or as a form."""
    if http.content_type == "application/json":
        text = await http.text()
        document = json.loads(text) if text else {}
        return document if isinstance(document, dict) else {}
    return dict((await http.post()).items())
