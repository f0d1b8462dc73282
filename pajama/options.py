"""Options that commands of several groups have."""

from __future__ import annotations

from typing import Annotated

import typer


def usable(name: str) -> str:
    """The name of a conversation or person, which is an identifier like those of the platforms."""
    from pydantic import TypeAdapter, ValidationError

    from core.values import Identifier

    try:
        return TypeAdapter[str](Identifier).validate_python(name)
    except ValidationError as error:
        raise typer.BadParameter(
            "use 1 to 200 unaccented letters, digits and punctuation marks, without spaces."
        ) from error


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Conversation = Annotated[str, typer.Option(callback=usable, help="Name of the conversation in the terminal.")]
