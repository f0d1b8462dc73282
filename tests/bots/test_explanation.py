"""Why an answer is as it is, where a FAQ had a part in it: entries, scores, thresholds and the decision, in words."""

from __future__ import annotations

import dataclasses

import pytest

from bots import commands
from bots.commands import Asker, Explained
from bots.delivery import deliver
from bots.explanation import decided, prompt_file, summary
from bots.texts import LANGUAGES, keys, text
from core.faq.calibration import default
from core.faq.decision import decide
from core.faq.finding import Given
from core.faq.grounding import Problem
from core.faq.matches import DecisionView
from core.history import Explanation
from core.service import Service
from tests.bots.asking import PERSON, ask, place
from tests.bots.channel import Channel, ChannelSink
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import ScriptedWorker

REASONS = {
    "sure", "same_words", "between_entries", "near", "not_near_enough", "too_far", "nothing_found", "no_collection",
    "switched_off", *Problem,
}  # fmt: skip


async def why(service: Service, worker: ScriptedWorker, asked: str, typed: str = "") -> Explanation:
    worker.know(HOURS, PARKING)
    asker = Asker(place=place(), person=PERSON, event_id="e")
    said = await commands.handle(service, typed, asker) if typed else None
    turn = said.turn if isinstance(said, commands.Answering) else await ask(service, asked, event_id="asked")
    await deliver(service, turn, ChannelSink(Channel()))
    outcome = await commands.handle(service, "/why", asker)
    assert isinstance(outcome, Explained)
    return outcome.explanation


async def test_a_curated_answer_tells_its_entry_how_sure_that_was_and_what_it_took(
    service: Service, worker: ScriptedWorker
) -> None:
    explanation = await why(service, worker, "when are you open")
    told = summary(explanation, "en")
    assert f"{text('why_faq_answer')}: {text('why_reason_same_words')}" in told
    assert "shop, revision 1 (words-trained; thresholds: default)" in told
    assert "the first entry 100%, one of the first three 100%; it takes 95% to answer, 70% to ask back" in told
    assert f"\n1. {HOURS.question} · 100% · score " in told


async def test_where_nothing_was_found_that_is_told_in_the_persons_language(
    service: Service, worker: ScriptedWorker
) -> None:
    explanation = await why(service, worker, "", "/faq zzz")
    assert f"{text('why_faq_abstain', 'zh-CN')}: {text('why_reason_nothing_found', 'zh-CN')}" in summary(
        explanation, "zh-CN"
    )


async def test_the_entries_that_were_offered_are_told_with_their_scores(
    service: Service, worker: ScriptedWorker
) -> None:
    explanation = await why(service, worker, BOTH)
    rows = dict(decided(explanation.decision, "en")) if explanation.decision else {}
    lines = rows[text("why_entries")].strip().splitlines()
    assert {line.partition(". ")[2].partition(" · ")[0] for line in lines} == {HOURS.question, PARKING.question}


@pytest.mark.parametrize("language", [code for code, _ in LANGUAGES])
def test_every_outcome_and_reason_is_worded(language: str) -> None:
    assert {f"why_faq_{given}" for given in Given} | {f"why_reason_{reason}" for reason in REASONS} <= keys()
    assert decide((), default("words-nearest")).reason in REASONS
    view = DecisionView(1, "answer", "from_the_future", {}, None, ())
    assert "from_the_future" in decided(view, language)[0][1]


async def test_a_meaning_is_told_where_there_is_an_embedder(service: Service, worker: ScriptedWorker) -> None:
    explanation = await why(service, worker, "when are you open")
    assert explanation.decision is not None
    match = explanation.decision.matches[0]
    dense = dataclasses.replace(match, found=dataclasses.replace(match.found, dense=0.875))
    decision = dataclasses.replace(explanation.decision, matches=(dense,))
    assert "meaning 0.88" in dict(decided(decision, "en"))[text("why_entries")]


async def test_no_prompt_is_shown_where_no_model_was_asked(service: Service, worker: ScriptedWorker) -> None:
    explanation = dataclasses.replace(await why(service, worker, "when are you open"), messages=())
    assert prompt_file(explanation) is None
    assert text("why_tokens") not in summary(explanation, "en")
