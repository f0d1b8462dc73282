"""Endpoint: an OpenAI-compatible server, spoken to over HTTP.

Knows its address, the key, how long it may be silent and how much of it is read; knows no Prompt. Whatever goes wrong
is raised as one of core's errors. Neither the key nor what is said goes into a sentence or, above DEBUG, into a log.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
import structlog

from core.errors import EndpointAway, EndpointBroken
from core.settings import Settings
from workers.endpoint.patience import patiently
from workers.endpoint.refusals import refusal

log = structlog.get_logger(__name__)

_CONNECT_S = 5.0
_MOST_BODY_BYTES = 16 << 20  # the token ids of a very long prompt
_MOST_ERROR_BYTES = 64 << 10

Body = dict[str, Any]


class Endpoint:
    """One server, in one event loop. `base_url` is what stands before `/chat/completions`, mostly `…/v1`.

    A question whose answer is JSON is repeated for `retry_s` while the server is busy or away: it may also have closed
    the connection of the question before. A stream is not: whoever reads it knows whether anything has come.
    """

    def __init__(self, base_url: str, api_key: str, *, silence_s: float, retry_s: float) -> None:
        self.base_url, self.root_url = base_url, base_url.removesuffix("/v1")
        self._key, self._silence_s, self.retry_s = api_key, silence_s, retry_s
        headers = {"Accept-Encoding": "identity", "User-Agent": "pajama"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(silence_s, connect=min(_CONNECT_S, silence_s), pool=None),
            limits=httpx2.Limits(max_connections=None),  # as many as answers are made
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # no request is tied to another
            verify=_tls(),
            trust_env=False,  # or a proxy, or another key from a netrc file, would come into it unseen
        )

    @classmethod
    def of(cls, settings: Settings) -> Endpoint:
        """The endpoint that the settings name."""
        key = settings.openai_api_key.get_secret_value()
        return cls(settings.openai_base_url, key, silence_s=settings.openai_silence_s, retry_s=settings.openai_retry_s)

    async def get(self, url: str) -> Any:
        """The JSON at `url`."""
        return await self._json("GET", url, None)

    async def post(self, url: str, body: Body) -> Any:
        """The JSON that comes back for `body`."""
        return await self._json("POST", url, body)

    @asynccontextmanager
    async def stream(self, url: str, body: Body) -> AsyncIterator[httpx2.Response]:
        """The response to `body`, whose status is 200 and whose content is yet to be read."""
        async with self._asked("POST", url, body) as response:
            yield response

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _json(self, method: str, url: str, body: Body | None) -> Any:
        return await patiently(lambda: self._json_once(method, url, body), self.retry_s)

    async def _json_once(self, method: str, url: str, body: Body | None) -> Any:
        async with self._asked(method, url, body) as response:
            content = await _read(response, _MOST_BODY_BYTES)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise EndpointBroken(f"{url} answers with {_kind(response)}, which is no JSON.") from error

    @asynccontextmanager
    async def _asked(self, method: str, url: str, body: Body | None) -> AsyncIterator[httpx2.Response]:
        with self._translated(url):
            async with self._client.stream(method, url, json=body) as response:
                if response.status_code != 200:
                    content = await _read(response, _MOST_ERROR_BYTES, whole=False)
                    self._note(response.status_code, content)
                    raise refusal(url, response.status_code, response.headers, content)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise EndpointBroken(f"{url} answers compressed, though it was asked not to.")
                yield response

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        """Raise what httpx2 raises as errors of core."""
        try:
            yield
        except httpx2.SSEError as error:
            raise EndpointBroken(f"{url} sent what is no event of a stream: {error}") from error
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            raise EndpointBroken(f"{url} said nothing for {self._silence_s:g} s.") from error
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise EndpointAway(f"{url} cannot be reached: {reason}.") from error
        except httpx2.DecodingError as error:
            raise EndpointBroken(f"{url} sent what cannot be decoded.") from error

    def _note(self, status: int, content: bytes) -> None:
        words = content.decode(errors="replace")[:1000]
        words = words.replace(self._key, "********") if self._key else words
        log.debug("The endpoint refuses.", action="endpoint_refused", status=status, words=words)


@cache
def _tls() -> ssl.SSLContext:
    """The certificates that this machine trusts; to read them takes a tenth of a second and more."""
    return httpx2.create_ssl_context(trust_env=False)


async def _read(response: httpx2.Response, most_bytes: int, *, whole: bool = True) -> bytes:
    """The body, as far as `most_bytes`; raises EndpointBroken where it should be whole and is longer."""
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > most_bytes:
            if whole:
                raise EndpointBroken(f"{response.url} sent more than {most_bytes} bytes.")
            break
    return bytes(content[:most_bytes])


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip()[:60] or "something"
