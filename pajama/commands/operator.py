"""`pajama operator link`: a link with which one signs in at the operators' page, once."""

from __future__ import annotations

from core.settings import Settings
from pajama.console import out, settings_of
from pajama.running import find_running, web_url


def link(url: str) -> None:
    """Print a link to the page that runs here, or to `url`, where people reach it."""
    settings = settings_of("operator")
    running = find_running(settings.data_dir)
    out.print(
        link_to(settings, url or (running.web_url if running else "") or web_url(settings)),
        markup=False,
        soft_wrap=True,
    )


def link_to(settings: Settings, page_url: str) -> str:
    """A link that signs in whoever follows it first, within an hour. To be printed on a screen, never logged."""
    from bots.web.operator.badges import sign_in_link

    return sign_in_link(settings, page_url)
