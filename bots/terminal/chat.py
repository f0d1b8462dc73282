"""The conversation in a terminal: read a line, answer it, until Ctrl-D. Ctrl-C stops the answer that is written."""

from __future__ import annotations

import asyncio
import io
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from bots import commands
from bots.answers import choices_of
from bots.commands import Answering, Asker, Call, Explained, Exported, Outcome, PassedOn, Told
from bots.delivery import deliver
from bots.terminal.files import saved
from bots.terminal.listening import Listener, listening
from bots.terminal.screen import TerminalSink, earlier, explained, printable, said
from bots.texts import negotiate, sentence_for, text
from core.errors import PajamaError
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import Person, Place, TurnState

_EARLIER_TURNS = 5


def local_asker(conversation: str, language: str) -> Asker:
    """Whoever sits at this machine, which is theirs, about to say something new."""
    place = Place(platform="terminal", workspace="local", conversation=conversation)
    person, event_id = Person(id="local"), secrets.token_hex(12)
    return Asker(place=place, person=person, event_id=event_id, language=negotiate([language]), admin=True)


async def ask_once(
    service: Service, typed: str | Call, conversation: str = "main", language: str = "en"
) -> TurnView | str:
    """Say one thing and wait for the end: the ended Turn, or what a command told. Raises PajamaError.

    A command may be given as a Call: then its text is a text, whatever it begins with.
    """
    outcome = await _handle(service, typed, local_asker(conversation, language))
    if isinstance(outcome, Told):
        return outcome.text
    if isinstance(outcome, Explained):
        return explained(outcome.explanation, language, color=False)
    if isinstance(outcome, Exported):
        return saved(outcome, language)
    if isinstance(outcome, PassedOn):
        return text("handoff_passed_on", language)
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
    """Talk until Ctrl-D. What was said before in this conversation is shown first. Raises PajamaError."""
    out.write(text("terminal_welcome", language, model=printable(model)) + "\n")
    await _show_earlier(service, conversation, language, out)
    completer = WordCompleter([f"/{name}" for name in commands.COMMANDS], sentence=True)
    new_session = partial(PromptSession[str], completer=completer, input=source, output=prompt_output)
    session = new_session()
    listener = Listener(service, local_asker(conversation, language).place, negotiate([language]), out)
    async with listening(listener):
        while True:
            try:
                # What fails elsewhere in the loop is logged; it does not ask who types here to press a key.
                typed = await session.prompt_async("> ", set_exception_handler=False)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            if typed.strip():
                async with listener.quiet:
                    outcome = await answer(service, typed, local_asker(conversation, language), out)
                if isinstance(outcome, Told) and outcome.forgotten:
                    session = new_session()  # the keys bring back nothing of before
    out.write(text("terminal_bye", language) + "\n")


async def answer(service: Service, typed: str, asker: Asker, out: TextIO) -> Outcome | None:
    """Do what was typed and print what comes of it, refusals and outages as sentences."""
    outcome: Outcome | None = None
    try:
        outcome = await _handle(service, typed, asker)
        if isinstance(outcome, Answering):
            await stream(service, outcome.turn, asker, out)
        elif isinstance(outcome, Explained):
            out.write(explained(outcome.explanation, asker.language, color=out.isatty()))
        elif isinstance(outcome, Exported):
            out.write(saved(outcome, asker.language))
        elif isinstance(outcome, PassedOn):
            out.write(text("handoff_passed_on", asker.language))
        else:
            out.write(outcome.text)
    except PajamaError as error:
        out.write(sentence_for(error, asker.language))
    out.write("\n\n")
    out.flush()
    return outcome


async def _handle(service: Service, typed: str | Call, asker: Asker) -> Outcome:
    """Do what was typed; a number alone chooses from what the last answer offers. Raises PajamaError."""
    if isinstance(typed, Call):
        return await commands.run(service, typed, asker)
    if typed.strip().isdecimal() and (turn := await service.latest_turn(asker.place)) is not None:
        offered = choices_of(turn)
        if 0 < int(typed) <= len(offered):
            return await commands.choose(service, turn, offered[int(typed) - 1].entry_id, asker)
    return await commands.handle(service, typed, asker)


async def stream(service: Service, turn: TurnView, asker: Asker, out: TextIO) -> None:
    """Print the answer as it comes. Ctrl-C asks core to stop it; a second one lets go of an answer that does not end.

    Raises PajamaError.
    """
    ahead = await service.queue_position(turn.turn_id)
    if ahead:
        out.write(text("ahead", asker.language, count=ahead) + "\n")
        out.flush()
    delivering = asyncio.ensure_future(deliver(service, turn, TerminalSink(out)))
    stopping: list[asyncio.Task[TurnState]] = []

    def interrupt() -> None:
        if stopping:
            delivering.cancel()
        stopping.append(asyncio.ensure_future(service.cancel(asker.place, asker.person, turn.turn_id)))

    try:
        with _on_interrupt(interrupt):
            await asyncio.wait({delivering})
        await asyncio.gather(*stopping)
    finally:
        await end(delivering)
    if delivering.cancelled():
        out.write("\n" + text("terminal_let_go", asker.language))
    else:
        delivering.result()


@contextmanager
def _on_interrupt(call: Callable[[], None]) -> Iterator[None]:
    """Call `call` on Ctrl-C, where the event loop can be told of signals."""
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    try:
        loop.add_signal_handler(signal.SIGINT, call)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)  # `asyncio.run` has one of its own


async def _show_earlier(service: Service, conversation: str, language: str, out: TextIO) -> None:
    """Show the last turns and note what nobody saw as seen; what is still being answered is streamed."""
    asker = local_asker(conversation, language)
    turns = await service.history(asker.place, limit=_EARLIER_TURNS)
    ended = [turn for turn in turns if turn.state.ended]
    for turn in ended:
        if turn.delivered_at is None:
            await deliver(service, turn, _Silent())
    if ended:
        out.write(earlier(ended, asker.language, color=out.isatty()) + "\n\n")
    for turn in turns:
        if not turn.state.ended:
            out.write(f"> {said(turn, language)}\n")
            await stream(service, turn, asker, out)
            out.write("\n\n")
    out.flush()


class _Silent(TerminalSink):
    """Takes an answer without printing it; whoever asked gets it whole."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
