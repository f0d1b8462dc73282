"""Whatever the model writes, each way to show it keeps to Slack's limits and notifies nobody."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bots.slack.bodies import Body, bodies
from bots.slack.controls import answered_blocks
from bots.slack.fitting import markdown_fits, rendered
from tests.bots.slack.mentions import PIECES, TEXTS
from tests.bots.slack.standin import block_rules, text_rules
from tests.bots.slack.standin.bounds import Finding
from tests.bots.slack.standin.composing import UPDATE_CHARACTERS
from tests.bots.slack.standin.server import StandInSlack

CONTROLS = answered_blocks(7, "en")
TEAM = StandInSlack().add_team("Acme", users=["Ann"])
LONG = st.sampled_from(
    [
        "word " * 400,
        "# head\n\n" * 30,
        "&<>" * 300,
        "```\ncode\n```\n" * 20,
        "| a | b |\n|---|---|\n",
        "好" * 900,
        "---\n\n",
    ]
)
ANSWERS = st.lists(PIECES | LONG | TEXTS, max_size=24).map("".join).map(lambda words: words[:11_000]) | TEXTS  # fmt: skip


def broken(body: Body) -> list[Finding]:
    """The rules that a message of this body would break."""
    arguments: dict[str, Any] = body.arguments
    found = [*block_rules.findings(arguments["blocks"], "message")]
    found += text_rules.pings_in_blocks(arguments["blocks"], TEAM)
    found += text_rules.pings(arguments["text"], TEAM)
    return found


@given(ANSWERS)
@example("# h\n" * 49)
@example("<" * 11_000)
@example("> " * 5_000)
@example("```a```" * 1_500)
def test_every_body_keeps_to_the_limits_and_notifies_nobody(words: str) -> None:
    offered = list(bodies(words, CONTROLS))
    assert offered[-1].arguments["blocks"] == []
    for body in offered:
        assert broken(body) == []
        assert 0 < len(body.arguments["text"]) <= UPDATE_CHARACTERS


@given(ANSWERS)
def test_no_more_is_rendered_than_was_counted(words: str) -> None:
    blocks, headers = rendered(words)
    counted, counted_headers = block_rules.shape(words)
    assert blocks >= counted and headers >= counted_headers
    if markdown_fits(words):
        assert [*block_rules.size_findings([{"type": "markdown", "text": words}])] == []


def kinds(words: str) -> list[list[str]]:
    return [[block["type"] for block in body.arguments["blocks"]] for body in bodies(words)]


def test_what_slack_renders_too_much_of_is_shown_in_its_own_markup() -> None:
    assert kinds("# head\n\nwords\n\n" * 40) == [["section"], []]


def test_what_fits_no_message_is_a_beginning() -> None:
    words = "a < b & c\n" * 1_100
    (body,) = bodies(words)
    assert not body.whole and body.arguments["text"].endswith("…")


def test_an_ordinary_answer_is_offered_in_every_way() -> None:
    offered = list(bodies("Some **words**.", CONTROLS))
    assert [body.whole for body in offered] == [True, True, True]
    assert [body.arguments["text"] for body in offered] == ["Some *words*."] * 3
    assert kinds("Some **words**.") == [["markdown"], ["section"], []]
