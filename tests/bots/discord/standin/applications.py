"""The REST routes of the application: what it is, its commands, and how to connect it."""

from __future__ import annotations

from typing import Any

from tests.bots.discord.standin import payloads, routes
from tests.bots.discord.standin.calls import Call, serves, unknown

Json = dict[str, Any]

CHAT_INPUT = 1
SHARD_SIZE = 1000


@serves(routes.GATEWAY)
def gateway(call: Call) -> Json:
    """Where to connect."""
    return {"url": call.discord.gateway_url}


@serves(routes.GATEWAY_BOT)
def gateway_bot(call: Call) -> Json:
    """Where to connect, with how many shards, how often."""
    discord = call.discord
    starts = discord.limits.session_starts
    remaining = max(starts - discord.gateway.identifies, 0)
    concurrency = discord.limits.max_concurrency
    return {
        "url": discord.gateway_url,
        "shards": discord.shards or max(1, -(-len(discord.guilds) // SHARD_SIZE)),
        "session_start_limit": {
            "total": starts, "remaining": remaining, "reset_after": 86_400_000, "max_concurrency": concurrency,
        },
    }  # fmt: skip


@serves(routes.APPLICATION)
@serves(routes.OAUTH_APPLICATION)
def application(call: Call) -> Json:
    """The application."""
    discord = call.discord
    return {
        "id": str(discord.application_id), "name": discord.bot.name, "icon": None, "description": discord.description,
        "rpc_origins": [], "bot_public": True, "bot_require_code_grant": False, "owner": payloads.user(discord.owner),
        "verify_key": "0" * 64, "team": None, "flags": discord.application_flags, "bot": payloads.user(discord.bot),
        "approximate_guild_count": len(discord.guilds), "tags": [], "redirect_uris": [],
        "interactions_endpoint_url": None, "integration_types_config": {"0": {}},
    }  # fmt: skip


@serves(routes.EDIT_APPLICATION)
def edit_application(call: Call) -> Json:
    """Change the application's description."""
    call.discord.description = call.json.get("description", call.discord.description)
    answer: Json = application(call)
    return answer


# Commands


def _scope(call: Call) -> int | None:
    """The guild of the commands; None for the global ones."""
    if call.number("application_id") != call.discord.application_id:
        raise unknown("Application", 10002)
    return call.guild().id if "guild_id" in call.http.match_info else None


def _registered(call: Call) -> dict[int, Json]:
    return call.discord.commands.setdefault(_scope(call), {})


def _completed(call: Call, asked: Json, command_id: int | None = None) -> Json:
    discord, guild_id = call.discord, _scope(call)
    command = {
        "id": str(command_id or discord.snowflakes.next()), "application_id": str(discord.application_id),
        "version": str(discord.snowflakes.next()), "type": CHAT_INPUT, "description": "", "nsfw": False,
        "default_member_permissions": None, "dm_permission": True, "contexts": None, "integration_types": [0],
        "name_localizations": None, "description_localizations": None, "options": [],
    }  # fmt: skip
    command |= {key: value for key, value in asked.items() if value is not None}
    return command if guild_id is None else command | {"guild_id": str(guild_id)}


def _same(one: Json, other: Json) -> bool:
    kinds = one.get("type", CHAT_INPUT), other.get("type", CHAT_INPUT)
    return bool(one["name"] == other["name"] and kinds[0] == kinds[1])


def _upsert(call: Call, asked: Json) -> Json:
    registered = _registered(call)
    earlier = next((int(one["id"]) for one in registered.values() if _same(one, asked)), None)
    command = _completed(call, asked, earlier)
    registered[int(command["id"])] = command
    call.status = 200 if earlier else 201
    return command


def _shown(call: Call, command: Json) -> Json:
    if call.query.get("with_localizations", "true").lower() in {"1", "true"}:
        return command
    return {key: value for key, value in command.items() if not key.endswith("_localizations")}


@serves(routes.COMMANDS)
@serves(routes.GUILD_COMMANDS)
def list_commands(call: Call) -> list[Json]:
    """What is registered."""
    return [_shown(call, command) for command in _registered(call).values()]


@serves(routes.PUT_COMMANDS)
@serves(routes.PUT_GUILD_COMMANDS)
def put_commands(call: Call) -> list[Json]:
    """Register exactly these; those that were there keep their ids."""
    earlier = list(_registered(call).values())
    commands = []
    for asked in call.request.json or []:
        known = next((int(one["id"]) for one in earlier if _same(one, asked)), None)
        commands.append(_completed(call, asked, known))
    call.discord.commands[_scope(call)] = {int(command["id"]): command for command in commands}
    return commands


@serves(routes.CREATE_COMMAND)
@serves(routes.CREATE_GUILD_COMMAND)
def create_command(call: Call) -> Json:
    """Register one; the same name again replaces it."""
    return _upsert(call, call.json)


@serves(routes.COMMAND)
@serves(routes.GUILD_COMMAND)
def get_command(call: Call) -> Json:
    """One command."""
    registered, command_id = _registered(call), call.number("command_id")
    if command_id not in registered:
        raise unknown("Application command", 10063)
    return registered[command_id]


@serves(routes.EDIT_COMMAND)
@serves(routes.EDIT_GUILD_COMMAND)
def edit_command(call: Call) -> Json:
    """Change one command."""
    command: Json = get_command(call)
    command |= call.json | {"version": str(call.discord.snowflakes.next())}
    return command


@serves(routes.DELETE_COMMAND)
@serves(routes.DELETE_GUILD_COMMAND)
def delete_command(call: Call) -> None:
    """Remove one command."""
    command = get_command(call)
    del _registered(call)[int(command["id"])]
