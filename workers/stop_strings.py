"""StopStrings: text as it comes, cut before the stop string that is complete first, however the text was split.

Never hands out a piece of what may become a stop string. Knows no tokens.
"""

from __future__ import annotations


class StopStrings:
    """The stop strings of one answer. Once `stopped`, nothing more comes out."""

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._stop = stop
        self._held = ""  # perhaps part of a stop string
        self.stopped = False

    def push(self, text: str) -> str:
        """Take more text and return what can be shown now."""
        if self.stopped:
            return ""
        text = self._held + text
        end = find_stop(text, self._stop)
        if end is not None:
            self.stopped, self._held = True, ""
        else:
            end = len(text) - _held_back(text, self._stop)
            self._held = text[end:]
        return text[:end]

    def finish(self) -> str:
        """Return what was held back after all; after a stop string there is nothing."""
        held, self._held = self._held, ""
        return held


def find_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the stop string starts that is complete first (of several, the longest), or None."""
    found = [(at + len(word), at) for word in stop if (at := text.find(word)) >= 0]
    return min(found)[1] if found else None


def _held_back(text: str, stop: tuple[str, ...]) -> int:
    """The length of the longest end of `text` with which a stop string begins."""
    return max((n for word in stop for n in range(1, len(word)) if text.endswith(word[:n])), default=0)
