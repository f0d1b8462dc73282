"""The generated pages say what the code says, and a stale one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.models import Base
from core.settings import Settings, variable
from pajama.commands import docs


def test_the_table_of_settings_has_every_setting_with_its_default() -> None:
    page = docs.settings_page()
    for name, field in Settings.model_fields.items():
        assert f"| `{variable(name)}` |" in page
        assert field.description, f"{name} has no meaning"
        assert field.description in page
    assert "| `PAJAMA_TEMPERATURE` | `0.7` |" in page
    assert "| `PAJAMA_WEB_SECRET` |  |" in page


def test_the_command_line_is_there_with_its_options_and_exit_codes() -> None:
    page = docs.cli_page()
    for command in ("up", "chat", "worker", "bot web", "db upgrade", "why", "model train", "health reaper"):
        assert f"## `pajama {command}`" in page
    assert "| `--once` |" in page
    assert "| `TURN` |" in page
    assert "--parent-pipe" not in page  # between processes only
    assert all(f"{code} " in page.split("##", maxsplit=1)[0] for code in range(5))


def test_the_picture_has_every_table_and_every_foreign_key() -> None:
    picture = docs.schema_page()
    for table in Base.metadata.tables.values():
        assert f"    {table.name} {{" in picture
        for key in table.foreign_keys:
            assert f"{key.column.table.name} ||--o{{ {table.name} : {key.parent.name}" in picture


def test_a_stale_page_is_named_until_it_is_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    docs.generate()
    docs.check()
    (tmp_path / "docs" / "cli.md").write_text("Written by hand.")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        docs.check()
    assert ended.value.code == 1
    told = capsys.readouterr().out
    assert "docs/cli.md is stale" in told
    assert "settings.md" not in told
