"""A model behind an endpoint: the Generators' contract on each kind of server, and what only it promises."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import DeadlineExceeded, EndpointDenied, EngineFailed, ModelUnavailable, PromptTooLong
from core.prompts import Prompt, PromptPart
from core.values import FinishReason, SamplingParams
from tests.workers.generator_contract import BATCH, GREEDY, LONG, GeneratorContract, answer, collect, prompt, until
from tests.workers.standin import CONTEXT, MODEL, StandIn, counted
from workers.remote_generator import RemoteGenerator

Load = Callable[..., RemoteGenerator]


@pytest.fixture
def generator(standin: StandIn, load: Load) -> RemoteGenerator:
    return load(standin)


class TestVllm(GeneratorContract):
    """The contract on an endpoint that counts as vLLM does."""


class TestLlamaCpp(GeneratorContract):
    """The contract on an endpoint that counts as llama.cpp's server does."""

    @pytest.fixture
    def standin(self) -> Iterator[StandIn]:
        made = StandIn("llama.cpp")
        yield made
        made.close()


class TestWithoutTokenizer(GeneratorContract):
    """The contract on an endpoint that cannot count."""

    counts_exactly = False

    @pytest.fixture
    def standin(self) -> Iterator[StandIn]:
        made = StandIn("plain")
        yield made
        made.close()

    @pytest.fixture
    def generator(self, standin: StandIn, load: Load) -> RemoteGenerator:
        return load(standin, max_context_tokens=CONTEXT)


CONVERSATION = Prompt(
    (
        PromptPart("system", "Be brief."),
        PromptPart("user", "One?"),
        PromptPart("assistant", "Two.", (1, 2)),
        PromptPart("user", "Three?"),
    )
)


def test_a_prompt_is_asked_as_messages_and_its_parameters(generator: RemoteGenerator, standin: StandIn) -> None:
    stop = tuple(f"stop {i}" for i in range(6))
    params = SamplingParams(
        temperature=0.5, top_p=0.8, top_k=7, repetition_penalty=1.2, seed=2**62, max_new_tokens=3, stop=stop
    )
    collect(generator.generate(CONVERSATION, params, request_id="a"))
    assert standin.bodies() == [
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Two."},
                {"role": "user", "content": "Three?"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "max_tokens": 3,
            "temperature": 0.5,
            "top_p": 0.8,
            "top_k": 7,
            "repetition_penalty": 1.2,
            "seed": 2**62,
            "stop": list(stop[:4]),
        }
    ]


def test_llama_cpp_is_asked_in_its_own_words(load: Load) -> None:
    standin = StandIn("llama.cpp")
    answer(load(standin), "Hello")
    (body,) = standin.bodies()
    standin.close()
    assert body["repeat_penalty"] == GREEDY.repetition_penalty and body["min_p"] == 0
    assert "repetition_penalty" not in body


def test_the_usage_is_the_endpoints_also_of_an_answer_that_was_cancelled(generator: RemoteGenerator) -> None:
    usage = answer(generator, "Hello")[1].usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (14, 3, 40)
    events = generator.generate(prompt("Hello"), LONG, request_id="a")
    next(events)
    generator.cancel("a")
    assert collect(events)[1].usage.prompt_tokens == 14


@pytest.mark.parametrize("named", [True, False])
def test_fields_that_are_refused_are_left_out_from_then_on(
    generator: RemoteGenerator, standin: StandIn, named: bool
) -> None:
    standin.refuses, standin.names_them = {"top_k", "stream_options", "repetition_penalty"}, named
    first, finished = answer(generator, "Hello")
    assert first and finished.failure is None
    asked = len(standin.bodies())
    answer(generator, "Hello")
    assert asked > 1 and len(standin.bodies()) == asked + 1
    assert not standin.refuses & standin.bodies()[-1].keys()
    assert {"temperature", "top_p", "max_tokens"} <= standin.bodies()[-1].keys()


def test_a_request_that_is_refused_for_another_reason_teaches_nothing(
    generator: RemoteGenerator, standin: StandIn
) -> None:
    standin.refuses, standin.names_them = {"messages"}, False
    assert answer(generator, "Hello")[1].failure is not None
    standin.refuses = set()
    answer(generator, "Hello")
    assert "top_k" in standin.bodies()[-1]


def test_an_endpoint_may_name_the_longest_answer_otherwise(standin: StandIn, load: Load) -> None:
    generator = load(standin)
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    standin.faults.append(lambda wire: wire.error(400, words))
    for _ in range(2):
        assert answer(generator, "Hello")[1].usage.completion_tokens == 40
    assert [body.get("max_completion_tokens") for body in standin.bodies()] == [None, 40, 40]
    assert "max_tokens" not in standin.bodies()[-1]


def test_a_model_without_a_system_part_gets_it_in_the_persons(standin: StandIn, load: Load) -> None:
    standin.knows_system = False
    generator = load(standin)
    counted_tokens = generator.count(CONVERSATION)
    _, finished = collect(generator.generate(CONVERSATION, GREEDY, request_id="a"))
    assert finished.failure is None and finished.usage.prompt_tokens == counted_tokens
    assert standin.bodies()[-1]["messages"][0] == {"role": "user", "content": "Be brief.\n\nOne?"}


class TestOtherModels:
    """Other models of the same endpoint, for Workspaces that choose them."""

    @pytest.fixture
    def generator(self, standin: StandIn, load: Load) -> RemoteGenerator:
        standin.models["large"], standin.context = {"max_model_len": 2 * CONTEXT}, 2 * CONTEXT
        return load(standin, openai_model=MODEL, openai_workspace_models="large, gone", openai_retry_s=0.05)

    def test_one_that_is_offered_answers_and_counts_for_itself(
        self, generator: RemoteGenerator, standin: StandIn
    ) -> None:
        large = generator.of_model("large")
        assert (large.info.name, large.info.context_tokens) == ("large", 2 * CONTEXT)
        assert large.info.revision == generator.info.revision
        assert answer(large, "Hello")[1].failure is None
        assert large.count(prompt("x" * CONTEXT)) > CONTEXT
        assert answer(large, "x" * CONTEXT)[1].failure is None
        assert {body["model"] for body in standin.bodies()} == {"large"}
        assert standin.bodies("/tokenize")[-1]["model"] == "large"
        answer(generator, "Hello")
        assert standin.bodies()[-1]["model"] == MODEL

    def test_it_is_looked_at_once(self, generator: RemoteGenerator, standin: StandIn) -> None:
        generator.of_model("large")
        asked = len(standin.asked)
        assert generator.of_model("large").of_model("large").info.name == "large"
        assert len(standin.asked) == asked

    def test_many_who_ask_at_once_wait_for_one_look(self, generator: RemoteGenerator, standin: StandIn) -> None:
        standin.stalls, asked = True, len(standin.asked)
        with ThreadPoolExecutor(3) as threads:
            found = [threads.submit(generator.of_model, "large") for _ in range(3)]
            standin.wait_for(lambda it: len(it.asked) > asked)
            standin.stalls = False
            assert {each.result().info.name for each in found} == {"large"}
        assert [path for path, _ in standin.asked[asked:]].count("/v1/models") == 1

    def test_one_that_is_not_offered_is_refused_with_those_that_are(self, generator: RemoteGenerator) -> None:
        with pytest.raises(ModelUnavailable, match=r"'small' .* PAJAMA_OPENAI_WORKSPACE_MODELS offers large, gone"):
            generator.of_model("small")

    def test_one_that_is_not_there_is_said_and_found_once_it_is(
        self, generator: RemoteGenerator, standin: StandIn
    ) -> None:
        with pytest.raises(EndpointDenied):
            generator.of_model("gone")
        standin.models["gone"] = {"max_model_len": CONTEXT}
        assert generator.of_model("gone").info.name == "gone"

    def test_nobody_waits_for_it_beyond_the_deadline(self, generator: RemoteGenerator, standin: StandIn) -> None:
        standin.stalls = True
        with pytest.raises(DeadlineExceeded):
            generator.of_model("large", time.monotonic() + 0.05)
        standin.stalls = False

    def test_its_answers_are_the_generators(self, generator: RemoteGenerator) -> None:
        events = generator.of_model("large").generate(prompt("Hello"), LONG, request_id="a")
        next(events)
        assert generator.stats().running == 1
        with pytest.raises(EngineFailed):
            generator.generate(prompt("Hello"), LONG, request_id="a")
        generator.cancel("a")
        assert collect(events)[1].reason is FinishReason.CANCELLED
        assert generator.drain(0)


def test_each_model_of_llama_cpp_is_asked_by_name(load: Load) -> None:
    standin = StandIn("llama.cpp")
    standin.models["a/large"] = {}
    generator = load(standin, openai_model=MODEL, openai_workspace_models="a/large")
    standin.asked.clear()
    generator.of_model("a/large").count(prompt("Hello"))
    standin.close()
    paths = {path for path, body in standin.asked if "model" not in body}
    assert paths == {"/v1/models", "/props?model=a%2Flarge"}
    assert {body["model"] for _, body in standin.asked if body} == {"a/large"}


def test_no_more_is_asked_at_once_than_the_batch_holds(generator: RemoteGenerator, standin: StandIn) -> None:
    answers = [generator.generate(prompt(str(i)), GREEDY, request_id=str(i)) for i in range(3 * BATCH)]
    until(lambda: standin.answering == BATCH)
    assert generator.stats().waiting >= BATCH
    for events in answers:
        assert collect(events)[1].failure is None
    assert standin.most_answering == BATCH


def test_the_usage_of_ended_answers_adds_up_in_the_stats(generator: RemoteGenerator) -> None:
    usages = [answer(generator, words)[1].usage for words in ("Hello", "one two three")]
    until(lambda: generator.stats().running == 0)
    stats = generator.stats()
    assert stats.completion_tokens == sum(usage.completion_tokens for usage in usages) > 0
    assert stats.prompt_tokens == sum(usage.prompt_tokens for usage in usages) > 0


def test_a_connection_serves_again(generator: RemoteGenerator, standin: StandIn) -> None:
    for _ in range(3):
        answer(generator, "Hello")
        generator.count(prompt("Hello"))
    assert len(standin.connections) <= 2  # the survey's, and the answers'


def test_the_key_goes_with_every_question_and_cookies_with_none(standin: StandIn, load: Load) -> None:
    standin.key = "sk-hush"
    generator = load(standin, openai_api_key="sk-hush")
    standin.faults.append(lambda wire: wire.error(503, "No.", Set_Cookie="who=you; Path=/"))
    assert answer(generator, "Hello")[1].failure is None
    generator.count(prompt("Hello"))
    assert {headers["Authorization"] for headers in standin.headers} == {"Bearer sk-hush"}
    assert not any("Cookie" in headers for headers in standin.headers)


def test_proxies_of_the_environment_are_not_used(standin: StandIn, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert answer(load(standin, openai_retry_s=0), "Hello")[1].failure is None


def test_a_bound_is_never_below_and_refuses_what_does_not_fit(load: Load) -> None:
    standin = StandIn("plain")
    generator = load(standin, max_context_tokens=CONTEXT)
    for text in ("", "Hello", "é" * 50, "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 5, "한국어"):
        assert generator.count(prompt(text)) >= counted([{"role": "user", "content": text}])
    standin.context *= 4  # it would take more, or cut it off in silence, as some do
    with pytest.raises(PromptTooLong):
        generator.generate(prompt("x" * CONTEXT), GREEDY, request_id="a")
    standin.close()


def test_nothing_that_was_said_is_kept(generator: RemoteGenerator, standin: StandIn) -> None:
    said = f"a secret of {len('letters')}"
    answer(generator, said)
    generator.count(prompt(said))
    standin.asked.clear()
    until(lambda: not [it for it in gc.get_objects() if type(it) is dict and it.get("content") == said])


def test_a_worker_that_stops_waits_for_no_count(standin: StandIn, load: Load) -> None:
    generator = load(standin)
    standin.close()  # it is tried again for half a minute
    failures: list[Exception] = []

    def count() -> None:
        try:
            generator.count(prompt("Hello"))
        except EngineFailed as error:
            failures.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    began = time.monotonic()
    generator.close()
    thread.join()
    assert failures and time.monotonic() - began < 10
    generator.close()
    with pytest.raises(EngineFailed):
        generator.count(prompt("Hello"))
