"""Takes the pictures of docs/slack.md: `python docs/slack_pictures.py`, from the repository's root.

The real bot, as a process of its own, talks to the stand-in Slack of the tests; what people then read is drawn by
`thread_picture` in a plain style, which is not Slack's. The answers come from a script and not from a model, so that the
pictures show the bot and not a model. The pages on which an app is set up are drawings. Needs Chromium, Pillow, and fonts
with Chinese and emoji.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from chat_picture import take
from thread_picture import Page, Shown, Step

from bots.slack.manifest import INSTALL_PATH
from bots.texts import text
from core.database import upgrade
from core.settings import Settings, variable
from pajama.valkey import EmbeddedValkey
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

IMAGES = Path(__file__).parent / "images"

FERN = "Water it when the top of the soil feels dry, and keep it out of the midday sun."
POTS = "| pot | every |\n|---|---|\n| small | 2 days |\n| large | 5 days |\n\nLess in winter."
SUMMARY = "They move the delivery to Friday; Bob tells the nursery, and Ann keeps the truck free."


@dataclass
class Scene:
    """The world of the pictures: a workspace, its people, the worker's script."""

    slack: StandInSlack
    worker: ScriptedWorker
    shop: Team
    ann: User
    bob: User
    url: str

    def page(self) -> Page:
        """An empty picture."""
        return Page(self.shop)

    async def ask(self, channel: Channel, person: User, words: str, thread: Message | None = None) -> Message:
        """Ask, and wait for the complete answer; the question."""
        before = len(channel.answers)
        question = await channel.say(person, words, thread=thread)
        await channel.until(lambda: len(channel.answers) > before and complete(channel.answers[-1]))
        return question

    async def private(self, channel: Channel, person: User, words: str) -> Message:
        """What is shown to one person only, once it is there."""
        await self.slack.until(lambda: [m for m in channel.seen_by(person) if m.ephemeral and words in m.read])
        return [m for m in channel.seen_by(person) if m.ephemeral and words in m.read][-1]


def complete(message: Message) -> bool:
    """Whether the buttons of a complete answer stand below it."""
    return any(element.get("action_id") == "pajama_again" for b in message.blocks for element in b.get("elements", ()))


async def answer(scene: Scene) -> str:
    """A mention, the answer in its thread, a follow-up without a mention, a reaction."""
    channel = scene.shop.add_channel("plants")
    scene.worker.script |= {"how often do I water a fern?": [FERN], "and by the size of the pot?": [POTS]}
    question = await scene.ask(channel, scene.ann, "<@BOT> how often do I water a fern?")
    await channel.react(scene.ann, channel.answers[0], "+1")
    await scene.ask(channel, scene.bob, "and by the size of the pot?", question)
    page = scene.page()
    page.heading("#plants")
    page.messages(channel.messages)
    return page.html


async def waiting(scene: Scene) -> str:
    """An answer that is being written, and somebody who is told of the queue."""
    channel, gate = scene.shop.add_channel("lounge"), Gate()
    scene.worker.script["tell me a story"] = ["Once upon a time there was a fox who could not sleep,", gate]
    people = [scene.ann, scene.bob, *(scene.shop.add_user(name) for name in ("Cleo", "Dan", "Eve"))]
    channel.members |= {person.id: person for person in people}
    await channel.say(scene.ann, "<@BOT> tell me a story")
    await channel.until("Once upon")
    for person in people[1:]:
        await channel.say(person, f"<@BOT> good night from {person.name}")
    told = await scene.private(channel, people[-1], text("ahead", count=3))
    page = scene.page()
    page.heading("While others are answered")
    page.messages([m for m in channel.messages if m.author in (scene.ann, people[-1]) or "Once" in m.read])
    page.messages([Shown(told)])
    await scene.shop.slash(scene.ann, channel, "/pajama", "stop")
    stopped = await scene.private(channel, scene.ann, text("stopped"))
    page.heading("Ann typed /pajama stop; Slack's own stop button does the same")
    page.messages([Shown(stopped)])
    gate.set()
    await channel.until("good night from Eve")
    return page.html


async def used(scene: Scene) -> str:
    """The slash command, a shortcut on a thread, why."""
    channel = scene.shop.add_channel("deliveries")
    scene.worker.script |= {
        "translate this": ["这盆蕨类植物有点黄。"],
        "This fern is a little yellow.": ["这盆蕨类植物有点黄。"],
    }
    await scene.shop.slash(scene.ann, channel, "/pajama", "translate to=zh This fern is a little yellow.")
    await channel.until("这盆蕨类植物")
    await channel.until(lambda: complete(channel.answers[-1]))
    page = scene.page()
    page.heading("/pajama translate to=zh This fern is a little yellow.")
    page.messages(channel.messages)
    root = await channel.say(scene.bob, "The truck has broken down, can we deliver on Friday?")
    await channel.say(scene.ann, "Friday is fine, tell the nursery. I keep the other truck free.", thread=root)
    scene.worker.script |= {_thread(root): [SUMMARY]}
    before = len(channel.answers)
    await scene.shop.shortcut(scene.ann, root, "pajama_summarise")
    await channel.until(lambda: len(channel.answers) > before and complete(channel.answers[-1]))
    page.heading(f"Ann chose “{text('menu_summarise_thread')}” in the menu of Bob’s message")
    page.messages(channel.thread(root))
    await scene.shop.slash(scene.ann, channel, "/pajama", "why")
    why = await scene.private(channel, scene.ann, text("why_tokens"))
    page.heading("/pajama why")
    page.messages([Shown(why)])
    return page.html


def _thread(root: Message) -> str:
    return "\n\n".join(f"{each.author.name}: {each.text}" for each in root.channel.thread(root))


async def feedback(scene: Scene) -> str:
    """👎 and its form."""
    channel = scene.shop.add_channel("garden")
    scene.worker.script["when do tulips flower?"] = ["Tulips flower in autumn."]
    await scene.ask(channel, scene.ann, "<@BOT> when do tulips flower?")
    page = scene.page()
    page.messages(channel.messages)
    pressed = await scene.shop.press(scene.bob, channel.answers[0], "pajama_rate", "👎")
    page.heading("Bob pressed 👎")
    page.form(await pressed.opened(), "They flower in spring.")
    return page.html


async def home(scene: Scene) -> str:
    """The App Home, and what a chat with the app offers."""
    dm = await scene.shop.open_home(scene.ann)
    await scene.slack.until(lambda: scene.shop.home(scene.ann))
    await scene.shop.open_home(scene.ann, "messages")
    await scene.slack.until(lambda: dm.assistance.prompts)
    view = scene.shop.home(scene.ann)
    assert view is not None
    page = scene.page()
    page.heading("Home")
    page.home(view)
    page.heading("Messages: a new chat offers")
    page.offers(prompt["title"] for prompt in dm.assistance.prompts)
    return page.html


async def managed(scene: Scene) -> str:
    """Settings, a refusal, privacy."""
    channel, owner = scene.shop.add_channel("help-desk"), scene.shop.owner
    page = scene.page()
    for person, typed, says in (
        (owner, "settings answer here=channel always", "always"),
        (owner, "persona here=channel You are a friendly gardener.", "gardener"),
        (scene.ann, "persona You are a pirate.", text("error_admin")),
        (scene.ann, "privacy opt-out", text("privacy_opted_out")[:30]),
    ):
        await scene.shop.slash(person, channel, "/pajama", typed)
        page.messages([Shown(await scene.private(channel, person, says), f"{person.name} typed /pajama {typed}")])
    await scene.shop.slash(scene.ann, channel, "/pajama", "privacy opt-in")
    await scene.private(channel, scene.ann, text("privacy_opted_in")[:30])
    return page.html


async def chinese(scene: Scene) -> str:
    """A thread in Chinese."""
    mei, lin = scene.shop.add_user("梅", locale="zh-CN"), scene.shop.add_user("小林", locale="zh-CN")
    channel = scene.shop.add_channel("茶馆", members=[mei, lin])
    asked, more = "绿茶用多少度的水？", "那泡多久呢？"
    scene.worker.script |= {asked: ["大约 80 度。水太烫会让茶变苦。"], more: ["两分钟左右，第二泡可以短一些。"]}
    question = await scene.ask(channel, mei, f"<@BOT> {asked}")
    await scene.ask(channel, lin, more, question)
    page = scene.page()
    page.messages(channel.messages)
    return page.html


PICTURES: dict[str, Callable[[Scene], Awaitable[str]]] = {
    "answer": answer,
    "waiting": waiting,
    "commands": used,
    "feedback": feedback,
    "home": home,
    "managed": managed,
    "chinese": chinese,
}


def setting_up(team: Team) -> dict[str, str]:
    """The pages on which an app is made, as drawings."""
    screens = {
        "app": ("api.slack.com/apps", "Your Apps", [
            Step("press", "Create New App"),
            Step("press", "From a manifest"),
            Step("field", "Pick a workspace"),
            Step("field", "YAML", "paste what `pajama slack manifest` prints, in the place of what stands there"),
            Step("press", "Create"),
        ]),
        "socket": ("api.slack.com/apps/…/general", "Basic Information → App-Level Tokens", [
            Step("press", "Generate Token and Scopes"),
            Step("field", "connections:write", "the only scope that it needs"),
            Step("press", "Generate"),
            Step("field", "xapp-1-…", "copy it: PAJAMA_SLACK_APP_TOKEN"),
        ]),
        "install": ("api.slack.com/apps/…/install-on-team", "Install App", [
            Step("press", "Install to your workspace", "Slack shows what the app may do"),
            Step("press", "Allow"),
            Step("field", "xoxb-…", "the Bot User OAuth Token; copy it: PAJAMA_SLACK_BOT_TOKEN"),
        ]),
        "http": ("api.slack.com/apps/…/general", "Basic Information → App Credentials", [
            Step("field", "Signing Secret", "copy it: PAJAMA_SLACK_SIGNING_SECRET"),
            Step("place", "Event Subscriptions", "once the bot runs: press Retry beside the request URL"),
            Step("field", "https://…/slack/events", "should say Verified"),
        ]),
        "oauth": ("api.slack.com/apps/…/general", "Basic Information → App Credentials", [
            Step("field", "Client ID", "copy it: PAJAMA_SLACK_CLIENT_ID"),
            Step("field", "Client Secret", "copy it: PAJAMA_SLACK_CLIENT_SECRET"),
            Step("place", "Manage Distribution", "Activate Public Distribution, so that other workspaces may install it"),
        ]),
    }  # fmt: skip
    drawn = {}
    for name, (address, title, steps) in screens.items():
        page = Page(team)
        page.screen(address, title, steps)
        drawn[f"setup-{name}"] = page.html
    return drawn


async def installing(scene: Scene) -> dict[str, str]:
    """The pages of our own on which a workspace installs the app, as they are."""
    brick = scene.slack.add_team("Brick & Sons", users=["Ann"], installed=False)
    async with aiohttp.ClientSession() as session, session.get(f"{scene.url}{INSTALL_PATH}") as told:
        before = await told.text()
    after = (await install(brick, brick.user("Ann"), f"{scene.url}{INSTALL_PATH}")).text
    body = [page.partition("<body>")[2].partition("</body>")[0] for page in (before, after)]
    style = before.partition("<style>")[2].partition("</style>")[0].replace("15vh auto", "0 auto")
    style += "main { padding: 4px 24px 16px } h1 { font-size: 22px }"
    return {"installing": f"<style>{style}</style><main>{'<hr>'.join(body)}</main>"}


@asynccontextmanager
async def bot(settings: Settings) -> AsyncIterator[None]:
    """`pajama bot slack` as a process."""
    names = (
        "data_dir", "database_url", "redis_url", "redis_prefix", "slack_api_base", "slack_client_id", "slack_public_url",
        "slack_http_port",
    )  # fmt: skip
    environment = {variable(name): str(getattr(settings, name)) for name in names}
    for name in ("slack_bot_token", "slack_app_token", "slack_client_secret"):
        environment[variable(name)] = getattr(settings, name).get_secret_value()
    with (settings.data_dir / "bot.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pajama", "bot", "slack", env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def pages(folder: Path, redis_url: str) -> list[tuple[Path, str]]:
    """Play every scene."""
    async with StandInSlack() as slack:
        slack.limits.enabled = False
        shop = slack.add_team("The garden shop", users=["Ann", "Bob"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = Settings(
            data_dir=folder,
            database_url=f"sqlite:///{folder / 'pajama.db'}",
            redis_url=redis_url,
            slack_bot_token=shop.bot_token,
            slack_app_token=slack.app_token,
            slack_api_base=slack.api_base,
        )
        upgrade(settings.database_url)
        worker = ScriptedWorker(settings).start()
        url = f"http://127.0.0.1:{port}"
        scene = Scene(slack, worker, shop, shop.user("Ann"), shop.user("Bob"), url)
        secret = type(settings.slack_bot_token)
        by_oauth = settings.model_copy(
            update={
                "slack_bot_token": secret(""), "slack_client_id": slack.client_id, "slack_http_port": port,
                "slack_client_secret": secret(slack.client_secret), "slack_public_url": url,
            }
        )  # fmt: skip
        try:
            drawn = setting_up(shop)
            async with bot(settings):
                await slack.until_connected()
                drawn |= {name: await play(scene) for name, play in PICTURES.items()}
            await slack.until_disconnected()
            async with bot(by_oauth):
                await slack.until_connected()
                drawn |= await installing(scene)
        finally:
            worker.close()
    return [(IMAGES / f"slack-{name}.png", html) for name, html in drawn.items()]


def main() -> None:
    """Play, then draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = EmbeddedValkey(folder / "valkey")
        try:
            drawn = asyncio.run(pages(folder, valkey.start()))
        except BaseException:
            sys.stderr.write((folder / "bot.log").read_text(errors="replace")[-4000:])
            raise
        finally:
            valkey.stop()
    take(drawn)


if __name__ == "__main__":
    main()
