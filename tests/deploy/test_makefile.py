"""The Makefile: what it says of itself and to a machine that cannot run Pajama."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target_with_one_line() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    shown = re.findall(r"^  make ([a-z]+) +\S", _make().stdout, re.MULTILINE)
    assert sorted(shown) == sorted(targets[1].split())


def test_a_python_that_is_too_old_is_named_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    done = _make("up", "PYTHON=false", folder=tmp_path)
    assert done.returncode == 2
    assert "Pajama needs Python 3.11 or newer; false is not." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_installed_checkout_is_not_installed_again(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for stamp in ("bin/python", ".all", ".dev"):
        (tmp_path / ".venv" / stamp).touch()
    assert "pip install" not in _make("--dry-run", "test", "up", folder=tmp_path).stdout
    (tmp_path / ".venv" / ".dev").unlink()
    assert "pip install" in _make("--dry-run", "test", folder=tmp_path).stdout


def test_pytorch_comes_from_the_index_that_the_env_file_names(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    assert "index-url" not in _make("--dry-run", "up", folder=tmp_path).stdout
    (tmp_path / ".env").write_text("PAJAMA_MODEL=slimpajama\nPAJAMA_TORCH_INDEX=https://index.example/cpu\n")
    assert '--extra-index-url "$PAJAMA_TORCH_INDEX"' in _make("--dry-run", "up", folder=tmp_path).stdout
