"""Every rule that the stand-in checks finds what breaks it, and nothing in what keeps it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.bots.discord.plain_client import Rest, bare
from tests.bots.discord.standin import command_rules, component_rules, message_rules, routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.message import COMPONENTS_V2
from tests.bots.discord.standin.server import StandInDiscord

Json = dict[str, Any]

NOBODY = {"parse": []}


def row(*components: Json) -> Json:
    return {"type": 1, "components": list(components)}


def button(**fields: Any) -> Json:
    return {"type": 2, "style": 1, "label": "Stop", "custom_id": "stop"} | fields


def menu(count: int = 1, **fields: Any) -> Json:
    options = [{"label": str(number), "value": str(number)} for number in range(count)]
    return {"type": 3, "custom_id": "menu", "options": options} | fields


def field(**fields: Any) -> Json:
    return {"type": 4, "custom_id": "words", "label": "Words", "style": 1} | fields


def words(content: str = "words") -> Json:
    return {"type": 10, "content": content}


def modal(*components: Json, **fields: Any) -> Json:
    return {"title": "Why?", "custom_id": "why", "components": list(components) or [row(field())]} | fields


def command(**fields: Any) -> Json:
    return {"name": "ask", "description": "Ask", "options": []} | fields


def option(**fields: Any) -> Json:
    return {"type": 3, "name": "text", "description": "What"} | fields


def numbered(count: int) -> list[Json]:
    return [option(name=f"o{number}") for number in range(count)]


def choices(count: int, length: int = 1) -> list[Json]:
    return [{"name": "x" * length, "value": "x" * length} for _ in range(count)]


GOOD_MESSAGES: list[Json] = [
    {"content": "x" * 2000},
    {"content": "\n" + "🙂" * 2000 + "  "},
    {"content": "x", "nonce": "n" * 25},
    {"content": "x", "allowed_mentions": {"parse": [], "replied_user": True}},
    {"flags": 4},
    {"embeds": [{"title": "x" * 256, "description": "x" * 4096, "fields": [{"name": "x", "value": "x" * 1024}]}]},
    {"components": [row(*(button(custom_id=f"{r}{c}") for c in range(5))) for r in range(5)]},
    {"components": [row(menu(25, placeholder="x" * 150))]},
    {"components": [row({"type": 2, "style": 5, "label": "Docs", "url": "https://example.com"})]},
    {"components": [row(button(label=None, emoji={"name": "👍"}))]},
]

BAD_MESSAGES: list[tuple[str, Json]] = [
    ("message", {"content": "x" * 2001}),
    ("message", {"content": "x", "nonce": "n" * 26}),
    ("message", {"content": "x", "embeds": [{"title": "x"}] * 11}),
    ("message", {"embeds": [{"title": "x" * 257}]}),
    ("message", {"embeds": [{"title": "x", "fields": [{"name": "x"}]}]}),
    ("message", {"embeds": [{"title": "x", "footer": {"text": "x" * 2049}}]}),
    ("embeds", {"embeds": [{"description": "x" * 3001}, {"description": "x" * 3000}]}),
    ("component rows", {"components": [row(button(custom_id=str(n))) for n in range(6)]}),
    ("component rows", {"components": [row(menu(), button())]}),
    ("component 1", {"components": [row()]}),
    ("component 1", {"components": [row(*(button(custom_id=str(n)) for n in range(6)))]}),
    ("component types", {"components": [button()]}),
    ("component types", {"components": [words()]}),
    ("component 2", {"components": [row(button(label="x" * 81))]}),
    ("component 2", {"components": [row(button(custom_id="x" * 101))]}),
    ("component 2", {"components": [row(button(custom_id=None))]}),
    ("component 2", {"components": [row(button(label=""))]}),
    ("component 2", {"components": [row(button(style=5))]}),
    ("component 3", {"components": [row(menu(26))]}),
    ("component 3", {"components": [row(menu(0))]}),
    ("component 3", {"components": [row(menu(placeholder="x" * 151))]}),
    ("custom_id twice", {"components": [row(button(), button())]}),
    ("allowed_mentions", {"content": "x", "allowed_mentions": None}),
    ("allowed_mentions", {"content": "x", "allowed_mentions": {"parse": ["users"]}}),
    ("allowed_mentions", {"content": "x", "allowed_mentions": {"users": ["1"]}}),
]

GOOD_LAYOUTS: list[list[Json]] = [
    [words("x" * 4000)],
    [{"type": 17, "components": [words(), row(button())]}],
    [{"type": 9, "components": [words()], "accessory": button()}],
    [words() for _ in range(40)],
]

BAD_LAYOUTS: list[tuple[str, list[Json]]] = [
    ("components v2", [words("x" * 2001), words("x" * 2000)]),
    ("components v2", [words() for _ in range(41)]),
    ("component 9", [{"type": 9, "components": [words()] * 4, "accessory": button()}]),
    ("component types", [button()]),
    ("custom_id twice", [row(button()), {"type": 9, "components": [words()], "accessory": button()}]),
]

GOOD_MODALS = [
    modal(*(row(field(custom_id=str(n), value="x" * 4000)) for n in range(5)), title="x" * 45, custom_id="x" * 100),
    modal({"type": 18, "label": "x" * 45, "component": menu()}, words()),
]

BAD_MODALS = [
    ("modal", modal(title="x" * 46)),
    ("modal", modal(title=None)),
    ("modal", modal(custom_id="x" * 101)),
    ("modal", modal(*(row(field(custom_id=str(n))) for n in range(6)))),
    ("modal", modal(row(button()))),
    ("modal", modal({"type": 18, "label": "Words"})),
    ("component types", modal(field())),
    ("component 4", modal(row(field(label="x" * 46)))),
    ("component 4", modal(row(field(value="x" * 4001)))),
    ("component 4", modal(row(field(max_length=4001)))),
    ("component 4", modal(row(field(placeholder="x" * 101)))),
    ("component 18", modal({"type": 18, "label": "x" * 46, "component": field()})),
    ("custom_id twice", modal(row(field()), row(field()))),
]

GOOD_COMMANDS = [
    command(name="x" * 32, description="x" * 100),
    command(name="询问", name_localizations={"zh-CN": "问"}, description_localizations={"zh-CN": "问一问"}),
    command(options=[option(required=True), option(name="more", choices=choices(25, 100))]),
    command(options=[option(type=2, name="g", options=[option(type=1, name="s", options=numbered(25))])]),
    {"name": "Explain This", "type": 3},
]

BAD_COMMANDS = [
    ("name", command(name="Ask")),
    ("name", command(name="ask me")),
    ("name", command(name="x" * 33)),
    ("name", command(name_localizations={"zh-CN": "问 一"})),
    ("name", command(options=[option(name="Text")])),
    ("command ask", command(description="x" * 101)),
    ("command ask", command(description="")),
    ("command ask", command(description_localizations={"zh-CN": "x" * 101})),
    ("command ask", command(description_localizations={"zh": "x"})),
    ("command ask", command(options=numbered(26))),
    ("command ask", command(options=[option(), option()])),
    ("command ask", command(options=[option(), option(name="more", required=True)])),
    ("command ask", command(options=[option(type=1, name="s"), option()])),
    ("command ask", command(options=[option(name=name, choices=choices(25, 99)) for name in ("one", "two")])),
    ("command ask text", command(options=[option(description="x" * 101)])),
    ("command ask text", command(options=[option(choices=choices(26))])),
    ("command ask text", command(options=[option(choices=choices(1, 101))])),
    ("command ask text", command(options=[option(choices=choices(1), autocomplete=True)])),
    ("command ask text", command(options=[option(type=4, max_length=3)])),
    ("command ask text", command(options=[option(max_length=6001)])),
    ("command ask s g", command(options=[option(type=1, name="s", options=[option(type=2, name="g")])])),
    ("command Explain", {"name": "Explain", "type": 3, "description": "x"}),
    ("command " + "x" * 33, {"name": "x" * 33, "type": 2}),
]


class TestMessages:
    @pytest.mark.parametrize("payload", GOOD_MESSAGES)
    def test_nothing_is_found_in_a_good_message(self, payload: Json) -> None:
        assert list(message_rules.findings({"allowed_mentions": NOBODY} | payload, {}, layout=False)) == []

    @pytest.mark.parametrize(("rule", "payload"), BAD_MESSAGES)
    def test_what_breaks_a_rule_is_found(self, rule: str, payload: Json) -> None:
        found = list(message_rules.findings({"allowed_mentions": NOBODY} | payload, {}, layout=False))
        assert {finding.rule for finding in found} == {rule}
        assert all(finding.refused == (rule != "allowed_mentions") for finding in found)

    @pytest.mark.parametrize("components", GOOD_LAYOUTS)
    def test_nothing_is_found_in_a_good_layout(self, components: list[Json]) -> None:
        assert list(component_rules.in_message(components, layout=True)) == []

    @pytest.mark.parametrize(("rule", "components"), BAD_LAYOUTS)
    def test_what_breaks_a_layout_is_found(self, rule: str, components: list[Json]) -> None:
        assert {finding.rule for finding in component_rules.in_message(components, layout=True)} == {rule}

    def test_files_are_counted_and_weighed(self) -> None:
        assert list(message_rules.findings({}, {str(n): b"x" for n in range(10)}, layout=False)) == []
        many = message_rules.findings({}, {str(n): b"x" for n in range(11)}, layout=False)
        heavy = message_rules.findings({}, {"a": bytes(message_rules.FILE_BYTES + 1)}, layout=False)
        assert [finding.rule for finding in (*many, *heavy)] == ["files", "files"]

    @pytest.mark.parametrize("modal", GOOD_MODALS)
    def test_nothing_is_found_in_a_good_modal(self, modal: Json) -> None:
        assert list(component_rules.in_modal(modal)) == []

    @pytest.mark.parametrize(("rule", "modal"), BAD_MODALS)
    def test_what_breaks_a_modal_is_found(self, rule: str, modal: Json) -> None:
        assert {finding.rule for finding in component_rules.in_modal(modal)} == {rule}


class TestCommands:
    @pytest.mark.parametrize("command", GOOD_COMMANDS)
    def test_nothing_is_found_in_a_good_command(self, command: Json) -> None:
        assert list(command_rules.command(command)) == []

    @pytest.mark.parametrize(("rule", "command"), BAD_COMMANDS)
    def test_what_breaks_a_command_is_found(self, rule: str, command: Json) -> None:
        assert {finding.rule for finding in command_rules.command(command)} == {rule}

    def test_commands_are_counted_by_kind_and_named_once(self) -> None:
        many = [command(name=f"c{number}") for number in range(101)]
        menus = [{"name": f"Menu {number}", "type": 3} for number in range(16)]
        assert [finding.detail for finding in command_rules.commands([*many, *menus])] == [
            "101 commands of type 1, allowed are 100",
            "16 commands of type 3, allowed are 15",
        ]
        assert [finding.rule for finding in command_rules.commands([command(), command()])] == ["commands"]
        assert list(command_rules.commands([command(), {"name": "ask", "type": 3}])) == []

    def test_choices_are_bounded(self) -> None:
        assert list(command_rules.choices({"choices": choices(25, 100)})) == []
        assert list(command_rules.choices({"choices": choices(26)}))
        assert list(command_rules.choices({"choices": choices(1, 101)}))


@pytest.fixture
async def standin() -> AsyncIterator[StandInDiscord]:
    async with StandInDiscord() as standin:
        yield standin


@pytest.fixture
async def rest(standin: StandInDiscord) -> AsyncIterator[Rest]:
    async with bare(standin) as rest:
        yield rest


@pytest.fixture
def channel(standin: StandInDiscord) -> Channel:
    return standin.add_guild("Shop").add_text_channel("general")


class TestRequests:
    async def test_what_discord_refuses_is_refused_and_noted(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        body = {"content": "x" * 2001, "allowed_mentions": NOBODY}
        status, document, _ = await rest(routes.CREATE_MESSAGE, body, channel_id=channel.id)
        assert (status, document["code"]) == (400, 50035) and channel.messages == []
        (violation,) = standin.violations
        assert violation.detail == "content is 2001, allowed are 0 to 2000"
        assert violation.request is standin.requests[-1]

    async def test_a_broken_promise_is_noted_and_shows(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        body = {"content": "hello @everyone"}
        assert (await rest(routes.CREATE_MESSAGE, body, channel_id=channel.id))[0] == 200
        assert [violation.rule for violation in standin.violations] == ["allowed_mentions"]
        assert channel.messages[0].mention_everyone

    @pytest.mark.parametrize("body", [{}, {"content": " \n "}, {"content": "", "embeds": []}])
    async def test_a_message_shows_something(
        self, body: Json, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        body = body | {"allowed_mentions": NOBODY}
        _, document, _ = await rest(routes.CREATE_MESSAGE, body, channel_id=channel.id)
        assert document["code"] == 50006 and standin.violations[-1].rule == "empty message"
        good = {"content": "x", "allowed_mentions": NOBODY}
        _, sent, _ = await rest(routes.CREATE_MESSAGE, good, channel_id=channel.id)
        where = {"channel_id": channel.id, "message_id": sent["id"]}
        status, document, _ = await rest(routes.EDIT_MESSAGE, {"content": "", "allowed_mentions": NOBODY}, **where)
        assert (status, document["code"]) == (400, 50006) and channel.texts == ["x"]

    async def test_a_layout_stays_one(self, rest: Rest, standin: StandInDiscord, channel: Channel) -> None:
        layout = {"components": [words()], "flags": COMPONENTS_V2, "allowed_mentions": NOBODY}
        _, sent, _ = await rest(routes.CREATE_MESSAGE, layout, channel_id=channel.id)
        where = {"channel_id": channel.id, "message_id": sent["id"]}
        other = {"components": [words("other")], "allowed_mentions": NOBODY}
        assert (await rest(routes.EDIT_MESSAGE, other, **where))[0] == 200 and standin.violations == []
        plain = {"content": "words", "components": [], "flags": 0, "allowed_mentions": NOBODY}
        assert (await rest(routes.EDIT_MESSAGE, plain, **where))[0] == 400
        assert {violation.rule for violation in standin.violations} == {"components v2"}
        mixed = layout | {"content": "beside"}
        assert (await rest(routes.CREATE_MESSAGE, mixed, channel_id=channel.id))[0] == 400

    async def test_commands_modals_and_threads_are_checked_on_their_way(
        self, rest: Rest, standin: StandInDiscord, channel: Channel
    ) -> None:
        own = {"application_id": standin.application_id}
        assert (await rest(routes.PUT_COMMANDS, [command(name="Bad")], **own))[0] == 400
        assert (await rest(routes.CREATE_COMMAND, command(description="x" * 101), **own))[0] == 400
        assert (await rest(routes.START_THREAD, {"name": "x" * 101, "type": 11}, channel_id=channel.id))[0] == 400
        wrong = {"type": 9, "data": modal(title="")}
        callback = {"interaction_id": 1, "interaction_token": "none"}
        assert (await rest(routes.CALLBACK, wrong, **callback))[0] == 400
        assert (await rest(routes.CALLBACK, {"type": 5}, **callback))[0] == 404
        rules = [violation.rule for violation in standin.violations]
        assert rules == ["name", "command ask", "thread", "modal", "unknown interaction"]

    async def test_a_file_that_is_too_large_is_refused(self, standin: StandInDiscord, channel: Channel) -> None:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", '{"content": "x", "allowed_mentions": {"parse": []}}')
        form.add_field("files[0]", io.BytesIO(bytes(message_rules.FILE_BYTES + 1)), filename="big.bin")
        url = f"{standin.api_base}/channels/{channel.id}/messages"
        headers = {"Authorization": f"Bot {standin.token}"}
        async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as answer:
            assert answer.status == 413 and (await answer.json())["code"] == 40005
