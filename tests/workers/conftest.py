"""Models, tokenizers and engines for the tests of workers."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from core.settings import Settings
from tests.workers.asking import MakeSlots
from tests.workers.generator_contract import BATCH
from tests.workers.standin import StandIn
from tests.workers.tiny import CONTEXT, make_model, make_tokenizer
from workers.engine.batch import BatchEngine
from workers.engine.forward import ModelForward
from workers.engine.loop import EngineLoop
from workers.engine.managed import ManagedEngine
from workers.engine.slot_forward import SlotForward
from workers.engine.slots import SlotEngine
from workers.remote_generator import RemoteGenerator, load_generator


@pytest.fixture(autouse=True, scope="module")
def _plain_tracebacks() -> Iterator[None]:
    """structlog's own default draws every local variable of a traceback, tensors too, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session", params=["llama", "gpt_neox", "slimpajama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return make_model()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, llama: PreTrainedModel) -> Path:
    """A folder as `from_pretrained` reads it."""
    folder = tmp_path_factory.mktemp("model")
    llama.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["slots", "plain", "managed"])
def engine_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_engine(engine_kind: str) -> Iterator[Callable[..., EngineLoop]]:
    """Makes engines that are closed when the test ends."""
    engines: list[EngineLoop] = []

    def make(model: PreTrainedModel, max_batch_size: int = 4, context_tokens: int = CONTEXT) -> EngineLoop:
        engines.append(build_engine(engine_kind, model, max_batch_size, context_tokens))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def build_engine(kind: str, model: PreTrainedModel, max_batch_size: int, context_tokens: int = CONTEXT) -> EngineLoop:
    """An engine with room in its pool for a batch, not more."""
    if kind == "plain":
        return BatchEngine(ModelForward(model), max_batch_size=max_batch_size, context_tokens=context_tokens)
    if kind == "managed":  # it changes how its model attends, for which slots have their own way
        model = copy.deepcopy(model)
        model.set_attn_implementation("sdpa")
        gc.freeze()  # its end collects garbage twice, for which all that was ever imported would be looked at
        return ManagedEngine(model, max_batch_size=max_batch_size, context_tokens=context_tokens)
    tokens = max_batch_size * context_tokens
    return SlotEngine(
        SlotForward(model), max_batch_size=max_batch_size, context_tokens=context_tokens, kv_tokens=tokens
    )


@pytest.fixture
def make_slots(llama: PreTrainedModel) -> Iterator[MakeSlots]:
    """Makes engines on slots that are closed when the test ends."""
    engines: list[SlotEngine] = []

    def make(model: PreTrainedModel | None = None, forward: SlotForward | None = None, **options: Any) -> SlotEngine:
        forward = forward or SlotForward(model or llama)
        chosen = {"max_batch_size": 4, "context_tokens": CONTEXT, "kv_tokens": 512} | options
        engines.append(SlotEngine(forward, **chosen))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def standin() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def load() -> Iterator[Callable[..., RemoteGenerator]]:
    """Makes generators that are closed when the test ends."""
    made: list[RemoteGenerator] = []

    def load(standin: StandIn | None = None, **settings: Any) -> RemoteGenerator:
        settings = {"openai_base_url": standin.url if standin else "", "max_batch_size": BATCH} | settings
        made.append(load_generator(Settings(**settings)))
        return made[-1]

    yield load
    for generator in made:
        generator.close()
