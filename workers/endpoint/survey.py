"""Survey: what is found out of an endpoint before it answers anyone.

Which model, how many tokens it takes, how tokens are counted, whether it knows a system part. One token is asked for,
so that a wrong key or name shows at the start and not in the first person's answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from core.errors import EndpointBroken, EndpointDenied, EndpointRefused, ModelUnavailable, PromptTooLong
from core.settings import Settings, variable
from core.values import SamplingParams
from workers.endpoint.body import Fields, Message
from workers.endpoint.connection import Endpoint
from workers.endpoint.counting import Counter, LlamaCppCounter, UpperBound, VllmCounter

_SYSTEM: Message = {"role": "system", "content": "a"}
_USER: Message = {"role": "user", "content": "a"}
_ASSISTANT: Message = {"role": "assistant", "content": "a"}

# How servers name it in their list of models: vLLM and SGLang; OpenRouter and Together; Groq; Mistral.
_CONTEXT_NAMES = ("max_model_len", "context_length", "context_window", "max_context_length")
_MOST_NAMES = 10

# Where usage is not told: more than the templates known to the author add. gpt-oss and Mistral bring whole pages.
_ONCE, _EACH = 512, 16


@dataclass(frozen=True, slots=True)
class Found:
    """An endpoint's model, and how it is asked. `listed` is None where the endpoint lists no models."""

    model: str
    context_tokens: int
    counter: Counter
    fields: Fields
    system_in_user: bool
    listed: bool | None

    def check(self, messages: list[Message], params: SamplingParams) -> None:
        """Raise PromptTooLong where that can be told without asking.

        Where it cannot be counted, the endpoint may cut a prompt that is too long in silence, as Ollama does.
        """
        limit = self.context_tokens - params.max_new_tokens
        if isinstance(self.counter, UpperBound) and (tokens := self.counter.bound(messages)) > limit:
            raise PromptTooLong(tokens, max(0, limit))


async def survey(endpoint: Endpoint, settings: Settings, model: str = "") -> Found:
    """Ask the endpoint for all of it, of `model` or of the one that the settings name.

    Raises ModelUnavailable and EngineFailed in words for an operator.
    """
    models = await _models(endpoint)
    model = model or settings.openai_model or _only(models, endpoint)
    counter = await _counter(endpoint, model)
    fields = counter.fields() if counter is not None else Fields()
    both, system_in_user = await _both(endpoint, model, fields)
    if counter is None:
        counter = await _bound(endpoint, model, fields, both)
    told = await _context_tokens(endpoint, model, (models or {}).get(model, {}), counter)
    return Found(
        model=model,
        context_tokens=_allowed(settings.max_context_tokens, told, endpoint, model),
        counter=counter,
        fields=fields,
        system_in_user=system_in_user,
        listed=None if models is None else model in models,
    )


async def _models(endpoint: Endpoint) -> dict[str, dict[str, Any]] | None:
    """What the endpoint lists, by name; None where it has no such list."""
    try:
        listed = await endpoint.get(f"{endpoint.base_url}/models")
    except (EndpointRefused, EndpointBroken):
        return None
    except EndpointDenied as error:
        if error.status != 404:
            raise
        return None
    entries = listed.get("data") if isinstance(listed, dict) else None
    entries = entries if isinstance(entries, list) else []
    return {entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}


def _only(models: dict[str, dict[str, Any]] | None, endpoint: Endpoint) -> str:
    if models and len(models) == 1:
        return next(iter(models))
    names = ", ".join(list(models)[:_MOST_NAMES]) if models else "none"
    raise ModelUnavailable(f"{endpoint.base_url} lists {names}: set {variable('openai_model')} to the one to ask.")


async def _counter(endpoint: Endpoint, model: str) -> Counter | None:
    """The way to count that the endpoint knows, if any."""
    for counter in (VllmCounter(model), LlamaCppCounter(model)):
        try:
            await counter.count(endpoint, [_USER])
        except (EndpointRefused, EndpointBroken, EndpointDenied):
            continue
        return counter
    return None


async def _both(endpoint: Endpoint, model: str, fields: Fields) -> tuple[int, bool]:
    """(the prompt's tokens with a system part, whether that has to stand in the person's)."""
    try:
        return await _prompt_tokens(endpoint, model, fields, [_SYSTEM, _USER]), False
    except (EndpointRefused, EndpointBroken):  # templates that know no system part raise, as 400 or as 500
        return await _prompt_tokens(endpoint, model, fields, [_USER]), True


async def _bound(endpoint: Endpoint, model: str, fields: Fields, both: int) -> UpperBound:
    """An UpperBound with what this model's template adds, told by the endpoint's own usage where it tells any."""
    one = await _prompt_tokens(endpoint, model, fields, [_USER])
    three = await _prompt_tokens(endpoint, model, fields, [_USER, _ASSISTANT, _USER])
    if not one or three < one:
        return UpperBound(_ONCE, _EACH)
    return UpperBound(max(one, both), three - one)


async def _prompt_tokens(endpoint: Endpoint, model: str, fields: Fields, messages: list[Message]) -> int:
    """The prompt's tokens by the usage of an answer of one token; 0 where none is told."""
    url = f"{endpoint.base_url}/chat/completions"
    told = await fields.adapted(fields.probe(model, messages), lambda body: endpoint.post(url, body))
    if not isinstance(told, dict) or not isinstance(told.get("choices"), list):
        raise EndpointBroken(f"{url} does not answer as an OpenAI-compatible endpoint.")
    usage = told.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


async def _context_tokens(endpoint: Endpoint, model: str, entry: dict[str, Any], counter: Counter) -> int:
    """How many tokens prompt and answer may have together, as the endpoint tells; 0 where it does not."""
    found = next((value for name in _CONTEXT_NAMES if isinstance(value := entry.get(name), int) and value > 0), 0)
    if found or not isinstance(counter, LlamaCppCounter):
        return found
    try:
        props = await endpoint.get(f"{endpoint.root_url}/props?{urlencode({'model': model})}")
        tokens = props["default_generation_settings"]["n_ctx"]
    except (EndpointRefused, EndpointBroken, EndpointDenied, TypeError, LookupError):
        return 0
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


def _allowed(wanted: int, told: int, endpoint: Endpoint, model: str) -> int:
    if not wanted and not told:
        raise ModelUnavailable(
            f"{endpoint.base_url} does not tell how many tokens {model} takes: set {variable('max_context_tokens')}."
        )
    return min(wanted, told) if wanted and told else wanted or told
