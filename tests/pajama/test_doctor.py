"""The doctor looks at everything, and says of each thing that is wrong what would be right."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import load_settings
from pajama.commands.doctor import Finding, examine
from pajama.valkey import find_server
from tests.pajama.commands import Pajama, until


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` and no data of anyone's."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def forgetful_url(tmp_path: Path) -> Iterator[str]:
    """A Redis that keeps nothing; the user `rented` may not ask for its settings."""
    path = tmp_path / "s"
    flags = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    users = ["--user", "rented", "on", "nopass", "~*", "+@all", "-config"]
    with subprocess.Popen([find_server(), *flags, *users], stdout=subprocess.DEVNULL) as it:
        until(path.exists)
        yield f"unix://{path}"
        it.terminate()


def _found(**settings: object) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(load_settings(**settings))}


def test_nothing_is_wrong_where_nothing_runs_yet(tmp_path: Path) -> None:
    found = _found(web_port=0)
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert set(found) >= {"Python", "torch", "Disk", "Database", "Queue", "Workers", "Model", "Web page"}
    assert "will be made at the first start" in found["Database"].detail
    assert "pajama up" in found["Workers"].detail
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind


def test_each_thing_that_is_wrong_is_said_and_the_exit_code_is_1(pajama: Pajama) -> None:
    pajama.data.mkdir()
    sqlite3.connect(pajama.data / "pajama.db").close()
    (pajama.data / "pajama.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = pajama.run(
            "doctor",
            PAJAMA_TEMPERATUR="0",
            PAJAMA_MODEL="/nowhere",
            PAJAMA_REDIS_URL=f"unix://{pajama.folder}/nowhere.sock",
            PAJAMA_WEB_PORT=str(taken.getsockname()[1]),
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = done.stdout
    assert "! Settings" in told.replace("  ", " ")
    assert "did you mean PAJAMA_TEMPERATURE?" in told
    assert all(f"✗ {what}" in " ".join(told.split()) for what in ("Database", "Queue", "Workers", "Model", "Web page"))
    assert "/nowhere: there is no such folder" in told
    assert "PAJAMA_WEB_PORT" in told


def test_a_redis_that_may_forget_is_a_warning_with_what_would_be_right(forgetful_url: str) -> None:
    found = _found(redis_url=forgetful_url, web_port=0)
    assert found["Queue"].verdict == "warning"
    assert "appendonly yes" in found["Queue"].detail
    assert found["Workers"].verdict == "failure"  # nobody answers there
    assert "pajama worker" in found["Workers"].detail


def test_a_redis_that_tells_no_settings_is_a_warning_too(forgetful_url: str) -> None:
    found = _found(redis_url=forgetful_url.replace("unix://", "unix://rented@"), web_port=0)
    assert found["Queue"].verdict == "warning"
    assert "does not tell its settings" in found["Queue"].detail


def test_passwords_are_not_shown() -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/pajama"
    database = _found(database_url=url, web_port=0)["Database"]
    assert database.verdict == "failure"
    assert "hunter2" not in database.detail
