"""The stand-in's REST API with unmodified discord.py: messages, files, threads, permissions, limits and faults."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import discord
import pytest

from tests.bots.discord.plain_client import PlainClient, Rest, bare, connected
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.limits import Limit
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord

NOBODY = {"allowed_mentions": {"parse": []}}
WITHOUT_CONTENT = discord.Intents(guilds=True, messages=True)


@pytest.fixture
async def standin() -> AsyncIterator[StandInDiscord]:
    async with StandInDiscord() as standin:
        yield standin


@pytest.fixture
async def rest(standin: StandInDiscord) -> AsyncIterator[Rest]:
    async with bare(standin) as rest:
        yield rest


@pytest.fixture
def ann(standin: StandInDiscord) -> User:
    return standin.add_user("Ann")


@pytest.fixture
def channel(standin: StandInDiscord, ann: User) -> Channel:
    return standin.add_guild("Shop", members=[ann]).add_text_channel("general")


@pytest.fixture
async def client(
    standin: StandInDiscord, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PlainClient]:
    async with connected(standin, monkeypatch) as client:
        yield client


def target(client: PlainClient, channel: Channel) -> discord.PartialMessageable:
    return client.get_partial_messageable(channel.id, guild_id=channel.guild.id if channel.guild else None)


class TestReading:
    async def test_what_people_do_reaches_the_bot(self, client: PlainClient, channel: Channel, ann: User) -> None:
        message = await channel.say(ann, "hello", mentions=[channel.discord.bot])
        (seen,) = await client.until("message")
        assert seen.content == f"<@{client.user.id}> hello" and client.user in seen.mentions
        assert seen.author.display_name == "Ann" and seen.channel.name == "general"
        await channel.edit(message, "hello again")
        await channel.unfurl(message, {"type": "link", "title": "A page"})
        await channel.react(ann, message, "👍")
        await channel.unreact(ann, message, "👍")
        await channel.show_typing(ann)
        await channel.delete(message)
        (deleted,) = await client.until("raw_message_delete")
        assert deleted.cached_message.content == "hello again"
        assert [str(event.emoji) for event in client.seen("raw_reaction_add")] == ["👍"]
        assert client.seen("raw_reaction_remove") and client.seen("typing")
        assert len(client.seen("message_edit")) == 2 and len(deleted.cached_message.embeds) == 1
        assert channel.messages == []

    @pytest.mark.parametrize(
        ("case", "visible"),
        [
            ("plain", False), ("mention", True), ("pinging reply", True), ("silent reply", False), ("direct", True),
            ("role mention", False),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("intent", [False, True])
    async def test_content_is_hidden_without_its_intent(
        self, case: str, visible: bool, intent: bool, standin: StandInDiscord, channel: Channel, ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        client = PlainClient() if intent else PlainClient(intents=WITHOUT_CONTENT)
        async with connected(standin, monkeypatch, client):
            own = await target(client, channel).send("I am here")
            assert channel.guild is not None
            role = next(role for role in channel.guild.roles.values() if role.bot_id)
            where = standin.dm(ann) if case == "direct" else channel
            file = standin.attachment("a.txt", b"text")
            answered = channel.find(own.id) if "reply" in case else None
            mentions = {"mention": [standin.bot], "role mention": [role]}.get(case, [])
            await where.say(
                ann, "words", mentions=mentions, reply_to=answered, ping=case == "pinging reply", attachments=[file]
            )
            seen = (await client.until("message", 2))[-1]
            assert ("words" in seen.content) == (visible or intent)
            assert bool(seen.attachments) == (visible or intent)
            assert client.seen("message")[0].content == "I am here"

    async def test_channels_that_the_bot_does_not_see_are_silent(
        self, client: PlainClient, channel: Channel, ann: User
    ) -> None:
        assert channel.guild is not None
        secret = channel.guild.add_text_channel("secret")
        secret.deny(channel.guild.everyone, "view_channel")
        await secret.say(ann, "hidden")
        secret.allow(channel.discord.bot, "view_channel")
        await secret.say(ann, "shown")
        await client.until_read("shown")

    async def test_history_is_paged(self, client: PlainClient, channel: Channel, ann: User) -> None:
        for number in range(120):
            await channel.say(ann, str(number))
        history = target(client, channel).history
        assert [m.content async for m in history(limit=None, oldest_first=True)] == [str(n) for n in range(120)]
        middle = channel.messages[60]
        after = [m.content async for m in history(limit=3, after=discord.Object(middle.id))]
        around = [m.content async for m in history(limit=4, around=discord.Object(middle.id))]
        before = [m.content async for m in history(limit=2, before=discord.Object(middle.id))]
        assert (after, sorted(around), before) == (["61", "62", "63"], ["58", "59", "60", "61"], ["59", "58"])

    async def test_files_are_served_honestly_slowly_falsely_and_elsewhere(
        self, client: PlainClient, standin: StandInDiscord, channel: Channel, ann: User
    ) -> None:
        honest = standin.attachment("notes.txt", b"words")
        false = standin.attachment("big.txt", b"x" * 100_000, announced_size=10)
        away = standin.attachment("away.txt", b"", redirect_to="http://169.254.169.254/")
        slow = standin.attachment("slow.txt", b"x" * 200_000, chunk_delay_s=0.01)
        await channel.say(ann, "look", attachments=[honest, false, away, slow])
        (seen,) = await client.until("message")
        assert seen.attachments[0].content_type == "text/plain"
        assert await seen.attachments[0].read() == b"words"
        assert seen.attachments[1].size == 10 and len(await seen.attachments[1].read()) == 100_000
        assert len(await seen.attachments[3].read()) == 200_000
        async with aiohttp.ClientSession() as session, session.get(away.url, allow_redirects=False) as answer:
            assert answer.status == 302 and answer.headers["Location"] == "http://169.254.169.254/"


class TestWriting:
    async def test_a_message_is_sent_edited_and_deleted(
        self, client: PlainClient, standin: StandInDiscord, channel: Channel, ann: User
    ) -> None:
        question = await channel.say(ann, "question")
        (seen,) = await client.until("message")
        view = discord.ui.View(timeout=None)
        view.add_item(discord.ui.Button(label="Stop", custom_id="stop"))
        file = discord.File(io.BytesIO(b"more"), "answer.md")
        sent = await seen.reply("  Hi @everyone <@1> ", view=view, file=file, mention_author=True)
        (answer,) = channel.answers
        assert answer.reply_to is question and answer.mentions == [ann] and not answer.mention_everyone
        assert answer.content == "Hi @everyone <@1>" and answer.files == {"answer.md": b"more"}
        await sent.edit(content="Hello", attachments=[], view=None)
        assert (answer.content, answer.files, answer.components) == ("Hello", {}, [])
        assert answer.revisions == ["Hi @everyone <@1>", "Hello"]
        await sent.add_reaction("🤔")
        assert answer.reactions == {"🤔": [standin.bot]}
        await sent.delete()
        assert channel.answers == [] and standin.violations == []

    async def test_a_nonce_makes_a_repeat_the_same_message_for_some_minutes(
        self, client: PlainClient, standin: StandInDiscord, channel: Channel
    ) -> None:
        first = await target(client, channel).send("once", nonce="n1")
        again = await target(client, channel).send("once", nonce="n1")
        other = await target(client, channel).send("another", nonce="n2")
        assert first.id == again.id != other.id
        assert channel.texts == ["once", "another"]
        standin.clock.advance(301)
        await target(client, channel).send("once", nonce="n1")
        assert channel.texts == ["once", "another", "once"]

    async def test_direct_messages_and_typing(self, client: PlainClient, standin: StandInDiscord, ann: User) -> None:
        user = await client.fetch_user(ann.id)
        async with user.typing():
            await user.send("psst")
        dm = standin.dm(ann)
        assert dm.texts == ["psst"] and len(dm.typing_at) == 1
        ann.accepts_direct_messages = False
        with pytest.raises(discord.Forbidden) as refused:
            await user.send("still there?")
        assert refused.value.code == 50007

    async def test_threads_and_forum_posts(self, client: PlainClient, channel: Channel, ann: User) -> None:
        assert channel.guild is not None
        question = await channel.say(ann, "long question")
        (seen,) = await client.until("message")
        thread = await seen.create_thread(name="Talk")
        await thread.send("in the thread")
        assert question.thread is not None and thread.id == question.id
        await question.thread.say(ann, "me too")
        assert question.thread.texts[1:] == ["in the thread", "me too"]
        forum = channel.guild.add_forum("ideas")
        post = await forum.post(ann, "An idea", "the text")
        created = (await client.until("thread_create", 2))[-1]
        assert created.parent.name == "ideas" and created.owner_id == ann.id
        await client.get_partial_messageable(post.id).send("good")
        assert post.texts == ["the text", "good"] and post.messages[0].id == post.id
        opened = await client.get_channel(forum.id).create_thread(name="News", content="mine")
        assert forum.discord.channels[opened.thread.id].texts == ["mine"]
        await opened.thread.edit(archived=True)
        assert forum.discord.channels[opened.thread.id].archived
        asked = await channel.start_thread(ann, "By hand")
        assert (await client.until("thread_create", 4))[-1].id == asked.id

    @pytest.mark.parametrize(
        ("denied", "attempt", "code"),
        [
            ("view_channel", "send", 50001), ("send_messages", "send", 50013), ("send_messages", "typing", 50013),
            ("attach_files", "file", 50013), ("read_message_history", "reply", 160002), ("add_reactions", "react", 50013),
            ("create_public_threads", "thread", 50013), ("send_messages_in_threads", "in thread", 50013),
        ],
    )  # fmt: skip
    async def test_permissions_are_checked(
        self, denied: str, attempt: str, code: int, client: PlainClient, channel: Channel, ann: User
    ) -> None:
        question = await channel.say(ann, "question")
        thread = await channel.start_thread(ann, "Talk")
        channel.deny(channel.discord.bot, denied)
        there = target(client, channel)
        message = there.get_partial_message(question.id)
        attempts: dict[str, Callable[[], Awaitable[object]]] = {
            "send": lambda: there.send("hi"),
            "typing": lambda: there.typing().__aenter__(),
            "file": lambda: there.send("hi", file=discord.File(io.BytesIO(b"x"), "x.txt")),
            "reply": lambda: there.send("hi", reference=message.to_reference()),
            "react": lambda: message.add_reaction("👍"),
            "thread": lambda: message.create_thread(name="Talk"),
            "in thread": lambda: target(client, thread).send("hi"),
        }
        with pytest.raises(discord.Forbidden) as refused:
            await attempts[attempt]()
        assert refused.value.code == code
        assert channel.discord.limits.invalid_requests == 1

    async def test_what_is_gone_is_unknown(self, client: PlainClient, channel: Channel, ann: User) -> None:
        question = await channel.say(ann, "question")
        await channel.delete(question)
        partial = target(client, channel).get_partial_message(question.id)
        with pytest.raises(discord.NotFound):
            await partial.fetch()
        with pytest.raises(discord.HTTPException) as refused:
            await target(client, channel).send("hi", reference=partial.to_reference())
        assert refused.value.code == 50035
        await target(client, channel).send("hi", reference=partial.to_reference(fail_if_not_exists=False))
        assert channel.texts == ["hi"]


class TestLimits:
    async def test_a_bucket_is_emptied_answered_with_429_and_filled_again(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        for left in (4, 3, 2, 1, 0):
            status, _, headers = await rest(routes.CREATE_MESSAGE, {"content": "x", **NOBODY}, channel_id=channel.id)
            assert (status, headers["X-RateLimit-Remaining"]) == (200, str(left))
        status, document, headers = await rest(routes.CREATE_MESSAGE, {"content": "x"}, channel_id=channel.id)
        assert status == 429 and headers["Via"] and headers["X-RateLimit-Scope"] == "user"
        assert 0 < document["retry_after"] <= 5.001 and document["global"] is False
        assert standin.limits.exceeded == [routes.CREATE_MESSAGE] and standin.limits.invalid_requests == 1
        assert channel.guild is not None
        other = channel.guild.add_text_channel("other")
        assert (await rest(routes.CREATE_MESSAGE, {"content": "x", **NOBODY}, channel_id=other.id))[0] == 200
        standin.clock.advance(document["retry_after"])
        assert (await rest(routes.CREATE_MESSAGE, {"content": "x", **NOBODY}, channel_id=channel.id))[0] == 200

    async def test_fifty_requests_a_second_are_the_limit_of_everything(self, rest: Rest, channel: Channel) -> None:
        answers = await asyncio.gather(*(rest(routes.CHANNEL, channel_id=channel.id) for _ in range(51)))
        refused = [answer for answer in answers if answer[0] == 429]
        assert len(refused) == 1 and refused[0][1]["global"] is True

    async def test_discord_py_survives_a_burst(
        self, client: PlainClient, standin: StandInDiscord, channel: Channel
    ) -> None:
        standin.limits.scale = 0.02
        await asyncio.gather(*(target(client, channel).send(str(number)) for number in range(12)))
        assert sorted(channel.texts, key=int) == [str(number) for number in range(12)]

    async def test_too_many_invalid_requests_ban_the_address(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        channel.deny(standin.bot, "view_channel")
        standin.limits.ban_after = 2
        for _ in range(2):
            assert (await rest(routes.CHANNEL, channel_id=channel.id))[0] == 403
        status, text, headers = await rest(routes.ME)
        assert status == 429 and "1015" in text and "Via" not in headers

    async def test_old_messages_may_be_edited_only_so_often(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        _, document, _ = await rest(routes.CREATE_MESSAGE, {"content": "x", **NOBODY}, channel_id=channel.id)
        standin.clock.advance(3601)
        standin.limits.edits_of_old_messages = Limit(1, 5.0)
        place = {"channel_id": channel.id, "message_id": document["id"]}
        assert (await rest(routes.EDIT_MESSAGE, {"content": "y", **NOBODY}, **place))[0] == 200
        status, document, _ = await rest(routes.EDIT_MESSAGE, {"content": "z", **NOBODY}, **place)
        assert (status, document["code"]) == (429, 30046) and channel.texts == ["y"]


class TestFaults:
    async def test_requests_fail_as_arranged(self, rest: Rest, standin: StandInDiscord, channel: Channel) -> None:
        standin.faults.add(routes.CREATE_MESSAGE, 503, times=2, after=1)
        body = {"content": "x", **NOBODY}
        statuses = [(await rest(routes.CREATE_MESSAGE, body, channel_id=channel.id))[0] for _ in range(4)]
        assert statuses == [200, 503, 503, 200] and channel.texts == ["x", "x"]
        assert [request.status for request in standin.requests_to(routes.CREATE_MESSAGE)] == statuses
        assert standin.faults.struck == [(routes.CREATE_MESSAGE, 503)] * 2

    @pytest.mark.parametrize("work_done", [False, True])
    async def test_a_reset_may_fall_before_or_after_the_work(
        self, work_done: bool, client: PlainClient, standin: StandInDiscord, channel: Channel
    ) -> None:
        standin.faults.add(routes.CREATE_MESSAGE, "reset", work_done=work_done)
        with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
            await target(client, channel).send("x", nonce="n")
        assert channel.texts == (["x"] if work_done else [])
        await target(client, channel).send("x", nonce="n")
        assert channel.texts == ["x"]

    async def test_discord_py_waits_out_a_global_429(
        self, client: PlainClient, standin: StandInDiscord, channel: Channel
    ) -> None:
        standin.faults.add(None, 429, everywhere=True, retry_after_s=0.02)
        await target(client, channel).send("x")
        assert [request.status for request in standin.requests_to(routes.CREATE_MESSAGE)] == [429, 200]

    async def test_a_request_hangs(self, rest: Rest, standin: StandInDiscord, channel: Channel) -> None:
        standin.faults.add(routes.TYPING, "hang")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rest(routes.TYPING, channel_id=channel.id), 0.05)
        assert (await rest(routes.TYPING, channel_id=channel.id))[0] == 204

    async def test_an_unknown_route_is_noted(self, rest: Rest, standin: StandInDiscord) -> None:
        assert (await rest("GET /sticker-packs"))[0] == 404
        assert [violation.rule for violation in standin.violations] == ["unknown route"]
