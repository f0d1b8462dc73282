"""Tokens: which bot of ours answers a workspace, and with which token just now.

`OneToken` is for an app in a single workspace, whose token is a setting; `InstalledTokens` for one that many install by
OAuth: read from the database, kept for seconds, and renewed in time. Knows who is installed; says nothing to anyone.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from time import monotonic
from typing import Protocol

import structlog
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.installations import Installations
from bots.slack.places import enterprise_of, team_of
from bots.slack.wire import Refused, surely
from core.errors import QueueUnavailable
from core.service import Service
from core.settings import Settings

log = structlog.get_logger(__name__)

GONE = frozenset({"account_inactive", "token_revoked", "team_access_not_granted", "app_uninstalled"})
"""What Slack answers where the app was there and is no longer; anything else is a wrong token."""

RENEW_BEFORE_S = 7_200.0
"""A token lives for twelve hours, and a renewal may have to be tried again."""

KNOWN_FOR_S = 5.0
"""An installation in another process is seen after so long."""

LOOK_AGAIN_S = 60.0
_RENEWING_S = 30.0
_WAIT_S = 0.5
_MOST = 4096


class Tokens(Protocol):
    """Whose token is used where."""

    async def of(self, workspace: str) -> Bot | None:
        """The bot of a workspace; None where the app is not installed. Raises ServiceUnavailable."""

    async def drop(self, workspace: str, told_at: float, *, org: bool) -> bool:
        """Forget the token of a workspace that took the app away at that time; False where it is there again since."""

    async def present(self) -> bool:
        """Whether there is anybody to listen to."""


class OneToken:
    """The token of the settings."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._bot: Bot | None = None
        self._asked_at = 0.0

    async def open(self) -> str | None:
        """Ask whose token it is. Returns the workspace's name, None where the app was taken away. Raises Refused."""
        self._asked_at = monotonic()
        try:
            told = await surely(self._client.auth_test, what="start")
        except Refused as error:
            if error.refusal in GONE:
                return None
            raise
        self._bot = Bot(
            bot_token=self._client.token or "",
            bot_id=told.get("bot_id") or "",
            bot_user_id=told["user_id"],
            enterprise_id=told.get("enterprise_id"),
            team_id=told.get("team_id"),
            team_name=told.get("team"),
            installed_at=time.time(),
        )
        return str(told.get("team"))

    async def of(self, workspace: str) -> Bot | None:
        """The one bot that there is."""
        return self._bot

    async def drop(self, workspace: str, told_at: float, *, org: bool) -> bool:
        """The token is used no more, until Slack takes it again."""
        self._bot = None
        return True

    async def present(self) -> bool:
        """Whether Slack takes the token; asked again now and then after it did not."""
        if self._bot is None and monotonic() - self._asked_at > LOOK_AGAIN_S:
            try:
                await self.open()
            except Refused as error:
                log.warning("Slack does not take the token.", action="slack_token_refused", reason=error.refusal)
        return self._bot is not None


class InstalledTokens:
    """The tokens of all who installed the app."""

    def __init__(
        self, client: AsyncWebClient, service: Service, installations: Installations, settings: Settings
    ) -> None:
        self._client, self._service, self._installations, self._settings = client, service, installations, settings
        self._known: OrderedDict[str, tuple[float, Bot | None]] = OrderedDict()

    async def of(self, workspace: str) -> Bot | None:
        """The workspace's own bot, else its organisation's, with a token that holds. Raises ServiceUnavailable."""
        read_at, bot = self._known.get(workspace, (0.0, None))
        if workspace not in self._known or monotonic() - read_at > KNOWN_FOR_S:
            bot = await self._find(workspace)
            if bot is not None and _left_s(bot) < RENEW_BEFORE_S:
                bot = await self._renewed(workspace, bot)
            self._known[workspace] = (monotonic(), bot)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return bot

    def forget(self) -> None:
        """Read everything anew: somebody has installed the app."""
        self._known.clear()

    async def drop(self, workspace: str, told_at: float, *, org: bool) -> bool:
        """Delete the installation, unless it is younger than the news of its end. Raises DatabaseUnavailable."""
        enterprise, team = enterprise_of(workspace), None if org else team_of(workspace)
        bot = await self._installations.async_find_bot(enterprise_id=enterprise, team_id=team)
        if bot is not None and int(bot.installed_at) > told_at:  # news is told by the second
            return False
        await self._installations.async_delete_all(enterprise_id=enterprise, team_id=team)
        self.forget()
        return True

    async def present(self) -> bool:
        """Whoever installs it next is listened to."""
        return True

    async def _find(self, workspace: str) -> Bot | None:
        enterprise, team = enterprise_of(workspace), team_of(workspace)
        find = self._installations.async_find_bot
        bot = await find(enterprise_id=enterprise, team_id=team) if team else None
        if bot is None and enterprise is not None:
            bot = await find(enterprise_id=enterprise, team_id=None, is_enterprise_install=True)
        return bot

    async def _renewed(self, workspace: str, bot: Bot) -> Bot | None:
        """The bot with a new token. One process asks; the others use the old one, or wait where that has ended.

        None where Slack gives none any more. Raises ServiceUnavailable.
        """
        name = f"slack-renew-{bot.enterprise_id}-{bot.team_id}"
        while not await self._may_renew(name, bot):
            if _left_s(bot) > 0:
                return bot
            await asyncio.sleep(_WAIT_S)
            found = await self._find(workspace)
            if found is None or _left_s(found) > RENEW_BEFORE_S:
                return found
        try:
            found = await self._find(workspace)  # another may have renewed it just before
            return await self._renew(found) if found is not None and _left_s(found) < RENEW_BEFORE_S else found
        finally:
            with suppress(QueueUnavailable):  # it ends by itself
                await self._service.notes.release(name)

    async def _may_renew(self, name: str, bot: Bot) -> bool:
        try:
            return await self._service.notes.claim(name, _RENEWING_S)
        except QueueUnavailable:
            if _left_s(bot) > 0:
                return False
            raise

    async def _renew(self, bot: Bot) -> Bot | None:
        try:
            told = await surely(
                lambda: self._client.oauth_v2_access(
                    client_id=self._settings.slack_client_id,
                    client_secret=self._settings.slack_client_secret.get_secret_value(),
                    grant_type="refresh_token",
                    refresh_token=bot.bot_refresh_token,
                ),
                what="renew",
                tries=2,
            )
        except Refused as error:
            log.warning("Slack renews no token.", action="slack_token_not_renewed", team=bot.team_id, reason=str(error))
            return bot if _left_s(bot) > 0 else None
        bot.bot_token, bot.bot_refresh_token = told["access_token"], told["refresh_token"]
        bot.bot_token_expires_at = int(time.time()) + int(told["expires_in"])
        await self._installations.async_save_bot(bot)
        log.info("A token was renewed.", action="slack_token_renewed", team=bot.team_id)
        return bot


def _left_s(bot: Bot) -> float:
    """How long the token holds; without end where it does not rotate."""
    expires_at = bot.bot_token_expires_at
    return float("inf") if expires_at is None or not bot.bot_refresh_token else expires_at - time.time()
