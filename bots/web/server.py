"""The process of the web page: uvicorn on an opened Service, stopped fast and cleanly by SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from bots.web.app import create_app
from core.errors import SettingsError
from core.service import Service, open_service
from core.settings import Settings

log = structlog.get_logger(__name__)

_GRACE_S = 1
"""For requests that are being answered; streams end at once, and the page comes back to them."""


class Server(uvicorn.Server):
    """uvicorn that sets `closing` first when it stops, so that streams end, and leaves signals to `serve`.

    uvicorn itself would raise the signal again at its end, before SQL and Redis are closed.
    """

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything else."""
        self._closing.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Stop soon."""
        self.should_exit = True


async def serve(settings: Settings) -> None:
    """Serve the page until SIGTERM or SIGINT. Raises SettingsError where its address cannot be used."""
    listener = listen(settings)
    async with open_service(settings) as service:
        server = make_server(service, settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        log.info("The page is served.", action="web_ready", url=url_of(listener))
        await server.serve(sockets=[listener])
    log.info("The page is closed.", action="web_stopped")


def make_server(service: Service, settings: Settings) -> Server:
    """A server of the page, to be given a listening socket."""
    closing = asyncio.Event()
    config = uvicorn.Config(
        create_app(service, settings, closing),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        ws="none",
        lifespan="off",
    )
    return Server(config, closing)


def listen(settings: Settings) -> socket.socket:
    """The socket that the page listens on. Raises SettingsError."""
    host, port = settings.web_host, settings.web_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise SettingsError(
            f"PAJAMA_WEB_PORT: {host}:{port} cannot be listened on ({error.strerror or error}). Free it or set another."
        ) from error


def url_of(listener: socket.socket) -> str:
    """The page's address, with the port that was found where none was asked for."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
