"""`pajama config show`: the effective settings and where each comes from."""

from __future__ import annotations

import re
from typing import Any

from pydantic import SecretStr
from rich.markup import escape
from rich.table import Table

from core.settings import Settings, load_settings, origins, variable
from pajama.console import out, print_json

MASK = "********"


def show(*, as_json: bool) -> None:
    """Print every setting."""
    settings, found = load_settings(), origins()
    if as_json:
        print_json({name: {"value": shown(settings, name), "origin": found[name]} for name in Settings.model_fields})
        return
    table = Table("Variable", "Value", "Origin", box=None)
    for name in Settings.model_fields:
        table.add_row(variable(name), escape(str(shown(settings, name))), found[name])
    out.print(table)


def shown(settings: Settings, name: str) -> Any:
    """The value of a setting as it may be read by anyone: secrets and passwords in URLs are masked."""
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if name.endswith("_url"):
        return masked_url(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def masked_url(url: str) -> str:
    """`url` without its password, which stands before the host or, for sockets, among the parameters."""
    url = re.sub(r"([?&]password=)[^&]*", rf"\1{MASK}", url)
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at or ":" not in credentials:
        return url
    return f"{scheme}{separator}{credentials.split(':')[0]}:{MASK}@{host}"
