"""Rows become packed batches; what cannot be used is counted and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard

from slimpajama.data import (
    IGNORED,
    BadRows,
    Document,
    Packer,
    chat_document,
    document,
    find_sources,
    read_rows,
    text_document,
)
from slimpajama.errors import DataError

Write = Callable[[Path, list[Any]], Path]


def test_bad_rows_are_counted_and_the_first_is_named(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "x-000.jsonl.zst"
    lines = (
        b'{"text": "good"}',
        b"{broken",
        b"\xff\xfe",
        b"[1]",
        b"{broken",
        b'{"text": 3}',
        b'{"text": "\\ud83d\\ude00"}',
    )
    path.write_bytes(zstandard.compress(b"\n".join(lines)))
    bad = BadRows()
    documents = [text_document(row, tokenizer, bad) for row in read_rows(path, bad)]
    assert [found is not None for found in documents] == [True, False, True]
    assert bad.counts == {"not JSON": 2, "not UTF-8": 1, "not an object": 1, "no text": 1}
    assert "2 × not JSON (first: x-000.jsonl.zst:2)" in str(bad)
    assert "1 × no text (first: x-000.jsonl.zst:6)" in str(bad)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "lone \\ud800 surrogate"}', "half a character"),
        (b'{"text": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"text": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "not JSON"),
    ],
)
def test_what_python_cannot_take_is_a_bad_row(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x-000.jsonl.zst"
    path.write_bytes(zstandard.compress(line + b'\n{"text": "good"}\n'))
    bad = BadRows()
    assert [row["text"] for row in read_rows(path, bad)] == ["good"]
    assert str(bad) == f"1 × {reason} (first: x-000.jsonl.zst:1)"


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_shard_that_is_cut_off_is_refused(tmp_path: Path, write_rows: Write, kept: float) -> None:
    path = write_rows(tmp_path / "x-000.jsonl.zst", [{"text": f"row {i}"} for i in range(2000)])
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(DataError, match=r"x-000\.jsonl\.zst cannot be read.*cut off"):
        list(read_rows(path, BadRows()))


def test_a_shard_of_several_frames_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x-000.jsonl.zst"
    path.write_bytes(zstandard.compress(b'{"text": "on') + zstandard.compress(b'e"}\n{"text": "two"}'))
    assert [row["text"] for row in read_rows(path, BadRows())] == ["one", "two"]


def test_a_file_that_is_not_packed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-000.jsonl.zst"
    path.write_bytes(b'{"text": "plain"}\n')
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(path, BadRows()))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file"):
        find_sources(tmp_path / "pretrain", "*.jsonl.zst")


def test_files_are_found_by_source_and_held_out_ones_left_out(tmp_path: Path, write_rows: Write) -> None:
    for name in ("wiki-000", "wiki-001", "stories-000", "heldout-en", "chat-squad2.train"):
        write_rows(tmp_path / f"{name}.jsonl.zst", [{"text": "a"}])
    found = find_sources(tmp_path, "*.jsonl.zst")
    assert {name: len(paths) for name, paths in found.items()} == {"stories": 1, "wiki": 2, "chat-squad2": 1}


def test_only_what_the_assistant_says_is_learned(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "The cat?"}, {"role": "assistant", "content": "It <|im_end|> sat."}]
    found = chat_document({"messages": messages}, tokenizer, 256, BadRows())
    assert found is not None
    learned = [i for i, yes in zip(found.ids, found.learned, strict=True) if yes]
    assert tokenizer.decode(learned) == "It <|im_end|> sat.<|im_end|>"
    assert learned.count(tokenizer.eos_token_id) == 1


def test_a_conversation_has_the_ids_of_the_chat_template(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": " Be kind.\n"},
        {"role": "user", "content": "\n\nHello 42"},
        {"role": "assistant", "content": "你好\n"},
    ]
    found = chat_document({"messages": messages}, tokenizer, 256, BadRows())
    rendered = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert found is not None
    assert found.ids == rendered["input_ids"]
    assert found.learned == [bool(mark) for mark in rendered["assistant_masks"]]


def test_a_conversation_is_cut_after_a_turn(tokenizer: Any) -> None:
    messages = [{"role": ("user", "assistant")[i % 2], "content": "cat " * 10} for i in range(8)]
    whole = chat_document({"messages": messages}, tokenizer, 10_000, BadRows())
    assert whole is not None
    pair = len(whole.ids) // 4
    cut = chat_document({"messages": messages}, tokenizer, 2 * pair + 5, BadRows())
    assert cut is not None
    assert cut.ids == whole.ids[: 2 * pair]


@pytest.mark.parametrize("messages", [None, [], "hello", [{"role": "user"}], [{"content": 1, "role": "user"}]])
def test_a_row_without_messages_is_noted(tokenizer: Any, messages: object) -> None:
    bad = BadRows()
    assert document({"messages": messages, "src": "x", "task": "grounded"}, tokenizer, 64, bad) is None
    assert bad.counts == {"no messages": 1}


def test_passages_stand_in_either_part(tokenizer: Any) -> None:
    def rendered(question: str) -> str:
        messages = [
            {"role": "system", "content": "Passage: cats sit."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": "Yes."},
        ]
        found = document({"messages": messages, "task": "grounded", "lang": "en"}, tokenizer, 256, BadRows())
        assert found is not None
        return str(tokenizer.decode(found.ids))

    moved = {"<|im_start|>system" not in rendered(f"Do {i} cats sit?") for i in range(20)}
    assert moved == {True, False}
    assert any("cats sit.\n\nQuestion: Do" in rendered(f"Do {i} cats sit?") for i in range(20))


def test_documents_are_split_over_rows_or_stay_whole() -> None:
    def documents() -> Iterator[Document]:
        for start in range(10, 1000, 10):
            size = 3 + start // 10 % 5
            yield Document(list(range(start, start + size)), [False] + [True] * (size - 1))

    split = Packer(8, split=True).batch(documents(), 4)
    assert split.input_ids.flatten().tolist()[:10] == [10, 11, 12, 13, 20, 21, 22, 23, 24, 30]
    assert split.position_ids[0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert split.labels[0].tolist() == [IGNORED, 11, 12, 13, IGNORED, 21, 22, 23]
    whole = Packer(8, split=False).batch(documents(), 20)
    begins = (whole.position_ids == 0) & (whole.input_ids != 0)
    assert all(i % 10 == 0 for i in whole.input_ids[begins].tolist())
    assert (whole.labels[whole.input_ids == 0] == IGNORED).all()
    assert (whole.input_ids == 0).float().mean() < 0.2


def test_a_packer_goes_on_where_it_stood() -> None:
    def documents(begin: int) -> Iterator[Document]:
        return (Document([i] * (i % 5 + 2), [True] * (i % 5 + 2)) for i in range(begin, 500))

    for split in (True, False):
        straight, first, second = (Packer(8, split=split) for _ in range(3))
        source = documents(0)
        expected = torch.cat([straight.batch(source, 5).input_ids, straight.batch(source, 5).input_ids])
        source = documents(0)
        begun = first.batch(source, 5).input_ids
        second.restore(first.state())
        assert torch.equal(torch.cat([begun, second.batch(source, 5).input_ids]), expected)
