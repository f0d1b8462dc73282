"""Answers from an endpoint elsewhere, through the whole stack, on a machine where no model could run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.findings import Finding
from core.settings import load_settings
from pajama.commands.doctor import examine
from tests.pajama.commands import PATIENCE_S, Pajama, Up
from tests.workers.standin import CONTEXT, MODEL, StandIn, Wire

KEY = "sk-hush"


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    made = StandIn(key=KEY)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pajama(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Pajama:
    """The command line where torch and its company cannot be imported."""
    absent = tmp_path_factory.mktemp("absent")
    for name in ("torch", "transformers", "tokenizers", "safetensors", "slimpajama"):
        (absent / name).mkdir()
        (absent / name / "__init__.py").write_text(f"raise ImportError('{name} was imported')")
    path = os.pathsep.join(filter(None, (str(absent), os.environ.get("PYTHONPATH"))))
    pajama = Pajama(tmp_path_factory.mktemp("endpoint"))
    pajama.settings |= {
        "PAJAMA_OPENAI_BASE_URL": f"{standin.url}/",
        "PAJAMA_OPENAI_API_KEY": KEY,
        "PAJAMA_MAX_NEW_TOKENS": "200",
        "PYTHONPATH": path,
    }
    return pajama


@pytest.fixture(scope="module")
def up(pajama: Pajama) -> Iterator[Up]:
    running = Up(pajama)
    try:
        running.wait_until_up()
        yield running
    finally:
        running.interrupt()


def test_up_answers_through_an_endpoint_without_any_model_of_its_own(up: Up, pajama: Pajama, standin: StandIn) -> None:
    assert f"{MODEL} @ 127.0.0.1:{standin.port}" in up.printed and "PAJAMA_OPENAI_MODEL" in up.printed
    told = pajama.json("chat", "--once", "hello")
    assert told["model"] == MODEL
    assert told["usage"]["completion_tokens"] == 200 == len(told["text"].split())
    assert standin.bodies()[-1]["messages"][-1] == {"role": "user", "content": "hello"}


def test_a_person_who_stops_an_answer_stops_the_endpoint(up: Up, pajama: Pajama, standin: StandIn) -> None:
    standin.faults.append(thinking_for_ever)
    with pajama.start("chat", "--once", "hello") as chat:
        standin.wait_for(lambda it: len(it.faults) == 0, PATIENCE_S)
        assert pajama.run("chat", "--once", "/stop").returncode == 0
        standin.wait_for(lambda it: it.left == 1, PATIENCE_S)
        assert chat.wait(PATIENCE_S) is not None


def thinking_for_ever(wire: Wire) -> None:
    wire.begin()
    wire.say({"content": "Well, "})
    wire.hang()


def test_an_answer_that_the_endpoint_refuses_fails_and_no_words_are_logged(
    up: Up, pajama: Pajama, standin: StandIn
) -> None:
    standin.faults += [lambda wire: wire.error(400, "You said hello")] * 2
    failed = pajama.run("chat", "--once", "hello")
    assert failed.returncode == 1 and failed.stderr.strip()
    logs = "".join(path.read_text() for path in (pajama.data / "logs").iterdir())
    assert "endpoint_found" in logs and "refuses the request (400" in logs
    assert KEY not in logs and "You said" not in logs


def test_up_says_why_the_endpoint_cannot_be_used(pajama: Pajama, tmp_path: Path) -> None:
    done = pajama.run("up", PAJAMA_OPENAI_API_KEY="sk-wrong", PAJAMA_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "does not take the key (401, invalid_api_key): see PAJAMA_OPENAI_API_KEY" in done.stderr
    assert "sk-wrong" not in done.stderr + done.stdout and "Traceback" not in done.stderr


def found(standin: StandIn, **settings: object) -> dict[str, Finding]:
    settings = {"openai_base_url": standin.url, "openai_api_key": KEY, "web_port": 0} | settings
    return {finding.what: finding for finding in examine(load_settings(**settings))}


def test_the_doctor_asks_the_endpoint_for_a_token(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    well = found(standin)
    assert {finding.verdict for finding in well.values()} == {"ok"}
    assert f"{standin.url} streams; one token took " in well["Endpoint"].detail
    assert (
        well["Model"].detail == f"{MODEL}: {CONTEXT} tokens of context; prompts are counted by the endpoint (/tokenize)"
    )
    assert "torch" not in well, "it is not needed"

    offered = found(standin, openai_workspace_models="no-such")["Model"]
    assert offered.verdict == "failure" and offered.detail.startswith("no-such, which workspaces may choose: ")

    standin.models["hidden"] = {"max_model_len": CONTEXT}
    standin.unlisted = {"hidden"}
    hidden = found(standin, openai_model="hidden", max_context_tokens=9)["Model"]
    assert hidden.verdict == "warning" and "not in the endpoint's list" in hidden.detail

    standin.faults.append(lambda wire: wire.reply(200, {"choices": []}))
    assert "not with text/event-stream" in found(standin, openai_model=MODEL)["Endpoint"].detail
    del standin.models["hidden"]
    for settings, words in (
        ({"openai_api_key": ""}, "PAJAMA_OPENAI_API_KEY"),
        ({"openai_model": "no-such"}, "PAJAMA_OPENAI_MODEL"),
        ({"openai_base_url": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1/models cannot be reached"),
    ):
        endpoint = found(standin, **settings)["Endpoint"]
        assert endpoint.verdict == "failure" and words in endpoint.detail
