"""One line an event, whoever says it, in the form that the settings ask for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.pajama.commands import Up

_EVENTS = """
import logging, os, sys
import structlog
from core.logs import configure
from core.settings import load_settings

log = structlog.get_logger("ours")
said = "a secret"
configure(load_settings(log_level=sys.argv[1], log_format=sys.argv[2]), process="test")
log.debug("Too small.", action="small")
log.info("Something happened.", action="happened", turn_id=7, what="睡衣")
logging.getLogger("celery.worker").info("Theirs, %s of %s.", 1, 2)
logging.getLogger("uvicorn.access").info("GET /")
try:
    raise ValueError("why")
except ValueError:
    log.exception("Something failed.", action="failed")
"""


def _told(level: str, form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _EVENTS, level, form], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout == ""  # answers only
    return done.stderr.splitlines()


def test_away_from_a_terminal_every_event_is_one_json_object() -> None:
    ours, theirs, failed = (json.loads(line) for line in _told("INFO", "auto"))
    assert {**ours, "timestamp": ""} == {
        "event": "Something happened.", "action": "happened", "turn_id": 7, "what": "睡衣",
        "level": "info", "logger": "ours", "process": "test", "timestamp": "",
    }  # fmt: skip
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["logger"], theirs["process"]) == ("Theirs, 1 of 2.", "celery.worker", "test")
    assert (failed["action"], failed["level"]) == ("failed", "error")
    assert "ValueError: why" in failed["exception"]


def test_the_least_level_is_that_of_the_settings() -> None:
    assert [json.loads(line)["event"] for line in _told("ERROR", "json")] == ["Something failed."]
    assert json.loads(_told("DEBUG", "json")[0])["event"] == "Too small."


def test_on_a_console_an_event_is_a_line_to_read() -> None:
    lines = _told("INFO", "console")
    assert "Something happened." in lines[0]
    assert "turn_id=7 what=睡衣" in lines[0]
    assert lines[-1] == "ValueError: why"


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_shows_its_place_and_nobodys_words(form: str) -> None:
    told = "\n".join(_told("INFO", form))
    assert "line " in told
    assert "a secret" not in told


def test_everything_that_the_processes_say_is_json_with_its_process(up: Up) -> None:
    for process in ("worker", "web"):
        said: list[dict[str, Any]] = [
            json.loads(line) for line in (up.pajama.data / "logs" / f"{process}.log").read_text().splitlines()
        ]
        assert {event["process"] for event in said} == {process}
        assert f"{process}_ready" in {event.get("action") for event in said}
