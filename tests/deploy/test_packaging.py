"""The wheel and its pins: complete, consistent, and usable outside a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {package.partition(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}


def _pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)  # no paths, no local versions
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def _required(extra: str) -> list[Requirement]:
    project = PROJECT["project"]
    lines = project["dependencies"] if not extra else project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines if not line.startswith("pajama[")]


def _brought(extra: str) -> set[str]:
    """Every distribution that the base install with `extra` brings on this machine."""
    open_ends, found = [*_required(""), *_required(extra)], set[tuple[str, frozenset[str]]]()
    while open_ends:
        wanted = open_ends.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key not in found:
            found.add(key)
            if key[0] == "torch":  # its metadata pins the CUDA libraries of its CUDA build itself
                continue
            further = map(Requirement, metadata.requires(wanted.name) or [])
            chosen = [{"extra": name} for name in ("", *wanted.extras)]
            open_ends += [r for r in further if not r.marker or any(map(r.marker.evaluate, chosen))]
    return {name for name, _ in found}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, since a build leaves its own files beside the sources."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(listed.stdout.splitlines()) <= set(ZipFile(wheel).namelist())


def test_the_installed_wheel_finds_its_data_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import core, bots; from pathlib import Path; from core.database import check, upgrade;"
        "assert Path(core.__file__).is_relative_to(Path.cwd());"
        "upgrade('sqlite:///new.db'); assert check('sqlite:///new.db') == []"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)


def test_every_requirement_is_pinned_within_its_range() -> None:
    pins = _pins()
    for extra in ("", *PROJECT["project"]["optional-dependencies"]):
        for requirement in _required(extra):
            if extra == "peers" and str(requirement.specifier).startswith("=="):
                continue  # pinned where it stands: what needs a compiler is not installed to make the pins
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    assert pins["torch"] == "2.13.0"


def test_every_distribution_that_is_brought_along_is_pinned() -> None:
    assert set.union(*map(_brought, ("bots", "worker", "train", "dev"))) <= set(_pins())


def test_each_extra_stays_free_of_the_other_sides_libraries() -> None:
    assert not {"torch", "transformers"} & _brought("bots")
    assert not {"discord-py", "slack-bolt", "fastapi"} & _brought("worker")
