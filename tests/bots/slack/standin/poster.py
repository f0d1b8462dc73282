"""HTTP events: signed POSTs to the app's request URL, and the signatures that must be refused."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from tests.bots.slack.standin.deliveries import COMMAND, EVENT, Attempt, Delivery

if TYPE_CHECKING:
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Answer:
    """What the app answered to a POST."""

    status: int
    body: str
    content_type: str
    headers: dict[str, str]

    @property
    def json(self) -> Json | None:
        """The body, if it is JSON; a bare text counts as one, as Slack reads it."""
        if not self.body:
            return None
        return json.loads(self.body) if self.content_type == JSON else {"text": self.body}


class Poster:
    """Sends what the app is told to its request URL."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack
        self._session: aiohttp.ClientSession | None = None

    async def attempt(self, delivery: Delivery, attempt: Attempt) -> bool:
        """POST it and wait for the answer; whether to try again."""
        content_type, attempt.body = _body(delivery)
        attempt.headers = self.signed(attempt.body, content_type) | _retried(delivery, attempt.number)
        posting = asyncio.ensure_future(self.post(attempt.body, attempt.headers))
        try:
            in_time = await self._slack.clock.wait(posting, self._slack.deliveries.acknowledge_s)
        finally:
            if not posting.done():
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)
        if not in_time:
            attempt.failure = "http_timeout"
            return True
        if posting.exception() is not None:
            attempt.failure = "connection_failed"
            return True
        return self._judge(delivery, attempt, posting.result())

    def _judge(self, delivery: Delivery, attempt: Attempt, answer: Answer) -> bool:
        attempt.status = answer.status
        attempt.acknowledged_after_s = self._slack.clock.now() - attempt.at
        if 200 <= answer.status < 300:
            delivery.response = answer.json
            return False
        attempt.failure = "http_error"
        return answer.headers.get("X-Slack-No-Retry") != "1"

    def signed(
        self, body: bytes, content_type: str = JSON, *, timestamp: str | None = None, secret: str | None = None
    ) -> dict[str, str]:
        """The headers of a POST. Its time is the machine's, as the app compares it with its own clock."""
        stamp = str(int(time.time())) if timestamp is None else timestamp
        key = (self._slack.signing_secret if secret is None else secret).encode()
        digest = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": content_type, "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }  # fmt: skip

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """POST anything to the request URL, with any headers."""
        assert self._slack.request_url is not None
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        async with self._session.post(self._slack.request_url, data=body, headers=headers) as answer:
            return Answer(answer.status, await answer.text(), answer.content_type, {**answer.headers})

    # Signatures that must be refused, and requests that are no events

    async def forge(self, delivery: Delivery, *, timestamp: str | None = None, secret: str | None = None) -> Answer:
        """POST what a delivery says, signed with a wrong secret or for another time: an old one, or no number at all."""
        content_type, body = _body(delivery)
        return await self.post(body, self.signed(body, content_type, timestamp=timestamp, secret=secret))

    async def replay(self, delivery: Delivery, *, signature: str | None = None) -> Answer:
        """POST the bytes of a delivery's first attempt again, with its headers."""
        first = delivery.attempts[0]
        return await self.post(first.body, first.headers | ({"X-Slack-Signature": signature} if signature else {}))

    async def verify_url(self) -> bool:
        """Ask whether the app answers at the request URL, as the settings page does."""
        challenge = self._slack.ids.next("challenge")
        token = self._slack.verification_token
        body = json.dumps({"token": token, "challenge": challenge, "type": "url_verification"}).encode()
        answer = await self.post(body, self.signed(body))
        return answer.status == 200 and challenge in answer.body

    async def stop(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _retried(delivery: Delivery, number: int) -> dict[str, str]:
    if not number:
        return {}
    return {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": delivery.attempts[number - 1].failure or ""}


def _body(delivery: Delivery) -> tuple[str, bytes]:
    """Events are JSON, commands are forms, everything else is JSON in a form."""
    if delivery.kind == EVENT:
        return JSON, json.dumps(delivery.payload).encode()
    if delivery.kind == COMMAND:
        return FORM, urlencode(delivery.payload).encode()
    return FORM, urlencode({"payload": json.dumps(delivery.payload)}).encode()
