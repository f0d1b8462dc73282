""".env.example: real names, real defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import Settings, load_settings, variable

ROOT = Path(__file__).parents[2]
NOT_SETTINGS = {"PAJAMA_TORCH_INDEX", "POSTGRES_PASSWORD"}
SHOWN: dict[str, str] = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_every_line_is_a_comment_so_that_a_copy_changes_nothing() -> None:
    assert all(line.startswith("#") or not line for line in (ROOT / ".env.example").read_text().splitlines())


def test_every_name_is_a_setting() -> None:
    assert SHOWN.keys() - NOT_SETTINGS <= {variable(name) for name in Settings.model_fields}
    assert SHOWN.keys() >= NOT_SETTINGS


def test_every_value_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = load_settings()
    for name in SHOWN.keys() - NOT_SETTINGS:
        monkeypatch.setenv(name, SHOWN[name])
    assert load_settings() == defaults
