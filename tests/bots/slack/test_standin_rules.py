"""What the stand-in holds to be wrong: blocks, sizes, modals and mentions; each rule finds what it should, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bots.slack.standin import block_rules
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.world import World

Json = dict[str, Any]


def plain(text: str) -> Json:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    """A text object in Slack's markup."""
    return {"type": "mrkdwn", "text": text}


def section(text: str = "x", **fields: Any) -> Json:
    """A section."""
    return {"type": "section", "text": mrkdwn(text)} | fields


def markdown(text: str) -> Json:
    """A Markdown block."""
    return {"type": "markdown", "text": text}


def button(**fields: Any) -> Json:
    """A button."""
    return {"type": "button", "text": plain("x"), "action_id": "a"} | fields


def actions(*elements: Json) -> Json:
    """A row of elements."""
    return {"type": "actions", "elements": list(elements)}


def feedback(**fields: Any) -> Json:
    """Thumbs up and down."""
    good, bad = {"text": plain("+"), "value": "1"}, {"text": plain("-"), "value": "0"}
    return {"type": "feedback_buttons", "action_id": "f", "positive_button": good, "negative_button": bad} | fields


def table(rows: int, cells: int, text: str = "x") -> Json:
    """A table of raw text."""
    return {"type": "table", "rows": [[{"type": "raw_text", "text": text} for _ in range(cells)] for _ in range(rows)]}


def select(count: int, **fields: Any) -> Json:
    """A menu."""
    options = [{"text": plain(str(number)), "value": str(number)} for number in range(count)]
    return {"type": "static_select", "action_id": "s", "options": options} | fields


GOOD_BLOCKS: list[list[Json]] = [
    [section("x" * 3000)],
    [section("x") for _ in range(50)],
    [markdown("x" * 12_000)],
    [markdown("# a\n\n" * 25), markdown("b")],
    [{"type": "header", "text": plain("x" * 150)}],
    [actions(*(button(action_id=str(number)) for number in range(25)))],
    [actions(button(text=plain("x" * 75), value="x" * 2000))],
    [
        {
            "type": "context_actions",
            "elements": [feedback(), {"type": "icon_button", "icon": "trash", "text": plain("x")}],
        }
    ],
    [table(100, 20)],
    [{"type": "context", "elements": [mrkdwn("x"), plain("y")]}, {"type": "divider"}],
    [section(fields=[mrkdwn("x" * 2000)] * 1), section(accessory=select(100))],
    [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}]}],
]

BAD_BLOCKS: list[tuple[str, list[Json], str]] = [
    ("section", [section("x" * 3001)], "invalid_blocks"),
    ("section", [{"type": "section"}], "invalid_blocks"),
    ("section", [{"type": "section", "text": "x"}], "invalid_blocks"),
    ("section", [section(fields=[mrkdwn("x")] * 11)], "invalid_blocks"),
    ("blocks", [section("x") for _ in range(51)], "invalid_blocks"),
    ("markdown", [markdown("x" * 12_001)], "invalid_blocks"),
    ("markdown", [markdown("x" * 6001), markdown("x" * 6000)], "invalid_blocks"),
    ("rendered blocks", [markdown("# a\n\n" * 51)], "msg_blocks_too_long"),
    ("rendered blocks", [markdown("# a\n\nb\n\n" * 25), section()], "msg_blocks_too_long"),
    ("block characters", [section("x" * 3000) for _ in range(5)], "msg_blocks_too_long"),
    ("block characters", [markdown("&" * 3000)], "msg_blocks_too_long"),
    ("block characters", [markdown("x" * 9000 + "\n# a\n" * 45)], "msg_blocks_too_long"),
    ("header", [{"type": "header", "text": plain("x" * 151)}], "invalid_blocks"),
    ("header", [{"type": "header", "text": mrkdwn("x")}], "invalid_blocks"),
    ("actions", [actions(*(button(action_id=str(number)) for number in range(26)))], "invalid_blocks"),
    ("action_id twice", [actions(button(), button())], "invalid_blocks"),
    ("block_id twice", [section(block_id="b"), section(block_id="b")], "invalid_blocks"),
    ("button", [actions(button(text=plain("x" * 76)))], "invalid_blocks"),
    ("button", [actions(button(value="x" * 2001))], "invalid_blocks"),
    ("button", [actions(button(style="loud"))], "invalid_blocks"),
    ("button", [actions(button(confirm={"title": plain("x" * 101)}))], "invalid_blocks"),
    (
        "context_actions",
        [{"type": "context_actions", "elements": [feedback(action_id=c) for c in "abcdef"]}],
        "invalid_blocks",
    ),
    ("context_actions", [{"type": "context_actions", "elements": [button()]}], "invalid_blocks"),
    ("feedback_buttons", [{"type": "context_actions", "elements": [feedback(negative_button=None)]}], "invalid_blocks"),
    ("table", [table(101, 1)], "invalid_blocks"),
    ("table", [table(1, 21)], "invalid_blocks"),
    ("table", [table(10, 10, "x" * 101)], "invalid_blocks"),
    ("table", [table(1, 1, "")], "invalid_blocks"),
    ("table", [table(1, 1), table(1, 1)], "invalid_attachments"),
    ("static_select", [actions(select(101))], "invalid_blocks"),
    ("static_select", [actions(select(0))], "invalid_blocks"),
    ("static_select", [actions(select(1, placeholder=plain("x" * 151)))], "invalid_blocks"),
    ("block type", [{"type": "song"}], "invalid_blocks"),
    ("block type", [{"type": "input", "label": plain("x"), "element": select(1)}], "invalid_blocks"),
    ("element type", [section(accessory={"type": "song"})], "invalid_blocks"),
    ("context", [{"type": "context", "elements": [mrkdwn("x")] * 11}], "invalid_blocks"),
]

MODAL: Json = {"type": "modal", "title": plain("x" * 24), "blocks": [section() for _ in range(100)]}
INPUT: Json = {"type": "input", "label": plain("x"), "element": {"type": "plain_text_input", "action_id": "t"}}

BAD_VIEWS: list[tuple[str, Json]] = [
    ("view", MODAL | {"title": plain("x" * 25)}),
    ("view", {"type": "modal", "blocks": [section()]}),
    ("view", MODAL | {"submit": plain("x" * 25)}),
    ("view", MODAL | {"title": mrkdwn("x")}),
    ("view", MODAL | {"private_metadata": "x" * 3001}),
    ("view", MODAL | {"callback_id": "x" * 256}),
    ("blocks", MODAL | {"blocks": [section() for _ in range(101)]}),
    ("view", MODAL | {"blocks": []}),
    ("view", MODAL | {"blocks": [INPUT]}),
    ("view", MODAL | {"type": "window"}),
    ("view", {"type": "home", "blocks": [section()], "submit": plain("x")}),
    ("block type", MODAL | {"blocks": [markdown("x")]}),
    ("block type", MODAL | {"blocks": [{"type": "context_actions", "elements": [feedback()]}]}),
    ("plain_text_input", MODAL | {"submit": plain("x"), "blocks": [INPUT | {"element": {"type": "plain_text_input", "max_length": 3001}}]}),
]  # fmt: skip

PINGING = ["<!channel>", "<!here|here>", "<!everyone>", "<@ANN> hi", "`<!channel>`", "<!subteam^S012>"]
HARMLESS = [
    "&lt;!channel&gt;",
    "@channel",
    "<@U0NOBODY>",
    "<@BOT>",
    "<https://example.com|x>",
    "ann@here.com",
    "channel",
]


class TestBlocks:
    @pytest.mark.parametrize("blocks", GOOD_BLOCKS)
    async def test_good_blocks_are_taken(self, blocks: list[Json]) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            assert (await world.call("chat.postMessage", channel=world.channel.id, text="x", blocks=blocks))["ok"]
            assert slack.violations == []

    @pytest.mark.parametrize(("rule", "blocks", "code"), BAD_BLOCKS)
    async def test_bad_blocks_are_refused_and_noted(self, rule: str, blocks: list[Json], code: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            assert await world.call("chat.postMessage", channel=world.channel.id, text="x", blocks=blocks) == code
            assert set(world.broken) == {rule}
            assert world.channel.messages == []

    async def test_blocks_must_be_a_list_of_objects(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            for blocks in ("[", "{}", ["x"]):
                code = await world.call("chat.postMessage", channel=world.channel.id, text="x", blocks=blocks)
                assert code == "invalid_blocks_format"

    @pytest.mark.parametrize(
        ("text", "shape"),
        [
            ("a\nb\n\nc", (1, 0)),
            ("# a\nb\n## c", (3, 2)),
            ("a\n---\nb", (3, 0)),
            ("a\n```py\n# no heading\n```\nb", (3, 0)),
            ("~~~\n```\n~~~", (1, 0)),
            ("a\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nb", (3, 0)),
            ("", (0, 0)),
        ],
    )
    def test_markdown_is_rendered_into_blocks(self, text: str, shape: tuple[int, int]) -> None:
        assert block_rules.shape(text) == shape


class TestSizes:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ({"text": "x" * 4000}, None),
            ({"text": "x" * 4001}, "msg_too_long"),
            ({"text": "x" * 4001, "blocks": [section()]}, "msg_too_long"),
            ({"markdown_text": "x" * 12_000}, None),
            ({"markdown_text": "x" * 12_001}, "msg_too_long"),
            ({"markdown_text": "# a\n" * 51}, "msg_blocks_too_long"),
        ],
    )
    async def test_an_update_takes_so_much(self, arguments: Json, code: str | None) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            posted = await world.call("chat.postMessage", channel=world.channel.id, text="…")
            answer = await world.call("chat.update", channel=world.channel.id, ts=posted["ts"], **arguments)
            assert answer == code if code else answer["ok"]
            assert bool(slack.violations) == bool(code)

    async def test_a_post_is_cut_beyond_forty_thousand(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            assert (await world.call("chat.postMessage", channel=world.channel.id, text="x" * 40_001))["ok"]
            assert len(world.channel.texts[0]) == 40_000 and world.broken == ["text"]

    @pytest.mark.parametrize(
        ("method", "arguments", "rule"),
        [
            ("assistant.threads.setStatus", {"status": "x", "loading_messages": ["x"] * 11}, "status"),
            ("assistant.threads.setTitle", {"title": "x" * 201}, "title"),
            (
                "assistant.threads.setSuggestedPrompts",
                {"prompts": [{"title": "x", "message": "x"}] * 5},
                "suggested prompts",
            ),
            ("assistant.threads.setSuggestedPrompts", {"prompts": [{"title": "x"}]}, "suggested prompts"),
            ("agents.sessions.setStatus", {"status": "active", "title": "x" * 201}, "session"),
            ("agents.sessions.rename", {"title": "x" * 201}, "session"),
        ],
    )
    async def test_the_agent_view_takes_so_much(self, method: str, arguments: Json, rule: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            place = {"channel_id": world.channel.id, "thread_ts": asked.ts}
            assert await world.call(method, **place, **arguments) == "invalid_arguments"
            assert set(world.broken) == {rule}


class TestViews:
    @pytest.mark.parametrize(("rule", "view"), BAD_VIEWS)
    async def test_bad_views_are_refused_and_noted(self, rule: str, view: Json) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            assert await world.call("views.publish", user_id=world.ann.id, view=view) == "invalid_arguments"
            assert set(world.broken) == {rule}

    async def test_a_good_modal_is_no_app_home(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            assert await world.call("views.publish", user_id=world.ann.id, view=MODAL) == "invalid_arguments"
            assert slack.violations == []


class TestMentions:
    def ways(self, world: World, text: str) -> list[tuple[str, Json]]:
        """Every way to write a text."""
        text = text.replace("ANN", world.ann.id).replace("BOT", world.team.bot.id)
        place: Json = {"channel": world.channel.id}
        asked = next(iter(world.channel.book))
        stream = {"thread_ts": asked, "recipient_user_id": world.ann.id, "recipient_team_id": world.team.id}
        return [
            ("chat.postMessage", place | {"text": text}),
            ("chat.postMessage", place | {"markdown_text": text}),
            ("chat.postMessage", place | {"text": "x", "blocks": [section(text)]}),
            ("chat.postMessage", place | {"text": "x", "blocks": [markdown(text)]}),
            ("chat.postMessage", place | {"text": "x", "attachments": [{"text": text}]}),
            ("chat.postEphemeral", place | {"text": text, "user": world.ann.id}),
            ("chat.startStream", place | stream | {"markdown_text": text}),
            ("chat.startStream", place | stream | {"chunks": [{"type": "markdown_text", "text": text}]}),
        ]

    @pytest.mark.parametrize("text", PINGING)
    async def test_whoever_is_pinged_any_way_is_noted(self, text: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            await world.ask()
            slack.limits.enabled = False
            for count, (method, arguments) in enumerate(self.ways(world, text), start=1):
                assert (await world.call(method, **arguments))["ok"]
                assert world.broken == ["mention"] * count

    @pytest.mark.parametrize("text", HARMLESS)
    async def test_what_pings_nobody_passes(self, text: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            await world.ask()
            slack.limits.enabled = False
            for method, arguments in self.ways(world, text):
                if text != "@channel" or "markdown" not in str(arguments):
                    assert (await world.call(method, **arguments))["ok"]
            assert slack.violations == []

    @pytest.mark.parametrize(
        "arguments",
        [
            {"markdown_text": "hi @channel"},
            {"text": "hi @here", "link_names": True},
            {"text": "hi @everyone", "parse": "full"},
            {"text": "x", "blocks": [markdown("(@here)")]},
            {"text": "x", "blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
                {"type": "broadcast", "range": "here"}]}]}]},
        ],
    )  # fmt: skip
    async def test_a_bare_name_pings_where_slack_links_it(self, arguments: Json) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            await world.call("chat.postMessage", channel=world.channel.id, **arguments)
            assert world.broken == ["mention"]

    async def test_a_mention_is_noted_once_wherever_a_stream_is_cut(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            recipient = {"recipient_user_id": world.ann.id, "recipient_team_id": world.team.id}
            started = await world.call(
                "chat.startStream", channel=world.channel.id, thread_ts=asked.ts, markdown_text="hi <!chan", **recipient
            )
            place = {"channel": world.channel.id, "ts": started["ts"]}
            assert slack.violations == []
            for text in ("nel> a", "nd b"):
                await world.call("chat.appendStream", **place, markdown_text=text)
            assert world.broken == ["mention"]

    async def test_some_may_be_mentioned(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.may_mention.add(world.ann.id)
            await world.call("chat.postMessage", channel=world.channel.id, text=world.ann.mention)
            assert slack.violations == []


class TestPlaces:
    async def test_a_reply_is_to_a_threads_first_message(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            asked = await world.ask()
            reply = await world.channel.say(world.ann, "and?", thread=asked)
            for ts, broken in [(asked.ts, 0), (reply.ts, 1), ("1.2", 2)]:
                await world.call("chat.postMessage", channel=world.channel.id, text="x", thread_ts=ts)
                assert world.broken == ["thread"] * broken
