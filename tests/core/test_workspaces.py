"""What can be set for a Workspace and its channels, how it is read from what people type, and how it is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core import recipes, workspaces
from core.errors import BadSetting, NotOffered, SettingsError, UnknownCollection, UnknownSetting
from core.faq import collections
from core.models import Workspace
from core.workspaces import CHANNEL_NAMES, MAX_ENTRIES, NAMES, ChannelSettings, WorkspaceSettings
from tests.core.conftest import Chat

IDS = st.lists(st.text("abcXYZ0123456789.-_", min_size=1, max_size=20), max_size=8)
CHANNEL_VALUES = {
    "persona": st.text(max_size=50),
    "language": st.sampled_from(["en", "zh-CN", "pt_BR"]),
    "recipe": st.sampled_from(recipes.NAMES),
    "answer": st.sampled_from(["mention", "always", "never"]),
    "read_context": st.booleans(),
    "faq_mode": st.sampled_from(["assistant", "faq-only", "off"]),
    "faq_collections": st.lists(st.sampled_from(["shop", "常见问题"]), max_size=2),
}
CHANNELS = st.fixed_dictionaries({}, optional=CHANNEL_VALUES).map(ChannelSettings.model_validate)


def change(chat: Chat, name: str, value: object, channel: str | None = None, workspace: str = "w") -> WorkspaceSettings:
    with chat.database.write() as session:
        return workspaces.change(session, "web", workspace, name, value, channel, now=chat.now)


def loaded(chat: Chat, workspace: str = "w") -> WorkspaceSettings:
    with chat.database.read() as session:
        return workspaces.load(session, "web", workspace)


def stored(chat: Chat) -> dict[str, Any]:
    with chat.database.read() as session:
        return session.scalars(select(Workspace.settings)).one()


class TestReading:
    """What people type, as values."""

    @pytest.mark.parametrize(
        ("name", "typed", "value"),
        [
            ("persona", "  A pirate.\x00 ", "A pirate."),
            ("language", " zh-CN ", "zh-CN"),
            ("recipe", "Translate", "translate"),
            ("answer", "ALWAYS", "always"),
            ("read_context", "On", True),
            ("read_context", "no", False),
            ("faq_mode", "FAQ-only ", "faq-only"),
            ("allowed_users", "1 2,3， 4、5;6 1", ("1", "2", "3", "4", "5", "6")),
            ("allowed_roles", ["r1", "r2", "r1"], ("r1", "r2")),
            ("turns_per_day", "100", 100),
            ("retention_days", 30, 30),
        ],
    )
    def test_a_setting_is_read_as_it_is_typed(self, chat: Chat, name: str, typed: object, value: object) -> None:
        assert getattr(change(chat, name, typed), name) == getattr(loaded(chat), name) == value

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("persona", "x" * 4001),
            ("persona", 7),
            ("language", "English, please"),
            ("language", "klingon-language-code"),
            ("recipe", "dance"),
            ("answer", "sometimes"),
            ("read_context", "perhaps"),
            ("faq_mode", "sometimes"),
            ("faq_collections", "x" * 81),
            ("allowed_users", "x" * 201),
            ("allowed_users", "名字"),
            ("allowed_users", " ".join(map(str, range(MAX_ENTRIES + 1)))),
            ("turns_per_day", "0"),
            ("turns_per_day", "many"),
            ("turns_per_person_per_day", -1),
            ("retention_days", "1e9"),
            ("recipes", {"chat": "{% block user %}{{"}),
            ("recipes", {"dance": "x"}),
            ("recipes", "chat"),
        ],
    )
    def test_what_is_wrong_is_refused_and_names_what_is_right(self, chat: Chat, name: str, wrong: object) -> None:
        with pytest.raises(BadSetting) as refused:
            change(chat, name, wrong)
        assert refused.value.name == name
        assert refused.value.right
        assert loaded(chat) == WorkspaceSettings()

    @given(IDS, st.sampled_from([" ", ",", "， ", "\n", " ; "]))
    def test_ids_are_each_kept_once_and_in_order(self, ids: list[str], between: str) -> None:
        read = WorkspaceSettings.model_validate({"allowed_users": between.join(ids)}).allowed_users
        assert read == tuple(dict.fromkeys(ids))

    @given(st.sampled_from(NAMES), st.text())
    def test_whatever_is_typed_is_a_value_or_a_refusal(self, name: str, typed: str) -> None:
        try:
            checked = workspaces._checked(name, typed)
        except BadSetting:
            return
        again = json.loads(json.dumps(checked))
        assert workspaces._checked(name, again) == checked  # what is stored is read as the same

    def test_unknown_names_are_told_the_known_ones(self, chat: Chat) -> None:
        for unknown in ("anwser", "channels", "for_channel", ""):
            with pytest.raises(UnknownSetting) as refused:
                change(chat, unknown, "x")
            assert refused.value.right == NAMES


class TestChannels:
    """A channel's own settings hold there, and the Workspace's for the rest."""

    @given(CHANNELS, CHANNELS)
    def test_a_channel_has_its_own_and_the_workspaces_for_the_rest(
        self, own: ChannelSettings, general: ChannelSettings
    ) -> None:
        settings = WorkspaceSettings(**general.model_dump(), channels={"c": own})
        here, elsewhere = settings.for_channel("c"), settings.for_channel("d")
        for name in CHANNEL_NAMES:
            set_here = getattr(own, name)
            assert getattr(here, name) == (getattr(general, name) if set_here is None else set_here)
            assert getattr(elsewhere, name) == getattr(general, name)
        assert settings.for_channel(None) == settings

    def test_one_channel_is_set_and_taken_back(self, chat: Chat) -> None:
        change(chat, "answer", "mention")
        settings = change(chat, "answer", "never", "quiet")
        assert settings.for_channel("quiet").answer == "never"
        assert settings.for_channel("other").answer == "mention"
        assert change(chat, "answer", None, "quiet").for_channel("quiet").answer == "mention"
        assert "quiet" not in stored(chat)["channels"]

    def test_off_in_a_channel_is_a_value_of_its_own(self, chat: Chat) -> None:
        change(chat, "read_context", "on")
        assert change(chat, "read_context", "off", "c").for_channel("c").read_context is False

    @pytest.mark.parametrize("name", sorted(set(NAMES) - set(CHANNEL_NAMES)))
    def test_what_is_for_the_whole_place_is_not_set_for_a_channel(self, chat: Chat, name: str) -> None:
        with pytest.raises(BadSetting) as refused:
            change(chat, name, "1", "c")
        assert refused.value.right == ("here=workspace",)

    def test_there_is_a_bound_to_channels(self, chat: Chat) -> None:
        change(chat, "answer", "mention")
        with chat.database.write() as session:
            channels = {f"c{i}": {"answer": "never"} for i in range(MAX_ENTRIES)}
            session.scalars(select(Workspace)).one().settings = {"channels": channels}
        with pytest.raises(BadSetting):
            change(chat, "answer", "never", "one-more")
        change(chat, "answer", "always", "c1")


def test_every_setting_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "workspaces.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| (yes)?", page, re.MULTILINE)
    assert {name: bool(yes) for name, yes in told} == {name: name in CHANNEL_NAMES for name in NAMES}


class TestCollections:
    """FAQs that are answered from are named as they are; a wrong name is told the right ones."""

    def test_those_that_the_workspace_sees_can_be_named(self, chat: Chat) -> None:
        with chat.database.write() as session:
            mine, other = (workspaces._locked(session, "web", name, chat.now).id for name in ("w", "other"))
            for name, owner in (("shop", mine), ("常见问题", None), ("secret", other)):
                collections.create(session, name, owner, chat.now)
        named = change(chat, "faq_collections", " shop，常见问题 shop")
        assert named.faq_collections == ("shop", "常见问题")
        assert change(chat, "faq_collections", "shop", "ch").for_channel("ch").faq_collections == ("shop",)
        with pytest.raises(UnknownCollection) as refused:
            change(chat, "faq_collections", "shop secret")
        assert (refused.value.name, refused.value.known) == ("secret", ("shop", "常见问题"))
        assert change(chat, "faq_collections", None).faq_collections is None

    def test_where_there_is_none_that_is_told(self, chat: Chat) -> None:
        with pytest.raises(UnknownCollection) as refused:
            change(chat, "faq_collections", "shop")
        assert refused.value.known == ("–",)


class TestModels:
    """The model that answers, of those that whoever runs Pajama offers."""

    def choose(self, chat: Chat, model: str | None, *offered: str) -> WorkspaceSettings:
        with chat.database.write() as session:
            return workspaces.change(session, "web", "w", "model", model, now=chat.now, models=offered)

    def test_one_that_is_offered_can_be_chosen_and_taken_back(self, chat: Chat) -> None:
        assert self.choose(chat, " qwen3:8b ", "small", "qwen3:8b").model == loaded(chat).model == "qwen3:8b"
        assert self.choose(chat, None).model is None

    def test_another_is_refused_with_those_that_are(self, chat: Chat) -> None:
        with pytest.raises(NotOffered) as refused:
            self.choose(chat, "huge", "small", "qwen3:8b")
        assert (refused.value.name, refused.value.right) == ("model", ("small", "qwen3:8b"))
        with pytest.raises(NotOffered) as refused:
            self.choose(chat, "small")
        assert refused.value.right == ("–",)
        assert loaded(chat) == WorkspaceSettings()


class TestKeeping:
    """What is stored."""

    def test_a_place_where_nobody_has_spoken_can_be_set(self, chat: Chat) -> None:
        assert loaded(chat) == WorkspaceSettings()
        change(chat, "persona", "A pirate.")
        assert loaded(chat).persona == "A pirate."
        assert loaded(chat, "other").persona is None
        chat.say("m")
        assert loaded(chat).persona == "A pirate."

    @pytest.mark.parametrize("nothing", [None, "", "  "])
    def test_nothing_brings_the_default_back(self, chat: Chat, nothing: object) -> None:
        change(chat, "persona", "A pirate.")
        change(chat, "persona", nothing)
        assert stored(chat) == {}

    def test_what_a_newer_version_wrote_is_kept(self, chat: Chat) -> None:
        change(chat, "answer", "never")
        with chat.database.write() as session:
            session.scalars(select(Workspace)).one().settings = {"recipes": {"chat": "x"}, "mood": "good"}
        change(chat, "answer", "always", "c")
        assert stored(chat) == {"recipes": {"chat": "x"}, "mood": "good", "channels": {"c": {"answer": "always"}}}

    def test_own_recipes_are_checked_and_kept(self, chat: Chat) -> None:
        source = "{% block user %}Arr {{ text }}{% endblock %}"
        assert change(chat, "recipes", {"chat": source}).recipes == {"chat": source}

    def test_what_was_stored_wrongly_is_named_and_can_be_taken_back(self, chat: Chat) -> None:
        change(chat, "answer", "never")
        with chat.database.write() as session:
            session.scalars(select(Workspace)).one().settings = {"answer": "sometimes"}
        with pytest.raises(SettingsError, match="answer"):
            loaded(chat)
        change(chat, "answer", None)
        assert loaded(chat) == WorkspaceSettings()
