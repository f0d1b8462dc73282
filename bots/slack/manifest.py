"""The app's manifest, made from what the code listens to and calls: the least scopes, events, commands and shortcuts.

Each scope and event stands here with what it is for, which the doctor and the docs say too.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml

from bots.slack.slash import COMMAND, SHORTCUT_CALLS
from bots.texts import text

Json = dict[str, Any]
Mode = Literal["socket", "http"]

EVENTS_PATH, INSTALL_PATH, REDIRECT_PATH = "/slack/events", "/slack/install", "/slack/oauth_redirect"

SCOPES = {
    "app_mentions:read": "hear where it is mentioned",
    "assistant:write": "statuses, titles and suggested prompts of the agent view",
    "channels:history": "hear public channels that it is in, and read what it missed there",
    "chat:write": "answer",
    "commands": "the slash command and the shortcuts",
    "files:read": "read text files that come with a question",
    "files:write": "hand over long answers and exports as files",
    "groups:history": "the same in private channels",
    "im:history": "hear direct messages",
    "im:write": "write first to somebody in private: exports, and where it may not write",
    "mpim:history": "hear group messages that it is in",
    "reactions:read": "👍 and 👎",
    "users:read": "names, languages and who is an admin",
}

EVENTS = {
    "agent_session_stopped": "Slack's own stop button",
    "app_home_opened": "the App Home, and the prompts of a new chat",
    "app_mention": "mentions",
    "app_uninstalled": "the end of an installation",
    "message.channels": "threads that go on without a mention, edits and deletions in public channels",
    "message.groups": "the same in private channels",
    "message.im": "direct messages",
    "message.mpim": "group messages",
    "reaction_added": "👍 and 👎",
    "reaction_removed": "and their end",
    "tokens_revoked": "the end of a token",
}

EXAMPLE_URL = "https://pajama.example.com"
_MENU_KEYS = ("menu_answer", "menu_translate", "menu_summarise_thread")


def manifest(mode: Mode, public_url: str = EXAMPLE_URL, *, oauth: bool = False) -> Json:
    """What is pasted at api.slack.com to make the app. `public_url`: how Slack and people reach our HTTP server."""
    by_http: Json = {"request_url": f"{public_url}{EVENTS_PATH}"} if mode == "http" else {}
    command_url: Json = {"url": f"{public_url}{EVENTS_PATH}"} if mode == "http" else {}
    redirect: Json = {"redirect_urls": [f"{public_url}{REDIRECT_PATH}"]} if oauth else {}
    shortcuts = [
        {"name": text(key), "type": "message", "callback_id": callback_id, "description": text(key)}
        for callback_id, key in zip(SHORTCUT_CALLS, _MENU_KEYS, strict=True)
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
        "oauth_config": {**redirect, "scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**by_http, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **by_http},
            "org_deploy_enabled": oauth,
            "socket_mode_enabled": mode == "socket",
            "token_rotation_enabled": oauth,
        },
    }  # fmt: skip


def manifest_yaml(mode: Mode, public_url: str = EXAMPLE_URL, *, oauth: bool = False) -> str:
    """The manifest as YAML."""
    return yaml.safe_dump(manifest(mode, public_url, oauth=oauth), sort_keys=False, allow_unicode=True, width=120)
