"""The stand-in's gateway: unmodified discord.py connects, sees the world, and comes back after every fault."""

from __future__ import annotations

import json
import zlib

import aiohttp
import discord
import pytest
import zstandard

from tests.bots.discord.plain_client import PlainClient, bare, connected
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord

WITHOUT_CONTENT = discord.Intents(guilds=True, messages=True)


class World:
    """A guild with a channel and a person."""

    def __init__(self, standin: StandInDiscord) -> None:
        self.ann: User = standin.add_user("Ann", locale="zh-CN")
        self.guild = standin.add_guild("Shop", members=[self.ann])
        self.channel: Channel = self.guild.add_text_channel("general", topic="All about pyjamas")


class TestConnecting:
    async def test_a_bot_sees_its_guilds_channels_and_roles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            admins = world.guild.add_role("Admins", "manage_guild")
            category = world.guild.add_category("Talk")
            world.guild.add_text_channel("chat", category=category)
            world.guild.add_forum("ideas", tags=["open"])
            async with connected(standin, monkeypatch) as client:
                (guild,) = client.guilds
                assert guild.name == "Shop" and guild.member_count == 3 and guild.me.name == "Pajama"
                assert [channel.name for channel in guild.text_channels] == ["general", "chat"]
                assert guild.text_channels[1].category.name == "Talk"
                assert [tag.name for tag in guild.forums[0].available_tags] == ["open"]
                assert guild.get_role(admins.id).permissions.manage_guild
                assert guild.text_channels[0].permissions_for(guild.me).send_messages
                assert client.application.flags.gateway_message_content_limited
            assert standin.violations == []

    async def test_what_changes_in_a_guild_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                late = standin.add_guild("Late")
                extra = world.guild.add_text_channel("extra")
                extra.deny(standin.bot, "send_messages")
                world.channel.guild.remove_channel(world.channel)
                late.remove_bot()
                await client.until("guild_remove")
                assert [guild.name for guild in client.seen("guild_join")] == ["Late"]
                (guild,) = client.guilds
                assert [channel.name for channel in guild.text_channels] == ["extra"]
                assert not guild.text_channels[0].permissions_for(guild.me).send_messages

    async def test_guilds_are_spread_over_shards_and_direct_messages_come_on_the_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with StandInDiscord() as standin:
            standin.shards = 3
            guilds = standin.add_guilds(6, members=40, channels=1)
            ann = standin.add_user("Ann")
            async with connected(standin, monkeypatch) as client:
                assert sorted(guild.shard_id for guild in client.guilds) == [0, 0, 1, 1, 2, 2]
                for guild in guilds:
                    await next(iter(guild.channels.values())).say(ann, guild.name)
                await standin.dm(ann).say(ann, "psst")
                await client.until("message", 7)
                assert sorted(client.read()) == sorted([*(guild.name for guild in guilds), "psst"])

    async def test_a_wrong_token_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            token, standin.token = standin.token, "another"
            client = PlainClient()
            monkeypatch.setattr(standin, "token", "another")
            monkeypatch.setattr(discord.http.Route, "BASE", standin.api_base)
            with pytest.raises(discord.LoginFailure):
                await client.login(token)
            await client.close()

    async def test_content_needs_the_switch_in_the_portal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord(message_content_allowed=False) as standin:
            with pytest.raises(discord.PrivilegedIntentsRequired):
                async with connected(standin, monkeypatch):
                    pass
            async with connected(standin, monkeypatch, PlainClient(intents=WITHOUT_CONTENT)) as client:
                assert not client.application.flags.gateway_message_content_limited

    async def test_members_are_listed_on_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        intents = discord.Intents(guilds=True, members=True)
        async with StandInDiscord() as standin:
            World(standin)
            async with connected(standin, monkeypatch, PlainClient(intents=intents)) as client:
                assert sorted(member.display_name for member in client.guilds[0].members) == ["Ann", "Owner", "Pajama"]

    @pytest.mark.parametrize("compress", [None, "zlib-stream", "zstd-stream"])
    async def test_every_compression_is_spoken(self, compress: str | None) -> None:
        inflate, zstd = zlib.decompressobj(), zstandard.ZstdDecompressor().decompressobj()
        unpack = {None: str, "zlib-stream": inflate.decompress, "zstd-stream": zstd.decompress}[compress]
        async with StandInDiscord() as standin, aiohttp.ClientSession() as session:
            World(standin)
            query = {"v": "10", "encoding": "json"} | ({"compress": compress} if compress else {})
            async with session.ws_connect(standin.gateway_url, params=query) as ws:
                hello = json.loads(unpack((await ws.receive()).data))
                assert hello["op"] == 10
                await ws.send_json({"op": 2, "d": {"token": standin.token, "intents": 1, "properties": {}}})
                ready = json.loads(unpack((await ws.receive()).data))
                assert ready["t"] == "READY" and ready["s"] == 1
                guild = json.loads(unpack((await ws.receive()).data))
                assert guild["t"] == "GUILD_CREATE" and guild["d"]["name"] == "Shop"

    async def test_a_large_world_is_announced_at_little_cost(self) -> None:
        async with StandInDiscord() as standin, aiohttp.ClientSession() as session:
            standin.add_guilds(2500, members=40)
            async with bare(standin) as rest:
                assert (await rest(routes.GATEWAY_BOT))[1]["shards"] == 3
            async with session.ws_connect(standin.gateway_url) as ws:
                await ws.send_json({"op": 2, "d": {"token": standin.token, "intents": 1}})
                assert (await ws.receive_json())["op"] == 10
                assert len((await ws.receive_json())["d"]["guilds"]) == 2500
                members = [(await ws.receive_json())["d"]["member_count"] for _ in range(2500)]
                assert sum(members) == 100_000

    async def test_identifying_too_often_is_refused(self) -> None:
        async with StandInDiscord() as standin, aiohttp.ClientSession() as session:
            standin.limits.max_concurrency = 1
            identify = {"op": 2, "d": {"token": standin.token, "intents": 1}}
            opcodes = []
            for wait_s in (0, 0, 5.1):
                standin.clock.advance(wait_s)
                async with session.ws_connect(standin.gateway_url) as ws:
                    await ws.send_json(identify)
                    await ws.receive_json()
                    opcodes.append((await ws.receive_json())["op"])
            assert opcodes == [0, 9, 0]
            async with bare(standin) as rest:
                limit = (await rest(routes.GATEWAY_BOT))[1]["session_start_limit"]
                assert (limit["remaining"], limit["max_concurrency"]) == (998, 1)

    async def test_too_many_sends_close_the_connection(self) -> None:
        async with StandInDiscord() as standin, aiohttp.ClientSession() as session:
            async with session.ws_connect(standin.gateway_url) as ws:
                for _ in range(121):
                    await ws.send_json({"op": 1, "d": None})
                while not ws.closed:
                    await ws.receive()
                assert ws.close_code == 4008
            assert [violation.rule for violation in standin.violations] == ["gateway sends"]


class TestComingBack:
    @pytest.mark.parametrize("fault", ["drop", "reconnect", "close", "resumable"])
    async def test_a_resumed_session_misses_nothing_and_repeats_nothing(
        self, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                session = standin.session
                await world.channel.say(world.ann, "before")
                match fault:
                    case "drop":
                        session.drop()
                    case "reconnect":
                        session.ask_reconnect()
                    case "close":
                        await session.close(4000)
                    case "resumable":
                        session.invalidate(resumable=True)
                await standin.until_disconnected()
                await world.channel.say(world.ann, "during")
                await standin.until(lambda: session.resumes == 1)
                await world.channel.say(world.ann, "after")
                await client.until_read("before", "during", "after")
                assert standin.sessions == [session]

    async def test_an_invalid_session_starts_anew_and_what_was_missed_is_lost(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                standin.session.invalidate()
                await standin.until_disconnected()
                await world.channel.say(world.ann, "lost")
                await standin.until_connected()
                await world.channel.say(world.ann, "after")
                await client.until_read("after")
                assert [session.resumes for session in standin.sessions] == [0, 0]

    async def test_a_goodbye_ends_the_session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            World(standin)
            async with connected(standin, monkeypatch):
                session = standin.session
            await standin.until_disconnected()
            assert not session.alive

    async def test_a_session_that_nobody_resumes_in_time_is_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch):
                first = standin.session
                standin.gateway.down = True
                first.drop()
                await standin.until_disconnected()
                standin.clock.advance(standin.resume_window_s + 1)
                await world.channel.say(world.ann, "lost")
                assert not first.alive

    async def test_a_silent_gateway_is_left_and_found_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            World(standin)
            standin.gateway.heartbeat_interval_s = 0.05
            standin.gateway.acks_heartbeats = False
            async with connected(standin, monkeypatch, PlainClient(heartbeat_timeout=0.2)):
                session = standin.session
                await standin.until(lambda: session.resumes >= 1)

    async def test_a_frozen_connection_tells_everything_when_it_thaws(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                standin.session.freeze()
                for text in ("one", "two"):
                    await world.channel.say(world.ann, text)
                async with bare(standin) as rest:
                    await rest(routes.ME)
                assert client.read() == []
                standin.session.thaw()
                await client.until_read("one", "two")
                assert standin.session.resumes == 0

    async def test_an_outage_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                await standin.stop()
                await standin.until_disconnected()
                await standin.start()
                await standin.until_connected()
                await world.channel.say(world.ann, "hello")
                await client.until_read("hello")


class TestDisorder:
    async def test_events_come_twice_late_backwards_and_malformed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                standin.gateway.repeat("MESSAGE_CREATE")
                await world.channel.say(world.ann, "twice")
                standin.gateway.hold("MESSAGE_CREATE")
                for text in ("first", "second"):
                    await world.channel.say(world.ann, text)
                late = world.channel.messages[-1]
                await world.channel.edit(late, "second, edited")
                standin.gateway.release("MESSAGE_CREATE", backwards=True)
                await client.until_read("twice", "twice", "second, edited", "first")
                assert [event.message_id for event in client.seen("raw_message_edit")] == [late.id]

    async def test_a_malformed_event_crashes_a_careless_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with StandInDiscord() as standin:
            world = World(standin)
            async with connected(standin, monkeypatch) as client:
                standin.gateway.inject("MESSAGE_CREATE", {"channel_id": str(world.channel.id), "guild_id": None})
                await standin.until_disconnected()
                assert client.is_closed()
