"""The whole path beside the engine alone: queue, worker process, database, streams and a client that reads them.

Both run SlimPajama nano with random weights on the same prompts, in turns, the engine alone in this process.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel

from benchmarks.figures import Figure, median
from benchmarks.processes import environment, python
from bots.replies import watch
from core.database import upgrade
from core.presence import ready_workers
from core.prompts import Prompt, PromptPart
from core.redis import connect
from core.service import Service, open_service
from core.settings import Settings
from core.values import InboundMessage, Person, Place
from pajama.valkey import EmbeddedValkey
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.names import CHECKPOINT
from slimpajama.presets import preset
from workers.chat_template import ChatTemplate
from workers.engine.choice import make_engine
from workers.engine.request import Engine, EngineRequest, KvScope
from workers.loading import cpu_precision, set_threads
from workers.passing import in_passing_thread

_AT_ONCE, _TOKENS, _WORDS = 32, 96, 24


def whole_path(folder: Path, database_url: str, name: str, runs: int) -> Figure:
    """The rate from the message to what an adapter reads, over that of the engine."""
    upgrade(database_url)
    model, path = in_passing_thread(partial(_saved, folder / "nano"))
    with ExitStack() as stack:
        settings = Settings(
            data_dir=folder,
            database_url=database_url,
            redis_url=stack.enter_context(EmbeddedValkey(folder / f"valkey-engine-{name}")).url,
            log_level="WARNING",
            model=str(path),
            max_batch_size=_AT_ONCE,
            max_new_tokens=_TOKENS,
        )
        stack.enter_context(python("pajama", "worker", env=environment(settings)))
        client = stack.enter_context(connect(settings.redis_url))
        while not ready_workers(client, settings.redis_prefix):
            time.sleep(0.02)
        set_threads(settings.threads)
        template = ChatTemplate(AutoTokenizer.from_pretrained(path))
        context_tokens = model.config.max_position_embeddings
        make = partial(make_engine, model, max_batch_size=_AT_ONCE, context_tokens=context_tokens)
        engine = in_passing_thread(make)
        stack.callback(engine.close)
        rates = asyncio.run(_rates(settings, engine, template, runs))
    whole, alone = zip(*rates, strict=True)
    return Figure(
        f"{name}: SlimPajama nano, {_AT_ONCE} conversations, from message to adapter: rate",
        median(whole),
        "tokens/s",
        None,
        median(alone),
        "the engine alone",
        least_ratio=0.85,
        spread=(min(whole), max(whole)),
    )


def _saved(path: Path) -> tuple[PreTrainedModel, Path]:
    """Random weights, in a folder with the tokenizer of the packaged checkpoint."""
    torch.manual_seed(0)
    model: PreTrainedModel = SlimPajamaForCausalLM(preset("nano")).eval()
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(CHECKPOINT).save_pretrained(path)
    return model.to(cpu_precision(model.num_parameters())), path


async def _rates(settings: Settings, engine: Engine, template: ChatTemplate, runs: int) -> list[tuple[float, float]]:
    """Tokens a second of the whole path and of the engine alone, run by run, without the first, which warms both up."""
    found = []
    async with open_service(settings) as service:
        for run in range(-1, runs):
            messages = [_message(random.Random(f"{run} {index}")) for index in range(_AT_ONCE)]
            began = time.perf_counter()
            asked = await asyncio.gather(*(_answered(service, message) for message in messages))
            seconds = time.perf_counter() - began
            tokens = sum(answered for _, answered in asked)
            prompts = [template.encode(await _prompt(service, *pair)) for pair in zip(messages, asked, strict=True)]
            requests = _requests(settings, prompts, [answered for _, answered in asked])
            found.append((tokens / seconds, tokens / await asyncio.to_thread(_alone_s, engine, requests)))
    return found[1:]


def _message(chance: random.Random) -> InboundMessage:
    words = " ".join(chance.choice(("why", "river", "stone", "seven", "walks", "blue")) for _ in range(_WORDS))
    conversation = secrets.token_hex(8)
    return InboundMessage(
        place=Place(platform="web", workspace="benchmark", conversation=conversation),
        person=Person(id=conversation),
        event_id=secrets.token_hex(8),
        text=words,
    )


async def _answered(service: Service, message: InboundMessage) -> tuple[int, int]:
    """The Turn, and how many tokens its answer has, once it is read to its end."""
    received = await service.receive(message)
    ended = None
    async for update in watch(service, received.turn_id):
        ended = update.turn or ended
    if ended is None or ended.answer is None or not ended.answer.usage.completion_tokens:
        raise RuntimeError("A message was not answered.")
    return received.turn_id, ended.answer.usage.completion_tokens


async def _prompt(service: Service, message: InboundMessage, asked: tuple[int, int]) -> Prompt:
    """What the model was asked."""
    seen = await service.why(message.place, asked[0])
    return Prompt(tuple(PromptPart(part.role, part.text) for part in seen.messages))


def _requests(settings: Settings, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int]) -> list[EngineRequest]:
    """The same for the engine, each with as many tokens as its answer had."""
    return [
        EngineRequest(
            secrets.token_hex(8),
            prompt,
            settings.sampling.model_copy(update={"max_new_tokens": count}),
            scope=KvScope(1, index),
        )
        for index, (prompt, count) in enumerate(zip(prompts, tokens, strict=True))
    ]


def _alone_s(engine: Engine, requests: Sequence[EngineRequest]) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(requests)) as readers:
        list(readers.map(list, [engine.submit(request) for request in requests]))
    return time.perf_counter() - began
