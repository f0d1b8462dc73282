"""The slash commands that every platform has: their names and options, how they are typed, what they do.

Where a platform has commands of its own (Discord, Slack), it registers `COMMANDS` there; elsewhere `parse` reads them
from what is typed. Knows no platform; what a command says comes from the catalogue.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bots import handoff, managing, privacy
from bots.texts import text
from core import access, intake, workspaces
from core.errors import AdminsOnly, BadCommand, NotAllowed, RankUnknown, UnknownCommand
from core.faq.finding import CHOSEN
from core.history import Explanation, TurnView
from core.intake import PLAIN
from core.service import Service
from core.values import ContextMessage, InboundMessage, Person, Place, Rating


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command. `rest` takes everything that is left; a word of `choices` may stand without its name.

    With `free`, `choices` are only suggestions, and another value is taken where the option is named. With `named`, a
    choice never stands without its name: the text that follows may begin with the same word.
    """

    name: str
    description: str
    required: bool = False
    rest: bool = False
    choices: tuple[str, ...] = ()
    free: bool = False
    named: bool = False

    @property
    def usage(self) -> str:
        """How it is typed."""
        choices = "|".join(self.choices)
        if choices:
            return f"{self.name}={choices}" if self.named else choices
        return f"<{self.name}>" if self.rest else f"{self.name}=…"


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `description` is a key of the catalogue, as each option's is; `recipe` makes its text a Turn.

    One with `admin` is only for people who manage the place.
    """

    name: str
    description: str
    options: tuple[Option, ...] = ()
    recipe: str | None = None
    admin: bool = False

    @property
    def usage(self) -> str:
        """How it is typed."""
        options = (option.usage if option.required else f"[{option.usage}]" for option in self.options)
        return " ".join([f"/{self.name}", *options])


_TEXT = Option("text", "option_text", required=True, rest=True)
_HERE = Option("here", "option_here", choices=("channel", "workspace"), named=True)
LANGUAGE_CODES = ("en", "zh", "ja", "ko", "fr", "de", "es", "ru")

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("ask", "command_ask", (_TEXT,), recipe=PLAIN),
        Command("faq", "command_faq", (Option("collection", "option_collection"), _TEXT), recipe="faq"),
        Command("reset", "command_reset"),
        Command("stop", "command_stop"),
        Command("regenerate", "command_regenerate"),
        Command("why", "command_why"),
        Command(
            "feedback",
            "command_feedback",
            (
                Option("rating", "option_rating", required=True, choices=("up", "down", "none")),
                Option("comment", "option_comment", rest=True),
            ),
        ),
        Command(
            "write",
            "command_write",
            (
                Option("task", "option_write_task", choices=("continue", "story", "compose")),
                Option("style", "option_style"),
                _TEXT,
            ),
            recipe="write",
        ),
        Command(
            "translate",
            "command_translate",
            (Option("to", "option_to", choices=LANGUAGE_CODES, free=True), _TEXT),
            recipe="translate",
        ),
        Command(
            "understand",
            "command_understand",
            (
                Option("task", "option_task", choices=("classify", "extract", "summarise")),
                Option("labels", "option_labels"),
                Option("fields", "option_fields"),
                _TEXT,
            ),
            recipe="understand",
        ),
        Command("human", "command_human", (Option("reason", "option_human", rest=True),)),
        Command("status", "command_status"),
        Command("persona", "command_persona", (_HERE, Option("text", "option_persona", rest=True))),
        Command(
            "settings",
            "command_settings",
            (
                Option("name", "option_setting", choices=workspaces.NAMES),
                _HERE,
                Option("value", "option_value", rest=True),
            ),
            admin=True,
        ),
        Command(
            "privacy",
            "command_privacy",
            (Option("action", "option_privacy", choices=("export", "forget", "opt-out", "opt-in")),),
        ),
        Command("help", "command_help"),
    )
}


RECIPE_COMMANDS = frozenset(command.name for command in COMMANDS.values() if command.recipe is not None)
"""Commands whose text becomes a Turn."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command as someone gave it."""

    name: str
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A message that is no command."""

    text: str


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gives a command or message, where, and as which event of the platform.

    `channel`, `category`, `roles` and `context` are as in InboundMessage. A `moderator` may stop anyone's answer; an
    `admin` may also change what is set for the place; None: it is not known. `about` is the Turn that is meant, where the
    platform tells it better than the place does.
    """

    place: Place
    person: Person
    event_id: str
    language: str = "en"
    target: dict[str, Any] = field(default_factory=dict)
    shared: bool = False
    channel: str | None = None
    category: str | None = None
    roles: tuple[str, ...] = ()
    admin: bool | None = False
    moderator: bool = False
    context: tuple[ContextMessage, ...] = ()
    about: int | None = None

    @property
    def may_moderate(self) -> bool:
        """Whether they may stop anyone's answer."""
        return bool(self.admin) or self.moderator

    def check_admin(self) -> None:
        """Raises AdminsOnly, and RankUnknown where the platform did not say."""
        if self.admin is None:
            raise RankUnknown
        if not self.admin:
            raise AdminsOnly


@dataclass(frozen=True, slots=True)
class Answering:
    """A Turn is being answered; follow it. `duplicate`: the event came before, and is followed already."""

    turn: TurnView
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A human has the conversation, and is given the words; nothing is answered. `said` is the place among what was said."""

    said: intake.PassedOn


@dataclass(frozen=True, slots=True)
class Told:
    """The command is done; this sentence says so.

    `forgotten`: what was shown of before is not to be shown any more. `takes_part`: what is said where it was given is
    said to the bot from now on, as after a question.
    """

    text: str
    forgotten: bool = False
    takes_part: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """Why the last answer is as it is."""

    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Exported:
    """A document for the asker alone, to be delivered as a file."""

    name: str
    document: bytes


Outcome = Answering | PassedOn | Told | Explained | Exported

_NAMED = re.compile(r"([a-z_]+)=(?:\"([^\"]*)\"|“([^”]*)”|(\S+))\s*", re.DOTALL)


def parse(typed: str) -> Call | Said:
    """What `typed` is: a command, or a message; `//` begins a message that starts with a slash.

    Raises UnknownCommand with the closest name, BadCommand with the usage.
    """
    stripped = typed.strip()
    if stripped.startswith("//"):
        return Said(stripped[1:])
    match = re.fullmatch(r"/([A-Za-z_]+)(?:\s+(.*))?", stripped, re.DOTALL)
    if match is None:
        return Said(typed)
    name = match[1].lower()
    if name not in COMMANDS:
        closest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        raise UnknownCommand(name, closest[0] if closest else "help")
    return Call(name, _arguments(COMMANDS[name], match[2] or ""))


def _arguments(command: Command, rest: str) -> dict[str, str]:
    """The options given in `rest`: named or single words first, then the text. Raises BadCommand."""
    found: dict[str, str] = {}
    while taken := _named(command, rest) or _word(command, found, rest):
        name, value, rest = taken
        found[name] = value
    text_option = next((option for option in command.options if option.rest), None)
    if rest and text_option is not None:
        found[text_option.name] = rest.strip()
    missing = any(option.required and not found.get(option.name) for option in command.options)
    if missing or (rest and text_option is None):
        raise BadCommand(command.name, command.usage)
    return found


def _named(command: Command, rest: str) -> tuple[str, str, str] | None:
    """The option `name=value` at the front of `rest`: its name, its value, what follows. Raises BadCommand."""
    match = _NAMED.match(rest)
    option = next((o for o in command.options if match and o.name == match[1] and not o.rest), None)
    if match is None or option is None:
        return None
    value = next(group for group in match.groups()[1:] if group is not None)
    if option.choices and not option.free and value not in option.choices:
        raise BadCommand(command.name, command.usage)
    return option.name, value, rest[match.end() :]


def _word(command: Command, found: dict[str, str], rest: str) -> tuple[str, str, str] | None:
    """The option whose choice is the first word of `rest`; the word alone is a text, and so is one in capitals."""
    word, after = (*rest.split(None, 1), "", "")[:2]
    with_text = any(option.rest for option in command.options)
    for option in command.options:
        alone = option.required or not with_text
        choice = word.lower() if alone else word
        if choice in option.choices and not option.named and option.name not in found and (after or alone):
            return option.name, choice, after
    return None


async def handle(service: Service, typed: str, asker: Asker) -> Outcome:
    """Do what was typed: a command, or a message to answer. Raises PajamaError."""
    parsed = parse(typed)
    return await say(service, parsed.text, asker) if isinstance(parsed, Said) else await run(service, parsed, asker)


async def say(
    service: Service, said: str, asker: Asker, *, recipe: str = PLAIN, arguments: dict[str, str] | None = None
) -> Answering | PassedOn:
    """Hand a message to core. Raises MessageRefused."""
    received = await service.receive(_message(said, asker, recipe, arguments or {}))
    if isinstance(received, intake.PassedOn):
        return PassedOn(received)
    return Answering(await service.turn(asker.place, received.turn_id), received.duplicate)


def _message(said: str, asker: Asker, recipe: str, arguments: dict[str, str]) -> InboundMessage:
    return InboundMessage(
        place=asker.place,
        person=asker.person,
        event_id=asker.event_id,
        text=said,
        language=asker.language,
        recipe=recipe,
        arguments=arguments,
        target=asker.target,
        shared=asker.shared,
        channel=asker.channel,
        category=asker.category,
        roles=asker.roles,
        context=asker.context,
    )


async def choose(service: Service, turn: TurnView, entry_id: int, asker: Asker) -> Answering | PassedOn:
    """Ask the question that was offered to the asker below the Turn's answer, as that Turn asked; twice is once.

    Raises NotFound, NotAllowed, MessageRefused.
    """
    choice = await service.choice(turn.place, asker.person, turn.turn_id, entry_id)
    chosen = replace(asker, place=turn.place, event_id=f"choice:{turn.turn_id}:{entry_id}", context=())
    arguments = {**turn.arguments, CHOSEN: str(entry_id)}
    return await say(service, choice.question, chosen, recipe=turn.recipe, arguments=arguments)


async def run(service: Service, call: Call, asker: Asker) -> Outcome:
    """Do what the command says. Raises PajamaError."""
    command = COMMANDS[call.name]
    if command.admin:
        asker.check_admin()
    if command.recipe is not None:
        arguments = await _recipe_arguments(service, call, asker)
        return await say(service, call.arguments["text"], asker, recipe=command.recipe, arguments=arguments)
    return await _ACTIONS[call.name](service, call, asker)


async def check(service: Service, call: Call, asker: Asker) -> None:
    """Refuse a question, or a call for a human, that `run` would refuse: for who shows it before. Raises MessageRefused."""
    recipe = COMMANDS[call.name].recipe
    if recipe is None:
        access.check(await service.workspace_settings(asker.place), _message("", asker, PLAIN, {}))
    else:
        arguments = await _recipe_arguments(service, call, asker)
        await service.check(_message(call.arguments["text"], asker, recipe, arguments))


async def _recipe_arguments(service: Service, call: Call, asker: Asker) -> dict[str, str]:
    """What a recipe is given beside the text. Raises UnknownCollection."""
    arguments = {name: value for name, value in call.arguments.items() if name != "text"}
    if "collection" in arguments:
        await service.check_collection(asker.place, asker.channel, arguments["collection"])
    return arguments


async def _reset(service: Service, call: Call, asker: Asker) -> Outcome:
    await service.reset(asker.place)
    return Told(text("reset_done", asker.language))


async def _stop(service: Service, call: Call, asker: Asker) -> Outcome:
    """Stop everything that the asker waits for here; where only others wait, a moderator stops that.

    Raises NotAllowed where only others wait and the asker is no moderator.
    """
    waiting = [turn for turn in await service.history(asker.place) if not turn.state.ended]
    try:
        stopped = await _stop_all(service, waiting, asker, moderator=False)
    except NotAllowed:
        if asker.admin is None:
            raise RankUnknown from None
        if not asker.may_moderate:
            raise
        stopped = await _stop_all(service, waiting, asker, moderator=True)
    return Told(text("stopped" if stopped else "nothing_to_stop", asker.language))


async def _stop_all(service: Service, waiting: list[TurnView], asker: Asker, *, moderator: bool) -> bool:
    """Stop what the asker may; False where nothing waits. Raises NotAllowed where they may stop none of it."""
    stopped, refused = False, None
    for turn in reversed(waiting):  # or the next would begin as the first one stops
        try:
            await service.cancel(asker.place, asker.person, turn.turn_id, moderator=moderator)
            stopped = True
        except NotAllowed as error:  # somebody else's in the same conversation
            refused = error
    if refused and not stopped:
        raise refused
    return stopped


async def _regenerate(service: Service, call: Call, asker: Asker) -> Outcome:
    turn = await _meant(service, asker) or await service.latest_turn(asker.place)
    if turn is None:
        return Told(text("nothing_yet", asker.language))
    return Answering(await service.regenerate(asker.place, asker.person, turn.turn_id))


async def _why(service: Service, call: Call, asker: Asker) -> Outcome:
    turn = await _last_answered(service, asker)
    if turn is None:
        return Told(text("nothing_yet", asker.language))
    return Explained(await service.why(asker.place, turn.turn_id))


async def _feedback(service: Service, call: Call, asker: Asker) -> Outcome:
    turn = await _last_answered(service, asker)
    if turn is None:
        return Told(text("nothing_yet", asker.language))
    rating = None if call.arguments["rating"] == "none" else Rating(call.arguments["rating"])
    kept = await service.rate(asker.place, asker.person, turn.turn_id, rating, call.arguments.get("comment", ""))
    thanks = "feedback_thanks" if kept else "feedback_without_comment"
    return Told(text(thanks if rating else "feedback_none", asker.language))


async def _privacy(service: Service, call: Call, asker: Asker) -> Outcome:
    match call.arguments.get("action"):
        case "export":
            exported = await service.privacy.export(asker.place, asker.person)
            return Exported(privacy.file_name(exported), privacy.document(exported))
        case "forget":
            forgotten = await service.privacy.forget(asker.place, asker.person)
            return Told(privacy.forgotten(forgotten, asker.language), forgotten=True)
        case "opt-out" | "opt-in" as chosen:
            await service.privacy.opt_out(asker.place, asker.person, chosen == "opt-out")
            return Told(text("privacy_opted_out" if chosen == "opt-out" else "privacy_opted_in", asker.language))
        case _:
            notice = await service.privacy.notice(asker.place, asker.person)
            return Told(privacy.notice(notice, asker.language))


async def _human(service: Service, call: Call, asker: Asker) -> Outcome:
    return Told(await handoff.ask(service, asker, call.arguments.get("reason", "")), takes_part=True)


async def _help(service: Service, call: Call, asker: Asker) -> Outcome:
    theirs = [command for command in COMMANDS.values() if asker.admin or not command.admin]
    lines = [f"- `{command.usage}`: {text(command.description, asker.language)}" for command in theirs]
    return Told("\n".join([text("help_head", asker.language), "", *lines]))


async def _settings(service: Service, call: Call, asker: Asker) -> Outcome:
    return Told(await managing.settings(service, asker, call.arguments))


async def _persona(service: Service, call: Call, asker: Asker) -> Outcome:
    return Told(await managing.persona(service, asker, call.arguments))


async def _status(service: Service, call: Call, asker: Asker) -> Outcome:
    return Told(await managing.status(service, asker))


async def _meant(service: Service, asker: Asker) -> TurnView | None:
    return None if asker.about is None else await service.turn(asker.place, asker.about)


async def _last_answered(service: Service, asker: Asker) -> TurnView | None:
    """The newest Turn that has an answer: while the next one is being made, people still mean the one they see."""
    meant = await _meant(service, asker)
    if meant is not None and meant.answer is not None:
        return meant
    turns = await service.history(asker.place)
    return next((turn for turn in reversed(turns) if turn.answer is not None), None)


_ACTIONS: dict[str, Callable[[Service, Call, Asker], Awaitable[Outcome]]] = {
    "reset": _reset,
    "stop": _stop,
    "regenerate": _regenerate,
    "why": _why,
    "feedback": _feedback,
    "human": _human,
    "status": _status,
    "persona": _persona,
    "settings": _settings,
    "privacy": _privacy,
    "help": _help,
}
