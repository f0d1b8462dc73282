"""Ports: which one a process that is yet to start may listen on."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

from core.errors import SettingsError
from core.settings import Settings, variable

_OWN_PORTS = range(20_000, 32_000)


def usable_port(settings: Settings) -> int:
    """The port of the page, chosen where it is 0. Raises SettingsError where it is taken."""
    if not settings.web_port:
        return free_port(settings.web_host)
    try:
        _bind(settings.web_host, settings.web_port)
    except OSError as error:
        raise SettingsError(
            f"{variable('web_port')}: {settings.web_host}:{settings.web_port} cannot be used ({error.strerror});"
            " give another port, or 0 for any free one."
        ) from error
    return settings.web_port


def free_port(host: str = "127.0.0.1") -> int:
    """A port for a process that is yet to start. Raises SettingsError where there is none.

    Not one that the system gives: from those it gives to connections, too, which may take it meanwhile.
    """
    for port in random.sample(_OWN_PORTS, 100):
        with suppress(OSError):
            _bind(host, port)
            return port
    raise SettingsError(f"{variable('web_port')}: no port of {host} can be used; give one.")


def _bind(host: str, port: int) -> None:
    """Raises OSError where the port cannot be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
