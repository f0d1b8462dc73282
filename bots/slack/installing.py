"""Installing the app in a workspace: its page, the way to Slack and back, and what is read at the end.

slack_bolt's own OAuth flow, with our words on its pages. A state is bound to the browser and good once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import structlog
from slack_bolt.oauth.async_callback_options import AsyncCallbackOptions, AsyncFailureArgs, AsyncSuccessArgs
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.installations import Installations, States
from bots.slack.manifest import INSTALL_PATH, REDIRECT_PATH, SCOPES
from bots.texts import negotiate, text
from core.settings import Settings

log = structlog.get_logger(__name__)

_HEADERS: dict[str, str | Sequence[str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Pajama</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem }}
a {{ display: inline-block; padding: .6rem 1.2rem; border: 1px solid; border-radius: .5rem }}
</style></head><body><h1>{title}</h1><p>{words}</p>{link}</body></html>
"""


class Installing(AsyncOAuthFlow):
    """The flow. `installed` is called when somebody has installed the app."""

    def __init__(
        self,
        settings: Settings,
        client: AsyncWebClient,
        installations: Installations,
        states: States,
        installed: Callable[[], None],
    ) -> None:
        self._installed = installed
        oauth = AsyncOAuthSettings(
            client_id=settings.slack_client_id,
            client_secret=settings.slack_client_secret.get_secret_value(),
            scopes=list(SCOPES),
            user_scopes=[],
            redirect_uri=f"{settings.slack_public_url}{REDIRECT_PATH}" if settings.slack_public_url else None,
            callback_options=AsyncCallbackOptions(self._succeeded, self._failed),
            installation_store=installations,
            state_store=states,
        )
        super().__init__(client=client, settings=oauth)

    async def handle_installation(self, request: AsyncBoltRequest) -> BoltResponse:
        """The page with the way to Slack on it."""
        answer = await super().handle_installation(request)
        answer.headers |= BoltResponse(status=200, headers=_HEADERS).headers
        return answer

    async def build_install_page_html(self, url: str, request: AsyncBoltRequest) -> str:
        """Its words."""
        language = _language(request)
        link = f'<a href="{escape(url)}">{escape(text("slack_install_go", language))}</a>'
        return _page(language, "slack_install_title", text("slack_install_words", language), link)

    async def _succeeded(self, told: AsyncSuccessArgs) -> BoltResponse:
        installation, language = told.installation, _language(told.request)
        self._installed()
        log.info(
            "The app was installed.",
            action="slack_installed",
            team=installation.team_id,
            enterprise=installation.enterprise_id,
        )
        name = installation.team_name or installation.enterprise_name or ""
        return _answer(200, _page(language, "slack_installed_title", text("slack_installed", language, name=name)))

    async def _failed(self, told: AsyncFailureArgs) -> BoltResponse:
        return self.failed(told.request, told.suggested_status_code, told.reason)

    def failed(self, request: AsyncBoltRequest, status: int, reason: str) -> BoltResponse:
        """The page that says why the app is not installed."""
        language = _language(request)
        log.warning("The app was not installed.", action="slack_not_installed", reason=reason)
        words = text("slack_not_installed", language, reason=reason)
        link = f'<a href="{INSTALL_PATH}">{escape(text("slack_install_again", language))}</a>'
        return _answer(status, _page(language, "slack_not_installed_title", words, link))


def _page(language: str, title: str, words: str, link: str = "") -> str:
    return _PAGE.format(language=language, title=escape(text(title, language)), words=escape(words), link=link)


def _answer(status: int, page: str) -> BoltResponse:
    return BoltResponse(status=status, headers=_HEADERS, body=page)


def _language(request: AsyncBoltRequest) -> str:
    """The first language of the browser that is here."""
    accepted = ",".join(request.headers.get("accept-language", ()))
    return negotiate(part.partition(";")[0] for part in accepted.split(","))
