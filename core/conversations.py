"""What people do to what was said in a Conversation: edit, delete, cancel, regenerate, reset.

Knows the rows. Every function is given the Workspace's place and touches nothing outside of it. While a human has the
Conversation nothing is answered anew. What is said in the first place is taken by `intake`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, select
from sqlalchemy.orm import Session

from core import deliveries, purging
from core.errors import AccessDenied, Conflict, HandedOff, WordsPurged
from core.handoffs import relays
from core.models import Conversation, Message, MessageRevision, Participant, Turn, Workspace
from core.open_turns import requeue, stop, withdraw
from core.places import check_asker, find_conversation, find_message, find_turn
from core.purging import Purged
from core.values import Person, Place, Side
from core.workspaces import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deleted message: its Turn, if it had one, and what was purged."""

    turn: Turn | None
    purged: Purged


def edit(session: Session, place: Place, event_id: str, text: str, now: datetime) -> Turn | None:
    """Give the message a new wording and its Turn, if it has one, back to the queue; returns that Turn.

    None: not known, purged, or the wording is the same, as when a platform only adds a preview of a link. Of a person
    who has been blocked since, and while a human has the Conversation, the wording is kept and nothing is answered. What
    will not be answered of a person who opted out is not kept either. What was said in a hand-off is shown to its other
    side as it reads now.
    """
    message = find_message(session, place, event_id)
    if message is None or message.deleted_at is not None:
        return None
    newest = session.get_one(MessageRevision, (message.id, message.revision))
    if newest.text in ("", text):
        return None
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    if turn is not None and _is_handed_off(session, turn):
        turn = None
    to_answer = turn if turn is not None and not _is_blocked(session, turn) else None
    passed_on = message.handoff_id is not None
    if to_answer is None and not passed_on and session.get_one(Participant, message.participant_id).opted_out:
        return None
    message.revision += 1
    session.add(MessageRevision(message_id=message.id, number=message.revision, text=text, created_at=now))
    if passed_on:
        session.flush()
        relays.renew_words(session, [message.id], *Side)
    if to_answer is not None:
        deliveries.take_back(session, to_answer.id, now)
        requeue(session, to_answer, now)
    return to_answer


def delete(session: Session, place: Place, event_id: str, now: datetime, *, gone: bool = False) -> Deleted | None:
    """Purge the message with all that came of it and withdraw its Turn. None: not known.

    The Turn is undelivered until its answers are taken away, unless they are `gone` with all of the channel.
    """
    message = find_message(session, place, event_id)
    if message is None:
        return None
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    purged = purging.purge(session, [message.id], now)
    relays.renew_words(session, [message.id], Side.PERSON)  # of what staff said
    if turn is not None:
        withdraw(session, turn, now)
        if not gone and deliveries.take_back(session, turn.id, now):
            turn.delivered_at = None
    return Deleted(turn, purged)


def cancel(
    session: Session, place: Place, person: Person, turn_id: int, now: datetime, *, moderator: bool = False
) -> Turn:
    """Cancel a queued Turn, or ask the worker of a running one to; an ended one stays as it is.

    Raises NotFound, and NotAllowed for anyone but the asker or a moderator.
    """
    unwanted = purging.lock_unwanted(session, turn_id)
    turn = (
        find_turn(session, place, turn_id, lock=True)
        if moderator
        else check_asker(session, place, person, turn_id, lock=True)
    )
    stop(session, turn, now)
    if turn.delivered_at is not None:  # nobody waits for it any more
        purging.purge(session, unwanted, now)
    return turn


def regenerate(session: Session, place: Place, person: Person, turn_id: int, now: datetime) -> Turn:
    """Put an ended Turn back to the queue for another Generation.

    Raises NotFound, NotAllowed, WordsPurged, Conflict if it is open, HandedOff while a human has the Conversation, and
    AccessDenied where the asker has been blocked since.
    """
    turn = check_asker(session, place, person, turn_id, lock=True)
    if not turn.state.ended:
        raise Conflict(f"Turn {turn_id} is {turn.state}: it is being answered already.")
    if not session.scalar(_words_of(turn.message_id)):
        raise WordsPurged(f"The words of turn {turn_id} are not kept any more.")
    if _is_handed_off(session, turn):
        raise HandedOff
    if _is_blocked(session, turn):
        raise AccessDenied("person")
    requeue(session, turn, now)
    return turn


def reset(session: Session, place: Place) -> None:
    """Start anew: Turns from now on see nothing of what was said before."""
    conversation = find_conversation(session, place)
    if conversation is not None:
        conversation.cut_seq = conversation.reset_seq = conversation.next_seq


def _words_of(message_id: int) -> Select[str]:
    return (
        select(MessageRevision.text)
        .join(Message, and_(Message.id == MessageRevision.message_id, Message.revision == MessageRevision.number))
        .where(Message.id == message_id)
    )


def _is_blocked(session: Session, turn: Turn) -> bool:
    """Whether who asked has been blocked; of roles and categories, a Turn that was taken keeps no note."""
    settings = WorkspaceSettings.of(session.get_one(Workspace, turn.workspace_id).settings)
    return session.get_one(Participant, turn.participant_id).external_id in settings.blocked_users


def _is_handed_off(session: Session, turn: Turn) -> bool:
    """Whether a human has the Conversation; who takes it over waits until this transaction has ended."""
    this = select(Conversation.handed_off).where(Conversation.id == turn.conversation_id)
    return bool(session.scalar(this.with_for_update(read=True)))
