"""`pajama chat`: a conversation in the terminal, on the stack that runs here or on one of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rich.status import Status

from core.errors import AlreadyRunning, AnswerFailed, QueueUnavailable
from core.history import TurnView
from core.presence import ready_workers
from core.redis import connect
from core.settings import Settings
from core.values import TurnState
from pajama.console import err, print_json, settings_of
from pajama.running import Running, find_running
from pajama.stack import Stack

if TYPE_CHECKING:
    from bots.commands import Call

T = TypeVar("T")

_OTHER_START_S = 30.0
_LOOK_EVERY_S = 0.5


def interactive(conversation: str) -> None:
    """Talk until Ctrl-D."""
    from bots.terminal import chat
    from core.service import open_service

    with _stack() as place:

        async def talk() -> None:
            async with open_service(place.settings) as service:
                await chat(service, model=place.model, conversation=conversation, language=language())

        asyncio.run(_while_it_runs(place, talk()))


def task(name: str, text: str, *, as_json: bool, **arguments: str | None) -> None:
    """Put one text to the recipe `name` and print the answer. Exit code 1 where there is none."""
    from bots.commands import Call

    given = {option: value for option, value in arguments.items() if value}
    once(Call(name, {"text": text, **given}), name, as_json=as_json)


def once(typed: str | Call, conversation: str, *, as_json: bool) -> None:
    """Say one thing and print the answer. Exit code 1 where there is none."""
    from bots.terminal import ask_once
    from core.service import open_service

    with _stack() as place:

        async def ask() -> TurnView | str:
            async with open_service(place.settings) as service:
                return await ask_once(service, typed, conversation, language())

        answered = asyncio.run(_while_it_runs(place, ask()))
    if isinstance(answered, str):
        _print({"text": answered} if as_json else answered)
        return
    if answered.state is not TurnState.DONE or answered.answer is None:
        from bots.texts import failure_sentence, text

        stopped = answered.state is TurnState.CANCELLED
        raise AnswerFailed(text("stopped", language()) if stopped else failure_sentence(answered.failure, language()))
    from bots.answers import shown

    _print(_as_json(answered) if as_json else shown(answered))


def _print(answer: dict[str, object] | str) -> None:
    from bots.terminal.screen import printable

    if isinstance(answer, str):
        sys.stdout.write(printable(answer) + "\n")
    else:
        print_json(answer)


def _as_json(turn: TurnView) -> dict[str, object]:
    assert turn.answer is not None
    return {
        "turn": turn.turn_id,
        "text": turn.answer.text,
        "faq": asdict(turn.answer.finding) if turn.answer.finding is not None else None,
        "model": turn.answer.model,
        "usage": turn.answer.usage.model_dump(),
        "timings_ms": turn.answer.timings_ms,
    }


@dataclass(frozen=True, slots=True)
class _Answering:
    """Where answers come from. `running` is somebody else's stack, which ends when they want."""

    settings: Settings
    model: str
    running: Running | None = None


@contextmanager
def _stack() -> Iterator[_Answering]:
    """The stack that runs here or the given Redis with its workers, else a stack of our own."""
    # Answers go to standard output; a chat is no place for a log.
    settings = settings_of("chat", **({} if os.environ.get("PAJAMA_LOG_LEVEL") else {"log_level": "WARNING"}))
    there = _somebody_elses(settings)
    if there is not None:
        yield there
        return
    stack = Stack(settings, web=False)
    with Status("Loading the model …", console=err) if err.is_terminal else nullcontext():
        try:
            stack.start()
        except AlreadyRunning as error:  # it was started just now, and says in a moment where it is
            there = _wait_for_other(settings, error)
        else:
            there = _ready(stack)
    try:
        yield there
    finally:
        stack.stop()


def _somebody_elses(settings: Settings) -> _Answering | None:
    running = find_running(settings.data_dir)
    if running is None and not settings.redis_url:
        return None
    if running is not None:
        filled = {"redis_url": running.redis_url, "database_url": running.database_url}
        settings = settings.model_copy(update=filled)
    with connect(settings.redis_url) as client:
        workers = ready_workers(client, settings.redis_prefix)
    if running is None and not workers:
        return None
    return _Answering(settings, workers[0].model if workers else settings.model, running)


def _wait_for_other(settings: Settings, error: AlreadyRunning) -> _Answering:
    deadline = time.monotonic() + _OTHER_START_S
    while time.monotonic() < deadline:
        there = _somebody_elses(settings)
        if there is not None:
            return there
        time.sleep(0.05)
    raise error


def _ready(stack: Stack) -> _Answering:
    try:
        info = stack.wait_until_ready()
    except BaseException:
        stack.stop()
        raise
    assert info is not None  # nothing but Ctrl-C ends the wait
    return _Answering(stack.settings, info.model)


async def _while_it_runs(place: _Answering, talk: Coroutine[Any, Any, T]) -> T:
    """What `talk` returns. Raises QueueUnavailable when somebody else's stack ends before it."""
    talking = asyncio.ensure_future(talk)
    try:
        while not talking.done():
            await asyncio.wait({talking}, timeout=_LOOK_EVERY_S if place.running else None)
            if place.running and not talking.done() and find_running(place.settings.data_dir) != place.running:
                raise QueueUnavailable(
                    "The Pajama that answered was stopped; what you said is answered when it runs again."
                )
        return talking.result()
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


def language() -> str:
    """The language of whoever sits here."""
    return (os.environ.get("LC_ALL") or os.environ.get("LANG") or "en").split(".")[0]
