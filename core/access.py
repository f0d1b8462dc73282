"""Access: who is answered in a Workspace, and how often in a day.

Knows the Workspace's settings and counts Turns; knows no platform. Nobody passes an empty list by, so that a
Workspace where nothing is set answers everyone. A day is one of UTC.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from core.errors import AccessDenied, QuotaUsed
from core.models import Turn, Workspace, tables
from core.values import InboundMessage
from core.workspaces import WorkspaceSettings


def check(settings: WorkspaceSettings, message: InboundMessage) -> None:
    """Raises AccessDenied where the settings let this person, or anyone in this channel, not be answered."""
    if not may_speak(settings, message.person.id, message.roles):
        raise AccessDenied("person")
    if not may_be_in(settings, message.channel, message.category):
        raise AccessDenied("channel")


def may_speak(settings: WorkspaceSettings, person_id: str, roles: tuple[str, ...]) -> bool:
    """Whether a person is answered: never where blocked; else by their id or by one of their roles."""
    if person_id in settings.blocked_users:
        return False
    if not settings.allowed_users and not settings.allowed_roles:
        return True
    return person_id in settings.allowed_users or not set(roles).isdisjoint(settings.allowed_roles)


def may_be_in(settings: WorkspaceSettings, channel: str | None, category: str | None) -> bool:
    """Whether anyone is answered in a channel: by the channel's id or by its category's."""
    if not settings.allowed_channels and not settings.allowed_categories:
        return True
    return channel in settings.allowed_channels or category in settings.allowed_categories


# Built once: putting a statement together costs more than SQLite takes to run it.
_TURN, _WORKSPACE = tables(Turn, Workspace)
_TODAY = (_TURN.c.workspace_id == bindparam("of_workspace"), _TURN.c.queued_at >= bindparam("since"))
_OF_ALL = select(func.count()).select_from(_TURN).where(*_TODAY)
_OF_PERSON = _OF_ALL.where(_TURN.c.participant_id == bindparam("of_person"))
# By which quotas are set: the person's, the Workspace's.
_USED = {
    (True, False): _OF_PERSON,
    (False, True): _OF_ALL,
    (True, True): select(_OF_PERSON.scalar_subquery(), _OF_ALL.scalar_subquery()),
}
_LOCK = select(_WORKSPACE.c.id).where(_WORKSPACE.c.id == bindparam("of_workspace")).with_for_update(key_share=True)


def wait_in_line(session: Session, settings: WorkspaceSettings, workspace_id: int | None) -> bool:
    """Where a quota is set, let only one message of the Workspace in at a time, or two would both be the day's last.

    Before any other row is locked. False where nobody was waited for: on SQLite whoever writes is alone already.
    """
    bounded = settings.turns_per_person_per_day is not None or settings.turns_per_day is not None
    if not bounded or session.get_bind().dialect.name == "sqlite":
        return False
    session.execute(_LOCK, {"of_workspace": workspace_id})
    return True


def check_quota(
    session: Session, settings: WorkspaceSettings, workspace_id: int | None, participant_id: int | None, now: datetime
) -> None:
    """Count the day's Turns, where a quota is set; who is not known yet has none. Raises QuotaUsed."""
    per_person, per_workspace = settings.turns_per_person_per_day, settings.turns_per_day
    if per_person is None and per_workspace is None:
        return
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = {"of_workspace": workspace_id, "of_person": participant_id, "since": today}
    used = session.execute(_USED[per_person is not None, per_workspace is not None], bounds).one()
    for limit, count in zip(filter(None, (per_person, per_workspace)), used, strict=True):
        if count >= limit:
            raise QuotaUsed(limit, math.ceil((today + timedelta(days=1) - now) / timedelta(hours=1)))
