"""A terminal for tests: a screen that remembers, and somebody at the keyboard."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from bots.terminal import chat
from core.service import Service


class Screen(io.StringIO):
    """What was printed, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, words: str) -> int:
        self._written.set()
        return super().write(words)

    async def until(self, words: str, times: int = 1) -> None:
        """Wait for `words` to stand there `times` times."""
        while self.getvalue().count(words) < times:
            self._written.clear()
            await self._written.wait()


@asynccontextmanager
async def chatting(service: Service, screen: Screen, language: str = "en") -> AsyncIterator[PipeInput]:
    """A chat in the default conversation; at the end of the block Ctrl-D is typed and the chat's end awaited."""
    with create_pipe_input() as keys:
        talk = chat(service, model="tiny", language=language, source=keys, prompt_output=DummyOutput(), out=screen)
        task = asyncio.ensure_future(talk)
        try:
            yield keys
            keys.send_text("\x04")
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
