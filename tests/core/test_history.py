"""What was said, for the next Prompt and for `why`."""

from __future__ import annotations

import pytest

from core import conversations, history, recipes
from core.errors import NotFound
from core.prompts import Prompt, PromptRequest, Speech, assemble, version_of
from core.turns import ClaimedTurn, Source
from core.values import Person
from tests.core.conftest import Chat

PERSONA = "You wear pajamas."
OWN_RECIPE = "{% block system %}{{ persona }} Be brief.{% endblock %}{% block user %}Q: {{ message }}{% endblock %}"


def words(prompt: Prompt) -> int:
    return sum(len(part.text.split()) for part in prompt.parts)


def answer(chat: Chat, claimed: ClaimedTurn, said: str, recipe: recipes.Recipe, budget: int = 1000) -> Prompt:
    """Assemble, answer and store as a worker does; returns the Prompt."""
    with chat.database.read() as session:
        before = history.load_history(session, claimed.conversation_id, claimed.cut_seq, claimed.seq, "r1")
    newest = Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text, claimed.speaker)
    request = PromptRequest(recipe=recipe, newest=newest, budget=budget, history=before, persona=PERSONA)
    assembled = assemble(request, words)
    sources = (
        Source(recipe.version, recipe.name, recipe.source),
        Source(version_of(PERSONA), "persona", PERSONA),
    )
    chat.finish(
        claimed, said, token_ids=(1, 2), model="m", model_revision="r1",
        prompt=assembled.record.model_dump(mode="json"), sources=sources, cut_seq=assembled.cut_seq,
    )  # fmt: skip
    return assembled.prompt


@pytest.mark.parametrize("source", [None, OWN_RECIPE])
def test_why_shows_exactly_the_prompt_that_the_model_saw(chat: Chat, source: str | None) -> None:
    recipe = recipes.load("chat", {"chat": source} if source else None)
    for number in range(3):
        turn_id = chat.say(f"m{number}").turn_id
        prompt = answer(chat, chat.claimed(), f"answer {number}", recipe)
    with chat.database.read() as session:
        explanation = history.explain(session, turn_id)
    assert explanation.exact
    assert [(m.role, m.text) for m in explanation.messages] == [(p.role, p.text) for p in prompt.parts]
    assert (explanation.recipe, explanation.recipe_version) == ("chat", recipe.version)


def test_why_tells_when_words_were_purged_since(chat: Chat) -> None:
    recipe = recipes.load("chat")
    chat.say("secret")
    answer(chat, chat.claimed(), "an answer", recipe)
    turn_id = chat.say("m").turn_id
    answer(chat, chat.claimed(), "another", recipe)
    with chat.database.write() as session:
        conversations.delete(session, chat.message("m").place, "secret", chat.now)
    with chat.database.read() as session:
        explanation = history.explain(session, turn_id)
    assert not explanation.exact
    shown = " ".join(message.text for message in explanation.messages)
    assert "secret" not in shown
    assert history.FORGOTTEN in shown


def test_an_older_wording_is_what_why_shows_after_an_edit(chat: Chat) -> None:
    recipe = recipes.load("chat")
    chat.say("first")
    answer(chat, chat.claimed(), "an answer", recipe)
    turn_id = chat.say("second").turn_id
    answer(chat, chat.claimed(), "another", recipe)
    with chat.database.write() as session:
        conversations.edit(session, chat.message("x").place, "first", "edited", chat.now)
    with chat.database.read() as session:
        shown = [message.text for message in history.explain(session, turn_id).messages]
    assert "words of first" in shown


def test_a_turn_without_an_answer_cannot_be_explained(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    with chat.database.read() as session, pytest.raises(NotFound):
        history.explain(session, turn_id)


def test_history_holds_what_the_next_prompt_needs(chat: Chat) -> None:
    recipe = recipes.load("chat")
    for event_id in ("answered", "deleted", "failed"):
        chat.say(event_id)
    answer(chat, chat.claimed(), "an answer", recipe)
    answer(chat, chat.claimed(), "of no use", recipe)
    with chat.database.write() as session:
        conversations.delete(session, chat.message("x").place, "deleted", chat.now)
    chat.say("newest")
    with chat.database.read() as session:
        same = history.load_history(session, 1, 1, 4, "r1")
        other = history.load_history(session, 1, 1, 4, "r2")
    assert [speech.text for speech in same] == ["words of answered", None, "words of failed"]
    assert [speech.answer.token_ids if speech.answer else None for speech in same] == [(1, 2), None, None]
    assert [speech.answer.token_ids if speech.answer else None for speech in other] == [None, None, None]
    with chat.database.read() as session:
        assert [speech.seq for speech in history.load_history(session, 1, 2, 4, "r1")] == [2, 3]


def test_pages_go_back_from_the_newest(chat: Chat) -> None:
    for number in range(5):
        chat.say(f"m{number}")
    place = chat.message("x").place
    with chat.database.read() as session:
        newest = history.conversation_view(session, place, 2)
        older = history.conversation_view(session, place, 2, before_seq=newest[0].seq)
    assert [view.event_id for view in older + newest] == ["m1", "m2", "m3", "m4"]


def test_turns_wait_for_delivery_from_the_question_until_they_are_marked(chat: Chat) -> None:
    from core import deliveries

    chat.say("m")
    claimed = chat.claimed()
    with chat.database.read() as session:
        assert history.waiting(session, "web") == [claimed.turn_id]
    chat.finish(claimed)
    with chat.database.write() as session:
        assert history.waiting(session, "web") == [claimed.turn_id]
        assert history.waiting(session, "discord") == []
        assert deliveries.delivered(session, claimed.turn_id, claimed.fence, chat.now)
        assert history.waiting(session, "web") == []
        conversations.regenerate(session, chat.message("m").place, Person(id="p"), claimed.turn_id, chat.now)
        assert not deliveries.delivered(session, claimed.turn_id, claimed.fence, chat.now), "asked again meanwhile"
