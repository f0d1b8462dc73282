"""What every `pajama faq` command needs: the database, the workspace that is meant, and the embedder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from core import workspaces
from core.database import Database
from core.errors import DatabaseUnavailable, NotFound
from core.settings import Settings
from pajama.commands.database import absent
from pajama.console import settings_of
from pajama.running import find_running

if TYPE_CHECKING:  # it needs numpy, and most commands do not
    from core.faq.embedding import Embedder


@contextmanager
def opened(settings: Settings | None = None) -> Iterator[Database]:
    """The database of the stack that runs here, or the one of the settings. Raises DatabaseUnavailable."""
    settings = settings or settings_of("faq")
    running = find_running(settings.data_dir)
    url = running.database_url if running else settings.effective_database_url
    if absent(url):
        raise DatabaseUnavailable(absent(url))
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def workspace_id_of(session: Session, name: str) -> int | None:
    """The id of the Workspace `platform:id`; None, for all of them, where none is named. Raises NotFound."""
    try:
        return workspaces.workspace_id_of(session, name)
    except NotFound as error:
        hint = "it is named as in web:site, and is there once it said something."
        raise NotFound(f"There is no workspace {name!r}; {hint}") from error


def embedder_of(settings: Settings) -> Embedder | None:
    """The embedder that the settings name, loaded in this process. Raises ModelUnavailable."""
    if settings.faq_embedder == "none":
        return None
    from workers.embedding import load_embedder

    return load_embedder(settings)
