"""The names of the REST routes, method and template, as faults and recorded requests carry them."""

from __future__ import annotations

ME = "GET /users/@me"
GATEWAY = "GET /gateway"
GATEWAY_BOT = "GET /gateway/bot"
APPLICATION = "GET /applications/@me"
OAUTH_APPLICATION = "GET /oauth2/applications/@me"
EDIT_APPLICATION = "PATCH /applications/@me"
MY_GUILDS = "GET /users/@me/guilds"
USER = "GET /users/{user_id}"
OPEN_DM = "POST /users/@me/channels"

COMMANDS = "GET /applications/{application_id}/commands"
PUT_COMMANDS = "PUT /applications/{application_id}/commands"
CREATE_COMMAND = "POST /applications/{application_id}/commands"
COMMAND = "GET /applications/{application_id}/commands/{command_id}"
EDIT_COMMAND = "PATCH /applications/{application_id}/commands/{command_id}"
DELETE_COMMAND = "DELETE /applications/{application_id}/commands/{command_id}"
GUILD_COMMANDS = "GET /applications/{application_id}/guilds/{guild_id}/commands"
PUT_GUILD_COMMANDS = "PUT /applications/{application_id}/guilds/{guild_id}/commands"
CREATE_GUILD_COMMAND = "POST /applications/{application_id}/guilds/{guild_id}/commands"
GUILD_COMMAND = "GET /applications/{application_id}/guilds/{guild_id}/commands/{command_id}"
EDIT_GUILD_COMMAND = "PATCH /applications/{application_id}/guilds/{guild_id}/commands/{command_id}"
DELETE_GUILD_COMMAND = "DELETE /applications/{application_id}/guilds/{guild_id}/commands/{command_id}"

GUILD = "GET /guilds/{guild_id}"
GUILD_CHANNELS = "GET /guilds/{guild_id}/channels"
ACTIVE_THREADS = "GET /guilds/{guild_id}/threads/active"
ROLES = "GET /guilds/{guild_id}/roles"
MEMBERS = "GET /guilds/{guild_id}/members"
MEMBER = "GET /guilds/{guild_id}/members/{member_id}"

CHANNEL = "GET /channels/{channel_id}"
EDIT_CHANNEL = "PATCH /channels/{channel_id}"
DELETE_CHANNEL = "DELETE /channels/{channel_id}"
TYPING = "POST /channels/{channel_id}/typing"
START_THREAD = "POST /channels/{channel_id}/threads"
START_THREAD_FROM_MESSAGE = "POST /channels/{channel_id}/messages/{message_id}/threads"
ARCHIVED_THREADS = "GET /channels/{channel_id}/threads/archived/public"
JOIN_THREAD = "PUT /channels/{channel_id}/thread-members/@me"
LEAVE_THREAD = "DELETE /channels/{channel_id}/thread-members/@me"
ADD_TO_THREAD = "PUT /channels/{channel_id}/thread-members/{user_id}"

MESSAGES = "GET /channels/{channel_id}/messages"
MESSAGE = "GET /channels/{channel_id}/messages/{message_id}"
CREATE_MESSAGE = "POST /channels/{channel_id}/messages"
EDIT_MESSAGE = "PATCH /channels/{channel_id}/messages/{message_id}"
DELETE_MESSAGE = "DELETE /channels/{channel_id}/messages/{message_id}"
ADD_REACTION = "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"
REMOVE_OWN_REACTION = "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"
REMOVE_REACTION = "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/{user_id}"
CLEAR_REACTION = "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji}"
CLEAR_REACTIONS = "DELETE /channels/{channel_id}/messages/{message_id}/reactions"
REACTIONS = "GET /channels/{channel_id}/messages/{message_id}/reactions/{emoji}"

CALLBACK = "POST /interactions/{interaction_id}/{interaction_token}/callback"
FOLLOWUP = "POST /webhooks/{webhook_id}/{webhook_token}"
ORIGINAL = "GET /webhooks/{webhook_id}/{webhook_token}/messages/@original"
EDIT_ORIGINAL = "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original"
DELETE_ORIGINAL = "DELETE /webhooks/{webhook_id}/{webhook_token}/messages/@original"
FOLLOWUP_MESSAGE = "GET /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
EDIT_FOLLOWUP = "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
DELETE_FOLLOWUP = "DELETE /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"

WITHOUT_TOKEN = frozenset({
    GATEWAY, CALLBACK, FOLLOWUP, ORIGINAL, EDIT_ORIGINAL, DELETE_ORIGINAL, FOLLOWUP_MESSAGE, EDIT_FOLLOWUP,
    DELETE_FOLLOWUP,
})  # fmt: skip
"""These need no bot token: who knows the path may."""

MAJOR_PARAMETERS = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_token")
"""A bucket is kept for each value of these."""
