"""People: the names and languages of those who speak, asked of Slack once in a while.

A courtesy: answers go without where Slack does not say at once, since whoever speaks waits for it to be heard.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.inbound import MAX_NAME_CHARS
from bots.slack.wire import Refused, surely
from bots.texts import negotiate
from core.values import Person

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_KNOWN_FOR_S = 3600.0
_UNKNOWN_FOR_S = 10.0
_LONGEST_ASKING_S = 1.0
_ASKED_AT_MOST, _ASKED_IN_S = 90, 62.0
"""Slack allows a hundred a minute."""

_MOST = 4096


@dataclass(frozen=True, slots=True)
class Profile:
    """Somebody as Slack knows them."""

    name: str | None = None
    locale: str = ""
    admin: bool | None = False
    """None where Slack did not say."""
    known_until: float = 0.0


class People:
    """One per workspace, whose team this is."""

    def __init__(self, client: AsyncWebClient, team: str) -> None:
        self._client, self._team = client, team
        self._known: OrderedDict[str, Profile] = OrderedDict()
        self._asked: deque[float] = deque(maxlen=_ASKED_AT_MOST)

    async def profile(self, user: str) -> Profile:
        """Who somebody is; an empty one where Slack does not say."""
        known = self._known.get(user)
        if known is None or monotonic() > known.known_until:
            known = self._known[user] = await self._ask(user)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return known

    async def person(self, user: str) -> Person:
        """The person, under the name that others see."""
        name = (await self.profile(user)).name
        return Person(id=user, display_name=name[:MAX_NAME_CHARS] if name else None)

    async def language(self, user: str) -> str:
        """The language that somebody's Slack is set to."""
        return negotiate(((await self.profile(user)).locale,))

    def name_of(self, user: str) -> str | None:
        """The name of somebody who is known already."""
        known = self._known.get(user)
        return known.name if known else None

    def _is_ours(self, found: Json) -> bool:
        """Whether somebody is of this workspace, and not of one that shares a channel with it."""
        teams = {found.get("team_id"), *((found.get("enterprise_user") or {}).get("teams") or ())}
        return not self._team or self._team in teams

    async def _ask(self, user: str) -> Profile:
        if len(self._asked) == _ASKED_AT_MOST and monotonic() - self._asked[0] < _ASKED_IN_S:
            return Profile(admin=None, known_until=monotonic() + _UNKNOWN_FOR_S)
        self._asked.append(monotonic())
        try:
            async with asyncio.timeout(_LONGEST_ASKING_S):
                told = await surely(
                    lambda: self._client.users_info(user=user, include_locale=True), what="person", tries=1
                )
        except (Refused, TimeoutError) as error:
            log.info("Slack does not say who somebody is.", action="person_unknown", reason=str(error))
            return Profile(admin=None, known_until=monotonic() + _UNKNOWN_FOR_S)
        found = told["user"]
        shown = found.get("profile") or {}
        name = shown.get("display_name") or shown.get("real_name") or found.get("real_name") or found.get("name")
        admin = bool(found.get("is_admin") or found.get("is_owner")) and self._is_ours(found)
        return Profile(name, str(found.get("locale") or ""), admin, monotonic() + _KNOWN_FOR_S)
