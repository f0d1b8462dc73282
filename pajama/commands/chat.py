"""`pajama chat`: a conversation in the terminal, on the stack that runs here or on one of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.status import Status

from core.errors import AnswerFailed
from core.history import TurnView
from core.redis import connect
from core.settings import Settings
from core.values import TurnState
from pajama.commands.up import WORKER_TIMEOUT_S
from pajama.console import err, print_json, settings_of
from pajama.stack import Stack, find_running, ready_workers


def interactive(conversation: str) -> None:
    """Talk until Ctrl-D."""
    from bots.terminal import chat
    from core.service import open_service

    with _stack() as (settings, model):

        async def talk() -> None:
            async with open_service(settings) as service:
                await chat(service, model=model, conversation=conversation, language=language())

        asyncio.run(talk())


def once(typed: str, conversation: str, *, as_json: bool) -> None:
    """Say one thing and print the answer. Exit code 1 where there is none."""
    from bots.terminal import ask_once
    from core.service import open_service

    with _stack() as (settings, _):

        async def ask() -> TurnView | str:
            async with open_service(settings) as service:
                return await ask_once(service, typed, conversation, language())

        answered = asyncio.run(ask())
    if isinstance(answered, str):
        sys.stdout.write(answered + "\n")
        return
    if answered.state is not TurnState.DONE or answered.answer is None:
        from bots.texts import failure_sentence

        raise AnswerFailed(failure_sentence(answered.failure, language()))
    if as_json:
        print_json(_as_json(answered))
    else:
        from bots.terminal.screen import printable

        sys.stdout.write(printable(answered.answer.text) + "\n")


def _as_json(turn: TurnView) -> dict[str, object]:
    assert turn.answer is not None
    return {
        "turn": turn.turn_id,
        "text": turn.answer.text,
        "model": turn.answer.model,
        "usage": turn.answer.usage.model_dump(),
        "timings_ms": turn.answer.timings_ms,
    }


@contextmanager
def _stack() -> Iterator[tuple[Settings, str]]:
    """Settings of a running stack and the name of its model; a stack of our own where none runs."""
    # Answers go to standard output; a chat is no place for a log.
    settings = settings_of("chat", **({} if os.environ.get("PAJAMA_LOG_LEVEL") else {"log_level": "WARNING"}))
    running = find_running(settings.data_dir)
    if running is not None:
        filled = {"redis_url": running.redis_url, "database_url": running.database_url}
        yield settings.model_copy(update=filled), settings.model
        return
    if settings.redis_url and _has_worker(settings):
        yield settings, settings.model
        return
    stack = Stack(settings, web=False)
    with Status("Loading the model …", console=err) if err.is_terminal else nullcontext():
        stack.start()
        try:
            info = stack.wait_for_worker(WORKER_TIMEOUT_S)
        except BaseException:
            stack.stop()
            raise
    try:
        yield stack.settings, info["model"]
    finally:
        stack.stop()


def _has_worker(settings: Settings) -> bool:
    with connect(settings.redis_url) as client:
        return bool(ready_workers(client, settings.redis_prefix))


def language() -> str:
    """The language of whoever sits here."""
    return (os.environ.get("LC_ALL") or os.environ.get("LANG") or "en").split(".")[0]
