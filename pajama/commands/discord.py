"""`pajama discord`: what is needed once, when the bot is set up."""

from __future__ import annotations

import asyncio
import sys

from core.errors import ServiceUnavailable, SettingsError
from core.settings import variable
from pajama.console import settings_of


def invite_url() -> None:
    """Print where the bot is added to a guild."""
    import aiohttp
    import discord

    from bots.discord.doctor import own_invite_url

    settings = settings_of("discord")
    if not settings.discord_token.get_secret_value():
        raise SettingsError(f"{variable('discord_token')} is empty: set the bot's token first.")
    try:
        url = asyncio.run(own_invite_url(settings))
    except discord.LoginFailure as error:
        raise SettingsError(f"{variable('discord_token')} is refused by Discord: {error}") from error
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise ServiceUnavailable(f"Discord cannot be reached at {settings.discord_api_base}: {error}") from error
    sys.stdout.write(url + "\n")
