"""Markdown in Slack's own markup: everything is there, code to the byte, within the limit, and nobody is notified."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bots.slack.document import Code
from bots.slack.mrkdwn import LEAST_CHARS, packed, texts
from bots.slack.wording import JOINER
from tests.bots.slack.mentions import TEXTS, bare, mentions

LIMIT = 3_000
LINK = re.compile(r"<(?:https?://|mailto:)[^\s<>|]+(?:\|[^<>]*)?>")
ADDRESS = re.compile(r"<[^<>|]+\|?")
BLOCK_OF_CODE = re.compile(r"^```\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
WORDS = st.text(st.characters(categories=["Lu", "Ll", "Nd", "Lo"]), min_size=1, max_size=12)
LINES = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
CODES = st.lists(LETTERS | st.sampled_from(["\n", "`", "```", "<!here>", "&lt;", "    "]), max_size=80).map("".join)
DOCUMENTS = st.lists(
    st.sampled_from(["# {}", "- {}", "  - {}", "1. {}", "> {}", "{}", "**{}**", "| {} | b |\n|---|--:|\n| c | d |", "~~{}~~", "`{}`"])
    .flatmap(lambda form: LINES.map(form.format)),
    min_size=1,
    max_size=12,
).map("\n\n".join)  # fmt: skip


def mrkdwn(markdown: str, limit: int = LIMIT) -> str:
    """A short document as one text."""
    (text,) = packed(markdown, limit)
    assert isinstance(text, str)
    return text


def code_of(parts: list[str | Code]) -> list[str]:
    """The blocks of code as somebody copies them."""
    shown: list[str] = []
    for part in parts:
        if isinstance(part, Code):
            shown.append(part.text)
        else:
            shown += [html.unescape(code) for code in BLOCK_OF_CODE.findall(part)]
    return shown


def letters(words: str) -> str:
    return "".join(letter for letter in words if letter.isalnum())


class TestEveryDocument:
    @given(TEXTS)
    @example("[x](!channel) [y](<@U012AB>) ![z](#C012AB)")
    @example("<https://example.org|<!channel>>")
    def test_nobody_is_notified(self, markdown: str) -> None:
        for text in texts(markdown, LIMIT):
            assert "<" not in LINK.sub("", text)
            assert not mentions(text)
            assert not bare(without_code(ADDRESS.sub("", text)))

    @given(
        st.lists(
            TEXTS
            | DOCUMENTS
            | st.sampled_from(["&" * 4_000, "x" * 9_000, "好 " * 3_000, "<" * 700, "```\n", "| a " * 40]),
            max_size=6,
        ).map("".join),
        st.integers(LEAST_CHARS, 4_000),
    )
    def test_every_text_fits_and_none_is_blank(self, markdown: str, limit: int) -> None:
        for text in texts(markdown, limit):
            assert text.strip() and len(text) <= limit

    @given(CODES, st.sampled_from(["", "py", "c++"]), DOCUMENTS)
    def test_code_is_there_to_the_byte(self, code: str, language: str, around: str) -> None:
        fence = "`" * 12
        parts = packed(f"{around}\n\n{fence}{language}\n{code}\n{fence}\n\n{around}", LIMIT)
        assert code.removesuffix("\n") in [each.removesuffix("\n") for each in code_of(parts)]

    @given(DOCUMENTS)
    def test_no_letter_is_lost(self, markdown: str) -> None:
        document = re.sub(r"^( *)1\. ", r"\1", markdown, flags=re.MULTILINE)
        assert letters("".join(texts(document, LIMIT))) == letters(document)

    @given(st.text("ab<&>` \n", min_size=1, max_size=40).map(lambda line: f"{line}\n" * 400))
    def test_long_code_is_cut_between_lines(self, code: str) -> None:
        parts = code_of(packed(f"~~~\n{code}~~~", LIMIT))
        assert "\n".join(parts) == code.removesuffix("\n")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", BLOCK_OF_CODE.sub("", text))


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# Head **line**", "*Head line*"),
        ("**bold** *it* ~~gone~~ ***both***", "*bold* _it_ ~gone~ *_both_*"),
        ("这是**重点**内容", "这是\u200b*重点*\u200b内容"),
        ("un**bold**able", "un\u200b*bold*\u200bable"),
        ("(**bold**), fine", "(*bold*), fine"),
        ("`a < b && c`", "`a &lt; b &amp;&amp; c`"),
        ("`` a`b ``", "```a`b```"),
        ("[here](https://example.org/?a=1&b=2)", "<https://example.org/?a=1&amp;b=2|here>"),
        ("see https://example.org/a_b.", "see <https://example.org/a_b>."),
        ("详见https://example.org/甲，谢谢", "详见<https://example.org/甲>，谢谢"),
        ("<https://example.org>", "<https://example.org>"),
        ("<ann@example.org>", "<mailto:ann@example.org|ann@example.org>"),
        ("![a cat](https://example.org/cat.png)", "<https://example.org/cat.png|a cat>"),
        ("[up](#top)", "up (#top)"),
        ("- a\n- b\n  - c\n    1. d\n    2. e", "• a\n• b\n    ◦ c\n        1. d\n        2. e"),
        ("3. three\n4. four", "3. three\n4. four"),
        ("- [ ] to do\n- [x] done", "• [ ] to do\n• [x] done"),
        ("> quoted\n> more\n>\n> > deeper", "> quoted\n> more\n\n> &gt; deeper"),
        ("\\> no quotation", f"{JOINER}&gt; no quotation"),
        ("one\ntwo  \nthree", "one\ntwo\nthree"),
        ("above\n\n---\n\nbelow", "above\n\n" + "─" * 20 + "\n\nbelow"),
        ("```python\nprint('<b>')\n```", "```\nprint('&lt;b&gt;')\n```"),
        ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;"),
        ("a\\*b\\*", "a*b*"),
        ("- item\n\n      code\n- next", "• item\n\n```\ncode\n```\n\n• next"),
        ("-\n  > quoted", "• \n>     quoted"),
    ],
)  # fmt: skip
def test_each_mark_of_markdown(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected


def test_a_table_is_code_whose_columns_line_up() -> None:
    table = "| 名字 | count | note |\n|---|--:|:-:|\n| 张三丰 | 1 | `a` |\n| Bob | 2000 | **b** [c](https://d.org) |"
    assert mrkdwn(table).split("\n")[1:-1] == [
        "名字   | count |        note",
        "-------+-------+--------------------",
        "张三丰 |     1 |          a",
        "Bob    |  2000 | b c (https://d.org)",
    ]


def test_code_that_holds_a_fence_stands_by_itself() -> None:
    markdown = "before\n\n````md\n```py\nx\n```\n````\n\nafter"
    assert packed(markdown, LIMIT) == ["before", Code("```py\nx\n```"), "after"]
    assert [text.replace(JOINER, "") for text in texts(markdown, LIMIT)] == [
        "before",
        "```\n```py\nx\n```\n```",
        "after",
    ]


def test_code_that_fits_a_text_is_not_torn() -> None:
    code = "line of code\n" * 100
    parts = packed("word " * 500 + f"\n\n```\n{code}```", LIMIT)
    assert len(parts) == 2 and code_of(parts) == [code.removesuffix("\n")]


def test_a_long_paragraph_is_cut_between_words() -> None:
    parts = texts("word " * 2_000, LIMIT)
    assert len(parts) == 4 and all(set(part.split()) == {"word"} for part in parts)
