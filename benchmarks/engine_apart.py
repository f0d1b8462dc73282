"""A peer in a process of its own, as whoever uses it runs it.

In one process they would hinder each other: OpenMP slows all down once more threads than cores have multiplied
(docs/decisions/0013). Knows processes and pipes; knows no peer.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import structlog
import torch

from benchmarks.engine_jobs import Job, Outcome, Peer

_END_S = 60


class Apart:
    """A peer elsewhere. One thing at a time is asked of it."""

    def __init__(self, name: str, pipe: Connection) -> None:
        self.name, self._pipe = name, pipe

    @classmethod
    @contextmanager
    def of(cls, make: Callable[..., AbstractContextManager[Peer]], *args: Any, **options: Any) -> Iterator[Apart]:
        """The peer that `make` makes there, with as many threads as torch has here. Raises RuntimeError if it cannot."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_run, args=(there, torch.get_num_threads(), make, args, options))
        process.start()
        there.close()
        try:
            yield cls(_said(here, make.__name__), here)
        finally:
            here.close()
            process.join(_END_S)
            process.kill()

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them."""
        outcome: Outcome = self.do(_answer, jobs)
        return outcome

    def do(self, work: Callable[..., Any], *args: Any) -> Any:
        """What `work(peer, *args)` returns there. It is a function of a module, and all can be pickled."""
        self._pipe.send((work, args))
        return _said(self._pipe, self.name)


def _answer(peer: Peer, jobs: Sequence[Job]) -> Outcome:
    return peer.answer(jobs)


def _said(pipe: Connection, name: str) -> Any:
    try:
        return pipe.recv()
    except EOFError as error:
        raise RuntimeError(f"The process of {name} has ended by itself.") from error


def _run(
    pipe: Connection,
    threads: int,
    make: Callable[..., AbstractContextManager[Peer]],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    torch.set_num_threads(threads)
    with make(*args, **options) as peer:
        pipe.send(peer.name)
        while True:
            try:
                work, given = pipe.recv()
            except EOFError:  # nobody asks any more
                return
            pipe.send(work(peer, *given))
