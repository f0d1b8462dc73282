"""The conversation in a terminal: read a line, answer it, until Ctrl-D. Ctrl-C stops the answer that is written."""

from __future__ import annotations

import asyncio
import io
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from bots import commands
from bots.commands import Answering, Asker, Explained, Told
from bots.delivery import deliver
from bots.terminal.screen import TerminalSink, earlier, explained
from bots.texts import sentence_for, text
from core.errors import PajamaError
from core.history import TurnView
from core.service import Service
from core.values import Person, Place

_EARLIER_TURNS = 5


def local_asker(conversation: str, language: str) -> Asker:
    """Whoever sits at this machine, about to say something new."""
    place = Place(platform="terminal", workspace="local", conversation=conversation)
    return Asker(place=place, person=Person(id="local"), event_id=secrets.token_hex(12), language=language)


async def ask_once(service: Service, typed: str, conversation: str = "main", language: str = "en") -> TurnView | str:
    """Say one thing and wait for the end: the ended Turn, or what a command told. Raises PajamaError."""
    outcome = await commands.handle(service, typed, local_asker(conversation, language))
    if isinstance(outcome, Told):
        return outcome.text
    if isinstance(outcome, Explained):
        return explained(outcome.explanation, language, color=False)
    return await deliver(service, outcome.turn, _Silent())


async def chat(
    service: Service,
    *,
    model: str,
    conversation: str = "main",
    language: str = "en",
    source: Input | None = None,
    prompt_output: Output | None = None,
    out: TextIO = sys.stdout,
) -> None:
    """Talk until Ctrl-D. What was said before in this conversation is shown first."""
    out.write(text("terminal_welcome", language, model=model) + "\n")
    await _show_earlier(service, conversation, language, out)
    completer = WordCompleter([f"/{name}" for name in commands.COMMANDS], sentence=True)
    session: PromptSession[str] = PromptSession(completer=completer, input=source, output=prompt_output)
    while True:
        try:
            typed = await session.prompt_async("> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        if typed.strip():
            await _answer(service, typed, local_asker(conversation, language), out)
    out.write(text("terminal_bye", language) + "\n")


async def _answer(service: Service, typed: str, asker: Asker, out: TextIO) -> None:
    try:
        outcome = await commands.handle(service, typed, asker)
        if isinstance(outcome, Answering):
            await _stream(service, outcome.turn, asker, out)
        elif isinstance(outcome, Explained):
            out.write(explained(outcome.explanation, asker.language, color=out.isatty()))
        else:
            out.write(outcome.text)
    except PajamaError as error:
        out.write(sentence_for(error, asker.language))
    out.write("\n\n")
    out.flush()


async def _stream(service: Service, turn: TurnView, asker: Asker, out: TextIO) -> None:
    """Print the answer as it comes. Ctrl-C asks core to stop it, and what there is of it stays."""
    stopping: list[asyncio.Task[object]] = []

    def stop() -> None:
        stopping.append(asyncio.ensure_future(service.cancel(asker.place, asker.person, turn.turn_id)))

    with _on_interrupt(stop):
        await deliver(service, turn, TerminalSink(out))
    await asyncio.gather(*stopping)


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on Ctrl-C, where the event loop can be told of signals."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _show_earlier(service: Service, conversation: str, language: str, out: TextIO) -> None:
    """Show the last turns; what is still being answered is waited for, what nobody saw is noted as seen."""
    asker = local_asker(conversation, language)
    turns = await service.history(asker.place, limit=_EARLIER_TURNS)
    for turn in turns:
        if turn.delivered_at is None:
            await deliver(service, turn, _Silent())
    if turns:
        seen = await service.history(asker.place, limit=_EARLIER_TURNS)
        out.write(earlier(seen, language, color=out.isatty()) + "\n\n")
        out.flush()


class _Silent(TerminalSink):
    """Takes an answer without printing it; whoever asked gets it whole."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
