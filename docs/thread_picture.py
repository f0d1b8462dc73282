"""How a channel of the stand-in Slack looks, and the pages on which its app is set up, in the plain style of `chat_picture`.

Knows the stand-in's messages and blocks; knows nothing of the bot. The set-up pages are drawings and say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from chat_picture import STYLE, cut
from markdown_it import MarkdownIt

from tests.bots.slack.standin.message import File, Message
from tests.bots.slack.standin.modals import View
from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

_COLOURS_OF_PEOPLE = ("#b4563f", "#7d5bb0", "#3f8f5f", "#a8842c")
_COLOUR_OF_BOTS = "#3d4756"
_TOKEN = re.compile(r"&lt;(@|#)([A-Z0-9]+)(?:\|[^&]*)?&gt;")
_MORE_STYLE = """
article { border-radius: 8px } article img { display: none } article.reply { margin-left: 46px; border-left: 2px solid #dde1e6; padding-left: 12px }
article.private + article.private { margin-top: 10px } .face { border-radius: 9px } .home { border: 1px solid #dde1e6; border-radius: 9px; padding: 6px 20px 14px; font-size: 13.5px }
.window { border: 1px solid #c5cbd3; border-radius: 9px; overflow: hidden; font-size: 14px }
.window .bar { background: #f2f3f5; border-bottom: 1px solid #c5cbd3; padding: 7px 14px; display: flex; gap: 12px; font-size: 12px; color: #5a616b }
.window .bar i { margin-left: auto; font-style: normal } .window h3 { margin: 0 0 10px } .window .inside { padding: 14px 20px }
.step { display: grid; grid-template-columns: 30px auto 1fr; gap: 4px 12px; align-items: center; margin: 9px 0 }
.number { width: 24px; height: 24px; border-radius: 50%; background: #c2410c; color: #fff; display: grid; place-items: center; font-weight: bold; font-size: 13px }
.press { background: #3f5fb4; color: #fff; border-radius: 6px; padding: 6px 14px } .press, .field, .place { justify-self: start }
.step .field { border: 1px solid #9aa1ab; border-radius: 5px; padding: 6px 10px; font-family: "DejaVu Sans Mono", monospace; font-size: 12.5px }
.place { background: #e9ebee; border-radius: 6px; padding: 6px 12px } .why { color: #5a616b; font-size: 12.5px }
"""


@dataclass(frozen=True)
class Shown:
    """A message as it stands in a picture, under a line that says how it came about."""

    message: Message
    used: str = ""


@dataclass(frozen=True)
class Step:
    """One thing to do on a page: a `press`, a `field` to copy or fill in, or a `place` to go to."""

    kind: str
    label: str
    why: str = ""


class Page:
    """A picture that is being put together. Everything is read when it is added."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._parts: list[str] = []
        self._markdown = MarkdownIt("commonmark", {"breaks": True, "html": False, "linkify": False}).enable("table")

    def heading(self, words: str) -> None:
        """A line above what follows."""
        self._parts.append(f"<h2>{escape(words)}</h2>")

    def messages(self, shown: Iterable[Message | Shown]) -> None:
        """Messages, one below the other; those of a thread stand further in."""
        for each in shown:
            self._parts.append(self._message(each if isinstance(each, Shown) else Shown(each)))

    def home(self, view: View) -> None:
        """The App Home."""
        blocks = [self._block(block) for block in view.blocks]
        self._parts.append(f'<div class="home">{"".join(blocks)}</div>')

    def form(self, view: View, typed: str) -> None:
        """A form with something typed into its only field."""
        document = view.document
        (field,) = [block for block in view.blocks if block["type"] == "input"]
        words = (escape(document["title"]["text"]), escape(field["label"]["text"]), escape(typed))
        self._parts.append(
            "<form><h3>{}</h3><div class=note>{}</div><div class=field>{}</div>"
            "<div class=buttons><span>Cancel</span><span>{}</span></div></form>".format(
                *words, escape(document["submit"]["text"])
            )
        )

    def screen(self, address: str, title: str, steps: Iterable[Step]) -> None:
        """A page of Slack's own site, as a drawing."""
        rows = [
            f'<div class="step"><div class="number">{number}</div><div class="{step.kind}">{escape(step.label)}</div>'
            f'<div class="why">{escape(step.why)}</div></div>'
            for number, step in enumerate(steps, 1)
        ]
        self._parts.append(
            f'<div class="window"><div class="bar"><span>{escape(address)}</span><i>a drawing, not a screenshot</i></div>'
            f'<div class="inside"><h3>{escape(title)}</h3>{"".join(rows)}</div></div>'
        )

    def offers(self, words: Iterable[str]) -> None:
        """Prompts that a new chat suggests."""
        self._parts.append(f'<div class="buttons">{"".join(f"<span>{escape(each)}</span>" for each in words)}</div>')

    @property
    def html(self) -> str:
        """The page."""
        style = STYLE + _MORE_STYLE
        return f"<!doctype html><meta charset=utf-8><style>{style}</style><main>{''.join(self._parts)}</main>"

    def _message(self, shown: Shown) -> str:
        message = shown.message
        people = [user.id for user in self._team.users.values() if not user.bot]
        bot = message.author.bot
        colour = _COLOUR_OF_BOTS if bot else _COLOURS_OF_PEOPLE[people.index(message.author.id) % 4]
        reply = message.thread_ts not in {None, message.ts} and not message.ephemeral
        kind = "private" if message.ephemeral else "reply" if reply else ""
        note = '<div class="note">👁 Only visible to you</div>' if message.ephemeral else ""
        app = ' <span class="app">APP</span>' if bot else ""
        return (
            f'<article class="{kind}">'
            + (f'<div class="about">↱ {escape(shown.used)}</div>' if shown.used else "")
            + f'<div class="face" style="background:{colour}">{escape(message.author.name[0])}</div>'
            + f'<div><span class="name">{escape(message.author.name)}</span>{app}{self._body(message)}{note}</div></article>'
        )

    def _body(self, message: Message) -> str:
        words = self._words(cut(message.read))
        reactions = "".join(
            f' <span class="reaction">{_emoji(e)} {len(p)}</span>' for e, p in message.reactions.items()
        )
        return (
            words
            + "".join(map(_file, message.files))
            + (f"<div>{reactions}</div>" if reactions else "")
            + "".join(map(_buttons, message.blocks))
        )

    def _block(self, block: Json) -> str:
        if block["type"] == "divider":
            return "<hr>"
        return self._words(block["text"]["text"].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))

    def _words(self, words: str) -> str:
        def name(match: re.Match[str]) -> str:
            known = self._team.users if match[1] == "@" else self._team.channels
            return f'<span class="pill">{match[1]}{escape(known[match[2]].name)}</span>'

        return _TOKEN.sub(name, self._markdown.render(words).replace("<p>⋯", '<p class="cut">⋯'))


def _file(file: File) -> str:
    return f'<div class="file">📄 {escape(file.name)} <span class="small">{file.size:,} bytes</span></div>'


def _buttons(block: Json) -> str:
    faces = []
    for element in block.get("elements", ()) if block.get("type") in ("actions", "context_actions") else ():
        if element["type"] == "feedback_buttons":
            faces += [element[side]["text"]["text"] for side in ("positive_button", "negative_button")]
        else:
            faces.append(element["text"]["text"])
    return f'<div class="buttons">{"".join(f"<span>{escape(face)}</span>" for face in faces)}</div>' if faces else ""


def _emoji(name: str) -> str:
    return {"+1": "👍", "-1": "👎"}.get(name, f":{name}:")
