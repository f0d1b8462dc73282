"""Guarding: what somebody does with a command or button, and that they are told why it cannot be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from bots.slack.people import People
from bots.slack.speaking import Speaker
from bots.texts import sentence_for
from core.errors import PajamaError

log = structlog.get_logger(__name__)


async def guarded(
    speaker: Speaker,
    people: People,
    channel: str,
    user: str,
    work: Callable[[str], Awaitable[None]],
    *,
    thread: str | None = None,
    reply_url: str = "",
) -> None:
    """Do the work in the person's language; whoever asked for what cannot be done is told why, where only they see it.

    `reply_url` is as in `Speaker.only_to`.
    """
    language = await people.language(user)
    try:
        await work(language)
    except PajamaError as error:
        log.info("An interaction was refused.", action="interaction_refused", code=error.code, reason=str(error))
        await speaker.only_to(channel, user, sentence_for(error, language), thread, reply_url=reply_url)
