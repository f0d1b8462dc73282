"""What is found out of an endpoint at the start, and what is said where it cannot serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core.errors import EndpointAway, EndpointBroken, EndpointDenied, ModelUnavailable, PajamaError
from tests.workers.generator_contract import answer, prompt
from tests.workers.standin import CONTEXT, MODEL, StandIn
from workers.endpoint.counting import LlamaCppCounter, UpperBound, VllmCounter
from workers.remote_generator import RemoteGenerator

Load = Callable[..., RemoteGenerator]


def test_vllm_tells_its_context_and_counts(standin: StandIn, load: Load) -> None:
    generator = load(standin)
    assert (generator.info.name, generator.info.context_tokens) == (MODEL, CONTEXT)
    assert generator.info.revision == f"127.0.0.1:{standin.port}"
    assert isinstance(generator.found.counter, VllmCounter)


def test_llama_cpp_tells_its_context_and_counts(load: Load) -> None:
    standin = StandIn("llama.cpp")
    standin.context = 300
    generator = load(standin)
    standin.close()
    assert generator.info.context_tokens == 300
    assert isinstance(generator.found.counter, LlamaCppCounter)


def test_where_nothing_is_told_the_template_is_measured(load: Load) -> None:
    standin = StandIn("plain")
    generator = load(standin, max_context_tokens=99)
    standin.close()
    # Contents of one byte: a message and the end are 7 + 3 tokens, a system part 7 more, a further pair 14.
    assert generator.found.counter == UpperBound(once=17, each=14)
    assert generator.info.context_tokens == 99


def test_the_settings_may_allow_less_than_the_endpoint_but_never_more(standin: StandIn, load: Load) -> None:
    assert load(standin, max_context_tokens=100).info.context_tokens == 100
    assert load(standin, max_context_tokens=10_000).info.context_tokens == CONTEXT


@pytest.mark.parametrize("name", ["max_model_len", "context_length", "context_window", "max_context_length"])
def test_the_list_of_models_may_tell_the_context(load: Load, name: str) -> None:
    standin = StandIn("plain")
    standin.models[MODEL] = {name: 321}
    assert load(standin).info.context_tokens == 321
    standin.close()


def test_a_context_that_nobody_tells_has_to_be_set(load: Load) -> None:
    standin = StandIn("plain")
    with pytest.raises(ModelUnavailable, match=r"does not tell .* stand-in takes: set PAJAMA_MAX_CONTEXT_TOKENS"):
        load(standin)
    standin.close()


def test_of_several_models_one_has_to_be_named(standin: StandIn, load: Load) -> None:
    standin.models["another"] = {"max_model_len": 256}
    with pytest.raises(ModelUnavailable, match="lists stand-in, another: set PAJAMA_OPENAI_MODEL"):
        load(standin)
    generator = load(standin, openai_model="another")
    assert (generator.info.name, generator.info.context_tokens) == ("another", 256)
    standin.models.clear()
    with pytest.raises(ModelUnavailable, match="lists none"):
        load(standin)


def test_a_model_that_is_not_there_is_said(standin: StandIn, load: Load) -> None:
    with pytest.raises(EndpointDenied, match="PAJAMA_OPENAI_MODEL"):
        load(standin, openai_model="no-such")


@pytest.mark.parametrize("key", ["", "sk-wrong"])
def test_a_key_that_is_not_taken_is_said(standin: StandIn, load: Load, key: str) -> None:
    standin.key = "sk-right"
    with pytest.raises(
        EndpointDenied, match=r"does not take the key \(401, invalid_api_key\): see PAJAMA_OPENAI_API_KEY"
    ):
        load(standin, openai_api_key=key)


def test_another_kind_of_server_is_said(standin: StandIn, load: Load) -> None:
    """Its address without `/v1`: nothing is where it should be."""
    with pytest.raises(PajamaError, match=r"often ends with /v1"):
        load(standin, openai_base_url=f"http://127.0.0.1:{standin.port}", openai_model=MODEL)


def test_a_page_in_place_of_json_is_said(standin: StandIn, load: Load) -> None:
    standin.page = True
    with pytest.raises(EndpointBroken, match=r"chat/completions answers with text/html, which is no JSON"):
        load(standin, openai_model=MODEL)


def test_an_endpoint_without_a_list_of_models_is_asked_by_name(standin: StandIn, load: Load) -> None:
    standin.lists = False
    generator = load(standin, openai_model=MODEL, max_context_tokens=CONTEXT)
    assert generator.found.listed is None
    assert answer(generator, "Hello")[1].failure is None
    with pytest.raises(ModelUnavailable):
        load(standin, max_context_tokens=CONTEXT)


def test_an_endpoint_that_starts_is_waited_for(standin: StandIn, load: Load) -> None:
    port = standin.port
    standin.close()
    back: list[StandIn] = []
    timer = threading.Timer(0.3, lambda: back.append(StandIn(port=port)))
    timer.start()
    assert load(standin).count(prompt("Hello")) > 0
    timer.join()
    back[0].close()


def test_an_endpoint_that_never_starts_is_given_up(standin: StandIn, load: Load) -> None:
    standin.close()
    began = time.monotonic()
    with pytest.raises(EndpointAway, match="cannot be reached"):
        load(standin, openai_retry_s=0.1)
    assert time.monotonic() - began < 5
