"""What is wrong with the endpoint, asked of itself: whether it is there, takes the key, has the model and streams."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import AnswerFailed
from core.findings import Finding
from core.prompts import Prompt, PromptPart
from core.settings import Settings
from core.values import SamplingParams
from workers.generator import Finished
from workers.remote_generator import RemoteGenerator, look

_ONE_TOKEN = SamplingParams(max_new_tokens=1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which a fault would show. Nothing is tried twice."""
    settings = settings.model_copy(update={"openai_retry_s": 0.0})
    try:
        generator = RemoteGenerator(settings, look(settings))
    except AnswerFailed as error:
        yield Finding("Endpoint", "failure", str(error))
        return
    try:
        yield _answer(generator, settings)
        yield _model(generator)
        for name in settings.openai_workspace_models:
            yield _offered(generator, name)
    finally:
        generator.close()


def _answer(generator: RemoteGenerator, settings: Settings) -> Finding:
    """Whether it streams an answer of one token."""
    *_, finished = generator.generate(Prompt((PromptPart("user", "a"),)), _ONE_TOKEN, request_id="doctor")
    assert isinstance(finished, Finished)
    if finished.failure is not None:
        return Finding("Endpoint", "failure", str(finished.failure))
    return Finding(
        "Endpoint", "ok", f"{settings.openai_base_url} streams; one token took {finished.timings.total_ms:.0f} ms"
    )


def _model(generator: RemoteGenerator) -> Finding:
    found = generator.found
    detail = f"{found.model}: {found.context_tokens} tokens of context; prompts are {found.counter.way}"
    if found.listed is False:
        return Finding("Model", "warning", f"{detail}. It answers, but is not in the endpoint's list of models")
    return Finding("Model", "ok", detail)


def _offered(generator: RemoteGenerator, name: str) -> Finding:
    """Whether a model that Workspaces may choose answers."""
    try:
        return _model(generator.of_model(name))
    except AnswerFailed as error:
        return Finding("Model", "failure", f"{name}, which workspaces may choose: {error}")
