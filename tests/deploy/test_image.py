"""The Dockerfile without a container engine: its stages, what goes into them, and who runs in them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def _stages() -> dict[str, tuple[str, list[str]]]:
    """Each stage with the one it is built on and its instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    stages: dict[str, tuple[str, list[str]]] = {}
    current: list[str] = []  # what stands before the first stage is thrown away
    for line in text.splitlines():
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            stages[match[2]] = (match[1], current := [])
        elif line and not line.startswith("#"):
            current.append(line)
    return stages


STAGES = _stages()


def _instructions(stage: str, keyword: str) -> list[str]:
    """The arguments of a stage's instructions of one kind, with those of the stages that it is built on first."""
    base, own = STAGES[stage]
    inherited = _instructions(base, keyword) if base in STAGES else []
    return inherited + [line.removeprefix(keyword).strip() for line in own if line.startswith(f"{keyword} ")]


@pytest.mark.parametrize("name", ["bots", "worker"])
def test_an_image_runs_without_root_and_as_compose_runs_it(name: str) -> None:
    service = SERVICES["web" if name == "bots" else name]
    assert service["build"]["target"] == name
    assert _instructions(name, "USER")[-1] == "10001:10001"
    assert json.loads(_instructions(name, "ENTRYPOINT")[-1]) == ["pajama"]
    assert json.loads(_instructions(name, "CMD")[-1]) == service["command"]
    health = _instructions(name, "HEALTHCHECK")[-1].partition("CMD ")[2]
    assert ["CMD", *json.loads(health)] == service["healthcheck"]["test"]


def test_an_image_carries_one_installed_wheel_and_no_build_tools() -> None:
    for name in ("bots", "worker"):
        assert _instructions(name, "COPY") == [f"--from=install-{name} /app /app"]
        assert not any("pip" in line for line in _instructions(name, "RUN"))


def test_every_install_uses_the_pins() -> None:
    installs = [line for _, lines in STAGES.values() for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert all("--constraint /constraints.txt" in line for line in installs)
    assert ["pajama[bots] @" in installs[0], "pajama[worker] @" in installs[1]] == [True, True]


def test_the_build_context_holds_what_the_wheel_is_built_from_and_no_secrets() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    first, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    folders = {line.removeprefix("!").rstrip("/") for line in allowed if line.startswith("!") and line.endswith("/")}
    documents = {line.removeprefix("!") for line in allowed if line.startswith("!") and not line.endswith("/")}
    assert first == "*"
    assert folders == {package.partition(".")[0] for package in packages}
    assert documents == {"LICENSE", "README.md", "constraints.txt", "pyproject.toml"}
