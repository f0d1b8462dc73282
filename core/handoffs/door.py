"""Door: everything that a bot may ask about hand-offs, from asyncio; `Service.handoffs`.

Every call but those of relaying, inside a bot process, is given a Place or the Workspace it may see. It words nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime

import structlog

from core import cleaning
from core.bell import Bell
from core.database import AsyncDatabase
from core.handoffs import relays, states, transcripts, views
from core.handoffs.relays import Taken
from core.handoffs.states import Requested
from core.handoffs.transcripts import Line
from core.handoffs.views import HandoffView
from core.intake import PassedOn
from core.models import Turn
from core.values import HandoffRequest, Place, Staff

log = structlog.get_logger(__name__)


class Handoffs:
    """One per Service. Every method raises DatabaseUnavailable where SQL cannot be used."""

    def __init__(
        self, database: AsyncDatabase, bell: Bell, max_chars: int, tell_stopped: Callable[[Turn], Awaitable[None]]
    ) -> None:
        self._database, self._max_chars, self._tell_stopped = database, max_chars, tell_stopped
        self.bell = bell

    async def request(self, request: HandoffRequest) -> Requested:
        """Have a human asked for; one that is asked for already is told what else is said.

        Raises AccessDenied, MessageTooLong, and NotFound where the message was deleted before.
        """
        words = cleaning.cleaned(request.text, self._max_chars)
        requested = await self._database.write(states.request, request, words, _now())
        if requested.new:
            log.info("A human is asked for.", action="handoff_requested", handoff_id=requested.handoff_id)
        await self.bell.ring()
        return requested

    async def claim(self, place: Place, handoff_id: int, staff: Staff) -> HandoffView:
        """Let one of staff have the Conversation: the bot is silent, what waits for its answer is stopped.

        Raises NotFound, HandoffTaken where somebody else has it, and HandoffNotClaimed where it is over.
        """
        claimed = await self._database.write(states.claim, place, handoff_id, staff, _now())
        for turn in claimed.stopped:
            await self._tell_stopped(turn)
        log.info("A hand-off was claimed.", action="handoff_claimed", handoff_id=handoff_id)
        await self.bell.ring()
        return await self.handoff(handoff_id)

    async def staff_says(self, place: Place, handoff_id: int, staff: Staff, event_id: str, text: str) -> PassedOn:
        """Bring the person what one of staff says; the same event again is brought once.

        Raises NotFound, HandoffNotClaimed, EmptyMessage, MessageTooLong.
        """
        words = cleaning.checked(text, self._max_chars)
        passed_on = await self._database.write(states.staff_says, place, handoff_id, staff, event_id, words, _now())
        await self.bell.ring()
        return passed_on

    async def release(self, place: Place, handoff_id: int, staff: Staff) -> HandoffView:
        """Give the Conversation back to the bot, if that is not so already. Raises NotFound."""
        if await self._database.write(states.release, place, handoff_id, staff, _now()):
            log.info("A hand-off was released.", action="handoff_released", handoff_id=handoff_id)
        await self.bell.ring()
        return await self.handoff(handoff_id)

    async def handoff(self, handoff_id: int) -> HandoffView:
        """One hand-off, wherever it is: whoever acts on it compares its place. Raises NotFound."""
        return await self._database.read(views.handoff_view, handoff_id)

    async def newest(self, place: Place) -> HandoffView | None:
        """The newest hand-off of a Conversation, open or not."""
        return await self._database.read(views.newest_view, place)

    async def standing(self, place: Place) -> HandoffView | None:
        """The Conversation's hand-off that is open, or the last that ended where nothing was asked or begun anew since."""
        return await self._database.read(views.standing_view, place)

    async def noticed(self, platform: str, workspace: str, notice_id: str) -> HandoffView | None:
        """The hand-off that staff are told of by this message of ours."""
        return await self._database.read(views.noticed_view, platform, workspace, notice_id)

    async def open_handoffs(
        self, platform: str | None = None, workspace: str | None = None, limit: int = 200
    ) -> list[HandoffView]:
        """Hand-offs that are open, the longest waiting first; of one platform, and of one Workspace of it."""
        return await self._database.read(views.open_views, platform, workspace, limit)

    async def transcript(
        self, handoff_id: int, from_seq: int | None = None, before_seq: int | None = None
    ) -> list[Line]:
        """What was said in its Conversation since the last reset before it, oldest first."""
        return await self._database.read(transcripts.transcript, handoff_id, from_seq, before_seq)

    async def last_words(self, handoff_ids: Collection[int]) -> dict[int, Line]:
        """What each hand-off's person said last."""
        return await self._database.read(transcripts.last_words, handoff_ids)

    async def said(self, place: Place, after_seq: int = 0) -> list[Line]:
        """What was said to and by humans in a Conversation since its last reset, oldest first."""
        return await self._database.read(transcripts.said_in_hand, place, after_seq)

    # Relaying, inside a bot process: by platform, whatever the place.

    async def take_relays(self, platform: str, most: int) -> list[Taken]:
        """What is to be brought next, for as long as a lease."""
        return await self._database.write(relays.take, platform, most, _now())

    async def hold_relays(self, held: Sequence[tuple[int, int]]) -> None:
        """Have these, by id and fence, for another lease."""
        await self._database.write(relays.hold, held, _now())

    async def note_relay(self, taken: Taken, external_ids: Sequence[str]) -> None:
        """Note which messages show it so far. Raises LeaseLost."""
        await self._database.write(relays.note, taken, external_ids)

    async def relay_sent(self, taken: Taken) -> None:
        """Note that all of it is there. Raises LeaseLost."""
        await self._database.write(relays.sent, taken)

    async def relay_refused(self, taken: Taken) -> None:
        """Note that the platform will never take it, and have whoever waits for it told. Raises LeaseLost."""
        await self._database.write(relays.refused, taken, _now())


def _now() -> datetime:
    return datetime.now(UTC)
