"""WorkspaceSettings: what those who manage a Workspace have set for it, and otherwise for single channels of it.

Knows each setting's name and what is right for it, and the Workspace's row, which holds them as JSON. Who may change
them is the bots' affair; who is answered is decided in `access`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core import recipes
from core.database import insert_new
from core.errors import BadSetting, NotFound, NotOffered, RecipeError, SettingsError, UnknownRecipe, UnknownSetting
from core.faq import collections
from core.faq.collections import MAX_NAME_CHARS
from core.handoffs import hours
from core.handoffs.hours import Hours
from core.models import Workspace
from core.values import Identifier, Value, clean_text

MAX_PERSONA_CHARS = 4_000
MAX_ENTRIES = 200
"""Ids in one list, and channels with settings of their own."""
MAX_TURNS = 1_000_000
MAX_RETENTION_DAYS = 36_500
MAX_AWAY_CHARS = 1_000
MAX_PROMPTS, MAX_PROMPT_CHARS = 4, 200
"""What Slack shows, and how long each may be."""
MAX_DOWNVOTES = 20
DOWNVOTES = 2
"""So many 👎 in a row call a human, where nothing else is set and somebody is to be called."""

PAGE = "page"
"""The staff channel of a Workspace whose staff look at the operators' page instead of a channel."""


def _words(value: object) -> object:
    """Ids as people type them, between spaces or commas, each once; a list is left as it is."""
    if isinstance(value, str):
        value = [word for word in re.split(r"[\s,，、;]+", value) if word]
    return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _cleaned(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


def _names(value: object) -> object:
    return _words(_cleaned(value))


def _between_bars(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split("|") if part.strip())


def _prompts(value: str) -> str:
    prompts = _between_bars(value)
    if not 1 <= len(prompts) <= MAX_PROMPTS or max(map(len, prompts)) > MAX_PROMPT_CHARS:
        raise ValueError("too many prompts, too long ones, or none")
    return " | ".join(prompts)


def _hours(value: str) -> str:
    Hours.parse(value)
    return value


Ids = Annotated[tuple[Identifier, ...], BeforeValidator(_words), Field(max_length=MAX_ENTRIES)]
Collections = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS)], ...],
    BeforeValidator(_names),
    Field(max_length=MAX_ENTRIES),
]
FaqMode = Literal["assistant", "faq-only", "off"]
Turns = Annotated[int, Field(ge=1, le=MAX_TURNS)]
Language = Annotated[
    str,
    BeforeValidator(_cleaned),
    StringConstraints(max_length=20, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$"),
]


class ChannelSettings(Value):
    """What can be set for a channel too. None: as in the Workspace, and there, as Pajama's own settings say."""

    persona: Annotated[str, BeforeValidator(_cleaned), Field(max_length=MAX_PERSONA_CHARS)] | None = None
    language: Language | None = None
    recipe: Annotated[Literal["chat", "faq", "write", "translate", "understand"], BeforeValidator(_word)] | None = None
    answer: Annotated[Literal["mention", "always", "never"], BeforeValidator(_word)] | None = None
    read_context: Annotated[bool, BeforeValidator(_word)] | None = None
    faq_mode: Annotated[FaqMode, BeforeValidator(_word)] | None = None
    faq_collections: Collections | None = None


class WorkspaceSettings(ChannelSettings):
    """Everything that can be set for a Workspace. An empty list, or None, sets no bound."""

    recipes: dict[str, str] = Field(default_factory=dict)
    model: Annotated[str, BeforeValidator(_cleaned)] | None = None
    allowed_users: Ids = ()
    allowed_roles: Ids = ()
    allowed_channels: Ids = ()
    allowed_categories: Ids = ()
    blocked_users: Ids = ()
    turns_per_person_per_day: Turns | None = None
    turns_per_day: Turns | None = None
    retention_days: Annotated[int, Field(ge=1, le=MAX_RETENTION_DAYS)] | None = None
    prompts: Annotated[str, BeforeValidator(_cleaned), AfterValidator(_prompts)] | None = None
    handoff_channel: Annotated[Identifier, BeforeValidator(_cleaned)] | None = None
    handoff_hours: (
        Annotated[str, BeforeValidator(_cleaned), Field(max_length=hours.MAX_CHARS), AfterValidator(_hours)] | None
    ) = None
    handoff_away_message: Annotated[str, BeforeValidator(_cleaned), Field(max_length=MAX_AWAY_CHARS)] | None = None
    handoff_after_downvotes: Annotated[int, Field(ge=0, le=MAX_DOWNVOTES)] | None = None
    handoff_on_abstain: Annotated[Literal["offer", "auto", "never"], BeforeValidator(_word)] | None = None
    channels: Annotated[dict[Identifier, ChannelSettings], Field(max_length=MAX_ENTRIES)] = Field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> WorkspaceSettings:
        """The settings as a Workspace's row holds them. Raises SettingsError where somebody else wrote them wrongly."""
        if not stored:
            return _NOTHING_SET
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
            raise SettingsError(f"The stored settings of a workspace are wrong: {where}.") from error

    @property
    def offers_human(self) -> bool:
        """Whether a human is offered to whom no answer can be given."""
        return self.staffed and self.handoff_on_abstain in (None, "offer")

    @property
    def staffed(self) -> bool:
        """Whether somebody is to be called where people need a human."""
        return self.handoff_channel is not None

    @property
    def staff_channel(self) -> str | None:
        """The channel whose people may claim hand-offs."""
        return None if self.handoff_channel == PAGE else self.handoff_channel

    @property
    def offered_prompts(self) -> tuple[str, ...]:
        """What a new chat offers to ask; empty where nothing is set."""
        return _between_bars(self.prompts or "")

    def somebody_there(self, now: datetime) -> bool:
        """Whether it is within the hours; any time is where none are set."""
        return self.handoff_hours is None or Hours.parse(self.handoff_hours).open_at(now)

    def for_channel(self, channel: str | None) -> ChannelSettings:
        """What holds in `channel`: its own settings, and the Workspace's for the rest."""
        own = self.channels.get(channel) if channel is not None else None
        if own is None:
            return self
        values = {name: getattr(own, name) for name in CHANNEL_NAMES}
        return ChannelSettings(
            **{name: getattr(self, name) if value is None else value for name, value in values.items()}
        )


_NOTHING_SET = WorkspaceSettings()

CHANNEL_NAMES = tuple(ChannelSettings.model_fields)
"""Names of what can be set for a channel."""

_IDS = (f"ID ID … (≤ {MAX_ENTRIES})",)
_RIGHT: dict[str, tuple[str, ...]] = {
    "persona": (f"… (≤ {MAX_PERSONA_CHARS})",),
    "language": ("en", "zh-CN", "fr", "…"),
    "recipe": recipes.NAMES,
    "answer": ("mention", "always", "never"),
    "read_context": ("on", "off"),
    "faq_mode": ("assistant", "faq-only", "off"),
    "faq_collections": (f"NAME NAME … (≤ {MAX_ENTRIES})",),
    "model": ("NAME",),
    "allowed_users": _IDS,
    "allowed_roles": _IDS,
    "allowed_channels": _IDS,
    "allowed_categories": _IDS,
    "blocked_users": _IDS,
    "turns_per_person_per_day": (f"1–{MAX_TURNS}",),
    "turns_per_day": (f"1–{MAX_TURNS}",),
    "retention_days": (f"1–{MAX_RETENTION_DAYS}",),
    "prompts": (f"… | … (≤ {MAX_PROMPTS}, each ≤ {MAX_PROMPT_CHARS})",),
    "handoff_channel": ("ID", PAGE),
    "handoff_hours": (hours.RIGHT,),
    "handoff_away_message": (f"… (≤ {MAX_AWAY_CHARS})",),
    "handoff_after_downvotes": (f"0–{MAX_DOWNVOTES}",),
    "handoff_on_abstain": ("offer", "auto", "never"),
}
_AS_BEFORE: tuple[object, ...] = (None, "", [], {})
"""Values that say nothing, and are not stored."""

_RECIPES_RIGHT = ("{recipe: source}",)

NAMES = tuple(_RIGHT)
"""Names of what people can set in words; `recipes` is set by programs, as a mapping of name to source."""


def id_of(platform: str, workspace: str) -> Select[int]:
    """The Workspace's own id."""
    return select(Workspace.id).where(Workspace.platform == platform, Workspace.external_id == workspace)


def workspace_id_of(session: Session, name: str) -> int | None:
    """The id of the Workspace `platform:id`; None where none is named. Raises NotFound."""
    if not name:
        return None
    platform, _, workspace = name.partition(":")
    workspace_id: int | None = session.scalar(id_of(platform, workspace))
    if workspace_id is None:
        raise NotFound(f"There is no workspace {name!r}.")
    return workspace_id


def load(session: Session, platform: str, workspace: str) -> WorkspaceSettings:
    """The Workspace's settings; nothing is set where nobody has said anything there yet."""
    this = (Workspace.platform == platform, Workspace.external_id == workspace)
    return WorkspaceSettings.of(session.scalar(select(Workspace.settings).where(*this)))


def change(
    session: Session,
    platform: str,
    workspace: str,
    name: str,
    value: object,
    channel: str | None = None,
    *,
    now: datetime,
    models: Sequence[str] = (),
) -> WorkspaceSettings:
    """Set `name`, for one channel where it is given; None brings the default back. Words are read as people type them.

    `models` are those that may be chosen. Raises UnknownSetting with the names that there are, BadSetting with what
    would be right, NotOffered and UnknownCollection.
    """
    _check_name(name, channel)
    checked = None if value is None else _checked(name, value)
    if name == "model" and checked and checked not in models:
        raise NotOffered(name, tuple(models))
    row = _locked(session, platform, workspace, now)
    if name == "faq_collections" and checked:
        collections.check_names(session, row.id, checked)
    changed = copy.deepcopy(row.settings)
    holder = changed if channel is None else changed.setdefault("channels", {}).setdefault(channel, {})
    holder.pop(name, None)
    if checked not in _AS_BEFORE:
        holder[name] = checked
    elif channel is not None and not holder:
        del changed["channels"][channel]
    if len(changed.get("channels", ())) > MAX_ENTRIES:
        raise BadSetting("channels", (f"≤ {MAX_ENTRIES}",))
    settings = WorkspaceSettings.of(changed)
    row.settings = changed
    return settings


def _check_name(name: str, channel: str | None) -> None:
    if name not in NAMES and name != "recipes":
        raise UnknownSetting(name, NAMES)
    if channel is not None and name not in CHANNEL_NAMES:
        raise BadSetting(name, ("here=workspace",))


def _checked(name: str, value: object) -> Any:
    """`value` as it is stored. Raises BadSetting."""
    try:
        checked = WorkspaceSettings.model_validate({name: value}).model_dump(mode="json")[name]
        if name == "recipes":
            for recipe in checked:
                recipes.load(recipe, checked)
    except (ValidationError, RecipeError, UnknownRecipe) as error:
        raise BadSetting(name, _RIGHT.get(name, _RECIPES_RIGHT)) from error
    return checked


def _locked(session: Session, platform: str, workspace: str, now: datetime) -> Workspace:
    """The Workspace's row, added where it is new, locked so that two changes at once both hold."""
    key = {"platform": platform, "external_id": workspace}
    insert_new(session, Workspace, tuple(key), {**key, "settings": {}, "created_at": now})
    return session.scalars(select(Workspace).filter_by(**key).with_for_update()).one()
