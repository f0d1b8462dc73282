"""People: the names and languages of those who speak, asked of Slack once in a while. A courtesy: answers go without."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.inbound import MAX_NAME_CHARS
from bots.slack.wire import Refused, surely
from bots.texts import negotiate
from core.values import Person

log = structlog.get_logger(__name__)

_KNOWN_FOR_S = 3600.0
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Profile:
    """Somebody as Slack knows them."""

    name: str | None = None
    locale: str = ""
    admin: bool = False
    read_at: float = 0.0


class People:
    """One per bot process."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._known: OrderedDict[str, Profile] = OrderedDict()

    async def profile(self, user: str) -> Profile:
        """Who somebody is; an empty one where Slack does not say."""
        known = self._known.get(user)
        if known is None or monotonic() - known.read_at > _KNOWN_FOR_S:
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

    async def _ask(self, user: str) -> Profile:
        try:
            told = await surely(lambda: self._client.users_info(user=user, include_locale=True), what="person", tries=2)
        except Refused as error:
            log.info("Slack does not say who somebody is.", action="person_unknown", reason=str(error))
            return Profile(read_at=monotonic())
        found = told["user"]
        shown = found.get("profile") or {}
        name = shown.get("display_name") or shown.get("real_name") or found.get("real_name") or found.get("name")
        admin = bool(found.get("is_admin") or found.get("is_owner"))
        return Profile(name, str(found.get("locale") or ""), admin, monotonic())
