"""Words: a text as the terms that lexical search compares.

English is split at word borders and brought near its stem; Chinese is segmented by jieba, long words with their parts;
numbers, ids and mixed words (`iPhone15`, `ORD-2291`, `v1.2`) are kept whole and in parts. Knows no index.
"""

from __future__ import annotations

import importlib.resources
import re
import threading
import unicodedata
import warnings
from functools import cache
from typing import Any

_SIGNS = r"\u3400-\u9fff\uf900-\ufaff"
_HAN = re.compile(rf"[{_SIGNS}]")
_PARTS = re.compile(r"\d+|[^\d'.\-_/@#+]+")
_CONTRACTIONS = {
    "can't": "can not", "won't": "will not", "shan't": "shall not", "i'm": "i am", "let's": "let us",
}  # fmt: skip
_ENDINGS = (("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'d", ""), ("'m", " am"), ("'s", ""))
_TELLING = frozenset("#%&@§‰′٪")
"""Punctuation that says something: `C#` is not `C`, and `5%` not `5`."""
_QUOTING = frozenset("`´")
"""Symbols, by Unicode, that only quote."""
_LOADING = threading.Lock()


def words_of(text: str) -> list[str]:
    """The terms of `text`, in order, repeated as often as they stand there."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    terms: list[str] = []
    for run in _runs().finditer(folded):
        if run["han"]:
            terms += chinese(run["han"])
        else:
            terms += _latin(run["word"])
    return terms


def plain(text: str) -> str:
    """`text` without capitals and punctuation: the same for two texts only where they say the same.

    What is left are letters, digits, the marks of vowels, symbols (`+ $ ° 🟢`) and what tells as much as they do: `#`, `%`,
    `&`, `@`, what stands between digits (`1.5`), and the point or hyphen that a word begins with (`.net`, `-5`).
    """
    folded = unicodedata.normalize("NFKC", text.replace("´", "'")).casefold().replace("i\u0307", "i")
    around = zip(f" {folded}", folded, f"{folded[1:]} ", strict=False)
    return " ".join("".join(_kept(*signs) for signs in around).split())


def is_chinese(text: str) -> bool:
    """Whether the text is written in Chinese, as far as its signs tell."""
    han = len(_HAN.findall(text))
    return han > 0 and han * 2 >= sum(1 for word in re.findall(r"[a-zA-Z]+", text))


def chinese(run: str) -> list[str]:
    """The words of a run of Chinese signs, each long word after the shorter ones that it is made of."""
    return [word for word in _segmenter().cut_for_search(run) if word.strip()]


def _kept(before: str, sign: str, after: str) -> str:
    """The sign where it says something, nothing where it is not seen, else a space."""
    if sign.isalnum() or _tells(sign):
        return sign
    if after.isalnum() and sign in ".,:/-":
        between_digits = before.isdigit() and after.isdigit() and sign != "-"
        first = sign in ".-" and not before.isalnum()
        return sign if between_digits or first else " "
    return "" if unicodedata.category(sign) == "Cf" or "\ufe00" <= sign <= "\ufe0f" else " "


@cache
def _tells(sign: str) -> bool:
    if sign in _TELLING:
        return True
    kind = unicodedata.category(sign)
    return kind[0] in "MS" and sign not in _QUOTING and not "\ufe00" <= sign <= "\ufe0f"


@cache
def _runs() -> re.Pattern[str]:
    """Chinese signs in a row, or a word: letters and digits with the marks of their vowels, which `\\w` leaves out."""
    marks = "".join(chr(i) for i in range(0x300, 0xAC00) if unicodedata.category(chr(i))[0] == "M")
    letters = rf"(?:[^\W_{_SIGNS}][{marks}]*)+"
    return re.compile(rf"(?P<han>[{_SIGNS}]+)|(?P<word>{letters}(?:['.\-_/@#]{letters})*[+#]*)")


def _latin(word: str) -> list[str]:
    spelled = _CONTRACTIONS.get(word)
    if spelled is None and "'" in word:
        spelled = next((word.removesuffix(end) + more for end, more in _ENDINGS if word.endswith(end)), None)
    if spelled is not None:
        return [stem(part) for part in spelled.split()]
    parts = _PARTS.findall(word)
    if len(parts) <= 1:
        return [stem(word)]
    return [word, *(stem(part) for part in parts if len(part) > 1 or part.isdigit())]


@cache
def stem(word: str) -> str:
    """`word` without the endings of plurals and verbs: a light stem, which keeps words apart that mean other things."""
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    for ending, instead in (("sses", "ss"), ("ies", "y"), ("ing", ""), ("edly", ""), ("ed", ""), ("ly", "")):
        if word.endswith(ending):
            return _tidy(word[: -len(ending)] + instead, word)
    if word.endswith("es") and word[-3] in "sxzh":
        return _spelled(word[:-2])
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return _spelled(word[:-1])
    return _spelled(word)


def _tidy(stemmed: str, word: str) -> str:
    """What is left of `word` without its ending, or `word` where too little is left."""
    if len(stemmed) < 3 or not re.search(r"[aeiouy]", stemmed):
        return word
    if stemmed[-1] == stemmed[-2] and stemmed[-1] not in "lsz":
        stemmed = stemmed[:-1]
    return _spelled(stemmed)


def _spelled(word: str) -> str:
    """`close` and `closing`, `install` and `installed` in one spelling."""
    if len(word) > 4 and word.endswith("e"):
        return word[:-1]
    return word[:-1] if len(word) > 5 and word.endswith("ll") else word


def _segmenter() -> Any:
    """jieba's tokenizer with its dictionary, read on first use (about a second).

    Not through its own `initialize`, which reads a cache of a fixed name from the folder that every user can write to.
    """
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Any:
    with warnings.catch_warnings():  # it asks for a module of setuptools that warns of its end
        warnings.simplefilter("ignore")
        import jieba

    segmenter = jieba.Tokenizer()
    with importlib.resources.files(jieba).joinpath("dict.txt").open("rb") as dictionary:
        segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(dictionary)
    segmenter.initialized = True
    return segmenter
