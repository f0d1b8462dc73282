"""Every error that Pajama raises on purpose.

PajamaError
├── SettingsError            a setting is wrong; start-up stops
├── AlreadyRunning           a second `pajama up` on the same data folder
├── ServiceUnavailable       SQL or Redis cannot be reached
│   ├── DatabaseUnavailable
│   ├── QueueUnavailable
│   ├── NoWorker             what only a worker can do was asked, and none is there
│   └── WorkerBusy           the same, and none was free in time
├── MessageRefused           what a person wrote cannot be taken; they are told why
│   ├── EmptyMessage
│   ├── MessageTooLong
│   ├── WordsUnwanted        they are somebody else's, who wants none kept
│   ├── Busy
│   ├── NotInChannel         the bot is not where it was asked, and cannot answer there
│   ├── AccessDenied         the Workspace does not let this person, or anyone in this channel, be answered
│   ├── QuotaUsed
│   ├── UnknownRecipe
│   ├── UnknownCommand
│   ├── BadCommand
│   ├── UnknownCollection    the Workspace sees no FAQ collection of that name
│   └── BadSetting
│       ├── NotOffered       whoever runs Pajama does not offer that to Workspaces
│       └── UnknownSetting
├── NotFound                 no such Turn, Generation or Conversation in this Workspace
│   └── WordsPurged          it was there, and its words are not kept any more
├── NotAllowed               this Participant may not do that
│   ├── AdminsOnly
│   └── RankUnknown          the platform did not say whether they manage the Workspace
├── Conflict                 the Turn is in another state than the call needs
│   ├── HandedOff            a human has the Conversation
│   ├── HandoffTaken         somebody else of staff has it already
│   ├── HandoffNotClaimed    nobody of staff has it: not yet, or no longer
│   └── FaqChanged           somebody else changed the entry or the collection since it was looked at
├── RecipeError              a prompt recipe does not render
├── FaqFileRefused           a file of FAQ entries is not taken; carries each `Problem` with its line
├── FaqRefused               what is asked of a FAQ collection cannot be done
│   ├── BadName
│   ├── NameTaken
│   └── EntryRefused         an entry is not taken; carries what is wrong with it
├── LeaseLost                another worker has the Turn now
├── DeliveryFailed           the platform does not take a message, and never will
└── AnswerFailed             the Turn could not be answered; carries a `FailureCode`
    ├── PromptTooLong
    ├── DeadlineExceeded
    ├── EngineFailed
    │   ├── OutOfMemory      there is too little memory, for this request alone too
    │   ├── EndpointRefused  an endpoint elsewhere does not do what it is asked
    │   └── EndpointBroken   its answer breaks off, or cannot be read
    └── ModelUnavailable
        ├── EndpointAway     it cannot be reached, or is too busy; it may be asked again
        └── EndpointDenied   it does not take the key, or has no such model

A class docstring is the error's default message. It is meant for operators and callers: what a person reads is
worded in `bots/texts`, found by `code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class FailureCode(StrEnum):
    """Why a Turn ended without an answer. The key of the sentence that the person reads."""

    PROMPT_TOO_LONG = "prompt_too_long"
    DEADLINE = "deadline"
    ENGINE = "engine"
    MODEL = "model"
    ATTEMPTS = "attempts"


class PajamaError(Exception):
    """Something went wrong in Pajama."""

    code = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__class__.__doc__ or "").strip())


class SettingsError(PajamaError):
    """A setting is missing or wrong."""

    code = "settings"


class AlreadyRunning(PajamaError):
    """Pajama runs already."""

    code = "already_running"


class ServiceUnavailable(PajamaError):
    """A service that Pajama needs cannot be reached."""

    code = "unavailable"


class DatabaseUnavailable(ServiceUnavailable):
    """The database cannot be reached or written."""


class QueueUnavailable(ServiceUnavailable):
    """Redis cannot be reached."""


class NoWorker(ServiceUnavailable):
    """Only a worker can do that, and none answers."""

    code = "no_worker"


class WorkerBusy(ServiceUnavailable):
    """Only a worker can do that, and none was free for it in time."""

    code = "worker_busy"


class MessageRefused(PajamaError):
    """The message cannot be taken."""

    code = "refused"


class EmptyMessage(MessageRefused):
    """The message holds no text."""

    code = "empty"


class MessageTooLong(MessageRefused):
    """The message is longer than allowed."""

    code = "too_long"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"The message has {length} characters; at most {limit} are taken.")
        self.length = length
        self.limit = limit


class WordsUnwanted(MessageRefused):
    """Whoever wrote these words wants none of them kept."""

    code = "unwanted"


class Busy(MessageRefused):
    """The queue is full."""

    code = "busy"

    def __init__(self, ahead: int) -> None:
        super().__init__(f"The queue is full: {ahead} are ahead.")
        self.ahead = ahead


class AccessDenied(MessageRefused):
    """The workspace does not let this be answered. `reason` is `person` or `channel`."""

    code = "access"

    def __init__(self, reason: Literal["person", "channel"]) -> None:
        super().__init__(f"The workspace's settings do not let this {reason} be answered.")
        self.reason = reason


class NotInChannel(MessageRefused):
    """The bot is not in the channel in which it is to answer."""

    code = "not_in_channel"


class QuotaUsed(MessageRefused):
    """The day's quota is used up; another day begins in `hours`, rounded up."""

    code = "quota"

    def __init__(self, limit: int, hours: int) -> None:
        super().__init__(f"All {limit} turns of the day are used; a new day begins within {hours} h.")
        self.limit = limit
        self.hours = hours


class UnknownRecipe(MessageRefused):
    """There is no such recipe."""

    code = "unknown_recipe"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no recipe {name!r}; there are {', '.join(known)}.")
        self.name = name
        self.known = known


class UnknownCommand(MessageRefused):
    """There is no such command."""

    code = "unknown_command"

    def __init__(self, name: str, closest: str) -> None:
        super().__init__(f"There is no command /{name}; the closest is /{closest}.")
        self.name = name
        self.closest = closest


class BadCommand(MessageRefused):
    """The command is not used like that."""

    code = "bad_command"

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(f"/{name} is used so: {usage}")
        self.name = name
        self.usage = usage


class UnknownCollection(MessageRefused):
    """There is no such FAQ collection. `known` names those that there are."""

    code = "unknown_collection"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no FAQ collection {name!r}; there are {', '.join(known) or 'none'}.")
        self.name = name
        self.known = known or ("–",)


class BadSetting(MessageRefused):
    """The setting cannot have that value. `right` is what it can have."""

    code = "bad_setting"

    def __init__(self, name: str, right: tuple[str, ...]) -> None:
        super().__init__(f"The setting {name} takes {', '.join(right)}.")
        self.name = name
        self.right = right


class NotOffered(BadSetting):
    """That is not offered to workspaces. `right` names what is."""

    code = "not_offered"

    def __init__(self, name: str, offered: tuple[str, ...]) -> None:
        super().__init__(name, offered or ("–",))


class UnknownSetting(BadSetting):
    """There is no such setting. `right` names those that there are."""

    code = "unknown_setting"


class NotFound(PajamaError):
    """There is no such thing in this workspace."""

    code = "not_found"


class WordsPurged(NotFound):
    """The words of this turn are not kept any more."""

    code = "purged"


class NotAllowed(PajamaError):
    """This participant may not do that."""

    code = "not_allowed"


class AdminsOnly(NotAllowed):
    """Only people who manage the workspace may do that."""

    code = "admin"


class RankUnknown(NotAllowed):
    """Whether this participant manages the workspace is not known just now."""

    code = "rank"


class Conflict(PajamaError):
    """The turn is not in a state that allows this."""

    code = "conflict"


class HandedOff(Conflict):
    """A human has this conversation."""

    code = "handed_off"


class HandoffTaken(Conflict):
    """Somebody else has it already. `name` is who, `?` where that is not known."""

    code = "handoff_taken"

    def __init__(self, name: str = "?") -> None:
        super().__init__(f"{name} has this hand-off already.")
        self.name = name


class HandoffNotClaimed(Conflict):
    """Nobody of staff has this hand-off."""

    code = "handoff_unclaimed"


class FaqChanged(Conflict):
    """It was changed by somebody else meanwhile."""

    code = "faq_changed"


class RecipeError(PajamaError):
    """The prompt recipe does not render."""

    code = "recipe"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, in a sentence, and where: a line counted from 1, or 0 for the whole file."""

    line: int
    text: str


class FaqFileRefused(PajamaError):
    """The file is not taken."""

    code = "faq_file"

    def __init__(self, name: str, problems: Sequence[Problem], most: int = 20) -> None:
        lines = [f"{name}:{p.line}: {p.text}" if p.line else f"{name}: {p.text}" for p in problems[:most]]
        more = [f"… and {len(problems) - most} more."] if len(problems) > most else []
        super().__init__("\n".join([*lines, *more]))
        self.name = name
        self.problems = tuple(problems)


class FaqRefused(PajamaError):
    """That cannot be done with this collection."""

    code = "faq"


class BadName(FaqRefused):
    """A collection cannot have that name."""

    code = "faq_name"

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"A collection's name has 1 to {limit} characters without spaces, commas, semicolons, ~ and /;"
            f" {name[:40]!r} has not."
        )
        self.limit = limit


class NameTaken(FaqRefused):
    """There is a collection, or an entry, of that name already."""

    code = "faq_taken"

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"There is {what} {name!r} already.")
        self.name = name


class EntryRefused(FaqRefused):
    """The entry is not taken."""

    code = "faq_entry"

    def __init__(self, wrong: Sequence[str]) -> None:
        super().__init__(" ".join(wrong))
        self.wrong = tuple(wrong)


class LeaseLost(PajamaError):
    """The turn's lease was lost: another worker has it, or it was cancelled."""

    code = "lease_lost"


class DeliveryFailed(PajamaError):
    """The platform does not take the message."""

    code = "delivery_failed"


class AnswerFailed(PajamaError):
    """The turn could not be answered."""

    failure: FailureCode = FailureCode.ENGINE


class PromptTooLong(AnswerFailed):
    """The system part and the newest message do not fit the model's prompt budget."""

    failure = FailureCode.PROMPT_TOO_LONG

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"The shortest possible prompt has {tokens} tokens; the budget is {limit}.")
        self.tokens = tokens
        self.limit = limit


class DeadlineExceeded(AnswerFailed):
    """The answer took longer than the deadline allows."""

    failure = FailureCode.DEADLINE


class EngineFailed(AnswerFailed):
    """The engine could not generate an answer."""

    failure = FailureCode.ENGINE


class OutOfMemory(EngineFailed):
    """There is too little memory to run this request, even by itself."""


class ModelUnavailable(AnswerFailed):
    """The model cannot be loaded."""

    failure = FailureCode.MODEL


class EndpointRefused(EngineFailed):
    """The endpoint refuses what it is asked. `words` are its own, which may repeat what people said: not for logs."""

    def __init__(self, message: str | None = None, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class EndpointBroken(EngineFailed):
    """The endpoint's answer cannot be read to its end."""


class EndpointAway(ModelUnavailable):
    """The endpoint cannot be reached, or is too busy. It may be asked again, after `wait_s` where it says so."""

    def __init__(self, message: str | None = None, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class EndpointDenied(ModelUnavailable):
    """The endpoint does not take the key, or has no such model. `status` is HTTP's."""

    def __init__(self, message: str | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
