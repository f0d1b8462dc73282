"""A hand-off between a visitor of the page and somebody at the operators' inbox, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bots.talking import plain
from bots.texts import text
from tests.bots.web.conftest import Site
from tests.bots.web.visiting import Event, asked, events, followed, say

INBOX = "/operator/api/handoffs"
CLAIMED, RELEASED = (plain(text(f"handoff_{what}", name="Bo")).removeprefix("👤 ") for what in ("claimed", "released"))
BO, CY = {"name": "Bo"}, {"name": "Cy"}


@pytest.fixture
def staff(site: Site) -> Iterator[httpx.Client]:
    """Somebody at the operators' inbox, which is where people of the page are helped."""
    with site.operator() as operator:
        put(operator, "handoff_channel", "page")
        yield operator
        for name in ("handoff_channel", "handoff_hours", "handoff_away_message"):
            put(operator, name, None)


def put(operator: httpx.Client, name: str, value: str | None) -> None:
    body = {"workspace": "web:local", "name": name, "value": value}
    assert operator.put("/operator/api/settings", json=body).status_code == 200


def requested(visitor: httpx.Client, staff: httpx.Client, reason: str = "") -> int:
    """A hand-off that this visitor asks for."""
    reason = reason or f"my parcel {uuid4().hex[:8]} is lost"
    assert say(visitor, f"/human {reason}").status_code == 200
    return next(int(row["handoff_id"]) for row in inbox(staff) if row["words"] == reason)


def claimed(visitor: httpx.Client, staff: httpx.Client) -> int:
    handoff_id = requested(visitor, staff)
    assert staff.post(f"{INBOX}/{handoff_id}/claim", json=BO).status_code == 200
    return handoff_id


def inbox(staff: httpx.Client, workspace: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = staff.get(INBOX, params={"workspace": workspace}).json()["handoffs"]
    return rows


def write(staff: httpx.Client, handoff_id: int, words: str, event_id: str = "", **who: str) -> httpx.Response:
    body = {"text": words, "event_id": event_id or uuid4().hex, **BO, **who}
    return staff.post(f"{INBOX}/{handoff_id}/words", json=body)


def talk(visitor: httpx.Client, after: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = visitor.get("/api/handoff", params={"after": after}).json()
    return told


def sentence(visitor: httpx.Client) -> str:
    return str((talk(visitor)["handoff"] or {"sentence": ""})["sentence"])


def heard(visitor: httpx.Client, last_event_id: str = "") -> list[Event]:
    """What the stream tells to its end."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with visitor.stream("GET", "/api/handoff/events", headers=headers) as response:
        return list(events(response))


def test_the_whole_way(site: Site, visitor: httpx.Client, staff: httpx.Client) -> None:
    followed(visitor, asked(visitor, "hello"))
    handoff_id = requested(visitor, staff, "my parcel is lost")
    assert sentence(visitor) == text("handoff_requested")
    told = staff.post(f"{INBOX}/{handoff_id}/claim", json=BO).json()
    assert [(line["speaker"], line["text"]) for line in told["said"]] == [
        ("person", "hello"),
        ("assistant", "You said: hello"),
        ("person", "my parcel is lost"),
    ]
    with visitor.stream("GET", "/api/handoff/events") as response:
        stream = events(response)
        assert [next(stream).data["text"], next(stream).data["handoff"]["sentence"]] == ["my parcel is lost", CLAIMED]
        write(staff, handoff_id, "I am here, <b>Ann</b>")
        assert (news := next(stream)).data["text"] == "I am here, <b>Ann</b>"
        assert (news.data["speaker"], news.data["name"]) == ("staff", "Bo")
        assert next(stream).name == "state"
        assert say(visitor, "where is it?").json()["passed_on"]
        assert next(stream).data["text"] == "where is it?"
        assert staff.get(f"{INBOX}/{handoff_id}").json()["said"][-1]["text"] == "where is it?"
        assert next(stream).name == "state"
        assert staff.post(f"{INBOX}/{handoff_id}/release", json=BO).json()["handoff"]["state"] == "released"
        assert [event.data["handoff"]["sentence"] for event in stream] == [RELEASED]
    assert sentence(visitor) == RELEASED and all(row["handoff_id"] != handoff_id for row in inbox(staff))
    followed(visitor, asked(visitor, "and now?"))
    assert talk(visitor)["handoff"] is None and len(talk(visitor)["said"]) == 3
    assert "and now?" not in str(staff.get(f"{INBOX}/{handoff_id}").json())


def test_who_comes_back_gets_what_was_missed_and_nothing_twice(visitor: httpx.Client, staff: httpx.Client) -> None:
    handoff_id = claimed(visitor, staff)
    with visitor.stream("GET", "/api/handoff/events") as response:
        last = next(events(response)).id
    write(staff, handoff_id, "said meanwhile")
    write(staff, handoff_id, "and this")
    staff.post(f"{INBOX}/{handoff_id}/release", json=BO)
    told = heard(visitor, last)
    assert [event.data["text"] for event in told if event.name == "said"] == ["said meanwhile", "and this"]
    assert [event.data["handoff"]["state"] for event in told if event.name == "state"] == ["released"]
    assert [line["text"] for line in talk(visitor, int(last))["said"]] == ["said meanwhile", "and this"]


def test_nobody_else_sees_it(site: Site, visitor: httpx.Client, staff: httpx.Client) -> None:
    claimed(visitor, staff)
    with site.visitor() as other:
        assert talk(other) == {"handoff": None, "said": []}
        assert [event.data for event in heard(other)] == [{"handoff": None}]
        for path in (INBOX, f"{INBOX}/events", f"{INBOX}/1"):
            assert other.get(path).status_code == 401
        for action in ("claim", "words", "release"):
            assert other.post(f"{INBOX}/1/{action}", json=BO).status_code == 401


def test_a_new_conversation_and_forgetting_end_it(visitor: httpx.Client, staff: httpx.Client) -> None:
    handoff_id = claimed(visitor, staff)
    visitor.post("/api/reset")
    assert talk(visitor) == {"handoff": None, "said": []}
    assert staff.get(f"{INBOX}/{handoff_id}").json()["handoff"]["cause"] == "reset"
    secret = claimed(visitor, staff)
    write(staff, secret, "your code is 1234")
    say(visitor, "/privacy forget")
    assert talk(visitor)["said"] == []
    told = staff.get(f"{INBOX}/{secret}").json()
    assert (told["handoff"]["cause"], told["said"]) == ("forgotten", [])
    assert write(staff, secret, "still there?").status_code == 409


def test_of_two_who_claim_one_has_it_and_words_come_once(visitor: httpx.Client, staff: httpx.Client) -> None:
    handoff_id = requested(visitor, staff)
    assert write(staff, handoff_id, "too early").json()["error"]["code"] == "handoff_unclaimed"
    assert staff.post(f"{INBOX}/{handoff_id}/claim", json=BO).status_code == 200
    assert staff.post(f"{INBOX}/{handoff_id}/claim", json=BO).status_code == 200
    taken = staff.post(f"{INBOX}/{handoff_id}/claim", json=CY)
    assert (taken.status_code, taken.json()["error"]["message"]) == (409, "Bo has it already.")
    event_id = uuid4().hex
    for _ in range(2):
        assert write(staff, handoff_id, "once", event_id).status_code == 200
    assert [line["text"] for line in talk(visitor)["said"] if line["speaker"] == "staff"] == ["once"]


def test_what_is_wrong_is_refused(site: Site, visitor: httpx.Client, staff: httpx.Client) -> None:
    handoff_id = claimed(visitor, staff)
    for name in ("", "   ", "x" * 81, "\x07"):
        assert staff.post(f"{INBOX}/{handoff_id}/claim", json={"name": name}).status_code == 422
    assert write(staff, handoff_id, " ").status_code == 422
    assert write(staff, handoff_id, "x" * (site.settings.max_message_chars + 1)).status_code == 413
    assert staff.post(f"{INBOX}/{10**12}/claim", json=BO).status_code == 404
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert staff.post(f"{INBOX}/{handoff_id}/release", json=BO, headers=elsewhere).status_code == 403
    assert sentence(visitor) == CLAIMED


def test_the_inbox_can_be_of_one_workspace(visitor: httpx.Client, staff: httpx.Client) -> None:
    handoff_id = requested(visitor, staff)
    assert handoff_id in [row["handoff_id"] for row in inbox(staff, "web:local")]
    assert inbox(staff, "web:another") == [] == inbox(staff, "discord:local")


def test_who_looks_at_the_inbox_is_told_to_look_again(visitor: httpx.Client, staff: httpx.Client) -> None:
    with staff.stream("GET", f"{INBOX}/events") as response:
        looks = events(response)
        next(looks)
        say(visitor, "/human")
        assert next(looks).data == {}


def test_where_nobody_is_there_or_told_the_person_reads_so(visitor: httpx.Client, staff: httpx.Client) -> None:
    put(staff, "handoff_hours", "Mon 00:00-00:01; Mon 00:01-00:02 Pacific/Kiritimati")
    put(staff, "handoff_away_message", "We are asleep.")
    say(visitor, "/human")
    assert sentence(visitor) == "We are asleep."
    put(staff, "handoff_channel", None)
    assert sentence(visitor) == text("handoff_unstaffed")


def test_answers_that_are_no_help_call_a_human(visitor: httpx.Client, staff: httpx.Client) -> None:
    for words in ("hello", "hello again"):
        turn_id = asked(visitor, words)
        followed(visitor, turn_id)
        visitor.post(f"/api/turns/{turn_id}/feedback", json={"rating": "down"})
    assert sentence(visitor).startswith(text("handoff_called_rating"))
    assert [row["why"] for row in inbox(staff) if row["words"] == "hello again"] == ["rating"]
