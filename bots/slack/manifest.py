"""The app's manifest, made from what the code listens to and calls: the least scopes, events, commands and shortcuts."""

from __future__ import annotations

from typing import Any, Literal

from bots.slack.slash import COMMAND, SHORTCUT_CALLS
from bots.texts import text

Json = dict[str, Any]

SCOPES = (
    "app_mentions:read", "assistant:write", "channels:history", "chat:write", "commands", "files:read", "files:write",
    "groups:history", "im:history", "im:write", "mpim:history", "reactions:read", "users:read",
)  # fmt: skip
EVENTS = (
    "agent_session_stopped", "app_home_opened", "app_mention", "app_uninstalled", "message.channels", "message.groups",
    "message.im", "message.mpim", "reaction_added", "reaction_removed", "tokens_revoked",
)  # fmt: skip
EXAMPLE_URL = "https://pajama.example.com/slack/events"


def manifest(mode: Literal["socket", "http"], url: str = EXAMPLE_URL) -> Json:
    """What is pasted at api.slack.com to make the app. `url`: where Slack POSTs, in HTTP mode."""
    by_http: Json = {"request_url": url} if mode == "http" else {}
    command_url: Json = {"url": url} if mode == "http" else {}
    shortcuts = [
        {"name": text(key), "type": "message", "callback_id": callback_id, "description": text(key)}
        for callback_id, key in zip(
            SHORTCUT_CALLS, ("menu_answer", "menu_translate", "menu_summarise_thread"), strict=True
        )
    ]
    return {
        "display_information": {"name": "Pajama", "description": text("slack_description")},
        "features": {
            "agent_view": {"agent_description": text("slack_description")},
            "app_home": {
                "home_tab_enabled": True, "messages_tab_enabled": True, "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "Pajama", "always_online": True},
            "slash_commands": [
                {
                    "command": COMMAND, "description": text("slack_description"), "usage_hint": "help",
                    "should_escape": True, **command_url,
                }
            ],
            "shortcuts": shortcuts,
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**by_http, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **by_http},
            "org_deploy_enabled": False,
            "socket_mode_enabled": mode == "socket",
            "token_rotation_enabled": False,
        },
    }  # fmt: skip
