"""How a channel of the stand-in Discord looks, as a page in a plain style of its own, and that page as a picture.

Knows the stand-in's messages and components; knows nothing of the bot. Long messages are cut in the middle, and say so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.bots.discord.standin.message import Attachment, Message
from tests.bots.discord.standin.server import StandInDiscord

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
WIDTH = 760
COLOURS = 64
MOST_LINES, SHOWN_LINES = 16, 5

_COLOURS_OF_PEOPLE = ("#b4563f", "#7d5bb0", "#3f8f5f", "#a8842c")
_COLOUR_OF_BOTS = "#3d4756"
_TOKEN = re.compile(r"&lt;(@!?|#)(\d+)&gt;")
_SMALL = re.compile(r"<p>-# (.*?)</p>", re.DOTALL)
STYLE = """
:root { font: 15px/1.45 "DejaVu Sans", "WenQuanYi Micro Hei", "Noto Color Emoji", sans-serif; color: #23262b }
body { margin: 0; background: #fff }
main { padding: 4px 18px 14px }
h2 { font-size: 14px; margin: 14px 0 4px; padding-bottom: 6px; border-bottom: 1px solid #dde1e6; color: #5a616b }
article { display: grid; grid-template-columns: 40px 1fr; gap: 0 12px; padding: 7px 0; }
article.private { background: #f3f6ff; border-left: 3px solid #8ba2e8; padding-left: 8px }
.about { grid-column: 2; font-size: 12.5px; color: #6b727c; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.face { width: 38px; height: 38px; border-radius: 50%; color: #fff; display: grid; place-items: center; font-weight: bold }
.name { font-weight: bold } .app { font-size: 10px; background: #596; color: #fff; border-radius: 3px; padding: 1px 4px }
article + h2, form + h2 { margin-top: 22px } p { margin: 2px 0 4px } ul { margin: 2px 0; padding-left: 22px } h1 { font-size: 18px; margin: 4px 0 }
pre { background: #f2f3f5; border: 1px solid #dde1e6; border-radius: 5px; padding: 8px 10px; margin: 4px 0; font-size: 13px }
code { font-family: "DejaVu Sans Mono", monospace; font-size: .92em; background: #f2f3f5; border-radius: 3px; padding: 0 3px }
pre code { padding: 0 } .pill { background: #e6ebff; color: #3a4fb5; border-radius: 3px; padding: 0 3px }
.buttons { display: flex; gap: 8px; margin-top: 6px }
.buttons span { background: #e9ebee; border-radius: 6px; padding: 5px 13px; font-size: 13.5px }
.file { display: inline-block; border: 1px solid #cfd4da; border-radius: 6px; padding: 7px 12px; margin: 4px 0; font-size: 13.5px }
.small, .note { font-size: 12.5px; color: #6b727c } .cut { text-align: center; color: #6b727c; font-size: 12.5px }
.reaction { border: 1px solid #cfd4da; border-radius: 10px; padding: 1px 8px; font-size: 13px }
form { border: 1px solid #cfd4da; border-radius: 8px; box-shadow: 0 3px 14px #0002; padding: 14px 18px; margin: 8px 52px }
form h3 { margin: 0 0 8px } form .field { border: 1px solid #b9c0c8; border-radius: 5px; padding: 7px 9px; min-height: 44px }
"""

Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A message as it stands in a picture, under a line that says how it came about."""

    message: Message
    used: str = ""


class Page:
    """A picture that is being put together: headings, messages, forms. Everything is read when it is added."""

    def __init__(self, discord: StandInDiscord) -> None:
        self._discord = discord
        self._parts: list[str] = []
        self._markdown = MarkdownIt("commonmark", {"breaks": True, "html": False, "linkify": False})

    def heading(self, words: str) -> None:
        """A line above what follows."""
        self._parts.append(f"<h2>{escape(words)}</h2>")

    def messages(self, shown: Iterable[Message | Shown]) -> None:
        """Messages, one below the other."""
        for each in shown:
            self._parts.append(self._message(each if isinstance(each, Shown) else Shown(each)))

    def form(self, modal: Json, typed: str) -> None:
        """A form with something typed into its only field."""
        label = modal["components"][0]["label"]
        words = (escape(modal["title"]), escape(label), escape(typed))
        self._parts.append(
            "<form><h3>{}</h3><div class=note>{}</div><div class=field>{}</div>"
            "<div class=buttons><span>Cancel</span><span>Submit</span></div></form>".format(*words)
        )

    @property
    def html(self) -> str:
        """The page."""
        return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><main>{''.join(self._parts)}</main>"

    def _message(self, shown: Shown) -> str:
        message = shown.message
        people = list(self._discord.users)
        colour = _COLOURS_OF_PEOPLE[people.index(message.author.id) % len(_COLOURS_OF_PEOPLE)]
        colour = _COLOUR_OF_BOTS if message.author.bot else colour
        about = escape(shown.used) or self._reply(message)
        note = '<div class="note">👁 Only you can see this</div>' if message.ephemeral else ""
        app = ' <span class="app">APP</span>' if message.author.bot else ""
        return (
            f'<article class="{"private" if message.ephemeral else ""}">'
            + (f'<div class="about">↱ {about}</div>' if about else "")
            + f'<div class="face" style="background:{colour}">{escape(message.author.name[0])}</div>'
            + f'<div><span class="name">{escape(message.author.name)}</span>{app}{self._body(message)}{note}</div></article>'
        )

    def _reply(self, message: Message) -> str:
        if message.reply_to is None:
            return ""
        return f"<b>{escape(message.reply_to.author.name)}</b> {self._names(escape(message.reply_to.content[:90]))}"

    def _body(self, message: Message) -> str:
        if message.loading:
            return '<p class="small">… is thinking</p>'
        words = self._names(self._markdown.render(cut(message.content)))
        reactions = "".join(f' <span class="reaction">{e} {len(p)}</span>' for e, p in message.reactions.items())
        return (
            _SMALL.sub(r'<p class="small">\1</p>', words).replace("<p>⋯", '<p class="cut">⋯')
            + "".join(map(_file, message.attachments))
            + (f"<div>{reactions}</div>" if reactions else "")
            + "".join(map(_row, message.components))
        )

    def _names(self, html: str) -> str:
        def name(match: re.Match[str]) -> str:
            known = self._discord.users if match[1].startswith("@") else self._discord.channels
            return f'<span class="pill">{match[1][0]}{escape(known[int(match[2])].name)}</span>'

        return _TOKEN.sub(name, html)


def cut(words: str) -> str:
    """The words without their middle, where there are too many for a picture."""
    lines = words.split("\n")
    if len(lines) <= MOST_LINES:
        return words
    head, tail = lines[:SHOWN_LINES], lines[-SHOWN_LINES:]
    fence = "```" if sum(line.startswith("```") for line in head) % 2 else ""
    left_out = f"⋯ {len(lines) - 2 * SHOWN_LINES} more lines of this message, left out of the picture ⋯"
    return "\n".join([*head, *([fence] if fence else []), "", left_out, "", *([fence] if fence else []), *tail])


def _file(file: Attachment) -> str:
    return f'<div class="file">📄 {escape(file.filename)} <span class="small">{file.size:,} bytes</span></div>'


def _row(row: Json) -> str:
    faces = (f"{(b.get('emoji') or {}).get('name', '')} {b.get('label') or ''}".strip() for b in row["components"])
    return f'<div class="buttons">{"".join(f"<span>{escape(face)}</span>" for face in faces)}</div>'


def take(pages: Sequence[tuple[Path, str]]) -> None:
    """Write each page as a small PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 200})
        for file, html in pages:
            page.set_content(html)
            picture = Image.open(BytesIO(page.locator("main").screenshot())).convert("RGB")
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        browser.close()
