"""Logging: one line an event, a constant message with fields; on a terminal to read, elsewhere JSON.

Called once at the process edge. Records of libraries (Celery, uvicorn, SQLAlchemy) go the same way.
"""

from __future__ import annotations

import logging
import sys

import structlog

from core.settings import Settings

_QUIET = (
    "sqlalchemy",  # which else logs the rows that it reads: what people said
    "kombu",
    "celery.worker.consumer",
    "celery.utils.functional",
    "discord.client",  # which tells each login
    "httpcore2",
    "httpx",
    "httpx2",
    "uvicorn.access",
    "asyncio",
    "alembic",
)


def configure(settings: Settings, *, process: str) -> None:
    """Send everything to standard error, at the level and in the form of the settings; `process` names the sender."""
    as_text = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last: structlog.typing.Processor = (
        # Plain, since the default shows the variables of every frame: what people said, and passwords.
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if as_text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    exceptions = [] if as_text else [structlog.processors.format_exc_info]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _named(process: str) -> structlog.typing.Processor:
    def name(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return name
