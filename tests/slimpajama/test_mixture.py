"""A mixture gives each source its share, and goes on where it stood."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import zstandard

from slimpajama import mixture as module
from slimpajama.data import BadRows, find_sources
from slimpajama.errors import DataError
from slimpajama.mixture import Mixture, Rows, planned

Write = Callable[[Path, list[Any]], Path]


def test_every_source_that_the_shipped_mixture_names_is_spelled_as_found(tmp_path: Path) -> None:
    plan = tomllib.loads((Path(module.__file__).parent / "mixture.toml").read_text(encoding="utf-8"))
    for part, file in (("pretrain", "{}-000.jsonl.zst"), ("sft", "{}.train.jsonl.zst")):
        folder = tmp_path / part
        folder.mkdir()
        for name in plan[part]:
            (folder / file.format(name)).touch()
        assert set(find_sources(folder, "*.jsonl.zst")) == set(plan[part])


def test_a_mixture_gives_each_source_its_share_of_the_bytes(tmp_path: Path, write_rows: Write) -> None:
    sources = {
        name: Rows([write_rows(tmp_path / f"{name}.jsonl.zst", [{"text": name * size} for _ in range(7)])], BadRows())
        for name, size in (("a", 10), ("b", 40), ("c", 20))
    }
    rows = list(islice(Mixture(sources, {"a": 1, "b": 3}), 200))
    sizes = {name: sum(len(str(row)) for row in rows if row["text"][0] == name) for name in sources}
    assert sizes["c"] == 0
    assert sizes["b"] / sizes["a"] == pytest.approx(3, rel=0.1)


def test_the_instruct_phase_keeps_some_text(tmp_path: Path, write_rows: Write) -> None:
    for name in ("pretrain/a-000", "pretrain/b-000", "sft/chat-c.train"):
        write_rows(tmp_path / f"{name}.jsonl.zst", [{}])
    text, both = (planned(tmp_path, instruct=instruct)[1] for instruct in (False, True))
    assert text == {"a": 0.5, "b": 0.5}
    assert both == pytest.approx({"a": 0.075, "b": 0.075, "chat-c": 0.85})


def test_a_mixture_goes_on_where_it_stood(tmp_path: Path, write_rows: Write) -> None:
    sources = {
        name: Rows(
            [write_rows(tmp_path / f"{name}.jsonl.zst", [{"text": f"{name}{i}"} for i in range(count)])], BadRows()
        )
        for name, count in (("a", 3), ("b", 5))
    }

    def mixture() -> Mixture[dict[str, Any]]:
        return Mixture(sources, {"a": 1, "b": 2})

    straight, first, second = mixture(), mixture(), mixture()
    expected = list(islice(straight, 30))
    begun = list(islice(first, 11))
    second.restore(first.state())
    assert begun + list(islice(second, 19)) == expected


def test_a_source_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(b"broken\n"))
    with pytest.raises(DataError, match="no usable row"):
        next(iter(Mixture({"a": Rows([path], BadRows())}, {"a": 1})))
