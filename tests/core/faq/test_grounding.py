"""An answer from passages is sent only where each sentence cites one of them and brings in nothing of its own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.faq.grounding import Problem, problem_of, sentences_of
from core.faq.passages import marks_in
from core.faq.words import words_of
from core.recipes import Passage

SHOP = Passage(
    "faq:1@1",
    "You can park behind the house. Parking is free from nine to five, for 30 days at most. Sale items cannot be "
    "returned. Write to help@example.com or see https://example.com/returns if anything is broken.",
    "Where can I park?",
)
ZH = Passage(
    "faq:2@1", "停车场在房子后面，每小时 5 元。节假日不开放。会员凭 Discord 账号免费停车 2 小时。", "哪里可以停车？"
)
PLAIN = Passage("faq:3@1", "No, sorry.", "Are pets allowed?")
GIVEN = (SHOP, ZH, PLAIN)


@pytest.mark.parametrize(
    "answer",
    [
        "You can park behind the house [1].",
        "Park behind the house. [1]",
        "**Park** behind the `house` [1]!",
        "- You can park behind the house [1]\n- Parking is free for 30 days [1]",
        "> Sale items cannot be returned [1]",
        "1. Park behind the house. [1]\n2. It is free from nine to five [1].",
        "Behind the house, you can park [1].",
        "If anything is broken, write to help@example.com [1].",
        "停车场在房子后面[2]。",
        "停车场在房子后面，每小时5元【2】。节假日不开放。[2]",
        "会员凭 Discord 账号可以免费停车 2 小时［2］。",
        "Park behind the house [1, 2].",
        "No, sorry [3].",
    ],
)
def test_what_the_cited_sentence_says_is_supported(answer: str) -> None:
    assert problem_of(answer, GIVEN) is None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", Problem.NO_ANSWER),
        ("  \n … [1]", Problem.NO_ANSWER),
        ("You can park behind the house.", Problem.UNCITED),
        ("You can park behind the house [1]. And it is free.", Problem.UNCITED),
        ("Sure! You can park behind the house [1].", Problem.UNCITED),
        ("The passages do not say.", Problem.UNCITED),
        ("👍", Problem.UNCITED),
        ("You can park behind the house [4].", Problem.MISCITED),
        ("You can park behind the house [0].", Problem.MISCITED),
        ("You can park behind the house [1][4].", Problem.MISCITED),
        ("You can park behind the house [2].", Problem.UNSUPPORTED),
    ],
)
def test_every_sentence_cites_a_passage_that_was_given(answer: str, problem: Problem) -> None:
    assert problem_of(answer, GIVEN) is problem


@pytest.mark.parametrize(
    "answer",
    [
        "You can park in front of the house [1].",
        "You can park behind the house with a permit [1].",
        "Parking is free from five to nine [1].",
        "Parking is free for 31 days [1].",
        "Parking is free for 30 weeks [1].",
        "Parking is free [1] from nine to six [1].",
        "Sale items can be returned [1].",
        "You cannot park behind the house [1].",
        "Write to help@example.com [1].",
        "If anything is broken, write to help@example.org [1].",
        "If anything is broken, see https://evil.example/returns [1].",
        "house [1]",
        "house house house house [1]",
        "Parking is free [1].",
        "Pets are allowed [3].",
        "Where can I park? [1]",
        "Park behind the house 🎉 [1].",
        "Park behind the house <script>alert(1)</script> [1].",
        "Park behind the house @everyone [1].",
        "Park behind the h\u200bouse [1].",
        "Park behind the hоuse [1].",  # a Cyrillic о
        "停车场在房子前面[2]。",
        "停车场在房子后面，每小时 50 元[2]。",
        "节假日开放[2]。",
        "停车场不在房子后面[2]。",
        "非会员凭 Discord 账号免费停车 2 小时[2]。",
        "会员凭 Slack 账号免费停车 2 小时[2]。",
        "会员免费停车[2]。节假日也免费停车[2]。",
    ],
)
def test_what_the_cited_sentence_does_not_say_is_not_supported(answer: str) -> None:
    assert problem_of(answer, GIVEN) is Problem.UNSUPPORTED


def test_two_sentences_are_not_mixed_into_a_third() -> None:
    passage = Passage("p", "You cannot return sale items. You can return other items within 30 days.")
    assert problem_of("You can return other items within 30 days [1].", [passage]) is None
    assert problem_of("You can return sale items within 30 days [1].", [passage]) is Problem.UNSUPPORTED


def test_a_condition_is_not_dropped() -> None:
    passage = Passage("p", "You get a refund if the box is not opened. 未拆封的商品才可以退货。")
    assert problem_of("You get a refund if the box is not opened [1].", [passage]) is None
    assert problem_of("You get a refund [1].", [passage]) is Problem.UNSUPPORTED
    assert problem_of("You get a refund if the box is opened [1].", [passage]) is Problem.UNSUPPORTED
    assert problem_of("商品可以退货[1]。", [passage]) is Problem.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One [1]. Two. [2] Three", ["One [1].", "Two. [2]", "Three"]),
        ("One.[1] Two.[2]", ["One.[1]", "Two.[2]"]),
        ("一。[1]二【2】！三", ["一。[1]", "二【2】！", "三"]),
        ("- One\n\n2) Two v1.2, e.g.\n> Three", ["One", "Two v1.2, e.g.", "Three"]),
        ("One\n[1]", ["One[1]"]),
        ("[1] One.", ["[1] One."]),
        (" … \n---\n", []),
    ],
)
def test_a_sentence_has_the_citations_that_follow_it(text: str, sentences: list[str]) -> None:
    assert list(sentences_of(text)) == sentences


WORDS = st.sampled_from(
    ["river", "stone", "garden", "lantern", "copper", "violet", "harbour", "meadow", "window", "basket", "12", "340"]
)
SENTENCES = st.lists(WORDS, min_size=3, max_size=8).map(lambda words: f"{' '.join(words).capitalize()}.")
PASSAGES = st.lists(st.lists(SENTENCES, min_size=1, max_size=4), min_size=1, max_size=3)


def passages(texts: list[list[str]]) -> list[Passage]:
    return [Passage(f"faq:{i}@1", " ".join(sentences), "Title?") for i, sentences in enumerate(texts)]


def cited(texts: list[list[str]], data: st.DataObject) -> tuple[int, str]:
    """A passage's number and one of its sentences."""
    n = data.draw(st.integers(1, len(texts)))
    return n, data.draw(st.sampled_from(texts[n - 1]))


@given(PASSAGES, st.data())
def test_quoting_with_the_right_number_is_supported(texts: list[list[str]], data: st.DataObject) -> None:
    quotes = [cited(texts, data) for _ in range(data.draw(st.integers(1, 4)))]
    answer = " ".join(f"{sentence[:-1]} [{n}]." for n, sentence in quotes)
    assert problem_of(answer, passages(texts)) is None


@given(PASSAGES, st.data(), st.sampled_from(["dragon", "99", "not", "🎉", "龙", "NASA", "https://evil.example"]))
def test_one_word_or_sign_more_is_not_supported(texts: list[list[str]], data: st.DataObject, foreign: str) -> None:
    n, sentence = cited(texts, data)
    words = sentence[:-1].split()
    words.insert(data.draw(st.integers(0, len(words))), foreign)
    assert problem_of(f"{' '.join(words)} [{n}].", passages(texts)) is Problem.UNSUPPORTED


@given(PASSAGES, st.data())
def test_a_sentence_without_a_citation_spoils_the_answer(texts: list[list[str]], data: st.DataObject) -> None:
    quotes = [cited(texts, data) for _ in range(3)]
    bare = data.draw(st.integers(0, 2))
    answer = " ".join(s[:-1] + ("." if i == bare else f" [{n}].") for i, (n, s) in enumerate(quotes))
    assert problem_of(answer, passages(texts)) is Problem.UNCITED


ANYTHING = st.text(
    alphabet=st.one_of(st.sampled_from("riverstone [1]2.。!？\n-不没only不"), st.characters()), max_size=80
)


@given(
    st.one_of(
        ANYTHING, st.lists(st.sampled_from(["river", "stone", "[1]", "[2]", ".", "not", "\n", "龙"])).map(" ".join)
    )
)
def test_whatever_is_said_what_is_sent_is_cited_and_brings_in_no_word(answer: str) -> None:
    given_ = [Passage("a", "The river runs over a stone. It is not a garden."), Passage("b", "河边没有龙。")]
    if problem_of(answer, given_) is None:
        allowed = {word for passage in given_ for word in words_of(passage.text)}
        said = set(words_of(re.sub(r"[\[【［][\d, ，、]+[\]】］]", " ", answer)))
        assert said - allowed <= set(words_of("a an the of to in on at and or you it can yes for with by from as"))
        assert all(marks_in(sentence) for sentence in sentences_of(answer))
