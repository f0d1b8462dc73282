"""Schema and transactions, on both databases, and what is said when they cannot be used."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from core.database import AsyncDatabase, Database, _alembic, _migrating, check, upgrade
from core.errors import DatabaseUnavailable
from core.models import Base


def test_an_empty_database_is_brought_to_head_and_is_equal_to_the_models(empty_database_url: str) -> None:
    (problem,) = check(empty_database_url)
    assert "pajama db upgrade" in problem
    upgrade(empty_database_url)
    assert check(empty_database_url) == []
    upgrade(empty_database_url)  # once more changes nothing
    assert check(empty_database_url) == []


def test_migrations_can_be_undone_and_done_again(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    migrate(empty_database_url, command.downgrade, "base")
    with _migrating(empty_database_url) as connection:
        assert set(inspect(connection).get_table_names()) & set(Base.metadata.tables) == set()
    upgrade(empty_database_url)
    assert check(empty_database_url) == []


def test_what_the_first_schema_held_is_there_at_head(empty_database_url: str) -> None:
    """A database of the first version, with a conversation in it, goes to head and back without loss."""
    migrate(empty_database_url, command.upgrade, "0001")
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        for row in FIRST_ROWS:
            connection.execute(text(row))
    upgrade(empty_database_url)
    assert check(empty_database_url) == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT external_id, channel FROM conversation")).all() == [("c", None)]
        assert connection.scalar(text("SELECT count(*) FROM turn")) == 1
    migrate(empty_database_url, command.downgrade, "0001")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT external_id FROM conversation")) == "c"
    engine.dispose()
    upgrade(empty_database_url)
    assert check(empty_database_url) == []


FIRST_ROWS = (
    "INSERT INTO workspace VALUES (1, 'web', 'w', '{\"persona\": \"A pirate.\"}', CURRENT_TIMESTAMP)",
    "INSERT INTO participant VALUES (1, 'web', 'p', NULL, CURRENT_TIMESTAMP)",
    "INSERT INTO conversation VALUES (1, 1, 'c', FALSE, 2, 1, 1, CURRENT_TIMESTAMP)",
    "INSERT INTO message VALUES (1, 1, 1, 1, 'm', 1, CURRENT_TIMESTAMP, NULL)",
    "INSERT INTO message_revision VALUES (1, 1, 'words', CURRENT_TIMESTAMP)",
    (
        "INSERT INTO turn (id, source_key, workspace_id, conversation_id, participant_id, message_id, seq, recipe, arguments,"
        " language, target, state, fence, attempt, cancel_requested, queued_at) VALUES (1, 'k', 1, 1, 1, 1, 1, 'chat', '{}',"
        " 'en', '{}', 'queued', 0, 0, FALSE, CURRENT_TIMESTAMP)"
    ),
)


def migrate(url: str, move: Callable[[Config, str], None], revision: str) -> None:
    """Bring the database to a revision."""
    with _migrating(url) as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        move(config, revision)


def test_a_schema_that_differs_from_the_models_is_named(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as session:
        session.execute(text("DROP INDEX ix_turn_queued"))
    database.close()
    assert any("ix_turn_queued" in problem for problem in check(database_url))


def test_a_failed_transaction_leaves_nothing(database_url: str) -> None:
    database = Database(database_url)
    row = "('v', 'chat', 's', CURRENT_TIMESTAMP)"
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(text(f"INSERT INTO recipe_version VALUES {row}, {row}"))
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM recipe_version")) == 0
    database.close()


def test_an_error_holds_nothing_that_people_said(database_url: str) -> None:
    database = Database(database_url)
    rows = [{"v": "v", "s": "what somebody said"}] * 2
    statement = text("INSERT INTO recipe_version VALUES (:v, 'chat', :s, CURRENT_TIMESTAMP)")
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        session.execute(statement, rows)
    assert "what somebody said" not in str(caught.value)
    database.close()


async def test_asyncio_gets_the_same_functions_and_errors(database_url: str) -> None:
    database = AsyncDatabase(database_url)
    assert await database.read(lambda session: session.scalar(text("SELECT 1"))) == 1
    with pytest.raises(IntegrityError):
        await database.write(lambda session: session.execute(text("INSERT INTO turn (id) VALUES (1)")))
    await database.close()


def test_a_postgresql_that_is_not_there_is_one_sentence() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable, match="cannot be used"), database.read() as session:
        session.execute(text("SELECT 1"))
    database.close()


def test_a_full_disk_is_one_sentence_and_what_was_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "full.db"
    upgrade(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    fill = text("INSERT INTO recipe_version VALUES (:v, 'chat', :s, CURRENT_TIMESTAMP)")
    with database.write() as session:
        session.execute(fill, {"v": "kept", "s": "small"})
        # The database may not grow any further on this connection: as on a disk that is full.
        pages = session.scalar(text("PRAGMA page_count"))
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(DatabaseUnavailable, match="full"), database.write() as session:
        session.execute(fill, {"v": "lost", "s": "x" * 200_000})
    with database.read() as session:
        assert session.scalars(text("SELECT version FROM recipe_version")).all() == ["kept"]
    database.close()


def test_writers_of_one_process_wait_in_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'line.db'}"
    upgrade(url)
    database = Database(url)

    def write(number: int) -> None:
        with database.write() as session:
            session.execute(text(f"INSERT INTO recipe_version VALUES ('{number}', 'chat', 's', CURRENT_TIMESTAMP)"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM recipe_version")) == 20
    database.close()


def test_after_a_checkpoint_everything_is_in_the_file_of_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    upgrade(url)
    database = Database(url)
    with database.write() as session:
        session.execute(text("INSERT INTO recipe_version VALUES ('1', 'chat', 's', CURRENT_TIMESTAMP)"))
    database.checkpoint()
    (tmp_path / "alone.db").write_bytes((tmp_path / "log.db").read_bytes())  # without its log
    database.close()
    alone = sqlite3.connect(tmp_path / "alone.db")
    assert alone.execute("SELECT version FROM recipe_version").fetchall() == [("1",)]
    alone.close()


def test_what_people_say_is_for_the_owner_of_the_file_alone(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'new.db'}")
    with Database(f"sqlite:///{tmp_path / 'new.db'}").read() as session:
        session.execute(text("SELECT 1 FROM turn"))
        assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {
            f"new.db{part}": 0 for part in ("", "-shm", "-wal")
        }


def test_sqlite_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'wal.db'}"
    upgrade(url)
    connection = sqlite3.connect(tmp_path / "wal.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    engine = create_engine(url)
    assert engine.dialect.name == "sqlite"
    engine.dispose()
