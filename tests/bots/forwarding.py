"""A proxy that gives every connection to one server."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class ForwardingProxy:
    """Gives every connection to one server, whatever host is asked for: a server takes a whole URL as well as a path."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        """Returns its URL."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for end in self._ends:
            end.cancel()
        await asyncio.gather(*self._ends, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for source, goal in ((reader, back), (there, writer)):
            end = asyncio.create_task(_copy(source, goal))
            self._ends.add(end)
            end.add_done_callback(self._ends.discard)


async def _copy(source: asyncio.StreamReader, goal: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                goal.write(data)
                await goal.drain()
    finally:
        goal.close()
