"""Prompt in, text out: stop strings, cancellation and failures, as a task sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from core.errors import DeadlineExceeded, EngineFailed, PromptTooLong
from core.prompts import Prompt, PromptPart
from core.values import FinishReason, SamplingParams
from tests.workers.tiny import CONTEXT
from workers.engine.batch import BatchEngine
from workers.generator import Finished, ModelInfo, TextDelta
from workers.local_generator import LocalGenerator

GREEDY = SamplingParams(temperature=0, max_new_tokens=40)


@pytest.fixture
def generator(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, make_engine: Callable[..., BatchEngine]
) -> LocalGenerator:
    info = ModelInfo("tiny", "r1", CONTEXT)
    return LocalGenerator(info, tokenizer, make_engine(llama), frozenset({2}))


def prompt(text: str) -> Prompt:
    return Prompt((PromptPart("user", text),))


def collect(events: Iterator[TextDelta | Finished]) -> tuple[str, Finished]:
    """The text and the end; every delta says something, and the end comes once."""
    *deltas, finished = events
    assert isinstance(finished, Finished)
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), finished


def answer(generator: LocalGenerator, text: str, params: SamplingParams = GREEDY) -> tuple[str, Finished]:
    return collect(generator.generate(prompt(text), params, request_id=text))


def test_the_text_is_the_decoding_of_the_token_ids(
    generator: LocalGenerator, tokenizer: PreTrainedTokenizerFast
) -> None:
    text, finished = answer(generator, "Hello")
    assert text == tokenizer.decode(finished.token_ids, skip_special_tokens=True)
    assert finished.usage.prompt_tokens == generator.count(prompt("Hello"))
    assert finished.usage.completion_tokens == len(finished.token_ids) > 0
    assert finished.failure is None
    assert finished.timings.first_token_ms is not None
    assert finished.timings.first_token_ms <= finished.timings.total_ms


def test_a_stop_string_ends_the_answer_and_frees_its_slot(generator: LocalGenerator) -> None:
    text, _ = answer(generator, "Hello")
    stop = text[4:7]
    shorter, finished = answer(generator, "Hello", GREEDY.model_copy(update={"stop": (stop,)}))
    assert shorter == text[: text.index(stop)]
    assert finished.reason is FinishReason.STOP
    assert generator.drain(10)


def test_the_longest_answer_ends_with_length(generator: LocalGenerator) -> None:
    _, finished = answer(generator, "Hello", GREEDY.model_copy(update={"max_new_tokens": 2}))
    assert (finished.reason, finished.usage.completion_tokens) == (FinishReason.LENGTH, 2)


def test_a_cancelled_answer_keeps_its_text(generator: LocalGenerator) -> None:
    events = generator.generate(prompt("Hello"), GREEDY, request_id="a")
    first = next(events)
    generator.cancel("a")
    _text, finished = collect(events)
    assert isinstance(first, TextDelta)
    assert finished.reason is FinishReason.CANCELLED
    assert finished.usage.completion_tokens < 40


def test_a_reader_that_goes_away_frees_its_slot(generator: LocalGenerator) -> None:
    events = generator.generate(prompt("Hello"), GREEDY, request_id="a")
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert generator.drain(10)
    assert generator.stats().running == 0


def test_a_late_answer_says_so(generator: LocalGenerator) -> None:
    _, finished = collect(generator.generate(prompt("Hello"), GREEDY, request_id="a", deadline=time.monotonic() - 1))
    assert finished.reason is FinishReason.ERROR
    assert isinstance(finished.failure, DeadlineExceeded)


def test_what_can_never_be_answered_is_refused(generator: LocalGenerator) -> None:
    with pytest.raises(PromptTooLong):
        generator.generate(prompt("x" * 200), GREEDY, request_id="a")
    events = generator.generate(prompt("Hello"), GREEDY, request_id="b")
    with pytest.raises(EngineFailed):
        generator.generate(prompt("Hello"), GREEDY, request_id="b")
    collect(events)


def test_many_threads_get_what_each_would_get_alone(generator: LocalGenerator) -> None:
    words = [f"word {i}" for i in range(8)]
    alone = [answer(generator, word)[0] for word in words]
    together: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda word=word: together.update({word: answer(generator, word)[0]})) for word in words
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[word] for word in words] == alone


def test_forgetting_drops_the_cached_contents(generator: LocalGenerator) -> None:
    counted = generator.count(prompt("a secret"))
    generator.forget(frozenset({1}))
    assert generator._template._content_ids.cache_info().currsize == 0
    assert generator.count(prompt("a secret")) == counted
