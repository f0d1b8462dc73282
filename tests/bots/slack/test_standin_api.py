"""The stand-in's Web API: messages, streams, files and the agent view, called by slack_sdk."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.bots.slack.standin.calls import DOWNLOAD, UPLOAD
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.world import World


class TestMessages:
    async def test_messages_are_posted_changed_and_deleted(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            metadata = {"event_type": "turn", "event_payload": {"id": 7}}
            posted = await world.client.chat_postMessage(channel=world.channel.id, text="…", metadata=metadata)
            (message,) = world.channel.answers
            assert message.ts == posted["ts"] and message.metadata == metadata
            blocks = [{"type": "markdown", "text": "**Hi**"}]
            await world.client.chat_update(channel=world.channel.id, ts=message.ts, text="Hi", blocks=blocks)
            assert (message.read, message.markdown, message.metadata) == ("**Hi**", "**Hi**", metadata)
            assert message.edited_at is None and message.blocks[0]["block_id"]
            await world.client.chat_update(channel=world.channel.id, ts=message.ts, text="Bye")
            assert (message.blocks, message.read) == ([], "Bye") and message.edited_at
            assert message.revisions == ["…", "**Hi**", "Bye"]
            await world.client.chat_delete(channel=world.channel.id, ts=message.ts)
            assert world.channel.messages == []
            assert (
                await world.call("chat.update", channel=world.channel.id, ts=message.ts, text="x")
                == "message_not_found"
            )
            assert slack.violations == []

    async def test_what_cannot_be_done_is_refused(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked, closed = await world.ask(), world.team.add_channel("closed", private=True, bot=False)
            outside, there = world.team.add_channel("outside", bot=False), world.channel.id
            archived = world.team.add_channel("archived")
            archived.archived = True
            for method, arguments, code in [
                ("chat.postMessage", {"channel": "C0", "text": "x"}, "channel_not_found"),
                ("chat.postMessage", {"channel": closed.id, "text": "x"}, "channel_not_found"),
                ("chat.postMessage", {"channel": outside.id, "text": "x"}, "not_in_channel"),
                ("chat.postMessage", {"channel": archived.id, "text": "x"}, "is_archived"),
                ("chat.postMessage", {"channel": there}, "no_text"),
                ("chat.postMessage", {"channel": there, "text": "x", "markdown_text": "x"}, "markdown_text_conflict"),
                ("chat.postMessage", {"channel": there, "text": "x", "metadata": {"a": 1}}, "invalid_metadata_format"),
                ("chat.update", {"channel": there, "ts": asked.ts, "text": "x"}, "cant_update_message"),
                ("chat.delete", {"channel": there, "ts": asked.ts}, "cant_delete_message"),
                ("chat.postMessage", {"text": "x"}, "invalid_arguments"),
                ("users.info", {"user": "U0"}, "user_not_found"),
                ("reactions.remove", {"channel": there, "timestamp": asked.ts, "name": "eyes"}, "no_reaction"),
                ("no.such", {}, "unknown_method"),
            ]:
                assert await world.call(method, **arguments) == code

    async def test_an_ephemeral_message_is_seen_by_one(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            await world.client.chat_postEphemeral(channel=world.channel.id, user=world.ann.id, text="psst")
            assert world.channel.messages == []
            assert [one.read for one in world.channel.seen_by(world.ann)] == ["psst"]
            assert world.channel.seen_by(world.team.owner) == []

    async def test_history_threads_and_people_are_found(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.limits.commercial = False
            asked = await world.ask()
            metadata = {"event_type": "turn", "event_payload": {"id": 7}}
            await world.client.chat_postMessage(
                channel=world.channel.id, text="hi", thread_ts=asked.ts, metadata=metadata
            )
            found = await world.client.conversations_replies(
                channel=world.channel.id, ts=asked.ts, include_all_metadata=True, limit=1
            )
            assert found["messages"][0]["reply_count"] == 1 and found["has_more"]
            pages = [message async for page in found for message in page["messages"]]
            assert [page.get("metadata") for page in pages] == [None, metadata]
            assert len((await world.client.conversations_history(channel=world.channel.id))["messages"]) == 1
            world.ann.locale = "zh-CN"
            assert (await world.client.users_info(user=world.ann.id, include_locale=True))["user"]["locale"] == "zh-CN"
            assert "locale" not in (await world.client.users_info(user=world.ann.id))["user"]
            opened = await world.client.conversations_open(users=[world.ann.id])
            assert opened["channel"]["id"] == world.team.dm(world.ann).id
            listed = await world.client.conversations_list(types="public_channel,im")
            assert [one["id"] for one in listed["channels"]] == [world.channel.id, opened["channel"]["id"]]
            me = await world.client.auth_test()
            assert (me["user_id"], me["bot_id"], me["team_id"]) == (world.team.bot.id, world.team.bot_id, world.team.id)


class TestStreams:
    async def stream(self, world: World, **options: Any) -> Any:
        asked = await world.ask()
        recipient = {"recipient_user_id": world.ann.id, "recipient_team_id": world.team.id}
        return await world.call(
            "chat.startStream", channel=world.channel.id, thread_ts=asked.ts, **(recipient | options)
        )

    async def test_slack_sdks_helper_streams(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            await world.call("assistant.threads.setStatus", channel_id=world.channel.id, thread_ts=asked.ts, status="…")
            streamer = await world.client.chat_stream(
                channel=world.channel.id, thread_ts=asked.ts, recipient_team_id=world.team.id,
                recipient_user_id=world.ann.id, buffer_size=4,
            )  # fmt: skip
            await streamer.append(markdown_text="**Hel")
            (message,) = world.channel.answers
            assert message.streaming and message.read == "**Hel"
            assert world.channel.assistance.status(asked.ts) == ""
            await streamer.append(markdown_text="lo**")
            await streamer.stop(markdown_text="!", blocks=[{"type": "divider"}])
            assert (message.markdown, message.streaming) == ("**Hello**!", False)
            assert [block["type"] for block in message.blocks] == ["divider"]
            assert message.thread_ts == asked.ts and slack.violations == []

    async def test_a_stream_ends_after_five_minutes_however_much_is_appended(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            ts = (await self.stream(world, markdown_text="He"))["ts"]
            place = {"channel": world.channel.id, "ts": ts}
            slack.clock.advance(300)
            assert (await world.call("chat.appendStream", **place, markdown_text="llo"))["ok"]
            assert await world.call("chat.update", **place, text="x") == "streaming_state_conflict"
            assert await world.call("chat.delete", **place) == "cant_delete_message"
            slack.clock.advance(7)
            for method in ("chat.appendStream", "chat.stopStream"):
                assert await world.call(method, **place, markdown_text="!") == "message_not_in_streaming_state"
            assert world.channel.answers[0].read == "Hello"
            assert (await world.call("chat.update", **place, text="Hello!"))["ok"]
            assert slack.violations == []

    async def test_a_stopped_stream_takes_nothing_more(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            ts = (await self.stream(world, markdown_text="He"))["ts"]
            await world.team.stop_session(world.ann, world.channel.book[ts])
            for method in ("chat.appendStream", "chat.stopStream"):
                assert await world.call(method, channel=world.channel.id, ts=ts, markdown_text="!") == "stopped_by_user"

    async def test_chunks_show_tasks_and_blocks(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            task = {"type": "task_update", "id": "1", "title": "Reading", "status": "in_progress", "details": "a"}
            ts = (await self.stream(world, chunks=[task]))["ts"]
            more = [task | {"status": "complete", "details": "b"}, {"type": "markdown_text", "text": "Hi"}]
            await world.call("chat.appendStream", channel=world.channel.id, ts=ts, chunks=more)
            (message,) = world.channel.answers
            assert message.stream.tasks["1"]["status"] == "complete" and message.stream.tasks["1"]["details"] == "ab"
            closing = {"channel": world.channel.id, "ts": ts, "session_status": "active"}
            assert (await world.call("chat.stopStream", **closing))["ok"]
            assert world.channel.assistance.sessions[message.thread_ts].status == "active"

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"thread_ts": ""}, "invalid_arguments"),
            ({"recipient_user_id": ""}, "missing_recipient_user_id"),
            ({"recipient_team_id": ""}, "missing_recipient_team_id"),
            ({"recipient_user_id": "U0"}, "user_not_found"),
            ({"markdown_text": "x" * 12_001}, "msg_too_long"),
            ({"chunks": [{"type": "song"}]}, "invalid_chunks"),
            ({"chunks": [{"type": "blocks", "blocks": [{"type": "song"}]}]}, "invalid_blocks"),
            ({"channel": "C0"}, "channel_not_found"),
            ({"markdown_text": "# a\n" * 51}, "msg_blocks_too_long"),
        ],
    )
    async def test_a_stream_keeps_to_the_rules(self, options: dict[str, Any], code: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            arguments = {"channel": world.channel.id, "thread_ts": asked.ts, "recipient_user_id": world.ann.id}
            arguments |= {"recipient_team_id": world.team.id} | options
            assert await world.call("chat.startStream", **arguments) == code
            assert world.channel.answers == []

    async def test_a_stream_keeps_to_its_mode_and_size(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            ts = (await self.stream(world, markdown_text="x" * 11_000))["ts"]
            place, chunk = {"channel": world.channel.id, "ts": ts}, {"type": "markdown_text", "text": "y"}
            assert await world.call("chat.appendStream", **place, chunks=[chunk]) == "streaming_mode_mismatch"
            assert await world.call("chat.appendStream", **place, markdown_text="y" * 1001) == "msg_too_long"
            slack.streams.total_characters = None
            assert (await world.call("chat.appendStream", **place, markdown_text="y" * 1001))["ok"]


class TestFiles:
    async def test_slack_sdk_uploads_in_three_steps(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            await world.client.files_upload_v2(
                filename="answer.md",
                content="# Long",
                channel=world.channel.id,
                thread_ts=asked.ts,
                initial_comment="All",
            )
            (message,) = world.channel.answers
            assert [(one.name, one.content) for one in message.files] == [("answer.md", b"# Long")]
            assert (message.text, message.thread_ts) == ("All", asked.ts)
            slack.faults.add(UPLOAD, 500)
            with pytest.raises(Exception, match="Failed to upload"):
                await world.client.files_upload_v2(filename="a.md", content="x", channel=world.channel.id)
            assert slack.violations == []

    async def test_a_file_is_given_to_a_token_and_the_sign_in_page_to_all_others(self) -> None:
        async with StandInSlack() as slack, aiohttp.ClientSession() as session:
            world = World(slack)
            other = slack.add_team("Other")
            file = world.team.file("a.txt", b"words", announced_size=99, redirect_to=None)
            await world.channel.say(world.ann, "see", files=[file])
            info = (await world.client.files_info(file=file.id))["file"]
            assert info["size"] == 99 and info["mimetype"] == "text/plain"
            for token, body in [(world.team.bot_token, "words"), (other.bot_token, "<!DOC"), ("", "<!DOC")]:
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(info["url_private_download"], headers=headers) as answer:
                    assert (await answer.text())[:5] == body
            slack.faults.add(DOWNLOAD, 503)
            async with session.get(info["url_private"]) as answer:
                assert answer.status == 503
            assert world.broken == ["download", "download"]


class TestAgentView:
    async def test_status_title_prompts_and_sessions_are_shown(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            dm = world.team.dm(world.ann)
            asked = await dm.say(world.ann, "hello")
            client, place = world.client, {"channel_id": dm.id, "thread_ts": asked.ts}
            await client.assistant_threads_setStatus(**place, status="is thinking", loading_messages=["a", "b"])
            assert dm.assistance.status(asked.ts) == "is thinking"
            slack.clock.advance(121)
            assert dm.assistance.status(asked.ts) == ""
            await client.assistant_threads_setTitle(**place, title="Pyjamas")
            prompts = [{"title": "Write", "message": "Write a poem"}]
            await client.assistant_threads_setSuggestedPrompts(channel_id=dm.id, prompts=prompts, title="Try")
            assert dm.assistance.titles[asked.ts] == "Pyjamas" and dm.assistance.prompts == prompts
            answer = await client.agents_sessions_setStatus(**place, status="processing", title="One")
            assert answer["title"] == "One" and "warning" not in answer.data
            await client.agents_sessions_rename(**place, title="Two")
            session = dm.assistance.sessions[asked.ts]
            assert (session.title, session.status) == ("Two", "processing")
            slack.subscriptions -= {"agent_session_stopped"}
            answer = await client.agents_sessions_setStatus(**place, status="closed", title="ignored")
            assert answer["warning"] == "missing_agent_session_stopped_event_subscription" and session.title == "Two"
            assert slack.violations == []

    async def test_an_agents_prompts_with_a_thread_are_not_shown(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            dm = world.team.dm(world.ann)
            asked = await dm.say(world.ann, "hello")
            prompts = [{"title": "Write", "message": "Write a poem"}]
            place = {"channel_id": dm.id, "thread_ts": asked.ts}
            assert (await world.call("assistant.threads.setSuggestedPrompts", **place, prompts=prompts))["ok"]
            assert dm.assistance.prompts == [] and world.broken == ["suggested prompts"]
