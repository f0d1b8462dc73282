"""Locales: the language that a person's Discord is set to, for where nobody else says which to use: their DM.

Discord tells it with what people use, never with a message. It is kept in memory only; what outlives a restart is the
language in which their last question in the DM was taken.
"""

from __future__ import annotations

from collections import OrderedDict

import discord
import structlog

from core.errors import ServiceUnavailable
from core.service import Service
from core.values import Place

log = structlog.get_logger(__name__)

_MOST = 4096


class Locales:
    """One per client."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: OrderedDict[int, str] = OrderedDict()

    def note(self, interaction: discord.Interaction) -> None:
        """Take the newest."""
        self._keep(interaction.user.id, interaction.locale.value)

    async def of(self, person_id: int, dm: Place) -> str:
        """The language of a person in their DM, empty where nothing tells it."""
        if person_id not in self._known:
            try:
                turn = await self._service.latest_turn(dm)
            except ServiceUnavailable as error:
                log.info("A language is not known.", action="locale_unread", reason=str(error))
                return ""
            self._keep(person_id, turn.language if turn is not None else "")
        return self._known[person_id]

    def _keep(self, person_id: int, locale: str) -> None:
        self._known[person_id] = locale
        self._known.move_to_end(person_id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
