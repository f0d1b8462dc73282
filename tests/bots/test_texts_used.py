"""Every sentence that the bots ask for is in the catalogue, and the catalogue holds no sentence that nobody says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bots
from bots.texts import keys

ROOT = Path(bots.__file__).parent
# How Python, a template and a script say a sentence.
SAID = re.compile(r"\b(?:text|t|say)\(\s*(?:\"(\w+)\"|f\"(\w*)\{|`(\w*)\$\{)")


def sources(*suffixes: str) -> Iterator[str]:
    """The text of the bots' own files."""
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in suffixes and "vendor" not in path.parts:
            yield path.read_text(encoding="utf-8")


def said() -> tuple[set[str], set[str]]:
    """The keys that are asked for by name, and the beginnings of those that are put together."""
    found = [match for source in sources(".py", ".js", ".j2") for match in SAID.finditer(source)]
    return {m[1] for m in found if m[1]}, {m[2] or m[3] for m in found if m[2] or m[3]}


def test_every_sentence_that_is_asked_for_is_there() -> None:
    whole, beginnings = said()
    assert len(whole) > 40 and len(beginnings) > 2  # what looks for them finds them
    assert whole <= keys()
    assert {b for b in beginnings if not any(key.startswith(b) for key in keys())} == set()


def test_no_sentence_is_there_that_nobody_says() -> None:
    whole, beginnings = said()
    named = {
        node.value
        for source in sources(".py")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {key for key in keys() - whole - named if not key.startswith(tuple(beginnings))} == set()
