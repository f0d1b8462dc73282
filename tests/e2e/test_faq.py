"""A newcomer's first questions, after `pajama up`: curated answers at once, in the terminal and on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bots.texts import text
from core.faq import sample
from tests.bots.web.test_page import CHROMIUM_ARGUMENTS, ended, last_answer, say
from tests.pajama.commands import Pajama, Up

ANSWERS = {entry.question: entry.answer for entry in sample.entries()}
DISCORD, SLACK = "How do I connect Discord?", "怎么接入 Slack？"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The stack as a newcomer starts it, but for the embedder, which takes seconds to load."""
    running = Up(Pajama(tmp_path_factory.mktemp("newcomer")), PAJAMA_SAMPLE_FAQ="true")
    try:
        running.wait_until_up()
        yield running
    finally:
        running.interrupt()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(up: Up, browser: Browser) -> Iterator[Page]:
    running = up.pajama.running()
    assert running is not None
    page = browser.new_page(locale="en-US")
    page.set_default_timeout(20_000)
    page.goto(running["web_url"])
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()


def test_the_screen_says_what_is_answered_from(up: Up) -> None:
    assert re.search(rf"FAQ +{sample.NAME} \({len(ANSWERS)} entries\)", up.printed)


def test_the_terminal_gives_the_curated_answer_with_its_source(up: Up) -> None:
    told = up.pajama.run("chat", "--once", DISCORD)
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"{ANSWERS[DISCORD]}\n\n{text('faq_source', question=DISCORD)}\n"


def test_a_script_gets_it_too_and_why_tells_the_entry(up: Up) -> None:
    answered = up.pajama.json("chat", "--once", SLACK)
    assert (answered["model"], answered["text"], answered["faq"]["outcome"]) == ("faq", ANSWERS[SLACK], "answer")
    assert answered["timings_ms"]["total"] < 1_000
    told = up.pajama.run("why", str(answered["turn"]))
    assert told.returncode == 0, told.stderr
    assert f"1. {SLACK} · 100%" in told.stdout


def test_the_page_gives_the_curated_answer_with_its_source(page: Page) -> None:
    for asked in (DISCORD, SLACK):
        say(page, asked)
        ended(page)
        turn = page.locator(".turn").last
        expect(turn.locator(".sources")).to_have_text(text("faq_source", question=asked))
        expect(last_answer(page)).to_contain_text("docs/discord.md" if asked == DISCORD else "docs/slack.md")


def test_a_place_for_curated_answers_only_makes_none_up(up: Up) -> None:
    assert "faq-only" in up.pajama.run("chat", "--once", "/settings faq_mode faq-only").stdout
    told = up.pajama.run("chat", "--once", "Who painted the Mona Lisa?")
    assert told.stdout.strip() == text("faq_unknown")
