"""Pace: how many prompt tokens go along with a decode step, so that a long prompt does not stall the others' tokens.

Knows durations of steps and nothing else. A step may take 1.4 times as long as without newcomers, so that they soon run too
and share the weights that a step reads; where more wait than run, those who wait go first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.floating[Any]]

LEAST_TOKENS = 16
MOST_TOKENS = 512
_FIRST_GUESS = 64
_STRETCH = 0.4
"""What newcomers may add to a step, as a share of it."""

_NEW = 0.1
_OUTLIER = 3.0
_KEPT = 0.98
"""What a step counts for, one step later."""

_UNITS = np.array([1.0, 8.0, 64.0])
"""A step, running requests, prompt tokens: of each about as many as cost the same."""

_TRUST = 0.01
"""How much is needed to change what was believed, beside one step."""


class Pace:
    """Learns what a step costs: something by itself, something for each request that decodes, and for each prompt token.

    The latest steps are explained as well as can be (least squares); what they do not show stays as it was.
    """

    def __init__(self) -> None:
        self._shown, self._took = np.zeros((3, 3)), np.zeros(3)
        self._costs_s: Costs = np.zeros(3)
        self._prompts_seen = False

    def allowance(self, decoding: int, newcomers: int) -> int:
        """The prompt tokens of the next step, with so many requests that decode and so many that do not yet."""
        if newcomers > decoding:
            return MOST_TOKENS
        step_s, token_s = self._expected_s(decoding, 0), self._costs_s[2] / _UNITS[2]
        if step_s <= 0 or not self._prompts_seen:
            return _FIRST_GUESS
        room_s = _STRETCH * step_s
        return max(LEAST_TOKENS, int(room_s / token_s)) if token_s * MOST_TOKENS > room_s else MOST_TOKENS

    def note(self, decoding: int, prompt_tokens: int, seconds: float) -> None:
        """A step with so many of both has taken so long."""
        self._prompts_seen |= prompt_tokens >= LEAST_TOKENS  # shorter ones tell nothing
        expected_s = self._expected_s(decoding, prompt_tokens)
        if expected_s > 0:  # one stalled step is not believed
            seconds = min(seconds, _OUTLIER * expected_s)
        units = np.array([1.0, decoding, prompt_tokens]) / _UNITS
        self._shown = _KEPT * self._shown + np.outer(units, units)
        self._took = _KEPT * self._took + units * seconds
        believed = _TRUST * np.eye(3)
        self._costs_s = np.linalg.solve(self._shown + believed, self._took + believed @ self._costs_s)

    def _expected_s(self, decoding: int, prompt_tokens: int) -> float:
        return float(self._costs_s @ (np.array([1.0, decoding, prompt_tokens]) / _UNITS))


def mixed(before: float | None, now: float) -> float:
    """A running average that one stalled step does not throw."""
    return now if not before else before + _NEW * (min(now, _OUTLIER * before) - before)
