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
_LETTERS = rf"[^\W_{_SIGNS}]+"
_RUNS = re.compile(rf"(?P<han>[{_SIGNS}]+)|(?P<word>{_LETTERS}(?:['.\-_/@#]{_LETTERS})*[+#]*)")
_HAN = re.compile(rf"[{_SIGNS}]")
_PARTS = re.compile(r"[^\W\d_]+|\d+")
_CONTRACTIONS = {
    "can't": "can not", "won't": "will not", "shan't": "shall not", "i'm": "i am", "let's": "let us",
}  # fmt: skip
_ENDINGS = (("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'d", ""), ("'m", " am"), ("'s", ""))
_LOADING = threading.Lock()


def words_of(text: str) -> list[str]:
    """The terms of `text`, in order, repeated as often as they stand there."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    terms: list[str] = []
    for run in _RUNS.finditer(folded):
        if run["han"]:
            terms += chinese(run["han"])
        else:
            terms += _latin(run["word"])
    return terms


def plain(text: str) -> str:
    """The letters, digits and signs of words alone, in small letters: the same for what differs in punctuation only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def is_chinese(text: str) -> bool:
    """Whether the text is written in Chinese, as far as its signs tell."""
    han = len(_HAN.findall(text))
    return han > 0 and han * 2 >= sum(1 for word in re.findall(r"[a-zA-Z]+", text))


def chinese(run: str) -> list[str]:
    """The words of a run of Chinese signs, each long word after the shorter ones that it is made of."""
    return [word for word in _segmenter().cut_for_search(run) if word.strip()]


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
