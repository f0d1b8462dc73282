"""`pajama privacy`: what is kept of a person, exported, forgotten, not kept, and purged for its age."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.database import Database
from core.redis import connect, reply_key
from tests.core.conftest import Chat
from tests.core.test_privacy import everything, say_marked
from tests.pajama.commands import Pajama, Up

ADA = ("--platform", "web", "--person", "ada")


@pytest.fixture
def spoken(pajama: Pajama) -> Pajama:
    """Where ada has said something long ago and been answered, and nothing runs now."""
    assert pajama.run("db", "upgrade").returncode == 0
    database = Database(f"sqlite:///{pajama.data / 'pajama.db'}")
    chat = Chat(database, datetime.now(UTC) - timedelta(days=100))
    say_marked(chat, "m", "ada", "xylophone")
    chat.finish(chat.claimed(), "about xylophones")
    database.close()
    return pajama


def words(pajama: Pajama) -> str:
    database = Database(f"sqlite:///{pajama.data / 'pajama.db'}")
    try:
        return everything(database)
    finally:
        database.close()


def test_a_person_is_shown_in_numbers(spoken: Pajama) -> None:
    assert spoken.json("privacy", "show", *ADA) == {
        "platform": "web",
        "person": "ada",
        "display_name": "xylophone",
        "opted_out": False,
        "messages": 1,
        "retention_days": None,
    }
    assert "messages: 1\n" in spoken.run("privacy", "show", *ADA).stdout


def test_an_export_is_json_or_a_new_file_for_its_owner_only(spoken: Pajama) -> None:
    printed = json.loads(spoken.run("privacy", "export", *ADA).stdout)
    assert printed["messages"][0]["turn"]["answers"][0]["text"] == "about xylophones"
    assert spoken.run("privacy", "export", *ADA, "--out", "ada.json").returncode == 0
    file = spoken.folder / "ada.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["messages"] == printed["messages"]
    again = spoken.run("privacy", "export", *ADA, "--out", "ada.json")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "ada.json cannot be written" in again.stderr


def test_without_redis_sql_is_purged_and_the_rest_is_said(spoken: Pajama) -> None:
    done = spoken.run("privacy", "forget", *ADA, "--json")
    assert json.loads(done.stdout) == {"messages": 1, "answers": 1, "comments": 0}
    assert "no Redis" in done.stderr
    assert "xylophone" not in words(spoken)


def test_a_running_pajama_forgets_in_redis_too(up: Up) -> None:
    pajama = up.pajama
    turn = pajama.json("chat", "--once", "tell me of xylophones", "--conversation", "privacy")["turn"]
    running = pajama.running()
    assert running is not None
    with connect(running["redis_url"]) as client:
        assert client.xlen(reply_key("pajama", turn))
        done = pajama.run("privacy", "forget", "--platform", "terminal", "--person", "local", "--json")
        assert json.loads(done.stdout)["messages"] >= 1
        assert client.xlen(reply_key("pajama", turn)) == 0
    assert "xylophones" not in words(pajama)
    assert pajama.json("history", "--conversation", "privacy")[0]["text"] == ""
    assert "(no longer kept)" in pajama.run("history", "--conversation", "privacy", LANG="en").stdout


def test_no_log_holds_what_was_said(tmp_path: Path) -> None:
    talkative = Up(Pajama(tmp_path), PAJAMA_LOG_LEVEL="DEBUG")
    try:
        talkative.wait_until_up()
        answer = talkative.pajama.json("chat", "--once", "tell me of xylophones")["text"]
        chatting = talkative.pajama.run("history", PAJAMA_LOG_LEVEL="DEBUG")
    finally:
        talkative.interrupt()
    logs = "".join(file.read_text() for file in (talkative.pajama.data / "logs").iterdir())
    assert "turn_ended" in logs
    for words in filter(None, ("xylophones", answer)):
        assert words not in logs + talkative.printed + chatting.stderr


def test_someone_may_opt_out_before_they_were_ever_seen(spoken: Pajama) -> None:
    bob = ("--platform", "discord", "--person", "42")
    assert spoken.json("privacy", "opt-out", *bob)["opted_out"]
    assert spoken.json("privacy", "show", *bob)["opted_out"]
    assert not spoken.json("privacy", "opt-in", *bob)["opted_out"]
    assert not spoken.json("privacy", "show", *bob)["opted_out"]


def test_retention_is_done_at_once_where_it_is_asked_for(spoken: Pajama) -> None:
    nothing = {"messages": 0, "answers": 0, "comments": 0}
    assert spoken.json("privacy", "purge") == nothing
    assert spoken.json("privacy", "purge", PAJAMA_RETENTION_DAYS="101") == nothing
    assert spoken.json("privacy", "purge", PAJAMA_RETENTION_DAYS="99") == {**nothing, "messages": 1, "answers": 1}
    assert "xylophone" not in words(spoken)


@pytest.mark.parametrize("what", ["show", "export", "forget"])
def test_someone_unknown_is_said_to_be(spoken: Pajama, what: str) -> None:
    failed = spoken.run("privacy", what, "--platform", "slack", "--person", "ada")
    assert (failed.returncode, failed.stdout, failed.stderr) == (1, "", "ada was never seen on slack.\n")


def test_a_platform_that_is_none_is_named_with_those_that_are(spoken: Pajama) -> None:
    failed = spoken.run("privacy", "show", "--platform", "irc", "--person", "ada")
    assert failed.returncode == 2
    assert "discord, slack, web, terminal" in failed.stderr
