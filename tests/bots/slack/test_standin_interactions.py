"""The stand-in's people: commands, buttons, shortcuts, modals and App Homes, in both modes."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.bots.slack.plain_app import PlainApp, behind_url, in_socket_mode
from tests.bots.slack.standin.message import NotOffered
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.world import MODES, World, both_modes

Json = dict[str, Any]

MODAL: Json = {
    "type": "modal", "callback_id": "comment", "private_metadata": "7", "notify_on_close": True,
    "title": {"type": "plain_text", "text": "Comment"}, "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input", "block_id": "words", "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "text", "max_length": 20},
        },
        {
            "type": "input", "block_id": "kind", "label": {"type": "plain_text", "text": "Kind"}, "optional": True,
            "element": {
                "type": "static_select", "action_id": "kind",
                "options": [{"text": {"type": "plain_text", "text": "Bug"}, "value": "bug"}],
            },
        },
    ],
}  # fmt: skip
HOME: Json = {
    "type": "home",
    "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": "Hello"}},
        {
            "type": "actions",
            "elements": [{"type": "button", "action_id": "forget", "text": {"type": "plain_text", "text": "Forget"}}],
        },
    ],
}
CONTROLS: list[Json] = [
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons", "action_id": "rate",
                "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "1"},
                "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "0"},
            }
        ],
    },
    {
        "type": "actions",
        "elements": [
            {"type": "button", "action_id": "why", "text": {"type": "plain_text", "text": "Why?"}, "value": "turn 7"},
        ],
    },
]  # fmt: skip


async def answered(app: PlainApp, world: World) -> Any:
    """An answer with buttons."""
    posted = await app.client.chat_postMessage(channel=world.channel.id, text="An answer", blocks=CONTROLS)
    return world.channel.book[posted["ts"]]


class TestCommands:
    @both_modes
    async def test_a_command_is_answered_at_once_and_later(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                app.response = "thinking"
                asked = await world.team.slash(world.ann, world.channel, "/ask", "a & b?")
                assert await asked.acknowledged()
                assert await asked.answered() == "thinking"
                (body,) = app.seen("/ask")
                assert body["text"] == "a & b?" and body["channel_id"] == world.channel.id
                later = AsyncWebhookClient(body["response_url"])
                assert (await later.send(text="done", response_type="in_channel")).body == "ok"
                await asked.until("done")
                assert world.channel.texts == ["done"]
                assert [one.read for one in world.channel.seen_by(world.ann)] == ["thinking", "done"]

    async def test_a_response_url_is_good_for_five_answers_in_half_an_hour(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                for late in (False, True):
                    asked = await world.team.slash(world.ann, world.channel, "/ask")
                    await asked.acknowledged()
                    client = AsyncWebhookClient(app.seen("/ask")[-1]["response_url"])
                    statuses = [(await client.send(text="yes")).status_code for _ in range(4 if late else 6)]
                    assert statuses == ([200] * 4 if late else [200] * 5 + [404])
                    slack.clock.advance(1801)
                    assert (await client.send(text="late")).status_code == 404
            assert [violation.rule for violation in slack.violations] == ["response_url"]

    async def test_what_is_not_acknowledged_fails_visibly(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.commands = {"/ask"}
            async with in_socket_mode(slack, world.team):
                slack.sockets.acknowledges, slack.deliveries.acknowledge_s = False, 0.05
                assert not await (await world.team.slash(world.ann, world.channel, "/ask")).acknowledged()
                assert len(slack.overdue[0].attempts) == 1
                with pytest.raises(NotOffered):
                    await world.team.slash(world.ann, world.channel, "/aks")


class TestButtons:
    @both_modes
    async def test_buttons_say_where_they_stand(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                message = await answered(app, world)
                assert message.read == "An answer"
                await (await world.team.press(world.ann, message, "rate", "Bad")).acknowledged()
                await (await world.team.press(world.ann, message, "Why?")).acknowledged()
                rated, asked = (body for _, body in app.told if body["type"] == "block_actions")
                assert rated["actions"][0]["type"] == "feedback_buttons" and rated["actions"][0]["value"] == "0"
                assert asked["actions"][0]["value"] == "turn 7"
                assert asked["container"]["message_ts"] == asked["message"]["ts"] == message.ts
                assert asked["channel"]["id"] == world.channel.id and asked["user"]["id"] == world.ann.id
                with pytest.raises(NotOffered):
                    await world.team.press(world.ann, message, "rate", "Meh")

    async def test_the_original_can_be_replaced_and_deleted(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                message = await answered(app, world)
                pressed = await world.team.press(world.ann, message, "why")
                await pressed.acknowledged()
                client = AsyncWebhookClient(pressed.response_url)
                await client.send_dict({"text": "Because", "replace_original": True})
                assert (message.read, message.blocks) == ("Because", [])
                await client.send_dict({"delete_original": True})
                assert message.deleted

    @both_modes
    async def test_shortcuts_are_told_with_the_message(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.shortcuts = {"translate", "write"}
            async with MODES[mode](slack, world.team) as app:
                message = await world.channel.say(world.ann, "Guten Tag")
                await (await world.team.shortcut(world.ann, message, "translate")).acknowledged()
                await (await world.team.global_shortcut(world.ann, "write")).acknowledged()
                (told,) = app.seen("message_action")
                assert told["message"]["text"] == "Guten Tag" and told["callback_id"] == "translate"
                assert app.seen("shortcut")[0]["callback_id"] == "write"
                with pytest.raises(NotOffered):
                    await world.team.shortcut(world.ann, message, "shred")


class TestModals:
    @both_modes
    async def test_a_modal_is_opened_filled_in_and_sent(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                pressed = await world.team.press(world.ann, await answered(app, world), "why")
                await app.client.views_open(trigger_id=pressed.trigger_id, view=MODAL)
                view = await pressed.opened()
                assert view.title == "Comment"
                with pytest.raises(NotOffered):
                    await world.team.submit_view(world.ann, view)
                with pytest.raises(NotOffered):
                    await world.team.submit_view(world.ann, view, {"Why?": "x" * 21})
                app.response = {"response_action": "errors", "errors": {"words": "Say more"}}
                refused = await world.team.submit_view(world.ann, view, {"Why?": "so", "kind": "Bug"})
                assert await refused.acknowledged() and refused.response == app.response
                assert not view.closed
                app.response = None
                await (await world.team.submit_view(world.ann, view, {"words": "so long"})).acknowledged()
                assert view.closed
                first, second = (body["view"] for body in app.seen("view_submission"))
                assert first["state"]["values"]["kind"]["kind"]["selected_option"]["value"] == "bug"
                assert second["state"]["values"]["words"]["text"]["value"] == "so long"
                assert second["private_metadata"] == "7" and second["callback_id"] == "comment"

    async def test_the_acknowledgement_shows_another_view(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                used = await world.team.global_shortcut(world.ann, "write")
                await app.client.views_open(trigger_id=used.trigger_id, view=MODAL)
                view = await used.opened()
                app.response = {"response_action": "push", "view": MODAL}
                sent = await world.team.submit_view(world.ann, view, {"words": "so"})
                over = await sent.opened()
                assert over.below is view and over.payload()["previous_view_id"] == view.id
                app.response = {
                    "response_action": "update",
                    "view": MODAL | {"title": {"type": "plain_text", "text": "2"}},
                }
                await (await world.team.submit_view(world.ann, over, {"words": "so"})).acknowledged()
                assert over.title == "2"
                app.response = None
                await (await world.team.close_view(world.ann, over)).acknowledged()
                assert app.seen("view_closed")[0]["view"]["id"] == over.id

    async def test_a_trigger_is_good_once_and_for_three_seconds(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            app = PlainApp(slack, world.team)
            async with behind_url(slack, world.team):
                used = await world.team.global_shortcut(world.ann, "write")
                late = await world.team.global_shortcut(world.ann, "write")
            codes = []
            await app.client.views_open(trigger_id=used.trigger_id, view=MODAL)
            for trigger_id, wait_s in [(used.trigger_id, 0), (late.trigger_id, 4), ("1.2.3", 0)]:
                slack.clock.advance(wait_s)
                with pytest.raises(SlackApiError) as refused:
                    await app.client.views_open(trigger_id=trigger_id, view=MODAL)
                codes.append(refused.value.response["error"])
            assert codes == ["exchanged_trigger_id", "expired_trigger_id", "invalid_trigger_id"]


class TestHomes:
    @both_modes
    async def test_an_app_home_is_published_read_and_pressed(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                await world.team.open_home(world.ann)
                await app.until_told("app_home_opened")
                assert "view" not in app.told[0][1]["event"]
                await app.client.views_publish(user_id=world.ann.id, view=HOME)
                home = world.team.home(world.ann)
                assert home is not None and home.read == "Hello\nForget"
                await (await world.team.press(world.ann, home, "forget")).acknowledged()
                (pressed,) = app.seen("block_actions")
                assert pressed["container"] == {"type": "view", "view_id": home.id}
                await world.team.open_home(world.ann)
                await slack.until(lambda: len(app.seen("app_home_opened")) == 2)
                assert app.seen("app_home_opened")[1]["event"]["view"]["id"] == home.id
            assert slack.violations == []
