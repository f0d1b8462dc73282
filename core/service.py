"""Service: everything that a bot may ask of core, from asyncio.

The one door between platforms and the domain: it validates, stores, queues and answers questions about Turns, and leads
to the doors of hand-offs, privacy, FAQs and the ledger. It knows no platform, words nothing for people, and every call but
those of reply following is given a Place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import redis.asyncio
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import backfill, cleaning, closing, conversations, feedback, history, intake, open_turns, places, workspaces
from core.backfill import BackfillPoint
from core.bell import Bell
from core.database import AsyncDatabase
from core.errors import MessageTooLong, NotFound, UnknownCollection
from core.faq import collections
from core.faq.finding import Choice
from core.handoffs import states, triggers
from core.handoffs.door import Handoffs
from core.history import Explanation, TurnView, Which
from core.intake import PassedOn, QueueLimits, Received
from core.leases import Leases
from core.ledger import Ledger
from core.notes import Notes
from core.presence import WorkerStatus, ready_workers
from core.privacy_door import Privacy
from core.queue import WakeUps, make_celery
from core.rates import Rates
from core.redis import connect, connect_async, translated
from core.settings import Settings
from core.signals import Signals
from core.streams import ReplyFollower
from core.values import InboundMessage, Person, Place, Rating, ReleaseCause, ReplyEvent, TurnState, clean_text
from core.workspaces import WorkspaceSettings

if TYPE_CHECKING:
    from core.faq.office import FaqOffice

log = structlog.get_logger(__name__)

MAX_COMMENT_CHARS = 2_000
MAX_HISTORY_TURNS = 500


@dataclass(frozen=True, slots=True)
class Status:
    """How Pajama does. `ahead` is what is queued before the newest question of the place that was asked about."""

    workers: tuple[WorkerStatus, ...]
    queued: int
    running: int
    ahead: int = 0


class Service:
    """One per bot process. Every method raises DatabaseUnavailable where SQL cannot be used."""

    def __init__(
        self, settings: Settings, database: AsyncDatabase, client: redis.asyncio.Redis, wake_ups: WakeUps
    ) -> None:
        self._settings, self._database, self._client, self._wake_ups = settings, database, client, wake_ups
        self._signals = Signals(client, settings.redis_prefix, settings.stream_ttl_s)
        self._limits = QueueLimits(settings.max_queued_turns, settings.max_queued_turns_per_person)
        self.follower = ReplyFollower(client, settings.redis_prefix)
        bell = Bell(client, settings.redis_prefix)
        self.handoffs = Handoffs(database, bell, settings.max_message_chars, self._signals.stopped)
        self.privacy = Privacy(database, self._signals, wake_ups, bell, settings.retention_days)
        self.ledger = Ledger(database, self._signals)
        self.notes = Notes(client, settings.redis_prefix)
        self.rates = Rates(client, settings.redis_prefix)

    @property
    def database(self) -> AsyncDatabase:
        """The database, for what a platform keeps in tables of its own."""
        return self._database

    def new_leases(self) -> Leases:
        """Leases for one more owner."""
        return Leases(self._client, self._settings.redis_prefix)

    @cached_property
    def faq_office(self) -> FaqOffice:
        """What operators may ask about FAQs. Loaded for whoever asks: the other bots do without its libraries."""
        from core.faq.office import FaqOffice

        return FaqOffice(self._database, self._client, self._settings.redis_prefix)

    async def receive(self, message: InboundMessage) -> Received | PassedOn:
        """Store what someone wrote, and its context, and queue its Turn; the same event again is the same Turn.

        While a human has the Conversation there is no Turn: the words are passed on to them. Raises EmptyMessage,
        MessageTooLong, UnknownRecipe, Busy, AccessDenied, QuotaUsed, and NotFound where the message was deleted
        before it was asked about.
        """
        text, message = cleaning.taken(message, self._settings.max_message_chars)
        try:
            received = await self._database.write(intake.receive, message, text, self._limits, _now())
        except IntegrityError:  # the same event is being stored by another task: now it is there
            received = await self._database.write(intake.receive, message, text, self._limits, _now())
        if isinstance(received, PassedOn):
            log.info("Words are for a human.", action="words_passed_on", handoff_id=received.handoff_id)
            await self.handoffs.bell.ring()
        elif not received.duplicate:
            self._wake_ups.send_soon(received.turn_id)
            log.info("A turn was queued.", action="turn_queued", turn_id=received.turn_id, ahead=received.ahead)
        return received

    async def check(self, message: InboundMessage) -> None:
        """Refuse what `receive` would refuse now, and store nothing, for who shows it before it is stored.

        Raises EmptyMessage, MessageTooLong, UnknownRecipe, Busy, AccessDenied, QuotaUsed.
        """
        _, message = cleaning.taken(message, self._settings.max_message_chars)
        await self._database.read(intake.check, message, self._limits, _now())

    async def edit(self, place: Place, event_id: str, text: str) -> TurnView | None:
        """Take a message's new wording and answer it again. Raises as `receive`.

        None where the message is not known, or the wording is the one that it had.
        """
        words = cleaning.checked(text, self._settings.max_message_chars)
        turn = await self._database.write(conversations.edit, place, event_id, words, _now())
        if turn is None:
            await self.handoffs.bell.ring()  # maybe a human is to see it
            return None
        await self._signals.cancel(turn.id, turn.fence - 1)  # the new answer, which may have begun, goes on
        self._wake_ups.send_soon(turn.id)
        return await self.turn_status(turn.id)

    async def delete(self, place: Place, event_id: str) -> TurnView | None:
        """Purge a message with all that came of it and withdraw its Turn. None where it is not known or was no Turn.

        The Turn is not delivered until its answers are taken away from the platform.
        """
        return await self._delete(place, event_id)

    async def _delete(self, place: Place, event_id: str, *, gone: bool = False) -> TurnView | None:
        deleted = await self._database.write(conversations.delete, place, event_id, _now(), gone=gone)
        if deleted is None:
            return None
        await self._signals.purged(deleted.purged)
        await self.handoffs.bell.ring()  # staff may have been shown it
        if deleted.turn is None:
            return None
        await self._signals.cancel(deleted.turn.id, deleted.turn.fence)
        await self._signals.ended(deleted.turn)
        return await self.turn_status(deleted.turn.id)

    async def delete_channel(self, platform: str, workspace: str, channel: str) -> int:
        """Delete every message of a channel that is gone, with its threads. Returns how many that were."""
        said = await self._database.read(closing.said_in, platform, workspace, channel)
        for place, event_id in said:
            await self._delete(place, event_id, gone=True)
        return len(said)

    async def cancel(self, place: Place, person: Person, turn_id: int, *, moderator: bool = False) -> TurnState:
        """Stop a Turn; what was generated so far stays. Returns its state now.

        Raises NotFound, and NotAllowed for anyone but the asker or a moderator.
        """
        turn = await self._database.write(conversations.cancel, place, person, turn_id, _now(), moderator=moderator)
        await self._signals.stopped(turn)
        return turn.state

    async def regenerate(self, place: Place, person: Person, turn_id: int) -> TurnView:
        """Answer an ended Turn once more.

        Raises NotFound, NotAllowed, WordsPurged, AccessDenied, HandedOff, and Conflict where it is open.
        """
        await self._database.write(conversations.regenerate, place, person, turn_id, _now())
        self._wake_ups.send_soon(turn_id)
        return await self.turn_status(turn_id)

    async def close_workspace(self, platform: str, workspace: str) -> int:
        """End every open Turn of a Workspace that is left, and bring nothing there. Returns how many Turns that were."""
        turn_ids = await self._database.read(closing.undelivered_turns, platform, workspace)
        for turn_id in turn_ids:
            turn, purged = await self._database.write(closing.give_up, turn_id, _now())
            await self._signals.cancel(turn.id, turn.fence - 1)
            await self._signals.ended(turn)
            await self._signals.purged(purged)
        return len(turn_ids)

    async def workspaces(self, platform: str, prefix: str) -> list[str]:
        """The Workspaces of a platform whose own ids begin so."""
        return await self._database.read(closing.workspaces, platform, prefix)

    async def choice(self, place: Place, person: Person, turn_id: int, entry_id: int) -> Choice:
        """A question that this person was offered below the Turn's answer. Raises NotFound, NotAllowed."""
        return await self._database.read(_choice, place, person, turn_id, entry_id)

    async def reset(self, place: Place) -> None:
        """Start the Conversation anew: Turns from now on see nothing of what was said before, and no human has it."""
        await self._database.write(_reset, place)
        await self.handoffs.bell.ring()

    async def rate(self, place: Place, person: Person, turn_id: int, rating: Rating | None, comment: str = "") -> bool:
        """Rate the answer; None takes the rating back. Whether the comment was kept. Raises NotFound, MessageTooLong."""
        comment = clean_text(comment)
        if len(comment) > MAX_COMMENT_CHARS:
            raise MessageTooLong(len(comment), MAX_COMMENT_CHARS)
        kept = await self._database.write(triggers.rate, place, person, turn_id, rating, comment, _now())
        if rating is Rating.DOWN:
            await self.handoffs.bell.ring()  # maybe a human is called
        return kept

    async def take_rating_back(self, place: Place, person: Person, turn_id: int, rating: Rating) -> None:
        """Take the rating back if it is this one; a newer one stays. Raises NotFound."""
        await self._database.write(feedback.rate, place, person, turn_id, None, "", _now(), only=rating)

    async def why(self, place: Place, turn_id: int) -> Explanation:
        """The Prompt as the model saw it, and what came of it. Raises NotFound."""
        return await self._database.read(_scoped_explanation, place, turn_id)

    async def history(self, place: Place, *, limit: int = 100, before_seq: int | None = None) -> list[TurnView]:
        """The last Turns since the last reset, oldest first."""
        limit = max(1, min(limit, MAX_HISTORY_TURNS))
        return await self._database.read(history.conversation_view, place, limit, before_seq)

    async def latest_turn(self, place: Place) -> TurnView | None:
        """The newest Turn since the last reset."""
        return next(iter(await self.history(place, limit=1)), None)

    async def latest_of_person(
        self, place: Place, channel: str, person: Person, which: Which = "any"
    ) -> TurnView | None:
        """What somebody asked last in any Conversation of a channel of this Workspace, since its reset."""
        return await self._database.read(
            history.latest_of_person, place.platform, place.workspace, channel, person.id, which
        )

    async def turn(self, place: Place, turn_id: int) -> TurnView:
        """One Turn of this Conversation. Raises NotFound."""
        return await self._database.read(history.scoped_turn_view, place, turn_id)

    # What is set for a Workspace, and how Pajama does.

    async def workspace_settings(self, place: Place) -> WorkspaceSettings:
        """What is set for the Workspace and its channels."""
        return await self._database.read(workspaces.load, place.platform, place.workspace)

    async def change_setting(
        self, place: Place, name: str, value: object, channel: str | None = None
    ) -> WorkspaceSettings:
        """Set one thing, for one channel where it is given; None brings the default back. Who may is asked before.

        Raises BadSetting, among them UnknownSetting with the names that there are and NotOffered.
        """
        settings = await self._database.write(
            workspaces.change,
            place.platform,
            place.workspace,
            name,
            value,
            channel,
            now=_now(),
            models=self._settings.openai_workspace_models,
        )
        log.info("A setting was changed.", action="setting_changed", setting=name, workspace=place.workspace)
        return settings

    async def check_collection(self, place: Place, channel: str | None, name: str) -> None:
        """Raises UnknownCollection, with the names that there are, where no such FAQ is answered from there."""
        await self._database.read(_check_collection, place, channel, name)

    async def status(self, place: Place | None = None) -> Status:
        """Who is ready and what waits, also ahead of the newest question at `place`. Raises QueueUnavailable."""
        workers = await asyncio.to_thread(self._ready_workers)
        queued, running = await self._database.read(open_turns.count_open)
        newest = await self.latest_turn(place) if place is not None else None
        ahead = await self.queue_position(newest.turn_id) if newest is not None else 0
        return Status(tuple(workers), queued, running, ahead)

    # Reply following and delivery, inside a bot process: by Turn, whatever its place.

    def follow(self, turn_id: int, after_fence: int = 0) -> AsyncGenerator[ReplyEvent]:
        """The Turn's ReplyEvents above `after_fence`. Raises QueueUnavailable where Redis goes away."""
        return self.follower.follow(turn_id, after_fence)

    async def turn_status(self, turn_id: int) -> TurnView:
        """One Turn. Raises NotFound."""
        return await self._database.read(history.turn_view, turn_id)

    async def places_of_event(self, platform: str, workspace: str, event_id: str) -> list[Place]:
        """Every Conversation of the Workspace that holds the message of this event."""
        return await self._database.read(places.of_event, platform, workspace, event_id)

    async def asked_events(self, platform: str, workspace: str, event_ids: Collection[str]) -> set[str]:
        """Those of these events of the Workspace whose message asked something."""
        return await self._database.read(places.asked_events, platform, workspace, event_ids)

    async def queue_position(self, turn_id: int) -> int:
        """How many queued Turns are older; 0 for one that does not wait."""
        return await self._database.read(open_turns.queue_position, turn_id)

    async def waiting(self, platform: str) -> list[int]:
        """Turns whose answer, come or to come, the person does not have, oldest first."""
        return await self._database.read(history.waiting, platform)

    async def turns(self, turn_ids: Collection[int]) -> list[TurnView]:
        """These Turns, as many as there are, oldest first."""
        return await self._database.read(history.turn_views, turn_ids)

    async def turn_of_message(self, platform: str, workspace: str, external_id: str) -> TurnView | None:
        """The Turn that a message of ours on the platform is part of the answer to; None for any other message."""
        return await self._database.read(history.turn_of_message, platform, workspace, external_id)

    async def backfill_points(self, platform: str, since: datetime) -> list[BackfillPoint]:
        """Where to look for what was missed: Conversations with a Turn since then, and the newest event of each."""
        return await self._database.read(backfill.backfill_points, platform, since)

    async def undelivered_before(self, turn_id: int) -> dict[int, TurnState]:
        """The Turns of its Conversation that were asked before it and whose answer the person does not have."""
        return await self._database.read(history.undelivered_before, turn_id)

    async def check_health(self) -> None:
        """Raises DatabaseUnavailable or QueueUnavailable."""
        await self._database.read(open_turns.queue_position, 0)
        with translated():
            await self._client.ping()

    def _ready_workers(self) -> list[WorkerStatus]:
        with connect(self._settings.redis_url) as client:
            return ready_workers(client, self._settings.redis_prefix)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """A Service on `settings.database_url` and `settings.redis_url`, closed at the end. Neither need be up yet."""
    database = AsyncDatabase(settings.effective_database_url)
    client = connect_async(settings.redis_url)
    wake_ups = WakeUps(make_celery(settings.redis_url, settings.redis_prefix))
    service = Service(settings, database, client, wake_ups)
    await service.follower.start()
    try:
        yield service
    finally:
        await service.handoffs.bell.close()
        await service.follower.close()
        wake_ups.close()
        await client.aclose()
        await database.close()


def _scoped_explanation(session: Session, place: Place, turn_id: int) -> Explanation:
    return history.explain(session, places.find_turn(session, place, turn_id).id)


def _reset(session: Session, place: Place) -> None:
    states.release_at(session, place, ReleaseCause.RESET, _now())
    conversations.reset(session, place)


def _choice(session: Session, place: Place, person: Person, turn_id: int, entry_id: int) -> Choice:
    places.check_asker(session, place, person, turn_id)
    answer = history.turn_view(session, turn_id).answer
    offered = answer.finding.choices if answer is not None and answer.finding is not None else ()
    chosen = next((choice for choice in offered if choice.entry_id == entry_id), None)
    if chosen is None:
        raise NotFound(f"Entry {entry_id} was not offered for turn {turn_id}.")
    return chosen


def _check_collection(session: Session, place: Place, channel: str | None, name: str) -> None:
    workspace_id = session.scalar(workspaces.id_of(place.platform, place.workspace))
    here = workspaces.load(session, place.platform, place.workspace).for_channel(channel)
    there = collections.names(session, workspace_id)
    known = tuple(each for each in there if here.faq_collections is None or each in here.faq_collections)
    if name not in known:
        raise UnknownCollection(name, known)


def _now() -> datetime:
    return datetime.now(UTC)
