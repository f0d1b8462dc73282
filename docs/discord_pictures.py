"""Takes the pictures of docs/discord.md: `python docs/discord_pictures.py`, from the repository's root.

The real bot, as a process of its own, talks to the stand-in Discord of the tests; what people then read is drawn by
`chat_picture`. The answers come from a script and not from a model, so that the pictures show the bot and not a model.
Needs Chromium, Pillow, and fonts with Chinese and emoji.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chat_picture import Page, Shown, take

from bots.texts import text
from core.database import upgrade
from core.settings import Settings, variable
from pajama.valkey import EmbeddedValkey
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.interactions import Interaction
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Gate, ScriptedWorker

IMAGES = Path(__file__).parent / "images"

FERN = "Water it when the top of the soil feels dry, and keep it out of the midday sun."
LINES = """Open the file and go over it; Python reads one line at a time:

```python
with open("notes.txt", encoding="utf-8") as file:
    for line in file:
        print(line.rstrip())
```
Nothing else is held in memory, so the file may be as large as you like."""
SPARE = 'Add `errors="replace"`: what cannot be read then becomes `�` and the loop goes on.'
TABLE = "Here is the table:\n\n```python\n" + "".join(f"row_{n} = {n * n}\n" for n in range(160)) + "```\nThat is all."
BOOK = "# A long story\n\n" + "".join(f"Chapter {n}: the fox goes on, and the night is quiet.\n" for n in range(1, 260))


@dataclass
class Scene:
    """The world of the pictures: a guild, its people, the worker's script."""

    discord: StandInDiscord
    worker: ScriptedWorker
    shop: Guild
    ann: User
    bob: User

    def page(self) -> Page:
        """An empty picture."""
        return Page(self.discord)

    async def ask(self, channel: Channel, person: User, words: str, reply_to: Message | None = None) -> Message:
        """Ask, and wait for the complete answer."""
        before = len(channel.answers)
        mentions = [] if reply_to else [self.discord.bot]
        await channel.say(person, words, mentions=mentions, reply_to=reply_to)
        await channel.until(lambda: len(channel.answers) > before and complete(channel.answers[-1]))
        return channel.answers[-1]


def complete(message: Message) -> bool:
    """Whether the buttons of a complete answer stand below it."""
    return any(
        part.get("custom_id", "").startswith("pj:up") for row in message.components for part in row["components"]
    )


async def answer(scene: Scene) -> str:
    """A mention, the answer, a reply to it, a reaction."""
    channel = scene.shop.add_text_channel("python-help")
    scene.worker.script |= {"how do I read a file line by line?": [LINES], "and if it is not all UTF-8?": [SPARE]}
    first = await scene.ask(channel, scene.ann, "how do I read a file line by line?")
    await scene.ask(channel, scene.bob, "and if it is not all UTF-8?", reply_to=first)
    await channel.react(scene.ann, first, "👍")
    page = scene.page()
    page.messages(channel.messages)
    return page.html


async def waiting(scene: Scene) -> str:
    """An answer that is being written, somebody who is told of the queue, and the stop button."""
    channel, gate = scene.shop.add_text_channel("lounge"), Gate()
    people = [scene.ann, scene.bob, *(scene.discord.add_user(name) for name in ("Cleo", "Dan", "Eve"))]
    for person in people[2:]:
        scene.shop.add_member(person)
    scene.worker.script["tell me a story"] = ["Once upon a time there was a fox who could not sleep,", gate]
    await channel.say(people[0], "tell me a story", mentions=[scene.discord.bot])
    await channel.until(lambda: channel.answers and channel.answers[0].content)
    for person in people[1:]:
        await channel.say(person, f"good night from {person.name}", mentions=[scene.discord.bot])
    await channel.until("ahead of you")
    page = scene.page()
    page.heading("While others are answered")
    page.messages([m for m in channel.messages if m.author in people[::4] or m.author.bot])
    story = channel.answers[0]
    await channel.press(scene.ann, story, text("button_stop"))
    await channel.until(text("stopped"))
    page.heading("After Ann pressed “Stop”")
    page.messages([story, next(m for m in channel.messages if text("stopped") in m.content)])
    gate.set()
    await channel.until("You said: good night from Eve")
    return page.html


async def used(scene: Scene) -> str:
    """Slash commands and the context menu."""
    channel = scene.shop.add_text_channel("plants")
    scene.worker.script |= {
        "how often do I water a fern?": [FERN],
        "我的蕨类植物有点黄。": ["My fern is a little yellow."],
    }
    ask = await channel.slash(scene.ann, "ask", {"text": "how often do I water a fern?"})
    await channel.until(lambda: ask.response and complete(ask.response))
    foreign = await channel.say(scene.bob, "我的蕨类植物有点黄。")
    translated = await channel.use_on_message(scene.ann, text("menu_translate"), foreign)
    await translated.until("My fern")
    await channel.until(lambda: translated.response and complete(translated.response))
    why = await channel.slash(scene.ann, "why")
    await why.answered()
    page = scene.page()
    page.messages(
        [
            _shown(ask, "Ann used /ask text: how often do I water a fern?"),
            foreign,
            _shown(translated, "Ann used Apps → Translate on Bob’s message"),
            _shown(why, "Ann used /why"),
        ]
    )
    return page.html


async def apps(scene: Scene) -> str:
    """The other entries of the context menu: for everyone, and for whoever used it alone."""
    channel = scene.shop.add_text_channel("opening-hours")
    notice = "Closed on Monday for stocktaking. From Tuesday on we open at nine, and in June also on Sundays until one."
    asked = "are you open on Sunday?"
    short = ["Closed on Monday; from Tuesday open at nine; in June also on Sundays until one."]
    scene.worker.script |= {asked: ["In June, until one o’clock."], notice: short}
    question = await channel.say(scene.bob, asked)
    answered = await channel.use_on_message(scene.ann, text("menu_answer"), question)
    await channel.until(lambda: answered.response and complete(answered.response))
    long = await channel.say(scene.bob, notice)
    summed = await channel.use_on_message(scene.ann, text("menu_summarise"), long)
    await channel.until(lambda: summed.response and complete(summed.response))
    page = scene.page()
    page.messages(
        [
            question,
            _shown(answered, "Ann used Apps → Answer this on Bob’s message"),
            long,
            _shown(summed, "Ann used Apps → Summarise on Bob’s message"),
        ]
    )
    return page.html


async def changed(scene: Scene) -> str:
    """The same question once more, worded anew, and taken away."""
    channel = scene.shop.add_text_channel("roses")
    words, anew = "when do I prune roses?", "when do I prune climbing roses?"
    scene.worker.script |= {words: ["In March, when the forsythia flowers."], anew: ["After they have flowered."]}
    first = await scene.ask(channel, scene.ann, words)
    page = scene.page()
    page.messages(channel.messages)
    scene.worker.script[words] = ["In early spring, before they shoot."]
    await channel.press(scene.ann, first, text("button_regenerate"))
    await channel.until("before they shoot")
    await channel.until(lambda: complete(channel.answers[-1]))
    page.heading("After Ann pressed 🔄")
    page.messages(channel.messages)
    question = next(message for message in channel.messages if message.author is scene.ann)
    await channel.edit(question, question.content.replace(words, anew))
    await channel.until(lambda: channel.texts[1:] == ["After they have flowered."] and complete(channel.answers[-1]))
    page.heading("After Ann edited her question")
    page.messages(channel.messages)
    await channel.delete(question)
    await channel.until(lambda: not channel.messages)
    page.heading("After Ann deleted it: question and answer are gone, and purged")
    return page.html


async def places(scene: Scene) -> str:
    """A forum post, direct messages, and a channel in which the bot may not write."""
    forum = scene.shop.add_forum("questions")
    asked, more = "Can I plant tomatoes already?", "And in a greenhouse?"
    scene.worker.script |= {
        asked: ["Wait until the nights stay above ten degrees."],
        more: ["From the middle of April."],
    }
    post = await forum.post(scene.bob, "Tomatoes", f"{scene.discord.bot.mention} {asked}")
    await post.until(lambda: post.answers and complete(post.answers[-1]))
    await post.say(scene.ann, more)
    await post.until(lambda: len(post.answers) == 2 and complete(post.answers[-1]))
    page = scene.page()
    page.heading("A forum post: asked once, it goes on without a mention, also for others")
    page.messages(post.messages)
    private, alone = scene.discord.dm(scene.bob), "which soil for a cactus?"
    scene.worker.script[alone] = ["A sandy one, with little humus."]
    await private.say(scene.bob, alone)
    await private.until(lambda: private.answers and complete(private.answers[-1]))
    page.heading("Direct messages")
    page.messages(private.messages)
    closed = scene.shop.add_text_channel("rules")
    closed.deny(scene.discord.bot, "send_messages")
    told = len(private.answers)
    await closed.say(scene.bob, "may I bring my dog?", mentions=[scene.discord.bot])
    await private.until(lambda: len(private.answers) > told)
    page.heading("Where the bot may not write, it says so in private")
    page.messages([*closed.messages, private.answers[-1]])
    return page.html


async def feedback(scene: Scene) -> str:
    """👎, its form, and what is said then."""
    channel = scene.shop.add_text_channel("garden")
    scene.worker.script["when do tulips flower?"] = ["Tulips flower in autumn."]
    wrong = await scene.ask(channel, scene.ann, "when do tulips flower?")
    page = scene.page()
    page.messages(channel.messages)
    pressed = await channel.press(scene.bob, wrong, "👎")
    comment = "They flower in spring."
    page.heading("Bob pressed 👎")
    page.form(await pressed.opened(), comment)
    sent = await pressed.submit({"comment": comment})
    await sent.answered()
    page.messages([_shown(sent)])
    return page.html


async def managed(scene: Scene) -> str:
    """Settings, a refusal, privacy."""
    channel, owner = scene.shop.add_text_channel("help-desk"), scene.discord.owner
    given = {"name": "answer", "value": "always", "here": "channel"}
    changed = await channel.slash(owner, "settings", given)
    await changed.answered()
    persona = await channel.slash(owner, "persona", {"text": "You are a friendly gardener.", "here": "channel"})
    await persona.answered()
    refused = await channel.slash(scene.ann, "persona", {"text": "You are a pirate."})
    await refused.answered()
    export = await channel.slash(scene.ann, "privacy", {"action": "export"})
    await export.answered()
    out = await channel.slash(scene.ann, "privacy", {"action": "opt-out"})
    await out.answered()
    page = scene.page()
    page.messages(
        [
            _shown(changed, "Owner used /settings name: answer value: always here: channel"),
            _shown(persona, "Owner used /persona text: You are a friendly gardener. here: channel"),
            _shown(refused, "Ann used /persona text: You are a pirate."),
            _shown(export, "Ann used /privacy action: export"),
            _shown(out, "Ann used /privacy action: opt-out"),
        ]
    )
    await (await channel.slash(scene.ann, "privacy", {"action": "opt-in"})).answered()
    return page.html


async def long(scene: Scene) -> str:
    """An answer in two messages with a code fence across the cut, and one that became a file."""
    channel = scene.shop.add_text_channel("long-answers")
    scene.worker.script |= {"a table of squares": [TABLE], "a very long story": [BOOK]}
    await scene.ask(channel, scene.ann, "a table of squares")
    page = scene.page()
    page.heading("Longer than 2,000 characters: the code block goes on in the next message")
    page.messages(channel.messages)
    squares = len(channel.messages)
    await channel.say(scene.ann, "a very long story", mentions=[scene.discord.bot])
    await channel.until(lambda: channel.answers[-1].attachments)
    told = channel.messages[squares:]
    page.heading("Longer than five messages: the whole is a file below the fifth")
    page.messages([told[0], told[-1]])
    return page.html


async def chinese(scene: Scene) -> str:
    """A Chinese guild, and a thread that goes on without a mention."""
    tea, mei = scene.discord.add_user("梅", locale="zh-CN"), scene.discord.add_user("小林", locale="zh-CN")
    channel = scene.discord.add_guild("茶馆", members=[tea, mei], locale="zh-CN").add_text_channel("茶馆")
    thread = await channel.start_thread(tea, "绿茶")
    asked, more = "绿茶用多少度的水？", "那泡多久呢？"
    scene.worker.script |= {asked: ["大约 80 度。水太烫会让茶变苦。"], more: ["两分钟左右，第二泡可以短一些。"]}
    await scene.ask(thread, tea, asked)
    before = len(thread.answers)
    await thread.say(mei, more)
    await thread.until(lambda: len(thread.answers) > before and complete(thread.answers[-1]))
    page = scene.page()
    page.messages(thread.messages)
    return page.html


def _shown(interaction: Interaction, by: str = "") -> Shown:
    told = [*interaction.followups, interaction.response] if interaction.type != 2 else [interaction.response]
    message = next(one for one in told if one is not None)
    return Shown(message, by)


PICTURES: dict[str, Callable[[Scene], Awaitable[str]]] = {
    "answer": answer,
    "waiting": waiting,
    "commands": used,
    "apps": apps,
    "changed": changed,
    "places": places,
    "feedback": feedback,
    "managed": managed,
    "long": long,
    "chinese": chinese,
}


@asynccontextmanager
async def bot(settings: Settings) -> AsyncIterator[None]:
    """`pajama bot discord` as a process."""
    names = ("data_dir", "database_url", "redis_url", "redis_prefix", "discord_api_base", "discord_gateway_url")
    environment = {variable(name): str(getattr(settings, name)) for name in names}
    environment[variable("discord_token")] = settings.discord_token.get_secret_value()
    with (settings.data_dir / "bot.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pajama", "bot", "discord", env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def pages(folder: Path, redis_url: str) -> list[tuple[Path, str]]:
    """Play every scene."""
    async with StandInDiscord() as discord:
        ann, bob = discord.add_user("Ann"), discord.add_user("Bob")
        shop = discord.add_guild("The garden shop", members=[ann, bob])
        settings = Settings(
            data_dir=folder,
            database_url=f"sqlite:///{folder / 'pajama.db'}",
            redis_url=redis_url,
            discord_token=discord.token,
            discord_api_base=discord.api_base,
            discord_gateway_url=discord.gateway_url,
        )
        upgrade(settings.database_url)
        worker = ScriptedWorker(settings).start()
        try:
            async with bot(settings):
                await discord.until_connected()
                await discord.until_commands("ask")
                scene = Scene(discord, worker, shop, ann, bob)
                return [(IMAGES / f"discord-{name}.png", await play(scene)) for name, play in PICTURES.items()]
        finally:
            worker.close()


def main() -> None:
    """Play, then draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = EmbeddedValkey(folder / "valkey")
        try:
            drawn = asyncio.run(pages(folder, valkey.start()))
        finally:
            valkey.stop()
    take(drawn)


if __name__ == "__main__":
    main()
