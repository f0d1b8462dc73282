"""Handlers: what one process does with events, besides what each workspace's desk does; put together on a Service."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp
import structlog

from bots.relaying import Relayer
from bots.slack.backfill import Backfill
from bots.slack.desks import Desk, Desks
from bots.slack.errands import Errands, Later, nothing
from bots.slack.handoff import EveryWorkspace
from bots.slack.heard import Heard
from bots.slack.places import PLATFORM, enterprise_of, workspace_of
from bots.slack.tokens import Tokens
from core.errors import ServiceUnavailable
from core.service import Service
from core.settings import Settings
from core.tasks import end

log = structlog.get_logger(__name__)

Json = dict[str, Any]

BEAT_S = 10.0
_AGAIN_S = 2.0
REMOVED = "slack-removed"
"""The note that says that the only workspace took the app away."""


class Handlers:
    """One per bot process."""

    def __init__(self, service: Service, settings: Settings, session: aiohttp.ClientSession, tokens: Tokens) -> None:
        self._service, self._tokens = service, tokens
        self._desks = Desks(settings, service, session, tokens)
        self.errands = Errands()
        self._backfill, self._heard = Backfill(service, self._desks), Heard(service)
        self._relayer = Relayer(service, PLATFORM, EveryWorkspace(self._desks.handoffs_of))
        self._working: list[asyncio.Task[Any]] = []
        self._changed = asyncio.Event()

    async def desk(self, body: Json) -> Desk:
        """Who answers this event or interaction. Raises ServiceUnavailable."""
        self.hear(body)
        return await self._desks.of(workspace_of(body))

    def hear(self, body: Json) -> None:
        """Note that such an event came."""
        event = body.get("event")
        if event is not None and self._heard.is_news(event):
            self.errands.start(lambda: self._heard.note(event))

    async def removed(self, body: Json, *, org: bool) -> Later:
        """The app was taken away: its token goes, and whatever is still being answered there. Raises ServiceUnavailable.

        Old news is none: Slack may tell it minutes later, when the app is there again.
        """
        event, workspace = body["event"], workspace_of(body)
        self.hear(body)
        if event["type"] == "tokens_revoked" and not event.get("tokens", {}).get("bot"):
            return nothing
        if not await self._tokens.drop(workspace, float(body.get("event_time") or 0), org=org):
            return nothing
        closed = 0
        for each in await self._workspaces(workspace, org=org):
            closed += await self._service.close_workspace(PLATFORM, each)
            self._desks.close(each)
        log.warning("Slack took the app away.", action="slack_removed", workspace=workspace, turns=closed)
        self._changed.set()
        return nothing

    async def _workspaces(self, workspace: str, *, org: bool) -> list[str]:
        enterprise = enterprise_of(workspace)
        if not org or enterprise is None:
            return [workspace]
        return await self._service.workspaces(PLATFORM, f"{enterprise}-")

    async def close(self) -> None:
        """Let go of everything; the next start takes it up."""
        await end(*self._working)
        await self.errands.close()
        await self._desks.courier.close()

    async def prepare(self) -> None:
        """Before anything is heard: let what is said now wait for what was missed."""
        try:
            await self._backfill.prepare()
        except ServiceUnavailable as error:
            log.warning("What was missed cannot be known.", action="backfill_failed", reason=str(error))

    async def resume(self) -> None:
        """Make up for what happened while nobody listened: answers to deliver, messages to take."""
        while True:
            try:
                waiting = await self._desks.courier.resume(PLATFORM)
            except ServiceUnavailable as error:
                log.warning("A start waits for a service.", action="slack_waits", reason=str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                log.info("Answers of before are delivered.", action="slack_resumed", turns=waiting)
                break
        self._working = [
            asyncio.create_task(self._backfill.run(), name="slack-backfill"),
            asyncio.create_task(self._desks.courier.keep(PLATFORM), name="slack-keeping"),
            asyncio.create_task(self._relayer.run(), name="slack-relaying"),
        ]

    async def beat(self) -> None:
        """Say again and again that the bot listens, or that there is nobody to listen to; without end."""
        told: bool | None = None
        while True:
            present = await self._tokens.present()
            if present is not told and not present:
                log.error(
                    "The app is in no workspace: install it again, and set the token that Slack then shows.",
                    action="slack_nowhere",
                )
            try:
                await self._say(present=present, changed=present is not told)
                told = present
            except ServiceUnavailable as error:
                log.warning("Nobody hears how Slack is.", action="beat_failed", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._changed.wait()
            self._changed.clear()

    async def _say(self, *, present: bool, changed: bool) -> None:
        if changed:
            await self._service.notes.remember(REMOVED, "" if present else "1")
        if present:
            await self._service.notes.say_connected(PLATFORM, 3 * BEAT_S)
        elif changed:
            await self._service.notes.say_disconnected(PLATFORM)
