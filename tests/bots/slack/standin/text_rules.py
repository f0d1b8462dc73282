"""The bot's promise: nothing that it writes notifies anybody.

Slack would not refuse any of this, so that it is only noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin.bounds import Finding

if TYPE_CHECKING:
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

RULE = "mention"

BROADCAST = re.compile(r"<!(?:channel|here|everyone)(?:\|[^>]*)?>|<!subteam\^[A-Z0-9]+(?:\|[^>]*)?>")
PERSON = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
BARE = re.compile(r"(?<![\w@./])@(?:channel|here|everyone)\b")

NOTIFYING = {"broadcast", "usergroup"}


def pings(text: str, team: Team, *, after: int = 0, markdown: bool = False, linked: bool = False) -> Iterator[Finding]:
    """Whom a text notifies. `after`: only what ends beyond this character; Markdown links a bare `@channel` too."""
    found = list(BROADCAST.finditer(text))
    found += [match for match in PERSON.finditer(text) if _notifies(match.group(1), team)]
    if markdown or linked:
        found += list(BARE.finditer(text))
    for match in found:
        if match.end() > after:
            yield Finding(RULE, f"{match.group()} in {text[max(0, match.start() - 20) : match.end() + 20]!r}", None)


def pings_in_blocks(blocks: list[Json], team: Team) -> Iterator[Finding]:
    """Whom blocks notify; plain text notifies nobody."""
    for value in _walk(blocks):
        kind, text = value.get("type"), value.get("text")
        if kind == "markdown" and isinstance(text, str):
            yield from pings(text, team, markdown=True)
        elif kind == "mrkdwn" and isinstance(text, str):
            yield from pings(text, team, linked=not value.get("verbatim", True))
        elif kind in NOTIFYING or (kind == "user" and _notifies(str(value.get("user_id")), team)):
            yield Finding(RULE, str(value), None)


def _notifies(user_id: str, team: Team) -> bool:
    """Whether this is a person, whom the test has not allowed to be mentioned."""
    user = team.users.get(user_id)
    return user is not None and not user.bot and user_id not in team.slack.may_mention


def _walk(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _walk(one)
    elif isinstance(value, list):
        for one in value:
            yield from _walk(one)
