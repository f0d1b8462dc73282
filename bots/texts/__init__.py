"""Every sentence that a person reads, by key and language: one catalogue for all platforms.

Knows the files `<language>/*.toml` and how an error is told; knows no platform. A language that is not here is
answered in English.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from core.errors import FailureCode, PajamaError

LANGUAGES = (("en", "English"), ("zh-CN", "中文"))
"""Code and own name of each language, the fallback first."""


def text(key: str, language: str = "en", **values: object) -> str:
    """The sentence `key` in `language`, with `values` filled in. Raises KeyError for a key that is nowhere."""
    sentence = _catalogue(negotiate([language]))[key]
    return sentence.format(**values) if values else sentence


def texts(prefix: str, language: str) -> dict[str, str]:
    """All sentences whose key begins with `prefix`, placeholders as they stand."""
    return {key: sentence for key, sentence in _catalogue(negotiate([language])).items() if key.startswith(prefix)}


def keys() -> frozenset[str]:
    """Every key of the catalogue."""
    return frozenset(_catalogue(LANGUAGES[0][0]))


def negotiate(wanted: Iterable[str]) -> str:
    """The first of the wanted language tags that is here, by whole tag or by language; else the fallback."""
    codes = [code for code, _ in LANGUAGES]
    for tag in wanted:
        folded = tag.strip().lower().replace("_", "-")
        for code in codes:
            if folded and (folded == code.lower() or folded.split("-")[0] == code.lower().split("-")[0]):
                return code
    return codes[0]


def sentence_for(error: PajamaError, language: str) -> str:
    """What a person reads when this error keeps them from an answer. Never a stack trace."""
    known = _catalogue(negotiate([language]))
    sentence = known.get(f"error_{error.code}", known["error_error"])
    values = {
        name: ", ".join(map(str, each)) if isinstance(each, tuple) else each for name, each in vars(error).items()
    }
    return sentence.format_map(values)


def failure_sentence(failure: str | None, language: str) -> str:
    """The apology for a Turn that failed, by its FailureCode."""
    code = failure if failure in set(FailureCode) else FailureCode.ENGINE
    return text(f"failure_{code}", language)


@cache
def _catalogue(language: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted(files(__name__).joinpath(language).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            found |= tomllib.loads(file.read_text(encoding="utf-8"))
    return found
