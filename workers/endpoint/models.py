"""Models: what an endpoint offers to Workspaces besides its default, each surveyed when it is first asked for."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import structlog

from core.errors import ModelUnavailable
from core.settings import Settings, variable
from workers.endpoint.asking import Asking, told
from workers.endpoint.connection import Endpoint
from workers.endpoint.survey import Found, survey

log = structlog.get_logger(__name__)


class Models:
    """The offered models of the endpoint that the settings name, and the Asking that all of them share."""

    def __init__(self, settings: Settings) -> None:
        self.asking = Asking(Endpoint.of(settings), settings.max_batch_size)
        self._settings = settings
        self._lock = threading.Lock()
        self._surveys: dict[str, Future[Found]] = {}

    def find(self, name: str, deadline: float | None) -> Found:
        """How `name` is asked. Raises ModelUnavailable, EngineFailed and DeadlineExceeded; the next one may find out."""
        offered = self._settings.openai_workspace_models
        if name not in offered:
            there = ", ".join(offered) or "none"
            raise ModelUnavailable(f"{name!r} is asked for; {variable('openai_workspace_models')} offers {there}.")
        with self._lock:
            found = self._surveys.get(name)
            if found is None or (found.done() and (found.cancelled() or found.exception() is not None)):
                log.info("A model is looked at.", action="model_survey", model=name)
                found = self._surveys[name] = self.asking.begin(survey(self.asking.endpoint, self._settings, name))
        return told(found, deadline)
