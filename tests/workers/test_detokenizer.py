"""Text comes out whole characters at a time, and stops exactly where it should, however it was split into tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workers.detokenizer import Detokenizer
from workers.stop_strings import find_stop

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def decode_of(tokenizer: PreTrainedTokenizerFast):  # type: ignore[no-untyped-def]
    return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def run(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [detokenizer.push(i) for i in ids] + [detokenizer.finish()]


@given(ids=st.lists(st.integers(0, 258), max_size=60))
def test_any_bytes_come_out_as_they_decode(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> None:
    decode = decode_of(tokenizer)
    detokenizer = Detokenizer(decode)
    assert "".join(run(detokenizer, ids)) == decode(ids) == detokenizer.text
    assert detokenizer.token_ids == tuple(ids)


@given(text=ANY_TEXT)
def test_no_piece_holds_half_a_character(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    pieces = run(Detokenizer(decode_of(tokenizer)), tokenizer.encode(text, add_special_tokens=False))
    assert "".join(pieces) == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def characters(text: str) -> list[int]:
    return [ord(c) for c in text]


def from_characters(ids):  # type: ignore[no-untyped-def]
    return "".join(map(chr, ids))


SMALL = st.text("abc", max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3).map(tuple)


def cut(text: str, stop: tuple[str, ...]) -> str:
    """Read letter by letter until a stop string is complete."""
    for end in range(1, len(text) + 1):
        found = [word for word in stop if text[:end].endswith(word)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(text=SMALL, stop=STOPS)
def test_the_text_is_cut_before_the_stop_string_that_is_complete_first(text: str, stop: tuple[str, ...]) -> None:
    detokenizer = Detokenizer(from_characters, stop)
    pieces = run(detokenizer, characters(text))
    assert "".join(pieces) == detokenizer.text == cut(text, stop)
    assert detokenizer.stopped == (find_stop(text, stop) is not None)
    assert from_characters(detokenizer.token_ids) == detokenizer.text


@given(words=st.lists(SMALL, max_size=6), stop=STOPS)
def test_how_the_text_was_split_into_tokens_does_not_matter(words: list[str], stop: tuple[str, ...]) -> None:
    detokenizer = Detokenizer(lambda ids: "".join(words[i] for i in ids), stop)
    assert "".join(run(detokenizer, list(range(len(words))))) == cut("".join(words), stop)


def test_text_is_shown_as_soon_as_it_cannot_be_a_stop_string() -> None:
    detokenizer = Detokenizer(from_characters, ("END",))
    assert [detokenizer.push(i) for i in characters("aENxEND")] == ["a", "", "", "ENx", "", "", ""]
    assert detokenizer.stopped
    assert detokenizer.push(ord("z")) == detokenizer.finish() == ""


def test_a_stop_string_that_cuts_a_token_leaves_no_token_ids() -> None:
    words = ["Hel", "lo\nUs", "er:"]
    detokenizer = Detokenizer(lambda ids: "".join(words[i] for i in ids), ("\nUser:",))
    assert "".join(run(detokenizer, [0, 1, 2])) == "Hello"
    assert detokenizer.token_ids == ()


@pytest.fixture(scope="module")
def spaced() -> PreTrainedTokenizerFast:
    """In the manner of SentencePiece: words carry their space before them, and the first one loses it."""
    words = ["<unk>", "▁", "▁the", "▁cat", "s", ".", "▁a"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@given(ids=st.lists(st.integers(1, 6), max_size=20))
def test_spaces_between_words_are_kept(spaced: PreTrainedTokenizerFast, ids: list[int]) -> None:
    decode = decode_of(spaced)
    assert "".join(run(Detokenizer(decode), ids)) == decode(ids)
