"""What an endpoint does wrong ends one answer, with an error that says what it was; what it may do again, it is asked.

Nothing here waits longer than it must: silences and retries are short.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import structlog

from core.errors import (
    AnswerFailed,
    DeadlineExceeded,
    EndpointAway,
    EndpointBroken,
    EndpointDenied,
    EndpointRefused,
    EngineFailed,
    PromptTooLong,
)
from core.values import FinishReason
from tests.workers.generator_contract import GREEDY, LONG, Events, answer, collect, prompt, until
from tests.workers.standin import Fault, StandIn, Wire
from workers.endpoint.refusals import retry_after
from workers.generator import TextDelta
from workers.remote_generator import RemoteGenerator

Load = Callable[..., RemoteGenerator]
SILENCE_S = 0.3


@pytest.fixture
def generator(standin: StandIn, load: Load) -> RemoteGenerator:
    return load(standin, openai_silence_s=SILENCE_S, openai_retry_s=5)


def status(code: int, words: str = "No.", **headers: str) -> Fault:
    return lambda wire: wire.error(code, words, **headers)


def page(wire: Wire) -> None:
    wire.reply(200, b"<html><body>Please log in.</body></html>", Content_Type="text/html")


def whole(wire: Wire) -> None:
    wire.reply(200, {"choices": [{"message": {"content": "all at once"}}]})


def compressed(wire: Wire) -> None:
    wire.reply(200, gzip.compress(b"data: [DONE]\n\n"), Content_Type="text/event-stream", Content_Encoding="gzip")


def stream(*pieces: bytes, end: Callable[[Wire], None] = Wire.done) -> Fault:
    """A stream of exactly these bytes, and then `end`."""

    def play(wire: Wire) -> None:
        wire.begin()
        for piece in pieces:
            wire.raw(piece)
        end(wire)

    return play


def chunk(text: str | None, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (status(400), EndpointRefused, "refuses the request (400, invalid_request_error)"),
        (status(401), EndpointDenied, "PAJAMA_OPENAI_API_KEY"),
        (status(403), EndpointDenied, "PAJAMA_OPENAI_API_KEY"),
        (status(404), EndpointDenied, "PAJAMA_OPENAI_MODEL"),
        (status(301, Location="https://elsewhere/v1?secret=1"), EndpointDenied, "sends to https://elsewhere/v1 (301"),
        (status(500), EndpointBroken, "failed (500"),
        (status(413, "Payload too large"), PromptTooLong, "tokens"),
        (status(422, "`inputs` tokens + `max_new_tokens` must be <= 4096"), PromptTooLong, "tokens"),
        (lambda wire: wire.reply(400, b"\xff<html>"), EndpointRefused, "(400)"),
        (lambda wire: wire.reply(400, b"[" * 100_000), EndpointRefused, "(400)"),
        (page, EndpointBroken, "text/html"),
        (whole, EndpointBroken, "application/json"),
        (compressed, EndpointBroken, "compressed"),
        (Wire.hang, EndpointBroken, "said nothing for 0.3 s"),
        (stream(end=Wire.hang), EndpointBroken, "said nothing for 0.3 s"),
        (stream(event("{not json")), EndpointBroken, "a chunk that is none"),
        (stream(event("[1, 2]")), EndpointBroken, "a chunk that is none"),
        (stream(event("null")), EndpointBroken, "a chunk that is none"),
        (stream(event("[" * 100_000)), EndpointBroken, "a chunk that is none"),
        (stream(event('{"choices": [{"delta": {"content": 7}}]}')), EndpointBroken, "a chunk that is none"),
        (stream(event('{"choices": {"0": 1}}')), EndpointBroken, "a chunk that is none"),
        (stream(event('{"error": {"message": "Hush", "code": "engine_dead"}}')), EndpointBroken, "(engine_dead)"),
        (stream(b"event: error\n" + event('{"message": "Hush"}')), EndpointBroken, "failed in the middle"),
        (stream(b"data: " + b"x" * (2 << 20)), EndpointBroken, "exceeded the 1048576 byte limit"),
        (stream(chunk("", "content_filter")), EngineFailed, "content filter"),
        (stream(chunk("", "abort")), EngineFailed, "gave the answer up"),
    ],
)
def test_what_is_wrong_is_said(
    generator: RemoteGenerator, standin: StandIn, fault: Fault, error: type[AnswerFailed], words: str
) -> None:
    standin.faults += [fault] * 3
    said, finished = answer(generator, "Hello")
    assert said == "" and finished.reason is FinishReason.ERROR
    assert type(finished.failure) is error
    assert words in str(finished.failure) and "Hush" not in str(finished.failure)
    tries = 2 if error is EndpointRefused else 1  # the second one without the fields that only some take
    assert len(standin.bodies()) == tries
    standin.faults.clear()
    assert answer(generator, "Hello")[1].failure is None, "the next one is answered"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Wire.hang, "said nothing"),
        (Wire.hang_up, "broke off"),
        (lambda wire: wire.wfile.write(b"0\r\n\r\n"), "broke off"),
        (lambda wire: wire.raw(event("{")), "a chunk that is none"),
        (lambda wire: wire.wfile.write(b"zzz\r\n"), "broke off"),
    ],
)
def test_after_a_token_nothing_is_asked_again_and_the_text_is_kept(
    generator: RemoteGenerator, standin: StandIn, end: Callable[[Wire], None], words: str
) -> None:
    standin.faults.append(stream(chunk("so "), chunk("far"), end=end))
    said, finished = answer(generator, "Hello")
    assert said == "so far"
    assert isinstance(finished.failure, EndpointBroken) and words in str(finished.failure)
    assert finished.usage.completion_tokens == 2
    assert len(standin.bodies()) == 1


def test_a_thought_is_a_token_too_and_never_shown(generator: RemoteGenerator, standin: StandIn) -> None:
    thought = chunk(None, reasoning_content="Hm.")
    standin.faults.append(stream(thought, chunk(None, reasoning="Hm."), end=Wire.hang_up))
    said, finished = answer(generator, "Hello")
    assert said == "" and isinstance(finished.failure, EndpointBroken)
    standin.faults.append(stream(thought, chunk("Yes."), chunk("", "stop")))
    said, finished = answer(generator, "Hello")
    assert said == "Yes." and finished.usage.completion_tokens == 2


@pytest.mark.parametrize(
    "fault",
    [
        status(429),
        status(502),
        status(503),
        status(504),
        Wire.hang_up,
        stream(end=Wire.hang_up),
        stream(chunk(""), end=Wire.hang_up),
        stream(chunk(""), end=lambda wire: wire.wfile.write(b"0\r\n\r\n")),
    ],
)
def test_before_a_token_a_busy_or_broken_endpoint_is_asked_again(
    generator: RemoteGenerator, standin: StandIn, fault: Fault
) -> None:
    standin.faults += [fault, fault]
    said, finished = answer(generator, "Hello")
    assert said and finished.failure is None
    assert len(standin.bodies()) == 3


def test_retry_after_is_kept(generator: RemoteGenerator, standin: StandIn) -> None:
    standin.faults.append(status(429, Retry_After="0.7"))
    began = time.monotonic()
    assert answer(generator, "Hello")[1].failure is None
    assert time.monotonic() - began >= 0.7


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime.now(UTC)
    assert 58 < retry_after(format_datetime(now + timedelta(seconds=60))) <= 60
    assert 58 < retry_after(format_datetime(now + timedelta(seconds=60), usegmt=True)) <= 60
    assert retry_after(format_datetime(now - timedelta(days=1))) == 0
    assert [retry_after(value) for value in ("7", "0.5", "-1", "", None, "soon", "Thu, 99 Foo")] == [7, 0.5] + [0] * 5


@pytest.mark.parametrize("wait", ["3600", "never", "-1", "1e999", "Thu, 99 Foo"])
def test_a_wait_beyond_the_patience_is_not_begun(standin: StandIn, load: Load, wait: str) -> None:
    generator = load(standin, openai_retry_s=0.05)
    standin.faults += [status(429, Retry_After=wait)] * 5
    began = time.monotonic()
    finished = answer(generator, "Hello")[1]
    assert isinstance(finished.failure, EndpointAway) and "busy" in str(finished.failure)
    assert time.monotonic() - began < 5


def test_an_endpoint_that_was_away_answers_once_it_is_back(standin: StandIn, load: Load) -> None:
    generator = load(standin)
    port = standin.port
    standin.close()
    events = generator.generate(prompt("Hello"), GREEDY, request_id="a")
    with pytest.raises(OSError, match="refused"):
        _connect(port)
    back = StandIn(port=port)
    try:
        assert collect(events)[1].failure is None
    finally:
        back.close()


def test_an_endpoint_that_stays_away_is_given_up(standin: StandIn, load: Load) -> None:
    generator = load(standin, openai_retry_s=0.05)
    standin.close()
    finished = answer(generator, "Hello")[1]
    assert isinstance(finished.failure, EndpointAway)
    assert re.search(r"http://127.0.0.1:\d+/v1/chat/completions cannot be reached: ", str(finished.failure))
    with pytest.raises(EndpointAway):
        generator.count(prompt("Hello"))


def test_the_deadline_ends_waiting_and_retrying(generator: RemoteGenerator, standin: StandIn) -> None:
    standin.faults += [status(503)] * 20
    for fault in (status(503, Retry_After="2"), Wire.hang):
        standin.faults.appendleft(fault)
        deadline = time.monotonic() + 0.15
        finished = collect(generator.generate(prompt("Hello"), GREEDY, request_id="a", deadline=deadline))[1]
        assert isinstance(finished.failure, DeadlineExceeded)
        assert time.monotonic() < deadline + 5


def test_an_endpoint_that_only_says_it_is_there_is_left_at_the_deadline(
    generator: RemoteGenerator, standin: StandIn
) -> None:
    def ping(wire: Wire) -> None:
        wire.begin()
        while not wire.client_left(SILENCE_S / 10):
            wire.raw(b": ping\n\n")

    standin.faults.append(ping)
    deadline = time.monotonic() + 2 * SILENCE_S
    finished = collect(generator.generate(prompt("Hello"), GREEDY, request_id="a", deadline=deadline))[1]
    assert isinstance(finished.failure, DeadlineExceeded)
    standin.wait_for(lambda it: it.left == 1)


def test_counting_meets_the_same(standin: StandIn, load: Load) -> None:
    generator = load(standin, openai_silence_s=SILENCE_S, openai_retry_s=0.05)
    for fault in ("page", "stalls"):
        setattr(standin, fault, True)
        with pytest.raises(EndpointBroken):
            generator.count(prompt("Hello"))
        setattr(standin, fault, False)
    assert generator.count(prompt("Hello")) == 14


def test_the_deadline_ends_counting_too(generator: RemoteGenerator, standin: StandIn) -> None:
    standin.stalls = True
    deadline = time.monotonic() + 0.15
    with pytest.raises(DeadlineExceeded):
        generator.count(prompt("Hello"), deadline)
    assert time.monotonic() < deadline + 5
    until(lambda: not generator._asking._questions)  # and its connection is closed
    standin.stalls = False


def test_cancelling_closes_the_connection(generator: RemoteGenerator, standin: StandIn) -> None:
    events = generator.generate(prompt("Hello"), LONG, request_id="a")
    next(events)
    began = time.monotonic()
    generator.cancel("a")
    assert collect(events)[1].reason is FinishReason.CANCELLED
    standin.wait_for(lambda it: it.left == 1 and it.answering == 0)
    assert time.monotonic() - began < 2


def test_a_silent_endpoint_is_left_at_once_when_nobody_waits(standin: StandIn, load: Load) -> None:
    generator = load(standin)  # a silence of a minute
    standin.faults.append(stream(chunk("so far"), end=Wire.hang))
    events: Events = generator.generate(prompt("Hello"), LONG, request_id="a")
    assert isinstance(next(events), TextDelta)
    events.close()  # type: ignore[attr-defined]
    standin.wait_for(lambda it: it.left == 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (stream(chunk("a"), chunk("b", "stop"), end=lambda wire: wire.wfile.write(b"0\r\n\r\n")), "ab"),
        (stream(chunk("a"), chunk("b", "stop"), end=Wire.hang_up), "ab"),
        (stream(chunk("a"), chunk("b")), "ab"),
        (stream(chunk("a"), b"data: [DONE]\n\n", end=Wire.hang), "a"),
        (stream(b": ping\n\n", b"retry: 5\n\n", b"event: ping\n" + event("{}"), chunk("a", "eos_token")), "a"),
        (stream(chunk("a").replace(b"\n", b"\r\n").replace(b"data: ", b"data:")), "a"),
        (stream(event('{"choices": null}'), event('{"choices": [{}]}'), chunk("a")), "a"),
        (stream(event('{"choices": [{"index": 1, "delta": {"content": "no"}}]}'), chunk("a")), "a"),
        (stream(chunk("a"), event('{"usage": {"prompt_tokens": "many"}, "choices": []}')), "a"),
        (stream(chunk("a"), event('{"usage": {"prompt_tokens": -1}, "choices": []}')), "a"),
        (stream(chunk("a\0b\ud800")), "a\0b\N{REPLACEMENT CHARACTER}"),
        (stream(b'data: {"choices": [{"delta": {"content": "\xff\xc3"}}]}\n\n'), "\N{REPLACEMENT CHARACTER}" * 2),
        (stream(*(bytes([byte]) for byte in chunk("é😀".encode().decode()))), "é😀"),
        (stream(event('{"choices": [{"delta": {"content": "😀"}}]}')[:45], b"\x80\n\n"), None),
    ],
)
def test_where_endpoints_differ_the_answer_is_read(
    generator: RemoteGenerator, standin: StandIn, fault: Fault, said: str | None
) -> None:
    standin.faults.append(fault)
    text, finished = answer(generator, "Hello")
    if said is None:
        assert isinstance(finished.failure, EndpointBroken)
    else:
        assert (text, finished.reason, finished.failure) == (said, FinishReason.STOP, None)
        assert finished.usage.prompt_tokens == 0 and finished.usage.completion_tokens > 0


def test_an_endpoint_that_never_ends_is_left(generator: RemoteGenerator, standin: StandIn) -> None:
    def endless(wire: Wire) -> None:
        wire.begin()
        while not wire.client_left():
            wire.raw(chunk("y" * 100_000))

    standin.faults.append(endless)
    said, finished = answer(generator, "Hello", GREEDY.model_copy(update={"max_new_tokens": 1}))
    assert "bytes for one answer" in str(finished.failure)
    assert len(said) < 2 << 20
    standin.wait_for(lambda it: it.left == 1)


def test_neither_the_key_nor_words_are_logged_or_shown(
    standin: StandIn, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    standin.key = "sk-hush"
    processors = [structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs]
    structlog.configure(processors=processors, logger_factory=structlog.stdlib.LoggerFactory())
    caplog.set_level(logging.DEBUG)
    generator = load(standin, openai_api_key=" sk-hush\n", openai_retry_s=0.2)
    failures = []
    for fault in (status(400, "You said: my secret"), status(503, "my secret"), Wire.hang_up):
        standin.faults += [fault] * 3
        failures.append(str(answer(generator, "my secret")[1].failure))
        standin.faults.clear()
    standin.key = "another"  # it tells the wrong key
    failures.append(str(answer(generator, "my secret")[1].failure))
    told = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert len(told) > 3
    assert "my secret" not in " ".join([*failures, *(f"{record.getMessage()} {record.__dict__}" for record in told)])
    everything = " ".join([*failures, *(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)])
    assert "sk-hush" not in everything and "********" in everything
    assert "sk-hush" not in repr(generator._asking.endpoint)


def _connect(port: int) -> None:
    import socket

    socket.create_connection(("127.0.0.1", port), timeout=1).close()
