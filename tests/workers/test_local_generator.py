"""A model in this process: the Generators' contract, and what only it promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tests.workers.generator_contract import BATCH, GeneratorContract, answer, prompt
from tests.workers.tiny import CONTEXT
from workers.engine.loop import EngineLoop
from workers.generator import ModelInfo
from workers.local_generator import LocalGenerator


@pytest.fixture
def generator(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, make_engine: Callable[..., EngineLoop]
) -> LocalGenerator:
    info = ModelInfo("tiny", "r1", CONTEXT)
    return LocalGenerator(info, tokenizer, make_engine(llama, max_batch_size=BATCH), frozenset({2}))


class TestLocalGenerator(GeneratorContract):
    """The contract, on a tiny real checkpoint."""

    def test_the_text_is_the_decoding_of_the_token_ids(
        self, generator: LocalGenerator, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        text, finished = answer(generator, "Hello")
        assert text == tokenizer.decode(finished.token_ids, skip_special_tokens=True)
        assert finished.usage.completion_tokens == len(finished.token_ids) > 0

    def test_forgetting_drops_the_cached_contents(self, generator: LocalGenerator) -> None:
        generator.count(prompt("a secret"))
        generator.forget(frozenset({1}))
        assert generator._template._content_ids.cache_info().currsize == 0
