"""Introductions: who speaks for the first time, or under another name, and where.

Knows the rows of Participants, Workspaces and Conversations. Each is added once, also when several processes meet
somebody in the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.database import insert_new
from core.models import Conversation, Participant, Workspace, tables
from core.values import ContextMessage, InboundMessage, Person

(_PERSON,) = tables(Participant)


def _meet(dialect: Any) -> Any:
    """Adds a Participant, or gives one their new display name; of someone who opted out none is kept."""
    add = dialect.insert(_PERSON)
    renamed = _PERSON.c.display_name.is_distinct_from(add.excluded.display_name)
    return add.on_conflict_do_update(
        index_elements=["platform", "external_id"],
        set_={"display_name": add.excluded.display_name},
        where=and_(renamed, _PERSON.c.opted_out_at.is_(None)),
    )


_MEET = {"sqlite": _meet(sqlite), "postgresql": _meet(postgresql)}


def introduce_person(session: Session, platform: str, person: Person, now: datetime) -> None:
    """Add the Participant if they are new, and take a new display name."""
    row = {"platform": platform, "external_id": person.id, "display_name": person.display_name, "created_at": now}
    session.execute(_MEET[session.get_bind().dialect.name], row)


def introduce(session: Session, message: InboundMessage, beside: Sequence[ContextMessage], now: datetime) -> None:
    """Add the Participants, Workspace and Conversation that are new, and take what has changed of them."""
    place = message.place
    people = {each.person.id: each.person for each in beside} | {message.person.id: message.person}
    for person in sorted(people.values(), key=lambda person: person.id):  # in one order, so that nobody waits in a ring
        introduce_person(session, place.platform, person, now)
    key = {"platform": place.platform, "external_id": place.workspace}
    insert_new(session, Workspace, tuple(key), {**key, "settings": {}, "created_at": now})
    workspace_id = session.scalars(select(Workspace.id).filter_by(**key)).one()
    this = {"workspace_id": workspace_id, "external_id": place.conversation}
    shared = message.shared or any(person_id != message.person.id for person_id in people)
    insert_new(session, Conversation, tuple(this), {**this, "shared": shared, "created_at": now})
    changed: dict[str, object] = {"shared": True} if shared else {}
    if message.channel is not None:
        changed |= {"channel": message.channel}
    if changed:
        session.execute(update(Conversation).filter_by(**this).values(changed))
