"""Scores count as the published ones do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimpajama.evaluation.scores import chrf, exact, f1, refuses, words

TEXT = st.text(alphabet="ab c。天气", max_size=12)


@pytest.mark.parametrize(
    ("answer", "reference", "published"),
    [
        (
            "Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.",
            "Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře.",
            39.14078509,
        ),
        (
            "Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.",
            "A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři.",
            31.22557079,
        ),
    ],
)
def test_chrf_of_a_sentence_is_sacrebleus(answer: str, reference: str, published: float) -> None:
    assert chrf([answer], [[reference]]) == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(
    ("answers", "references", "published"),
    [
        (["a"], ["a"], 100.0),
        ([""], ["reference"], 0.0),
        (["a b c"], ["abc"], 100.0),
        ([""], ["c"], 0.0),
        (["a", "b"], ["a", "c"], 50.0),
        (["aa"], ["ab"], 25.0),
    ],
)
def test_chrf_of_a_corpus_is_sacrebleus(answers: list[str], references: list[str], published: float) -> None:
    """With sacrebleu's own cases, which have a beta of 3."""
    assert chrf(answers, [[each] for each in references], beta=3) == pytest.approx(published, abs=1e-4)


def test_of_several_translations_the_nearest_counts() -> None:
    assert chrf(["guten Tag"], [["hello", "guten Tag"]]) == 100


def test_words_are_compared_as_squad_does_and_chinese_by_character() -> None:
    assert words("The U.S. won, an 'easy' 24-10!") == ["us", "won", "easy", "2410"]
    assert words("《战国无双3》是 Omega 的。") == [*"战国无双", "3", "是", "omega", *"的"]
    assert exact("the Broncos.", ["x", "Broncos"]) == 1
    assert f1("Denver Broncos", ["Broncos", "x"]) == pytest.approx(2 / 3)
    assert f1("光荣公司", ["光荣和公司"]) == pytest.approx(8 / 9)
    assert f1("", ["x"]) == 0


@given(answer=TEXT, other=TEXT)
def test_scores_stay_in_their_range_and_are_whole_for_the_same(answer: str, other: str) -> None:
    assert 0 <= f1(answer, [other]) <= 1
    assert exact(answer, [other]) <= f1(answer, [other])
    assert 0 <= chrf([answer], [[other]]) <= 100
    assert f1(answer, [other, answer]) == exact(answer, [answer]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "Sorry, the passages do not say.",
        "I could not find that in the passage.",
        "Sorry, that is not in the passages.",
        "The text does not answer that.",
        "抱歉，资料中没有提到。",
        "资料里没有说明。",
        "资料中找不到这个问题的答案。",
        "根据资料无法回答。",
    ],
)
def test_every_phrasing_of_the_data_is_a_refusal(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize("answer", ["No, they do not take cards.", "He could not find the cat.", "没有。", ""])
def test_an_answer_is_no_refusal(answer: str) -> None:
    assert not refuses(answer)
