"""A shop owner's first day, in two browsers on a whole stack: a file becomes answers, a human helps, a gap is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from bots.texts import text
from tests.bots.web.test_page import CHROMIUM_ARGUMENTS, ended, last_answer, say
from tests.pajama.commands import Pajama, Up

FAQ = """question,answer,phrasings
When are you open?,From **nine** to five.,"Opening hours
What are the opening hours?"
Where can I park?,Behind the house.,"Is there a car park?
Parking"
"""
UNKNOWN = "Do you repair umbrellas?"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Everything as `pajama up` starts it, without the sample."""
    settings = {"PAJAMA_SAMPLE_FAQ": "false", "PAJAMA_FAQ_EMBEDDER": "none"}
    running = Up(Pajama(tmp_path_factory.mktemp("owner")), **settings)
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


def somebody(browser: Browser, address: str) -> Page:
    """A tab in a browser of its own."""
    context: BrowserContext = browser.new_context(locale="en-US")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


@pytest.mark.timeout(300)  # a whole stack and two browsers, on a machine that others use too
def test_a_file_becomes_answers_and_a_gap_becomes_another(up: Up, browser: Browser, tmp_path: Path) -> None:
    link = up.pajama.run("operator", "link").stdout.strip()
    url = link.partition("operator#")[0]
    owner, visitor = somebody(browser, link), somebody(browser, url)

    owner.get_by_label("Name").fill("shop")
    owner.get_by_role("button", name="Create").click()
    file = tmp_path / "faq.csv"
    file.write_text(FAQ)
    owner.get_by_label("File", exact=True).set_input_files(file)
    owner.get_by_role("button", name="Show what would change").click()
    owner.get_by_role("button", name="Apply all of it").click()
    expect(owner.locator("#view").get_by_text("Done: 2 added, 0 changed, 0 removed.")).to_be_visible()
    owner.get_by_role("link", name="Try a question").click()
    owner.get_by_label("A question as somebody may ask it").fill("opening hours")
    owner.get_by_role("button", name="Try", exact=True).click()
    expect(owner.locator(".shown strong")).to_have_text("nine")  # the worker has read the collection now
    owner.get_by_role("link", name="Settings").click()
    owner.get_by_label(text("setting_faq_mode")).select_option("faq-only")
    owner.get_by_role("button", name="Save faq_mode").click()
    expect(owner.locator("#view").get_by_text("Saved.")).to_be_visible()

    say(visitor, "what are the opening hours")
    ended(visitor)
    expect(last_answer(visitor)).to_have_text("From nine to five.")
    expect(visitor.locator(".turn").last).to_contain_text(text("faq_source", question="When are you open?"))
    visitor.locator(".turn").last.get_by_role("button", name="Good answer").click()
    say(visitor, UNKNOWN)
    ended(visitor)
    expect(visitor.locator(".turn").last).to_contain_text(text("faq_unknown"))

    say(visitor, "/human I bought it here")
    expect(visitor.locator("#handoff")).to_contain_text(text("handoff_unstaffed"))
    owner.get_by_role("link", name="Hand-offs").click()
    owner.get_by_role("link", name="I bought it here").click()
    owner.get_by_label("Your name").fill("Bo")
    owner.get_by_role("button", name="Claim").click()
    owner.get_by_label("Your reply").fill("Bring it on Monday.")
    owner.get_by_role("button", name="Send").click()
    expect(visitor.locator(".line[data-speaker=staff]")).to_contain_text("Bring it on Monday.")
    owner.get_by_role("button", name="Give back").click()
    expect(visitor.locator("#handoff")).to_have_attribute("data-state", "released")

    owner.get_by_role("link", name="Gaps").click()
    expect(owner.get_by_role("heading", name=UNKNOWN)).to_be_visible()
    owner.get_by_role("button", name="Write the entry").click()
    owner.get_by_label("Answer").fill("Yes, on Mondays.")
    owner.get_by_role("button", name="Add as an entry").click()
    expect(
        owner.locator("#view").get_by_text("Accepted: it is answered in a few seconds, once the workers have read it.")
    ).to_be_visible()
    owner.get_by_role("link", name="Collections").first.click()
    expect(owner.locator(".cards")).to_contain_text("given 1 · 👍 1 · 👎 0")
    owner.get_by_role("link", name="Try a question").click()
    owner.get_by_label("A question as somebody may ask it").fill(UNKNOWN)
    owner.get_by_role("button", name="Try", exact=True).click()
    expect(owner.locator(".shown")).to_contain_text("Yes, on Mondays.")

    say(visitor, UNKNOWN)
    ended(visitor)
    expect(last_answer(visitor)).to_have_text("Yes, on Mondays.")
