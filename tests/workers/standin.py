"""A stand-in for an OpenAI-compatible endpoint: a real HTTP server, with faults on demand.

It says four letters and a space a token, for ever, and the same to the same messages. It counts a token a byte, and
as a template six a message and three at the end. `kind` decides which questions besides OpenAI's it answers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

MODEL = "stand-in"
CONTEXT = 512
PACE_S = 0.003

Messages = list[dict[str, str]]
Fault = Callable[["Wire"], None]


class StandIn:
    """An endpoint on a port of its own, until it is closed."""

    def __init__(self, kind: Literal["vllm", "llama.cpp", "plain"] = "vllm", key: str = "", port: int = 0) -> None:
        self.kind, self.key = kind, key
        self.models: dict[str, dict[str, Any]] = {MODEL: {"max_model_len": CONTEXT} if kind == "vllm" else {}}
        self.unlisted: set[str] = set()
        self.context = CONTEXT
        self.faults: deque[Fault] = deque()  # each is had by one request for an answer
        self.refuses: set[str] = set()  # fields that it does not know
        self.names_them = True  # whether it says which
        self.knows_system = True
        self.lists = True  # whether it tells its models
        self.stalls = False  # whether it takes questions and answers none
        self.page = False  # whether it answers everything with a page for people
        self.asked: list[tuple[str, dict[str, Any]]] = []  # path and body, in order
        self.headers: list[dict[str, str]] = []
        self.connections: set[tuple[str, int]] = set()
        self.answering = self.most_answering = self.left = 0  # left: readers that went away in the middle
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), Wire)
        self._server.standin = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def bodies(self, path: str = "/v1/chat/completions") -> list[dict[str, Any]]:
        """What was sent to a path, without the survey's questions."""
        return [body for at, body in self.asked if at == path and not surveying(body)]

    def wait_for(self, condition: Callable[[StandIn], object], within_s: float = 10.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), within_s), "it did not come true in time"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    standin: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away; that is what some tests are about."""


class Wire(BaseHTTPRequestHandler):
    """One connection. What faults do, they do with this."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.standin = self.server.standin
        with self.standin.changed:
            self.standin.connections.add(self.client_address)

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        answers = {"/v1/models": self._models, "/props": self._props} if self.standin.lists else {}
        self._route(answers, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = {
            "/v1/chat/completions": self._chat,
            "/tokenize": self._tokenize,
            "/apply-template": self._apply_template,
        }
        self._route(answers, body)

    def _route(self, answers: dict[str, Callable[[], None]], body: dict[str, Any]) -> None:
        self.body = body
        with self.standin.changed:
            self.standin.asked.append((self.path, body))
            self.standin.headers.append(dict(self.headers))
            self.standin.changed.notify_all()
        while self.standin.stalls and not self.client_left(0.01):
            pass
        if self.standin.page:
            self.reply(200, b"<html><body>Please log in.</body></html>", Content_Type="text/html")
        elif self.standin.key and self.headers["Authorization"] != f"Bearer {self.standin.key}":
            self.error(401, f"Incorrect API key provided: {self.headers['Authorization']}", code="invalid_api_key")
        else:
            answers.get(self.path.partition("?")[0], lambda: self.error(404, "Not found"))()

    # What it answers.

    def _models(self) -> None:
        listed = {name: more for name, more in self.standin.models.items() if name not in self.standin.unlisted}
        self.reply(200, {"object": "list", "data": [{"id": name, **more} for name, more in listed.items()]})

    def _props(self) -> None:
        if self.standin.kind != "llama.cpp":
            return self.error(404, "Not found")
        return self.reply(200, {"default_generation_settings": {"n_ctx": self.standin.context}})

    def _tokenize(self) -> None:
        if self.standin.kind == "vllm" and "messages" in self.body:
            self.reply(200, {"count": counted(self.body["messages"]), "max_model_len": self.standin.context})
        elif self.standin.kind == "llama.cpp":
            self.reply(200, {"tokens": list(self.body.get("content", "").encode())})
        else:
            self.error(404, "Not found")

    def _apply_template(self) -> None:
        if self.standin.kind != "llama.cpp":
            return self.error(404, "Not found")
        return self.reply(200, {"prompt": "".join(f"{m['content']}......" for m in self.body["messages"]) + "..."})

    def _chat(self) -> None:
        if self.standin.faults and not surveying(self.body):
            return self.standin.faults.popleft()(self)
        unknown = sorted(self.standin.refuses & self.body.keys())
        if unknown:
            named = f"Unrecognized request arguments supplied: {', '.join(unknown)}"
            return self.error(400, named if self.standin.names_them else "Bad request")
        if not self.standin.knows_system and any(message["role"] == "system" for message in self.body["messages"]):
            return self.error(500, "Jinja Exception: System role not supported")
        if self.body["model"] not in self.standin.models:
            return self.error(404, f"The model `{self.body['model']}` does not exist.")
        if len(self.body.get("stop", ())) > 4:
            return self.error(400, "Invalid 'stop': array too long. Expected an array with maximum length 4.")
        return self.answer()

    def answer(self) -> None:
        """Answer as asked."""
        prompt_tokens, longest = counted(self.body["messages"]), self._longest()
        if prompt_tokens + longest > self.standin.context:
            words = f"This model's maximum context length is {self.standin.context} tokens. {self.body['messages']}"
            return self.error(400, words)
        if not self.body.get("stream"):
            usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
            message = {"role": "assistant", "content": next(said(self.body["messages"]))}
            return self.reply(200, {"choices": [{"index": 0, "message": message}], "usage": usage})
        with self.standin.changed:
            self.standin.answering += 1
            self.standin.most_answering = max(self.standin.answering, self.standin.most_answering)
            self.standin.changed.notify_all()
        try:
            return self._stream(prompt_tokens, longest)
        finally:
            with self.standin.changed:
                self.standin.answering -= 1
                self.standin.changed.notify_all()

    def _longest(self) -> int:
        return int(self.body.get("max_tokens") or self.body.get("max_completion_tokens") or 10_000)

    def _stream(self, prompt_tokens: int, longest: int) -> None:
        self.begin()
        self.say({"role": "assistant", "content": ""})
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 3}}
        options, stop = self.body.get("stream_options", {}), self.body.get("stop", ())
        held_back = max(map(len, stop), default=1) - 1
        text, shown, reason = "", 0, "length"
        for token in itertools.islice(said(self.body["messages"]), longest):
            if self.client_left():
                return
            usage["completion_tokens"] += 1  # type: ignore[operator]
            text += token
            cut = min((at for word in stop if (at := text.find(word)) >= 0), default=None)
            end = max(shown, len(text) - held_back) if cut is None else cut
            more = {"usage": usage} if options.get("continuous_usage_stats") else {}
            self.say({"content": text[shown:end]}, **more)
            shown = end
            if cut is not None:
                reason = "stop"
                break
            time.sleep(PACE_S)
        else:
            self.say({"content": text[shown:]})
        self.say({}, reason)
        if options.get("include_usage"):
            self.event({"choices": [], "usage": usage})
        self.done()

    # What faults are made of.

    def reply(self, status: int, body: Any, **headers: str) -> None:
        """A whole response."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self._headers({"Content_Type": "application/json", "Content_Length": str(len(content)), **headers})
        self.wfile.write(content)

    def error(self, status: int, words: str, code: str = "", **headers: str) -> None:
        """An error in OpenAI's form."""
        self.reply(status, {"error": {"message": words, "type": "invalid_request_error", "code": code}}, **headers)

    def begin(self, **headers: str) -> None:
        """Status and headers of a stream."""
        self.send_response(200)
        kind = {"Content_Type": "text/event-stream; charset=utf-8", "Transfer_Encoding": "chunked"}
        self._headers({**kind, **headers})

    def _headers(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def raw(self, content: bytes) -> None:
        """Some of the stream, as it is."""
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        except OSError:
            self._note_left()
            raise

    def event(self, data: Any) -> None:
        """One event."""
        self.raw(b"data: " + json.dumps(data).encode() + b"\n\n")

    def say(self, delta: dict[str, Any], reason: str | None = None, **more: Any) -> None:
        """One chunk of an answer."""
        self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})

    def done(self) -> None:
        """The regular end."""
        self.raw(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """The end of the connection, in the middle of whatever it was."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing more, until the client has left."""
        while not self.client_left(0.05):
            pass

    def client_left(self, within_s: float = 0.0) -> bool:
        """Whether the other side has closed the connection, which is noted."""
        if not select.select([self.connection], [], [], within_s)[0]:
            return False
        with suppress(OSError):
            if self.connection.recv(1, socket.MSG_PEEK):
                return False
        self._note_left()
        return True

    def _note_left(self) -> None:
        self.close_connection = True
        with self.standin.changed:
            self.standin.left += 1
            self.standin.changed.notify_all()


def surveying(body: dict[str, Any]) -> bool:
    """Whether this is a question of the survey, all of whose contents are an `a`."""
    return {message["content"] for message in body.get("messages", ())} <= {"a", "a\n\na"} and not body.get("stream")


def counted(messages: Messages) -> int:
    """The tokens of messages."""
    return sum(len(message["content"].encode()) + 6 for message in messages) + 3


def said(messages: Messages) -> Iterator[str]:
    """What is answered, token by token."""
    seed = json.dumps(messages).encode()
    for index in itertools.count():
        digest = hashlib.sha256(seed + str(index).encode()).hexdigest()
        yield digest[:4].translate(_LETTERS) + " "


_LETTERS = str.maketrans("0123456789", "ghijklmnop")
