"""Detokenizer: token ids, one after another, to text that can be shown at once.

Knows decoding, and leaves stop strings to `stop_strings`. Never hands out half a character (a decoding that ends in
U+FFFD waits for more). Everything handed out together is the decoding of all ids, cut before a stop string, however
the text was split into tokens. Knows no engine and no template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.stop_strings import StopStrings

Decode = Callable[[Sequence[int]], str]

_HALF = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """The text of one answer. Once `stopped`, nothing more comes out."""

    def __init__(self, decode: Decode, stop: tuple[str, ...] = ()) -> None:
        self._decode = decode
        self._stop = StopStrings(stop)
        self._ids: list[int] = []
        self._context = 0  # ids before it are no longer decoded
        self._decoded = 0  # ids before it are in the text
        self._known = ""  # decoding of ids[context:decoded]
        self._given: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the text."""
        return self._stop.stopped

    @property
    def text(self) -> str:
        """All that was handed out."""
        return "".join(self._given)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The ids of `text`, or nothing where a stop string cut a token in two."""
        if not self.stopped:
            return tuple(self._ids)
        text = self.text
        for count in range(len(self._ids), 0, -1):
            decoded = self._decode(self._ids[:count])
            if len(decoded) <= len(text):
                return tuple(self._ids[:count]) if decoded == text else ()
        return ()

    def push(self, token_id: int) -> str:
        """Take the next id and return what can be shown now, often nothing."""
        if self.stopped:
            return ""
        self._ids.append(token_id)
        decoded = self._decode(self._ids[self._context :])
        piece = decoded[len(self._known) :]
        if not piece or piece.endswith(_HALF):
            return ""
        self._context, self._decoded = self._decoded, len(self._ids)
        self._known = self._decode(self._ids[self._context :])
        return self._give(self._stop.push(piece))

    def finish(self) -> str:
        """Return what was held back. Half a character becomes U+FFFD."""
        if self.stopped:
            return ""
        piece = self._decode(self._ids[self._context :])[len(self._known) :]
        self._context = self._decoded = len(self._ids)
        self._known = ""
        return self._give(self._stop.push(piece) + self._stop.finish())

    def _give(self, text: str) -> str:
        self._given.append(text)
        return text
