"""`pajama privacy`: what a person may ask about their own words, asked by whoever runs Pajama; and retention now."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import archive, privacy, retention
from core.copies import drop_copies
from core.database import Database
from core.errors import DatabaseUnavailable, NotFound, SettingsError
from core.handoffs import states
from core.models import Message
from core.places import find_participant
from core.purging import Purged
from core.redis import connect, translated
from core.settings import Settings
from core.values import Person, Place, Platform
from pajama.commands.database import absent
from pajama.console import err, out, print_json, settings_of
from pajama.running import find_running

T = TypeVar("T")


def show(platform: str, person: str, *, as_json: bool) -> None:
    """What is kept of a person, in numbers."""
    place, who = _asked(platform, person)
    settings = _settings()
    told = _read(settings, lambda session: _shown(session, place, who, settings.retention_days))
    _print(told, as_json=as_json)


def _shown(session: Session, place: Place, who: Person, default_days: int) -> dict[str, Any]:
    participant = _known(session, place, who)
    kept = select(func.count()).where(Message.participant_id == participant.id, Message.deleted_at.is_(None))
    return {
        "platform": place.platform,
        "person": who.id,
        "display_name": participant.display_name,
        "opted_out": participant.opted_out,
        "messages": session.scalar(kept),
        "retention_days": default_days or None,
    }


def export(platform: str, person: str, path: Path | None) -> None:
    """Everything of a person, on standard output or in a new file that only its owner can read."""
    from bots.privacy import document
    from bots.terminal.files import create

    place, who = _asked(platform, person)

    def read(session: Session) -> dict[str, Any]:
        _known(session, place, who)
        return archive.export(session, place.platform, who.id, datetime.now(UTC))

    exported = document(_read(_settings(), read))
    if path is None:
        sys.stdout.write(exported.decode())
        return
    try:
        create(path, exported)
    except OSError as error:
        raise SettingsError(f"--out: {path} cannot be written: {error.strerror}.") from error
    err.print(f"Saved as {path}.", markup=False)


def forget(platform: str, person: str, *, as_json: bool) -> None:
    """Purge every word of a person and print the counts. Raises NotFound."""
    place, who = _asked(platform, person)
    settings = _settings()
    _read(settings, lambda session: _known(session, place, who))
    if settings.redis_url:
        forgotten = asyncio.run(_forget(settings, place, who))
    else:
        _write(settings, lambda session: _end_handoffs_in_sql(session, place, who))
        forgotten = _write(settings, lambda session: _forget_in_sql(session, place, who))
        err.print("There is no Redis here: what is left in its streams ends by itself.", markup=False)
    _print(_counts(forgotten.purged), as_json=as_json)


async def _forget(settings: Settings, place: Place, who: Person) -> privacy.Forgotten:
    from core.service import open_service

    async with open_service(settings) as service:
        forgotten = await service.privacy.forget(place, who)
    assert forgotten is not None  # they were known a moment ago
    return forgotten


def _end_handoffs_in_sql(session: Session, place: Place, who: Person) -> None:
    states.release_of_person(session, _known(session, place, who).id, datetime.now(UTC))


def _forget_in_sql(session: Session, place: Place, who: Person) -> privacy.Forgotten:
    return privacy.forget(session, _known(session, place, who).id, datetime.now(UTC))


def opt(platform: str, person: str, *, out_of_it: bool, as_json: bool) -> None:
    """Keep none of a person's words from now on, or keep them again; they need not have been seen before."""
    place, who = _asked(platform, person)
    now = datetime.now(UTC)
    _write(_settings(), lambda session: privacy.opt(session, place.platform, who.id, out=out_of_it, now=now))
    _print({"platform": platform, "person": person, "opted_out": out_of_it}, as_json=as_json)


def purge(*, as_json: bool) -> None:
    """Purge everything that is older than it may be kept, and print the counts."""
    settings = _settings()
    database = _database(settings)
    total = Purged()
    for purged in retention.purge_old(database, settings.retention_days, datetime.now(UTC)):
        total += Purged(purged.messages, purged.answers, purged.comments)
        if settings.redis_url:
            _drop_copies(settings, purged)
    database.close()
    _print(_counts(total), as_json=as_json)


def _drop_copies(settings: Settings, purged: Purged) -> None:
    with translated(), connect(settings.redis_url) as client, client.pipeline() as pipeline:
        drop_copies(pipeline, settings.redis_prefix, settings.stream_ttl_s, purged)
        if len(pipeline):
            pipeline.execute(raise_on_error=False)


def _counts(purged: Purged) -> dict[str, Any]:
    return {"messages": purged.messages, "answers": purged.answers, "comments": purged.comments}


def _asked(platform: str, person: str) -> tuple[Place, Person]:
    """The person, and a place on their platform: what is asked here is not about one of them. Raises SettingsError."""
    if platform not in get_args(Platform):
        raise SettingsError(f"--platform is {platform!r}; it should be one of {', '.join(get_args(Platform))}.")
    return Place(platform=cast(Platform, platform), workspace="-", conversation="-"), Person(id=person)


def _known(session: Session, place: Place, who: Person) -> Any:
    participant = find_participant(session, place.platform, who.id)
    if participant is None:
        raise NotFound(f"{who.id} was never seen on {place.platform}.")
    return participant


def _settings() -> Settings:
    """The settings, with the database and Redis of the stack that runs here, if one does."""
    settings = settings_of("privacy")
    running = find_running(settings.data_dir)
    if running is None:
        return settings
    return settings.model_copy(update={"redis_url": running.redis_url, "database_url": running.database_url})


def _database(settings: Settings) -> Database:
    missing = absent(settings.effective_database_url)
    if missing:
        raise DatabaseUnavailable(missing)
    return Database(settings.effective_database_url)


def _read(settings: Settings, function: Callable[[Session], T]) -> T:
    database = _database(settings)
    with database.read() as session:
        found = function(session)
    database.close()
    return found


def _write(settings: Settings, function: Callable[[Session], T]) -> T:
    database = _database(settings)
    with database.write() as session:
        done = function(session)
    database.close()
    return done


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        shown = "-" if value is None else ("no", "yes")[value] if isinstance(value, bool) else value
        out.print(f"{name}: {shown}", markup=False)
