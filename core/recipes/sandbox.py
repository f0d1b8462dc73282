"""The sandbox of recipes: which part of Jinja2 a recipe may use.

Knows templates, not prompts. Jinja2's own sandbox keeps a template from Python's internals; the list here also keeps
it from taking unbounded time and memory: text can only be repeated by a loop, loops run over what was given and do
not nest, and nothing can double a value (no arithmetic on text, no macros, no lists of variables).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateAssertionError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = {
    "system": frozenset({"persona", "language", "arguments"}),
    "user": frozenset({"persona", "language", "arguments", "text", "message", "passages"}),
}

_METHODS = frozenset({"startswith", "endswith", "strip", "lower", "upper", "split", "splitlines", "get", "items"})
_FILTERS = ("capitalize", "d", "default", "first", "last", "length", "lower", "title", "trim", "truncate", "upper")
_NODES = (
    *(nodes.Template, nodes.Block, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Call, nodes.Filter, nodes.Test, nodes.Neg),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr),
)


class RecipeEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 with a few filters, no globals, no loader; whatever is undefined is an error."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.tests["chinese"] = is_chinese

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow plain values and the listed methods."""
        return super().is_safe_attribute(obj, attr, value) and (not callable(value) or attr in _METHODS)

    def wrap_str_format(self, value: Any) -> None:
        """Wrap nothing: `str.format`, which pads to any width, is refused like any method that is not listed."""


def is_chinese(text: str) -> bool:
    """Tell whether a good part of the letters of `text` are Chinese characters."""
    letters = sum(map(str.isalpha, text))
    return 0 < letters <= 4 * sum("\u4e00" <= c <= "\u9fff" for c in text)


_environment = RecipeEnvironment()


def compile_source(source: str) -> tuple[Template, bool | None]:
    """Return the template and whether it declares to see the history (None: it does not say).

    Raises jinja2.TemplateError, with the line where there is one.
    """
    tree = _environment.parse(source)
    history, blocks = _top_level(tree)
    for block in blocks:
        _check(block, VARIABLES[block.name])
    if not any(block.name == "user" and _names(block) & {"text", "message"} for block in blocks):
        raise TemplateAssertionError("there is no block 'user' that shows text or message", 1)
    return _environment.from_string(source), history


def line_of_failure(template: Template, error: BaseException) -> int | None:
    """Return the template's line at which rendering failed."""
    code = template.root_render_func.__globals__
    lines = [frame.tb_lineno for frame in _frames(error.__traceback__) if frame.tb_frame.f_globals is code]
    return template.get_corresponding_lineno(lines[-1]) if lines else None


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _top_level(tree: nodes.Template) -> tuple[bool | None, list[nodes.Block]]:
    """Split the top of the template into its declaration and its blocks; nothing else may stand there."""
    history: bool | None = None
    blocks: list[nodes.Block] = []
    for node in tree.body:
        match node:
            case nodes.Block() if node.name in VARIABLES:
                blocks.append(node)
            case nodes.Assign(target=nodes.Name(name="history"), node=nodes.Const(value=bool(declared))):
                history = declared
            case nodes.Output() if all(isinstance(n, nodes.TemplateData) and not n.data.strip() for n in node.nodes):
                continue
            case _:
                allowed = "only {% set history = true|false %} and the blocks 'system' and 'user' may stand here"
                raise TemplateAssertionError(allowed, node.lineno)
    return history, blocks


def _check(block: nodes.Block, variables: frozenset[str]) -> None:
    """Raise TemplateAssertionError at the first thing in `block` that a recipe may not do."""
    names = variables | _names(block, "store") | {"loop"}
    for node in block.find_all(nodes.Node):
        if message := _refusal(node, names):
            raise TemplateAssertionError(message, node.lineno)


def _names(block: nodes.Block, use: str = "load") -> set[str]:
    """Return the names that `block` reads, or those that it sets (`use="store"`)."""
    return {name.name for name in block.find_all(nodes.Name) if name.ctx == use}


def _refusal(node: nodes.Node, names: frozenset[str]) -> str | None:
    """Say why `node` may not stand in a recipe, or None."""
    match node:
        case _ if not isinstance(node, _NODES) or isinstance(node, nodes.Block):
            return f"{type(node).__name__.lower()} may not be used in a recipe"
        case nodes.Name(ctx="load") if node.name not in names:
            return f"{node.name!r} is undefined; there are {', '.join(sorted(names - {'loop'}))}"
        case nodes.For() if node.recursive or node.find(nodes.For) is not None:
            return "loops may not be nested or recursive in a recipe"
        case nodes.List() | nodes.Dict() if node.find(nodes.Name) is not None:
            return "lists and dictionaries may hold only constants in a recipe"
        case nodes.Tuple(ctx="load") if node.find(nodes.Name) is not None:
            return "tuples may hold only constants in a recipe"
        case nodes.Call() if not isinstance(node.node, nodes.Getattr):
            return "only methods may be called in a recipe"
        case _:
            return None
