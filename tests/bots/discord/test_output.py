"""Whatever a model writes reaches people word for word, in messages that are whole, and notifies nobody."""

from __future__ import annotations

import re

import pytest
import regex

from bots.texts import text
from core.database import Database
from tests.bots.discord.looking import ask, until_delivered, written
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import ScriptedWorker

FAMILY, FLAG, THUMB, HEART = "👩‍👩‍👧‍👦", "🇨🇭", "👍🏽", "❤️‍🔥"
CODE = "\n".join(f"    print('{number} @everyone')" for number in range(150))
OUTPUTS = {
    "mentions": "@everyone @here <@{bob}> <@!{bob}> <@&{guild}> <#{channel}> wake up! " * 40,
    "code": f"First:\n```python\n{CODE}\n```\nthen:\n~~~\n{CODE}\n~~~\nand no end:\n```js\n{CODE}",
    "one word": "x" * 10_000,
    "one word below the limit of a file": "y" * 7_900,
    "emoji": (FAMILY + FLAG + THUMB + HEART) * 400,
    "Chinese": "今天天气很好，适合户外活动。你可以去公园散步，也可以骑车！" * 120,
    "markdown": "**bold** _it_ ||spoiler|| > quote\n# Head\n- [link](https://example.org/a_(b)) `code` " * 60,
    "invisible": "a\u200bb\u202ec\u2066d\u0301" * 300,
}


@pytest.mark.parametrize("name", OUTPUTS)
async def test_it_arrives_word_for_word_and_notifies_nobody(
    name: str,
    discord: StandInDiscord,
    asked: Channel,
    worker: ScriptedWorker,
    ann: User,
    bob: User,
    database: Database,
) -> None:
    assert asked.guild is not None
    discord.limits.scale = 0.1
    ids = {"{bob}": str(bob.id), "{guild}": str(asked.guild.id), "{channel}": str(asked.id)}
    output = OUTPUTS[name]
    for field, value in ids.items():
        output = output.replace(field, value)
    worker.script["go"] = [output[at : at + 700] for at in range(0, len(output), 700)]
    question = await ask(asked, ann, "go")
    await until_delivered(database)
    files = [file.decode() for answer in asked.answers for file in answer.files.values()]
    shown = bare("".join(f"{words}\n" for words in written(asked))).removesuffix(bare(text("rest_in_file")))
    assert files in ([], [output])
    assert bare(output).startswith(shown) if files else shown == bare(output)
    for answer in asked.answers:
        assert 0 < len(answer.content) <= 2000
        assert not has_open_fence(answer.content)
        assert not cut_within(output, answer.content)
        assert set(answer.mentions) <= {ann} and not answer.mention_everyone and not answer.mention_roles
    assert asked.answers[0].reply_to is question


def bare(words: str) -> str:
    """The words without white space and without the lines that open or close a fence."""
    kept = [line for line in words.splitlines() if not re.match(r"\s*(```|~~~)", line)]
    return re.sub(r"\s", "", "".join(kept))


def has_open_fence(words: str) -> bool:
    """Whether a fence begins in the message and does not end there."""
    return len(re.findall(r"^\s*(?:```|~~~)", words, re.MULTILINE)) % 2 == 1


def cut_within(output: str, words: str) -> bool:
    """Whether the message ends within what a reader sees as one character."""
    at = output.find(words)
    ends = {match.end() for match in regex.finditer(r"\X", output)}
    return at >= 0 and at + len(words) not in ends
