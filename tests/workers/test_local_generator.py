"""A model in this process: the Generators' contract, and what only it promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from core.errors import ModelUnavailable
from core.prompts import Prompt, PromptPart
from tests.workers.generator_contract import BATCH, GREEDY, GeneratorContract, answer, collect, prompt
from tests.workers.tiny import CONTEXT
from workers.engine.loop import EngineLoop
from workers.generator import KvScope, ModelInfo
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

    def test_the_next_turn_reads_nothing_again(self, generator: LocalGenerator, engine_kind: str) -> None:
        scope, short = KvScope(1, 1), GREEDY.model_copy(update={"max_new_tokens": 12})
        text, first = collect(generator.generate(prompt("Hi"), short, request_id="a", scope=scope))
        history = (PromptPart("user", "Hi"), PromptPart("assistant", text, first.token_ids), PromptPart("user", "So?"))
        _, second = collect(generator.generate(Prompt(history), short, request_id="b", scope=scope))
        said = first.usage.prompt_tokens + len(first.token_ids)
        expected = said - 1 if engine_kind == "slots" else 0  # the answer's last token was made but never read
        assert second.usage.cached_tokens == expected

    def test_it_has_one_model_and_says_so(self, generator: LocalGenerator) -> None:
        assert generator.of_model("tiny") is generator
        with pytest.raises(ModelUnavailable, match="has tiny and no other model: 'large'"):
            generator.of_model("large")

    def test_forgetting_drops_the_cached_contents(self, generator: LocalGenerator) -> None:
        generator.count(prompt("a secret"))
        generator.forget(frozenset({1}))
        assert generator._template._content_ids.cache_info().currsize == 0
