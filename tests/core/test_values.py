"""What crosses a process boundary, and how text is cleaned."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.values import InboundMessage, Person, Place, ReplyEvent, ReplyEventKind, SamplingParams, clean_text

ANY_TEXT = st.text(st.characters(codec=None, categories=None)) | st.text("\ud800\udc00\x00\x1b\r\n\t \u05d0\u202ea")


@given(ANY_TEXT)
def test_cleaned_text_can_be_stored_and_sent(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert all(c in "\n\t" or unicodedata.category(c) != "Cc" for c in cleaned)
    assert clean_text(cleaned) == cleaned


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_ordinary_text_is_kept_but_for_the_space_around_it(text: str) -> None:
    assert clean_text(text) == text.strip()


def test_line_ends_become_newlines_and_pairs_of_surrogates_one_character() -> None:
    assert clean_text("a\r\nb\rc") == "a\nb\nc"
    assert clean_text("\ud83d\ude00") == "😀"


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"repetition_penalty": 0},
        {"max_new_tokens": 0},
        {"seed": -1},
        {"stop": ("",)},
        {"stop": ("x",) * 17},
    ],
)
def test_sampling_parameters_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SamplingParams(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("identifier", ["", "two words", "x" * 201, "日本", "a\nb"])
def test_identifiers_are_short_and_plain(identifier: str) -> None:
    with pytest.raises(ValidationError):
        Place(platform="web", workspace=identifier, conversation="c")


def test_values_survive_the_wire_and_ignore_what_a_newer_version_added() -> None:
    event = ReplyEvent(turn_id=1, generation_id=2, fence=3, kind=ReplyEventKind.DELTA, text="日本 \ufffd", offset=4)
    assert ReplyEvent.model_validate_json(event.model_dump_json(exclude_defaults=True)) == event
    assert ReplyEvent.model_validate({**event.model_dump(), "mood": "sleepy"}) == event
    place = Place(platform="web", workspace="w", conversation="c")
    for name in (None, "Ann"):
        person = Person(id="p", display_name=name)
        message = InboundMessage(place=place, person=person, event_id="e", text="x", target={"channel": 1})
        assert InboundMessage.model_validate_json(message.model_dump_json()) == message


def test_a_display_name_is_short_and_clean() -> None:
    assert Person(id="p", display_name=" Ann\x07 ").display_name == "Ann"
    with pytest.raises(ValidationError):
        Person(id="p", display_name="x" * 81)


def test_an_error_holds_nothing_that_people_said() -> None:
    with pytest.raises(ValidationError) as caught:
        Person(id="p", display_name="what somebody said" * 10)
    assert "somebody" not in str(caught.value)
