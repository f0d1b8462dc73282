"""The plain engine and transformers' manager say what transformers itself would say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from tests.workers.asking import Asked, answered_as_transformers_does
from tests.workers.conftest import build_engine
from workers.engine.loop import EngineLoop

prompts = st.lists(st.integers(3, 250), min_size=1, max_size=30).map(tuple)
asked = st.builds(Asked, prompts, st.integers(1, 12), st.integers(0, 3), st.none() | st.integers(0, 6))


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[tuple[str, int], EngineLoop]]:
    made: dict[tuple[str, int], EngineLoop] = {}
    yield made
    for engine in made.values():
        engine.close()


@pytest.mark.parametrize("kind", ["plain", "managed"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(asked, min_size=1, max_size=7))
def test_greedy_equals_transformers_under_random_arrival_and_cancellation(
    model: PreTrainedModel, engines: dict[tuple[str, int], EngineLoop], kind: str, asked: list[Asked]
) -> None:
    engine = engines.get((kind, id(model))) or build_engine(kind, model, 4)
    engines[kind, id(model)] = engine
    answered_as_transformers_does(model, engine, asked)
