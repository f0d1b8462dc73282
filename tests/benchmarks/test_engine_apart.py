"""A peer in a process of its own answers there, and its end is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from benchmarks.engine_apart import Apart
from benchmarks.engine_jobs import Job, Outcome


class Counting:
    """Says when nothing takes time."""

    name = "counting"

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        return Outcome(1.0, [[float(i) for i in range(job.tokens)] for job in jobs])


@contextmanager
def counting() -> Iterator[Counting]:
    yield Counting()


@contextmanager
def failing() -> Iterator[Counting]:
    raise SystemExit(3)
    yield


def place(peer: Counting) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def leave(peer: Counting) -> None:
    os._exit(3)


def test_it_answers_elsewhere_with_as_many_threads() -> None:
    with Apart.of(counting) as peer:
        assert peer.name == "counting"
        assert peer.answer([Job((1, 2), 3)]).rate == 3
        pid, threads = peer.do(place)
    assert pid != os.getpid() and threads == torch.get_num_threads()


def test_a_peer_that_cannot_be_made_or_ends_by_itself_is_told() -> None:
    with pytest.raises(RuntimeError, match="The process of failing has ended by itself"), Apart.of(failing):
        pass
    with Apart.of(counting) as peer, pytest.raises(RuntimeError, match="The process of counting has ended by itself"):
        peer.do(leave)
