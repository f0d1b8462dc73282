"""The web API over real sockets: what it does, and how it stands faults."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from bots.texts import text
from bots.web.server import listen
from bots.web.sessions import SITE
from core import workspaces
from core.errors import FailureCode, SettingsError
from core.models import Delivery, Feedback, Turn
from core.settings import Settings
from core.values import DeliveryState
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import Failure, Gate
from tests.bots.web.conftest import Site, served
from tests.bots.web.visiting import asked, events, followed, followed_live, say, shown


def delivered_at(site: Site, turn_id: int) -> datetime | None:
    with site.database.read() as session:
        return session.get_one(Turn, turn_id).delivered_at


@pytest.mark.usefixtures("shop")
class TestFaq:
    def test_a_curated_answer_comes_with_its_source(self, visitor: httpx.Client) -> None:
        end = followed(visitor, asked(visitor, "when are you open"))[-1].data
        assert end["answer"]["text"] == HOURS.answer
        assert end["finding"] == {
            "outcome": "answer",
            "lead": "",
            "sources": [text("faq_source", question=HOURS.question)],
            "choices": [],
        }

    def test_what_is_offered_may_be_chosen_once(self, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, BOTH)
        finding = followed(visitor, turn_id)[-1].data["finding"]
        assert finding["lead"] == text("faq_which")
        parking = next(choice for choice in finding["choices"] if choice["question"] == PARKING.question)
        path = f"/api/turns/{turn_id}/choices/{parking['entry_id']}"
        first, second = (visitor.post(path).json()["turn"] for _ in range(2))
        assert first["turn_id"] == second["turn_id"] != turn_id
        end = followed(visitor, first["turn_id"])[-1].data
        assert (end["text"], end["answer"]["text"]) == (PARKING.question, PARKING.answer)

    def test_what_was_not_offered_is_not_there(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, BOTH)
        followed(visitor, turn_id)
        assert visitor.post(f"/api/turns/{turn_id}/choices/999").status_code == 404
        with site.visitor() as other:
            assert other.post(f"/api/turns/{turn_id}/choices/1").status_code == 404

    def test_silence_is_a_sentence_in_the_visitors_language(self, site: Site) -> None:
        with site.visitor(**{"Accept-Language": "zh-CN"}) as visitor:
            end = followed(visitor, asked(visitor, "/faq Who painted the Mona Lisa?"))[-1].data
        assert end["finding"]["lead"] == text("faq_unknown", "zh-CN")
        assert end["answer"]["text"] == ""


class TestAnswer:
    def test_an_answer_streams_in_and_ends_with_the_turn(self, visitor: httpx.Client) -> None:
        happened = followed(visitor, asked(visitor, "hello"))
        end = happened[-1]
        assert shown(happened) == "You said: hello"
        assert (end.name, end.data["state"], end.data["answer"]["text"]) == ("end", "done", "You said: hello")
        assert end.data["answer"]["usage"]["completion_tokens"] == 3

    def test_the_history_holds_the_conversation_in_order(self, visitor: httpx.Client) -> None:
        for said in ("one", "two"):
            followed(visitor, asked(visitor, said))
        turns = visitor.get("/api/history").json()["turns"]
        assert [(turn["text"], turn["answer"]["text"]) for turn in turns] == [
            ("one", "You said: one"),
            ("two", "You said: two"),
        ]

    def test_the_same_event_twice_is_one_turn(self, visitor: httpx.Client) -> None:
        first, second = (say(visitor, "once", "the-same-event") for _ in range(2))
        assert first.status_code == second.status_code == 200
        assert first.json()["turn"]["turn_id"] == second.json()["turn"]["turn_id"]
        assert len(visitor.get("/api/history").json()["turns"]) == 1

    def test_event_ids_of_two_visitors_do_not_meet(self, site: Site, visitor: httpx.Client) -> None:
        with site.visitor() as other:
            ids = {say(client, "mine", "the-same-event").json()["turn"]["turn_id"] for client in (visitor, other)}
        assert len(ids) == 2

    @pytest.mark.parametrize("cut", [1, 4, 8])
    def test_a_stream_goes_on_where_it_broke(self, site: Site, visitor: httpx.Client, gate: Gate, cut: int) -> None:
        words = ["Ä", "bc", "de", "f 🌙", "gh", "!"]
        text = f"count to {cut}"
        site.worker.script[text] = [*words[:4], gate, *words[4:]]
        turn_id, before = asked(visitor, text), ""
        with visitor.stream("GET", f"/api/turns/{turn_id}/events") as response:
            for event in events(response):
                if event.name == "text":
                    before += event.data["text"]
                    if len(before) == 8:
                        break
        fence = int(event.id.split(":")[0])
        with visitor.stream(
            "GET", f"/api/turns/{turn_id}/events", headers={"Last-Event-ID": f"{fence}:{cut}"}
        ) as response:
            *after, end = followed_live(response, gate)
        assert before[:cut] + "".join(e.data["text"] for e in after if e.name == "text") == "".join(words)
        assert end.data["answer"]["text"] == "".join(words)

    def test_a_failed_answer_says_why_in_the_visitors_language(self, site: Site) -> None:
        site.worker.script["fail"] = ["Hm", Failure(FailureCode.DEADLINE)]
        sentences = set()
        for language in ("en", "zh-CN"):
            with site.visitor(**{"Accept-Language": language}) as visitor:
                end = followed(visitor, asked(visitor, "fail"))[-1].data
                assert (end["state"], end["failure"]["code"]) == ("failed", "deadline")
                sentences.add(end["failure"]["message"])
        assert len(sentences) == 2

    def test_what_was_shown_is_in_the_ledger(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "note this")
        generation_id = followed(visitor, turn_id)[-1].data["answer"]["generation_id"]
        visitor.get("/api/history")  # the ledger is written after the last byte; this request comes later
        with site.database.read() as session:
            delivery = session.scalars(select(Delivery).where(Delivery.generation_id == generation_id)).one()
            assert (delivery.chunk, delivery.state) == (0, DeliveryState.SENT)
        assert delivered_at(site, turn_id) is not None

    def test_the_ledger_is_written_though_the_page_hangs_up_at_the_end(self, site: Site) -> None:
        with site.visitor() as visitor:
            turn_id = asked(visitor, "bye")
            with visitor.stream("GET", f"/api/turns/{turn_id}/events") as response:
                next(event for event in events(response) if event.name == "end")
        while delivered_at(site, turn_id) is None:  # the test's timeout ends this
            pass

    def test_an_answer_nobody_followed_is_delivered_by_the_history(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "later")
        while visitor.get(f"/api/turns/{turn_id}").json()["state"] != "done":
            pass
        visitor.get("/api/history")
        visitor.get("/api/history")  # on the same connection: what runs after the first response has run
        assert delivered_at(site, turn_id) is not None


class TestActions:
    def test_stop_keeps_what_is_written(self, site: Site, visitor: httpx.Client, gate: Gate) -> None:
        site.worker.script["go on"] = ["La ", "la ", gate, "never"]
        turn_id = asked(visitor, "go on")
        with visitor.stream("GET", f"/api/turns/{turn_id}/events") as response:
            happened = []
            for event in events(response):
                happened.append(event)
                if shown(happened) == "La la ":
                    assert visitor.post(f"/api/turns/{turn_id}/stop").status_code == 200
        assert happened[-1].data["state"] == "cancelled"
        assert happened[-1].data["answer"]["text"] == "La la "

    def test_a_queued_turn_is_stopped_at_once(self, site: Site, visitor: httpx.Client, gate: Gate) -> None:
        site.worker.script["first"] = ["1", gate]
        asked(visitor, "first")
        second = asked(visitor, "second")
        assert visitor.post(f"/api/turns/{second}/stop").json()["state"] == "cancelled"
        assert followed(visitor, second)[-1].data["state"] == "cancelled"

    def test_regenerating_gives_another_answer(self, site: Site, visitor: httpx.Client) -> None:
        site.worker.script["dice"] = ["three"]
        turn_id = asked(visitor, "dice")
        followed(visitor, turn_id)
        site.worker.script["dice"] = ["five"]
        assert visitor.post(f"/api/turns/{turn_id}/regenerate").status_code == 200
        end = followed(visitor, turn_id)[-1].data
        assert (end["answer"]["text"], end["answer"]["number"]) == ("five", 2)

    def test_regenerating_an_open_turn_is_a_conflict(self, site: Site, visitor: httpx.Client, gate: Gate) -> None:
        site.worker.script["slow"] = ["s", gate]
        turn_id = asked(visitor, "slow")
        refused = visitor.post(f"/api/turns/{turn_id}/regenerate")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")

    def test_feedback_is_stored_changed_and_taken_back(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "rate me")
        generation_id = followed(visitor, turn_id)[-1].data["answer"]["generation_id"]

        def stored() -> list[tuple[str, str]]:
            with site.database.read() as session:
                rows = session.scalars(select(Feedback).where(Feedback.generation_id == generation_id))
                return [(row.rating.value, row.comment) for row in rows]

        for rating, comment, expected in (
            ("down", "too short", [("down", "too short")]),
            ("up", "", [("up", "")]),
            (None, "", []),
        ):
            body = {"rating": rating, "comment": comment}
            assert visitor.post(f"/api/turns/{turn_id}/feedback", json=body).status_code == 204
            assert stored() == expected

    def test_why_shows_the_prompt_with_counts_and_model(self, visitor: httpx.Client) -> None:
        followed(visitor, asked(visitor, "my name is Ada"))
        turn_id = asked(visitor, "what is my name?")
        followed(visitor, turn_id)
        told = visitor.get(f"/api/turns/{turn_id}/why").json()
        said = [(message["role"], message["text"]) for message in told["messages"] if message["role"] != "system"]
        assert said == [
            ("user", "my name is Ada"),
            ("assistant", "You said: my name is Ada"),
            ("user", "what is my name?"),
        ]
        assert told["answer"]["model_revision"] == "r1"
        assert told["answer"]["timings_ms"]["first_token"] == 7.25
        assert told["sampling"]["temperature"] == 0.7

    def test_a_reset_leaves_nothing_to_see(self, visitor: httpx.Client) -> None:
        followed(visitor, asked(visitor, "old"))
        assert visitor.post("/api/reset").status_code == 204
        assert visitor.get("/api/history").json() == {"turns": []}


class TestCommands:
    def test_a_command_replies_and_is_no_turn(self, visitor: httpx.Client) -> None:
        assert "/translate" in say(visitor, "/help").json()["reply"]
        assert visitor.get("/api/history").json() == {"turns": []}

    def test_reset_by_typing_leaves_nothing_to_see(self, visitor: httpx.Client) -> None:
        followed(visitor, asked(visitor, "old"))
        assert say(visitor, "/reset").json()["reply"]
        assert visitor.get("/api/history").json() == {"turns": []}

    def test_a_recipe_is_a_turn_of_its_own_kind(self, visitor: httpx.Client) -> None:
        turn = say(visitor, "/translate to=fr good night").json()["turn"]
        assert (turn["recipe"], turn["text"]) == ("translate", "good night")

    def test_regenerate_and_why_are_about_the_last_turn(self, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "again")
        followed(visitor, turn_id)
        assert say(visitor, "/regenerate").json()["turn"]["turn_id"] == turn_id
        followed(visitor, turn_id)
        assert say(visitor, "/why").json()["why"] == turn_id

    def test_an_unknown_command_names_the_closest(self, visitor: httpx.Client) -> None:
        refused = say(visitor, "/regenrate")
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_command")
        assert "/regenerate" in refused.json()["error"]["message"]

    @pytest.mark.parametrize("typed", ["/settings", "/settings answer never", "/persona A pirate."])
    def test_a_visitor_manages_nothing(self, visitor: httpx.Client, typed: str) -> None:
        refused = say(visitor, typed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin")
        assert "/settings" not in say(visitor, "/help").json()["reply"]
        assert say(visitor, "/persona").json()["reply"] == text("persona_none")

    def test_status_tells_what_waits(self, visitor: httpx.Client) -> None:
        assert text("status_no_worker") in say(visitor, "/status").json()["reply"]

    def test_who_is_not_answered_is_told_so_and_when_to_come_back(self, site: Site, visitor: httpx.Client) -> None:
        asked(visitor, "/ask hello")
        for name, value, status, code in (("turns_per_day", 1, 429, "quota"), ("allowed_users", "x", 403, "access")):
            with set_for_a_while(site, name, value):
                refused = say(visitor, "hello")
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
            if status == 429:
                assert 3600 <= int(refused.headers["Retry-After"]) <= 24 * 3600


@contextmanager
def set_for_a_while(site: Site, name: str, value: object) -> Iterator[None]:
    """A setting of the page's Workspace, which other tests share."""
    for each in (value, None):
        with site.database.write() as session:
            workspaces.change(session, "web", SITE, name, each, now=datetime.now(UTC))
        if each is not None:
            yield


class TestFaults:
    def test_a_database_that_is_away_is_a_sentence(self, site: Site, tmp_path: Path) -> None:
        settings = site.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'no' / 'such.db'}"})
        with served(settings) as url, httpx.Client(base_url=url) as visitor:
            refused = say(visitor, "hello")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert refused.json()["error"]["message"]
            assert visitor.get("/healthz").status_code == 503
            assert visitor.get("/").status_code == 200

    def test_a_message_is_taken_while_redis_is_away(self, site: Site, tmp_path: Path) -> None:
        settings = site.settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
        with served(settings) as url, httpx.Client(base_url=url, timeout=20) as visitor:
            assert say(visitor, "hello").status_code == 200
            assert visitor.get("/healthz").status_code == 503

    def test_open_streams_do_not_delay_the_end(self, site: Site, gate: Gate) -> None:
        site.worker.script["wait for it"] = ["…", gate]
        with httpx.Client(timeout=20) as visitor:
            with served(site.settings) as url:
                visitor.base_url = httpx.URL(url)
                turn_id = asked(visitor, "wait for it")
                request = visitor.build_request("GET", f"/api/turns/{turn_id}/events")
                stream = events(visitor.send(request, stream=True))
                next(e for e in stream if e.name == "text")
            assert "end" not in {event.name for event in stream}

    def test_a_port_in_use_is_named(self, site: Site) -> None:
        port = httpx.URL(site.url).port
        with pytest.raises(SettingsError, match="PAJAMA_WEB_PORT"):
            listen(site.settings.model_copy(update={"web_port": port}))

    def test_sigterm_ends_the_process_cleanly_while_a_stream_is_open(self, site: Site, gate: Gate) -> None:
        site.worker.script["until the end"] = ["…", gate]
        with process(site.settings) as (serving, url), httpx.Client(base_url=url, timeout=20) as visitor:
            turn_id = asked(visitor, "until the end")
            with visitor.stream("GET", f"/api/turns/{turn_id}/events") as response:
                stream = events(response)
                next(e for e in stream if e.name == "text")
                serving.terminate()
                assert serving.wait(10) == 0
                assert "end" not in {event.name for event in stream}


@contextmanager
def process(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page in a process of its own, as `pajama bot web` runs it, and where it is."""
    code = "import asyncio; from core.settings import Settings; from bots.web.server import serve; asyncio.run(serve(Settings()))"
    given = settings.model_dump(mode="json", include={"data_dir", "redis_url", "redis_prefix", "web_port"})
    environment = os.environ | {f"PAJAMA_{name.upper()}": str(value) for name, value in given.items()}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as serving:
        try:
            assert serving.stdout is not None
            ready = next(line for line in serving.stdout if "web_ready" in line)
            yield serving, re.sub(r"\x1b\[[0-9;]*m", "", ready).split("url=")[1].split()[0]
        finally:
            serving.kill()
