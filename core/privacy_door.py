"""Door: everything that a bot may ask about a person's own words, from asyncio; `Service.privacy`.

What is purged, `core/privacy.py` knows; here whoever else has the words is told to let go of them. It words nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core import archive, privacy
from core.bell import Bell
from core.database import AsyncDatabase
from core.handoffs import states
from core.places import find_participant
from core.privacy import Forgotten, PrivacyNotice
from core.queue import WakeUps
from core.signals import Signals
from core.values import Person, Place

log = structlog.get_logger(__name__)


class Privacy:
    """One per Service. Every method raises DatabaseUnavailable where SQL cannot be used."""

    def __init__(
        self, database: AsyncDatabase, signals: Signals, wake_ups: WakeUps, bell: Bell, retention_days: int
    ) -> None:
        self._database, self._signals, self._wake_ups, self._bell = database, signals, wake_ups, bell
        self._retention_days = retention_days

    async def notice(self, place: Place, person: Person) -> PrivacyNotice:
        """How long words are kept here, and whether this person has none kept."""
        return await self._database.read(privacy.notice, place, person, self._retention_days)

    async def export(self, place: Place, person: Person) -> dict[str, Any]:
        """Everything of the person on this platform, JSON-able."""
        return await self._database.read(archive.export, place.platform, person.id, _now())

    async def opt_out(self, place: Place, person: Person, opted_out: bool) -> None:
        """Keep none of the person's words from now on, or keep them again. What is there already stays."""
        await self._database.write(privacy.opt, place.platform, person.id, out=opted_out, now=_now())

    async def opted_out(self, platform: str, person_ids: Collection[str]) -> frozenset[str]:
        """Those of a platform's people of whom nothing may be kept."""
        return await self._database.read(privacy.opted_out_people, platform, person_ids)

    async def forget(self, place: Place, person: Person) -> Forgotten | None:
        """Purge every word of a Participant, everywhere. None where they were never seen.

        Raises QueueUnavailable where SQL is purged and Redis is not: ask again, or wait until its streams end.
        """
        await self._database.write(_end_handoffs, place, person)
        forgotten = await self._database.write(_forget, place, person)
        if forgotten is None:
            return None
        participant_id, conversation_ids = forgotten.participant_id, forgotten.purged.conversation_ids
        known = [turn.id for turn in forgotten.restarted]
        late = await self._database.write(privacy.restart_readers, participant_id, conversation_ids, known)
        forgotten = replace(forgotten, restarted=(*forgotten.restarted, *late))
        log.info("A person was forgotten.", action="person_forgotten", participant_id=participant_id)
        await self._bell.ring()
        await self._signals.forgotten(forgotten)
        for turn in forgotten.restarted:  # what was done for others is done anew
            self._wake_ups.send_soon(turn.id)
        return forgotten


def _end_handoffs(session: Session, place: Place, person: Person) -> None:
    """In a transaction of its own: forgetting locks Messages first, and this Conversations."""
    participant = find_participant(session, place.platform, person.id)
    if participant is not None:
        states.release_of_person(session, participant.id, _now())


def _forget(session: Session, place: Place, person: Person) -> Forgotten | None:
    participant = find_participant(session, place.platform, person.id)
    return privacy.forget(session, participant.id, _now()) if participant is not None else None


def _now() -> datetime:
    return datetime.now(UTC)
