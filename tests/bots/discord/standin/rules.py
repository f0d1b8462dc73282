"""Which rules hold for which request, and what becomes of one that breaks them.

Messages are checked where they are written (`composing.py`), as what is allowed there depends on the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.bots.discord.standin import command_rules, component_rules, routes
from tests.bots.discord.standin.bounds import Bound, Finding, outside
from tests.bots.discord.standin.calls import ApiError, Call

Json = dict[str, Any]

CHOICES, SHOW_MODAL = 8, 9

NAME = (Bound("name", 1, 100),)
THREAD = (Bound("name", 1, 100, required=True), Bound("applied_tags", 0, 5))


def _callback(document: Json) -> Iterator[Finding]:
    if document["type"] == SHOW_MODAL:
        yield from component_rules.in_modal(document["data"])
    if document["type"] == CHOICES:
        yield from command_rules.choices(document["data"])


RULES: dict[str, Callable[[Any], Iterable[Finding]]] = {
    routes.CALLBACK: _callback,
    routes.PUT_COMMANDS: command_rules.commands,
    routes.PUT_GUILD_COMMANDS: command_rules.commands,
    routes.CREATE_COMMAND: command_rules.command,
    routes.CREATE_GUILD_COMMAND: command_rules.command,
    routes.EDIT_COMMAND: command_rules.command,
    routes.EDIT_GUILD_COMMAND: command_rules.command,
    routes.START_THREAD: lambda document: outside("thread", document, THREAD),
    routes.START_THREAD_FROM_MESSAGE: lambda document: outside("thread", document, THREAD),
    routes.EDIT_CHANNEL: lambda document: outside("channel", document, NAME),
}


def check(route: str, call: Call) -> None:
    """Check a request before anything is done."""
    if route in RULES:
        enforce(call, RULES[route](call.request.json))


def enforce(call: Call, findings: Iterable[Finding]) -> None:
    """Note every broken rule; refuse what Discord refuses."""
    refused = []
    for finding in findings:
        call.discord.violate(finding.rule, finding.detail, call.request)
        if finding.refused:
            refused.append(finding)
    if any(finding.rule == "files" for finding in refused):
        raise ApiError(413, 40005, "Request entity too large")
    if refused:
        errors = {finding.rule: {"_errors": [{"code": "STAND_IN", "message": finding.detail}]} for finding in refused}
        raise ApiError(400, 50035, "Invalid Form Body", errors)
