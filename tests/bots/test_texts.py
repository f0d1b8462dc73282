"""Every sentence is there in every language, and every error has one."""

from __future__ import annotations

import string

import pytest

from bots import texts
from bots.commands import COMMANDS
from bots.texts import LANGUAGES, failure_sentence, keys, negotiate, sentence_for, text
from core import errors
from core.errors import (
    AccessDenied,
    BadCommand,
    BadName,
    BadSetting,
    Busy,
    EntryRefused,
    FailureCode,
    FaqFileRefused,
    HandoffTaken,
    MessageTooLong,
    NameTaken,
    NotOffered,
    PajamaError,
    Problem,
    PromptTooLong,
    QuotaUsed,
    UnknownCollection,
    UnknownCommand,
    UnknownRecipe,
    UnknownSetting,
)

CODES = [code for code, _ in LANGUAGES]
OF_THEIR_OWN = {
    MessageTooLong: MessageTooLong(6000, 5000),
    Busy: Busy(7),
    UnknownRecipe: UnknownRecipe("sing", ("chat", "write")),
    UnknownCollection: UnknownCollection("shop", ("pajama",)),
    UnknownCommand: UnknownCommand("hlep", "help"),
    BadCommand: BadCommand("reset", "/reset"),
    AccessDenied: AccessDenied("person"),
    QuotaUsed: QuotaUsed(20, 3),
    FaqFileRefused: FaqFileRefused("faq.csv", [Problem(2, "the answer is empty")]),
    BadName: BadName("a b", 80),
    NameTaken: NameTaken("a collection", "shop"),
    EntryRefused: EntryRefused(["The answer is empty."]),
    BadSetting: BadSetting("answer", ("mention", "always", "never")),
    NotOffered: NotOffered("model", ("small", "large")),
    UnknownSetting: UnknownSetting("anwser", ("answer", "persona")),
    PromptTooLong: PromptTooLong(10, 5),
    HandoffTaken: HandoffTaken("Bo"),
}


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def every_error() -> list[PajamaError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PajamaError)]
    return [OF_THEIR_OWN[kind] if kind in OF_THEIR_OWN else kind() for kind in kinds]


@pytest.mark.parametrize("language", CODES)
def test_a_language_has_the_same_keys_and_placeholders_as_english(language: str) -> None:
    other = texts.texts("", language)
    assert other.keys() == keys()
    assert {key: placeholders(sentence) for key, sentence in other.items()} == {
        key: placeholders(text(key)) for key in keys()
    }


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_a_whole_sentence(error: PajamaError, language: str) -> None:
    sentence = sentence_for(error, language)
    assert sentence.endswith((".", "。", *(str(value) for value in vars(error).values())))
    assert "{" not in sentence and "Traceback" not in sentence


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_has_an_apology_of_its_own(code: FailureCode, language: str) -> None:
    assert [failure_sentence(other, language) for other in FailureCode].count(failure_sentence(code, language)) == 1


def test_an_unknown_failure_is_still_an_apology() -> None:
    assert failure_sentence("from-the-future", "en") == failure_sentence(FailureCode.ENGINE, "en")
    assert failure_sentence(None, "en") == failure_sentence(FailureCode.ENGINE, "en")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_command_and_option_is_described(command: object) -> None:
    assert command.description in keys()  # type: ignore[attr-defined]
    assert {option.description for option in command.options} <= keys()  # type: ignore[attr-defined]


def test_a_sentence_names_the_values() -> None:
    assert "6000" in sentence_for(MessageTooLong(6000, 5000), "en")
    assert "5000" in sentence_for(MessageTooLong(6000, 5000), "zh-CN")


def test_what_a_person_typed_is_never_a_placeholder() -> None:
    assert "{secret}" in sentence_for(UnknownRecipe("{secret}", ("chat",)), "en")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["zh-CN"], "zh-CN"),
        (["zh_TW"], "zh-CN"),
        (["ZH"], "zh-CN"),
        (["en-GB"], "en"),
        (["fr", "zh"], "zh-CN"),
        (["fr"], "en"),
        (["C"], "en"),
        ([""], "en"),
        ([], "en"),
    ],
)
def test_the_first_wanted_language_that_is_here_is_taken(wanted: list[str], found: str) -> None:
    assert negotiate(wanted) == found


def test_an_unknown_key_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        text("no_such_key")
