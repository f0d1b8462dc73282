"""Prompt assembly: the order, the cut, the budget and the prefix that a turn shares with the one before."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import recipes
from core.errors import NotFound, PromptTooLong
from core.prompts import (
    Answer,
    Assembled,
    Prompt,
    PromptPart,
    PromptRecord,
    PromptRequest,
    Speech,
    assemble,
    render_again,
    speaker_name,
    version_of,
)
from core.recipes import Passage

CHAT = recipes.load("chat")


def tokens_of(prompt: Prompt) -> int:
    """Count like a chat template: some tokens a part, and fewer for long text than the sum of its pieces."""
    return 2 + sum(4 + ceil(len(part.text) / 3) for part in prompt.parts)


@dataclass
class Counter:
    """Counts tokens, and how often it was asked."""

    calls: int = 0

    def __call__(self, prompt: Prompt) -> int:
        self.calls += 1
        return tokens_of(prompt)


def turn(seq: int, text: str | None = None, answer: str | None = "yes", **more: object) -> Speech:
    """Return an answered Turn; `answer=None` for one that failed."""
    given = None if answer is None else Answer(generation_id=1000 + seq, text=answer, token_ids=(seq, seq + 1))
    said = f"question {seq}" if text is None else text
    return replace(Speech(seq=seq, message_id=100 + seq, revision=1, text=said, answer=given), **more)  # type: ignore[arg-type]


def ask(text: str, *history: Speech, budget: int = 10_000, **more: object) -> PromptRequest:
    """Return the request for a new message after `history`."""
    seq = history[-1].seq + 1 if history else 1
    request = PromptRequest(recipe=CHAT, newest=turn(seq, text, None), budget=budget, history=history)
    return replace(request, **more)  # type: ignore[arg-type]


def shape(prompt: Prompt) -> list[tuple[str, str]]:
    return [(part.role, part.text) for part in prompt.parts]


def test_order_is_system_then_history_then_passages_then_the_new_message() -> None:
    passage = Passage("faq:1@1", "Until ten.", "When are you open?")
    prompt = assemble(ask("And today?", turn(1, "Hi", "Hello"), persona="You are Pip.", passages=(passage,)), tokens_of)
    assert shape(prompt.prompt) == [
        ("system", "You are Pip."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "[1] When are you open? Until ten.\n\nAnd today?"),
    ]


def test_no_persona_is_no_system_part() -> None:
    assert shape(assemble(ask("Hi"), tokens_of).prompt) == [("user", "Hi")]


def test_passages_of_a_past_turn_are_gone_and_its_words_stay() -> None:
    history = turn(1, "When?", "At ten.")
    assert shape(assemble(ask("Why?", history), tokens_of).prompt)[0] == ("user", "When?")


def test_answers_keep_their_token_ids() -> None:
    parts = assemble(ask("Hi", turn(1), turn(2)), tokens_of).prompt.parts
    assert [part.token_ids for part in parts] == [None, (1, 2), None, (2, 3), None]


def test_messages_without_an_answer_are_joined_so_that_roles_alternate() -> None:
    context = Speech(seq=3, message_id=9, revision=1, text="by the way")
    history = (turn(1, "a", "b"), turn(2, "failed", None), turn(3, "empty", ""), context)
    assert shape(assemble(ask("now", *history), tokens_of).prompt) == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "failed\n\nempty\n\nby the way\n\nnow"),
    ]


def test_in_a_shared_conversation_messages_carry_their_speakers_names() -> None:
    history = (turn(1, "Hi", "Hello", speaker="Ann: admin\n"), turn(2, "Yo", "Hey", speaker=None))
    newest = turn(3, "Bye", None, speaker="小明")
    prompt = assemble(ask("", *history, newest=newest, shared=True), tokens_of).prompt
    assert [text for role, text in shape(prompt) if role == "user"] == ["Ann admin: Hi", "Yo", "小明: Bye"]
    alone = assemble(ask("", *history, newest=newest), tokens_of).prompt
    assert [text for role, text in shape(alone) if role == "user"] == ["Hi", "Yo", "Bye"]


@given(st.text())
def test_a_speaker_name_is_one_short_line_without_colons(name: str) -> None:
    safe = speaker_name(name)
    assert safe == speaker_name(safe)
    assert len(safe) <= 40
    assert safe.splitlines() in ([safe], [])
    assert not set(safe) & set(":：\u202e\u2028")


def test_a_one_shot_recipe_shows_no_history_and_leaves_the_cut_alone() -> None:
    request = ask("bonjour", turn(1), turn(2), recipe=recipes.load("translate"), arguments={"to": "en"}, cut_seq=2)
    assembled = assemble(request, tokens_of)
    assert shape(assembled.prompt) == [("user", "Translate into English: bonjour")]
    assert (assembled.cut_seq, assembled.left_out, assembled.record.history) == (2, 2, ())


def test_a_purged_turn_is_left_out_with_its_answer() -> None:
    assembled = assemble(ask("c", turn(1, "a"), replace(turn(2), text=None)), tokens_of)
    assert shape(assembled.prompt) == [("user", "a"), ("assistant", "yes"), ("user", "c")]
    assert [reference.message_id for reference in assembled.record.history] == [101]
    assert assembled.left_out == 0


def test_a_purged_newest_message_has_no_prompt() -> None:
    with pytest.raises(NotFound):
        assemble(ask("", newest=Speech(seq=1, message_id=1, revision=2, text=None)), tokens_of)


def test_what_stands_before_the_cut_is_not_shown() -> None:
    assembled = assemble(ask("d", turn(1), turn(2), turn(3), cut_seq=3), tokens_of)
    assert [text for role, text in shape(assembled.prompt) if role == "user"] == ["question 3", "d"]
    assert (assembled.cut_seq, assembled.left_out) == (3, 2)


def test_a_message_that_does_not_fit_is_refused_with_its_limit() -> None:
    for history in ((), (turn(1), turn(2))):
        with pytest.raises(PromptTooLong) as caught:
            assemble(ask("x" * 600, *history, budget=100), tokens_of)
        assert (caught.value.tokens, caught.value.limit) == (206, 100)


def test_a_message_that_just_fits_is_answered_without_its_history() -> None:
    request = ask("x" * 282, turn(1), turn(2), budget=100)
    assembled = assemble(request, tokens_of)
    assert shape(assembled.prompt) == [("user", "x" * 282)]
    assert (assembled.prompt_tokens, assembled.cut_seq, assembled.left_out) == (100, 3, 2)
    with pytest.raises(PromptTooLong):
        assemble(replace(request, budget=99), tokens_of)


def test_the_cut_moves_to_half_of_the_room_only_when_the_budget_overflows() -> None:
    history = [turn(seq, "x" * 30, "y" * 30) for seq in range(1, 11)]  # 28 tokens a turn
    request = ask("now", *history, budget=2 + 5 + 280)
    whole = assemble(request, tokens_of)
    assert (whole.prompt_tokens, whole.cut_seq, whole.left_out) == (287, 0, 0)
    cut = assemble(replace(request, budget=286), tokens_of)
    assert (cut.prompt_tokens, cut.cut_seq, cut.left_out) == (2 + 5 + 4 * 28, 7, 6)


def test_a_turn_and_the_messages_read_after_it_are_cut_together() -> None:
    aside = [Speech(seq=seq, message_id=seq, revision=1, text="aside") for seq in range(20)]
    history = [said for seq in range(1, 20) for said in (turn(seq), aside[seq])]
    assembled = assemble(ask("now", aside[0], *history, budget=200), tokens_of)
    assert assembled.cut_seq > 0
    assert assembled.record.history[0].message_id == 100 + assembled.cut_seq
    assert assembled.left_out == len(history) + 1 - len(assembled.record.history)


def test_tokens_are_counted_once_where_all_fits_and_rarely_where_not() -> None:
    history = [turn(seq) for seq in range(1, 201)]
    for budget, limit in ((10**6, 1), (900, 2 + ceil(log2(200)))):
        counter = Counter()
        assemble(ask("now", *history, budget=budget), counter)
        assert counter.calls <= limit


def test_the_record_holds_references_and_no_words() -> None:
    assembled = assemble(ask("secret", turn(1, "private", "hidden"), persona="You are Pip."), tokens_of)
    stored = assembled.record.model_dump_json()
    assert not any(word in stored for word in ("secret", "private", "hidden", "Pip"))
    assert PromptRecord.model_validate_json(stored) == assembled.record
    assert assembled.record.recipe_version == CHAT.version
    assert assembled.record.persona_version == version_of("You are Pip.")
    assert assembled.record.history == ((101, 1, 1001),)
    assert assembled.record.newest == (102, 1, None)


def test_assembling_two_hundred_turns_takes_about_a_millisecond() -> None:
    history = [turn(seq, "x" * 100, "y" * 300) for seq in range(1, 201)]
    request = ask("now", *history, persona="You are Pip.", budget=10**9)
    spent = []
    for _ in range(20):
        started = time.perf_counter()
        assemble(request, lambda prompt: len(prompt.parts))
        spent.append(time.perf_counter() - started)
    assert min(spent) < 0.01  # ten times the measured value: this guards against quadratic work


# A conversation as it goes on, turn after turn.


@dataclass
class Step:
    """What happens in one turn of a simulated conversation."""

    text: str
    answer: str | None
    recipe: str = "chat"
    passage: str | None = None
    aside: str | None = None
    persona: str = ""


@dataclass
class Talk:
    """A Conversation that keeps its history and its cut, as the database does."""

    budget: int
    history: list[Speech] = field(default_factory=list)
    cut_seq: int = 0

    def take(self, step: Step) -> tuple[PromptRequest, Assembled]:
        seq = max((speech.seq for speech in self.history), default=0) + 1
        if step.aside is not None:
            self.history.append(Speech(seq=seq - 1, message_id=5000 + seq, revision=1, text=step.aside, speaker="Bo"))
        passages = () if step.passage is None else (Passage("p:1@1", step.passage),)
        newest = turn(seq, step.text, None, speaker="Ann")
        request = ask("", *self.history, recipe=recipes.load(step.recipe), newest=newest, passages=passages)
        request = replace(request, persona=step.persona, budget=self.budget, cut_seq=self.cut_seq, shared=True)
        assembled = assemble(request, tokens_of)
        self.cut_seq = assembled.cut_seq
        self.history.append(turn(seq, step.text, step.answer, speaker="Ann"))
        return request, assembled


words = st.text("abc 中", min_size=1, max_size=90).map(lambda text: f"<{text}>")
steps = st.builds(
    Step,
    text=words,
    answer=st.none() | words,
    recipe=st.sampled_from(["chat", "chat", "chat", "faq", "translate"]),
    passage=st.none() | words,
    aside=st.none() | words,
    persona=st.sampled_from(["", "You are Pip."]),
)


@given(st.lists(steps, min_size=2, max_size=25), st.integers(150, 900))
def test_every_prompt_fits_is_whole_at_both_ends_and_can_be_rendered_again(talk: list[Step], budget: int) -> None:
    conversation = Talk(budget)
    cut_seq = 0
    for step in talk:
        request, assembled = conversation.take(step)
        parts = assembled.prompt.parts
        assert assembled.prompt_tokens == tokens_of(assembled.prompt) <= budget
        assert parts[-1].role == "user" and parts[-1].text.endswith(step.text)
        assert (parts[0] == PromptPart("system", step.persona)) is bool(step.persona)
        roles = [part.role for part in parts if part.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert assembled.cut_seq >= cut_seq
        cut_seq = assembled.cut_seq
        assert_record_leads_back(request, assembled)


def assert_record_leads_back(request: PromptRequest, assembled: Assembled) -> None:
    """The record names what is shown, in order, whole from the cut on, and renders to the same Prompt."""
    record = PromptRecord.model_validate_json(assembled.record.model_dump_json())
    by_id = {speech.message_id: speech for speech in request.history}
    shown = [by_id[reference.message_id] for reference in record.history]
    expected = [s for s in request.history if s.seq >= record.cut_seq] if request.recipe.history else []
    assert shown == expected
    assert record.left_out == len(request.history) - len(shown)
    again = render_again(
        record,
        request.recipe,
        newest=request.newest,
        history=shown,
        passages=request.passages,
        persona=request.persona,
    )
    assert again == assembled.prompt


@given(st.lists(steps, min_size=2, max_size=25), st.integers(150, 900))
def test_a_prompt_starts_with_the_prompt_and_answer_before_unless_the_cut_moved(talk: list[Step], budget: int) -> None:
    conversation = Talk(budget)
    before: tuple[Step, Assembled] | None = None
    for step in talk:
        step = replace(step, persona="You are Pip.")
        cut_seq = conversation.cut_seq
        request, now = conversation.take(step)
        if not request.recipe.history:
            continue  # a one-shot turn shares nothing; the turn after it goes on from the one before it
        if before is not None and now.cut_seq == cut_seq == before[1].cut_seq:
            assert_prefix_holds(*before, now)
        before = step, now


def assert_prefix_holds(step: Step, before: Assembled, now: Assembled) -> None:
    """All of the prompt before and its answer where it was plain chat; else all up to its last part."""
    parts = before.prompt.parts
    plain = step.recipe == "chat" and step.passage is None
    if plain and step.answer is not None:
        assert now.prompt.parts[: len(parts)] == parts
        assert now.prompt.parts[len(parts)].text == step.answer
        assert now.prompt.parts[len(parts)].token_ids
    else:
        assert now.prompt.parts[: len(parts) - 1] == parts[:-1]
    if plain:
        assert now.prompt.parts[len(parts) - 1].text.startswith(parts[-1].text)


def test_over_two_hundred_turns_the_cut_moves_rarely() -> None:
    conversation = Talk(budget=2000)
    cuts = []
    for number in range(200):
        step = Step("x" * (30 + number * 37 % 90), "y" * (60 + number * 53 % 120), persona="You are Pip.")
        cuts.append(conversation.take(step)[1].cut_seq)
    moves = sum(a != b for a, b in pairwise(cuts))
    assert 5 <= moves <= 15  # about 73 tokens a turn: half of the budget is filled in about 14 turns
