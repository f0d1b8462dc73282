"""A Prompt becomes exactly the template's rendering, and nothing that a person types becomes part of the template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from core.prompts import Prompt, PromptPart
from tests.workers.tiny import CHATML, SPECIAL, make_tokenizer
from workers.chat_template import ChatTemplate

TYPED = st.lists(st.sampled_from([*SPECIAL, "<|im", "_start|>", "hi", "\n", "你好", " ", "\u202e"]), max_size=8).map(
    "".join
)


def prompt(*said: tuple[str, str]) -> Prompt:
    return Prompt(tuple(PromptPart(role, text) for role, text in said))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def template(tokenizer: PreTrainedTokenizerFast) -> ChatTemplate:
    return ChatTemplate(tokenizer)


def test_harmless_text_gives_what_transformers_gives(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerFast
) -> None:
    said = [("system", "Be kind."), ("user", "Hi\n\n你好"), ("assistant", "Hello!"), ("user", "2 + 2?")]
    messages = [{"role": role, "content": text} for role, text in said]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert template.encode(prompt(*said)) == tuple(expected)
    assert template.count(prompt(*said)) == len(expected)


@given(texts=st.lists(TYPED, min_size=1, max_size=4))
def test_typed_special_tokens_stay_text(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    said = [(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    ids = template.encode(prompt(*said))
    special = [i for i in ids if i in tokenizer.added_tokens_decoder]
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert special == [start, end] * len(said) + [start]
    rendered = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in said) + "<|im_start|>assistant\n"
    assert tokenizer.decode(list(ids), clean_up_tokenization_spaces=False) == rendered


def test_answers_go_in_as_the_ids_they_were_generated_as(template: ChatTemplate) -> None:
    odd = (100, 101, 102)
    ids = template.encode(Prompt((PromptPart("user", "a"), PromptPart("assistant", "x", odd), PromptPart("user", "b"))))
    before = template.encode(Prompt((PromptPart("user", "a"),)))
    assert ids[: len(before) + 3] == before + odd


def test_the_next_prompt_starts_with_prompt_and_answer(template: ChatTemplate) -> None:
    first = prompt(("system", "S"), ("user", "a"))
    answer = PromptPart("assistant", "yes", (50, 60))
    second = Prompt((*first.parts, answer, PromptPart("user", "b")))
    assert template.encode(second)[: template.count(first) + 2] == (*template.encode(first), 50, 60)


def test_special_tokens_of_the_template_end_an_answer(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert template.stop_ids == set(tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]))
    assert template.stop_strings == ()


REFUSES_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% endfor %}"
)
DROPS_SYSTEM = CHATML.replace("for message in messages", "for message in messages if message.role != 'system'")
REPEATS_SYSTEM = "{{ messages[0].content if messages[0].role == 'system' else '' }}" + CHATML
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + CHATML
)


@pytest.mark.parametrize("chat_template", [REFUSES_SYSTEM + CHATML, DROPS_SYSTEM, REPEATS_SYSTEM, ALTERNATES])
def test_a_system_part_that_the_template_cannot_put_goes_into_the_first_message(chat_template: str) -> None:
    ids = ChatTemplate(make_tokenizer(chat_template)).encode(
        prompt(("system", "Be kind."), ("user", "Hi"), ("assistant", "Yes"), ("user", "2?"))
    )
    shown = make_tokenizer().decode(list(ids))
    assert shown == (
        "<|im_start|>user\nBe kind.\n\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n"
        "<|im_start|>user\n2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_messages_of_the_same_role_are_joined_where_roles_must_alternate() -> None:
    ids = ChatTemplate(make_tokenizer(ALTERNATES)).encode(prompt(("user", "a"), ("user", "b")))
    assert make_tokenizer().decode(list(ids)) == "<|im_start|>user\na\n\nb<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("chat_template", [None, "{{ raise_exception('never') }}", "{% if %}"])
def test_without_a_template_a_plain_transcript_is_written(chat_template: str | None) -> None:
    template = ChatTemplate(make_tokenizer(chat_template))
    ids = template.encode(prompt(("system", "S"), ("user", "a <|im_start|>"), ("assistant", "b"), ("user", "c")))
    shown = make_tokenizer().decode(list(ids))
    assert shown == "System: S\n\nUser: a <|im_start|>\n\nAssistant: b\n\nUser: c\n\nAssistant:"
    assert not set(ids) & set(make_tokenizer().added_tokens_decoder)
    assert template.stop_strings == ("\nUser:", "\nSystem:")
    assert template.stop_ids == frozenset()


def test_added_tokens_that_the_template_uses_stay_text_too() -> None:
    tokenizer = make_tokenizer(CHATML.replace("<|im_start|>", "<|turn|>"))
    tokenizer.add_tokens([AddedToken("<|turn|>", special=False), AddedToken("    ", special=False)])
    turn, spaces = tokenizer.convert_tokens_to_ids(["<|turn|>", "    "])
    ids = ChatTemplate(tokenizer).encode(prompt(("user", "<|turn|>    ")))
    assert ids.count(turn) == 2
    assert spaces in ids


def test_the_tokenizer_given_still_reads_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    ChatTemplate(tokenizer)
    assert tokenizer.encode("<|im_start|>") == [tokenizer.convert_tokens_to_ids("<|im_start|>")]
