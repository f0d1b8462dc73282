"""Answers: what people are shown of an ended Turn's answer, where a FAQ had a part in it.

Its words with what they are from, questions to choose from, or an honest "I do not know". One copy for all platforms;
knows the catalogue and no platform.
"""

from __future__ import annotations

from bots.texts import text
from core.faq.finding import Choice, Finding, Given
from core.history import TurnView

_UNKNOWN = {"no_collection": "faq_none", "switched_off": "faq_off"}


def shown(turn: TurnView) -> str:
    """The whole answer, in the language of the question."""
    answer = turn.answer
    if answer is None:
        return ""
    finding = finding_of(turn)
    if finding is None:
        return answer.text
    parts = (lead(finding, answer.text, turn.language), answer.text, _below(finding, turn.language))
    return "\n\n".join(part for part in parts if part)


def finding_of(turn: TurnView) -> Finding | None:
    """What a FAQ gave; None where none was asked, or the words are not kept any more."""
    return turn.answer.finding if turn.answer is not None and not turn.purged else None


def choices_of(turn: TurnView) -> tuple[Choice, ...]:
    """What the person may choose from."""
    finding = finding_of(turn)
    return finding.choices if finding is not None else ()


def lead(finding: Finding, words: str, language: str) -> str:
    """The sentence above the answer `words`; empty where it stands for itself."""
    match finding.outcome:
        case Given.ASK:
            return text("faq_which", language)
        case Given.PASSAGE:
            return text("faq_maybe", language)
        case Given.ABSTAIN if not words:
            offer = [text("faq_offers_human", language)] if finding.human else []
            return " ".join([text(_UNKNOWN.get(finding.reason, "faq_unknown"), language), *offer])
        case _:
            return ""


def label(number: int, choice: Choice, most: int) -> str:
    """What stands on a choice's button, in at most `most` characters."""
    whole = f"{number}. {choice.question}"
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def sources(finding: Finding, language: str) -> list[str]:
    """What the answer is from, a line each: under its number, where the answer's text cites several."""
    if finding.outcome is Given.GROUNDED:
        return [f"[{citation.n}] {citation.question}" for citation in finding.citations]
    return [text("faq_source", language, question=citation.question) for citation in finding.citations]


def _below(finding: Finding, language: str) -> str:
    offered = [f"{number}. {choice.question}" for number, choice in enumerate(finding.choices, start=1)]
    head = [text("faq_sources", language)] if finding.outcome is Given.GROUNDED else []
    return "\n".join([*offered, *head, *sources(finding, language)])
