"""What stands on the terminal is what was answered, once, and nothing that the terminal would obey."""

from __future__ import annotations

import asyncio
import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from bots.delivery import Chunk
from bots.terminal.chat import local_asker
from bots.terminal.screen import TerminalSink, earlier, explained, printable
from core.service import Service
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.terminal.keyboard import Screen, chatting

ESCAPES = st.sampled_from(["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x90q\x9c", "\r", "\x08", "\x7f", "\x00"])
EVIL = st.lists(st.text() | ESCAPES).map("".join)


def obeyed(words: str) -> set[str]:
    """The characters of `words` that a terminal would obey."""
    return {c for c in words if unicodedata.category(c) in ("Cc", "Cs")} - {"\n", "\t"}


class TestPrintable:
    @given(EVIL)
    def test_nothing_that_a_terminal_obeys_is_left(self, words: str) -> None:
        assert not obeyed(printable(words))

    @given(EVIL)
    def test_everything_else_is_left(self, words: str) -> None:
        assert printable(words) == "".join(c for c in words if c not in obeyed(words))

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
    def test_ordinary_text_is_left_as_it_is(self, words: str) -> None:
        assert printable(words) == words


class TestSink:
    @given(EVIL, st.lists(st.integers(0, 60)))
    def test_a_growing_answer_is_printed_once(self, answer: str, ends: list[int]) -> None:
        pieces = [answer[:end] for end in sorted(ends)]
        assert printed(*pieces, answer) == printable(answer)

    @given(EVIL, EVIL)
    def test_an_answer_that_is_started_over_stands_whole_at_the_end(self, first: str, second: str) -> None:
        steps = [second[:end] for end in range(len(second))]
        out = printed(first, *steps, second)
        assert out.endswith(printable(second))
        if second.startswith(first):
            assert out == printable(second)

    def test_an_answer_with_other_words_starts_on_a_line_of_its_own(self) -> None:
        assert printed("One two", "One", "One three") == "One two\nOne three"

    def test_a_notice_stands_on_a_line_of_its_own(self) -> None:
        out = io.StringIO()
        sink = TerminalSink(out)
        asyncio.run(sink.send(chunk("Half an", final=True)))
        asyncio.run(sink.notice("(stopped)", "n"))
        assert out.getvalue() == "Half an\n(stopped)"


def chunk(words: str, *, final: bool) -> Chunk:
    return Chunk(1, 0, words, "n", final)


def printed(*texts: str) -> str:
    """What a sink prints for one answer that is sent, edited and finished so."""

    async def run() -> str:
        sink = TerminalSink(out := io.StringIO())
        await sink.send(chunk(texts[0], final=len(texts) == 1))
        for number, words in enumerate(texts[1:], start=2):
            await sink.edit("id", chunk(words, final=number == len(texts)))
        return out.getvalue()

    return asyncio.run(run())


class TestWhatWasSaid:
    async def test_escapes_reach_no_part_of_the_screen(self, service: Service, worker: ScriptedWorker) -> None:
        worker.script["evil"] = ["\x1b]0;", "pwned\x07", "\x1b[2J\x9b", "31m ok"]
        async with chatting(service, screen := Screen()) as keys:
            keys.send_text("evil\r/why\r")
        assert "]0;pwned[2J31m ok" in screen.getvalue()
        async with chatting(service, again := Screen()):
            pass
        assert not obeyed(screen.getvalue()) and not obeyed(again.getvalue())

    async def test_only_our_own_colours_reach_a_terminal_that_has_some(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.script["evil"] = ["\x1b[31mred"]
        async with chatting(service, Screen()) as keys:
            keys.send_text("evil\r")
        (turn,) = await service.history(local_asker("main", "en").place)
        shown = earlier([turn], "en", color=True)
        assert shown.startswith("\x1b[2m") and shown.endswith("\x1b[0m") and shown.count("\x1b") == 2
        explanation = await service.why(turn.place, turn.turn_id)
        assert explained(explanation, "en", color=True).count("\x1b[") == 2 * 6
