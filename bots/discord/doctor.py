"""What is wrong with the Discord bot, asked of Discord itself over REST: no gateway, nothing is sent to anyone.

Token, clock, rate limit, intents, how many connections are left for today, registered commands, permissions by channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import discord

from bots.discord import slash
from bots.discord.client import PajamaClient
from bots.discord.server import use_addresses
from core.findings import Finding, Verdict
from core.settings import Settings, variable

NEEDED = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True, read_message_history=True,
    attach_files=True, embed_links=True,
)  # fmt: skip
"""What the bot asks for when it is invited, and what a channel must grant for it to answer there."""

INVITED_WITH = discord.Permissions(NEEDED.value | discord.Permissions(create_public_threads=True).value)
"""What is asked for beside that: staff's threads, without which they reply to a message instead."""

MAX_SKEW_S = 5.0
MOST_GUILDS = 25
_LOW_STARTS = 50
_PATIENCE_S = 20.0
_FEW = 5


def invite_url(application_id: int) -> str:
    """The address at which someone who manages a guild adds the bot to it."""
    return discord.utils.oauth_url(application_id, permissions=INVITED_WITH, scopes=("bot", "applications.commands"))


async def own_invite_url(settings: Settings) -> str:
    """The invite address of the bot whose token is set. Raises discord.LoginFailure, and OSError where Discord is away."""
    use_addresses(settings)
    async with _logged_in(settings) as client:
        await client.login(settings.discord_token.get_secret_value())
        return invite_url(client.application_id or 0)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding, in the order in which a fault would show."""
    if not settings.discord_token.get_secret_value():
        yield Finding("Token", "failure", f"{variable('discord_token')} is empty: Discord is off")
        return
    use_addresses(settings)
    async with _logged_in(settings) as client:
        try:
            clock, limit = await _clock_and_limit(settings)
            if limit.verdict != "ok":
                for finding in (clock, limit):
                    yield finding
                return
            await client.login(settings.discord_token.get_secret_value())
        except discord.LoginFailure:
            yield Finding("Token", "failure", f"{variable('discord_token')} is refused: make a new one, and set that")
            return
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            yield Finding("Token", "failure", f"Discord cannot be reached at {settings.discord_api_base}: {error}")
            return
        yield Finding("Token", "ok", f"{client.user} (application {client.application_id})")
        yield clock
        yield limit
        try:
            async for finding in _of_bot(client, settings):
                yield finding
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            yield Finding("Discord", "failure", f"it did not answer the rest: {error}")


async def _of_bot(client: discord.Client, settings: Settings) -> AsyncIterator[Finding]:
    """What only Discord knows of the bot."""
    yield await _intents(client, settings)
    yield await _starts(client)
    yield await _commands(client)
    async for finding in _guilds(client):
        yield finding


def _logged_in(settings: Settings) -> PajamaClient:
    return PajamaClient(message_content=False, proxy=settings.discord_proxy or None)


async def _clock_and_limit(settings: Settings) -> tuple[Finding, Finding]:
    """What one request tells of both, asked first and without discord.py, which would wait for a limit."""
    authorization = {"Authorization": f"Bot {settings.discord_token.get_secret_value()}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{settings.discord_api_base}/users/@me",
            headers=authorization,
            proxy=settings.discord_proxy or None,
            timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
        ) as answer,
    ):
        return _clock(answer.headers.get("Date")), _limit(answer.status, answer.headers)


def _clock(told: str | None) -> Finding:
    """Interactions and snowflakes are read by this machine's clock."""
    if told is None:
        return Finding("Clock", "warning", "Discord did not say what time it is")
    skew_s = (datetime.now(UTC) - parsedate_to_datetime(told)).total_seconds()
    if abs(skew_s) > MAX_SKEW_S:
        return Finding("Clock", "failure", f"this machine's clock is {skew_s:+.0f} s off: let it follow a time server")
    return Finding("Clock", "ok", f"{skew_s:+.1f} s from Discord's")


def _limit(status: int, headers: Mapping[str, str]) -> Finding:
    """Whether Discord holds the bot back: everything of it (`global`), or all of this machine (no scope)."""
    if status != 429:
        return Finding("Rate limit", "ok", "Discord holds nothing back")
    whose = {"global": "all of this bot's requests", "user": "this bot", "shared": "this bot"}
    scope = whose.get(headers.get("X-RateLimit-Scope", ""), "this machine's address")
    return Finding("Rate limit", "failure", f"Discord holds back {scope} for {headers.get('Retry-After', '?')} s")


async def _intents(client: discord.Client, settings: Settings) -> Finding:
    flags = (await client.application_info()).flags
    granted = flags.gateway_message_content or flags.gateway_message_content_limited
    if not settings.discord_message_content:
        return Finding("Message Content", "warning", f"not asked for ({variable('discord_message_content')})")
    if not granted:
        where = "Discord's developer page → Bot → Privileged Gateway Intents"
        return Finding("Message Content", "warning", f"not granted, so only mentions, DMs and commands work: {where}")
    return Finding("Message Content", "ok", "granted")


async def _starts(client: discord.Client) -> Finding:
    shards, _, limits = await client.http.get_bot_gateway()
    left, total = limits["remaining"], limits["total"]
    verdict: Verdict = "ok" if left > _LOW_STARTS else "warning"
    return Finding(
        "Connections", verdict, f"{left} of {total} left for today, {shards} shard{'s' if shards > 1 else ''}"
    )


async def _commands(client: discord.Client) -> Finding:
    registered = await client.http.get_global_commands(client.application_id or 0)
    if missing := slash.missing(registered):
        which = f"not registered as they are: {', '.join(missing)}"
        return Finding("Commands", "warning", f"{which}; the bot's next start does it")
    return Finding("Commands", "ok", f"{len(registered)} registered")


async def _guilds(client: discord.Client) -> AsyncIterator[Finding]:
    seen = 0
    async for guild in client.fetch_guilds(limit=MOST_GUILDS + 1):
        if seen == MOST_GUILDS:
            yield Finding("Guilds", "ok", f"more than {MOST_GUILDS}: the others are not looked at")
            return
        seen += 1
        yield await _guild(client, guild.id, guild.name)
    if not seen:
        yield Finding("Guilds", "warning", f"none: invite the bot with {invite_url(client.application_id or 0)}")


async def _guild(client: discord.Client, guild_id: int, name: str) -> Finding:
    guild = await client.fetch_guild(guild_id, with_counts=False)
    me = await guild.fetch_member(client.user.id if client.user else 0)
    channels = [c for c in await guild.fetch_channels() if isinstance(c, discord.TextChannel | discord.ForumChannel)]
    lacking = {channel.name: _lacking(channel.permissions_for(me)) for channel in channels}
    deaf = {channel: names for channel, names in lacking.items() if names}
    if not deaf:
        return Finding(name, "ok", f"{len(channels)} channels")
    told = "; ".join(f"#{channel} lacks {', '.join(names)}" for channel, names in list(deaf.items())[:_FEW])
    more = f"; and {len(deaf) - _FEW} more" if len(deaf) > _FEW else ""
    return Finding(name, "warning", f"{len(channels) - len(deaf)} of {len(channels)} channels are whole; {told}{more}")


def _lacking(granted: discord.Permissions) -> list[str]:
    return [permission for permission, needed in NEEDED if needed and not getattr(granted, permission)]
