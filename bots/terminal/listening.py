"""Listening: prints what a human says, and how a hand-off stands, above the prompt while somebody may be typing there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

from prompt_toolkit.application import in_terminal

from bots import handoff, talking
from bots.talking import Heard, plain
from bots.terminal.screen import printable
from bots.texts import text
from core.errors import ServiceUnavailable
from core.handoffs.transcripts import Line, Speaker
from core.service import Service
from core.tasks import end
from core.values import HandoffReason, HandoffState, Place


class Listener:
    """One per chat. Nothing is printed while `quiet` is held: an answer is being written then."""

    def __init__(self, service: Service, place: Place, language: str, out: TextIO) -> None:
        self._service, self._place, self._language, self._out = service, place, language, out
        self._heard: Heard | None = None
        self._seq = 0
        self.quiet = asyncio.Lock()

    async def run(self) -> None:
        """Listen without end; where SQL cannot be used, later again."""
        while True:
            try:
                async for heard in talking.listen(self._service, self._place, self._seq):
                    await self._print(await self._news(heard))
                    self._heard, self._seq = heard, max((line.seq for line in heard.lines), default=self._seq)
            except ServiceUnavailable:
                await asyncio.sleep(talking.POLL_S)

    async def _news(self, heard: Heard) -> list[str]:
        """What is not there yet: at first what the hand-off is about, later not what was typed here."""
        view, first = heard.view, self._heard is None
        if view is None:
            return []
        shown = [line for line in heard.lines if line.speaker is Speaker.STAFF or first]
        said = [self._words(line) for line in shown if line.said_at >= view.requested_at]
        told_already = view.state is HandoffState.REQUESTED and view.why is HandoffReason.REQUEST
        if (self._stands(heard) == self._stands(self._heard)) or (told_already and not first):
            return said
        settings = await self._service.workspace_settings(self._place)
        sentence = plain(handoff.standing(view, settings, self._language))
        # Who has it is told before what they say, and who gave it back after it.
        return [sentence, *said] if view.claimed else [*said, sentence]

    @staticmethod
    def _stands(heard: Heard | None) -> tuple[int, HandoffState] | None:
        return (heard.view.handoff_id, heard.view.state) if heard is not None and heard.view is not None else None

    def _words(self, line: Line) -> str:
        if line.speaker is Speaker.PERSON:
            return f"> {printable(line.text)}"
        name = line.name or text("handoff_staff", self._language)
        return plain(text("handoff_words_of_staff", self._language, name=printable(name), words="")) + printable(
            line.text
        )

    async def _print(self, paragraphs: list[str]) -> None:
        if not any(paragraphs):
            return
        async with self.quiet, in_terminal():
            self._out.write("\n".join(printable(each) for each in paragraphs if each) + "\n\n")
            self._out.flush()


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[None]:
    """Have it listen during the block."""
    task = asyncio.create_task(listener.run(), name="listen")
    try:
        yield
    finally:
        await end(task)
