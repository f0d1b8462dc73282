"""What a visitor does over HTTP, without a browser: say something and follow the events of its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.bots.scripted_worker import Gate


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    id: str
    data: dict[str, Any]


def events(response: httpx.Response) -> Iterator[Event]:
    """The events of a stream, as a browser reads them."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


def say(visitor: httpx.Client, text: str, event_id: str | None = None) -> httpx.Response:
    return visitor.post("/api/messages", json={"text": text, "event_id": event_id or uuid4().hex})


def asked(visitor: httpx.Client, text: str) -> int:
    response = say(visitor, text)
    assert response.status_code == 200, response.text
    return int(response.json()["turn"]["turn_id"])


def followed(visitor: httpx.Client, turn_id: int, last_event_id: str = "") -> list[Event]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with visitor.stream("GET", f"/api/turns/{turn_id}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response))


def followed_live(response: httpx.Response, gate: Gate) -> Iterator[Event]:
    """The events of a stream; its answer goes on once the first has arrived."""
    for event in events(response):
        gate.set()
        yield event


def shown(happened: list[Event]) -> str:
    """What a page shows after these events."""
    text = ""
    for event in happened:
        if event.name == "text":
            text = text[: event.data["offset"]] + event.data["text"]
    return text
