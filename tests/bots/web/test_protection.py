"""What the web API refuses, whom it takes someone for, and in which language it says so."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from bots.web.guards import MAX_BODY_BYTES
from tests.bots.scripted_worker import Gate
from tests.bots.web.conftest import Site, served
from tests.bots.web.visiting import asked, events, followed, say


class TestProtection:
    def test_another_visitors_turn_is_not_found(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "secret")
        followed(visitor, turn_id)
        with site.visitor() as other:
            followed(other, asked(other, "mine"))
            for path in ("", "/events", "/why"):
                assert other.get(f"/api/turns/{turn_id}{path}").status_code == 404, path
            for path in ("/stop", "/regenerate", "/feedback"):
                refused = other.post(f"/api/turns/{turn_id}{path}", json={"rating": "up"})
                assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found"), path

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_a_post_from_another_site_is_refused(self, visitor: httpx.Client, headers: dict[str, str]) -> None:
        body = {"text": "hi", "event_id": uuid4().hex}
        refused = visitor.post("/api/messages", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "cross_origin")
        assert visitor.get("/api/history").json() == {"turns": []}

    def test_a_post_from_the_page_itself_is_taken(self, site: Site, visitor: httpx.Client) -> None:
        headers = {"Origin": site.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        body = {"text": "hi", "event_id": uuid4().hex}
        assert visitor.post("/api/messages", json=body, headers=headers).status_code == 200

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_that_is_too_large_is_refused(self, visitor: httpx.Client, chunked: bool) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(MAX_BODY_BYTES // 1024 + 1):
                yield b"x" * 1024

        content = chunks() if chunked else b"".join(chunks())
        refused = visitor.post("/api/messages", content=content, headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")

    @pytest.mark.parametrize(
        ("text", "status", "code"),
        [(" \n\t", 422, "empty"), ("x" * 5001, 413, "too_long")],
    )
    def test_a_message_that_cannot_be_taken_is_refused_with_a_sentence(
        self, visitor: httpx.Client, text: str, status: int, code: str
    ) -> None:
        refused = say(visitor, text)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        assert refused.json()["error"]["message"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b'{"text": "x"}',
            b'{"text": 1, "event_id": "12345678"}',
            b'{"text":"x","event_id":"a b c d e"}',
        ],
    )
    def test_a_body_that_is_none_is_refused(self, visitor: httpx.Client, body: bytes) -> None:
        refused = visitor.post("/api/messages", content=body, headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid")

    def test_a_comment_that_is_too_long_is_refused(self, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "comment on me")
        followed(visitor, turn_id)
        body = {"rating": "up", "comment": "x" * 2001}
        assert visitor.post(f"/api/turns/{turn_id}/feedback", json=body).status_code == 422

    @pytest.mark.parametrize("text", ["\x00\x1b[31mred\x07", "مرحبا \u202eabc", "\\ud800 alone", "<|im_start|>system"])
    def test_odd_characters_come_back_as_text(self, visitor: httpx.Client, text: str) -> None:
        end = followed(visitor, asked(visitor, text))[-1].data
        assert end["answer"]["text"] == f"You said: {end['text']}"
        assert "\x00" not in end["text"] and "\x1b" not in end["text"]

    def test_a_lone_surrogate_is_replaced(self, visitor: httpx.Client) -> None:
        body = b'{"text": "a\\ud800b", "event_id": "%s"}' % uuid4().hex.encode()
        taken = visitor.post("/api/messages", content=body, headers={"Content-Type": "application/json"})
        assert taken.json()["turn"]["text"] == "a\N{REPLACEMENT CHARACTER}b"

    @pytest.mark.parametrize("path", ["/", "/api/history", "/healthz", "/no-such-page", "/api/turns/999999999"])
    def test_every_answer_carries_the_security_headers(self, visitor: httpx.Client, path: str) -> None:
        headers = visitor.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers

    def test_what_people_said_is_not_cached_and_files_are(self, visitor: httpx.Client) -> None:
        asset = visitor.get("/").text.split('href="')[2].split('"')[0]
        assert visitor.get("/api/history").headers["cache-control"] == "no-store"
        assert "immutable" in visitor.get(asset).headers["cache-control"]

    def test_too_many_waiting_messages_are_refused_as_busy(self, site: Site, visitor: httpx.Client, gate: Gate) -> None:
        site.worker.script["hold"] = ["h", gate]
        turn_id = asked(visitor, "hold")
        with visitor.stream("GET", f"/api/turns/{turn_id}/events") as response:
            next(e for e in events(response) if e.name == "text")  # it runs: the next ones wait
        answers = [say(visitor, f"more {number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].json()["error"]["code"] == "busy"
        assert answers[-1].headers["retry-after"]


class TestSession:
    def test_the_cookie_is_signed_strict_and_hidden_from_scripts(self, visitor: httpx.Client) -> None:
        cookie = visitor.get("/api/history").headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie

    def test_a_tampered_cookie_is_a_new_session(self, site: Site, visitor: httpx.Client) -> None:
        turn_id = asked(visitor, "mine alone")
        value = visitor.cookies["pajama_session"]
        forged = value[:10] + ("A" if value[10] != "A" else "B") + value[11:]
        with site.visitor(Cookie=f"pajama_session={forged}") as thief:
            answer = thief.get("/api/history")
            assert answer.json() == {"turns": []}
            assert "pajama_session=" in answer.headers["set-cookie"]
            assert thief.get(f"/api/turns/{turn_id}").status_code == 404

    def test_the_page_itself_starts_no_session(self, visitor: httpx.Client) -> None:
        """A strict cookie does not come along with a link from elsewhere: a new one would replace it."""
        assert "set-cookie" not in visitor.get("/").headers

    def test_the_key_is_made_once_and_readable_by_its_owner_only(self, site: Site) -> None:
        key = site.settings.data_dir / "web_secret"
        assert key.stat().st_mode & 0o777 == 0o600
        assert len(key.read_text()) >= 32

    def test_a_restart_keeps_the_session(self, site: Site, visitor: httpx.Client) -> None:
        followed(visitor, asked(visitor, "remember"))
        with served(site.settings) as url, httpx.Client(base_url=url, cookies=visitor.cookies) as again:
            assert [turn["text"] for turn in again.get("/api/history").json()["turns"]] == ["remember"]

    def test_a_secure_cookie_is_sent_over_https_only(self, site: Site) -> None:
        settings = site.settings.model_copy(update={"web_secure_cookie": True})
        with served(settings) as url:
            assert "secure" in httpx.get(f"{url}api/history").headers["set-cookie"].lower()


class TestLanguage:
    @pytest.mark.parametrize(
        ("header", "cookie", "language"),
        [
            ("", "", "en"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-CN"),
            ("fr, zh;q=0.2, en;q=0.9", "", "en"),
            ("zh-CN", "en", "en"),
            ("en", "zh-CN", "zh-CN"),
            (";q=x,,*;q=0", "nonsense", "en"),
        ],
    )
    def test_the_choice_wins_over_the_browsers_language(
        self, visitor: httpx.Client, header: str, cookie: str, language: str
    ) -> None:
        headers = {"Accept-Language": header, "Cookie": f"pajama_language={cookie}"}
        assert visitor.get("/api/texts", headers=headers).json()["language"] == language
        assert f'<html lang="{language}">' in visitor.get("/", headers=headers).text
