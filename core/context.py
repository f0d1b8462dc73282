"""Context: messages that are read beside the one to answer. They are stored as Messages without a Turn.

Knows rows. Each stands in its Conversation once, however often a platform shows it; edits, deletes and forgetting
reach them as they reach every Message.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.models import Conversation, Message, MessageRevision, Participant, Workspace, tables
from core.values import ContextMessage, InboundMessage

_MESSAGE, _REVISION = tables(Message, MessageRevision)
_PERSON, _CONVERSATION, _WORKSPACE = tables(Participant, Conversation, Workspace)

_KNOWN = select(_MESSAGE.c.external_id).where(
    _MESSAGE.c.conversation_id == bindparam("of_conversation"),
    _MESSAGE.c.external_id.in_(bindparam("events", expanding=True)),
)
_PEOPLE = (
    select(_PERSON.c.external_id, _PERSON.c.id)
    .select_from(_CONVERSATION)
    .join(_WORKSPACE, _WORKSPACE.c.id == _CONVERSATION.c.workspace_id)
    .join(_PERSON, _PERSON.c.platform == _WORKSPACE.c.platform)
    .where(
        _CONVERSATION.c.id == bindparam("of_conversation"),
        _PERSON.c.external_id.in_(bindparam("people", expanding=True)),
        _PERSON.c.opted_out_at.is_(None),
    )
)
_ADD = {
    name: dialect.insert(_MESSAGE)
    .on_conflict_do_nothing(index_elements=["conversation_id", "external_id"])
    .returning(_MESSAGE.c.id)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}
_ADD_REVISION = insert(_REVISION)


def news(session: Session, conversation_id: int | None, message: InboundMessage) -> list[ContextMessage]:
    """What of the message's context its Conversation does not hold yet, in order, each once."""
    given = {each.event_id: each for each in message.context if each.event_id != message.event_id}
    if not given or conversation_id is None:
        return list(given.values())
    values = {"of_conversation": conversation_id, "events": list(given)}
    known = set(session.scalars(_KNOWN, values))
    return [each for event_id, each in given.items() if event_id not in known]


def add(
    session: Session, conversation_id: int, messages: Sequence[ContextMessage], first_seq: int, now: datetime
) -> None:
    """Store `messages` from `first_seq` on; who said them is known. What is stored meanwhile stays as it is.

    Of people who opted out nothing is stored.
    """
    ids = {"of_conversation": conversation_id, "people": list({each.person.id for each in messages})}
    people: dict[str, int] = {row.external_id: row.id for row in session.execute(_PEOPLE, ids)}
    add_message: Any = _ADD[session.get_bind().dialect.name]
    for seq, message in enumerate(messages, first_seq):
        if message.person.id not in people:
            continue
        row = {
            "conversation_id": conversation_id,
            "participant_id": people[message.person.id],
            "seq": seq,
            "external_id": message.event_id,
            "created_at": now,
        }
        message_id = session.scalar(add_message, row)
        if message_id is not None:
            revision = {"message_id": message_id, "number": 1, "text": message.text, "created_at": now}
            session.execute(_ADD_REVISION, revision)
