"""What admins set is kept to on Slack: whether and whom it answers, and where; and who sees what in the App Home."""

from __future__ import annotations

import pytest

from bots.texts import text
from core import workspaces
from core.service import Service
from core.values import Person
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.asking import anywhere, ask
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

REFUSED = text("error_access")


@pytest.fixture
def random(acme: Team) -> Channel:
    return acme.add_channel("random")


def read(channel: Channel) -> list[str]:
    """What the bot wrote there."""
    return [answer.read for answer in channel.answers]


class TestWhatIsAnswered:
    async def test_unless_it_is_set_only_what_is_said_to_the_bot(
        self, bot: Bot, worker: ScriptedWorker, general: Channel, ann: User
    ) -> None:
        await general.say(ann, "among us")
        await ask(bot, general, ann, "hello")
        assert read(general) == ["You said: hello"]

    async def test_always_answers_each_message_that_is_to_nobody_else(
        self, bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, random: Channel,
        ann: User, bob: User,
    ) -> None:  # fmt: skip
        await service.change_setting(anywhere(acme), "answer", "always")
        asked = await general.say(ann, "what is up?")
        await general.say(ann, f"{bob.mention} lunch?")
        await random.say(ann, "and here?")
        await general.until("You said: what is up?")
        await random.until("You said: and here?")
        await bot.settled()
        assert [(answer.read, answer.thread_ts) for answer in general.answers] == [("You said: what is up?", asked.ts)]

    async def test_never_answers_no_mention_in_channels_and_direct_messages_all_the_same(
        self, bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User
    ) -> None:
        question = await ask(bot, general, ann, "before")
        typed = "settings answer never"
        assert await (await acme.slash(acme.owner, general, "/pajama", typed)).acknowledged()
        await general.say(ann, "<@BOT> hello")
        await general.say(ann, "on with it", thread=question)
        await acme.dm(ann).say(ann, "hello")
        await acme.dm(ann).until("You said: hello")
        await bot.settled()
        assert read(general) == ["You said: before"] and len(worker.answered) == 2

    async def test_what_is_set_for_a_channel_goes_before_what_is_set_for_all(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, random: Channel,
        ann: User,
    ) -> None:  # fmt: skip
        for channel, typed in ((random, "settings answer never"), (general, "settings answer here=channel always")):
            assert await (await acme.slash(acme.owner, channel, "/pajama", typed)).acknowledged()
        await general.say(ann, "what is up?")
        await random.say(ann, "<@BOT> hello")
        await general.until("You said: what is up?")
        await bot.settled()
        assert read(random) == []

    async def test_a_recipe_of_a_channel_is_for_what_is_said_there_alone(
        self, bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, random: Channel,
        ann: User,
    ) -> None:  # fmt: skip
        typed = "settings recipe here=channel translate"
        assert await (await acme.slash(acme.owner, general, "/pajama", typed)).acknowledged()
        recipes = []
        for channel in (general, random):
            question = await channel.say(ann, "<@BOT> hello")
            await channel.until(lambda channel=channel: channel.answers)  # type: ignore[misc]
            await bot.settled()
            place = anywhere(acme).model_copy(update={"conversation": f"{channel.id}:{question.ts}"})
            recipes += [turn.recipe for turn in await service.history(place)]
        assert recipes == ["translate", "chat"]


class TestWhoIsAnswered:
    @pytest.mark.parametrize(("setting", "answered"), [("allowed_users", "Ann"), ("blocked_users", "Bob")])
    async def test_somebody_who_is_not_is_told_so_where_they_asked(
        self, bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, ann: User, bob: User,
        setting: str, answered: str,
    ) -> None:  # fmt: skip
        await service.change_setting(anywhere(acme), setting, ann.id)
        asked = {user.name: await general.say(user, "<@BOT> hello") for user in (ann, bob)}
        await general.until("You said: hello")
        await general.until(REFUSED)
        await bot.settled()
        refused = "Bob" if answered == "Ann" else "Ann"
        below = {answer.thread_ts: answer.read for answer in general.answers}
        assert below == {asked[answered].ts: "You said: hello", asked[refused].ts: REFUSED}

    async def test_nobody_is_in_a_channel_that_is_not_among_those_that_are_allowed(
        self, bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, random: Channel, ann: User
    ) -> None:
        typed = f"settings allowed_channels <#{general.id}|general>"
        assert await (await acme.slash(acme.owner, random, "/pajama", typed)).acknowledged()
        for channel in (general, random):
            await channel.say(ann, "<@BOT> hello")
        await general.until("You said: hello")
        await random.until(REFUSED)
        await bot.settled()
        assert read(general) == ["You said: hello"] and read(random) == [REFUSED]


class TestHome:
    async def test_everybody_sees_help_and_what_is_kept_and_only_admins_what_is_set(
        self, bot: Bot, service: Service, slack: StandInSlack, acme: Team, ann: User
    ) -> None:
        await service.change_setting(anywhere(acme), "answer", "always")
        for user in (ann, acme.owner):
            await acme.open_home(user)
            await slack.until(lambda user=user: acme.home(user))  # type: ignore[misc]
        await bot.settled()
        hers, admins = (str(acme.home(user).blocks) for user in (ann, acme.owner))  # type: ignore[union-attr]
        for home in (hers, admins):
            assert text("command_translate") in home and text("privacy_what") in home
        assert all(f"`{name}`" in admins for name in workspaces.NAMES) and text("settings_head") in admins
        assert text("settings_head") not in hers and "turns_per_day" not in hers

    async def test_who_opted_out_reads_that_there(
        self, bot: Bot, service: Service, slack: StandInSlack, acme: Team, ann: User
    ) -> None:
        await service.privacy.opt_out(anywhere(acme), Person(id=ann.id), True)
        await acme.open_home(ann)
        await slack.until(lambda: acme.home(ann))
        assert text("privacy_is_out") in str(acme.home(ann).blocks)  # type: ignore[union-attr]
