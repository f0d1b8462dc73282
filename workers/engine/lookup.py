"""Lookup: guesses what an answer says next, where its last words stood before in its own prompt or answer.

Answers from passages copy much of them. Guessed tokens are run along with the last one in the same pass, and those that
are what would have been sampled anyway are kept: what is said does not change, only how many passes it takes. Knows
token ids and durations of steps; knows no model and no slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from workers.engine.pace import mixed

_MATCHES = (3, 2)
"""So many last tokens must have stood before, the most telling first."""

_FIRST_GUESS, _LEAST_GUESS, _LONGEST_GUESS = 4, 2, 16
_STEP_GUESSES = 64
"""Guessed tokens of all rows in one pass."""

_HOPE = 0.5
_NEW = 0.4
_LONGEST_PAUSE = 128
_REFRESH = 64
"""Every so many steps nothing is guessed, to see what a step costs then."""


class Lookup:
    """One request's guesses, and how good they were. Bad ones pause it, each time for twice as long."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}  # some tokens → where what followed them begins
        self._seen = 0
        self._length, self._odds = _FIRST_GUESS, _HOPE
        self._pause = self._misses = 0

    def guess(self, ids: Sequence[int], most: int, price: float) -> list[int]:
        """Up to `most` tokens that may follow `ids`, to which each call has only added. A guess costs `price` tokens."""
        self._learn(ids)
        if self._pause:
            self._pause -= 1
            return []
        length = min(most, self._length)
        begin = next(filter(None, (self._after.get(tuple(ids[-count:])) for count in _MATCHES)), None)
        if length <= 0 or begin is None:
            return []
        if self._odds < price:
            self._misses += 1
            self._pause = min(_LONGEST_PAUSE, 2**self._misses)
            length = min(length, _LEAST_GUESS)  # one look whether it has become better
        period = len(ids) - begin
        return [ids[begin + i % period] for i in range(length)]

    def note(self, guessed: int, right: int) -> None:
        """So many tokens were guessed, of which the first `right` were what was said."""
        if not guessed:
            return
        self._odds += _NEW * (right / guessed - self._odds)
        if right == guessed:
            self._length = min(2 * self._length, _LONGEST_GUESS)
            self._pause = self._misses = 0
        else:
            self._length = max(_LEAST_GUESS, right + 1)

    def _learn(self, ids: Sequence[int]) -> None:
        """Remember what followed every few tokens but the last ones, which nothing has followed yet."""
        for end in range(self._seen, len(ids)):
            for count in _MATCHES:
                if end >= count:
                    self._after[tuple(ids[end - count : end])] = end
        self._seen = len(ids)


class Price:
    """What a guessed token costs, in tokens that could have been made in the same time, by how many rows decode."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._plain_s: dict[int, float] = {}
        self._guess_s: dict[int, float] = {}

    def room(self, rows: int) -> int:
        """The tokens that each of so many rows may guess in the next step."""
        self._steps[rows] = steps = self._steps.get(rows, -1) + 1
        return 0 if rows not in self._plain_s or steps % _REFRESH == 0 else _STEP_GUESSES // rows

    def of(self, rows: int) -> float:
        """The price with so many rows; nothing as long as it is unknown."""
        return rows * self._guess_s.get(rows, 0.0) / self._plain_s.get(rows, 1.0)

    def note(self, rows: int, guessed: int, seconds: float) -> None:
        """A step of so many rows that decode, and of nobody's prompt, has taken so long."""
        if not guessed:
            self._plain_s[rows] = mixed(self._plain_s.get(rows), seconds)
        elif rows in self._plain_s:
            each = max(0.0, seconds - self._plain_s[rows]) / guessed
            self._guess_s[rows] = mixed(self._guess_s.get(rows), each)
