"""What people attach to a message: text files are read, everything else is named, since the model sees only text.

Knows limits and how a file reads in a message; fetches from nowhere but the hosts it is given, and follows no
redirect, so that nobody can make this process call an address of their choice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import aiohttp
import structlog
from yarl import URL

from bots.texts import text

log = structlog.get_logger(__name__)

MAX_FILES = 4
MAX_FILE_BYTES = 262_144
FETCH_TIMEOUT_S = 10.0

_TEXT_SUFFIXES = frozenset(
    [
        ".txt",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".conf",
        ".log",
        ".xml",
        ".html",
        ".css",
        ".py",
        ".js",
        ".ts",
        ".tsx",
        ".jsx",
        ".java",
        ".c",
        ".h",
        ".cpp",
        ".hpp",
        ".cs",
        ".go",
        ".rs",
        ".rb",
        ".php",
        ".sh",
        ".sql",
        ".swift",
        ".kt",
        ".lua",
        ".r",
        ".tex",
        ".diff",
        ".patch",
    ]
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message, as the platform describes it."""

    name: str
    url: str
    size_bytes: int
    content_type: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it can be read to the model."""
        textual = self.content_type.startswith("text/") or PurePath(self.name).suffix.lower() in _TEXT_SUFFIXES
        return textual or self.content_type.partition(";")[0] in ("application/json", "application/xml")


class Attachments:
    """Reads attachments from `hosts`, sending along what `headers` are at the time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hosts: Iterable[str],
        *,
        headers: Callable[[], Mapping[str, str]] = dict,
        proxy: str | None = None,
    ) -> None:
        self._session, self._hosts = session, frozenset(hosts)
        self._headers = headers
        self._options: dict[str, Any] = {"proxy": proxy, "allow_redirects": False}

    async def told(self, words: str, attachments: Iterable[Attachment], language: str) -> str:
        """`words` with the files below them: text files whole, others by name. Takes FETCH_TIMEOUT_S at most."""
        files = list(attachments)
        shown = await asyncio.gather(*(self._told(file, language) for file in files[:MAX_FILES]))
        more = [text("attachments_more", language, count=len(files) - MAX_FILES)] if len(files) > MAX_FILES else []
        return "\n\n".join(part for part in (words, *shown, *more) if part)

    async def _told(self, file: Attachment, language: str) -> str:
        if not file.is_text:
            return text("attachment_unseen", language, name=file.name)
        if file.size_bytes > MAX_FILE_BYTES:
            return text("attachment_too_large", language, name=file.name, limit=MAX_FILE_BYTES // 1024)
        content = await self._fetch(file)
        if content is None:
            return text("attachment_unread", language, name=file.name)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
        head = text("attachment_head", language, name=file.name)
        return f"{head}\n{fence}\n{content.strip()}\n{fence}"

    async def _fetch(self, file: Attachment) -> str | None:
        """The file as text; None where it cannot be had."""
        url = URL(file.url)
        if url.authority not in self._hosts and url.host not in self._hosts:
            log.warning("An attachment is from elsewhere.", action="attachment_refused", host=url.host)
            return None
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        try:
            async with self._session.get(url, timeout=timeout, headers=self._headers(), **self._options) as answer:
                if answer.status != 200:
                    log.warning("An attachment cannot be had.", action="attachment_failed", status=answer.status)
                    return None
                content = await answer.content.read(MAX_FILE_BYTES + 1)
                while len(content) <= MAX_FILE_BYTES and (more := await answer.content.read(MAX_FILE_BYTES)):
                    content += more
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("An attachment cannot be had.", action="attachment_failed", reason=str(error) or repr(error))
            return None
        if len(content) > MAX_FILE_BYTES:
            return None
        return content.decode("utf-8-sig", "replace")
