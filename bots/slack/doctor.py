"""What is wrong with the Slack app, asked of Slack itself: nothing is said to anyone.

Tokens, scopes, mode, clock, installations, and which events have come. What an app is subscribed to only its own page
shows; here is seen which of it has arrived.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.desks import web_client
from bots.slack.heard import heard
from bots.slack.installations import Installations
from bots.slack.manifest import EVENTS, EVENTS_PATH, INSTALL_PATH, SCOPES
from bots.slack.server import check
from bots.slack.tokens import GONE
from core.database import AsyncDatabase
from core.errors import DatabaseUnavailable, QueueUnavailable, SettingsError
from core.findings import Finding, Verdict
from core.redis import connect
from core.settings import Settings, variable

MAX_SKEW_S = 60.0
"""Slack's signatures hold for five minutes."""

_PAGE = "api.slack.com/apps → your app"
_SCOPES_AT = f"{_PAGE} → OAuth & Permissions → Bot Token Scopes; then install it again"
_MOST_TEAMS = 25
_TIMEOUT_S = 10.0
_UNREACHABLE = (SlackClientError, aiohttp.ClientError, OSError, TimeoutError)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding, in the order in which a fault would show."""
    if not settings.slack_wanted:
        detail = f"{variable('slack_bot_token')} and {variable('slack_client_id')} are empty: Slack is off"
        yield Finding("Settings", "failure", detail)
        return
    try:
        check(settings)
    except SettingsError as error:
        yield Finding("Settings", "failure", str(error))
    yield await (_by_socket(settings) if settings.slack_mode == "socket" else _by_http(settings))
    if settings.slack_by_oauth:
        async for finding in _installations(settings):
            yield finding
    else:
        token = settings.slack_bot_token.get_secret_value()
        async for finding in _workspace("Bot token", web_client(settings, token)):
            yield finding
    yield _events(settings)


# How events come


async def _by_socket(settings: Settings) -> Finding:
    """Whether Slack lets us connect; the address that it hands out is used up by nobody."""
    token = settings.slack_app_token.get_secret_value()
    if not token.startswith("xapp-"):
        where = f"{_PAGE} → Basic Information → App-Level Tokens → Generate, with connections:write"
        return Finding("Socket Mode", "failure", f"{variable('slack_app_token')} should begin with xapp-: {where}")
    try:
        await web_client(settings).apps_connections_open(app_token=token)
    except SlackApiError as error:
        return Finding("Socket Mode", "failure", _why_no_socket(error.response.get("error", "")))
    except _UNREACHABLE as error:
        return Finding("Socket Mode", "failure", _unreachable(settings, error))
    return Finding("Socket Mode", "ok", "Slack lets the app connect")


def _why_no_socket(code: str) -> str:
    if code == "missing_scope":
        return f"the app token lacks connections:write: {_PAGE} → Basic Information → App-Level Tokens"
    if code in ("not_allowed_token_type", "invalid_auth", "not_authed"):
        return f"{variable('slack_app_token')} is refused ({code}): {_PAGE} → Basic Information → App-Level Tokens"
    return f"Slack refuses ({code}); is it on? {_PAGE} → Socket Mode"


async def _by_http(settings: Settings) -> Finding:
    """Whether our request URL answers a question that is signed as Slack signs."""
    secret = settings.slack_signing_secret.get_secret_value()
    if not re.fullmatch(r"[0-9a-f]{32}", secret):
        where = f"{_PAGE} → Basic Information → App Credentials → Signing Secret"
        verdict: Verdict = "warning" if secret else "failure"
        return Finding("Request URL", verdict, f"{variable('slack_signing_secret')} should be 32 hex digits: {where}")
    if not settings.slack_public_url:
        detail = f"{variable('slack_public_url')} is empty, so it is not known whether Slack can reach us"
        return Finding("Request URL", "warning", detail)
    url, challenge = f"{settings.slack_public_url}{EVENTS_PATH}", secrets.token_hex(8)
    body, stamp = json.dumps({"type": "url_verification", "challenge": challenge}), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": str(SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)),
    }
    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,  # which knows the proxy
            session.post(url, data=body, headers=headers) as answer,
        ):
            well = answer.status == 200 and challenge in await answer.text()
            status = answer.status
    except _UNREACHABLE as error:
        return Finding("Request URL", "failure", f"{url} does not answer: {str(error) or repr(error)}")
    if not well:
        detail = f"{url} answers {status}: does the bot run there, with this signing secret?"
        return Finding("Request URL", "failure", detail)
    return Finding("Request URL", "ok", f"{url} answers; it belongs at {_PAGE} → Event Subscriptions")


# Whose token


async def _installations(settings: Settings) -> AsyncIterator[Finding]:
    """Each workspace that installed the app."""
    install = f"{settings.slack_public_url}{INSTALL_PATH}"
    if not settings.slack_public_url:
        yield Finding("Install page", "warning", f"{variable('slack_public_url')} is empty: set what people can reach")
    database = AsyncDatabase(settings.effective_database_url)
    try:
        bots = await Installations(database, settings.slack_client_id).newest(_MOST_TEAMS)
    except DatabaseUnavailable as error:
        yield Finding("Installations", "failure", str(error))
        return
    finally:
        await database.close()
    if not bots:
        yield Finding("Installations", "warning", f"none: open {install} and press “Add to Slack”")
    for bot in bots:
        name = bot.team_name or bot.enterprise_name or bot.team_id or "?"
        if bot.bot_token_expires_at is not None and bot.bot_token_expires_at < time.time():
            yield Finding(
                name, "failure", f"its token has ended and was not renewed: install the app again at {install}"
            )
            continue
        async for finding in _workspace(name, web_client(settings, bot.bot_token)):
            yield finding


async def _workspace(what: str, client: AsyncWebClient) -> AsyncIterator[Finding]:
    """What Slack says of one token: whose it is, what it may, and what time it is there."""
    token = client.token or ""
    if not re.match(r"xox(e\.xox)?b-", token):
        where = f"{_PAGE} → OAuth & Permissions → Bot User OAuth Token"
        yield Finding(what, "failure", f"it should begin with xoxb-: {where}")
        return
    try:
        told = await client.auth_test()
    except SlackApiError as error:
        yield Finding(what, "failure", _why_no_token(error.response.get("error", "")))
        return
    except _UNREACHABLE as error:
        yield Finding(what, "failure", f"Slack cannot be reached at {client.base_url}: {str(error) or repr(error)}")
        return
    headers: Mapping[str, Any] = {name.lower(): value for name, value in told.headers.items()}
    yield Finding(what, "ok", f"{told.get('user')} in {told.get('team')} ({told.get('url')})")
    yield _scopes(str(headers.get("x-oauth-scopes") or ""))
    yield _clock(headers.get("date"))


def _why_no_token(code: str) -> str:
    if code in GONE:
        return f"the app was removed from the workspace ({code}): {_PAGE} → Install App, and set the new token"
    return f"Slack refuses it ({code}): {_PAGE} → OAuth & Permissions → Bot User OAuth Token"


def _scopes(granted: str) -> Finding:
    has = {scope.strip() for scope in granted.split(",") if scope.strip()}
    if missing := [f"{scope} ({what})" for scope, what in SCOPES.items() if scope not in has]:
        return Finding("Scopes", "failure", f"missing: {'; '.join(missing)}. {_SCOPES_AT}")
    if more := sorted(has - SCOPES.keys()):
        return Finding("Scopes", "warning", f"more than is needed: {', '.join(more)}. {_SCOPES_AT}")
    return Finding("Scopes", "ok", f"{len(has)}, which is what is needed")


def _clock(told: Any) -> Finding:
    """Signatures are refused that are older than five minutes."""
    if told is None:
        return Finding("Clock", "warning", "Slack did not say what time it is")
    skew_s = (datetime.now(UTC) - parsedate_to_datetime(str(told))).total_seconds()
    if abs(skew_s) > MAX_SKEW_S:
        return Finding("Clock", "failure", f"this machine's clock is {skew_s:+.0f} s off: let it follow a time server")
    return Finding("Clock", "ok", f"{skew_s:+.1f} s from Slack's")


# What has come


def _events(settings: Settings) -> Finding:
    """Which of the events that are needed have ever come; the others may only not have happened yet."""
    if not settings.redis_url:
        return Finding("Events", "warning", "no queue runs now, so it is not known which have come")
    try:
        with connect(settings.redis_url) as client:
            came = heard(client, settings.redis_prefix)
    except QueueUnavailable as error:
        return Finding("Events", "failure", str(error))
    not_yet = [f"{name} ({EVENTS[name]})" for name in EVENTS if name not in came]
    if not came:
        return Finding("Events", "warning", f"none has come yet: {_PAGE} → Event Subscriptions shows which are on")
    newest = max(came.values())
    if not_yet:
        where = f"{_PAGE} → Event Subscriptions"
        return Finding("Events", "ok", f"the last one came at {newest}; not yet: {'; '.join(not_yet)}. {where}")
    return Finding("Events", "ok", f"all kinds have come, the last one at {newest}")


def _unreachable(settings: Settings, error: BaseException) -> str:
    return f"Slack cannot be reached at {settings.slack_api_base}: {str(error) or repr(error)}"
