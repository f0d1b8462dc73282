"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import Settings, load_settings, origins, unknown_variables, variable


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_wins_over_the_files_and_they_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pajama.toml").write_text('web_port = 1\nmodel = "toml"\npersona = "toml"\n')
    Path(".env").write_text("PAJAMA_WEB_PORT=2\nPAJAMA_MODEL=dotenv\n")
    monkeypatch.setenv("PAJAMA_WEB_PORT", "3")
    settings = load_settings()
    assert (settings.web_port, settings.model, settings.persona) == (3, "dotenv", "toml")
    found = origins()
    assert (found["web_port"], found["model"], found["persona"], found["top_k"]) == (
        "environment",
        ".env",
        "pajama.toml",
        "default",
    )


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("web_port", "abc", "integer"),
        ("web_port", "70000", "65535"),
        ("temperature", "-1", "greater than or equal to 0"),
        ("database_url", "mysql://x", "sqlite:///"),
        ("redis_url", "http://x", "redis://"),
        ("log_level", "LOUD", "'DEBUG'"),
        ("redis_prefix", "has space", "pattern"),
        ("openai_base_url", "localhost:8000/v1", "http://"),
        ("openai_base_url", "http:///v1", "name a host"),
        ("openai_base_url", "https://me:hunter2@host/v1", "PAJAMA_OPENAI_API_KEY"),
        ("openai_base_url", "https://host/v1?key=hunter2", "end with the path"),
        ("openai_base_url", "https://host:port/v1", "number for a port"),
        ("openai_silence_s", "0", "greater than 0"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_is_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, right: str
) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert variable(name) in str(error.value)
    assert right in str(error.value)
    # A URL may hold a password.
    assert (value in str(error.value)) is not name.endswith("_url")


@pytest.mark.parametrize("from_toml", [False, True])
def test_models_for_workspaces_are_named_in_a_list(monkeypatch: pytest.MonkeyPatch, *, from_toml: bool) -> None:
    if from_toml:
        Path("pajama.toml").write_text('openai_workspace_models = ["qwen3:8b", "a/b", "qwen3:8b"]')
    else:
        monkeypatch.setenv("PAJAMA_OPENAI_WORKSPACE_MODELS", " qwen3:8b,a/b , ,qwen3:8b,")
    assert load_settings().openai_workspace_models == ("qwen3:8b", "a/b")


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAJAMA_WEB_PORT", "abc")
    monkeypatch.setenv("PAJAMA_TOP_P", "7")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert len(str(error.value).splitlines()) == 2


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAJAMA_WEB_SECRET", "hush")
    assert "hush" not in repr(load_settings())


def test_the_endpoints_key_is_one_line_that_a_header_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAJAMA_OPENAI_API_KEY", " sk-hush\n")
    assert load_settings().openai_api_key.get_secret_value() == "sk-hush"
    for wrong in ("sk-hush\nX: y", "sk-hüsh", "sk-\thush"):
        monkeypatch.setenv("PAJAMA_OPENAI_API_KEY", wrong)
        with pytest.raises(SettingsError, match="one line of ASCII") as error:
            load_settings()
        assert "sk-" not in str(error.value)


def test_a_file_that_is_no_toml_is_named() -> None:
    Path("pajama.toml").write_text("web_port = = 1")
    with pytest.raises(SettingsError, match=r"pajama\.toml"):
        load_settings()


def test_a_misspelt_variable_is_told_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAJAMA_MODLE", "x")
    monkeypatch.setenv("PAJAMA_TEST_REDIS_URL", "x")
    assert unknown_variables() == {"PAJAMA_MODLE": "PAJAMA_MODEL"}


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())
