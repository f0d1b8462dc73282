"""The process of the Discord bot: connect, go on in a smaller way without Message Content, stop within a moment."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import discord
import structlog
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bots.discord.client import PajamaClient
from bots.discord.handlers import Handlers
from bots.discord.wire import REQUESTS_AT_ONCE, REQUESTS_PER_S, Refused, surely, within
from bots.pacing import Allowance
from core.errors import SettingsError
from core.service import Service, open_service
from core.settings import Settings, variable
from core.tasks import end

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Talk on Discord until SIGTERM or SIGINT. Raises SettingsError where the token is missing or refused."""
    if not settings.discord_token.get_secret_value():
        raise SettingsError(
            f"{variable('discord_token')} is empty: it is the bot's token, from Discord's developer page."
        )
    use_addresses(settings)
    async with open_service(settings) as service, aiohttp.ClientSession() as session:
        talking = asyncio.ensure_future(talk(settings, service, session))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, talking.cancel)
        try:
            await talking
        except asyncio.CancelledError:
            log.info("The Discord bot ends.", action="discord_stopped")


def use_addresses(settings: Settings) -> None:
    """Where Discord is; discord.py keeps it in its classes."""
    Route.BASE = settings.discord_api_base
    if settings.discord_gateway_url:
        DiscordWebSocket.DEFAULT_GATEWAY = URL(settings.discord_gateway_url)


async def talk(settings: Settings, service: Service, session: aiohttp.ClientSession) -> None:
    """Be connected; without Message Content where Discord does not grant it."""
    if not settings.discord_message_content:
        log.warning(
            "Message Content is not asked for: mentions, replies, DMs and slash commands work, the rest does not.",
            action="discord_degraded",
        )
    try:
        await _connect(settings, service, session, message_content=settings.discord_message_content)
    except discord.PrivilegedIntentsRequired:
        log.warning(
            "Discord does not grant Message Content: mentions, replies, DMs and slash commands work, the rest does not."
            " Switch the intent on at Discord's developer page.",
            action="discord_degraded",
        )
        await _connect(settings, service, session, message_content=False)


async def _connect(
    settings: Settings, service: Service, session: aiohttp.ClientSession, *, message_content: bool
) -> None:
    allowance = Allowance(REQUESTS_PER_S, REQUESTS_AT_ONCE)
    client = PajamaClient(
        message_content=message_content,
        proxy=settings.discord_proxy or None,
        gateway_url=settings.discord_gateway_url,
        http_trace=within(allowance),
    )
    async with client:
        handlers = client.handlers = Handlers(client, service, settings, session, allowance)
        beating = asyncio.create_task(handlers.beat(), name="discord-beat")
        try:
            await _log_in(client, settings)
            await client.connect()
        finally:
            await end(beating)
            await handlers.close()


async def _log_in(client: discord.Client, settings: Settings) -> None:
    """Log in, however long Discord is away. Raises SettingsError where the token is refused."""

    async def login() -> None:
        await client.http.close()  # the session of the try before, and its connections
        client.http.connector = discord.utils.MISSING
        await client.login(settings.discord_token.get_secret_value())

    try:
        await surely(login, what="login")
    except discord.LoginFailure as error:
        raise SettingsError(f"{variable('discord_token')} is not a bot's token: {error}") from error
    except Refused as error:
        raise SettingsError(f"Discord refuses the login: {error}") from error
