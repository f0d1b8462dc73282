"""What operators do over HTTP: collections, entries, imports and exports, trying, gaps, risk, settings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete, insert, select

from core.faq.files import MAX_FILE_BYTES
from core.faq.models import FaqEntry
from core.models import Workspace
from core.redis import connect, desk_open_key
from core.values import Rating
from tests.bots.web.conftest import Shop, until_open

API = "/operator/api"
CSV = "question,answer,phrasings,key\nWhen are you open?,From nine to five.,Opening hours,hours\nWhere do I park?,Behind the house.,,parking\n"


@pytest.fixture
def operator(bookshop: Shop) -> Iterator[httpx.Client]:
    with bookshop.operator() as client:
        yield client


@pytest.fixture
def made(operator: httpx.Client) -> str:
    """The path of a new collection with two entries."""
    path = created(operator)
    imported(operator, path, CSV.encode())
    return path


def created(operator: httpx.Client, name: str = "") -> str:
    answer = operator.post(f"{API}/collections", json={"name": name or f"shop-{uuid4().hex[:8]}", "language": "en"})
    assert answer.status_code == 200, answer.text
    return f"{API}/collections/{answer.json()['collection_id']}"


def looked_at(operator: httpx.Client, path: str, content: bytes, **query: str) -> httpx.Response:
    return operator.post(f"{path}/import", content=content, params={"name": "faq.csv", **query})


def imported(operator: httpx.Client, path: str, content: bytes, **query: str) -> dict[str, Any]:
    pin = looked_at(operator, path, content, **query).json()["pin"]
    answer = looked_at(operator, path, content, **query, pin=pin)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def keys(operator: httpx.Client, path: str, **query: str) -> list[str]:
    return [each["key"] for each in operator.get(f"{path}/entries", params=query).json()["entries"]]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


class TestCollections:
    def test_one_is_made_shown_and_removed(self, bookshop: Shop, operator: httpx.Client) -> None:
        name = f"library-{uuid4().hex[:8]}"
        path = created(operator, name)
        listed = next(each for each in operator.get(f"{API}/collections").json()["collections"] if each["name"] == name)
        assert listed == operator.get(path).json()
        assert (listed["workspace"], listed["entries"], listed["calibrated"]) == ("", 0, False)
        assert listed["rated"] == {"given": 0, "helpful": 0, "not_helpful": 0}
        again = operator.post(f"{API}/collections", json={"name": name})
        assert refused(again) == (422, "faq_taken") and name in again.json()["error"]["message"]
        assert refused(operator.post(f"{API}/collections", json={"name": "a b"})) == (422, "faq_name")
        assert refused(operator.post(f"{API}/collections", json={"name": "x", "workspace": "web:no"})) == (
            404,
            "not_found",
        )
        assert operator.delete(path).status_code == 204
        assert refused(operator.get(path)) == (404, "not_found")

    def test_one_of_a_workspace_is_that_workspaces(self, bookshop: Shop, operator: httpx.Client) -> None:
        bookshop.people.ask("Hello there", workspace="bookshop")
        answer = operator.post(f"{API}/collections", json={"name": f"b-{uuid4().hex[:8]}", "workspace": "web:bookshop"})
        assert answer.json()["workspace"] == "web:bookshop"

    def test_it_is_counted_how_often_entries_were_given_and_helped(
        self, bookshop: Shop, operator: httpx.Client, made: str
    ) -> None:
        with bookshop.database.read() as session:
            collection_id = int(made.rpartition("/")[2])
            entry_id = session.scalars(select(FaqEntry.id).filter_by(collection_id=collection_id, key="hours")).one()
        bookshop.people.rate(bookshop.people.ask("Open when?", "answer", entry_id=entry_id), Rating.UP)
        assert operator.get(made).json()["rated"] == {"given": 1, "helpful": 1, "not_helpful": 0}
        rows = {each["key"]: each["rated"] for each in operator.get(f"{made}/entries").json()["entries"]}
        assert rows["hours"]["helpful"] == 1 and rows["parking"]["given"] == 0


class TestEntries:
    def test_they_are_searched_by_words_and_tags(self, operator: httpx.Client, made: str) -> None:
        words = {
            "question": "Do you sell gift cards?",
            "answer": "Yes, **here**.",
            "tags": ["gifts"],
            "phrasings": ["礼品卡"],
        }
        assert operator.post(f"{made}/entries", json=words).json() == {"key": "do-you-sell-gift-cards", "version": 1}
        assert keys(operator, made) == ["hours", "parking", "do-you-sell-gift-cards"]
        assert keys(operator, made, words="HOUSE behind") == ["parking"]
        assert keys(operator, made, words="礼品") == keys(operator, made, tag="gifts") == ["do-you-sell-gift-cards"]
        assert keys(operator, made, words="elephants") == keys(operator, made, page="1") == []

    def test_one_is_changed_and_every_version_stays(self, operator: httpx.Client, made: str) -> None:
        one = {"params": {"key": "hours"}}
        seen = operator.get(f"{made}/entry", **one).json()
        assert (seen["version"], seen["words"]["phrasings"]) == (1, ["Opening hours"])
        words = {**seen["words"], "answer": "From ten to six.", "version": 1}
        assert operator.put(f"{made}/entry", **one, json=words).json() == {"key": "hours", "version": 2}
        assert refused(operator.put(f"{made}/entry", **one, json=words)) == (409, "faq_changed")
        versions = operator.get(f"{made}/entry", **one).json()["versions"]
        assert [(v["number"], v["words"]["answer"]) for v in versions] == [
            (2, "From ten to six."),
            (1, "From nine to five."),
        ]

    def test_one_is_retired_and_brought_back(self, operator: httpx.Client, made: str) -> None:
        assert refused(operator.delete(f"{made}/entry", params={"key": "hours", "version": 7})) == (409, "faq_changed")
        assert operator.delete(f"{made}/entry", params={"key": "hours", "version": 1}).status_code == 204
        assert keys(operator, made) == ["parking"]
        gone = operator.get(f"{made}/entry", params={"key": "hours"}).json()
        assert gone["removed"] is True
        assert operator.post(f"{made}/entries", json=gone["words"]).json()["version"] == 2

    def test_what_is_wrong_with_one_is_told_whole(self, operator: httpx.Client, made: str) -> None:
        wrong = operator.post(f"{made}/entries", json={"question": " ", "answer": "", "valid_from": "soon"})
        assert refused(wrong) == (422, "faq_entry")
        assert len(wrong.json()["error"]["problems"]) == 3
        assert refused(operator.post(f"{made}/entries", json={"question": "x", "answer": "y" * 20_000})) == (
            422,
            "invalid",
        )
        assert refused(operator.post(f"{made}/entries", json={"question": "Open?", "answer": "y", "key": "hours"})) == (
            422,
            "faq_taken",
        )
        assert refused(
            operator.put(f"{made}/entry", params={"key": "hours"}, json={"question": "x", "answer": "y"})
        ) == (422, "invalid")

    def test_a_key_may_hold_a_slash_and_a_question_mark(self, operator: httpx.Client, made: str) -> None:
        words = {"question": "Odd?", "answer": "Odd.", "key": "a/b?c&d=e%2F"}
        assert operator.post(f"{made}/entries", json=words).status_code == 200
        assert operator.get(f"{made}/entry", params={"key": words["key"]}).json()["words"]["answer"] == "Odd."

    def test_scripts_and_templates_in_an_answer_stay_text(self, operator: httpx.Client, made: str) -> None:
        answer = "<script>alert(1)</script> {{ 7 * 7 }} [x](javascript:alert(1)) <|im_start|>"
        operator.post(f"{made}/entries", json={"question": "Hm?", "answer": answer, "key": "attack"})
        kept = operator.get(f"{made}/entry", params={"key": "attack"})
        assert kept.json()["words"]["answer"] == answer
        assert (
            kept.headers["content-type"] == "application/json" and kept.headers["x-content-type-options"] == "nosniff"
        )


class TestImport:
    def test_it_is_looked_at_and_then_applied_as_it_was(self, operator: httpx.Client, made: str) -> None:
        content = b"question,answer,key\nWhen are you open?,Always.,hours\nDo you deliver?,Yes.,deliver\n"
        diff = looked_at(operator, made, content, replace="true").json()
        assert diff["counts"] == {"added": 1, "changed": 1, "removed": 1, "same": 0}
        assert diff["added"][0]["question"] == "Do you deliver?" and diff["removed"][0]["key"] == "parking"
        assert (diff["changed"][0]["fields"], diff["changed"][0]["after"]["answer"]) == (
            ["phrasings", "answer"],
            "Always.",
        )
        assert keys(operator, made) == ["hours", "parking"]
        done = looked_at(operator, made, content, replace="true", pin=diff["pin"])
        assert done.json()["counts"] == diff["counts"]
        assert keys(operator, made) == ["hours", "deliver"]

    def test_another_file_other_choices_or_another_state_are_refused(self, operator: httpx.Client, made: str) -> None:
        content = b"question,answer\nDo you deliver?,Yes.\n"
        pin = looked_at(operator, made, content).json()["pin"]
        other = content.replace(b"Yes", b"No")
        for attempt in (
            looked_at(operator, made, other, pin=pin),
            looked_at(operator, made, content, pin=pin, replace="true"),
            looked_at(operator, made, content, pin="0" * 64),
        ):
            assert refused(attempt) == (409, "faq_changed")
        operator.post(f"{made}/entries", json={"question": "Something else?", "answer": "Yes."})
        assert refused(looked_at(operator, made, content, pin=pin)) == (409, "faq_changed")
        assert "do-you-deliver" not in keys(operator, made)

    @pytest.mark.parametrize(
        ("content", "query", "lines", "sentence"),
        [
            (b"question,answer\nWhy?,\n,So.\nWhy?,So.\nWhy?,So.\n", {}, [2, 3, 5], "The answer is empty."),
            ("question,answer\nÖffnungszeiten?,Ja\n".encode("latin-1"), {}, [2], "is no utf-8"),
            ("问题,答案\n几点开门？,九点\n".encode("gb18030"), {}, [1], "is no utf-8"),
            (b"question,answer\n\0,x\n", {}, [2], "NUL"),
            (b"", {}, [1], "The first row"),
            (b"question,answer\n", {}, [0], "no entries"),
            (b"[{", {"name": "faq.json"}, [1], "no JSON"),
            (b"- &a {question: x}\n- *a\n", {"name": "faq.yaml"}, [2], "Aliases"),
            (b"PK\x03\x04", {"name": "faq.xlsx"}, [0], "should end in"),
            (b"x", {"name": "../../etc/passwd"}, [0], "should end in"),
            (b"question,answer\nx,y\n", {"encoding": "no-such"}, [0], "cannot be read"),
            (b"question,answer\nx,y\n", {"encoding": "\0"}, [0], "cannot be read"),
        ],
    )
    def test_a_wrong_file_is_told_line_by_line_and_changes_nothing(
        self, operator: httpx.Client, made: str, content: bytes, query: dict[str, str], lines: list[int], sentence: str
    ) -> None:
        answer = looked_at(operator, made, content, **query)
        assert refused(answer) == (422, "faq_file")
        problems = answer.json()["error"]["problems"]
        assert [problem["line"] for problem in problems] == lines
        assert sentence in problems[0]["text"]
        assert keys(operator, made) == ["hours", "parking"]

    def test_marks_and_encodings_are_understood(self, operator: httpx.Client, made: str) -> None:
        text = "问题,答案,key\n几点开门？,九点,zh\n"
        for content, query in ((b"\xef\xbb\xbf" + text.encode(), {}), (text.encode("utf-16"), {}),
                               (text.encode("gb18030"), {"encoding": "gb18030"})):  # fmt: skip
            assert looked_at(operator, made, content, **query).json()["added"][0]["answer"] == "九点"

    def test_fifty_megabytes_are_refused(self, bookshop: Shop, operator: httpx.Client, made: str) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(MAX_FILE_BYTES // (1 << 20) + 30):
                yield b"x" * (1 << 20)

        answer = operator.post(f"{made}/import?name=a.csv", headers={"Content-Length": str(50 << 20)}, content=chunks())
        assert refused(answer) == (413, "too_large")

    def test_a_long_diff_is_cut_and_counted(self, operator: httpx.Client, made: str) -> None:
        rows = "".join(f"Question {i}?,Answer {i}\n" for i in range(500))
        diff = looked_at(operator, made, f"question,answer\n{rows}".encode()).json()
        assert (len(diff["added"]), diff["counts"]["added"]) == (200, 500)


class TestExport:
    @pytest.mark.parametrize("form", ["csv", "json", "jsonl", "yaml", "md"])
    def test_what_is_downloaded_is_imported_as_the_same(self, operator: httpx.Client, made: str, form: str) -> None:
        file = operator.get(f"{made}/export", params={"form": form})
        assert file.headers["content-disposition"].startswith("attachment; ")
        assert file.headers["content-type"] == "application/octet-stream"
        diff = looked_at(operator, made, file.content, name=f"faq.{form}", replace="true").json()
        assert diff["counts"] == {"added": 0, "changed": 0, "removed": 0, "same": 2}

    def test_no_cell_is_a_formula(self, operator: httpx.Client, made: str) -> None:
        for i, text in enumerate(("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://evil","x")')):
            words = {"question": f"Number {i}?", "answer": text, "tags": ["=tag"]}
            assert operator.post(f"{made}/entries", json=words).status_code == 200
        text = operator.get(f"{made}/export", params={"form": "csv"}).content.decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t＝＋－＠")]

    def test_no_other_form_is_one(self, operator: httpx.Client, made: str) -> None:
        assert refused(operator.get(f"{made}/export", params={"form": "exe"})) == (422, "invalid")


class TestQuestions:
    def test_a_question_is_tried_as_a_worker_decides(self, operator: httpx.Client, made: str) -> None:
        number = int(made.rpartition("/")[2])
        told = operator.post(f"{API}/try", json={"text": "opening hours", "collection_id": number}).json()
        assert (told["tried"]["outcome"], told["tried"]["matches"][0]["answer"]) == ("answer", "From nine to five.")
        assert told["told"] and told["reason"] and told["tried"]["thresholds"]["answer"] > 0.5
        abstained = operator.post(
            f"{API}/try", json={"text": "Who painted the Mona Lisa?", "collection_id": number}
        ).json()
        assert abstained["tried"]["outcome"] == "abstain"
        assert refused(operator.post(f"{API}/try", json={"text": "x", "collection_id": 99_999})) == (404, "not_found")
        assert refused(operator.post(f"{API}/try", json={"text": "", "collection_id": number})) == (422, "invalid")
        chinese = operator.post(f"{API}/try", json={"text": "opening hours"}, headers={"Accept-Language": "zh"}).json()
        assert chinese["told"] != told["told"]

    def test_collections_of_one_name_are_told_apart(self, bookshop: Shop, operator: httpx.Client) -> None:
        bookshop.people.ask("Hello there", workspace="branch")
        name, answers = f"shop-{uuid4().hex[:8]}", {"": "From nine.", "web:branch": "Never."}
        for workspace, answer in answers.items():
            body = {"name": name, "workspace": workspace}
            number = operator.post(f"{API}/collections", json=body).json()["collection_id"]
            operator.post(
                f"{API}/collections/{number}/entries", json={"question": f"Is {name} open?", "answer": answer}
            )
            tried = operator.post(
                f"{API}/try", json={"text": f"Is {name} open?", "workspace": "web:branch", "collection_id": number}
            ).json()["tried"]
            assert (tried["collection_id"], tried["matches"][0]["answer"]) == (number, answer)
            question = f"Does {name} of number {number} deliver?"
            bookshop.people.ask(question, collection_id=number)
            gaps = operator.get(f"{API}/gaps", params={"collection": number}).json()["gaps"]
            assert [gap["question"] for gap in gaps] == [question]

    def test_where_no_worker_is_that_is_said(self, bookshop: Shop, operator: httpx.Client) -> None:
        with connect(bookshop.settings.redis_url) as client:
            while True:  # the desk says again and again that it is open
                client.delete(desk_open_key(bookshop.settings.redis_prefix))
                answer = operator.post(f"{API}/try", json={"text": "opening hours"})
                if answer.status_code == 503:
                    break
            until_open(client, bookshop.settings.redis_prefix)
        assert refused(answer) == (503, "no_worker")

    def test_a_gap_is_accepted_and_then_answered(self, bookshop: Shop, operator: httpx.Client, made: str) -> None:
        collection = operator.get(made).json()
        for text in ("Do you repair umbrellas?", "do you repair umbrellas", "Umbrellas, do you repair them?"):
            bookshop.people.ask(text, collection_id=collection["collection_id"], workspace="umbrellas")
        asked = {"params": {"collection": collection["collection_id"], "workspace": "web:umbrellas"}}
        (gap,) = operator.get(f"{API}/gaps", **asked).json()["gaps"]
        assert (gap["count"], gap["outcomes"]) == (3, {"abstain": 3})
        words = {"question": gap["question"], "phrasings": gap["phrasings"], "answer": "Yes, on Mondays."}
        assert operator.post(f"{made}/entries", json=words).status_code == 200
        assert operator.get(f"{API}/gaps", **asked).json()["gaps"] == []
        body = {"text": "Do you repair umbrellas?", "collection_id": collection["collection_id"]}
        told = operator.post(f"{API}/try", json=body).json()["tried"]
        assert (told["outcome"], told["matches"][0]["answer"]) == ("answer", "Yes, on Mondays.")

    def test_wordings_of_a_gap_are_added_to_an_entry(self, operator: httpx.Client, made: str) -> None:
        path = f"{made}/entry/phrasings"
        given = {"phrasings": ["Is there a car park?", "where do i park"]}
        assert operator.post(path, params={"key": "parking"}, json=given).json() == {"key": "parking", "version": 2}
        words = operator.get(f"{made}/entry", params={"key": "parking"}).json()["words"]
        assert words["phrasings"] == ["Is there a car park?"]

    def test_a_collection_is_measured_for_a_target(self, operator: httpx.Client, made: str) -> None:
        assert operator.get(f"{made}/risk").json() == {"calibration": None, "plot": "", "changed": False}
        told = operator.post(f"{made}/risk", json={"target_risk": 0.05}).json()
        assert told["calibration"]["target_risk"] == 0.05 and told["plot"] == ""  # too few phrasings to measure
        many = [
            {
                "key": f"k{i}",
                "question": f"word{i} sign{i}",
                "answer": "-",
                "phrasings": [f"word{i} {n} sign{i}" for n in range(7)],
            }
            for i in range(12)
        ]
        imported(operator, made, json.dumps(many).encode(), name="faq.json", replace="true")
        told = operator.post(f"{made}/risk", json={"target_risk": 0.1, "uncovered_share": 0.3}).json()
        assert told["plot"].startswith("<svg ") and told == operator.get(f"{made}/risk").json()
        assert operator.get(made).json()["calibrated"] is True and told["changed"] is False
        operator.post(f"{made}/entries", json={"question": "Something new?", "answer": "Yes."})
        assert operator.get(f"{made}/risk").json()["changed"] is True
        for wrong in (0, 0.9, "much"):
            assert refused(operator.post(f"{made}/risk", json={"target_risk": wrong})) == (422, "invalid")

    def test_a_collection_is_asked_the_labelled_questions_of_a_file(self, operator: httpx.Client, made: str) -> None:
        file = b"question,key\nWhere do I park?,parking\nWho painted the Mona Lisa?,\n"
        found = operator.post(f"{made}/evaluation", params={"name": "asked.csv"}, content=file).json()
        assert (found["questions"], found["covered"], found["uncovered"]) == (2, 1, 1)
        assert (found["top_1"], found["answered_rightly"], found["uncovered_answered"]) == (1.0, 1.0, 0.0)
        assert {row["answered"] for row in found["table"]} == {1.0} == {row["refused"] for row in found["table"]}
        assert operator.get(f"{made}/risk").json()["calibration"] is None
        wrong = operator.post(
            f"{made}/evaluation", params={"name": "asked.csv"}, content=b"question,key\nWhere?,nowhere\n"
        )
        assert wrong.status_code == 422
        (problem,) = wrong.json()["error"]["problems"]
        assert problem["line"] == 2 and "'nowhere'" in problem["text"]


class TestSettings:
    def test_the_pages_own_workspace_is_managed(self, operator: httpx.Client) -> None:
        shown = operator.get(f"{API}/settings").json()
        kinds = {each["name"]: (each["kind"], each["choices"]) for each in shown["settings"]}
        assert (shown["workspace"], shown["workspaces"][0]) == ("web:local", "web:local")
        assert kinds["persona"] == ("text", []) and kinds["turns_per_day"] == ("number", [])
        assert kinds["answer"] == ("choice", ["mention", "always", "never"]) and kinds["read_context"][1] == [
            "on",
            "off",
        ]
        assert kinds["allowed_users"] == ("line", []) and all(each["meaning"] for each in shown["settings"])
        for name, value in (
            ("persona", "A librarian.\nKind."),
            ("read_context", "on"),
            ("blocked_users", "a b"),
            ("turns_per_day", "7"),
        ):
            changed = operator.put(
                f"{API}/settings", json={"workspace": "web:local", "name": name, "value": value}
            ).json()
            assert next(each["value"] for each in changed["settings"] if each["name"] == name) == value
            unset = operator.put(f"{API}/settings", json={"workspace": "web:local", "name": name, "value": None}).json()
            assert next(each["value"] for each in unset["settings"] if each["name"] == name) is None

    def test_a_workspace_is_managed_however_many_are_newer(self, bookshop: Shop, operator: httpx.Client) -> None:
        bookshop.people.ask("Hello there", workspace="oldest")
        newer = [
            {"platform": "web", "external_id": f"newer-{i}", "settings": {}, "created_at": bookshop.people.now}
            for i in range(201)
        ]
        with bookshop.database.write() as session:
            session.execute(insert(Workspace), newer)
        body = {"workspace": "web:oldest", "name": "answer", "value": "never"}
        assert "web:oldest" in operator.put(f"{API}/settings", json=body).json()["workspaces"]
        with bookshop.database.write() as session:
            session.execute(delete(Workspace).where(Workspace.external_id.startswith("newer-")))

    def test_what_cannot_be_is_refused_with_what_can(self, operator: httpx.Client) -> None:
        wrong = operator.put(f"{API}/settings", json={"workspace": "web:local", "name": "answer", "value": "perhaps"})
        assert refused(wrong) == (422, "bad_setting") and "always" in wrong.json()["error"]["message"]
        unknown = operator.put(f"{API}/settings", json={"workspace": "web:local", "name": "colour", "value": "x"})
        assert refused(unknown) == (422, "unknown_setting")
        model = operator.put(f"{API}/settings", json={"workspace": "web:local", "name": "model", "value": "huge"})
        assert refused(model) == (422, "not_offered")
        for workspace in ("web:nowhere", "x:y", "web", ""):
            body = {"workspace": workspace, "name": "answer", "value": "never"}
            assert refused(operator.put(f"{API}/settings", json=body)) == (404, "not_found")
