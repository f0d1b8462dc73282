"""Grounding: whether each sentence of a model's answer cites a passage that was given, and is supported by it.

A sentence is supported by one sentence of a passage that it cites: it brings in no word, number or sign that does not
stand there, keeps the order of numbers and most of that of words, denies and restricts what is denied and restricted
there, and nothing else. So the model may choose, shorten and join, and may not add: whatever talks it into something,
what comes of that is not sent. It is a check of words; who stands where in a sentence it does not understand.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from core.faq.passages import marks_in, numbered, without_marks
from core.faq.words import chinese, words_of
from core.recipes import Passage


class Problem(StrEnum):
    """Why an answer is not sent."""

    NO_ANSWER = "no_answer"
    UNCITED = "uncited"
    MISCITED = "miscited"
    UNSUPPORTED = "unsupported"


_FEWEST = 3
"""Words that a sentence has at least, or half of those that it rests on: fewer say too little to be checked."""
_IN_ORDER = 2 / 3

_END = re.compile(r"(?<=[.!?…])[\"'”’)*_]*(?=\s|$|[\[【])|(?<=[。！？；;])[\"'”’）*_]*")
_LEADING_MARKS = re.compile(r"\s*(?:[\[【［][\d\s,，、]+[\]】］]\s*)+[.。]?", re.ASCII)
_BULLET = re.compile(r"\A\s*(?:[-*+•>#]+|\d{1,2}[.)、])\s+")
_HAN_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_DENIED = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b|[不没無无未勿]|禁止|别(?!的)"
)
_RESTRICTED = re.compile(r"\b(?:only|unless|except|until|but|if|provided)\b|[只仅但才若]|除非|除了|如果")
_NEUTRAL = re.compile(r"不过|不同|不仅|不但|无论|特别|分别|区别|类别|级别|差不多")


def _terms_of(words: str) -> frozenset[str]:
    return frozenset(term for word in words.split() for term in words_of(word))


_NUMBER_WORDS = frozenset("一二三四五六七八九十百千万亿两零半") | _terms_of(
    "zero one two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty sixty seventy "
    "eighty ninety hundred thousand million half first second third"
)
_EMPTY_WORDS = _terms_of(
    "a an the of to in on at for with by from as and or so also then than that this these those there here it its is "
    "are was were be been being am do does did done have has had can could will would shall you your yours we our us i "
    "my me they them their he she his her one who which what when where how if while please yes just"
)
_EMPTY_SIGNS = frozenset(
    "的了是在和与或就都也还吗呢吧啊请您你我们它他她这那个些着过地得把被让给对从到为以可能会要将其此即则"
)


def problem_of(text: str, passages: Sequence[Passage]) -> Problem | None:
    """Why `text` may not be sent as an answer from these passages; None where each sentence is cited and supported."""
    given = {n: _Evidence(passage.text) for n, passage in numbered(passages).items()}
    sentences = list(sentences_of(text))
    if not sentences:
        return Problem.NO_ANSWER
    return next((wrong for sentence in sentences if (wrong := _problem(sentence, given)) is not None), None)


def sentences_of(text: str) -> Iterator[str]:
    """The sentences of `text`, each with the citations that follow it; what has no word or sign is none."""
    held = ""
    for line in text.splitlines():
        for piece in _pieces(_BULLET.sub("", line)):
            marks = _LEADING_MARKS.match(piece) if held else None
            if marks is not None:  # `… house. [1] It …`: the citation is of what stands before it
                held, piece = held + marks[0], piece[marks.end() :]
            if piece.strip():
                if _says_something(held):
                    yield held.strip()
                held = piece
    if _says_something(held):
        yield held.strip()


def _pieces(line: str) -> Iterator[str]:
    start = 0
    for end in [*(match.end() for match in _END.finditer(line)), len(line)]:
        yield line[start:end]
        start = end


@dataclass(frozen=True)
class _Sentence:
    """A sentence without its citations, as it is compared."""

    text: str

    @cached_property
    def folded(self) -> str:
        return unicodedata.normalize("NFKC", self.text).casefold()

    @cached_property
    def terms(self) -> list[str]:
        """The words that say something, and Chinese signs, in order."""
        terms: list[str] = []
        last = 0
        for run in _HAN_RUN.finditer(self.folded):
            terms += _words(self.folded[last : run.start()])
            terms += [sign for sign in run[0] if sign not in _EMPTY_SIGNS]
            last = run.end()
        return terms + _words(self.folded[last:])

    @cached_property
    def chinese(self) -> list[str]:
        """The Chinese words that say something."""
        words = [word for run in _HAN_RUN.findall(self.folded) for word in chinese(run)]
        return [word for word in words if not _EMPTY_SIGNS.issuperset(word)]

    @cached_property
    def numbers(self) -> list[str]:
        return [term for term in self.terms if term in _NUMBER_WORDS or any(sign.isdigit() for sign in term)]

    @cached_property
    def turns(self) -> tuple[int, int]:
        """How often it denies and restricts."""
        plain = _NEUTRAL.sub("", self.folded)
        return len(_DENIED.findall(plain)), len(_RESTRICTED.findall(plain))


@dataclass(frozen=True)
class _Evidence:
    """A passage's answer, sentence by sentence."""

    text: str

    @cached_property
    def sentences(self) -> list[_Sentence]:
        return [_Sentence(sentence) for sentence in sentences_of(self.text)]

    @cached_property
    def signs(self) -> frozenset[str]:
        return frozenset(_signs(self.text))


def _problem(sentence: str, given: Mapping[int, _Evidence]) -> Problem | None:
    cited = marks_in(sentence)
    if not cited:
        return Problem.UNCITED
    if any(n not in given for n in cited):
        return Problem.MISCITED
    claim, evidence = _Sentence(without_marks(sentence)), [given[n] for n in cited]
    if not _signs(claim.text) <= frozenset().union(*(each.signs for each in evidence)):
        return Problem.UNSUPPORTED
    found = any(_supports(each, claim) for passage in evidence for each in passage.sentences)
    return None if found else Problem.UNSUPPORTED


def _supports(evidence: _Sentence, claim: _Sentence) -> bool:
    """Whether everything that `claim` says stands in `evidence`."""
    said, there = claim.terms, evidence.terms
    return (
        len(said) > 0
        and _length(said) >= min(_FEWEST, _length(there) / 2)
        and not Counter(said) - Counter(there)
        and all(word in evidence.folded for word in claim.chinese)
        and _common(claim.numbers, evidence.numbers) == len(claim.numbers)
        and _common(said, there) >= _IN_ORDER * len(said)
        and claim.turns == evidence.turns
    )


def _length(terms: Sequence[str]) -> float:
    """How many words that is: a Chinese one has two signs, more or less."""
    return sum(0.5 if _HAN_RUN.fullmatch(term) else 1 for term in terms)


def _words(text: str) -> list[str]:
    return [term for term in words_of(text) if term not in _EMPTY_WORDS]


def _signs(text: str) -> set[str]:
    """What is neither letter, number, space, punctuation nor Markdown: emoji and the like can spell words too."""
    return {c for c in text if unicodedata.category(c)[0] in "SC" and not c.isspace() and c not in "`~"}


def _says_something(text: str) -> bool:
    return any(unicodedata.category(sign)[0] in "LNSCM" for sign in without_marks(text) if not sign.isspace())


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for i, other in enumerate(second, start=1):
            diagonal, row[i] = row[i], diagonal + 1 if one == other else max(row[i], row[i - 1])
    return row[-1]
