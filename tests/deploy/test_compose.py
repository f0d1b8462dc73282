"""docker-compose.yml without a container engine: its structure, its names, and its commands run as they are written."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
import yaml
from sqlalchemy import make_url
from typer.testing import CliRunner

from core.database import check
from core.settings import Settings, load_settings, variable
from pajama.cli import app

ROOT = Path(__file__).parents[2]
COMPOSE, CPU = ROOT / "docker-compose.yml", ROOT / "deploy" / "compose.cpu.yml"
VLLM = ROOT / "deploy" / "compose.vllm.yml"
SLACK_HTTP = ROOT / "deploy" / "compose.slack-http.yml"

OUR_VARIABLES = {variable(name) for name in Settings.model_fields}
IMAGE_VARIABLES = {"PGPASSWORD", "POSTGRES_USER", "POSTGRES_PASSWORD"}
BUILD_VARIABLES = {"PAJAMA_TORCH_INDEX"}


class _Loader(yaml.SafeLoader):
    """YAML with Compose's `!reset`, which takes away what the file underneath says."""


_RESET = object()
_Loader.add_constructor("!reset", lambda loader, node: _RESET)


def _load(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(file.read_text(), _Loader)
    return content


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    merged = below | {key: _merged(below.get(key), value) for key, value in above.items()}
    return {key: value for key, value in merged.items() if value is not _RESET}


SERVICES: dict[str, dict[str, Any]] = _load(COMPOSE)["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
PLATFORMS = {"discord", "slack"}
# A platform is checked beside its stand-in servers: tests/bots/<platform>/test_process.py.
CHECKED = [name for name, service in OURS.items() if "test" in service["healthcheck"] and name not in PLATFORMS]


@pytest.fixture(autouse=True)
def _away_from_the_checkouts_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("above", [{}, _load(CPU), _load(VLLM), _load(SLACK_HTTP)], ids=["gpu", "cpu", "vllm", "slack"])
def test_the_file_is_what_the_compose_schema_allows(above: dict[str, Any]) -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(_merged(_load(COMPOSE), above), json.loads(schema.read_text()))


def test_one_start_without_tokens_brings_everything_but_the_platforms_that_need_them() -> None:
    without_profile = {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert without_profile == {"redis", "postgres", "migrate", "web", "worker", "reaper"}
    assert {name: SERVICES[name]["profiles"] for name in PLATFORMS} == {"discord": ["discord"], "slack": ["slack"]}


def test_the_worker_reserves_a_gpu_and_the_cpu_file_takes_that_back() -> None:
    devices = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert [device["capabilities"] for device in devices] == [["gpu"]]
    on_cpu = _merged(_load(COMPOSE), _load(CPU))["services"]["worker"]
    assert "deploy" not in on_cpu
    assert on_cpu["environment"]["PAJAMA_DEVICE"] == "cpu"
    assert on_cpu["environment"]["PAJAMA_REDIS_URL"] == SERVICES["worker"]["environment"]["PAJAMA_REDIS_URL"]


def test_in_front_of_vllm_the_worker_needs_no_gpu_and_no_image_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    services = _merged(_load(COMPOSE), _load(VLLM))["services"]
    worker, vllm = services["worker"], services["vllm"]
    assert worker["build"]["target"] == "bots" and "deploy" not in worker
    assert [d["capabilities"] for d in vllm["deploy"]["resources"]["reservations"]["devices"]] == [["gpu"]]
    assert set(worker["networks"]) >= set(vllm["networks"]) and "ports" not in vllm
    assert worker["depends_on"]["vllm"] == {"condition": "service_healthy"} and "migrate" in worker["depends_on"]
    for key, value in worker["environment"].items():
        if key in OUR_VARIABLES:
            monkeypatch.setenv(key, value)
    assert load_settings().openai_base_url == "http://vllm:8000/v1"


def test_slacks_port_is_published_on_this_machine_only_and_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slack = _merged(_load(COMPOSE), _load(SLACK_HTTP))["services"]["slack"]
    assert slack["ports"] == ["127.0.0.1:3000:3000"] and slack["profiles"] == ["slack"]
    for key in ("PAJAMA_SLACK_HTTP_HOST", "PAJAMA_SLACK_HTTP_PORT"):
        monkeypatch.setenv(key, slack["environment"][key])
    assert (load_settings().slack_http_host, load_settings().slack_http_port) == ("0.0.0.0", 3000)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert name in OURS or service["user"] != "root"  # our images say USER themselves
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert service.get("ports", []) == (["127.0.0.1:8080:8080"] if name == "web" else [])


def test_the_stores_cannot_reach_the_outside() -> None:
    assert _load(COMPOSE)["networks"]["stores"] == {"internal": True}
    assert all(SERVICES[name]["networks"] == ["stores"] for name in ("redis", "postgres"))


def test_what_is_kept_is_kept_in_declared_volumes() -> None:
    mounted = {entry.split(":")[0] for service in SERVICES.values() for entry in service.get("volumes", [])}
    assert mounted == set(_load(COMPOSE)["volumes"])


def test_nothing_starts_before_what_it_depends_on_is_ready() -> None:
    for name, service in OURS.items():
        waits_for = service["depends_on"]
        if name == "migrate":
            assert waits_for == {"postgres": {"condition": "service_healthy"}}
        else:
            assert waits_for["migrate"] == {"condition": "service_completed_successfully"}
            assert waits_for["redis"] == {"condition": "service_healthy"}
        healthy = [other for other, how in waits_for.items() if how["condition"] == "service_healthy"]
        assert all("test" in SERVICES[other]["healthcheck"] for other in healthy)


def test_every_variable_is_a_setting_or_known_to_the_image_that_gets_it() -> None:
    for service in SERVICES.values():
        assert set(service.get("environment", {})) <= OUR_VARIABLES | IMAGE_VARIABLES
    interpolated = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text() + CPU.read_text()))
    assert interpolated == {"POSTGRES_PASSWORD", "PAJAMA_TORCH_INDEX"}
    assert set(_load(CPU)["services"]["worker"]["build"]["args"]) == BUILD_VARIABLES


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {key: value for key, value in OURS[name]["environment"].items() if key in OUR_VARIABLES}
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert settings.redis_url == "redis://redis:6379/0"
    assert make_url(settings.effective_database_url).password is None  # libpq reads PGPASSWORD


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_that_the_command_line_has(name: str) -> None:
    done = CliRunner().invoke(app, [*OURS[name]["command"], "--help"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_migrate_brings_an_empty_database_to_head(empty_database_url: str) -> None:
    assert check(empty_database_url) != []
    assert _run_pajama(OURS["migrate"]["command"], {"PAJAMA_DATABASE_URL": empty_database_url}).returncode == 0
    assert check(empty_database_url) == []


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_service_is_healthy_once_it_runs_and_only_then(
    name: str, database_url: str, redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    environment = {
        **{key: value for key, value in OURS[name]["environment"].items() if key in OUR_VARIABLES},
        "PAJAMA_DATABASE_URL": database_url,
        "PAJAMA_REDIS_URL": redis_url,
        "PAJAMA_REDIS_PREFIX": redis_prefix,
        "PAJAMA_DATA_DIR": str(tmp_path),
        "PAJAMA_DEVICE": "cpu",
        "PAJAMA_WEB_HOST": "127.0.0.1",
        "PAJAMA_WEB_PORT": str(20_000 + secrets.randbelow(10_000)),
    }
    kind, program, *health = OURS[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "pajama")
    assert _run_pajama(health, environment).returncode == 1
    with _running(OURS[name]["command"], environment) as process:
        _wait_until(lambda: _run_pajama(health, environment).returncode == 0, process, every_s=0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_redis_keeps_what_it_was_given(tmp_path: Path) -> None:
    command = SERVICES["redis"]["command"]
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        pytest.skip("No redis-server on PATH to run the command of docker-compose.yml with.")
    socket = tmp_path / "s"
    here = ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    with (
        subprocess.Popen([server, *command[1:], *here], stdout=subprocess.DEVNULL) as process,
        redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client,
    ):
        try:
            _wait_until(lambda: socket.exists() and bool(client.ping()), process)
            wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
            assert client.config_get(*wanted) == wanted
        finally:
            process.terminate()


def test_the_health_check_of_redis_runs_as_written(given_redis_url: str) -> None:
    kind, command = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    if not given_redis_url.startswith(("redis://127.0.0.1:6379/", "redis://localhost:6379/")):
        pytest.skip("redis-cli takes the port from no variable: the given Redis is not on port 6379 of this machine.")
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_the_health_check_of_postgres_runs_as_written(empty_database_url: str) -> None:
    kind, *command = SERVICES["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    url = make_url(empty_database_url)
    if url.host not in {"127.0.0.1", "localhost"} or not shutil.which(command[0]):
        pytest.skip("Needs pg_isready on PATH and a PostgreSQL on this machine.")
    environment = os.environ | {"PGPORT": str(url.port or 5432)}
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert subprocess.run(command, env=environment | {"PGPORT": "9"}, check=False).returncode != 0


def _environment(extra: dict[str, str]) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), **os.environ, **extra}


def _run_pajama(arguments: list[str], extra: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pajama", *arguments],
        env=_environment(extra or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def _running(arguments: list[str], extra: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "pajama", *arguments], env=_environment(extra)) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], every_s: float = 0.02) -> None:
    deadline = time.monotonic() + 60
    while not is_ready():
        assert process.poll() is None, f"ended early with {process.returncode}"
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(every_s)
