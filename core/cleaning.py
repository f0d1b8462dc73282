"""Cleaning: what somebody wrote, as it may be stored; what is empty, over-long or of no recipe is refused.

Knows values and the limit that it is given: no rows, and nothing of who may speak.
"""

from __future__ import annotations

from core import recipes
from core.errors import EmptyMessage, MessageTooLong, UnknownRecipe
from core.values import ContextMessage, InboundMessage, clean_text


def taken(message: InboundMessage, max_chars: int) -> tuple[str, InboundMessage]:
    """Its text, and the message with everything else in it, cleaned. Raises EmptyMessage, MessageTooLong, UnknownRecipe."""
    if message.recipe not in recipes.NAMES:
        raise UnknownRecipe(message.recipe, recipes.NAMES)
    text = checked(message.text, max_chars)
    arguments = {name: cleaned(value, max_chars) for name, value in message.arguments.items()}
    context = _readable(message.context, max_chars)
    return text, message.model_copy(update={"arguments": arguments, "context": context})


def checked(text: str, max_chars: int) -> str:
    """Words, of which something is left. Raises EmptyMessage, MessageTooLong."""
    words = cleaned(text, max_chars)
    if not words:
        raise EmptyMessage
    return words


def cleaned(text: str, max_chars: int) -> str:
    """Words, or none. Raises MessageTooLong."""
    if len(text) > max_chars:
        raise MessageTooLong(len(text), max_chars)
    return clean_text(text)


def _readable(messages: tuple[ContextMessage, ...], max_chars: int) -> tuple[ContextMessage, ...]:
    """What can be read for context, cleaned; what is over-long is cut, as nobody waits for an answer to it."""
    shortened = [each.model_copy(update={"text": clean_text(each.text[:max_chars])}) for each in messages]
    return tuple(each for each in shortened if each.text)
