"""`pajama faq`: import, list, search, measure, calibrate, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.copied_database import connected
from tests.pajama.commands import Pajama
from tests.pajama.warm import Warm

FAQ = """question,answer,phrasings
When are you open?,From nine to five.,"What are the opening hours?
Opening times"
Where can I park?,Behind the house.,"Is there a car park?
Parking"
怎么退货？,七天内可以退货。,退货流程
"""
WORDS = {"PAJAMA_FAQ_EMBEDDER": "none"}


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Path:
    """A folder with a database with a collection, to be copied."""
    pajama = Pajama(tmp_path_factory.mktemp("stocked"), warm)
    (pajama.folder / "faq.csv").write_text(FAQ)
    assert pajama.run("db", "upgrade").returncode == 0
    assert pajama.run("faq", "import", "shop", "faq.csv").returncode == 0
    return pajama.folder


@pytest.fixture
def shop(stocked: Path, pajama: Pajama) -> Pajama:
    """A database with a collection."""
    shutil.copytree(stocked, pajama.folder, dirs_exist_ok=True)
    return pajama


def test_a_dry_run_shows_the_difference_and_changes_nothing(shop: Pajama) -> None:
    (shop.folder / "new.csv").write_text("question,answer\nWhen are you open?,From ten to six.\nDo you deliver?,Yes.\n")
    shown = shop.run("faq", "import", "shop", "new.csv", "--dry-run", "--replace")
    assert shown.returncode == 0, shown.stderr
    assert "+ do-you-deliver: Do you deliver?" in shown.stdout
    assert "~ when-are-you-open: phrasings, answer" in shown.stdout
    assert "- where-can-i-park: Where can I park?" in shown.stdout
    assert "1 added, 1 changed, 2 removed, 0 as they were (dry run: nothing was written)" in shown.stdout
    assert len(shop.json("faq", "list", "shop")) == 3
    done = shop.json("faq", "import", "shop", "new.csv")
    assert (done["added"], done["changed"], done["removed"], done["same"]) == (
        ["do-you-deliver"], {"when-are-you-open": ["phrasings", "answer"]}, [], 0,
    )  # fmt: skip
    assert shop.json("faq", "list")[0] | {"collection_id": 1, "updated_at": ""} == {
        "calibration": None, "collection_id": 1, "entries": 4, "language": "", "name": "shop", "revision": 2,
        "updated_at": "", "workspace_id": None, "given": 0, "helpful": 0, "not_helpful": 0,
    }  # fmt: skip


def test_a_dry_run_of_a_new_collection_makes_none(pajama: Pajama) -> None:
    (pajama.folder / "faq.csv").write_text(FAQ)
    pajama.run("db", "upgrade")
    assert "3 added" in pajama.run("faq", "import", "shop", "faq.csv", "--dry-run").stdout
    assert pajama.json("faq", "list") == []


def test_a_bad_file_is_told_whole_and_nothing_is_changed(shop: Pajama) -> None:
    (shop.folder / "bad.csv").write_text("question,answer\nDo you deliver?,Yes.\nWhy?,\n,So.\n")
    failed = shop.run("faq", "import", "shop", "bad.csv")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines() == ["bad.csv:3: The answer is empty.", "bad.csv:4: The question is empty."]
    assert len(shop.json("faq", "list", "shop")) == 3


def test_a_question_is_answered_or_not_and_why(shop: Pajama) -> None:
    found = shop.json("faq", "search", "when are you open", **WORDS)
    assert (found["outcome"], found["matches"][0]["key"]) == ("answer", "when-are-you-open")
    assert found["matches"][0]["answer"] == "From nine to five."
    assert found["thresholds"]["collection"] == "shop"
    chinese = shop.run("faq", "search", "怎么退货", **WORDS)
    assert chinese.stdout.startswith("answer (same_words)")
    assert chinese.stdout.endswith("七天内可以退货。\n")
    assert shop.json("faq", "search", "Who painted the Mona Lisa?", **WORDS)["outcome"] == "abstain"


def test_a_large_collection_is_left_to_pgvector(pajama: Pajama, vector_database_url: str) -> None:
    (pajama.folder / "faq.csv").write_text(FAQ)
    where = {"PAJAMA_DATABASE_URL": vector_database_url, "PAJAMA_FAQ_EMBEDDER": "auto"}
    assert pajama.run("faq", "import", "shop", "faq.csv", **where).returncode == 0
    with connected(make_url(vector_database_url)) as connection:
        for least, expected in (("100", 0), ("3", 1)):
            found = pajama.json("faq", "search", "what time do you close", PAJAMA_FAQ_PGVECTOR_FROM=least, **where)
            assert found["matches"][0]["key"] == "when-are-you-open"
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'pajama_faq'").fetchone()
            assert tables == (expected,)


def test_a_collection_is_measured_and_calibrated(shop: Pajama) -> None:
    (shop.folder / "asked.csv").write_text("question,key\nopening hours today,when-are-you-open\nSell elephants?,\n")
    measured = shop.json("faq", "eval", "shop", "asked.csv", **WORDS)
    assert (measured["questions"], measured["top_1"], measured["abstention_recall"]) == (2, 1.0, 1.0)
    assert [row["allowed"] for row in measured["table"]] == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
    shown = shop.run("faq", "eval", "shop", "asked.csv", **WORDS).stdout
    assert "top_5" in shown and "2.0% |" in shown
    assert "the defaults" in shop.run("faq", "calibrate", "shop", "--dry-run", **WORDS).stdout
    assert shop.json("faq", "list")[0]["calibration"] is None
    made = shop.json("faq", "calibrate", "shop", "--risk", "0.05", "--questions", "asked.csv", **WORDS)
    assert made["target_risk"] == 0.05
    assert shop.json("faq", "list")[0]["calibration"] == made
    assert shop.json("faq", "calibrate", "shop", "--dry-run", **WORDS)["target_risk"] == 0.05


def test_the_curve_is_written_as_a_picture(pajama: Pajama) -> None:
    entries = [
        {
            "key": f"k{i}",
            "question": f"word{i} thing{i}",
            "answer": "-",
            "phrasings": [f"word{i} {n} thing{i}" for n in range(7)],
        }
        for i in range(12)
    ]
    (pajama.folder / "faq.json").write_text(json.dumps(entries))
    pajama.run("db", "upgrade")
    pajama.run("faq", "import", "shop", "faq.json")
    for name, begin in (("risk.svg", b"<svg "), ("risk.png", b"\x89PNG")):
        done = pajama.run("faq", "calibrate", "shop", "--plot", name, "--dry-run", **WORDS)
        assert done.returncode == 0, done.stderr
        assert (pajama.folder / name).read_bytes().startswith(begin)
    refused = pajama.run("faq", "calibrate", "shop", "--plot", "risk.pdf", **WORDS)
    assert (refused.returncode, refused.stdout) == (2, "") and ".svg or .png" in refused.stderr


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "yaml", "md"])
def test_an_export_is_imported_as_the_same(shop: Pajama, form: str) -> None:
    written = shop.run("faq", "export", "shop", "--out", f"out.{form}")
    assert written.returncode == 0, written.stderr
    again = shop.json("faq", "import", "shop", f"out.{form}", "--replace")
    assert (again["added"], again["changed"], again["removed"], again["same"]) == ([], {}, [], 3)
    printed = shop.run("faq", "export", "shop", "--format", form).stdout
    assert printed == (shop.folder / f"out.{form}").read_text()


def test_json_lines_are_the_default_and_a_line_is_an_entry(shop: Pajama) -> None:
    lines = shop.run("faq", "export", "shop").stdout.splitlines()
    assert [json.loads(line)["key"] for line in lines][:2] == ["when-are-you-open", "where-can-i-park"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("import", "shop", "none.csv"), 1, "cannot be read: No such file"),
        (("import", "a b", "faq.csv"), 1, "A collection's name"),
        (("import", "shop", "faq.csv", "--workspace", "web:nowhere"), 1, "no workspace 'web:nowhere'"),
        (("import", "a b", "faq.csv", "--dry-run"), 1, "A collection's name"),
        (("import", "new", "faq.csv", "--workspace", "web:nowhere", "--dry-run"), 1, "no workspace 'web:nowhere'"),
        (("export", "nothing"), 1, "no collection 'nothing'"),
        (("export", "shop", "--format", "docx"), 1, "should end in"),
        (("export", "shop", "--out", "/no/such/folder/x.csv"), 2, "cannot be written"),
        (("search", "x", "--collection", "nothing"), 1, "no collection 'nothing'"),
        (("eval", "shop", "faq.csv"), 1, "question and key"),
    ],
)
def test_what_goes_wrong_is_one_sentence(shop: Pajama, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    failed = shop.run("faq", *arguments, **WORDS)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert sentence in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_database_that_is_not_there_is_said(pajama: Pajama, tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text(FAQ)
    for command in (("list",), ("import", "shop", "faq.csv"), ("search", "x"), ("export", "shop")):
        failed = pajama.run("faq", *command)
        assert (failed.returncode, failed.stdout) == (4, "")
        assert "There is no database" in failed.stderr


def test_a_removed_collection_is_gone_and_its_name_free(shop: Pajama) -> None:
    removed = shop.run("faq", "remove", "shop")
    assert (removed.returncode, removed.stdout) == (0, "shop: removed, with 3 entries.\n")
    assert shop.json("faq", "list") == []
    assert shop.run("faq", "remove", "shop").returncode == 1
