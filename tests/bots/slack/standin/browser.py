"""Installing the app as a person does it: the app's install page, Slack's page with "Allow", and back to the app."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import aiohttp

if TYPE_CHECKING:
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.team import Team

AUTHORIZE = re.compile(r"https?://[^\"'\s]+/oauth/v2/authorize\?[^\"'\s]+")


@dataclass(frozen=True)
class Page:
    """What the browser shows."""

    status: int
    text: str
    url: str


async def install(
    team: Team,
    user: User,
    install_url: str,
    *,
    back_url: str | None = None,
    allow: bool = True,
    state: str | None = None,
) -> Page:
    """Go to the app's install page and press "Allow", or "Cancel"; the page that the app shows in the end.

    `back_url` is where the app waits, if it names no redirect URL of its own; `state` is a forged one.
    """
    async with aiohttp.ClientSession() as session:
        async with session.get(install_url, allow_redirects=False) as answer:
            where = answer.headers.get("Location") or html.unescape(await answer.text())
            cookies = SimpleCookie("; ".join(answer.headers.getall("Set-Cookie", [])))
        found = AUTHORIZE.search(where)
        assert found is not None, f"no link to Slack: {where[:300]}"
        asked = {key: values[0] for key, values in parse_qs(urlsplit(found.group()).query).items()}
        assert asked["client_id"] == team.slack.client_id, asked
        query = {"state": state or asked.get("state", "")}
        if allow:
            scopes = asked["scope"].split(",")
            query["code"] = team.allow(user, redirect_uri=asked.get("redirect_uri"), scopes=scopes)
        else:
            query["error"] = "access_denied"
        # set by hand, as the app marks them Secure and this is no HTTPS
        headers = {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())}
        async with session.get(asked.get("redirect_uri") or str(back_url), params=query, headers=headers) as answer:
            return Page(answer.status, await answer.text(), str(answer.url))
