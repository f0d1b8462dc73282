"""Recipes: what the shipped ones say, what a workspace's own may do, and what goes wrong with which line."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from core import recipes
from core.errors import RecipeError, UnknownRecipe
from core.recipes import MAX_ADDED_CHARS, MAX_SOURCE_BYTES, NAMES, Passage, load

WIFI = Passage("faq:1@1", "Yes, in every room.", "Is there WiFi?")
PETS = Passage("faq:2@1", "No, sorry.", "Are pets allowed?")


def put(
    name: str,
    text: str = "hello",
    arguments: Mapping[str, str] | None = None,
    *passages: Passage,
    language: str = "en",
    message: str | None = None,
    source: str | None = None,
) -> str:
    """Render the user part of a recipe."""
    recipe = load(name, None if source is None else {name: source})
    return recipe.render_user(
        text=text,
        message=text if message is None else message,
        persona="",
        language=language,
        arguments=arguments or {},
        passages=passages,
    )


def own(body: str) -> str:
    """Return a source whose user block is `body` and which shows the message."""
    return "{% block user %}" + body + "{{ message }}{% endblock %}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "zh-CN", ""])
@pytest.mark.parametrize("text", ["Where is the station?", "车站在哪里？", "42", "{{ 7*7 }} {% block user %}"])
def test_every_shipped_recipe_shows_the_message_whole(name: str, language: str, text: str) -> None:
    for arguments in ({}, {"task": "classify"}, {"task": "extract"}, {"task": "compose"}, {"labels": "a, b"}):
        for passages in ((), (WIFI,), (WIFI, PETS)):
            assert text in put(name, text, arguments, *passages, language=language)


@pytest.mark.parametrize("name", NAMES)
def test_system_part_is_the_persona_alone_so_that_changing_the_recipe_keeps_the_prefix(name: str) -> None:
    assert load(name).render_system(persona="You are Pip.", language="en", arguments={"to": "fr"}) == "You are Pip."
    assert load(name).render_system(persona="", language="en", arguments={}) == ""


def test_chat_without_passages_is_the_message_itself() -> None:
    assert put("chat", "hello", message="Ann: hello") == "Ann: hello"


def test_chat_and_faq_see_the_history_and_the_others_do_not() -> None:
    assert {name for name in NAMES if load(name).history} == {"chat", "faq"}


def test_passages_are_numbered_before_the_message() -> None:
    assert put("chat", "And pets?", {}, WIFI, PETS) == (
        "[1] Is there WiFi? Yes, in every room.\n[2] Are pets allowed? No, sorry.\n\nAnd pets?"
    )
    assert put("faq", "And pets?", {}, WIFI, PETS) == (
        "Use only these passages, and put the number of the passage after each sentence, as [1]."
        " If they do not say, say so.\n\n"
        "[1] Is there WiFi? Yes, in every room.\n[2] Are pets allowed? No, sorry.\n\nQuestion: And pets?"
    )
    assert put("faq", "能带宠物吗？", {}, Passage("p", "不能。")) == (
        "只根据下面的资料回答，每句话后面注明资料的编号，如 [1]。资料没有提到就说没有提到。\n\n"
        "[1] 不能。\n\n问题：能带宠物吗？"
    )


@pytest.mark.parametrize(
    ("text", "arguments", "language", "expected"),
    [
        ("Good day.", {}, "en", "Translate into Chinese: Good day."),
        ("你好。", {}, "en", "Translate into English: 你好。"),
        ("你好。", {}, "zh-CN", "翻译成英文：你好。"),
        ("Good day.", {"to": "fr-CA"}, "en", "Translate into French: Good day."),
        ("Good day.", {"to": "Klingon"}, "en", "Translate into Klingon: Good day."),
    ],
)
def test_translate_names_the_language(text: str, arguments: dict[str, str], language: str, expected: str) -> None:
    assert put("translate", text, arguments, language=language) == expected


@pytest.mark.parametrize(
    ("name", "text", "arguments", "expected"),
    [
        ("write", "Once upon a time", {}, "Continue the text: Once upon a time"),
        ("write", "Once upon a time", {"task": "Story"}, "Continue the story: Once upon a time"),
        ("write", "很久以前", {}, "续写：很久以前"),
        ("write", "a poem", {"task": "compose", "style": "Basho"}, "Write this in the style of Basho: a poem"),
        ("understand", "my pin", {"labels": "a, b"}, "Which label fits the message?\nLabels: a, b\nMessage: my pin"),
        ("understand", "A text.", {}, "Summarise the text in one sentence.\n\nA text."),
        ("understand", "一段文字。", {}, "用一句话概括下面的文字。\n\n一段文字。"),
        (
            "understand",
            "Ann, 3 pm",
            {"task": "extract", "fields": "time"},
            "Extract time from the message.\nMessage: Ann, 3 pm",
        ),
    ],
)
def test_tasks_are_worded_by_their_arguments(name: str, text: str, arguments: dict[str, str], expected: str) -> None:
    assert put(name, text, arguments) == expected


def test_whatever_a_person_writes_is_data() -> None:
    typed = "{{ 7*7 }}{% for x in message %}{{ x }}{% endfor %}{# no #}"
    assert put("chat", typed) == typed
    assert typed in put("translate", "hi", {"to": typed})
    assert typed in put("faq", "hi", {}, Passage("p", typed, typed))


def test_a_workspace_may_word_a_recipe_itself() -> None:
    source = "{% block system %}Speak {{ language }}.{% endblock %}\n{% block user %}Q: {{ message }}{% endblock %}"
    recipe = load("chat", {"chat": source, "faq": "unused and {{ wrong"})
    assert recipe.render_system(persona="p", language="en", arguments={}) == "Speak en."
    assert put("chat", "hello", source=source) == "Q: hello"
    assert load("chat", {"faq": source}) == load("chat")


def test_the_documented_example_renders() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "recipes.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```jinja\n(.*?)```", page, re.DOTALL)
    assert put("translate", "hi", source=source) == "Translate into Chinese, formally: hi"


def test_version_follows_the_source() -> None:
    first, second = (load("chat", {"chat": own(body)}) for body in ("a", "b"))
    assert first.version != second.version != load("chat").version
    assert first.version == load("chat", {"chat": own("a")}).version
    assert len(first.version) == 12


def test_an_own_recipe_is_one_shot_where_it_says_so_and_else_as_the_shipped_one() -> None:
    assert load("chat", {"chat": own("")}).history
    assert not load("translate", {"translate": own("")}).history
    assert not load("chat", {"chat": "{% set history = false %}" + own("")}).history
    assert load("translate", {"translate": "{% set history = true %}" + own("")}).history


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe) as caught:
        load("sing", {"sing": own("")})
    assert caught.value.known == NAMES


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("{% block user %}\n{{ message }\n{% endblock %}", 2, "unexpected '}'"),
        ("{% block user %}\n\n{{ message | shout }}{% endblock %}", 3, "No filter named 'shout'"),
        ("{% block user %}{{ message }}\n{{ history }}{% endblock %}", 2, "'history' is undefined"),
        ("{% block system %}{{ text }}{% endblock %}" + own(""), 1, "'text' is undefined"),
        ("hello {{ message }}", 1, "may stand here"),
        ("{% block user %}hello{% endblock %}", 1, "no block 'user' that shows text or message"),
        ("{% block footer %}{% endblock %}" + own(""), 1, "may stand here"),
        ("{% include 'chat.j2' %}" + own(""), 1, "may stand here"),
        (own("\n{% macro f() %}{{ f() }}{% endmacro %}"), 2, "macro may not be used"),
        (own("\n{{ message * 100000 }}"), 2, "mul may not be used"),
        (own("\n{{ message ~ message }}"), 2, "concat may not be used"),
        (own("\n{% set a = [text, text] %}"), 2, "only constants"),
        (own("\n{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}"), 2, "nested"),
        (own("\n{% for a in text recursive %}{{ a }}{% endfor %}"), 2, "nested"),
        (own("{{ range }}"), 1, "'range' is undefined"),
        (own("{{ text() }}"), 1, "only methods may be called"),
        (own("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}"), None, "recursion"),
        (own("{{ " + "9" * 5000 + " }}"), None, "limit"),
        (own("x" * MAX_SOURCE_BYTES), None, f"at most {MAX_SOURCE_BYTES}"),
        (own("\ud800"), None, "surrogates"),
    ],
)
def test_a_wrong_source_is_refused_with_its_line(source: str, line: int | None, message: str) -> None:
    with pytest.raises(RecipeError, match="recipe 'chat'") as caught:
        load("chat", {"chat": source})
    assert message in str(caught.value)
    assert line is None or f"line {line}:" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n{{ arguments.tone }}", "has no attribute 'tone'"),
        ("\n{{ passages[7].text }}", "no element 7"),
        ("\n{{ message.__class__ }}", "unsafe"),
        ("\n{{ '{:>1000000000}'.format(1) }}", "unsafe"),
        ("\n{{ message.center(1000000000) }}", "unsafe"),
        ("\n{{ arguments.pop('to') }}", "unsafe"),
        ("\n{{ message | truncate(1) }}", ""),
        ("\n{{ message.split('') }}", "empty separator"),
    ],
)
def test_a_recipe_that_does_not_render_names_its_line(body: str, message: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe 'chat', line 2: ") as caught:
        put("chat", "hello there", {"to": "fr"}, source=own(body))
    assert message in str(caught.value)


def test_a_recipe_cannot_write_without_bounds() -> None:
    flood = own("{% for c in text %}{{ text }}{% endfor %}")
    started = time.perf_counter()
    with pytest.raises(RecipeError, match=f"more than {MAX_ADDED_CHARS} characters"):
        put("chat", "x" * 20_000, source=flood)
    assert time.perf_counter() - started < 1


def test_the_bound_is_on_what_the_recipe_adds_not_on_the_message() -> None:
    text = "x" * (3 * MAX_ADDED_CHARS)
    assert put("chat", text) == text


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("你好", True),
        ("我用Python写代码", True),
        ("What does 你好 mean in this sentence?", False),
        ("", False),
        ("?!", False),
    ],
)
def test_chinese_is_told_by_its_letters(text: str, chinese: bool) -> None:
    assert recipes.sandbox.is_chinese(text) is chinese
