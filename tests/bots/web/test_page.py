"""The page in headless Chromium: what a person sees, hears and can do with the keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from sqlalchemy import select

from bots.texts import text
from core.errors import FailureCode
from core.models import Feedback
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import Failure, Gate, Word
from tests.bots.web.conftest import Site

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt&colon;alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "![x](https://example.invalid/leak.png)",
    '```"><img src=x onerror=alert(1)>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "<svg onload=alert(1)><style><img src=x onerror=alert(1)></style></svg>",
    '<https://example.org/"onmouseover=alert(1)>',
    "[a]\n\n[a]: javascript:alert(1)",
)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One browser for the module: Playwright's event loop must not outlive it, or asyncio tests cannot run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """A visitor's browser profile: one for all tests, since a new one costs more than a test."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, locale="en-US", reduced_motion="reduce")
    context.set_default_timeout(10_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    return context


@pytest.fixture(scope="module")
def tab(context: BrowserContext) -> tuple[Page, list[str]]:
    """The visitor's tab, with everything that its scripts complain of."""
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    return page, complaints


@pytest.fixture
def page(site: Site, context: BrowserContext, tab: tuple[Page, list[str]]) -> Iterator[Page]:
    """The page with a new conversation. Whatever a script complains of fails the test."""
    page, complaints = tab
    complaints.clear()
    context.request.post(f"{site.url}api/reset")
    page.set_viewport_size({"width": 1000, "height": 700})
    opened(page, site)
    page.locator("#message").fill("")  # a draft outlives a reload
    yield page
    # A refusal is logged by the browser itself; the page shows it.
    assert not [text for text in complaints if "Failed to load resource" not in text]


def opened(page: Page, site: Site) -> Page:
    page.goto(site.url)
    page.wait_for_selector("body[data-ready]")
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def script(site: Site, *words: Word) -> str:
    """A message of its own, to be answered with `words`."""
    text = f"tell me {uuid4().hex[:8]}"
    site.worker.script[text] = words
    return text


def last_answer(page: Page) -> Locator:
    return page.locator(".turn").last.locator(".text")


def ended(page: Page, state: str = "done") -> None:
    expect(page.locator(".turn").last).to_have_attribute("data-state", state)


@pytest.mark.usefixtures("shop")
class TestFaq:
    def test_a_curated_answer_shows_its_source(self, page: Page) -> None:
        source = text("faq_source", question=HOURS.question)
        say(page, "When are you open?")
        expect(last_answer(page)).to_have_text("From nine to five.")
        ended(page)
        expect(page.locator(".turn").last.get_by_role("list", name="Sources")).to_have_text(source)
        expect(page.locator("#announcer")).to_contain_text(source)

    def test_what_is_offered_is_asked_with_a_click_or_a_key(self, page: Page) -> None:
        say(page, BOTH)
        ended(page)
        expect(page.locator(".turn").last.locator(".lead")).to_have_text(text("faq_which"))
        page.get_by_role("button", name=PARKING.question).focus()
        page.keyboard.press("Enter")
        expect(page.locator(".said").last).to_have_text(PARKING.question)
        expect(last_answer(page)).to_have_text(PARKING.answer)
        page.reload()
        expect(page.get_by_role("button", name=PARKING.question)).to_be_visible()

    def test_why_tells_the_entries_and_how_sure_that_was(self, page: Page) -> None:
        say(page, "When are you open?")
        ended(page)
        page.get_by_role("button", name="Why?").last.click()
        dialog = page.get_by_role("dialog", name="Why this answer?")
        expect(dialog.locator(".decided")).to_contain_text(f"1. {HOURS.question} · 100%")
        expect(dialog.locator(".decided")).to_contain_text(text("why_reason_same_words"))
        page.keyboard.press("Escape")

    def test_what_is_not_known_is_told(self, page: Page) -> None:
        say(page, "/faq Who painted the Mona Lisa?")
        ended(page)
        expect(page.locator(".turn").last.locator(".lead")).to_have_text(text("faq_unknown"))
        expect(page.locator(".turn").last.get_by_role("button", name="Copy")).to_be_hidden()


class TestConversation:
    def test_an_answer_streams_in_and_the_box_is_free_again(self, site: Site, page: Page, gate: Gate) -> None:
        asked = script(site, "First ", "half", gate, ", second half.")
        expect(page.locator("#greeting")).to_be_visible()
        say(page, asked)
        expect(page.locator(".said")).to_have_text(asked)
        expect(last_answer(page)).to_have_text("First half")
        expect(page.get_by_label("Message", exact=True)).to_have_value("")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        gate.set()
        expect(last_answer(page)).to_have_text("First half, second half.")
        ended(page)
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        expect(page.locator("#greeting")).to_be_hidden()

    def test_reloading_in_mid_answer_resumes_the_stream(self, site: Site, page: Page, gate: Gate) -> None:
        say(page, script(site, "Before ", "the reload", gate, " and after it."))
        expect(last_answer(page)).to_have_text("Before the reload")
        page.reload()
        expect(last_answer(page)).to_have_text("Before the reload")
        gate.set()
        expect(last_answer(page)).to_have_text("Before the reload and after it.")
        ended(page)

    def test_reopening_shows_the_conversation(self, site: Site, page: Page, context: BrowserContext) -> None:
        say(page, script(site, "Kept."))
        ended(page)
        another = opened(context.new_page(), site)
        expect(last_answer(another)).to_have_text("Kept.")
        another.close()

    def test_stop_keeps_what_is_written(self, site: Site, page: Page, gate: Gate) -> None:
        say(page, script(site, "So ", "far", gate, "never"))
        expect(last_answer(page)).to_have_text("So far")
        page.get_by_role("button", name="Stop").click()
        ended(page, "cancelled")
        expect(last_answer(page)).to_have_text("So far")

    def test_answering_again_replaces_the_answer(self, site: Site, page: Page) -> None:
        asked = script(site, "one")
        say(page, asked)
        ended(page)
        site.worker.script[asked] = ["another"]
        page.get_by_role("button", name="Answer again").click()
        expect(last_answer(page)).to_have_text("another")
        ended(page)
        expect(page.locator(".turn")).to_have_count(1)

    def test_a_failure_is_told_and_can_be_tried_again(self, site: Site, page: Page) -> None:
        asked = script(site, Failure(FailureCode.ENGINE))
        say(page, asked)
        ended(page, "failed")
        expect(page.locator(".turn .status")).not_to_be_empty()
        site.worker.script[asked] = ["Now it works."]
        page.get_by_role("button", name="Try again").click()
        expect(last_answer(page)).to_have_text("Now it works.")

    def test_a_message_that_cannot_be_sent_stays_in_the_box(self, site: Site, page: Page) -> None:
        page.route("**/api/messages", lambda route: route.abort())
        asked = script(site, "There you are.")
        say(page, asked)
        expect(page.get_by_role("alert").first).to_contain_text(text("web_offline"))
        expect(page.get_by_label("Message", exact=True)).to_have_value(asked)
        page.unroute("**/api/messages")
        page.get_by_role("button", name="Try again").click()
        expect(last_answer(page)).to_have_text("There you are.")
        expect(page.get_by_label("Message", exact=True)).to_have_value("")

    def test_a_refused_message_says_why(self, page: Page) -> None:
        say(page, "x" * 5001)
        expect(page.locator("#notice")).to_contain_text(text("error_too_long", length=5001, limit=5000))
        expect(page.get_by_label("Message", exact=True)).to_have_value("x" * 5001)

    def test_a_draft_outlives_a_reload(self, page: Page) -> None:
        page.get_by_label("Message", exact=True).press_sequentially("half a thou")
        page.reload()
        expect(page.get_by_label("Message", exact=True)).to_have_value("half a thou")

    def test_a_new_conversation_starts_empty(self, site: Site, page: Page) -> None:
        say(page, script(site, "old"))
        ended(page)
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#greeting")).to_be_visible()
        page.reload()
        expect(page.locator(".turn")).to_have_count(0)


class TestCommands:
    def test_help_is_shown_where_answers_are(self, page: Page) -> None:
        page.get_by_role("button", name="/help").click()
        expect(page.locator("#notice li").first).to_contain_text("/ask")
        expect(page.get_by_role("alert").first).to_be_visible()

    def test_reset_empties_the_page(self, site: Site, page: Page) -> None:
        say(page, script(site, "old"))
        ended(page)
        say(page, "/reset")
        expect(page.locator(".turn")).to_have_count(0)
        expect(page.locator("#greeting")).to_be_visible()

    def test_why_opens_the_panel(self, site: Site, page: Page) -> None:
        say(page, script(site, "Because."))
        ended(page)
        say(page, "/why")
        expect(page.get_by_role("dialog", name="Why this answer?")).to_be_visible()


class TestPrivacy:
    @pytest.fixture
    def page(self, site: Site, page: Page, context: BrowserContext) -> Iterator[Page]:
        """Somebody who opted out stays so: the next tests have somebody else."""
        yield page
        context.clear_cookies()

    def test_an_export_is_downloaded(self, site: Site, page: Page) -> None:
        asked = script(site, "木琴")
        say(page, asked)
        ended(page)
        with page.expect_download() as downloading:
            say(page, "/privacy export")
        download = downloading.value
        assert re.fullmatch(r"pajama-web-\d{14}\.json", download.suggested_filename)
        document = json.loads(Path(download.path()).read_text(encoding="utf-8"))
        assert document["messages"][-1]["turn"]["answers"][0]["text"] == "木琴"
        expect(page.locator("#notice")).to_contain_text(text("web_saved", name=download.suggested_filename))

    def test_what_is_forgotten_leaves_the_page_too(self, site: Site, page: Page) -> None:
        asked = script(site, "so it was said")
        say(page, asked)
        ended(page)
        say(page, "/privacy forget")
        expect(page.locator("#notice")).to_contain_text("Forgotten: ")
        expect(page.locator("#turns")).not_to_contain_text(asked)
        expect(page.locator("#turns")).not_to_contain_text("so it was said")
        expect(page.locator(".said").last).to_have_text(text("not_kept"))

    def test_an_answer_that_is_not_kept_stays_for_as_long_as_the_page(self, site: Site, page: Page) -> None:
        say(page, "/privacy opt-out")
        expect(page.locator("#notice")).to_contain_text(text("privacy_opted_out").split("`")[0])
        asked = script(site, "read it now")
        say(page, asked)
        ended(page)
        say(page, "/privacy")
        expect(page.locator("#notice")).to_contain_text(text("privacy_is_out"))
        expect(last_answer(page)).to_have_text("read it now")
        expect(page.locator(".said").last).to_have_text(asked)
        say(page, "/regenerate")
        expect(page.locator("#notice")).to_contain_text(text("error_purged"))
        page.reload()
        expect(page.locator(".said").last).to_have_text(text("not_kept"))
        expect(last_answer(page)).to_have_text("")
        page.get_by_role("button", name="Why?").click()
        told = page.get_by_role("dialog", name="Why this answer?")
        expect(told).to_contain_text(text("why_purged"))
        expect(told).not_to_contain_text(asked)


class TestFeedbackAndWhy:
    def test_a_bad_answer_with_a_comment_is_stored(self, site: Site, page: Page) -> None:
        say(page, script(site, "Meh."))
        ended(page)
        comment = f"too terse {uuid4().hex}"
        page.get_by_role("button", name="Bad answer").click()
        page.get_by_role("dialog").get_by_role("textbox").fill(comment)
        page.get_by_role("button", name="Send feedback").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
        with site.database.read() as session:
            stored = session.scalars(select(Feedback).where(Feedback.comment == comment)).one()
        assert stored.rating.value == "down"

    def test_a_good_answer_is_rated_and_taken_back(self, site: Site, page: Page) -> None:
        say(page, script(site, "Nice."))
        ended(page)
        thumb = page.get_by_role("button", name="Good answer")
        for pressed in ("true", "false"):
            thumb.click()
            expect(thumb).to_have_attribute("aria-pressed", pressed)

    def test_why_shows_prompt_tokens_timings_and_model(self, site: Site, page: Page) -> None:
        asked = script(site, "Because.")
        say(page, asked)
        ended(page)
        page.get_by_role("button", name="Why?").click()
        told = page.get_by_role("dialog", name="Why this answer?")
        for part in (asked, "scripted-model", "r1", "temperature", "20 of 400", "7 ms"):
            expect(told).to_contain_text(part)
        page.keyboard.press("Escape")
        expect(told).to_be_hidden()


class TestMarkdown:
    def test_markdown_is_shown_as_such(self, site: Site, page: Page) -> None:
        say(
            page,
            script(site, "**bold** [there](https://example.org)\n\n```python\nprint(1)\n```\n\n| a |\n|---|\n| b |"),
        )
        ended(page)
        answer = last_answer(page)
        expect(answer.locator("strong")).to_have_text("bold")
        link = answer.locator("a")
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert link.get_attribute("target") == "_blank"
        expect(answer.locator("figure figcaption span")).to_have_text("python")
        expect(answer.locator("td")).to_have_text("b")

    def test_code_is_copied(self, site: Site, page: Page) -> None:
        say(page, script(site, "```\nlet x = 1;\n```"))
        ended(page)
        page.locator("figure").get_by_role("button", name="Copy").click()
        expect(page.locator("#announcer")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == "let x = 1;\n"

    def test_an_answer_never_runs_and_loads_nothing(self, site: Site, page: Page) -> None:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        danger = page.locator(
            "#turns :is(script, iframe, object, embed, img, style, form, base, [onerror], [onload], [onmouseover]), "
            '#turns .text svg, #turns a[href^="javascript" i], #turns a[href^="data" i]'
        )
        for number, attack in enumerate(ATTACKS, start=1):
            say(page, script(site, attack))
            expect(page.locator(".turn")).to_have_count(number)
            ended(page)
            assert danger.count() == 0, attack
        assert all(url.startswith(site.url) for url in requests)

    def test_what_a_person_says_is_shown_as_they_typed_it(self, page: Page) -> None:
        say(page, "<b>**not bold**</b>")
        expect(page.locator(".said")).to_have_text("<b>**not bold**</b>")


class TestAccess:
    def test_everything_can_be_done_with_the_keyboard(self, site: Site, page: Page, gate: Gate) -> None:
        asked = script(site, "Slow", gate)
        page.keyboard.type(asked[:4])  # the box has the focus
        page.keyboard.press("Shift+Enter")
        expect(page.get_by_label("Message", exact=True)).to_have_value(f"{asked[:4]}\n")
        page.keyboard.press("Backspace")
        page.keyboard.type(asked[4:])
        page.keyboard.press("Enter")
        expect(last_answer(page)).to_have_text("Slow")
        page.keyboard.press("Escape")
        ended(page, "cancelled")
        names = []
        page.locator("#message").focus()
        for _ in range(5):
            page.keyboard.press("Shift+Tab")
            names.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel"))
        assert names == ["Why?", "Bad answer", "Good answer", "Answer again", "Copy"]
        page.get_by_role("button", name="Bad answer").focus()
        page.keyboard.press("Enter")
        page.keyboard.type("by keyboard")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")

    def test_whole_sentences_are_announced_and_not_every_token(self, site: Site, page: Page, gate: Gate) -> None:
        say(page, script(site, "One sentence. ", "And half", gate, " of another."))
        expect(page.locator("#announcer")).to_have_text("One sentence.")
        expect(last_answer(page)).to_have_text("One sentence. And half")
        expect(page.locator("#announcer")).to_have_text("One sentence.")
        gate.set()
        expect(page.locator("#announcer")).to_have_text("And half of another.")

    def test_every_control_has_a_name(self, site: Site, page: Page) -> None:
        say(page, script(site, "```\ncode\n```"))
        ended(page)
        for control in page.locator("button:visible, select:visible, textarea:visible").all():
            name = control.evaluate("e => e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()")
            assert name, control.evaluate("e => e.outerHTML")

    @pytest.mark.parametrize("width", [360, 390, 1200])
    def test_nothing_scrolls_sideways(self, site: Site, page: Page, width: int) -> None:
        page.set_viewport_size({"width": width, "height": 700})
        long_line = "x" * 300
        say(page, script(site, f"{long_line}\n\n```\n{long_line}\n```\n\n|{'a|' * 30}\n|{'-|' * 30}\n|{long_line}|"))
        ended(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Why?").click()
        assert page.get_by_role("dialog").evaluate("e => e.scrollWidth <= e.clientWidth")

    def test_right_to_left_text_runs_its_own_way(self, site: Site, page: Page) -> None:
        say(page, script(site, "مرحبا بالعالم"))
        ended(page)
        assert last_answer(page).evaluate("e => getComputedStyle(e).direction") == "rtl"

    def test_the_page_speaks_chinese_when_it_is_chosen(self, site: Site, page: Page) -> None:
        page.get_by_label("Language").select_option("zh-CN")
        expect(page.get_by_role("button", name="新对话")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.wait_for_selector("body[data-ready]")
        page.locator("#message").fill("x" * 5001)
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_contain_text(text("error_too_long", "zh-CN", length=5001, limit=5000))
        page.locator("#language").select_option("en")
        expect(page.get_by_role("button", name="New conversation")).to_be_visible()
