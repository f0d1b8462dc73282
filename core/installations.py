"""The tables of Slack installations: bots, installations, and installations that are on their way.

Knows columns, named and shaped as slack_sdk's SQLAlchemy stores want them: its ids are Integers and its times naive, in
UTC. The stores themselves are in `bots/slack`, since core knows no platform's library. Tokens stand here as they are.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base


def _id() -> Mapped[int]:
    return mapped_column(Integer, primary_key=True)


def _word(length: int = 32) -> Mapped[str | None]:
    return mapped_column(String(length))


def _moment() -> Mapped[datetime | None]:
    return mapped_column(DateTime)


class SlackBot(Base):
    """The bot of a team, or of an organisation where `team_id` is null, with its token."""

    __tablename__ = "slack_bot"
    __table_args__ = (Index("ix_slack_bot_team", "client_id", "enterprise_id", "team_id", "installed_at"),)

    id: Mapped[int] = _id()
    client_id: Mapped[str] = mapped_column(String(32))
    app_id: Mapped[str] = mapped_column(String(32))
    enterprise_id: Mapped[str | None] = _word()
    enterprise_name: Mapped[str | None] = _word(200)
    team_id: Mapped[str | None] = _word()
    team_name: Mapped[str | None] = _word(200)
    bot_token: Mapped[str | None] = _word(200)
    bot_id: Mapped[str | None] = _word()
    bot_user_id: Mapped[str | None] = _word()
    bot_scopes: Mapped[str | None] = _word(1000)
    bot_refresh_token: Mapped[str | None] = _word(200)
    bot_token_expires_at: Mapped[datetime | None] = _moment()
    is_enterprise_install: Mapped[bool] = mapped_column(default=False)
    installed_at: Mapped[datetime] = mapped_column(DateTime)


class SlackInstallation(Base):
    """Who installed the app, and what Slack granted then; the newest token is SlackBot's."""

    __tablename__ = "slack_installation"
    __table_args__ = (
        Index("ix_slack_installation_team", "client_id", "enterprise_id", "team_id", "user_id", "installed_at"),
    )

    id: Mapped[int] = _id()
    client_id: Mapped[str] = mapped_column(String(32))
    app_id: Mapped[str] = mapped_column(String(32))
    enterprise_id: Mapped[str | None] = _word()
    enterprise_name: Mapped[str | None] = _word(200)
    enterprise_url: Mapped[str | None] = _word(200)
    team_id: Mapped[str | None] = _word()
    team_name: Mapped[str | None] = _word(200)
    bot_token: Mapped[str | None] = _word(200)
    bot_id: Mapped[str | None] = _word()
    bot_user_id: Mapped[str | None] = _word()
    bot_scopes: Mapped[str | None] = _word(1000)
    bot_refresh_token: Mapped[str | None] = _word(200)
    bot_token_expires_at: Mapped[datetime | None] = _moment()
    user_id: Mapped[str] = mapped_column(String(32))
    user_token: Mapped[str | None] = _word(200)
    user_scopes: Mapped[str | None] = _word(1000)
    user_refresh_token: Mapped[str | None] = _word(200)
    user_token_expires_at: Mapped[datetime | None] = _moment()
    incoming_webhook_url: Mapped[str | None] = _word(200)
    incoming_webhook_channel: Mapped[str | None] = _word(200)
    incoming_webhook_channel_id: Mapped[str | None] = _word(200)
    incoming_webhook_configuration_url: Mapped[str | None] = _word(200)
    is_enterprise_install: Mapped[bool] = mapped_column(default=False)
    token_type: Mapped[str | None] = _word()
    installed_at: Mapped[datetime] = mapped_column(DateTime)


class SlackOauthState(Base):
    """What an install page gave a browser; whoever brings it back, once and in time, began there."""

    __tablename__ = "slack_oauth_state"
    __table_args__ = (Index(None, "state"),)

    id: Mapped[int] = _id()
    state: Mapped[str] = mapped_column(String(200))
    expire_at: Mapped[datetime] = mapped_column(DateTime)
