"""The files of the page."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import bots.web

STATIC = Path(bots.web.__file__).parent / "static"


def test_vendored_libraries_are_as_published() -> None:
    listed = re.findall(r"^\| `(.+?)` .*`([0-9a-f]{64})` \|$", (STATIC / "vendor/README.md").read_text(), re.MULTILINE)
    found = [(file.name, sha256(file.read_bytes()).hexdigest()) for file in sorted(STATIC.glob("vendor/*.js"))]
    assert found == listed


def test_nothing_is_loaded_from_elsewhere_and_no_markup_is_made_from_text() -> None:
    own = [file for file in STATIC.rglob("*") if file.suffix in (".js", ".css") and "vendor" not in file.parts]
    assert len(own) > 20
    for file in (*own, *STATIC.parent.glob("*.html.j2")):
        source = file.read_text()
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source), file
        assert not re.findall(r"""(?:src|href|from|import|url\()\s*=?\s*["'(]?(?:https?:)?//""", source), file


def test_every_text_that_a_script_asks_for_is_in_the_catalogue() -> None:
    from bots.texts import texts

    asked_for = {key for file in STATIC.glob("*.js") for key in re.findall(r'\bsay\("(\w+)"', file.read_text())}
    asked_for |= {f"web_role_{role}" for role in ("system", "user", "assistant")}
    for_operators = {
        key for file in STATIC.glob("operator/*.js") for key in re.findall(r'\bsay\("(\w+)"', file.read_text())
    }
    assert len(for_operators) > 100
    for language in ("en", "zh-CN"):
        assert for_operators <= texts("operator_", language).keys() | texts("faq_", language).keys()
        assert asked_for <= texts("web_", language).keys() | texts("why_", language).keys()
