"""How a hand-off reads: what the person is told, what staff are shown, and asking, claiming, answering, releasing.

Knows the Service and the catalogue; knows no platform. What is brought to whom, and when, is in `relaying`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from bots.splitting import split
from bots.texts import sentence_for, text
from core.errors import PajamaError
from core.handoffs.relays import Taken
from core.handoffs.transcripts import Line, Speaker
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import HandoffReason, HandoffRequest, HandoffState, RelayKind, ReleaseCause, Side, Staff
from core.workspaces import WorkspaceSettings

if TYPE_CHECKING:
    from bots.commands import Asker

log = structlog.get_logger(__name__)

AMONG_STAFF = "//"
"""What staff begin with this stays among them."""

_QUOTED_CHARS = 300
_TRANSCRIPT_FILE = "transcript.txt"


class Button(StrEnum):
    """What staff may press below the notice."""

    CLAIM = "claim"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Post:
    """One message of a hand-off. `notice`: it stands in staff's channel itself, and what follows belongs below it."""

    text: str
    file: tuple[str, bytes] | None = None
    buttons: tuple[Button, ...] = ()
    notice: bool = False


# What people and staff do


async def ask(service: Service, asker: Asker, reason: str) -> str:
    """Ask for a human, or tell the one who is asked for already; what the person is told. Raises PajamaError."""
    requested = await service.handoffs.request(
        HandoffRequest(
            place=asker.place,
            person=asker.person,
            event_id=asker.event_id,
            text=reason,
            turn_id=asker.about,
            language=asker.language,
            target=asker.target,
            shared=asker.shared,
            channel=asker.channel,
            category=asker.category,
            roles=asker.roles,
        )
    )
    view = await service.handoffs.handoff(requested.handoff_id)
    if view.claimed:
        return text("handoff_claimed", asker.language, name=staff_name(view.staff, asker.language))
    settings = await service.workspace_settings(asker.place)
    if not settings.staffed:
        log.warning(
            "A human is asked for where nobody is told.", action="handoff_unstaffed", place=asker.place.workspace
        )
    return asked(settings, asker.language, again=not requested.new, now_there=_there(settings, view))


def asked(settings: WorkspaceSettings, language: str, *, again: bool = False, now_there: bool = True) -> str:
    """What somebody is told who waits for a human."""
    if not settings.staffed:
        return text("handoff_unstaffed", language)
    if not now_there:
        return settings.handoff_away_message or text("handoff_away", language, hours=settings.handoff_hours or "")
    return text("handoff_requested_already" if again else "handoff_requested", language)


def _there(settings: WorkspaceSettings, view: HandoffView) -> bool:
    return settings.somebody_there(view.requested_at)


async def press(service: Service, view: HandoffView, button: Button, staff: Staff) -> str:
    """Claim or release; what whoever pressed is told. Raises PajamaError."""
    if button is Button.CLAIM:
        await service.handoffs.claim(view.place, view.handoff_id, staff)
        return text("handoff_is_yours", view.staff_language, name=person_name(view))
    await service.handoffs.release(view.place, view.handoff_id, staff)
    return text("handoff_is_over", view.staff_language)


async def answer(service: Service, view: HandoffView, staff: Staff, event_id: str, words: str) -> str | None:
    """Bring the person what staff wrote, unless it is among themselves; why not, where that cannot be."""
    if words.startswith(AMONG_STAFF):
        return None
    try:
        await service.handoffs.staff_says(view.place, view.handoff_id, staff, event_id, words)
    except PajamaError as error:
        log.info(
            "Staff's words are not passed on.", action="reply_refused", handoff_id=view.handoff_id, code=error.code
        )
        return sentence_for(error, view.staff_language)
    return None


# What is shown


def posts(
    taken: Taken, view: HandoffView, settings: WorkspaceSettings, lines: Iterable[Line], link: str, max_chars: int
) -> list[Post]:
    """The messages that show what is to be brought; none where there is nothing to show, or nothing any more."""
    if taken.kind is RelayKind.WORDS:
        return [Post(piece) for piece in split(_words(taken, view), max_chars)] if taken.words else []
    if taken.side is Side.PERSON:
        sentence = to_person(taken.kind, view, settings, view.language)
        return [Post(piece) for piece in split(sentence, max_chars)]
    if taken.kind is RelayKind.NOTICE:
        return _notice(view, list(lines), link, max_chars)
    return _to_staff(taken.kind, view, list(lines), max_chars)


def to_person(kind: RelayKind, view: HandoffView, settings: WorkspaceSettings, language: str) -> str:
    """What the person is told of a change; nothing where they have just done it themselves."""
    if kind is RelayKind.REQUESTED:
        sentences = (
            text(f"handoff_called_{view.why}", language),
            asked(settings, language, now_there=_there(settings, view)),
        )
        return "\n".join(sentences)
    if kind is RelayKind.CLAIMED:
        return text("handoff_claimed", language, name=staff_name(view.staff, language))
    if kind is RelayKind.UNREACHABLE:
        return text("handoff_unreachable", language)
    if view.cause in (ReleaseCause.RESET, ReleaseCause.FORGOTTEN):
        return ""
    if view.cause is ReleaseCause.TIMEOUT:
        return text("handoff_nobody_came" if view.claimed_at is None else "handoff_ended_in_silence", language)
    return text("handoff_released", language, name=staff_name(view.released_by or view.staff, language))


def standing(view: HandoffView, settings: WorkspaceSettings, language: str) -> str:
    """How it stands for the person, where that is shown instead of told; nothing where they ended it themselves."""
    if view.claimed:
        return to_person(RelayKind.CLAIMED, view, settings, language)
    if not view.open:
        return to_person(RelayKind.RELEASED, view, settings, language)
    if view.why is HandoffReason.REQUEST:
        return asked(settings, language, now_there=_there(settings, view))
    return to_person(RelayKind.REQUESTED, view, settings, language)


def _words(taken: Taken, view: HandoffView) -> str:
    """What somebody said, under their name."""
    if not taken.staff:
        name = taken.speaker or text("handoff_somebody", view.staff_language)
        return text("handoff_words", view.staff_language, name=name, words=taken.words)
    language = view.language if taken.side is Side.PERSON else view.staff_language
    name = taken.speaker or text("handoff_staff", language)
    return text("handoff_words_of_staff", language, name=name, words=taken.words)


def _notice(view: HandoffView, lines: list[Line], link: str, max_chars: int) -> list[Post]:
    """What staff's channel shows: who, why, where, what was said before, and who has it.

    Of a long transcript the newest words; it stands below as a file.
    """
    language = view.staff_language
    said = transcript(lines, language)
    head = [text(f"handoff_notice_{view.why}", language, name=person_name(view))]
    if link:
        head.append(text("handoff_where", language, link=link))
    foot = _state(view, language)
    notice = Post("\n".join([*head, quoted(said), foot]), buttons=_BUTTONS.get(view.state, ()), notice=True)
    if len(notice.text) <= max_chars // 2:
        return [notice]
    newest = next((line.text for line in reversed(lines) if line.speaker is Speaker.PERSON), "")
    short = "\n".join([*head, quoted(shortened(newest, _QUOTED_CHARS)), foot])
    return [replace(notice, text=short), _transcript_file(said, "handoff_said_before", language)]


_BUTTONS = {HandoffState.REQUESTED: (Button.CLAIM,), HandoffState.CLAIMED: (Button.RELEASE,)}


def _state(view: HandoffView, language: str) -> str:
    if view.open and view.claimed:
        return text("handoff_state_claimed", language, name=staff_name(view.staff, language))
    if view.open:
        return text("handoff_state_requested", language)
    return _ended(view, language)


def _ended(view: HandoffView, language: str) -> str:
    by = staff_name(view.released_by, language)
    return text(f"handoff_ended_{view.cause}", language, **({"name": by} if view.cause is ReleaseCause.STAFF else {}))


def _to_staff(kind: RelayKind, view: HandoffView, lines: list[Line], max_chars: int) -> list[Post]:
    """What stands below the notice when something has changed."""
    language = view.staff_language
    if kind is RelayKind.UNDELIVERED:
        return [Post(text("handoff_undelivered", language, name=person_name(view)))]
    if kind is RelayKind.RELEASED:
        return [Post(_ended(view, language))]
    names = {"name": staff_name(view.staff, language), "person": person_name(view), "mark": AMONG_STAFF}
    told = text("handoff_begin", language, **names)
    said = transcript(lines, language)
    if not said:
        return [Post(told)]
    whole = "\n".join([told, text("handoff_said_since", language), quoted(said)])
    if len(whole) <= max_chars // 2:
        return [Post(whole)]
    return [Post(told), _transcript_file(said, "handoff_said_since", language)]


def _transcript_file(said: str, caption: str, language: str) -> Post:
    return Post(text(caption, language), (_TRANSCRIPT_FILE, said.encode()))


def transcript(lines: Iterable[Line], language: str) -> str:
    """What was said, a paragraph a speaker."""
    return "\n".join(f"{_speaker(line, language)}: {line.text}" for line in lines)


def _speaker(line: Line, language: str) -> str:
    if line.speaker is Speaker.ASSISTANT:
        return text("handoff_assistant", language)
    return line.name or text("handoff_staff" if line.speaker is Speaker.STAFF else "handoff_somebody", language)


def person_name(view: HandoffView) -> str:
    """How the person is called, for staff."""
    return view.person.display_name or text("handoff_somebody", view.staff_language)


def staff_name(staff: Staff | None, language: str) -> str:
    """How one of staff is called."""
    return (staff.person.display_name if staff else None) or text("handoff_staff", language)


def shortened(words: str, most: int) -> str:
    """`words`, or their beginning."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def quoted(words: str) -> str:
    """`words` as a quotation; nothing stays nothing."""
    return "\n".join(f"> {line}" for line in words.splitlines())
