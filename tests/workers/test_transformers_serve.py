"""A worker in front of a real `transformers serve`, on the tiny checkpoint: the contract holds, and the words are those
that the model says in this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from core.values import FinishReason, TurnState
from pajama.ports import free_port
from tests.workers.generator_contract import BATCH, GREEDY, GeneratorContract, answer, collect, prompt, until
from tests.workers.test_runtime import House, Valkey
from tests.workers.tiny import CONTEXT
from workers.engine.loop import EngineLoop
from workers.generator import Generator, ModelInfo
from workers.local_generator import LocalGenerator
from workers.remote_generator import RemoteGenerator


@pytest.fixture(scope="module")
def serving(model_folder: Path) -> Iterator[str]:
    """The base URL of a `transformers serve` process."""
    port = free_port()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model_folder)]
    with subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], env=environment) as process:
        try:
            until(lambda: listens(port) or process.poll() is not None, within_s=100)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def house(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    valkey = Valkey(tmp_path_factory.mktemp("v"))
    valkey.start()
    made = House(tmp_path, valkey)
    yield made
    made.close()
    valkey.stop()


def test_a_worker_in_front_of_it_answers(house: House, serving: str, model_folder: Path) -> None:
    house.worker(
        "endpoint",
        openai_base_url=serving,
        openai_model=model_folder,
        max_context_tokens=2 * CONTEXT,
        max_new_tokens=12,
    )
    turn_id = house.say("Hello!")
    assert house.wait_for_end(turn_id) is TurnState.DONE
    answer = house.answer(turn_id)
    assert (answer.model, answer.text) == (str(model_folder), house.shown(turn_id))
    assert answer.prompt_tokens and answer.completion_tokens


class TestTransformersServe(GeneratorContract):
    """It tells no context and counts no tokens; it makes one answer after another."""

    counts_exactly = False

    def test_stats_tell_who_is_answered_and_who_waits(self, generator: Generator) -> None:
        """Its answers are over sooner than they can be counted."""
        collect(generator.generate(prompt("Hello"), GREEDY, request_id="a"))
        assert generator.stats().running + generator.stats().waiting == 0 and generator.stats().tokens_per_s > 0

    @pytest.fixture
    def generator(self, serving: str, load: Callable[..., RemoteGenerator], model_folder: Path) -> RemoteGenerator:
        return load(openai_base_url=serving, openai_model=str(model_folder), max_context_tokens=2 * CONTEXT)

    def test_it_says_what_the_model_says_in_this_process(
        self,
        generator: Generator,
        llama: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        make_engine: Callable[..., EngineLoop],
    ) -> None:
        here = LocalGenerator(
            ModelInfo("tiny", "r1", CONTEXT), tokenizer, make_engine(llama, max_batch_size=BATCH), frozenset({2})
        )
        for words in ("Hello", "one two three", "\N{GRINNING FACE}"):
            told, finished = answer(generator, words)
            expected, local = answer(here, words)
            half = "\N{REPLACEMENT CHARACTER}"  # which it does not show at the end
            assert (told.rstrip(half), finished.reason) == (expected.rstrip(half), local.reason)
            assert finished.reason is FinishReason.LENGTH
            assert finished.usage.prompt_tokens == local.usage.prompt_tokens
            assert finished.usage.completion_tokens == GREEDY.max_new_tokens
