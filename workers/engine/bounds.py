"""Bounds: how many requests and tokens go into a step. Knows numbers and nothing else.

After a lack of memory a step is made smaller; after enough steps that went well it may be larger again, for whatever
took the memory may have ended.
"""

from __future__ import annotations

from workers.engine.pace import LEAST_TOKENS, MOST_TOKENS

_GOOD_STEPS = 256
"""After so many steps that went well both bounds are doubled."""


class Bounds:
    """At most `rows` requests and `tokens` prompt tokens a step."""

    def __init__(self, most_rows: int) -> None:
        self.rows, self.tokens = most_rows, MOST_TOKENS
        self._most_rows, self._good = most_rows, 0

    def shrink(self, rows: int, tokens: int) -> None:
        """A step of so many rows and tokens lacked memory: next time it has half of both, as far as there were any more."""
        if rows > 1:
            self.rows = min(self.rows, rows // 2)
        if tokens > max(rows, LEAST_TOKENS):
            self.tokens = min(self.tokens, max(LEAST_TOKENS, tokens // 2))
        self._good = 0

    def went_well(self) -> None:
        """A step had memory enough."""
        self._good += 1
        if self._good == _GOOD_STEPS:
            self.rows, self.tokens = min(2 * self.rows, self._most_rows), min(2 * self.tokens, MOST_TOKENS)
            self._good = 0
