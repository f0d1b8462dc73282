"""Guesses from what was said before: which, how many, and when they are worth it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.engine.lookup import Lookup, Price

tokens = st.lists(st.integers(0, 3), max_size=40)


@given(tokens, tokens, st.integers(0, 20))
def test_a_guess_goes_on_where_the_last_tokens_stood_before(prompt: list[int], answer: list[int], most: int) -> None:
    lookup = Lookup()
    for end in range(len(answer) + 1):
        ids = prompt + answer[:end]
        guess = lookup.guess(ids, most, 0.0)
        assert len(guess) <= most
        if guess:
            whole = ids + guess
            last = ids[-2:]
            assert any(whole[i : i + 2 + len(guess)] == last + guess for i in range(len(ids) - 2))


def test_what_was_never_said_is_not_guessed() -> None:
    assert Lookup().guess(range(100), 8, 0.0) == []
    assert Lookup().guess([1, 2, 3, 4, 1, 2], 8, 0.0) == [3, 4, 1, 2], "four tokens at first"
    assert Lookup().guess([1, 2], 8, 0.0) == Lookup().guess([], 8, 0.0) == []


def test_right_guesses_become_longer_and_wrong_ones_rarer() -> None:
    ids, good, bad = [1, 2, 3] * 30, Lookup(), Lookup()
    lengths, guessed = [], 0
    for _ in range(60):
        lengths.append(len(good.guess(ids, 64, 0.2)))
        good.note(lengths[-1], lengths[-1])
        wrong = len(bad.guess(ids, 64, 0.2))
        bad.note(wrong, 0)
        guessed += wrong
    assert lengths[:4] == [4, 8, 16, 16]
    assert lengths[-1] == 16
    assert 0 < guessed < 30


def test_a_request_that_copies_again_is_found_out() -> None:
    ids, lookup = [1, 2, 3] * 30, Lookup()
    for _ in range(200):
        lookup.note(len(lookup.guess(ids, 64, 0.2)), 0)
    found = []
    for _ in range(150):
        found.append(len(lookup.guess(ids, 64, 0.2)))
        lookup.note(found[-1], found[-1])
    assert found[-1] == 16


def test_the_price_is_learnt_from_steps_with_guesses_and_without() -> None:
    price = Price()
    assert price.room(4) == 0, "first it must be known what a step costs"
    price.note(4, 0, 0.1)
    assert price.room(4) == 16
    assert price.of(4) == 0, "unknown yet"
    price.note(4, 10, 0.15)  # 5 ms a guess; in 0.1 s four tokens are made
    assert abs(price.of(4) - 0.2) < 1e-9
    assert price.room(8) == 0, "other batches cost something else"


def test_large_batches_guess_nothing_and_now_and_then_a_plain_step_is_seen() -> None:
    price = Price()
    for rows in (2, 65):
        price.note(rows, 0, 0.1)
    rooms = [price.room(2) for _ in range(129)]
    assert [i for i, room in enumerate(rooms) if not room] == [0, 64, 128]
    assert not any(price.room(65) for _ in range(3))
