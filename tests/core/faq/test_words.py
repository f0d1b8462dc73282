"""Words: English stems, Chinese words, and ids that stay whole."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.faq.words import is_chinese, plain, stem, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How do I reset my passwords?", ["how", "do", "i", "reset", "my", "password"]),
        ("I can't log in, it won't work", ["i", "can", "not", "log", "in", "it", "will", "not", "work"]),
        ("订单没有到账", ["订单", "没有", "到", "账"]),
        ("怎么接入Slack？", ["怎么", "接入", "slack"]),
        ("error E-404 in v1.2", ["error", "e-404", "404", "in", "v1.2", "1", "2"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("C++ and C#", ["c++", "and", "c#"]),
        ("हिन्दी कि का", ["हिन्दी", "कि", "का"]),
        ("", []),
        ("?!…", []),
    ],
)
def test_a_text_becomes_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_long_chinese_word_comes_with_its_parts() -> None:
    assert {"中华", "人民", "共和国"} < set(words_of("中华人民共和国"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is C++?", "What is C#?"),
        ("What is C?", "What is C#?"),
        ("What do I get for $5?", "What do I get for 5%?"),
        ("Does it cost $5?", "Does it cost €5?"),
        ("Is 1.5 enough?", "Is 1,5 enough?"),
        ("At -5 degrees?", "At 5 degrees?"),
        ("What is .NET?", "What is net?"),
        ("What does #general mean?", "What does @general mean?"),
        ("What does 🟢 mean?", "What does 🔴 mean?"),
        ("दिन", "दान"),
        ("ปี", "ปู"),
        ("שָׁם", "שֵׁם"),
    ],
)
def test_what_says_something_else_is_not_the_same(one: str, other: str) -> None:
    assert plain(one) != plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When are you OPEN?", "when are you open"),
        ("How do I use `pajama up`?", "How do I use “pajama up”"),
        ("What´s new – today…", "what's new, today!"),
        ("(E-mail) me: now.", "e mail me now"),
        ("Ｃ＃？", "c#"),
        ("İSTANBUL", "istanbul"),
        ("Cafe\u0301?", "café"),
        ("co\u00adoperate", "cooperate"),
        ("I ❤\ufe0f it", "i ❤ it"),
        ("怎么退货？", "怎么退货"),
    ],
)
def test_capitals_and_punctuation_make_no_difference(one: str, other: str) -> None:
    assert plain(one) == plain(other)


@given(st.text(max_size=40))
def test_no_letter_digit_mark_or_symbol_is_lost(text: str) -> None:
    told = [c for c in plain(text) if not c.isspace()]
    folded = unicodedata.normalize("NFKC", text.replace("´", "")).casefold().replace("i\u0307", "i")
    kept = [c for c in folded if unicodedata.category(c)[0] in "LNMS" and c != "`" and not "\ufe00" <= c <= "\ufe0f"]
    assert [c for c in told if unicodedata.category(c)[0] in "LNMS"] == kept
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    "family",
    [
        "cancel cancels cancelled cancelling canceled",
        "install installed installing",
        "policy policies",
        "close closes closed closing",
        "stop stops stopped stopping",
        "box boxes",
        "refund refunds refunded",
    ],
)
def test_forms_of_a_word_have_one_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize(("one", "other"), [("bus", "bush"), ("status", "state"), ("thing", "th"), ("pass", "pas")])
def test_other_words_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.text(max_size=80))
def test_any_text_is_split_into_words_without_spaces(text: str) -> None:
    assert not any(word == "" or word.isspace() for word in words_of(text))


@pytest.mark.parametrize(
    ("text", "chinese"),
    [("怎么退货？", True), ("怎么接入 Slack？", True), ("How do I say 你好 in English please?", False), ("123", False)],
)
def test_a_text_is_chinese_by_its_signs(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese


def test_the_dictionary_is_not_read_from_a_folder_that_everyone_can_write_to() -> None:
    planted = Path(tempfile.gettempdir()) / "jieba.cache"
    before = planted.stat().st_mtime_ns if planted.exists() else None
    assert words_of("我们退货") == ["我们", "退货"]
    assert (planted.stat().st_mtime_ns if planted.exists() else None) == before
