"""An answer is split at the platform's limit as a careful person would split it."""

from __future__ import annotations

import re

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from bots.splitting import ended, split

LIMIT = 100

FAMILY = "👨‍👩‍👧‍👦"
PIECES = st.sampled_from(
    [
        *(
            "a",
            " ",
            "\n",
            "\n\n",
            "word ",
            "End. ",
            "好",
            "你好，",
            "世界。",
            FAMILY,
            "🇨🇳",
            "e\u0301",
            " \u0301",
            "\u202e",
        ),
        *(
            "```\n",
            "```py\n",
            "\n```\n",
            "\n````md\n",
            "\n````\n",
            "\n~~~\n",
            "\n  ```js\n",
            "\n  ```\n",
            "`",
            "x" * 70,
        ),
        *("https://example.org/a-long/path?with=query ", "[label with words](https://example.org) "),
    ]
)
TEXTS = st.lists(PIECES, max_size=120).map("".join)
PLAIN_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`~")) | TEXTS.map(
    lambda text: re.sub("[`~]", "", text)
)
LIMITS = st.integers(64, 300)
ENDING = "(The rest is in the file.)"


def without_space(text: str) -> str:
    return re.sub(r"\s", "", text)


def without_fences(text: str) -> str:
    """What is left of `text` when the markers of fences, their languages and all white space are taken away.

    Languages are those of `PIECES`: what follows any other marker there begins a new line.
    """
    return re.sub("py|md|js", "", re.sub("[`~]", "", without_space(text)))


class TestEveryText:
    @given(TEXTS, LIMITS)
    def test_no_chunk_is_longer_than_the_limit_or_blank(self, text: str, limit: int) -> None:
        assert all(0 < len(chunk) <= limit and chunk.strip() for chunk in split(text, limit))

    @given(PLAIN_TEXTS, LIMITS)
    def test_nothing_is_lost_or_added_where_there_is_no_fence(self, text: str, limit: int) -> None:
        assert without_space("".join(split(text, limit))) == without_space(text)

    @given(TEXTS, LIMITS)
    def test_nothing_but_fence_lines_is_added_or_lost(self, text: str, limit: int) -> None:
        assert without_fences("".join(split(text, limit))) == without_fences(text)

    @given(PLAIN_TEXTS, LIMITS)
    def test_no_cut_is_within_what_a_reader_sees_as_one_character(self, text: str, limit: int) -> None:
        whole = {cluster for cluster in regex.findall(r"\X", text) if len(cluster) < 10}
        at = 0
        for chunk in split(text, limit)[:-1]:
            at = text.index(chunk, at) + len(chunk)
            around = next(m for m in regex.finditer(r"\X", text) if m.end() >= at)
            assert around.end() == at or around[0] not in whole

    @given(TEXTS, LIMITS)
    def test_chunks_before_the_last_stay_while_the_text_grows(self, text: str, limit: int) -> None:
        before: list[str] = []
        for end in range(len(text) + 1):
            now = split(text[:end], limit)
            assert now[: len(before) - 1] == before[:-1]
            assert len(now) >= len(before)
            before = now

    @given(TEXTS, LIMITS)
    def test_every_fence_that_a_chunk_before_the_last_opens_is_closed_in_it(self, text: str, limit: int) -> None:
        for chunk in split(text, limit)[:-1]:
            assert open_fence(chunk) is None

    @given(TEXTS, st.integers(64 + len(ENDING) + 2, 300))
    def test_the_last_chunk_that_is_shown_can_say_where_the_rest_is(self, text: str, limit: int) -> None:
        for chunk in split(text, limit)[:-1]:
            last = ended(chunk, limit, ENDING)
            assert len(last) <= limit and last.endswith(f"\n\n{ENDING}")
            kept = last.removesuffix(ENDING)
            assert kept.strip() and without_fences(chunk).startswith(without_fences(kept))
            assert open_fence(kept) is None


def open_fence(chunk: str) -> str | None:
    """The marker of the fence that is open at the end, read line by line."""
    marker = None
    for line in chunk.split("\n"):
        match = re.fullmatch(r"[ \t]{0,8}(`{3,8}|~{3,8})(?![`~])([^`]*)", line)
        if match and marker is None:
            marker = match[1]
        elif match and marker is not None and match[1].startswith(marker) and not match[2].strip():
            marker = None
    return marker


class TestPlaces:
    def test_a_short_text_is_one_chunk(self) -> None:
        assert split("hello", LIMIT) == ["hello"]

    def test_a_blank_text_is_no_chunk(self) -> None:
        assert split(" \n", LIMIT) == split("", None) == []

    def test_without_a_limit_the_text_is_whole(self) -> None:
        assert split("x" * 10_000, None) == ["x" * 10_000]

    def test_ten_thousand_letters_without_space_fill_their_chunks(self) -> None:
        chunks = split("x" * 10_000, 2000)
        assert "".join(chunks) == "x" * 10_000
        assert len(chunks) == 6

    @pytest.mark.parametrize(
        ("border", "after"),
        [
            ("\n\n", "lines\nand. more "),
            ("\n", "sentences. and "),
            (". ", "words, and "),
            ("。", "词，还有"),
            (" ", ""),
        ],
    )
    def test_the_best_border_is_taken(self, border: str, after: str) -> None:
        first = "a" * 55 + border.rstrip()
        assert split(f"{first}{border[len(border.rstrip()) :]}{after}{'z' * 80}", LIMIT)[0] == first

    def test_a_cut_falls_outside_of_a_link(self) -> None:
        link = "https://example.org/" + "p" * 60
        assert split("字" * 60 + link, LIMIT) == ["字" * 60, link]

    def test_a_link_ends_at_chinese_punctuation(self) -> None:
        text = "见https://example.org。" + "字" * 40 + "。" + "字" * 60
        assert split(text, LIMIT)[0].endswith("字。")

    def test_a_label_stays_with_its_link(self) -> None:
        link = "[two words](https://example.org/" + "p" * 30 + ")"
        assert split("x" * 40 + " and " + link, 80)[1] == link

    def test_emoji_families_stay_together(self) -> None:
        chunks = split(FAMILY * 50, LIMIT)
        assert {cluster for chunk in chunks for cluster in regex.findall(r"\X", chunk)} == {FAMILY}

    def test_without_a_limit_or_with_room_an_ending_shortens_nothing(self) -> None:
        assert ended("x" * 200, None, ENDING) == "x" * 200 + f"\n\n{ENDING}"
        assert ended("```\nx\n```", LIMIT, ENDING) == f"```\nx\n```\n\n{ENDING}"

    def test_a_limit_too_small_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="too small"):
            split("x", 10)


class TestFences:
    def test_a_fence_is_closed_and_opened_again_with_its_language(self) -> None:
        code = "\n".join(f"print({number})" for number in range(12))
        first, second = split(f"Look:\n```python\n{code}\n```\nDone.", LIMIT)
        assert first.startswith("Look:\n```python\nprint(0)") and first.endswith("\n```")
        assert second.startswith("```python\nprint(") and second.endswith("\n```\nDone.")

    def test_a_longer_fence_around_a_shorter_one_is_closed_with_its_own_marker(self) -> None:
        inner = "```py\n" + "code()\n" * 9 + "```\n"
        first, second = split(f"````md\n{inner}after\n````", 80)
        assert first.endswith("\n````")
        assert second.startswith("````md\ncode()")

    def test_no_empty_block_is_left_where_a_fence_begins_at_the_cut(self) -> None:
        text = "w" * 88 + "\n```py\n" + "code()\n" * 20 + "```"
        first, second, *_ = split(text, LIMIT)
        assert first == "w" * 88
        assert second.startswith("```py\ncode()")

    def test_no_empty_block_is_left_where_a_fence_ends_at_the_cut(self) -> None:
        text = "```py\n" + "x" * 89 + "\n```\n" + "after " * 5
        first, second = split(text, LIMIT)
        assert first == "```py\n" + "x" * 89 + "\n```"
        assert second == "after " * 5

    def test_the_fence_of_a_list_item_keeps_its_indent(self) -> None:
        text = "1. Do:\n   ```sh\n" + "   run\n" * 20 + "   ```"
        first, second, *_ = split(text, LIMIT)
        assert first.endswith("\n   ```")
        assert second.startswith("   ```sh\n   run")
