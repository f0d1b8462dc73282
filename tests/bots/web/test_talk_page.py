"""A hand-off in two browsers: a visitor of the page, and somebody at the operators' inbox."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from bots.talking import plain
from bots.texts import text
from bots.web.operator.badges import sign_in_link
from core.redis import connect, rate_key
from tests.bots.web.conftest import Site
from tests.bots.web.test_operator_page import LABELLED, OVERFLOW
from tests.bots.web.test_page import CHROMIUM_ARGUMENTS

CLAIMED, RELEASED = (plain(text(f"handoff_{what}", name="Bo")).removeprefix("👤 ") for what in ("claimed", "released"))
MARKUP = "<b>Bold</b> <img src=x onerror=alert(1)> **no markup**"


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One browser for the module: Playwright's event loop must not outlive it, or asyncio tests cannot run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tabs(site: Site, browser: Browser) -> tuple[Page, Page, list[str]]:
    """A visitor's and an operator's, with whatever their scripts complain of. New ones would cost more than a test."""
    with connect(site.settings.redis_url) as client:
        for key in client.scan_iter(match=rate_key(site.settings.redis_prefix, "sign-in*")):
            client.delete(key)
    complaints = list[str]()
    of_ann, of_bo = (browser.new_context(locale="en-US", reduced_motion="reduce") for _ in range(2))
    ann, bo = watched(of_ann, complaints), watched(of_bo, complaints)
    bo.goto(sign_in_link(site.settings, site.url))
    bo.wait_for_selector("body[data-ready]")
    return ann, bo, complaints


@pytest.fixture
def complaints(tabs: tuple[Page, Page, list[str]]) -> Iterator[None]:
    """Whatever a script complains of fails the test."""
    tabs[2].clear()
    yield
    assert not [told for told in tabs[2] if "Failed to load resource" not in told]


@pytest.fixture
def ann(site: Site, tabs: tuple[Page, Page, list[str]], complaints: None) -> Page:
    """A visitor with a new conversation."""
    page = tabs[0]
    page.context.request.post(f"{site.url}api/reset")
    page.goto(site.url)
    page.wait_for_selector("body[data-ready]")
    return page


@pytest.fixture
def bo(site: Site, tabs: tuple[Page, Page, list[str]], complaints: None) -> Page:
    """Somebody who is signed in at the inbox."""
    page = tabs[1]
    page.goto(f"{site.url}operator")
    page.get_by_role("link", name="Hand-offs").click()
    expect(page.get_by_role("heading", name="Hand-offs")).to_be_visible()
    return page


def watched(context: BrowserContext, complaints: list[str]) -> Page:
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    return page


def say(page: Page, words: str) -> None:
    page.get_by_label("Message", exact=True).fill(words)
    page.keyboard.press("Enter")


def claim(bo: Page, reason: str) -> None:
    bo.get_by_role("link", name=reason).click()
    bo.get_by_label("Your name").fill("Bo")
    bo.get_by_role("button", name="Claim").click()
    expect(bo.get_by_role("status").filter(has_text="Bo has it")).to_be_visible()


def test_a_human_takes_over_writes_and_gives_back(ann: Page, bo: Page) -> None:
    reason = f"my parcel {uuid4().hex[:6]} is lost"
    say(ann, "hello")
    expect(ann.locator(".turn .text")).to_have_text("You said: hello")
    say(ann, f"/human {reason}")
    banner = ann.locator("#handoff")
    expect(banner).to_contain_text(text("handoff_unstaffed"))
    expect(ann.locator("#notice")).to_be_hidden()  # the banner says it
    claim(bo, reason)  # which has appeared by itself
    expect(bo.get_by_role("list", name="What was said")).to_contain_text("You said: hello")
    expect(banner).to_have_text(CLAIMED)
    expect(bo.get_by_label("Your reply")).to_be_focused()

    bo.get_by_label("Your reply").fill(MARKUP)
    bo.keyboard.press("Enter")
    bubble = ann.locator(".line[data-speaker=staff]")
    expect(bubble.get_by_role("heading", name="Bo")).to_be_visible()
    expect(bubble.locator(".words")).to_have_text(MARKUP)
    expect(bubble.locator(".words *")).to_have_count(0)
    expect(ann.locator("#announcer")).to_have_text(f"Bo: {MARKUP}")
    say(ann, MARKUP)
    expect(ann.locator(".line[data-speaker=person]").last).to_contain_text(MARKUP)
    expect(bo.locator(".log [data-speaker=person]").last).to_contain_text(MARKUP)
    expect(bo.locator(".log [data-speaker=person] :is(b, img)")).to_have_count(0)
    expect(bo.locator("#announcer")).to_contain_text(MARKUP)

    ann.reload()
    expect(ann.locator("#turns > li")).to_have_count(4)
    expect(ann.locator("#turns > li").nth(2)).to_contain_text("no markup")  # between what else was said
    expect(banner).to_have_text(CLAIMED)
    bo.get_by_role("button", name="Give back").click()
    expect(bo.locator("#view").get_by_text("It is given back: the assistant answers again.")).to_be_visible()
    expect(banner).to_have_text(RELEASED)
    say(ann, "hello")
    expect(ann.locator("#turns > li").last.locator(".text")).to_have_text("You said: hello")
    expect(banner).not_to_be_in_viewport()
    expect(banner).to_have_text("")


def test_what_is_said_while_the_connection_is_lost_comes_with_it(ann: Page, bo: Page) -> None:
    reason = f"my parcel {uuid4().hex[:6]} is lost"
    say(ann, f"/human {reason}")
    claim(bo, reason)
    expect(ann.locator("#handoff")).to_have_text(CLAIMED)
    ann.route("**/api/handoff**", lambda route: route.abort())
    ann.evaluate("document.getElementById('new').focus()")
    ann.context.set_offline(True)
    bo.get_by_label("Your reply").fill("I am here")
    bo.get_by_role("button", name="Send").click()
    expect(bo.locator(".log [data-speaker=staff]")).to_have_count(1)
    ann.context.set_offline(False)
    ann.unroute("**/api/handoff**")
    expect(ann.locator(".line[data-speaker=staff] .words")).to_have_text(["I am here"])


def test_a_new_conversation_ends_it_on_both_sides(ann: Page, bo: Page) -> None:
    reason = f"my parcel {uuid4().hex[:6]} is lost"
    say(ann, f"/human {reason}")
    claim(bo, reason)
    ann.get_by_role("button", name="New conversation").click()
    expect(ann.locator("#turns > li")).to_have_count(0)
    expect(ann.locator("#handoff")).to_have_text("")
    expect(bo.locator("#view").get_by_text("It is over: the person began a new conversation.")).to_be_visible()
    expect(bo.get_by_label("Your reply")).to_be_hidden()


def test_every_control_has_a_name_and_nothing_sticks_out(ann: Page, bo: Page) -> None:
    reason = f"my {'very ' * 30}long parcel {uuid4().hex * 3} is lost"
    say(ann, f"/human {reason}")
    expect(bo.get_by_role("link", name="my very very")).to_be_visible()
    fits(bo)
    claim(bo, reason[:150])
    expect(ann.locator("#handoff")).to_have_text(CLAIMED)
    for page in (ann, bo):
        fits(page)
    assert bo.locator("h1").count() == 1 and bo.locator("h2").count() == 1


def fits(page: Page) -> None:
    for width in (1100, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(LABELLED) == [] and page.evaluate(OVERFLOW) <= 0
    page.set_viewport_size({"width": 1100, "height": 800})
