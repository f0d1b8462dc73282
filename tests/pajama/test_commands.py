"""Commands where nothing runs: what they print, how they fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import Settings, variable
from pajama.commands.config import MASK, masked_url
from tests.pajama.commands import Pajama

ROOT = Path(__file__).parents[2]


def test_settings_are_shown_with_their_origin_and_without_secrets(pajama: Pajama) -> None:
    (pajama.folder / "pajama.toml").write_text('persona = "A pillow."\nmodel = "other"\n')
    (pajama.folder / ".env").write_text("PAJAMA_MODEL=another\nPAJAMA_WEB_SECRET=hidden\n")
    shown = pajama.json("config", "show", PAJAMA_DATABASE_URL="postgresql+psycopg://me:hidden@db/pajama")
    assert set(shown) == set(Settings.model_fields)
    assert shown["persona"] == {"value": "A pillow.", "origin": "pajama.toml"}
    assert shown["model"] == {"value": "another", "origin": ".env"}
    assert shown["web_secret"] == {"value": MASK, "origin": ".env"}
    assert shown["database_url"] == {"value": f"postgresql+psycopg://me:{MASK}@db/pajama", "origin": "environment"}
    assert shown["top_p"] == {"value": 0.9, "origin": "default"}
    table = pajama.run("config", "show", PAJAMA_PERSONA="word " * 60).stdout.splitlines()
    assert "hidden" not in "".join(table)
    assert [line.split()[0] for line in table[1:]] == [variable(name) for name in Settings.model_fields]


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:p@ss@localhost/0", f"redis://:{MASK}@localhost/0"),
        ("postgresql+psycopg://me@db/pajama", "postgresql+psycopg://me@db/pajama"),
        ("postgresql+psycopg://me:word@db/pajama", f"postgresql+psycopg://me:{MASK}@db/pajama"),
        ("unix:///run/redis.sock?db=1&password=word", f"unix:///run/redis.sock?db=1&password={MASK}"),
        ("sqlite:////tmp/a@b:c.db", "sqlite:////tmp/a@b:c.db"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@pytest.mark.parametrize(
    ("setting", "value"), [("PAJAMA_WEB_PORT", "http"), ("PAJAMA_DATABASE_URL", "mysql://me:hidden@db")]
)
def test_a_wrong_setting_is_named_in_a_sentence(setting: str, value: str, pajama: Pajama) -> None:
    failed = pajama.run("up", **{setting: value})
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"{setting}: ")
    assert "Traceback" not in failed.stderr
    assert "hidden" not in failed.stderr


def test_a_database_that_is_not_there_is_said_and_not_made(pajama: Pajama) -> None:
    checked = pajama.run("db", "check")
    assert (checked.returncode, checked.stdout.count("\n")) == (1, 1)
    assert f"There is no database at {pajama.data / 'pajama.db'} yet" in checked.stdout
    for command in (("history",), ("why", "1"), ("feedback", "export")):
        failed = pajama.run(*command)
        assert (failed.returncode, failed.stdout) == (4, "")
        assert "There is no database" in failed.stderr
    assert not pajama.data.exists()


def test_a_database_is_made_and_is_then_at_head(pajama: Pajama) -> None:
    assert pajama.run("db", "upgrade").returncode == 0
    assert pajama.run("db", "check").returncode == 0
    assert pajama.json("history") == []
    unknown = pajama.run("why", "999")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "Traceback" not in unknown.stderr


@pytest.mark.parametrize("what", ["web", "worker", "reaper"])
def test_what_does_not_run_is_not_healthy(what: str, pajama: Pajama) -> None:
    checked = pajama.run("health", what)
    assert (checked.returncode, checked.stdout, checked.stderr.count("\n")) == (1, "", 1)


def test_redis_that_is_down_is_no_traceback(pajama: Pajama) -> None:
    nowhere = f"unix://{pajama.folder}/nowhere.sock"
    assert pajama.run("health", "worker", PAJAMA_REDIS_URL=nowhere).returncode == 1
    failed = pajama.run("up", PAJAMA_REDIS_URL=nowhere)
    assert failed.returncode == 4
    assert failed.stderr.startswith("Redis cannot be used")
    assert not (pajama.data / "running.json").exists()


@pytest.mark.parametrize("process", [("worker",), ("reaper",), ("bot", "web")])
def test_a_process_of_its_own_needs_redis(process: tuple[str, ...], pajama: Pajama) -> None:
    failed = pajama.run(*process)
    assert failed.returncode == 2
    assert failed.stderr.startswith("PAJAMA_REDIS_URL is empty")


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("bots.web.app, bots.terminal, core.service", "torch transformers workers slimpajama"),
        ("pajama.cli", "torch sqlalchemy celery fastapi alembic"),
    ],
)
def test_what_is_heavy_is_imported_only_where_it_is_needed(modules: str, unwanted: str) -> None:
    code = f"import sys, {modules}; print(*[name for name in {unwanted.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
