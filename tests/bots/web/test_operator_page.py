"""The operators' page in headless Chromium: from a file to an answer, from a gap to an entry, with the keyboard too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from bots.web.operator.badges import sign_in_link
from core.faq import collections
from tests.bots.web.conftest import Shop, forget_sign_ins
from tests.bots.web.test_page import ATTACKS, CHROMIUM_ARGUMENTS

LABELLED = """() => [...document.querySelectorAll("input, select, textarea, button, a")].filter((e) => {
  const named = e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim() || e.title;
  return e.offsetParent && !named;
}).map((e) => e.outerHTML)"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One browser for the module: Playwright's event loop must not outlive it, or asyncio tests cannot run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser, bookshop: Shop) -> BrowserContext:
    """An operator's browser, signed in by a link of the terminal."""
    forget_sign_ins(bookshop)
    context = browser.new_context(viewport={"width": 1100, "height": 800}, locale="en-US", reduced_motion="reduce")
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.goto(sign_in_link(bookshop.settings, bookshop.url))
    page.wait_for_selector("body[data-ready]")
    assert page.url == f"{bookshop.url}operator"  # the code is gone from the address
    page.close()
    return context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. Whatever a script complains of fails the test."""
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert not [text for text in complaints if "Failed to load resource" not in text]


def opened(page: Page, bookshop: Shop, path: str = "") -> None:
    page.goto(f"{bookshop.url}operator{path}")
    page.wait_for_selector("body[data-ready]")


def collection(page: Page, bookshop: Shop) -> str:
    """Make a collection on the page. Returns its name; its import is shown."""
    name = f"shop-{uuid4().hex[:6]}"
    opened(page, bookshop)
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    return name


def number_of(bookshop: Shop, name: str) -> int:
    with bookshop.database.read() as session:
        return collections.find(session, name, None).id


def bring_in(page: Page, file: Path) -> None:
    """Look at a file's import and apply it."""
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Show what would change").click()
    page.get_by_role("button", name="Apply all of it").click()
    expect(page.locator("#view").get_by_text("Done:")).to_be_visible()


def tried(page: Page, bookshop: Shop, question: str, name: str) -> None:
    opened(page, bookshop, "/try")
    page.get_by_label("A question as somebody may ask it").fill(question)
    page.get_by_label("From", exact=True).select_option(label=name)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Try", exact=True).click()


def test_from_a_file_to_an_answer_and_from_a_gap_to_another(bookshop: Shop, page: Page, tmp_path: Path) -> None:
    name = collection(page, bookshop)
    file = tmp_path / "faq.csv"
    file.write_text("question,answer,phrasings\nWhen are you open?,From **nine** to five.,Opening hours\nWhy?,\n")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_role("alert").filter(has_text="3: The answer is empty.")).to_be_visible()
    file.write_text("question,answer,phrasings\nWhen are you open?,From **nine** to five.,Opening hours\n")
    bring_in(page, file)
    expect(page.locator("#view").get_by_text("Done: 1 added, 0 changed, 0 removed.")).to_be_visible()

    tried(page, bookshop, "opening hours", name)
    expect(page.get_by_role("heading", name="Answered with the entry's own text")).to_be_visible()
    expect(page.locator(".shown strong")).to_have_text("nine")
    question = f"Do you repair umbrellas of {name}?"
    tried(page, bookshop, question, name)
    expect(page.get_by_role("heading", name="Not answered from the FAQ")).to_be_visible()

    bookshop.people.ask(question, collection_id=number_of(bookshop, name))
    bookshop.people.ask(question.lower(), collection_id=number_of(bookshop, name), person="another")
    opened(page, bookshop, f"/gaps?collection={number_of(bookshop, name)}")
    expect(page.locator("#view").get_by_text("asked 2× · people: 2")).to_be_visible()
    page.get_by_role("button", name="Write the entry").click()
    page.get_by_label("Collection", exact=True).select_option(label=name)
    page.get_by_label("Answer").fill("Yes, on Mondays.")
    page.get_by_role("button", name="Add as an entry").click()
    expect(
        page.locator("#view").get_by_text("Accepted: it is answered in a few seconds, once the workers have read it.")
    ).to_be_visible()

    tried(page, bookshop, question, name)
    expect(page.locator(".shown")).to_contain_text("Yes, on Mondays.")
    opened(page, bookshop, f"/gaps?collection={number_of(bookshop, name)}")
    expect(page.locator("#view").get_by_text("Nothing was asked that no entry answered.")).to_be_visible()


def test_a_gap_is_dismissed(bookshop: Shop, page: Page) -> None:
    name = collection(page, bookshop)
    question = f"Do you sell the lamps of {name}?"
    bookshop.people.ask(question, collection_id=number_of(bookshop, name))
    opened(page, bookshop, f"/gaps?collection={number_of(bookshop, name)}")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#view").get_by_text("Dismissed:")).to_be_visible()
    expect(page.get_by_role("heading", name=question)).to_be_focused()
    opened(page, bookshop, f"/gaps?collection={number_of(bookshop, name)}")
    expect(page.locator("#view").get_by_text("Nothing was asked that no entry answered.")).to_be_visible()


def test_an_entry_is_added_changed_and_retired(bookshop: Shop, page: Page) -> None:
    name = collection(page, bookshop)
    page.get_by_role("navigation", name=name).get_by_role("link", name="Entries").click()
    page.get_by_role("link", name="Add an entry").click()
    page.get_by_label("Question").fill("Do you deliver?")
    page.get_by_label("Other phrasings").fill("Delivery\n\nCan it be sent?")
    page.get_by_label("Answer").fill("Yes, *everywhere*.")
    expect(page.locator(".preview em")).to_have_text("everywhere")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#view").get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_role("heading", name="Do you deliver?")).to_be_focused()
    page.get_by_label("Answer").fill("Only on Mondays.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#view").get_by_text("Version 2")).to_be_visible()
    page.get_by_text("Version 1").click()
    expect(page.locator("details[open] em")).to_have_text("everywhere")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retire").click()
    expect(page.locator("#view").get_by_text("The collection is empty.")).to_be_visible()


def test_who_was_slower_is_told_and_keeps_what_was_typed(bookshop: Shop, page: Page) -> None:
    name = collection(page, bookshop)
    with bookshop.operator() as other:
        found = other.get("/operator/api/collections").json()["collections"]
        number = next(each["collection_id"] for each in found if each["name"] == name)
        path = f"/operator/api/collections/{number}"
        words = {"question": "Open?", "answer": "Yes.", "key": "open"}
        other.post(f"{path}/entries", json=words)
        opened(page, bookshop, f"/collections/{number}/entry?key=open")
        other.put(f"{path}/entry?key=open", json={**words, "answer": "No.", "version": 1})
    page.get_by_label("Answer").fill("Perhaps.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody changed it meanwhile.")
    expect(page.get_by_label("Answer")).to_have_value("Perhaps.")


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_an_answer_or_a_question_runs(
    bookshop: Shop, page: Page, context: BrowserContext, attack: str
) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    with bookshop.operator() as other:
        made = other.post("/operator/api/collections", json={"name": f"a-{uuid4().hex[:8]}"}).json()["collection_id"]
        words = {"question": f"Q {attack}"[:400], "answer": attack, "key": "attack"}
        assert other.post(f"/operator/api/collections/{made}/entries", json=words).status_code == 200
    opened(page, bookshop, f"/collections/{made}")
    opened(page, bookshop, f"/collections/{made}/entry?key=attack")
    assert page.evaluate("document.querySelectorAll('#view :is(script, img, iframe, style, object)').length") == 0
    assert not page.evaluate(
        "[...document.querySelectorAll('#view *')].filter((e) => [...e.attributes].some((a) => a.name.startsWith('on')"
        " || /^(javascript|data):/i.test(a.value))).length"
    )


def test_a_collection_is_measured_and_its_curve_has_the_pages_colours(
    bookshop: Shop, page: Page, tmp_path: Path
) -> None:
    collection(page, bookshop)
    rows = "".join(f'word{i} sign{i},-,"{chr(10).join(f"word{i} {n} sign{i}" for n in range(7))}"\n' for i in range(12))
    file = tmp_path / "many.csv"
    file.write_text(f"question,answer,phrasings\n{rows}")
    bring_in(page, file)
    page.get_by_role("link", name="Risk").click()
    page.get_by_label("Wrong answers, at most").fill("10")
    page.get_by_role("button", name="Measure and apply").click()
    expect(page.get_by_role("img", name="Wrong answers by share of questions answered")).to_be_visible(timeout=60_000)
    expect(page.locator("tr[aria-current]")).to_contain_text("10%")
    colour = "getComputedStyle(document.querySelector('.plot .target')).stroke"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    assert dark != page.evaluate(colour)
    asked = tmp_path / "asked.csv"
    asked.write_text("question,key\nword3 sign3,word3-sign3\nWho painted the Mona Lisa?,\n")
    page.get_by_label("File").set_input_files(asked)
    page.get_by_role("button", name="Ask them all").click()
    expect(page.get_by_role("row", name="The right entry comes first")).to_contain_text("100%", timeout=60_000)
    expect(page.get_by_role("row", name="Uncovered questions that are answered all the same")).to_contain_text("0%")


def test_the_pages_own_workspace_gets_a_persona(bookshop: Shop, page: Page) -> None:
    opened(page, bookshop, "/settings")
    box = page.get_by_role("textbox").first
    box.fill("You are a librarian.")
    page.get_by_role("button", name="Save persona").click()
    expect(page.locator("#view").get_by_text("Saved.")).to_be_visible()
    opened(page, bookshop, "/settings")
    expect(page.get_by_role("textbox").first).to_have_value("You are a librarian.")
    page.get_by_role("textbox").first.fill("")
    page.get_by_role("button", name="Save persona").click()
    expect(page.locator("#view").get_by_text("The default holds again.")).to_be_visible()


def test_the_keyboard_alone_goes_everywhere(bookshop: Shop, page: Page) -> None:
    opened(page, bookshop)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/operator#view")  # until then the focus is still to be moved there
    page.get_by_role("link", name="Try a question").press("Enter")
    expect(page.get_by_role("heading", name="Try a question")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("A question as somebody may ask it")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Collections", exact=True)).to_be_focused()


@pytest.mark.parametrize("width", [360, 1100])
def test_every_control_has_a_name_and_nothing_sticks_out(bookshop: Shop, page: Page, width: int) -> None:
    collection(page, bookshop)
    root = page.url.removeprefix(f"{bookshop.url}operator").removesuffix("/import")
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("", "/try", "/gaps", "/settings", root, f"{root}/import", f"{root}/risk", f"{root}/entry"):
        opened(page, bookshop, path)
        assert page.evaluate(LABELLED) == [], path
        assert page.evaluate(OVERFLOW) <= 0, path
        assert page.locator("h1").count() == 1 and page.locator("h2").count() == 1


def test_whoever_is_not_signed_in_sees_the_form_and_a_used_link_says_so(bookshop: Shop, browser: Browser) -> None:
    context = browser.new_context(locale="zh-CN")
    page, link = context.new_page(), sign_in_link(bookshop.settings, bookshop.url)
    page.goto(link)
    expect(page.get_by_role("heading", name="问答库", exact=True)).to_be_visible()
    page.get_by_role("button", name="退出登录").click()
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    opened(page, bookshop, "/gaps")
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("只能使用一次")
    context.close()
