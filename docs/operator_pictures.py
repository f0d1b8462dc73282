"""Takes the pictures of docs/operator.md and docs/handoff.md: `python -m docs.operator_pictures`.

Serves the page on the sample collection and a made-up shop, with people who asked, and writes
docs/images/operator-*.png and handoff-page.png.
Needs Chromium and the test dependencies.
"""

from __future__ import annotations

import json
import random
import shutil
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from itsdangerous import TimestampSigner
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from bots.web import sessions
from bots.web.operator.badges import sign_in_link
from core import intake
from core.database import Database, upgrade
from core.faq import collections, sample
from core.faq.entry import Entry
from core.handoffs import states
from core.intake import QueueLimits
from core.redis import connect
from core.settings import Settings
from core.values import HandoffReason, HandoffRequest, InboundMessage, Person, Rating, Staff
from pajama.valkey import EmbeddedValkey
from tests.bots.web.conftest import served
from tests.core.faq.asking import People
from workers.faq import FaqDesk
from workers.operators_desk import OperatorsDesk

IMAGES = Path(__file__).parent / "images"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
WIDTH, COLOURS = 1100, 96
NEW = """question,answer,phrasings
Do you deliver abroad?,"Yes, to every country in Europe. It takes five days.","Can you deliver to Norway?
International delivery"
How do I start Pajama?,Run `make up`.,
"""
ASKED = (
    "Do you deliver abroad?", "do you deliver abroad", "Do you deliver abroad please", "Can you deliver abroad?",
    "Is there a discount for students?", "student discount", "怎么开发票？", "请问怎么开发票",
)  # fmt: skip


def main() -> None:
    """Serve, look, write."""
    with TemporaryDirectory() as folder:
        valkey = EmbeddedValkey(Path(folder) / "valkey")
        settings = Settings(data_dir=Path(folder), redis_url=valkey.start(), web_port=0)
        upgrade(settings.effective_database_url)
        database = Database(settings.effective_database_url)
        _fill(database)
        with connect(settings.redis_url) as client:
            desk = OperatorsDesk(client, settings.redis_prefix, database, FaqDesk(database, lambda: None).fresh)
            desk.start()
            with served(settings) as url:
                _take(sign_in_link(settings, url), url, Path(folder), settings)
            desk.close(10)
        database.close()
        valkey.stop()


def _fill(database: Database) -> None:
    with database.write() as session:
        sample.install(session, datetime.now(UTC))
        shop = collections.create(session, "shop", None, datetime.now(UTC), language="en")
        collections.upsert(session, shop, _made_up(), datetime.now(UTC))
    people = People(database, datetime.now(UTC) - timedelta(days=1))
    for i, text in enumerate(ASKED):
        answer = "Yes, we deliver to every country in Europe; it takes five days." if i == 0 else ""
        turn_id = people.ask(text, person=f"p{i % 5}", workspace="local", collection="shop", answer=answer)
        if answer:
            people.rate(turn_id, Rating.UP, person="p0", workspace="local")
    _hand_offs(people)


def _hand_offs(people: People) -> None:
    """One that Bo of the shop has, and two that wait."""
    waiting = (
        ("p5", "Can I pay when it is delivered?", "rating"),
        ("p6", "My lamp came without a bulb.", "abstention"),
    )
    for i, (person, text, why) in enumerate(waiting):
        people.now = datetime.now(UTC) - timedelta(hours=1, minutes=20 - 9 * i)
        _ask_for_human(people, person, text, why, "")
    people.now = datetime.now(UTC) - timedelta(hours=1, minutes=4)
    handoff_id = _ask_for_human(people, "p7", "Where is my parcel?", "request", "it was to come on Monday")
    place, bo = people.place("local", "p7"), Staff(platform="web", person=Person(id="operator-bo", display_name="Bo"))
    said = (
        ("person", "The number is 4711."),
        ("staff", "Hello, I am Bo. I see it: it is at the post office round the corner, and comes tomorrow."),
        ("person", "Thank you, I shall be in."),
    )
    with people.database.write() as session:
        states.claim(session, place, handoff_id, bo, datetime.now(UTC))
    for i, (speaker, words) in enumerate(said):
        with people.database.write() as session:
            if speaker == "staff":
                states.staff_says(session, place, handoff_id, bo, f"said-{i}", words, datetime.now(UTC))
            else:
                message = InboundMessage(place=place, person=Person(id="p7"), event_id=f"said-{i}", text=words)
                intake.receive(session, message, words, QueueLimits(9, 9), datetime.now(UTC))


def _ask_for_human(people: People, person: str, question: str, why: str, words: str) -> int:
    people.ask(question, person=person, workspace="local", answer="I do not know, sorry.")
    asked = HandoffRequest(
        place=people.place("local", person), person=Person(id=person), event_id=f"ask-{person}", why=HandoffReason(why)
    )
    with people.database.write() as session:
        return states.request(session, asked, words, people.now).handoff_id


def _made_up() -> list[Entry]:
    """Entries with words of their own among words that all share, enough to be measured."""
    chance = random.Random(4)  # noqa: S311 - repeatable, not secret
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgkmnprst"]
    chance.shuffle(words)
    shared = ("how", "can", "i", "my", "the", "please", "do", "want", "to", "is")
    made = []
    for i in range(40):
        own = words[4 * i : 4 * i + 4]
        texts = {
            " ".join((*chance.sample(shared, 3), chance.choice(own), *chance.sample(words[:60], 2))) for _ in range(20)
        }
        made.append(Entry(f"k{i}", tuple(sorted(texts)[:9]), "An answer."))
    return made


def _save(page: Page, name: str) -> None:
    page.evaluate("window.scrollTo(0, 0)")
    picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, 1150)))
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


def _visit(browser: Browser, url: str, settings: Settings) -> None:
    """The page of the visitor whom Bo helps."""
    session = b64encode(json.dumps({"id": "of-p7"}).encode())
    cookie = TimestampSigner(sessions.signing_key(settings)).sign(session).decode()
    page = browser.new_page(viewport={"width": 820, "height": 760}, reduced_motion="reduce")
    page.context.add_cookies([{"name": sessions.COOKIE, "value": cookie, "url": url}])
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    _save(page, "handoff-page")


def _take(link: str, url: str, folder: Path, settings: Settings) -> None:
    file = folder / "new.csv"
    file.write_text(NEW)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 600}, reduced_motion="reduce")
        page.goto(link)
        page.wait_for_selector(".cards")
        pictures: dict[str, tuple[str, Callable[[Page], None]]] = {
            "try": ("/try", _try),
            "gaps": ("/gaps", lambda page: page.get_by_role("button", name="Write the entry").first.click()),
            "import": ("/collections/1/import", lambda page: _look_at(page, file)),
            "risk": ("/collections/2/risk", _measure),
            "inbox": ("/handoffs", lambda page: None),
            "handoff": ("/handoffs/3", lambda page: page.get_by_label("Your name").fill("Bo")),
        }
        for name, (path, act) in pictures.items():
            page.goto(f"{url}operator{path}")
            page.wait_for_selector("body[data-ready]")
            act(page)
            _save(page, f"operator-{name}")
        _visit(browser, url, settings)
        browser.close()


def _try(page: Page) -> None:
    page.get_by_label("A question as somebody may ask it").fill("How do I connect my Discord server?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".outcome")


def _look_at(page: Page, file: Path) -> None:
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Show what would change").click()
    page.locator(".diff details").nth(1).locator("summary").click()


def _measure(page: Page) -> None:
    page.get_by_label("Wrong answers, at most").fill("5")
    page.get_by_role("button", name="Measure and apply").click()
    page.wait_for_selector(".plot svg", timeout=120_000)


if __name__ == "__main__":
    main()
