"""The Events API: what of the world is told to the app, in which envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import payloads
from tests.bots.slack.standin.deliveries import EVENT, Delivery

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.message import Message
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

SUBSCRIPTIONS = frozenset({
    "agent_session_stopped", "app_home_opened", "app_mention", "app_uninstalled", "assistant_thread_context_changed",
    "assistant_thread_started", "member_joined_channel", "member_left_channel", "message.channels", "message.groups",
    "message.im", "message.mpim", "reaction_added", "reaction_removed", "tokens_revoked",
})  # fmt: skip
MESSAGE_SUBSCRIPTIONS = {
    "channel": "message.channels",
    "group": "message.groups",
    "im": "message.im",
    "mpim": "message.mpim",
}
AFTER_THE_END = {"app_uninstalled", "tokens_revoked"}


class Events:
    """What one workspace tells the app."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def tell(
        self, name: str, event: Json, channel: Channel | None = None, *, subscription: str = ""
    ) -> Delivery | None:
        """Tell the app of an event, if it is installed, subscribed and there."""
        team, slack = self._team, self._team.slack
        if not team.installed and name not in AFTER_THE_END:
            return None
        if (subscription or name) not in slack.subscriptions:
            return None
        if channel is not None and not channel.has(team.bot):
            return None
        event = {"event_ts": slack.timestamps.next()} | event
        return slack.deliveries.send(EVENT, name, team, self._envelope(event, channel))

    def tell_message(self, message: Message) -> None:
        """A new message, and the mention of the bot in it as an event of its own."""
        channel, team = message.channel, self._team
        mentioned = team.bot.mention in message.text and message.author is not team.bot and not channel.is_dm
        told = [self._tell_written, self._tell_mention] if mentioned else [self._tell_written]
        for tell in reversed(told) if team.slack.mention_first else told:
            tell(message)

    def tell_edit(self, message: Message, before: Json) -> None:
        """A message is another now."""
        after = payloads.message(message)
        self._tell_change("message_changed", message, {"message": after, "previous_message": before})

    def tell_deletion(self, message: Message, before: Json) -> None:
        """A message is gone; of one that has replies a tombstone stays."""
        if message.channel.thread(message):
            tombstone = payloads.tombstone(message)
            self._tell_change("message_changed", message, {"message": tombstone, "previous_message": before})
            return
        self._tell_change("message_deleted", message, {"previous_message": before, "deleted_ts": message.ts})

    def _tell_written(self, message: Message) -> None:
        if message.author is self._team.bot and not self._team.slack.tells_own_messages:
            return
        event = payloads.message(message, metadata=False) | self._place(message) | {"event_ts": message.ts}
        self.tell("message", event, message.channel, subscription=MESSAGE_SUBSCRIPTIONS[message.channel.type])

    def _tell_mention(self, message: Message) -> None:
        event = payloads.message(message, metadata=False) | {"type": "app_mention", "channel": message.channel.id}
        event.pop("subtype", None)
        self.tell("app_mention", event | {"event_ts": message.ts}, message.channel)

    def _tell_change(self, subtype: str, message: Message, fields: Json) -> None:
        if message.ephemeral or (message.author is self._team.bot and not self._team.slack.tells_own_messages):
            return
        now = self._team.slack.timestamps.next()
        event = {"type": "message", "subtype": subtype, "hidden": True, "ts": now, "event_ts": now}
        event |= self._place(message) | fields
        self.tell(subtype, event, message.channel, subscription=MESSAGE_SUBSCRIPTIONS[message.channel.type])

    def _place(self, message: Message) -> Json:
        return {"channel": message.channel.id, "channel_type": message.channel.type}

    def _envelope(self, event: Json, channel: Channel | None) -> Json:
        team, slack = self._team, self._team.slack
        return {
            "token": slack.verification_token, "team_id": team.id, "enterprise_id": team.enterprise_id,
            "context_team_id": team.id, "context_enterprise_id": team.enterprise_id, "api_app_id": slack.app_id,
            "event": event, "type": "event_callback", "event_id": slack.ids.next("Ev"),
            "event_time": int(slack.clock.now()), "authorizations": [payloads.authorization(team)] * team.installed,
            "is_ext_shared_channel": channel is not None and channel.ext_shared, "event_context": f"4-{slack.ids.next('X')}",
        }  # fmt: skip
