"""What stands on the terminal: streamed answers, explanations, earlier turns. Model text never drives the terminal."""

from __future__ import annotations

import unicodedata
from typing import TextIO

from bots.answers import shown
from bots.delivery import Chunk, ReplySink
from bots.explanation import facts, notes, prompt_lines
from bots.texts import failure_sentence, text
from core.history import Explanation, TurnView
from core.values import TurnState

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def printable(words: str) -> str:
    """`words` without what a terminal would obey: escape sequences and control characters but newline and tab."""
    return "".join(c for c in words if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


class TerminalSink(ReplySink):
    """A ReplySink that writes on: what was printed stays, what is new follows it."""

    max_chars: int | None = None
    max_chunks: int | None = None

    def __init__(self, out: TextIO) -> None:
        self._out, self._shown = out, ""

    def edit_interval_s(self) -> float:
        """A terminal takes everything at once."""
        return 0.0

    async def send(self, chunk: Chunk) -> str:
        """Print the beginning of an answer."""
        self._show(chunk)
        return f"terminal:{chunk.nonce}"

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        """Print what was added; an answer that was started over with other words is printed anew."""
        self._show(chunk)

    async def remove(self, external_id: str) -> None:
        """What is printed cannot be taken away; what counts follows below it."""
        self._begin_line()

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Print a sentence on a line of its own."""
        self._begin_line()
        self._out.write(sentence)
        self._out.flush()

    def _show(self, chunk: Chunk) -> None:
        if self._shown.startswith(chunk.text) and not chunk.final:
            return  # it was started over and has not come as far again
        if not chunk.text.startswith(self._shown):
            self._begin_line()
        self._out.write(printable(chunk.text[len(self._shown) :]))
        self._out.flush()
        self._shown = chunk.text

    def _begin_line(self) -> None:
        if self._shown:
            self._out.write("\n")
            self._shown = ""


def earlier(turns: list[TurnView], language: str, *, color: bool) -> str:
    """Turns of before, dimmed."""
    lines = [text("terminal_earlier", language)]
    for turn in turns:
        lines += [f"> {said(turn, language)}", *_ended(turn, language)]
    words = "\n".join(lines)
    return f"{_DIM}{words}{_PLAIN}" if color else words


def said(turn: TurnView, language: str) -> str:
    """What was asked, or that it is not kept."""
    return text("not_kept", language) if turn.purged else printable(turn.text)


def _ended(turn: TurnView, language: str) -> list[str]:
    """What an ended Turn shows: its answer, and why that is not all."""
    words = shown(turn)
    answer = [printable(words)] if words else []
    if turn.state is TurnState.FAILED:
        return [*answer, failure_sentence(turn.failure, language)]
    return [*answer, text("stopped", language)] if turn.state is TurnState.CANCELLED else answer


def explained(explanation: Explanation, language: str, *, color: bool) -> str:
    """Why an answer is as it is, as lines."""
    bold, plain = (_BOLD, _PLAIN) if color else ("", "")
    lines = [f"{bold}{name}{plain}: {printable(value)}" for name, value in facts(explanation, language)]
    lines += notes(explanation, language)
    if explanation.messages:
        lines.append(f"{bold}{text('why_prompt', language)}{plain}:")
        lines += map(printable, prompt_lines(explanation))
    return "\n".join(lines)
