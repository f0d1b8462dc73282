"""Installations: who installed the app, with whose token; and installations that are on their way.

slack_sdk's own stores, on the database and in the threads of everything else (docs/decisions/0004): each call is one
transaction, in which the store is given the open connection. Of a workspace there is one token, the newest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from slack_sdk.oauth.state_store.sqlalchemy import SQLAlchemyOAuthStateStore
from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.orm import Session

from core.database import AsyncDatabase
from core.installations import SlackBot, SlackInstallation, SlackOauthState

T = TypeVar("T")

STATE_FOR_S = 600


class _Lent(threading.local):
    """What the stores take for an engine: the connection of the transaction that is open in this thread."""

    connection: Connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """That connection, for a block."""
        yield self.connection

    connect = begin


class _Stored:
    """What both stores share: the database, and how their methods are called in it."""

    def __init__(self, database: AsyncDatabase) -> None:
        self._database, self._lent = database, _Lent()

    @property
    def _engine(self) -> Engine:
        return cast(Engine, self._lent)

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._database.read(self._within, work)

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._database.write(self._within, work)

    def _within(self, session: Session, work: Callable[[], T]) -> T:
        self._lent.connection = session.connection()
        return work()


class Installations(_Stored, AsyncInstallationStore):
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: AsyncDatabase, client_id: str) -> None:
        super().__init__(database)
        self._store: Any = SQLAlchemyInstallationStore(  # in part untyped
            client_id, self._engine, SlackBot.__tablename__, SlackInstallation.__tablename__
        )

    @property
    def logger(self) -> logging.Logger:
        """The library's own."""
        return logging.getLogger(__name__)

    async def async_save(self, installation: Installation) -> None:
        """Keep it in the place of what was there before."""

        def save() -> None:
            whose = {"enterprise_id": installation.enterprise_id, "team_id": installation.team_id}
            self._store.delete_all(**whose)
            self._store.save(installation)

        await self._write(save)

    async def async_save_bot(self, bot: Bot) -> None:
        """Keep the newest token of a bot that is installed."""

        def save() -> None:
            self._store.delete_bot(enterprise_id=bot.enterprise_id, team_id=bot.team_id)
            self._store.save_bot(bot)

        await self._write(save)

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """The bot of a team, or of the organisation."""
        wanted = {"enterprise_id": enterprise_id, "team_id": team_id, "is_enterprise_install": is_enterprise_install}
        found: Bot | None = await self._read(lambda: self._store.find_bot(**wanted))
        return found

    async def newest(self, most: int) -> list[Bot]:
        """Those who installed the app last, one each."""
        of_app = select(SlackBot.__table__).where(SlackBot.client_id == self._store.client_id)
        found = of_app.order_by(SlackBot.installed_at.desc()).limit(most)
        return await self._read(
            lambda: [self._store.build_bot_entity(row) for row in self._lent.connection.execute(found).mappings()]
        )

    async def async_delete_all(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Nothing of the team is kept, or with none of the organisation itself."""
        await self._write(lambda: self._store.delete_all(enterprise_id=enterprise_id, team_id=team_id))


class States(_Stored, AsyncOAuthStateStore):
    """What an install page gave a browser. A state is good once, for ten minutes."""

    def __init__(self, database: AsyncDatabase) -> None:
        super().__init__(database)
        self._store: Any = SQLAlchemyOAuthStateStore(
            STATE_FOR_S, self._engine, table_name=SlackOauthState.__tablename__
        )

    @property
    def logger(self) -> logging.Logger:
        """The library's own."""
        return logging.getLogger(__name__)

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """A new state; those that nobody brought back in time go."""

        def issue() -> str:
            self._lent.connection.execute(delete(SlackOauthState).where(SlackOauthState.expire_at <= _now()))
            return str(self._store.issue())

        return await self._write(issue)

    async def async_consume(self, state: str) -> bool:
        """Whether the state is good. In one statement: the library's own two would let a state pass twice at once."""
        taken = delete(SlackOauthState).where(SlackOauthState.state == state, SlackOauthState.expire_at > _now())
        return await self._write(lambda: self._lent.connection.execute(taken).rowcount == 1)


def _now() -> datetime:
    """The time as the library writes it: naive, in UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
