"""Registering the commands with Discord, only when they have changed: Discord counts every registration.

What was registered is known by its fingerprint; whether it is still there is asked of Discord, since another program
with the same token may have registered its own.
"""

from __future__ import annotations

import discord
import structlog

from bots.discord import slash
from bots.discord.wire import Refused, surely
from core.errors import QueueUnavailable
from core.service import Service

log = structlog.get_logger(__name__)


def note_name(application_id: int) -> str:
    """Where the fingerprint of what is registered is kept."""
    return f"discord:commands:{application_id}"


async def register_commands(client: discord.Client, service: Service) -> bool:
    """Send the commands where Discord has others. Whether they were sent."""
    application_id = client.application_id
    if application_id is None:
        return False
    fingerprint, name = slash.fingerprint(), note_name(application_id)
    try:
        if await service.notes.recall(name) == fingerprint and not await _missing(client):
            return False
    except (QueueUnavailable, Refused) as error:
        log.warning("What is registered is not known.", action="commands_unknown", reason=str(error))
    payload = slash.payload()
    try:
        await surely(lambda: client.http.bulk_upsert_global_commands(application_id, payload), what="commands")
        await service.notes.remember(name, fingerprint)
    except (Refused, QueueUnavailable) as error:
        log.warning("The commands were not registered.", action="commands_failed", reason=str(error))
        return False
    log.info("The commands were registered.", action="commands_registered", commands=len(payload))
    return True


async def _missing(client: discord.Client) -> list[str]:
    """What of ours Discord does not have. Raises Refused."""
    application_id = client.application_id or 0
    return slash.missing(await surely(lambda: client.http.get_global_commands(application_id), what="registered"))
