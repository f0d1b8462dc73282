"""What is shown of hand-offs: how each stands, whose it is, and which are open.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, or_, select, text
from sqlalchemy.orm import Session, aliased

from core.errors import NotFound
from core.handoffs.models import Handoff
from core.models import Conversation, Participant, Turn, Workspace
from core.values import HandoffReason, HandoffState, Person, Place, ReleaseCause, Staff
from core.workspaces import WorkspaceSettings


@dataclass(frozen=True, slots=True)
class HandoffView:
    """One hand-off. `person` is who needs a human, `staff` who has or had it, `released_by` who gave it back.

    `staff_language` is what staff of the Workspace are addressed in. Times are UTC.
    """

    handoff_id: int
    place: Place
    state: HandoffState
    why: HandoffReason
    person: Person
    staff: Staff | None
    released_by: Staff | None
    cause: ReleaseCause | None
    turn_id: int | None
    language: str
    staff_language: str
    channel: str | None
    target: dict[str, Any]
    staff_channel: str | None
    notice_id: str | None
    from_seq: int
    opened_seq: int
    claimed_seq: int | None
    requested_at: datetime
    claimed_at: datetime | None
    released_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state is not HandoffState.RELEASED

    @property
    def claimed(self) -> bool:
        """Whether a human has the Conversation now."""
        return self.state is HandoffState.CLAIMED


_ASKER, _CLAIMER, _RELEASER = aliased(Participant), aliased(Participant), aliased(Participant)
_OPEN = text("handoff.state != 'released'")
_VIEWS = (
    select(Handoff, Workspace, Conversation, _ASKER, _CLAIMER, _RELEASER)
    .join(Workspace, Workspace.id == Handoff.workspace_id)
    .join(Conversation, Conversation.id == Handoff.conversation_id)
    .join(_ASKER, _ASKER.id == Handoff.participant_id)
    .outerjoin(_CLAIMER, _CLAIMER.id == Handoff.claimed_by)
    .outerjoin(_RELEASER, _RELEASER.id == Handoff.released_by)
)


def handoff_view(session: Session, handoff_id: int) -> HandoffView:
    """The hand-off, wherever it is. Raises NotFound."""
    row = session.execute(_VIEWS.where(Handoff.id == handoff_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no hand-off {handoff_id}.")
    return _view(row)


def newest_view(session: Session, place: Place) -> HandoffView | None:
    """The newest hand-off of a Conversation, open or not."""
    here = Workspace.platform == place.platform, Workspace.external_id == place.workspace
    this = _VIEWS.where(*here, Conversation.external_id == place.conversation)
    row = session.execute(this.order_by(Handoff.id.desc()).limit(1)).one_or_none()
    return _view(row) if row is not None else None


def standing_view(session: Session, place: Place) -> HandoffView | None:
    """The Conversation's hand-off since its reset that is open, or has ended and nothing was asked since."""
    here = Workspace.platform == place.platform, Workspace.external_id == place.workspace
    asked_since = exists().where(Turn.conversation_id == Conversation.id, Turn.queued_at > Handoff.released_at)
    stands = or_(_OPEN, ~asked_since), Handoff.from_seq >= Conversation.reset_seq
    this = _VIEWS.where(*here, Conversation.external_id == place.conversation, *stands)
    row = session.execute(this.order_by(Handoff.id.desc()).limit(1)).one_or_none()
    return _view(row) if row is not None else None


def noticed_view(session: Session, platform: str, workspace: str, notice_id: str) -> HandoffView | None:
    """The hand-off that staff are told of by this message."""
    here = Workspace.platform == platform, Workspace.external_id == workspace
    row = session.execute(_VIEWS.where(*here, Handoff.notice_id == notice_id).limit(1)).one_or_none()
    return _view(row) if row is not None else None


def open_views(
    session: Session, platform: str | None = None, workspace: str | None = None, limit: int = 200
) -> list[HandoffView]:
    """Hand-offs that are open, the longest waiting first; of one platform, and of one Workspace of it."""
    found = _VIEWS.where(_OPEN)
    if platform is not None:
        found = found.where(Workspace.platform == platform)
    if workspace is not None:
        found = found.where(Workspace.external_id == workspace)
    return [_view(row) for row in session.execute(found.order_by(Handoff.id).limit(limit))]


def _view(row: Any) -> HandoffView:
    handoff, workspace, conversation, asker, claimer, releaser = row
    settings = WorkspaceSettings.of(workspace.settings)
    place = {"platform": workspace.platform, "workspace": workspace.external_id}
    return HandoffView(
        handoff_id=handoff.id,
        place=Place.model_validate({**place, "conversation": conversation.external_id}),
        state=handoff.state,
        why=handoff.why,
        person=Person(id=asker.external_id, display_name=asker.display_name),
        staff=_staff(claimer),
        released_by=_staff(releaser),
        cause=handoff.cause,
        turn_id=handoff.turn_id,
        language=handoff.language,
        staff_language=settings.language or handoff.language,
        channel=conversation.channel,
        target=handoff.target,
        staff_channel=handoff.staff_channel,
        notice_id=handoff.notice_id,
        from_seq=handoff.from_seq,
        opened_seq=handoff.opened_seq,
        claimed_seq=handoff.claimed_seq,
        requested_at=handoff.requested_at,
        claimed_at=handoff.claimed_at,
        released_at=handoff.released_at,
    )


def _staff(participant: Participant | None) -> Staff | None:
    if participant is None:
        return None
    person = {"id": participant.external_id, "display_name": participant.display_name}
    return Staff.model_validate({"platform": participant.platform, "person": person})
