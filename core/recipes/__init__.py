"""Recipes: how the words of a task are put to the model, as sandboxed Jinja2 templates in files.

Knows how a recipe is loaded, checked, versioned and rendered. Does not know what comes before the new message, what a
token is, or where a workspace keeps its own recipes: those are given as a mapping of name to source.

A recipe has a block `user`, which says how the new message is put, and a block `system`, which may be missing or
render to nothing. `{% set history = false %}` at its top makes it one-shot: it sees nothing of what was said before.
What is inserted is data and never evaluated. What a recipe may do is listed (`sandbox.py`) rather than what it may
not, since workspace owners write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Template, TemplateError

from core.errors import RecipeError, UnknownRecipe
from core.recipes.sandbox import compile_source, line_of_failure

NAMES = ("chat", "faq", "write", "translate", "understand")

MAX_SOURCE_BYTES = 8_192
MAX_ADDED_CHARS = 32_000
"""How much longer than everything that it was given a rendering may be."""

# What wrong templates make Jinja2 raise; deep nesting ends in the last two of _COMPILING_ERRORS.
_COMPILING_ERRORS = (TemplateError, ValueError, SyntaxError, RecursionError)
_RENDERING_ERRORS = (*_COMPILING_ERRORS, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to answer from. `reference` names it for good, e.g. `faq:12@3`; the Prompt's record keeps only that."""

    reference: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a task is put to the model. `version` changes with every change of the source."""

    name: str
    version: str
    source: str
    history: bool
    _template: Template = field(repr=False, compare=False)

    def render_system(self, *, persona: str, language: str, arguments: Mapping[str, str]) -> str:
        """Return the system part: the same for every turn with the same arguments; empty is none."""
        return self._render("system", {"persona": persona, "language": language, "arguments": dict(arguments)})

    def render_user(
        self,
        *,
        text: str,
        message: str,
        persona: str,
        language: str,
        arguments: Mapping[str, str],
        passages: Sequence[Passage] = (),
    ) -> str:
        """Return the last part: passages and the new message. `message` is `text` under its speaker's name, if named.

        Raises RecipeError with the line.
        """
        variables = {"text": text, "message": message, "persona": persona, "language": language}
        return self._render("user", {**variables, "arguments": dict(arguments), "passages": tuple(passages)})

    def _render(self, block: str, variables: Mapping[str, object]) -> str:
        """Render one block, without the white space around it. Raises RecipeError."""
        render = self._template.blocks.get(block)
        if render is None:
            return ""
        room = MAX_ADDED_CHARS + _chars(variables)
        pieces: list[str] = []
        try:
            for piece in render(self._template.new_context(dict(variables))):
                pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    raise ValueError(f"it renders to more than {MAX_ADDED_CHARS} characters beyond what it was given")
        except _RENDERING_ERRORS as error:
            raise _wrong(self.name, line_of_failure(self._template, error), _first_line(error)) from error
        return "".join(pieces).strip()


def load(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe `name`, the workspace's own where `overrides` has one.

    Raises UnknownRecipe, and RecipeError with the line where the source is wrong.
    """
    if name not in NAMES:
        raise UnknownRecipe(name, NAMES)
    shipped = _shipped(name)
    source = (overrides or {}).get(name)
    return shipped if source is None else _compiled(name, source, shipped.history)


@cache
def _shipped(name: str) -> Recipe:
    """Return the recipe as it comes with the package."""
    return _compiled(name, files(__name__).joinpath(f"{name}.j2").read_text(encoding="utf-8"), True)


@lru_cache(maxsize=512)
def _compiled(name: str, source: str, history: bool) -> Recipe:
    """Check and compile `source`; `history` holds where the source does not say. Raises RecipeError."""
    size = len(source.encode(errors="replace"))
    if size > MAX_SOURCE_BYTES:
        raise _wrong(name, None, f"it has {size} bytes; at most {MAX_SOURCE_BYTES} are taken")
    try:
        version = sha256(source.encode()).hexdigest()[:12]
        template, declared = compile_source(source)
    except _COMPILING_ERRORS as error:
        raise _wrong(name, getattr(error, "lineno", None), _first_line(error)) from error
    return Recipe(name, version, source, history if declared is None else declared, template)


def _wrong(name: str, line: int | None, message: str) -> RecipeError:
    place = f"recipe {name!r}" if line is None else f"recipe {name!r}, line {line}"
    return RecipeError(f"{place}: {message}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _chars(value: object) -> int:
    """Count the characters of everything that a recipe is given."""
    match value:
        case str():
            return len(value)
        case Passage():
            return len(value.text) + len(value.title) + len(value.reference)
        case Mapping():
            return sum(map(_chars, value.values()))
        case tuple():
            return sum(map(_chars, value))
        case _:
            return 0
