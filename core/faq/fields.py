"""The fields of an entry as files name them, in English and Chinese, and what lies in them as text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from core.errors import Problem
from core.faq.entry import Draft, Entry

COLUMNS = ("key", "question", "phrasings", "answer", "tags", "language", "valid_from", "valid_until")
"""In the order in which they are written."""

_OTHER_NAMES = {
    "key": ("id", "编号", "标识"),
    "question": ("q", "title", "问题", "问", "标题"),
    "phrasings": ("questions", "also", "variants", "paraphrases", "utterances", "相似问", "相似问法", "其他问法"),
    "answer": ("a", "response", "reply", "答案", "回答", "答"),
    "tags": ("tag", "category", "categories", "标签", "分类"),
    "language": ("lang", "locale", "语言"),
    "valid_from": ("from", "生效日期"),
    "valid_until": ("until", "valid_to", "失效日期"),
}
_FIELDS = {name: field for field, others in _OTHER_NAMES.items() for name in (field, *others)}


def field_of(name: str) -> str | None:
    """The field that a column or key of this name means; None for one that means nothing to us."""
    plain = unicodedata.normalize("NFKC", name).strip().casefold().replace(" ", "_").replace("-", "_")
    return _FIELDS.get(plain)


def known_names() -> str:
    """The names of the fields, for a sentence."""
    return ", ".join(COLUMNS)


def draft_of(line: int, values: Mapping[str, str | Sequence[str]]) -> Draft | Problem:
    """A Draft of fields by our names; one text where one is wanted, several where several are."""
    single: dict[str, str] = {}
    several: dict[str, tuple[str, ...]] = {}
    for name, value in values.items():
        if name == "phrasings":
            several[name] = (value,) if isinstance(value, str) else tuple(value)
        elif name == "tags":
            parts = value.replace("，", ",").split(",") if isinstance(value, str) else value
            several[name] = tuple(parts)
        elif isinstance(value, str):
            single[name] = value
        else:
            return Problem(line, f"{name} should be a text, not a list.")
    return Draft(line=line, **single, **several)  # type: ignore[arg-type]


def values_of(entry: Entry) -> dict[str, str | list[str]]:
    """The fields of an entry that say something, by name, in order."""
    values: dict[str, str | list[str]] = {
        "key": entry.key,
        "question": entry.question,
        "phrasings": list(entry.phrasings[1:]),
        "answer": entry.answer,
        "tags": list(entry.tags),
        "language": entry.language,
        "valid_from": entry.valid_from.isoformat() if entry.valid_from else "",
        "valid_until": entry.valid_until.isoformat() if entry.valid_until else "",
    }
    return {name: value for name, value in values.items() if value}
