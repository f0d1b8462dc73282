"""The sample collection: questions about Pajama itself, in English and Chinese, for a newcomer to try."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.faq import collections
from core.faq.entry import Entry
from core.faq.files import form_of, read_bytes
from core.faq.models import FaqCollection

NAME = "pajama"
_LANGUAGES = {"en.md": "en", "zh.md": "zh-CN"}


def entries() -> list[Entry]:
    """Every entry of the sample."""
    found: list[Entry] = []
    for name, language in _LANGUAGES.items():
        content = files(__name__).joinpath(name).read_bytes()
        found += read_bytes(content, form_of(name), name, language=language)
    return found


def install(session: Session, now: datetime) -> bool:
    """Bring the sample in for every Workspace, unless it was ever there: who removed it is not given it again."""
    there = session.scalar(
        select(FaqCollection.id).where(
            FaqCollection.workspace_id.is_(None), or_(FaqCollection.name == NAME, FaqCollection.name.like(f"{NAME}~%"))
        )
    )
    if there is not None:
        return False
    collection = collections.create(session, NAME, None, now, language="en")
    collections.upsert(session, collection, entries(), now)
    return True
