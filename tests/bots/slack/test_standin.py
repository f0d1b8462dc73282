"""The stand-in's ways to the app: an unmodified AsyncApp hears everything, in Socket Mode and behind a request URL."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_sdk.web.async_client import AsyncWebClient

from tests.bots.slack.plain_app import PlainApp, behind_url, in_socket_mode
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.world import MODES, World, both_modes


class TestEvents:
    @both_modes
    async def test_a_mention_is_told_twice_with_one_timestamp(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                message = await world.channel.say(world.ann, "<@BOT> 1 < 2")
                await app.until_told("app_mention", "message")
                mention, written = (body for _, body in app.told)
                assert mention["event"]["ts"] == written["event"]["ts"] == message.ts
                assert mention["event_id"] != written["event_id"]
                assert written["event"]["text"] == f"<@{world.team.bot.id}> 1 &lt; 2"
                parts = written["event"]["blocks"][0]["elements"][0]["elements"]
                assert parts == [{"type": "user", "user_id": world.team.bot.id}, {"type": "text", "text": " 1 < 2"}]
                assert written["event"]["channel_type"] == "channel" and written["event"]["client_msg_id"]
                assert written["authorizations"][0]["team_id"] == written["team_id"] == world.team.id
                assert written["is_ext_shared_channel"] is False and written["api_app_id"] == slack.app_id
                await slack.deliveries.until_over()
                assert slack.overdue == []
            assert slack.violations == []

    @both_modes
    async def test_what_people_do_with_messages_is_told(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                dm = world.team.dm(world.ann)
                message = await dm.say(world.ann, "<@BOT> hello", files=[("a.txt", b"words")])
                await app.until_told("message")
                await dm.edit(message, "hello there")
                await dm.unfurl(message, "Example")
                await dm.react(world.ann, message, "eyes")
                await dm.unreact(world.ann, message, "eyes")
                reply = await dm.say(world.ann, "and", thread=message)
                await dm.delete(reply.ts)
                await slack.until(lambda: len(app.told) == 7)
                events = [body["event"] for _, body in app.told]
                assert sorted(event.get("subtype", event["type"]) for event in events) == [
                    "file_share", "message", "message_changed", "message_changed", "message_deleted", "reaction_added",
                    "reaction_removed",
                ]  # fmt: skip
                (shared,) = [event for event in events if event.get("subtype") == "file_share"]
                assert shared["channel_type"] == "im" and shared["files"][0]["name"] == "a.txt"
                (threaded,) = [event for event in events if event.get("thread_ts")]
                assert threaded["thread_ts"] == message.ts and threaded["parent_user_id"] == world.ann.id

    async def test_nothing_is_told_where_the_bot_is_not_or_has_not_subscribed(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            elsewhere = world.team.add_channel("elsewhere", bot=False)
            slack.subscriptions -= {"message.channels"}
            async with in_socket_mode(slack, world.team) as app:
                await elsewhere.say(world.ann, "<@BOT> hello")
                await world.channel.say(world.ann, "hello")
                await world.channel.say(world.ann, "<@BOT> hello")
                await app.until_told("app_mention")

    async def test_order_is_as_tests_arrange_it(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.mention_first = False
            async with in_socket_mode(slack, world.team) as app:
                slack.deliveries.repeat("message")
                slack.deliveries.hold("app_mention")
                await world.channel.say(world.ann, "<@BOT> one")
                await world.channel.say(world.ann, "<@BOT> two")
                slack.deliveries.release("app_mention", backwards=True)
                await app.until_told("message", "message", "message", "app_mention", "app_mention")
                first, again, _ = app.seen("message")
                assert first["event_id"] == again["event_id"]
                assert [body["event"]["text"][-3:] for body in app.seen("app_mention")] == ["two", "one"]

    async def test_the_agent_view_is_told_of_opening_and_stopping(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                dm = await world.team.open_home(world.ann, "messages")
                await app.until_told("app_home_opened")
                assert app.told[0][1]["event"] | {"event_ts": ""} == {
                    "type": "app_home_opened", "user": world.ann.id, "channel": dm.id, "tab": "messages", "event_ts": "",
                }  # fmt: skip
                message = await dm.say(world.ann, "hello")
                answer = await app.client.chat_startStream(channel=dm.id, thread_ts=message.ts, markdown_text="He")
                assert await world.team.stop_session(world.ann, message) == [dm.book[answer["ts"]]]
                await slack.until(lambda: app.seen("agent_session_stopped"))
                (stopped,) = app.seen("agent_session_stopped")
                assert stopped["event"]["streaming_message_ts"] == [answer["ts"]]
                assert stopped["event"]["thread_ts"] == message.ts

    async def test_an_assistant_of_the_old_kind_is_told_of_threads(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.agent_view = False
            async with in_socket_mode(slack, world.team) as app:
                root = await world.team.start_assistant(world.ann, world.channel)
                await world.team.change_context(world.ann, root, world.channel)
                await app.until_told("assistant_thread_started", "assistant_thread_context_changed")
                thread = app.told[0][1]["event"]["assistant_thread"]
                assert thread["thread_ts"] == root.ts and thread["context"]["channel_id"] == world.channel.id

    async def test_uninstalling_is_told_and_ends_the_token(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                world.team.uninstall()
                await app.until_told("tokens_revoked", "app_uninstalled")
                assert app.told[0][1]["event"]["tokens"]["bot"] == [world.team.bot.id]
                await world.channel.say(world.ann, "<@BOT> still there?")
                assert slack.deliveries.named("app_mention") == []


class TestRetries:
    async def test_an_unacknowledged_event_comes_four_times_over_the_socket(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.subscriptions -= {"app_mention"}
            async with in_socket_mode(slack, world.team) as app:
                slack.sockets.acknowledges = False
                await world.channel.say(world.ann, "hello")
                (delivery,) = slack.deliveries.sent
                for count, pause_s in enumerate([3, 63, 303, 3], start=1):
                    await slack.until(lambda count=count: len(app.told) == count)
                    slack.clock.advance(pause_s)
                await slack.deliveries.until_over()
                assert slack.overdue == [delivery]
                assert [attempt.failure for attempt in delivery.attempts] == ["timeout"] * 4
                assert len({body["event_id"] for _, body in app.told}) == 1

    async def test_an_unacknowledged_event_comes_four_times_by_post(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.deliveries.retry_after_s = (0.0, 0.0, 0.0)
            slack.subscriptions -= {"app_mention"}
            async with behind_url(slack, world.team):
                slack.signing_secret = "another"
                await world.channel.say(world.ann, "hello")
                await slack.deliveries.until_over()
                (delivery,) = slack.overdue
                assert [attempt.status for attempt in delivery.attempts] == [401] * 4
                assert "X-Slack-Retry-Num" not in delivery.attempts[0].headers
                assert delivery.attempts[3].headers["X-Slack-Retry-Num"] == "3"
                assert delivery.attempts[3].headers["X-Slack-Retry-Reason"] == "http_error"

    async def test_a_slow_and_an_absent_app_are_told_apart(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.deliveries.retry_after_s, slack.deliveries.acknowledge_s = (), 0.0
            async with behind_url(slack, world.team):
                await world.channel.say(world.ann, "hello")
                await slack.deliveries.until_over()
                slack.deliveries.acknowledge_s = 3.0
                slack.request_url = "http://127.0.0.1:1/"
                await world.channel.say(world.ann, "hello")
                await slack.deliveries.until_over()
            assert [one.attempts[0].failure for one in slack.overdue] == ["http_timeout", "connection_failed"]

    async def test_bolt_runs_its_listener_for_every_retry(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with behind_url(slack, world.team) as app:
                await world.channel.say(world.ann, "hello")
                slack.deliveries.again(slack.deliveries.sent[0])
                await app.until_told("message", "message")


class TestSignatures:
    async def test_what_is_not_signed_now_with_the_secret_is_refused(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with behind_url(slack, world.team) as app:
                await world.channel.say(world.ann, "hello")
                await app.until_told("message")
                await slack.deliveries.until_over()
                (delivery,) = slack.deliveries.sent
                assert (await slack.poster.replay(delivery)).status == 200
                assert (await slack.poster.replay(delivery, signature="v0=00")).status == 401
                assert (await slack.poster.forge(delivery)).status == 200
                assert (await slack.poster.forge(delivery, secret="wrong")).status == 401
                old = str(int(time.time()) - 301)
                assert (await slack.poster.forge(delivery, timestamp=old)).status == 401
                # bolt stumbles here; the adapter must not
                assert (await slack.poster.forge(delivery, timestamp="soon")).status == 500
                assert await slack.poster.verify_url()


class TestSockets:
    @pytest.mark.parametrize(
        "fault", ["refresh_requested", "warning", "too_many_websockets", "close", "drop", "silence"]
    )
    async def test_the_app_comes_back_and_misses_nothing(self, fault: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.deliveries.acknowledge_s, slack.deliveries.retry_after_s = 1.0, (0.0, 0.0, 0.0)
            async with in_socket_mode(slack, world.team) as app:
                connection = slack.sockets.connection
                match fault:
                    case "drop":
                        connection.drop()
                    case "close":
                        await connection.close()
                    case "silence":
                        connection.freeze()
                    case reason:
                        await connection.disconnect(reason, close=reason != "warning")
                await world.channel.say(world.ann, "hello")
                await slack.until(lambda: slack.sockets.opened == 2)
                await slack.until(lambda: app.seen("message"))
                await slack.until(lambda: slack.sockets.open == [slack.sockets.connection])

    async def test_an_outage_ends(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as app:
                await slack.stop()
                await slack.until_disconnected()
                await world.channel.say(world.ann, "hello")
                await slack.start()
                await slack.until_connected()
                await app.until_told("message")

    async def test_two_connections_share_what_is_told(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with in_socket_mode(slack, world.team) as one, in_socket_mode(slack, world.team) as other:
                await slack.until_connected(2)
                for _ in range(10):
                    await world.channel.say(world.ann, "hello")
                await slack.deliveries.until_over()
                assert len(one.told) == len(other.told) == 5

    async def test_a_url_is_good_once_and_a_wrong_token_gets_none(self) -> None:
        async with StandInSlack() as slack, aiohttp.ClientSession() as session:
            world = World(slack)
            url = slack.sockets.ticket_url()
            async with session.ws_connect(url) as ws:
                hello = json.loads((await ws.receive()).data)
                assert hello["type"] == "hello" and hello["connection_info"]["app_id"] == slack.app_id
                await ws.send_json({"envelope_id": "unheard of"})
                await slack.until(lambda: slack.violations)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(url)
            app = PlainApp(slack, world.team)
            own = AsyncWebClient(base_url=slack.api_base)
            handler = AsyncSocketModeHandler(app.bolt, "xapp-wrong", web_client=own, ping_interval=0.01)
            connecting = asyncio.create_task(handler.connect_async())
            await slack.until(lambda: slack.requests_to("apps.connections.open"))
            await handler.close_async()
            await connecting
            assert slack.requests_to("apps.connections.open")[0].error == "invalid_auth"
            assert [violation.rule for violation in slack.violations] == ["acknowledgement"]
