"""The evaluation of a checkpoint: every figure beside those of the baselines, and answers for the eye.

Knows the order of the measures and how they are put in a table. How each is counted is in `bits` and `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slimpajama.evaluation import baselines, held_out
from slimpajama.evaluation.bits import bits_per_byte, texts
from slimpajama.evaluation.held_out import Asked, Messages
from slimpajama.evaluation.scores import chrf, exact, f1, refuses
from slimpajama.evaluation.speaker import Done, Speaker

ANSWER_TOKENS = 48
TALK_TOKENS = 60
BYTES_A_ROW = 1500
"""How much held-out text stands for a row of a limit."""
BASELINES = ("BM25", "first", "TF-IDF")

Progress = Callable[[str, int, int], None]
"""Told what is measured, how many of it are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure on one set: of the model, and of the baselines that there are for it."""

    task: str
    measured: str
    unit: str
    rows: int
    model: float
    baselines: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured. `too_long` counts questions that left no room for an answer: they count as wrong."""

    checkpoint: str
    parameters: int
    limit: int | None
    too_long: int
    figures: tuple[Figure, ...]
    talk: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        talk = [{"prompt": prompt, "answer": answer} for prompt, answer in self.talk]
        return {**asdict(self), "figures": [asdict(each) for each in self.figures], "talk": talk}

    def table(self) -> list[str]:
        """Lines of a Markdown table."""
        lines = [f"| task | measure | n | model | {' | '.join(BASELINES)} |", "|---|---|---:|---:" + "|---:" * 3 + "|"]
        for each in self.figures:
            digits = 3 if each.unit == "bits" else 1
            shown = [each.model, *(each.baselines.get(name) for name in BASELINES)]
            cells = " | ".join("" if value is None else f"{value:.{digits}f}" for value in shown)
            lines.append(f"| {each.task} | {each.measured} | {each.rows:,} | {cells} |")
        return lines


def evaluate(speaker: Speaker, name: str, data: Path, limit: int | None, progress: Progress) -> Report:
    """Measure everything, at most `limit` rows of each set. Raises DataError where a file is not there or not whole."""
    too_long: list[Asked] = []
    figures = [
        *_bits(speaker, data, limit, progress),
        *_grounded(speaker, data, limit, progress, too_long),
        *_translations(speaker, data, limit, progress),
        *_intents(speaker, data, limit, progress),
    ]
    asked = held_out.prompts()
    talked = _counted(progress, "talk", len(asked))
    said = speaker.answers([_user(prompt) for prompt in asked], TALK_TOKENS, talked)
    talk = tuple(zip(asked, said, strict=True))
    return Report(name, speaker.model.num_parameters(), limit, len(too_long), tuple(figures), talk)


def _bits(speaker: Speaker, data: Path, limit: int | None, progress: Progress) -> Iterator[Figure]:
    for language in ("en", "zh"):
        path = data / "pretrain" / f"heldout-{language}.jsonl.zst"
        documents = list(texts(path, limit and limit * BYTES_A_ROW))
        progress(f"text {language}", 0, 1)
        measured = bits_per_byte(speaker.model, speaker.tokenizer, documents)
        progress(f"text {language}", 1, 1)
        yield Figure(f"text {language}", "bits per byte", "bits", len(documents), measured.value)


def _grounded(
    speaker: Speaker, data: Path, limit: int | None, progress: Progress, too_long: list[Asked]
) -> Iterator[Figure]:
    for name in held_out.GROUNDED:
        task = f"grounded {name}"
        asked = held_out.grounded(data, name, limit)
        too_long += [each for each in asked if not speaker.fits(each.messages, ANSWER_TOKENS)]
        questions = [each.messages for each in asked]
        said = {
            "model": speaker.answers(questions, ANSWER_TOKENS, _counted(progress, task, len(asked))),
            "BM25": [baselines.best(each) for each in questions],
            "first": [baselines.first(each) for each in questions],
        }
        yield from _answered(task, asked, said)


def _answered(task: str, asked: Sequence[Asked], said: dict[str, list[str]]) -> Iterator[Figure]:
    """EM, F1 and refusals of what can be answered; answers to what cannot."""
    answerable = [i for i, each in enumerate(asked) if not each.unanswerable]
    unanswerable = [i for i, each in enumerate(asked) if each.unanswerable]
    measures: dict[str, tuple[list[int], Callable[[Asked, str], float]]] = {
        "exact %": (answerable, lambda each, answer: exact(answer, each.accepted)),
        "F1 %": (answerable, lambda each, answer: f1(answer, each.accepted)),
        "refused, but answerable %": (answerable, lambda _, answer: float(refuses(answer))),
        "answered, but unanswerable %": (unanswerable, lambda _, answer: float(not refuses(answer))),
    }
    for measured, (rows, score) in measures.items():
        if rows:
            found = {name: _mean([score(asked[i], texts[i]) for i in rows]) for name, texts in said.items()}
            yield Figure(task, measured, "%", len(rows), found.pop("model"), found)


def _translations(speaker: Speaker, data: Path, limit: int | None, progress: Progress) -> Iterator[Figure]:
    for direction in held_out.TRANSLATED:
        asked = held_out.translations(data, direction, limit)
        sentences, accepted = [each.messages for each in asked], [each.accepted for each in asked]
        task = f"translate {direction.replace('_', '→')}"
        said = speaker.answers(sentences, ANSWER_TOKENS, _counted(progress, task, len(asked)))
        copied = chrf([baselines.untranslated(each) for each in sentences], accepted)
        yield Figure(task, "chrF2", "chrF", len(asked), chrf(said, accepted), {"first": copied})


def _intents(speaker: Speaker, data: Path, limit: int | None, progress: Progress) -> Iterator[Figure]:
    for name in held_out.INTENTS:
        found = held_out.intents(data, name, limit)
        task, choices = f"intent {name}", found.choices
        count = _counted(progress, task, len(choices))
        chosen = []
        for choice in choices:
            chosen.append(speaker.likeliest(choice.messages, choice.labels))
            count(1)
        right = {"model": chosen, "TF-IDF": baselines.classified(found)}
        shares = {
            each: _mean([float(c.right == pick) for c, pick in zip(choices, picks, strict=True)])
            for each, picks in right.items()
        }
        yield Figure(task, f"accuracy of {held_out.CHOICES} %", "%", len(choices), shares.pop("model"), shares)


def _mean(scores: Sequence[float]) -> float:
    return 100 * sum(scores) / len(scores)


def _user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def _counted(progress: Progress, task: str, total: int) -> Done:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(task, done, total)

    return count
