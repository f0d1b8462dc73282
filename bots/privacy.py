"""How privacy reads: what is kept, what was forgotten, a person's own words as a file; and whose words may be quoted."""

from __future__ import annotations

import json
from typing import Any

from bots.texts import text
from core.errors import WordsUnwanted
from core.privacy import Forgotten, PrivacyNotice
from core.purging import Purged
from core.service import Service
from core.values import Person, Place


def notice(told: PrivacyNotice, language: str) -> str:
    """What is kept, for how long, and how to change it."""
    lines = [
        text("privacy_what", language),
        text("privacy_days", language, days=told.retention_days)
        if told.retention_days
        else text("privacy_no_end", language),
        text("privacy_is_out" if told.opted_out else "privacy_is_in", language),
        text("privacy_how", language),
    ]
    return "\n\n".join(lines)


def forgotten(what: Forgotten | None, language: str) -> str:
    """What was purged."""
    purged = what.purged if what else Purged()
    counts = {"messages": purged.messages, "answers": purged.answers, "comments": purged.comments}
    return text("privacy_forgotten", language, **counts)


def file_name(exported: dict[str, Any]) -> str:
    """The name of an export: the platform and the second, without a word of the person."""
    moment = "".join(c for c in str(exported["exported_at"])[:19] if c.isdigit())
    return f"pajama-{exported['platform']}-{moment}.json"


def document(exported: dict[str, Any]) -> bytes:
    """An export as it is handed over: JSON that people can read as well."""
    return (json.dumps(exported, ensure_ascii=False, indent=2) + "\n").encode()


async def check_quoting(service: Service, place: Place, author: Person, asker: Person) -> None:
    """Raises WordsUnwanted where somebody who opted out would have their words kept as those of who asks about them."""
    if author.id != asker.id and (await service.privacy.notice(place, author)).opted_out:
        raise WordsUnwanted
