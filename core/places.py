"""Places: which Conversation, Message or Turn a Place names, and which Participant somebody on a platform is.

Reads and locks. What is looked for from a place or a Workspace is never found in another.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotAllowed, NotFound
from core.models import Conversation, Message, Participant, Turn, Workspace
from core.values import Person, Place


def find_conversation(session: Session, place: Place) -> Conversation | None:
    """The Conversation at `place`, if anything was said there."""
    return session.scalar(
        select(Conversation)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(
            Workspace.platform == place.platform,
            Workspace.external_id == place.workspace,
            Conversation.external_id == place.conversation,
        )
    )


def find_message(session: Session, place: Place, event_id: str) -> Message | None:
    """The message, locked: whoever changes one locks it before its Turn, so that edits, deletes and forgetting wait."""
    conversation = find_conversation(session, place)
    if conversation is None:
        return None
    return session.scalar(
        select(Message)
        .where(Message.conversation_id == conversation.id, Message.external_id == event_id)
        .with_for_update()
    )


def find_turn(session: Session, place: Place, turn_id: int, *, lock: bool = False) -> Turn:
    """The Turn, if it belongs to the Conversation at `place`. Raises NotFound."""
    conversation = find_conversation(session, place)
    turn = session.get(Turn, turn_id, with_for_update=lock or None)
    if conversation is None or turn is None or turn.conversation_id != conversation.id:
        raise NotFound(f"There is no turn {turn_id} in this conversation.")
    return turn


def find_participant(session: Session, platform: str, person_id: str) -> Participant | None:
    """The Participant, if they were ever seen on this platform."""
    return session.scalar(
        select(Participant).where(Participant.platform == platform, Participant.external_id == person_id)
    )


def check_asker(session: Session, place: Place, person: Person, turn_id: int, *, lock: bool = False) -> Turn:
    """The Turn, which this person asked. Raises NotFound, NotAllowed."""
    turn = find_turn(session, place, turn_id, lock=lock)
    asker = find_participant(session, place.platform, person.id)
    if asker is None or asker.id != turn.participant_id:
        raise NotAllowed("Only the person who asked may do that.")
    return turn


def of_event(session: Session, platform: str, workspace: str, event_id: str) -> list[Place]:
    """Every Conversation of the Workspace that holds the message of this event, as its own or for context."""
    found = session.scalars(
        select(Conversation.external_id)
        .join(Message, Message.conversation_id == Conversation.id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Message.external_id == event_id, Workspace.platform == platform, Workspace.external_id == workspace)
        .order_by(Conversation.id)
    )
    keys = {"platform": platform, "workspace": workspace}
    return [Place.model_validate({**keys, "conversation": conversation}) for conversation in found]


def asked_events(session: Session, platform: str, workspace: str, event_ids: Collection[str]) -> set[str]:
    """Those of these events whose message asked something: it has a Turn, whatever became of it."""
    found = session.scalars(
        select(Message.external_id)
        .join(Turn, Turn.message_id == Message.id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Message.external_id.in_(event_ids), Workspace.platform == platform, Workspace.external_id == workspace)
    )
    return {event_id for event_id in found if event_id is not None}
