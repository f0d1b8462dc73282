"""The Web API's methods around tokens: who am I, installing, refreshing, uninstalling, and where to connect."""

from __future__ import annotations

import base64
from typing import Any

from tests.bots.slack.standin.calls import ApiError, Call, serves
from tests.bots.slack.standin.tokens import Grant

Json = dict[str, Any]


@serves("api.test", token=None)
def api_test(call: Call) -> Json:
    """An echo."""
    if error := call.text("error"):
        raise ApiError(error, args=call.arguments)
    return {"args": call.arguments}


@serves("auth.test")
def auth_test(call: Call) -> Json:
    """Whose token this is."""
    team = call.team
    return {
        "url": f"https://{team.domain}.slack.com/", "team": team.name, "user": team.bot.handle, "team_id": team.id,
        "user_id": team.bot.id, "bot_id": team.bot_id, "is_enterprise_install": False,
    } | ({"enterprise_id": team.enterprise_id} if team.enterprise_id else {})  # fmt: skip


@serves("apps.connections.open", "connections:write", tier=3, token="app")
def connections_open(call: Call) -> Json:
    """Where to connect in Socket Mode, once."""
    if call.request.http_method != "POST":
        raise ApiError("insecure_request")
    return {"url": call.slack.sockets.ticket_url()}


@serves("oauth.v2.access", token=None)
def oauth_access(call: Call) -> Json:
    """A code or a refresh token for a bot token."""
    _check_client(call)
    if call.text("grant_type") == "refresh_token":
        grant = call.slack.tokens.refresh(call.need("refresh_token"))
    else:
        code = call.slack.tokens.redeem(call.need("code"), call.text("redirect_uri"))
        grant = code.team.install(code.user, code.scopes)
    return _installation(call, grant)


def _check_client(call: Call) -> None:
    client_id, secret = call.text("client_id"), call.text("client_secret")
    kind, _, credentials = call.http.headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        client_id, _, secret = base64.b64decode(credentials).decode().partition(":")
    if client_id != call.slack.client_id:
        raise ApiError("invalid_client_id")
    if secret != call.slack.client_secret:
        raise ApiError("bad_client_secret")


def _installation(call: Call, grant: Grant) -> Json:
    assert grant.team is not None and grant.user is not None
    team = grant.team
    document: Json = {
        "app_id": call.slack.app_id, "authed_user": {"id": grant.user.id}, "scope": ",".join(sorted(grant.scopes)),
        "token_type": "bot", "access_token": grant.token, "bot_user_id": team.bot.id, "is_enterprise_install": False,
        "team": {"id": team.id, "name": team.name},
        "enterprise": {"id": team.enterprise_id, "name": team.name} if team.enterprise_id else None,
    }  # fmt: skip
    if grant.expires_at is not None:
        document |= {"refresh_token": grant.refresh_token, "expires_in": call.slack.tokens.expires_s}
    return document


@serves("auth.revoke")
def auth_revoke(call: Call) -> Json:
    """Give the token back."""
    if not call.flag("test"):
        assert call.grant is not None
        call.grant.refusal = "token_revoked"
    return {"revoked": not call.flag("test")}


@serves("apps.uninstall", tier=1)
def uninstall(call: Call) -> Json:
    """Leave the workspace."""
    _check_client(call)
    call.team.uninstall()
    return {}


@serves("team.info", "team:read", tier=3)
def team_info(call: Call) -> Json:
    """The workspace."""
    team = call.team
    document: Json = {"id": team.id, "name": team.name, "domain": team.domain, "email_domain": "", "icon": {}}
    return {"team": document | ({"enterprise_id": team.enterprise_id} if team.enterprise_id else {})}


@serves("bots.info", "users:read", tier=3)
def bots_info(call: Call) -> Json:
    """The bot."""
    team = call.team
    if call.need("bot") != team.bot_id:
        raise ApiError("bot_not_found")
    return {
        "bot": {
            "id": team.bot_id, "deleted": False, "name": team.bot.name, "updated": 0, "app_id": call.slack.app_id,
            "user_id": team.bot.id, "icons": {},
        }
    }  # fmt: skip
