"""The CDN: attached files over HTTP, good ones and those that a careful bot must survive."""

from __future__ import annotations

import asyncio
import mimetypes
from typing import TYPE_CHECKING

from aiohttp import web

from tests.bots.discord.standin.message import Attachment

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.server import StandInDiscord

CHUNK_BYTES = 64 * 1024
DAY_S = 86_400


class Cdn:
    """Serves every published attachment under a URL with its channel, id and name, as Discord's does."""

    def __init__(self, discord: StandInDiscord) -> None:
        self._discord = discord
        self._files: dict[int, Attachment] = {}
        self.served: list[str] = []
        """The path of every file that was fetched."""

    def publish(self, channel: Channel, file: Attachment) -> Attachment:
        """Give a file its id and URL."""
        file.id = file.id or self._discord.snowflakes.next()
        expires_at = int(self._discord.clock.now()) + DAY_S
        file.url = (
            file.url or f"{self._discord.cdn_url}/attachments/{channel.id}/{file.id}/{file.filename}?ex={expires_at:x}"
        )
        file.content_type = file.content_type or mimetypes.guess_type(file.filename)[0]
        self._files[file.id] = file
        return file

    def add_to(self, app: web.Application) -> None:
        """Serve the files."""
        app.router.add_get("/attachments/{channel_id}/{file_id}/{filename}", self._serve)

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        self.served.append(http.path)
        file = self._files.get(int(http.match_info["file_id"]))
        if file is None:
            return web.Response(status=404, text="This content is no longer available.")
        if file.redirect_to is not None:
            return web.Response(status=302, headers={"Location": file.redirect_to})
        response = web.StreamResponse(headers={"Content-Type": file.content_type or "application/octet-stream"})
        if file.announced_size is None:
            response.content_length = len(file.content)
        await response.prepare(http)
        try:
            for start in range(0, len(file.content), CHUNK_BYTES):
                await response.write(file.content[start : start + CHUNK_BYTES])
                if file.chunk_delay_s:
                    await asyncio.sleep(file.chunk_delay_s)  # a slow server is what this file stands for
            await response.write_eof()
        except ConnectionError:
            pass  # the reader had enough
        return response
