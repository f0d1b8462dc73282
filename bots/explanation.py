"""Why an answer is as it is, in words: the facts, what FAQs decided, and the Prompt, for every platform.

Knows the catalogue; knows no platform.
"""

from __future__ import annotations

from bots.texts import keys, text
from core.faq.matches import DecisionView, MatchView
from core.history import Explanation
from core.values import Usage


def summary(explanation: Explanation, language: str) -> str:
    """The facts and notes as one text, for platforms that show the Prompt as a file."""
    lines = [f"**{name}**: {value}" for name, value in facts(explanation, language)]
    return "\n".join([*lines, *notes(explanation, language)])


def prompt_file(explanation: Explanation) -> tuple[str, bytes] | None:
    """The Prompt as a file, with its name: it may be longer than a message. None where no model was asked."""
    if not explanation.messages:
        return None
    return f"prompt-{explanation.turn.turn_id}.txt", "\n\n".join(prompt_lines(explanation)).encode()


def facts(explanation: Explanation, language: str) -> list[tuple[str, str]]:
    """What is known of the answer, each with its name."""
    answer = explanation.turn.answer
    assert answer is not None  # `why` raises NotFound without one
    decision = explanation.decision
    rows = {
        "why_model": f"{answer.model} @ {answer.model_revision}",
        "why_recipe": f"{explanation.recipe} {explanation.recipe_version}".strip(),
        "why_tokens": _tokens(answer.usage, language) if explanation.messages else "",
        "why_timings": ", ".join(f"{name} {ms:.0f} ms" for name, ms in answer.timings_ms.items()),
        "why_sampling": ", ".join(
            f"{name}={value}" for name, value in explanation.sampling.items() if value not in (None, [], "")
        ),
    }
    found = decided(decision, language) if decision is not None else []
    return [*((text(key, language), value) for key, value in rows.items() if value), *found]


def decided(decision: DecisionView, language: str) -> list[tuple[str, str]]:
    """What was decided from FAQs, how sure that was, and from which entries, each with its name."""
    told = decision.thresholds
    given, reason = (_word("faq", decision.outcome, language), _word("reason", decision.reason, language))
    found = [(text("why_faq", language), f"{given}: {reason}")]
    if told.get("collection"):
        values = {name: f"{told[name]:.0%}" for name in ("first", "among", "answer", "ask", "ground")}
        found += [
            (text("why_collection", language), text("why_searched", language, **told)),
            (text("why_sure", language), text("why_sure_of", language, **values)),
        ]
    if decision.matches:
        entries = (_entry(number, match, language) for number, match in enumerate(decision.matches, start=1))
        found.append((text("why_entries", language), "".join(f"\n{line}" for line in entries)))
    return found


def _word(kind: str, name: str, language: str) -> str:
    """How an outcome or a reason reads; its own name where a newer version wrote it."""
    return text(f"why_{kind}_{name}", language) if f"why_{kind}_{name}" in keys() else name


def _entry(number: int, match: MatchView, language: str) -> str:
    found = match.found
    scores = text("why_scores", language, score=f"{found.score:.2f}", words=f"{found.lexical:.2f}")
    if found.dense is not None:
        scores += text("why_score_meaning", language, meaning=f"{found.dense:.2f}")
    return f"{number}. {match.entry.question} · {found.probability:.0%} · {scores}"


def _tokens(usage: Usage, language: str) -> str:
    counts = {"prompt": usage.prompt_tokens, "cached": usage.cached_tokens, "completion": usage.completion_tokens}
    return text("why_token_counts", language, **counts)


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
