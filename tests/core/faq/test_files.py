"""Files of entries: what is read, what is refused and where, and that what is written is read back the same."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import FaqFileRefused
from core.faq import files
from core.faq.entry import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS, Entry, check, key_of, one_line
from core.faq.entry import Draft as EntryDraft
from core.faq.files import FORMS, MAX_FILE_BYTES, form_of, read_bytes, read_file
from core.values import clean_text

SUFFIXES = (".csv", ".json", ".jsonl", ".yaml", ".md")

# Whatever people may type, with what each format finds special.
LINES = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.sampled_from(
        [
            "=1+1", "'=1", "''@x", "＝A1", "-", "# Title", "## How? {#x}", "## How? \\{#x}", "```", "~~~", "<!-- faq",
            "-->", "also: x", "<script>alert(1)</script>", "{#x}", '"quoted", "twice"', "a,b;c\td", "no", "null", "~",
            "1e3", "- item", "key: value", "&a [*a]", "C:\\", "\\", "'", "---", "...", "{{ x }}", "怎么接入？",
        ]
    ),
)  # fmt: skip
QUESTIONS = LINES.map(one_line).filter(bool)
ANSWERS = st.lists(LINES, min_size=1, max_size=6).map("\n".join).map(clean_text).filter(bool)
TAGS = LINES.map(lambda text: one_line(text.replace(",", "").replace("，", ""))[:40].strip()).filter(bool)
DAYS = st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    phrasings = draw(st.lists(QUESTIONS, min_size=1, max_size=4, unique=True))
    days = [draw(DAYS), draw(DAYS)]
    if None not in days:
        days.sort(key=lambda day: day or date.min)
    return Entry(
        key=draw(st.from_regex(r"[a-z0-9一-龥._:/-]{1,20}", fullmatch=True)),
        phrasings=tuple(phrasings),
        answer=draw(ANSWERS),
        tags=tuple(draw(st.lists(TAGS, max_size=3, unique=True))),
        language=draw(st.sampled_from(["", "en", "zh-CN", "no"])),
        valid_from=days[0],
        valid_until=days[1],
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60)
@given(given_entries=st.lists(entries(), min_size=1, max_size=4, unique_by=lambda entry: entry.key))
def test_what_is_written_is_read_back_the_same(suffix: str, given_entries: list[Entry]) -> None:
    form = FORMS[suffix]
    assert read_bytes(form.write(given_entries).encode(), form, f"x{suffix}") == given_entries


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60)
@given(content=st.binary(max_size=200) | LINES.map(str.encode) | ANSWERS.map(str.encode))
def test_any_content_is_read_or_refused(suffix: str, content: bytes) -> None:
    with suppress(FaqFileRefused):
        assert read_bytes(content, FORMS[suffix], f"x{suffix}")


@given(given_entries=st.lists(entries(), min_size=1, max_size=3, unique_by=lambda entry: entry.key))
def test_no_cell_of_an_exported_table_starts_a_formula(given_entries: list[Entry]) -> None:
    for row in csv.reader(io.StringIO(FORMS[".csv"].write(given_entries))):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")) for cell in row)


GOOD = {
    "comma": ("x.csv", "Question,Answer\nHow?,So.\n"),
    "semicolon, as spreadsheets of some countries write": ("x.csv", "question;answer\nHow?;So.\n"),
    "tab": ("x.tsv", "question\tanswer\nHow?\tSo.\n"),
    "old line ends": ("x.csv", "question,answer\rHow?,So.\r"),
    "Chinese headings": ("x.csv", "问题,答案,标签\nHow?,So.,a，b\n"),
    "further columns": ("x.csv", "question,answer,owner\nHow?,So.,me\n"),
    "blank rows": ("x.csv", "question,answer\n\n,\nHow?,So.\n"),
    "json list": ("x.json", '[{"question": "How?", "answer": "So."}]'),
    "json object": ("x.json", '{"version": 1, "entries": [{"q": ["How?"], "a": "So."}]}'),
    "jsonl": ("x.jsonl", '{"question": "How?", "answer": "So."}\n\n'),
    "yaml": ("x.yaml", "- question: How?\n  answer: So.\n"),
    "yaml under a key": ("x.yml", "faq:\n  - question: How?\n    answer: |\n      So.\n"),
    "markdown": ("x.md", "# The shop's FAQ\n\nRead me.\n\n## Delivery\n\n### How?\n\nSo.\n"),
    "markdown of one level": ("x.md", "# How?\nSo.\n"),
    "markdown with lines below": ("x.md", "How?\n----\n\nSo.\n"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_people_have_is_read(name: str) -> None:
    file, text = GOOD[name]
    (entry,) = read_bytes(text.encode(), form_of(file), file)
    assert (entry.question, entry.answer, entry.key) == ("How?", "So.", "how")


BAD = {
    "no answer": ("x.csv", "question,answer\nHow?,So.\nWhy?,\n", 3, "answer is empty"),
    "no question": ("x.csv", "question,answer\n,So.\n", 2, "question is empty"),
    "no heading row": ("x.csv", "How?,So.\n", 1, "question and answer are needed"),
    "a column twice": ("x.csv", "question,answer,q\na,b,c\n", 1, "more than once"),
    "a key twice": ("x.csv", "key,question,answer\na,How?,So.\nb,Why?,So.\na,Who?,So.\n", 4, "that of line 2"),
    "the same question twice": ("x.csv", "question,answer\nHow?,So.\nhow,So.\n", 3, "that of line 2"),
    "a key twice in one line": ("x.json", '[{"q":"a?","a":"b"},{"q":"a?","a":"b"}]', 1, "that of line 1"),
    "too many cells": ("x.csv", 'question,answer\nHow?,So,"x"\n', 2, "3 cells"),
    "an open quote": ("x.csv", 'question,answer\nHow?,"So.\n', 2, "cannot be read"),
    "a wrong date": ("x.csv", "question,answer,valid_from\nHow?,So.,31.12.2026\n", 2, "31.12.2026"),
    "an impossible date": ("x.csv", "question,answer,valid_from\nHow?,So.,2026-02-30\n", 2, "2026-02-30"),
    "dates the wrong way": ("x.jsonl", '{"q":"a","a":"b","from":"2026-02-01","until":"2026-01-01"}', 1, "before"),
    "a wrong language": ("x.csv", "question,answer,language\nHow?,So.,English!\n", 2, "en or zh-CN"),
    "a wrong key": ("x.csv", "key,question,answer\na b,How?,So.\n", 2, "without spaces"),
    "broken json": ("x.json", '[\n{"question": "How?",}]', 2, "no JSON"),
    "a json number": ("x.json", "3", 1, "list of entries"),
    "a broken line": ("x.jsonl", '{"q":"a?","a":"b"}\n{"q":\n', 2, "no JSON"),
    "a list for an answer": ("x.jsonl", '{"q":"a?","a":["b"]}', 1, "answer should be a text"),
    "an object for an answer": ("x.json", '[\n\n{"q":"a?","a":{}}]', 3, "should be a text"),
    "a truth for an answer": ("x.jsonl", '{"q":"a?","a":true}', 1, "should be a text"),
    "an item that is no object": ("x.json", '[{"q":"a?","a":"b"},\n7]', 2, "should be an object"),
    "deep nesting": ("x.json", "[\n" * 100_000, 21, "too deep"),
    "deep nesting in a line": ("x.jsonl", '{"q":"a?","a":"b"}\n' + "[" * 100_000, 2, "too deep"),
    "deep nesting in yaml": ("x.yaml", "- q: a?\n  a: b\n- " + "[" * 100_000, 3, "too deep"),
    "nesting by lines in yaml": ("x.yaml", "".join(f"{' ' * i}-\n" for i in range(500)), 21, "too deep"),
    "an answer twice": ("x.json", '[\n{"q":"a?","a":"b","a":"c"}]', 2, "'a' is given more than once"),
    "an answer twice in a line": ("x.jsonl", '{"q":"a?","answer":"b","answer":"c"}', 1, "'answer' is given more"),
    "an answer by two names": ("x.jsonl", '{"q":"a?","answer":"b","a":"c"}', 1, "answer is given more"),
    "entries twice": ("x.json", '{"faq":[],\n"faq":[{"q":"a?","a":"b"}]}', 2, "'faq' is given more than once"),
    "an answer twice in yaml": ("x.yaml", "- q: a?\n  a: b\n  a: c\n", 3, "'a' is given more than once"),
    "entries twice in yaml": ("x.yaml", "faq: []\nfaq:\n- q: a?\n  a: b\n", 2, "'faq' is given more than once"),
    "broken yaml": ("x.yaml", "- question: How?\n  answer: [So\n", 3, "no YAML"),
    "a yaml alias": ("x.yaml", "- &a {question: How?, answer: So.}\n- *a\n", 2, "Aliases"),
    "a yaml text": ("x.yaml", "How?", 1, "list of entries"),
    "a heading without a text": ("x.md", "# How?\n\n# Why?\n\nSo.\n", 1, "answer is empty"),
    "no heading": ("x.md", "So.\n", 1, "no heading"),
    "an unknown note": ("x.md", "## How? {#a}\n<!-- faq\nalos: x\n-->\nSo.\n", 3, "alos"),
    "nothing": ("x.csv", "question,answer\n", 0, "no entries"),
    "NUL": ("x.csv", "question,answer\nHow?,\0\n", 2, "NUL"),
    "a long question": ("x.csv", f"question,answer\n{'a' * (MAX_QUESTION_CHARS + 1)},So.\n", 2, "characters"),
    "a long answer": ("x.csv", f"question,answer\nHow?,{'a' * (MAX_ANSWER_CHARS + 1)}\n", 2, "characters"),
    "a huge cell": ("x.csv", f"question,answer\nHow?,{'a' * 300_000}\n", 2, "field larger"),
    "an unknown suffix": ("x.docx", "", 0, "should end in"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_line(name: str) -> None:
    file, text, line, sentence = BAD[name]
    with pytest.raises(FaqFileRefused) as refused:
        read_bytes(text.encode(), form_of(file), file)
    problem = refused.value.problems[-1]
    assert (problem.line, sentence in problem.text) == (line, True), problem
    assert str(refused.value).startswith(f"{file}:")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    rows = "".join(f"How {i}?,\n" for i in range(30))
    with pytest.raises(FaqFileRefused, match=r"… and 10 more\.") as refused:
        read_bytes(f"question,answer\n{rows}".encode(), form_of("csv"), "x.csv")
    assert [problem.line for problem in refused.value.problems] == list(range(2, 32))


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_a_file_is_read(codec: str) -> None:
    (entry,) = read_bytes("question,answer\n怎么退货？,七天内。\n".encode(codec), form_of("csv"), "x.csv")
    assert (entry.question, entry.answer) == ("怎么退货？", "七天内。")


def test_another_encoding_is_refused_with_its_line_and_read_where_it_is_named() -> None:
    content = "question,answer\nHow?,So.\n怎么退货？,七天内。\n".encode("gb18030")
    with pytest.raises(FaqFileRefused, match=r"x\.csv:3: .*--encoding gb18030"):
        read_bytes(content, form_of("csv"), "x.csv")
    assert read_bytes(content, form_of("csv"), "x.csv", encoding="gb18030")[1].question == "怎么退货？"
    for codec in ("klingon", "\0", "hex", "undefined"):
        with pytest.raises(FaqFileRefused, match="cannot be read as '"):
            read_bytes(content, form_of("csv"), "x.csv", encoding=codec)


def test_two_tables_are_read_at_a_time() -> None:
    large = f"question,answer\nHow?,{'a' * 150_000}\nWhy?,So.\n"
    first = FORMS[".csv"].read(large)
    next(iter(first))
    list(FORMS[".csv"].read("question,answer\nHow?,So.\n"))
    assert [getattr(each, "question", each) for each in first] == ["Why?"]


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(50 << 20)
    with pytest.raises(FaqFileRefused, match="50 MiB; at most 20"):
        read_file(large)
    with pytest.raises(FaqFileRefused, match="at most 20"):
        read_bytes(bytes(MAX_FILE_BYTES + 1), form_of("csv"), "x.csv")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FaqFileRefused, match="cannot be read: No such file"):
        read_file(tmp_path / "none.csv")


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 3)
    with pytest.raises(FaqFileRefused, match="More than 3 entries"):
        read_bytes(b"question,answer\n" + b"".join(b"How %d?,So.\n" % i for i in range(9)), form_of("csv"), "x.csv")


def test_scripts_in_an_answer_stay_text() -> None:
    text = "## How? {#a}\n\n<script>alert(1)</script>\n[x](javascript:alert(1))\n"
    (entry,) = read_bytes(text.encode(), form_of("md"), "x.md")
    assert entry.answer == "<script>alert(1)</script>\n[x](javascript:alert(1))"


def test_the_file_says_what_belongs_to_all_entries_without_a_language() -> None:
    text = b"question,answer,language\nHow?,So.,\nComment?,Ainsi.,fr\n"
    assert [e.language for e in read_bytes(text, form_of("csv"), "x.csv", language="en")] == ["en", "fr"]


def test_a_key_comes_from_the_question_and_stays() -> None:
    assert key_of("How do I  pay?") == "how-do-i-pay"
    assert [key_of(f"What is {name}?") for name in ("C", "C++", "C#")] == [
        "what-is-c", "what-is-c-plus-plus", "what-is-c-sharp",
    ]  # fmt: skip
    assert key_of("怎么付款？").startswith("q-")
    assert key_of("怎么付款？") == key_of("怎么付款？")
    assert len(key_of("word " * 50)) <= 14


def test_repeated_phrasings_and_white_space_are_put_in_order() -> None:
    draft = EntryDraft(
        1, question=" How \n do? ", phrasings=("How do?", "Why?", ""), answer="\r\nSo.\r\n", tags=("a", "a ")
    )
    entry = check(draft).entry
    assert entry == Entry("how-do", ("How do?", "Why?"), "So.", ("a",))
    assert entry.valid_on(date(2026, 1, 1))


@pytest.mark.parametrize(("day", "valid"), [(1, False), (2, True), (3, True), (4, False)])
def test_an_answer_holds_from_its_first_day_to_its_last(day: int, valid: bool) -> None:
    entry = Entry("a", ("a?",), "b", valid_from=date(2026, 1, 2), valid_until=date(2026, 1, 3))
    assert entry.valid_on(date(2026, 1, day)) is valid
