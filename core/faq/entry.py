"""Entry: one curated question with its answer, and the rules that every entry keeps.

Knows what is allowed, whatever file or page it comes from; knows no file and no SQL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256

from core.values import clean_text

MAX_QUESTION_CHARS = 500
MAX_PHRASINGS = 300
MAX_ANSWER_CHARS = 8_000
MAX_TAGS = 20
MAX_TAG_CHARS = 40
MAX_KEY_CHARS = 100

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_KEY = re.compile(r"[^\s{}#<>,;|\"'`\\\x00-\x20]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A question in one or more phrasings, and its answer in Markdown. The first phrasing is shown as the question.

    `key` names it for good within its collection. It is given from `valid_from` to `valid_until`, both included.
    """

    key: str
    phrasings: tuple[str, ...]
    answer: str
    tags: tuple[str, ...] = ()
    language: str = ""
    valid_from: date | None = None
    valid_until: date | None = None

    @property
    def question(self) -> str:
        """The phrasing that people are shown."""
        return self.phrasings[0]

    def valid_on(self, day: date) -> bool:
        """Whether the answer holds on `day`."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry as a file or a form gives it: unchecked text, and where it stands."""

    line: int
    question: str = ""
    phrasings: Sequence[str] = ()
    answer: str = ""
    key: str = ""
    tags: Sequence[str] = ()
    language: str = ""
    valid_from: str = ""
    valid_until: str = ""


@dataclass(slots=True)
class Checked:
    """The entry that a draft makes, or what is wrong with it, a sentence each."""

    entry: Entry | None = None
    wrong: list[str] = field(default_factory=list)


def check(draft: Draft, default_language: str = "") -> Checked:
    """Make an Entry of `draft`, with white space put in order and repeated phrasings and tags dropped."""
    checked = Checked()
    phrasings = _distinct(one_line(text) for text in (draft.question, *draft.phrasings))
    answer = clean_text(draft.answer)
    key = one_line(draft.key) or (key_of(phrasings[0]) if phrasings else "")
    tags = _distinct(one_line(tag) for tag in draft.tags)
    language = one_line(draft.language) or default_language
    first, last = _day("valid_from", draft.valid_from, checked), _day("valid_until", draft.valid_until, checked)
    checked.wrong += [
        *_wrong_words(phrasings, answer),
        *_wrong_names(key, tags, language),
        *(["valid_until lies before valid_from."] if first and last and last < first else []),
    ]
    if not checked.wrong:
        checked.entry = Entry(key, phrasings, answer, tags, language, first, last)
    return checked


def one_line(text: str) -> str:
    """`text` cleaned, in one line, with single spaces."""
    return " ".join(clean_text(text).split())


_SIGNS = str.maketrans({"+": " plus ", "#": " sharp ", "$": " dollar ", "%": " percent ", "&": " and ", "@": " at "})
"""Signs without which two questions would be one: "C++" and "C#"."""


def key_of(question: str) -> str:
    """The key of an entry that was given none: from its question, so that the same question is the same entry."""
    plain = unicodedata.normalize("NFKC", question).casefold()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain.translate(_SIGNS))) if plain.isascii() else ""
    if 3 <= len(slug) <= 60:
        return slug
    return f"q-{sha256(plain.encode()).hexdigest()[:12]}"


def _distinct(texts: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))  # type: ignore[attr-defined]


def _day(name: str, text: str, checked: Checked) -> date | None:
    """The date that `text` names; None where it is empty. What is no date is noted in `checked`."""
    text = one_line(text)
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10]) if re.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?", text) else _not_a_day(text)
    except ValueError:
        checked.wrong.append(f"{name} is {text[:40]!r}; a date looks like 2026-12-31.")
        return None


def _not_a_day(text: str) -> date:
    raise ValueError(text)


def _wrong_words(phrasings: tuple[str, ...], answer: str) -> list[str]:
    wrong = []
    if not phrasings:
        wrong.append("The question is empty.")
    if not answer:
        wrong.append("The answer is empty.")
    longest = max(map(len, phrasings), default=0)
    if longest > MAX_QUESTION_CHARS:
        wrong.append(f"A question has {longest} characters; at most {MAX_QUESTION_CHARS} are taken.")
    if len(phrasings) > MAX_PHRASINGS:
        wrong.append(f"The entry has {len(phrasings)} phrasings; at most {MAX_PHRASINGS} are taken.")
    if len(answer) > MAX_ANSWER_CHARS:
        wrong.append(f"The answer has {len(answer)} characters; at most {MAX_ANSWER_CHARS} are taken.")
    return wrong


def _wrong_names(key: str, tags: tuple[str, ...], language: str) -> list[str]:
    wrong = []
    if key and (len(key) > MAX_KEY_CHARS or not _KEY.fullmatch(key)):
        wrong.append(
            f"The key {key[:40]!r} should have at most {MAX_KEY_CHARS} characters, without spaces or ,;|#{{}}."
        )
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS for tag in tags):
        wrong.append(f"At most {MAX_TAGS} tags of {MAX_TAG_CHARS} characters are taken.")
    if any("," in tag for tag in tags):
        wrong.append("A tag should hold no comma.")
    if language and not LANGUAGE.fullmatch(language):
        wrong.append(f"The language {language[:20]!r} should look like en or zh-CN.")
    return wrong
