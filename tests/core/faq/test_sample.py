"""The sample collection: complete, in two languages, and found by words alone."""

from __future__ import annotations

from datetime import date

import pytest

from core.faq import collections, sample
from core.faq.decision import Outcome
from core.faq.index import CollectionIndex
from core.faq.search import FaqSearch
from tests.core.faq.conftest import Shelf

DAY = date(2026, 1, 1)


@pytest.fixture(scope="module")
def by_words() -> CollectionIndex:
    index = CollectionIndex(0, None)
    index.load(sample.entries())
    return index


def test_every_entry_is_there_in_both_languages() -> None:
    entries = sample.entries()
    english = {entry.key for entry in entries if entry.language == "en"}
    chinese = {entry.key.removesuffix(".zh") for entry in entries if entry.language == "zh-CN"}
    assert english == chinese
    assert len(entries) == len({entry.key for entry in entries}) >= 60
    assert all(len(entry.phrasings) >= 2 for entry in entries)


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("How do I connect Discord?", "connect-discord"),
        ("how can I connect it to discord", "connect-discord"),
        ("connecting slack", "connect-slack"),
        ("怎么接入 Slack？", "connect-slack.zh"),
        ("如何接入Slack", "connect-slack.zh"),
        ("Discord怎么配置", "connect-discord.zh"),
        ("what python version is required", "requirements"),
        ("use another model", "other-model"),
        ("怎么换模型", "other-model.zh"),
        ("where are my conversations stored", "data"),
        ("怎么备份数据", "backup.zh"),
    ],
)
def test_a_typical_question_finds_its_entry_by_words_alone(by_words: CollectionIndex, question: str, key: str) -> None:
    hits = by_words.snapshot.search(by_words.question(question), 1)
    assert [hit.stored.entry.key for hit in hits] == [key]


@pytest.mark.parametrize(
    ("question", "key"), [("How do I connect Discord?", "connect-discord"), ("怎么接入 Slack？", "connect-slack.zh")]
)
def test_a_newcomer_is_answered(shelf: Shelf, question: str, key: str) -> None:
    with shelf.database.write() as session:
        assert sample.install(session, shelf.now)
        assert not sample.install(session, shelf.now)
    search = FaqSearch(shelf.database, None)
    search.refresh()
    verdict = search.search(shelf.workspace("anyone"), question, day=DAY)
    assert verdict.outcome is Outcome.ANSWER
    assert verdict.decision.matches[0].hit.stored.entry.key == key


@pytest.mark.parametrize(
    "question",
    [
        "Who won the election in Chile?",
        "Do you sell elephants?",
        "北京有哪些景点？",
        "你喜欢吃什么水果？",
        "asdfgh",
        "👍",
    ],
)
def test_what_the_sample_does_not_cover_is_not_answered(shelf: Shelf, question: str) -> None:
    with shelf.database.write() as session:
        sample.install(session, shelf.now)
    search = FaqSearch(shelf.database, None)
    search.refresh()
    assert search.search(None, question, day=DAY).outcome in (Outcome.ABSTAIN, Outcome.GROUND)


def test_who_removed_the_sample_is_not_given_it_again(shelf: Shelf) -> None:
    with shelf.database.write() as session:
        sample.install(session, shelf.now)
        collections.delete(session, collections.find(session, sample.NAME, None, lock=True), shelf.now)
        assert not sample.install(session, shelf.now)
