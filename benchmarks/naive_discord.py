"""The baseline: what most Discord bots with a model do, all of it in `on_message`. No store, no queue, no ledger.

The tokens come over HTTP; the first is sent, and what has come meanwhile is edited in each second, unless the last edit
is still on its way. `python -m benchmarks.naive_discord FILE`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from benchmarks.vitals import note_vitals

EDIT_EVERY_S = 1.0


class NaiveClient(discord.AutoShardedClient):
    """Answers mentions and DMs."""

    def __init__(self, model_url: str) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=intents)
        self._model_url = model_url
        self._session: aiohttp.ClientSession | None = None

    async def setup_hook(self) -> None:
        """Connections without end to the model."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def on_message(self, message: discord.Message) -> None:
        """Ask the model and show what it says, as it says it."""
        assert self._session is not None
        if message.author.bot or not (message.guild is None or self.user in message.mentions):
            return
        loop, words = asyncio.get_running_loop(), ""
        shown: discord.Message | None = None
        editing: asyncio.Task[discord.Message] | None = None
        edited_at = 0.0
        async with message.channel.typing(), self._session.post(self._model_url, data=message.content) as tokens:
            async for token in tokens.content:
                words += token.decode().rstrip("\n")
                if shown is None:
                    shown, edited_at = await message.reply(words), loop.time()
                elif loop.time() - edited_at >= EDIT_EVERY_S and (editing is None or editing.done()):
                    editing = asyncio.create_task(shown.edit(content=words))
                    edited_at = loop.time()
        if editing is not None:
            await asyncio.wait({editing})
        if shown is not None:
            await shown.edit(content=words)


async def main(vitals: Path) -> None:
    """Talk until the process is ended."""
    Route.BASE = os.environ["NAIVE_API_BASE"]
    DiscordWebSocket.DEFAULT_GATEWAY = URL(os.environ["NAIVE_GATEWAY_URL"])
    noting = asyncio.create_task(note_vitals(vitals))
    async with NaiveClient(os.environ["NAIVE_MODEL_URL"]) as client:
        await client.start(os.environ["NAIVE_TOKEN"])
    noting.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
