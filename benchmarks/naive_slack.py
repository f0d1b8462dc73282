"""The baseline: what most Slack bots with a model do, all of it in one slack-bolt listener. No store, no queue, no ledger.

The tokens come over HTTP; the first is posted, and what has come meanwhile replaces it each second. What Slack refuses is
lost, as slack_sdk by itself tries no rate limit again. `python -m benchmarks.naive_slack FILE`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.vitals import note_vitals

UPDATE_EVERY_S = 1.0


def make_app(client: AsyncWebClient, session: aiohttp.ClientSession, model_url: str) -> AsyncApp:
    """Answers direct messages in their threads."""
    app = AsyncApp(client=client, signing_secret="socket mode needs none")

    @app.event("message")
    async def said(event: dict[str, Any]) -> None:
        if event.get("channel_type") != "im" or event.get("bot_id") or event.get("subtype"):
            return
        loop, words, ts, updated_at = asyncio.get_running_loop(), "", "", 0.0
        async with session.post(model_url, data=event["text"]) as tokens:
            async for token in tokens.content:
                words += token.decode().rstrip("\n")
                if not ts:
                    posted = await client.chat_postMessage(channel=event["channel"], thread_ts=event["ts"], text=words)
                    ts, updated_at = str(posted["ts"]), loop.time()
                elif loop.time() - updated_at >= UPDATE_EVERY_S:
                    await client.chat_update(channel=event["channel"], ts=ts, text=words)
                    updated_at = loop.time()
        await client.chat_update(channel=event["channel"], ts=ts, text=words)

    return app


async def main(vitals: Path) -> None:
    """Talk until the process is ended."""
    noting = asyncio.create_task(note_vitals(vitals))
    base = os.environ["NAIVE_API_BASE"]
    client = AsyncWebClient(token=os.environ["NAIVE_BOT_TOKEN"], base_url=base)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app = make_app(client, session, os.environ["NAIVE_MODEL_URL"])
        handler = AsyncSocketModeHandler(app, os.environ["NAIVE_APP_TOKEN"], web_client=AsyncWebClient(base_url=base))
        await handler.start_async()  # type: ignore[no-untyped-call]
    noting.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
