"""The command line says what is wrong in a sentence, with an exit code that a script can use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.pajama.commands import Pajama

_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as where only `pajama[bots]` is installed
from pajama.cli import main
main()
"""


def test_every_wrong_value_is_named_with_what_is_right_wherever_it_stands(pajama: Pajama) -> None:
    (pajama.folder / "pajama.toml").write_text("max_batch_size = 0\n")
    (pajama.folder / ".env").write_text("PAJAMA_TEMPERATURE=hot\n")
    done = pajama.run(
        "config", "show", PAJAMA_DTYPE="float8", PAJAMA_WEB_PORT="99999", PAJAMA_REDIS_URL="http://me:secret@host"
    )
    assert done.returncode == 2
    told = {line.split(":")[0]: line for line in done.stderr.splitlines()}
    assert "greater than or equal to 1" in told["PAJAMA_MAX_BATCH_SIZE"]
    assert "valid number" in told["PAJAMA_TEMPERATURE"]
    assert "'bfloat16'" in told["PAJAMA_DTYPE"]
    assert "65535" in told["PAJAMA_WEB_PORT"]
    assert "should start with redis://" in told["PAJAMA_REDIS_URL"]
    assert len(told) == 5
    assert "secret" not in done.stderr


def test_a_broken_settings_file_is_a_sentence(pajama: Pajama) -> None:
    (pajama.folder / "pajama.toml").write_text("model = slimpajama\n")
    done = pajama.run("config", "show")
    assert done.returncode == 2
    assert "pajama.toml is no valid TOML" in done.stderr
    assert "Traceback" not in done.stderr


def test_brackets_in_a_setting_are_no_markup(pajama: Pajama) -> None:
    done = pajama.run("config", "show", PAJAMA_PERSONA="[/red] [bold]kind")
    assert done.returncode == 0, done.stderr
    assert "[/red] [bold]kind" in done.stdout


@pytest.mark.parametrize(
    "command", [("nonsense",), ("chat", "--loud"), ("why", "first"), ("history", "--conversation", "two words")]
)
def test_a_command_that_is_used_wrongly_is_exit_code_2(pajama: Pajama, command: tuple[str, ...]) -> None:
    done = pajama.run(*command)
    assert done.returncode == 2
    assert command[0] in done.stderr
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_place_of_an_error_is_shown_where_it_is_asked_for(pajama: Pajama) -> None:
    done = pajama.run("history", PAJAMA_LOG_LEVEL="DEBUG")
    assert done.returncode == 4
    assert "Traceback" in done.stderr


def test_a_port_that_is_taken_is_named_before_anything_starts(pajama: Pajama) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = pajama.run("up", PAJAMA_WEB_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "PAJAMA_WEB_PORT" in done.stderr
    assert not (pajama.data / "logs").exists()


def test_a_data_folder_that_cannot_be_used_is_named(pajama: Pajama) -> None:
    pajama.data.write_text("A file where the folder should be.")
    done = pajama.run("up")
    assert done.returncode == 2
    assert "PAJAMA_DATA_DIR" in done.stderr


def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(pajama: Pajama) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, "worker"],
        cwd=pajama.folder,
        env={**os.environ, **pajama.settings, "PAJAMA_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "torch is not installed: this command needs pajama[worker]." in done.stderr


def test_help_loads_nothing_heavy(pajama: Pajama) -> None:
    loaded = _imports(pajama.run("--help", PYTHONPROFILEIMPORTTIME="1").stderr)
    assert "typer" in loaded
    assert loaded.isdisjoint({"pydantic", "sqlalchemy", "celery", "redis", "fastapi", "torch", "transformers"})


def test_a_health_check_loads_what_it_asks_and_no_more(pajama: Pajama) -> None:
    """Containers run it twice a minute for as long as they live."""
    loaded = _imports(pajama.run("health", "worker", PYTHONPROFILEIMPORTTIME="1").stderr)
    assert "redis" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "alembic", "celery", "fastapi", "torch", "transformers"})


def test_the_web_page_runs_without_torch(pajama: Pajama, redis_url: str, redis_prefix: str) -> None:
    pajama.settings |= {"PAJAMA_REDIS_URL": redis_url, "PAJAMA_REDIS_PREFIX": redis_prefix}
    assert pajama.run("db", "upgrade").returncode == 0
    web = pajama.start("bot", "web", PYTHONPROFILEIMPORTTIME="1")
    assert web.stdout is not None
    try:
        told = ""
        while "web_ready" not in told:
            line = web.stdout.readline()
            assert line, told
            told += line
        web.send_signal(signal.SIGTERM)
        told += web.communicate(timeout=30)[0]
    finally:
        web.kill()
        web.communicate()
    assert web.returncode == 0
    loaded = _imports(told)
    assert "fastapi" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "workers", "slimpajama", "bots.terminal"})


def _imports(told: str) -> set[str]:
    """The modules that Python says it imported."""
    return {line.rsplit("|", 1)[1].strip() for line in told.splitlines() if line.startswith("import time:")}
