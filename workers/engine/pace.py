"""Pace: how many prompt tokens go along with a decode step, so that a long prompt does not stall the others' tokens.

Knows durations of steps and nothing else. A step may take 1.7 times as long as without newcomers, so that they soon run too
and share the weights that a step reads; where more wait than run, those who wait go first.
"""

from __future__ import annotations

LEAST_TOKENS = 16
MOST_TOKENS = 512
_FIRST_GUESS = 64
_STRETCH = 0.7
"""What newcomers may add to a step, as a share of it."""

_LEAST_SHARE = 0.1
_NEW = 0.1
_OUTLIER = 3.0


class Pace:
    """Learns from every step what a decode step and a prompt token cost here."""

    def __init__(self) -> None:
        self._decode_s: float | None = None
        self._token_s: float | None = None

    def allowance(self, decoding: int, newcomers: int) -> int:
        """The prompt tokens of the next step, with so many requests that decode and so many that do not yet."""
        if newcomers > decoding:
            return MOST_TOKENS
        if self._decode_s is None or not self._token_s:
            return _FIRST_GUESS
        return max(LEAST_TOKENS, min(MOST_TOKENS, int(_STRETCH * self._decode_s / self._token_s)))

    def note(self, decoding: int, prompt_tokens: int, seconds: float) -> None:
        """A step with so many of both has taken so long."""
        if not prompt_tokens:
            self._decode_s = mixed(self._decode_s, seconds)
        elif prompt_tokens >= LEAST_TOKENS and (not decoding or self._decode_s is not None):
            rest = max(seconds - (self._decode_s or 0.0), _LEAST_SHARE * seconds)  # the weights are read in any case
            self._token_s = mixed(self._token_s, rest / prompt_tokens)


def mixed(before: float | None, now: float) -> float:
    """A running average that one stalled step does not throw."""
    return now if not before else before + _NEW * (min(now, _OUTLIER * before) - before)
