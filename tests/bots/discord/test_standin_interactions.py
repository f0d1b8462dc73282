"""The stand-in's interactions with unmodified discord.py: commands, buttons, menus, modals, and who comes too late."""

from __future__ import annotations

from collections.abc import AsyncIterator

import discord
import pytest
from discord import app_commands

from tests.bots.discord.plain_client import PlainClient, Rest, bare, connected
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.components import NotOffered
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord

Interaction = discord.Interaction[PlainClient]


class Why(discord.ui.Modal, title="What was wrong?"):
    """A modal in both ways of writing one."""

    words = discord.ui.TextInput["Why"](label="Words", max_length=20)
    grade = discord.ui.Label["Why"](
        text="Grade",
        component=discord.ui.Select["Why"](
            options=[discord.SelectOption(label="Bad"), discord.SelectOption(label="Good")]
        ),
    )

    async def on_submit(self, interaction: Interaction) -> None:
        menu = self.grade.component
        assert isinstance(menu, discord.ui.Select)
        await interaction.response.send_message(f"{self.words.value}: {menu.values[0]}", ephemeral=True)


class Buttons(discord.ui.View):
    """Every kind of answer to a button."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.add_item(discord.ui.Button(label="Docs", url="https://example.com"))
        self.add_item(discord.ui.Button(label="Never", custom_id="never", disabled=True))

    @discord.ui.button(label="Change", custom_id="change")
    async def change(self, interaction: Interaction, _: discord.ui.Button[Buttons]) -> None:
        await interaction.response.edit_message(content="changed")

    @discord.ui.button(label="Quietly", custom_id="quietly")
    async def quietly(self, interaction: Interaction, _: discord.ui.Button[Buttons]) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content="changed later")

    @discord.ui.button(label="Answer", custom_id="answer")
    async def answer(self, interaction: Interaction, _: discord.ui.Button[Buttons]) -> None:
        await interaction.response.send_message("for you", ephemeral=True)

    @discord.ui.button(emoji="👎", custom_id="why")
    async def why(self, interaction: Interaction, _: discord.ui.Button[Buttons]) -> None:
        await interaction.response.send_modal(Why())

    @discord.ui.select(custom_id="menu", options=[discord.SelectOption(label="A"), discord.SelectOption(label="B")])
    async def menu(self, interaction: Interaction, select: discord.ui.Select[Buttons]) -> None:
        await interaction.response.send_message(f"chose {select.values[0]}")


class Layout(discord.ui.LayoutView):
    """A message of Components v2."""

    row = discord.ui.ActionRow["Layout"]()

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.remove_item(self.row)
        self.add_item(discord.ui.Container(discord.ui.TextDisplay("words"), self.row))

    @row.button(label="Press", custom_id="pressed")
    async def pressed(self, interaction: Interaction, _: discord.ui.Button[Layout]) -> None:
        await interaction.response.send_message("yes")


def add_commands(tree: app_commands.CommandTree) -> None:
    """Commands of every kind."""
    add_answers(tree)
    add_arguments(tree)
    add_menus(tree)


def add_answers(tree: app_commands.CommandTree) -> None:
    """Every way to answer."""

    @tree.command(description="Ask")
    @app_commands.describe(text="What", times="How often")
    async def ask(interaction: Interaction, text: app_commands.Range[str, 1, 20], times: int = 1) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content=f"{text} × {times}")
        await interaction.followup.send("more", ephemeral=True)

    @tree.command(description="Defer, then follow up")
    async def later(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send("at last")

    @tree.command(description="Show the buttons")
    async def buttons(interaction: Interaction) -> None:
        await interaction.response.send_message("press", view=Buttons())

    @tree.command(description="Show the layout")
    async def layout(interaction: Interaction) -> None:
        await interaction.response.send_message(view=Layout())


def add_arguments(tree: app_commands.CommandTree) -> None:
    """Every kind of argument."""

    @tree.command(description="Who, where, what")
    async def about(
        interaction: Interaction, who: discord.Member, where: discord.TextChannel, what: discord.Attachment
    ) -> None:
        words = (await what.read()).decode()
        await interaction.response.send_message(f"{who.display_name}, {where.name}, {words}")

    @tree.command(description="For admins")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def admin(interaction: Interaction) -> None:
        await interaction.response.send_message(f"{interaction.permissions.manage_guild} {interaction.locale}")

    settings = app_commands.Group(name="settings", description="Settings")

    @settings.command(name="set", description="Set one")
    async def set_(interaction: Interaction, name: str, value: str) -> None:
        await interaction.response.send_message(f"{name} = {value}")

    @set_.autocomplete("name")
    async def names(_: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=one, value=one) for one in ("persona", "language") if current in one]

    tree.add_command(settings)


def add_menus(tree: app_commands.CommandTree) -> None:
    """Context menus."""

    @tree.context_menu(name="Explain")
    async def explain(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"it says {message.content!r}", ephemeral=True)

    @tree.context_menu(name="Greet")
    async def greet(interaction: Interaction, user: discord.User) -> None:
        await interaction.response.send_message(f"Hi {user.display_name}")


class Place:
    """A guild with the bot, its commands registered."""

    def __init__(self, standin: StandInDiscord) -> None:
        self.standin = standin
        self.ann: User = standin.add_user("Ann", locale="zh-CN")
        self.guild = standin.add_guild("Shop", members=[self.ann])
        self.channel: Channel = self.guild.add_text_channel("general")


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with StandInDiscord() as standin:
        place = Place(standin)
        client = PlainClient(intents=discord.Intents(guilds=True, messages=True))
        async with connected(standin, monkeypatch, client):
            add_commands(client.tree)
            await client.tree.sync()
            await standin.until_commands("ask", "settings")
            yield place
            assert standin.overdue == []


@pytest.fixture
async def rest(place: Place) -> AsyncIterator[Rest]:
    async with bare(place.standin) as rest:
        yield rest


class TestCommands:
    async def test_a_deferred_answer_and_a_followup_for_one_person(self, place: Place) -> None:
        asked = await place.channel.slash(place.ann, "ask", {"text": "why", "times": 2})
        assert await asked.acknowledged() == 5
        await asked.until("more")
        assert asked.texts == ["why × 2", "more"] and await asked.answered() == "why × 2"
        assert place.channel.texts == ["why × 2"]
        assert [message.content for message in place.channel.seen_by(place.ann)] == ["why × 2", "more"]
        assert place.channel.seen_by(place.standin.owner) == place.channel.messages
        assert place.standin.violations == []

    async def test_the_first_followup_takes_the_place_of_thinking(self, place: Place) -> None:
        asked = await place.channel.slash(place.ann, "later")
        assert await asked.answered() == "at last"
        assert asked.followups == [] and asked.response is not None and asked.response.ephemeral

    async def test_subcommands_and_autocompletion(self, place: Place) -> None:
        typed = await place.channel.autocomplete(place.ann, "settings set", "name", "pers")
        assert await typed.acknowledged() == 8
        assert typed.choices is not None and [choice["value"] for choice in typed.choices] == ["persona"]
        asked = await place.channel.slash(place.ann, "settings set", {"name": "persona", "value": "kind"})
        assert await asked.answered() == "persona = kind"

    async def test_people_channels_and_files_are_resolved(self, place: Place) -> None:
        file = place.standin.attachment("a.txt", b"words")
        given = {"who": place.ann, "where": place.channel, "what": file}
        asked = await place.channel.slash(place.ann, "about", given)
        assert await asked.answered() == "Ann, general, words"

    async def test_context_menus_carry_their_target_whole(self, place: Place) -> None:
        message = await place.channel.say(place.ann, "hidden from the bot")
        asked = await place.channel.use_on_message(place.ann, "Explain", message)
        assert await asked.answered() == "it says 'hidden from the bot'"
        asked = await place.channel.use_on_user(place.ann, "Greet", place.standin.owner)
        assert await asked.answered() == "Hi Owner"

    async def test_commands_work_in_direct_messages_and_without_access(self, place: Place) -> None:
        asked = await place.standin.dm(place.ann).slash(place.ann, "ask", {"text": "hi"})
        await asked.until("more")
        place.channel.deny(place.standin.bot, "view_channel")
        asked = await place.channel.slash(place.ann, "ask", {"text": "hi"})
        await asked.until("more")

    async def test_people_get_what_is_offered_to_them(self, place: Place) -> None:
        cases = [
            ("unknown", {}), ("ask", {}), ("ask", {"text": "x" * 21}), ("ask", {"text": 1}),
            ("ask", {"text": "x", "extra": 1}), ("settings", {}), ("settings get", {}), ("admin", {}),
        ]  # fmt: skip
        for command, given in cases:
            with pytest.raises(NotOffered):
                await place.channel.slash(place.ann, command, given)
        with pytest.raises(NotOffered):
            await place.standin.dm(place.ann).slash(place.ann, "admin")
        place.guild.add_member(place.ann, place.guild.add_role("Admins", "manage_guild"))
        asked = await place.channel.slash(place.ann, "admin")
        assert await asked.answered() == "True zh-CN"
        assert len(place.standin.interactions) == 1

    async def test_commands_are_listed_changed_and_removed(self, place: Place, rest: Rest) -> None:
        own = {"application_id": place.standin.application_id}
        _, before, _ = await rest(routes.COMMANDS, **own)
        status, command, _ = await rest(routes.CREATE_COMMAND, {"name": "new", "description": "New"}, **own)
        assert status == 201
        again = await rest(routes.CREATE_COMMAND, {"name": "new", "description": "Newer"}, **own)
        assert again[0] == 200 and again[1]["id"] == command["id"]
        place_of = own | {"command_id": command["id"]}
        assert (await rest(routes.EDIT_COMMAND, {"description": "Newest"}, **place_of))[1]["description"] == "Newest"
        assert (await rest(routes.DELETE_COMMAND, **place_of))[0] == 204
        assert (await rest(routes.COMMAND, **place_of))[1]["code"] == 10063
        assert (await rest(routes.COMMANDS, **own))[1] == before
        _, kept, _ = await rest(routes.PUT_COMMANDS, before[:1], **own)
        assert kept[0]["id"] == before[0]["id"] and len(place.standin.commands[None]) == 1
        here = own | {"guild_id": place.guild.id}
        await rest(routes.PUT_GUILD_COMMANDS, [{"name": "here", "description": "Here"}], **here)
        assert [command["name"] for command in (await rest(routes.GUILD_COMMANDS, **here))[1]] == ["here"]


class TestComponents:
    @pytest.mark.parametrize(
        ("button", "kind", "text"),
        [("Change", 7, "changed"), ("quietly", 6, "changed later"), ("Answer", 4, "for you")],
    )
    async def test_buttons_change_the_message_or_answer(self, button: str, kind: int, text: str, place: Place) -> None:
        shown = await place.channel.slash(place.ann, "buttons")
        await shown.answered()
        assert shown.response is not None
        pressed = await place.channel.press(place.ann, shown.response, button)
        await pressed.until(text)
        assert pressed.callback_type == kind
        assert place.channel.texts == ["press" if kind == 4 else text]
        assert place.standin.violations == []

    async def test_what_is_disabled_or_a_link_cannot_be_pressed(self, place: Place) -> None:
        shown = await place.channel.slash(place.ann, "buttons")
        await shown.answered()
        assert shown.response is not None
        for name in ("Never", "Docs", "nothing"):
            with pytest.raises(NotOffered):
                await place.channel.press(place.ann, shown.response, name)
        with pytest.raises(NotOffered):
            await place.channel.select(place.ann, shown.response, "menu", "C")

    async def test_menus_and_modals(self, place: Place) -> None:
        shown = await place.channel.slash(place.ann, "buttons")
        await shown.answered()
        assert shown.response is not None
        chosen = await place.channel.select(place.ann, shown.response, "menu", "B")
        assert await chosen.answered() == "chose B"
        pressed = await place.channel.press(place.ann, shown.response, "👎")
        assert (await pressed.opened())["title"] == "What was wrong?"
        for fields in ({}, {"Words": "x" * 21, "Grade": ["Bad"]}, {"Nothing": "x"}):
            with pytest.raises(NotOffered):
                await place.standin.submit_modal(pressed, fields)
        sent = await place.standin.submit_modal(pressed, {"Words": "all", "Grade": ["Bad"]})
        assert await sent.answered() == "all: Bad"

    async def test_a_layout_has_buttons_too(self, place: Place) -> None:
        shown = await place.channel.slash(place.ann, "layout")
        await shown.acknowledged()
        assert shown.response is not None
        assert shown.response.components[0]["components"][0]["content"] == "words"
        pressed = await place.channel.press(place.ann, shown.response, "pressed")
        assert await pressed.answered() == "yes"
        assert place.standin.violations == []


class TestTime:
    async def acknowledge(self, rest: Rest, place: Place, body: dict[str, object]) -> tuple[int, int | None]:
        newest = list(place.standin.interactions.values())[-1]
        where = {"interaction_id": newest.id, "interaction_token": newest.token}
        status, document, _ = await rest(routes.CALLBACK, body, **where)
        return status, document["code"] if document else None

    async def test_acknowledged_once_and_in_time(self, place: Place, rest: Rest) -> None:
        shown = await place.channel.slash(place.ann, "buttons")
        await shown.acknowledged()
        answer = {"type": 4, "data": {"content": "x", "allowed_mentions": {"parse": []}}}
        assert await self.acknowledge(rest, place, answer) == (400, 40060)
        place.standin.gateway.hold("INTERACTION_CREATE")  # the client knows nothing of it
        late = await place.channel.slash(place.ann, "buttons")
        assert await self.acknowledge(rest, place, {"type": 7, "data": {}}) == (400, 50035)
        place.standin.clock.advance(3.1)
        assert place.standin.overdue == [late]
        assert await self.acknowledge(rest, place, answer) == (404, 10062)
        rules = [violation.rule for violation in place.standin.violations]
        assert rules == ["acknowledged twice", "interaction callback", "acknowledged late"]
        late.callback_type = 4

    async def test_a_token_dies_after_15_minutes(self, place: Place, rest: Rest) -> None:
        shown = await place.channel.slash(place.ann, "later")
        await shown.answered()
        where = {"webhook_id": place.standin.application_id, "webhook_token": shown.token}
        body = {"content": "x", "allowed_mentions": {"parse": []}}
        assert (await rest(routes.EDIT_ORIGINAL, body, **where))[0] == 200
        assert (await rest(routes.ORIGINAL, **where))[1]["content"] == "x"
        _, more, _ = await rest(routes.FOLLOWUP, body, **where)
        there = where | {"message_id": more["id"]}
        assert (await rest(routes.EDIT_FOLLOWUP, body | {"content": "y"}, **there))[1]["content"] == "y"
        assert (await rest(routes.FOLLOWUP_MESSAGE, **there))[1]["content"] == "y"
        assert (await rest(routes.DELETE_FOLLOWUP, **there))[0] == 204
        assert (await rest(routes.DELETE_ORIGINAL, **where))[0] == 204
        assert (await rest(routes.ORIGINAL, **where))[1]["code"] == 10008
        place.standin.clock.advance(901)
        status, document, _ = await rest(routes.FOLLOWUP, body, **where)
        assert (status, document["code"]) == (401, 50027)
        assert (await rest(routes.ORIGINAL, webhook_id=1, webhook_token="none"))[1]["code"] == 10015
