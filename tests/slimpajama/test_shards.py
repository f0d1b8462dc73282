"""What is tokenised once is read again as it was, from any position."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimpajama import shards
from slimpajama.data import BadRows, Document, document
from slimpajama.errors import DataError
from slimpajama.shards import Shards, Shelf

Open = Callable[..., Shards]


@pytest.fixture
def source(tmp_path: Path) -> list[Path]:
    """Two files of rows, of which some cannot be used."""
    paths = []
    for number in range(2):
        lines = [
            json.dumps(row)
            for i in range(6)
            for row in ({"text": f"Sheep {number}{i} sleeps. " * (i + 1), "src": "x"}, {"text": None, "src": "x"})
        ]
        paths.append(tmp_path / f"sheep-00{number}.jsonl.zst")
        paths[-1].write_bytes(zstandard.compress(("\n".join([*lines, "{broken"])).encode()))
    return paths


@pytest.fixture
def opened(tmp_path: Path, source: list[Path], tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr(shards, "SHARD_BYTES", 150)

    def make(bad: BadRows | None = None, key: str = "k", encoded: list[Any] | None = None) -> Shards:
        def encode(row: dict[str, Any], noted: BadRows) -> Document | None:
            if encoded is not None:
                encoded.append(row)
            return document(row, tokenizer, 64, noted)

        return Shards(source, Shelf(tmp_path / "tokens", encode, key, len(tokenizer)), bad or BadRows())

    return make


def read(opened: Shards, position: int = 0) -> list[tuple[int, Document]]:
    return list(opened.read(position))


def test_documents_are_those_of_the_rows(opened: Open, tokenizer: Any) -> None:
    found = read(opened())
    rows = [{"text": f"Sheep {number}{i} sleeps. " * (i + 1)} for number in range(2) for i in range(6)]
    assert [each for _, each in found] == [document(row, tokenizer, 64, BadRows()) for row in rows]
    assert all(size > len(row["text"]) for (size, _), row in zip(found, rows, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(position=st.integers(0, 13), stopped=st.integers(0, 13))
def test_reading_goes_on_from_any_position(opened: Open, position: int, stopped: int) -> None:
    begun = opened().read(0)
    for _ in range(stopped):  # a run that was killed has made some of the shards
        next(begun, None)
    assert read(opened(), position) == read(opened())[position:]


def test_a_row_is_tokenised_once(opened: Open) -> None:
    encoded: list[Any] = []
    first = read(opened(encoded=encoded))
    assert len(encoded) == 24
    assert read(opened(encoded=encoded)) == first
    assert len(encoded) == 24


def test_a_short_run_tokenises_only_what_it_needs(opened: Open) -> None:
    encoded: list[Any] = []
    next(opened(encoded=encoded).read(0))
    assert 0 < len(encoded) < 8


def test_another_tokenizer_or_file_makes_other_shards(opened: Open, source: list[Path]) -> None:
    read(opened())
    encoded: list[Any] = []
    read(opened(key="other", encoded=encoded))
    assert len(encoded) == 24
    source[1].write_bytes(zstandard.compress(b'{"text": "new"}'))
    assert len(read(opened(key="other", encoded=encoded))) == 7
    assert len(encoded) == 25


def test_bad_rows_are_told_once_whether_they_were_read_or_known(opened: Open) -> None:
    for _ in range(2):
        bad = BadRows()
        known = opened(bad)
        assert read(known, 3) == read(known)[3:]
        assert bad.counts == {"no text": 12, "not JSON": 2}
        assert "2 × not JSON (first: sheep-000.jsonl.zst:13)" in str(bad)


def test_a_shard_that_was_not_finished_does_not_count(opened: Open, tmp_path: Path) -> None:
    expected = read(opened())
    for path in sorted((tmp_path / "tokens").glob("*.npy"))[:2]:
        path.unlink()
    assert read(opened()) == expected


def test_many_tokens_need_wider_numbers(tmp_path: Path, source: list[Path]) -> None:
    wide = Document([40_000, 1], [False, True])
    shelf = Shelf(tmp_path / "wide", lambda row, bad: wide, "k", 50_000)
    assert read(Shards(source[:1], shelf, BadRows()))[0][1] == wide


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, lambda row, bad: None, "k", 10)
    with pytest.raises(DataError, match="gone"):
        read(Shards([tmp_path / "gone"], shelf, BadRows()))
