"""The model's words notify nobody, however they are written, and are otherwise the model's."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bots.slack.wording import JOINER, escaped, escaped_code, harmless, settled
from tests.bots.slack.mentions import SMUGGLED, TEXTS, bare, mentions, readings_of_markdown


@given(TEXTS)
@example("<&excl;channel>")
@example("&amp;lt;!here&amp;gt;")
@example("<**!chan**nel>")
@example("[x](\n> !channel)")
@example("[x]: <\\!channel>")
@example("_@here_")
@example("&#64;here")
@example("请@here")
@example("https://example.org&#32;@here")
def test_markdown_notifies_nobody_however_slack_reads_it(words: str) -> None:
    for reading in readings_of_markdown(harmless(words)):
        assert not mentions(reading) and not bare(reading), reading


@given(TEXTS)
def test_nothing_but_joiners_is_added(words: str) -> None:
    assert harmless(words).replace(JOINER, "") == words.replace(JOINER, "")


@given(TEXTS)
def test_what_is_harmless_stays_as_it_is(words: str) -> None:
    assert harmless(harmless(words)) == harmless(words)


@given(SMUGGLED, st.data())
def test_a_stream_only_ever_grows(words: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(words)))
    assert harmless(words).startswith(settled(words[:at]))


@given(TEXTS)
def test_a_stream_is_never_far_behind(words: str) -> None:
    assert settled(words + "\n好 and some more.") == harmless(words + "\n好 and some more.")


@given(TEXTS)
def test_text_in_slacks_own_markup_notifies_nobody(words: str) -> None:
    assert not mentions(escaped(words)) and not bare(escaped(words))
    assert "<" not in escaped(words) and ">" not in escaped(words)


@pytest.mark.parametrize(
    "words",
    [
        "<!DOCTYPE html>\n<!-- a comment -->",
        "List<@NonNull String> names",
        "#include <#define>",
        "if (a <!b) { x = a<@b; }",
        "write to me@here.org or git@github.com:x/y",
        "[above](#Section-one), [issue](https://example.org/#C012AB)",
        "https://medium.com/@here/post",
        "@Override @hereby @channels",
        "a < b && c > d &amp; &lt;div&gt;",
    ],
)
def test_what_is_no_mention_is_not_touched(words: str) -> None:
    assert harmless(words) == words


def test_code_is_escaped_and_not_changed() -> None:
    assert escaped_code("a && b<@here>") == "a &amp;&amp; b&lt;@here&gt;"
