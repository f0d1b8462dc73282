"""What `pajama up` shows, and every command that talks to it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import subprocess
import sys
from urllib.request import urlopen

import pytest

from tests.pajama.commands import PATIENCE_S, Pajama, Up


@pytest.fixture
def pajama(up: Up) -> Pajama:
    return up.pajama


def test_one_screen_says_what_runs_and_which_variable_changes_it(up: Up) -> None:
    running = up.pajama.running()
    assert running is not None
    rows = [line.strip("│ \n") for line in up.printed.splitlines() if line.startswith("│")]
    shown = {row.split("  ")[0]: row for row in rows}
    assert running["web_url"] in shown["Web page"]
    assert shown["Web page"].endswith("PAJAMA_WEB_HOST, PAJAMA_WEB_PORT")
    assert "slimpajama @" in shown["Model"]
    assert str(up.pajama.data / "pajama.db") in shown["Database"]
    assert all("off" in shown[platform] for platform in ("Discord", "Slack"))
    assert len(rows) == len(shown)  # nothing is wrapped where it is no terminal


def test_a_mistyped_variable_is_named_with_what_was_meant(up: Up) -> None:
    assert "PAJAMA_TEMPERATUR is no setting; did you mean PAJAMA_TEMPERATURE?" in up.printed


def test_the_page_is_served(up: Up) -> None:
    running = up.pajama.running()
    assert running is not None
    with urlopen(running["web_url"]) as page:
        assert page.status == 200
        assert "<title>" in page.read().decode()


def test_a_second_up_says_where_the_first_one_is(up: Up) -> None:
    running = up.pajama.running()
    assert running is not None
    second = up.pajama.run("up")
    assert second.returncode == 3
    assert f"process {up.process.pid}, {running['web_url']}" in second.stderr
    assert up.pajama.running() == running


def test_one_question_is_one_json_object(up: Up, pajama: Pajama) -> None:
    before = up.children()
    answered = pajama.json("chat", "--once", "hello")
    assert set(answered) == {"turn", "text", "faq", "model", "usage", "timings_ms"}
    assert answered["model"] == "slimpajama"
    assert 0 < answered["usage"]["completion_tokens"] <= 8
    assert answered["timings_ms"]["total"] > 0
    assert up.children() == before  # the worker that runs was asked


def test_a_command_said_once_answers_too(pajama: Pajama) -> None:
    assert "/translate" in pajama.json("chat", "--once", "/help")["text"]
    refused = pajama.run("chat", "--once", "/nonsense")
    assert refused.returncode == 2
    assert "/nonsense" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_conversation_is_kept_and_explained(pajama: Pajama) -> None:
    asked = pajama.json("chat", "--once", "What is a pyjama?", "--conversation", "explained")
    (turn,) = pajama.json("history", "--conversation", "explained")
    assert (turn["turn_id"], turn["text"], turn["state"]) == (asked["turn"], "What is a pyjama?", "done")
    assert turn["answer"]["text"] == asked["text"]
    why = pajama.json("why", str(asked["turn"]))
    assert why["messages"][-1] == {"role": "user", "text": "What is a pyjama?"}
    told = pajama.run("why", str(asked["turn"]))
    assert told.returncode == 0
    assert "slimpajama @" in told.stdout


def test_feedback_is_exported_without_formulas(pajama: Pajama) -> None:
    words = ("=HYPERLINK(1)", "/feedback down +1+1 is not 3")
    for said in words:
        assert pajama.run("chat", "--once", said, "--conversation", "rated").returncode == 0
    (row,) = (json.loads(line) for line in pajama.run("feedback", "export").stdout.splitlines())
    assert (row["rating"], row["comment"], row["question"]) == ("down", "+1+1 is not 3", "=HYPERLINK(1)")
    (cells,) = csv.DictReader(io.StringIO(pajama.run("feedback", "export", "--format", "csv").stdout))
    assert (cells["comment"], cells["question"]) == ("'+1+1 is not 3", "'=HYPERLINK(1)")


@pytest.mark.parametrize("what", ["web", "worker", "reaper"])
def test_everything_that_runs_is_healthy(what: str, pajama: Pajama) -> None:
    checked = pajama.run("health", what)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_doctor_finds_nothing_wrong(up: Up) -> None:
    found = {finding["what"]: finding for finding in up.pajama.json("doctor")}
    assert {finding["verdict"] for finding in found.values()} == {"ok"}
    assert "at head" in found["Database"]["detail"]
    assert "tokens of context" in found["Model"]["detail"]
    assert str(up.process.pid) in found["Web page"]["detail"]


def test_a_chat_on_a_terminal_streams_and_ends_with_ctrl_d(pajama: Pajama) -> None:
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "pajama", "chat", "--conversation", "typed"],
        cwd=pajama.folder,
        env={**os.environ, **pajama.settings, "TERM": "xterm", "LANG": "en_US.UTF-8"},
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    ) as process:
        os.close(child)
        _read_until(parent, PROMPT)
        os.write(parent, b"/help\r")
        _read_until(parent, "/translate", PROMPT)  # before it, Ctrl-D would be the line discipline's, not the prompt's
        os.write(parent, b"\x04")
        _read_until(parent, "Good night.")
        assert process.wait(timeout=20) == 0
    os.close(parent)


PROMPT = "\x1b[?2004h"
"""The prompt takes pasted text from here on."""


def _read_until(terminal: int, *wanted: str) -> None:
    """Read until all that is wanted has come, one after another."""
    read, after = b"", 0
    for each in wanted:
        while (found := read.find(each.encode(), after)) < 0:
            ready, _, _ = select.select([terminal], [], [], PATIENCE_S)
            assert ready, read
            read += os.read(terminal, 4096)
        after = found + len(each)
