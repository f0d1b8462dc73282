"""Processes that train together agree on who writes and when to stop."""

from __future__ import annotations

import threading

from torch import distributed

from slimpajama.group import Group


def test_the_first_of_several_writes_and_all_decide_by_the_largest() -> None:
    """Two threads with a group of their own stand for processes: Group asks nothing else of torch."""
    store, given = distributed.HashStore(), ([1.0, 5.0], [3.0, 2.0])
    found: dict[int, tuple[bool, list[float]]] = {}

    def run(rank: int) -> None:
        group = Group(distributed.ProcessGroupGloo(store, rank, 2))
        found[rank] = group.first, group.largest(given[rank], "cpu")

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: (True, [3.0, 5.0]), 1: (False, [3.0, 5.0])}


def test_one_alone_is_the_first_and_decides_for_itself() -> None:
    assert Group().first
    assert Group().largest([1.0, 5.0], "cpu") == [1.0, 5.0]
