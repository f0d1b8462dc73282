"""Why an answer is as it is, in words: the facts and the Prompt, for every platform that shows text.

Knows the catalogue; knows no platform.
"""

from __future__ import annotations

from bots.texts import text
from core.history import Explanation


def summary(explanation: Explanation, language: str) -> str:
    """The facts and notes as one text, for platforms that show the Prompt as a file."""
    lines = [f"**{name}**: {value}" for name, value in facts(explanation, language)]
    return "\n".join([*lines, *notes(explanation, language)])


def prompt_file(explanation: Explanation) -> tuple[str, bytes]:
    """The Prompt as a file, with its name: it may be longer than a message."""
    return f"prompt-{explanation.turn.turn_id}.txt", "\n\n".join(prompt_lines(explanation)).encode()


def facts(explanation: Explanation, language: str) -> list[tuple[str, str]]:
    """What is known of the answer, each with its name."""
    answer = explanation.turn.answer
    assert answer is not None  # `why` raises NotFound without one
    usage = answer.usage
    counts = text(
        "why_token_counts",
        language,
        prompt=usage.prompt_tokens,
        cached=usage.cached_tokens,
        completion=usage.completion_tokens,
    )
    rows = {
        "why_model": f"{answer.model} @ {answer.model_revision}",
        "why_recipe": f"{explanation.recipe} {explanation.recipe_version}",
        "why_tokens": counts,
        "why_timings": ", ".join(f"{name} {ms:.0f} ms" for name, ms in answer.timings_ms.items()),
        "why_sampling": ", ".join(
            f"{name}={value}" for name, value in explanation.sampling.items() if value not in (None, [], "")
        ),
    }
    return [(text(key, language), value) for key, value in rows.items()]


def notes(explanation: Explanation, language: str) -> list[str]:
    """What the Prompt does not show."""
    told = [text("why_left_out", language, count=explanation.left_out)] if explanation.left_out else []
    if explanation.turn.purged:
        told.append(text("why_purged", language))
    elif not explanation.exact:
        told.append(text("why_inexact", language))
    return told


def prompt_lines(explanation: Explanation) -> list[str]:
    """The Prompt, message by message."""
    return [f"[{message.role}] {message.text}" for message in explanation.messages]
