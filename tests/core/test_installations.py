"""The tables of Slack installations are those that slack_sdk's stores read and write."""

from __future__ import annotations

import pytest
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import SQLAlchemyOAuthStateStore
from sqlalchemy import MetaData, Table

from core.installations import SlackBot, SlackInstallation, SlackOauthState
from core.models import Base, tables

WANTED = {
    SlackBot: SQLAlchemyInstallationStore.build_bots_table(MetaData(), "wanted"),
    SlackInstallation: SQLAlchemyInstallationStore.build_installations_table(MetaData(), "wanted"),
    SlackOauthState: SQLAlchemyOAuthStateStore.build_oauth_states_table(MetaData(), "wanted"),
}


@pytest.mark.parametrize("model", WANTED, ids=lambda model: model.__tablename__)
def test_the_columns_are_those_of_the_store(model: type[Base]) -> None:
    (table,) = tables(model)
    assert _columns(table) == _columns(WANTED[model])


def _columns(table: Table) -> dict[str, tuple[str, bool]]:
    return {column.name: (str(column.type), bool(column.nullable)) for column in table.columns}
