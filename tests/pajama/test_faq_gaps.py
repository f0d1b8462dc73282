"""`pajama faq gaps`: counted, bounded, and written as entries to be filled in; and what helped, in `pajama faq list`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from core.database import Database, upgrade
from core.faq import collections
from core.faq.models import FaqEntry
from core.values import Rating
from tests.core.faq.asking import People
from tests.core.faq.conftest import entry
from tests.pajama.commands import Pajama

WORDS = {"PAJAMA_FAQ_EMBEDDER": "none"}


@pytest.fixture
def people(pajama: Pajama) -> Iterator[People]:
    """A shop with one entry, and people who asked for more."""
    url = f"sqlite:///{pajama.data / 'pajama.db'}"
    upgrade(url)
    database = Database(url)
    people = People(database)
    with database.write() as session:
        shop = collections.create(session, "shop", None, people.now)
        collections.upsert(session, shop, [entry("hours", "When are you open?")], people.now)
        hours = session.scalars(select(FaqEntry.id)).one()
    for i, text in enumerate(("Do you deliver abroad?", "do you deliver abroad", "Can you deliver abroad?")):
        people.ask(text, person=f"p{i}", entry_id=hours)
    people.rate(people.ask("怎么开发票？", answer="在订单页里。"), Rating.UP)
    people.rate(people.ask("When are you open?", "answer", entry_id=hours), Rating.UP)
    yield people
    database.close()


def test_a_table_shows_what_was_asked_most(pajama: Pajama, people: People) -> None:
    shown = pajama.run("faq", "gaps", **WORDS)
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    day = f"{people.now:%Y-%m-%d}"
    assert f"3 3 {day} do you deliver abroad (and 1 other wordings) hours (shop)" in lines
    assert f"1 1 {day} 怎么开发票？ [draft answer in --json]" in lines
    assert lines[-1] == "4 questions."
    bounded = pajama.run("faq", "gaps", "--limit", "1", **WORDS).stdout
    assert "发票" not in bounded and "4 questions, 1 further gaps are not shown." in bounded


def test_json_has_all_of_it(pajama: Pajama, people: People) -> None:
    told = pajama.json("faq", "gaps", **WORDS)
    assert (told["questions"], told["complete"], told["more"], told["embedder"]) == (4, True, 0, None)
    first, second = told["gaps"]
    assert (first["count"], first["people"], first["outcomes"]) == (3, 3, {"abstain": 3})
    nearest = {"key": "hours", "question": "When are you open?", "collection": "shop", "collection_id": 1, "share": 1.0}
    assert first["nearest"] == nearest
    assert second["draft"] == {"text": "在订单页里。", "source": "liked_chat_answer"}
    assert pajama.json("faq", "gaps", "--days", "1", **WORDS)["gaps"] == []
    assert len(pajama.json("faq", "gaps", "--collection", "shop", "--workspace", "web:w", **WORDS)["gaps"]) == 2


def test_suggestions_are_filled_in_imported_and_no_gaps_any_more(pajama: Pajama, people: People) -> None:
    written = pajama.run("faq", "gaps", "--out", "new.yaml", "--limit", "1", **WORDS)
    assert (written.returncode, written.stdout) == (0, "")
    file = pajama.folder / "new.yaml"
    refused = pajama.run("faq", "import", "shop", "new.yaml")
    assert refused.returncode == 1 and "The answer is empty." in refused.stderr
    file.write_text(file.read_text() + "  answer: To all of Europe.\n")
    assert pajama.json("faq", "import", "shop", "new.yaml")["added"] == ["do-you-deliver-abroad"]
    assert [gap["question"] for gap in pajama.json("faq", "gaps", **WORDS)["gaps"]] == ["怎么开发票？"]
    assert (
        pajama.json("faq", "search", "can you deliver abroad", **WORDS)["matches"][0]["answer"] == "To all of Europe."
    )


def test_a_gap_is_dismissed_by_its_id(pajama: Pajama, people: People) -> None:
    first, second = (gap["gap_id"] for gap in pajama.json("faq", "gaps", **WORDS)["gaps"])
    assert pajama.run("faq", "gaps", "--dismiss", first, **WORDS).stdout == "3 questions are dismissed.\n"
    assert [gap["gap_id"] for gap in pajama.json("faq", "gaps", **WORDS)["gaps"]] == [second]
    again = pajama.run("faq", "gaps", "--dismiss", first, **WORDS)
    assert again.returncode == 1 and f"no gap '{first}'" in again.stderr


def test_it_is_listed_how_often_an_entry_was_given_and_helped(pajama: Pajama, people: People) -> None:
    assert "shop: 1 entries, revision 1, not calibrated · given 1, helpful 1, not 0" in pajama.run("faq", "list").stdout
    assert "hours: When are you open? · given 1, helpful 1, not 0" in pajama.run("faq", "list", "shop").stdout
    assert pajama.json("faq", "list", "shop")[0]["helpful"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--collection", "nothing"), 1, "no collection 'nothing'"),
        (("--out", "x.docx"), 1, "should end in"),
        (("--out", "/no/such/folder/x.csv"), 2, "cannot be written"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    pajama: Pajama, people: People, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    failed = pajama.run("faq", "gaps", *arguments, **WORDS)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert sentence in failed.stderr and "Traceback" not in failed.stderr
