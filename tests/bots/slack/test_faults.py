"""What goes wrong on the way to Slack and back: every message is answered once and whole all the same.

What Slack does to streams is in `test_streams.py`, the way of events in `test_connection.py`, ends of the bot in
`test_crashes.py`.
"""

from __future__ import annotations

import pytest

from bots.slack import server, sink, sinks, wire
from bots.slack.budget import POST, SHARE, START, UPDATE, SendBudget
from bots.slack.manifest import INSTALL_PATH
from bots.slack.pace import APPENDS_PER_S
from core.service import Service
from core.settings import Settings
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot, by_oauth
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.calls import UPLOAD
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

FLOOD = 22
"""More than may be streamed in a minute."""

LONG = [f"Line {number} of an answer.\n" for number in range(1_800)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "APPENDS_PER_S", 100 * APPENDS_PER_S)
    monkeypatch.setattr(sink, "WAITING_S", 0.02)
    monkeypatch.setattr(wire, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(server, "_PING_S", 0.2)  # a broken connection is noticed sooner


def new_dm(team: Team, name: str) -> Channel:
    return team.dm(team.add_user(name))


async def ask(dm: Channel, words: str) -> None:
    assert dm.person is not None
    await dm.say(dm.person, words)


def reads(channel: Channel) -> list[str]:
    return [answer.read for answer in channel.answers]


async def use_up_streams(service: Service, team: Team) -> None:
    while await SendBudget(service, team.id).spare(START):
        pass


class TestEventsThatComeAgain:
    @pytest.mark.parametrize("mention_first", [True, False])
    async def test_a_mention_and_its_message_at_two_processes_are_one_question(
        self, bot: Bot, second_bot: Bot, worker: ScriptedWorker, slack: StandInSlack, general: Channel, ann: User,
        mention_first: bool,
    ) -> None:  # fmt: skip
        slack.mention_first = mention_first
        for name in ("app_mention", "message"):
            slack.deliveries.repeat(name)
        await general.say(ann, "<@BOT> hello")
        await slack.deliveries.until_over()
        await general.until("You said: hello")
        await bot.settled()
        assert reads(general) == ["You said: hello"] and len(worker.answered) == 1

    async def test_what_slack_does_not_hear_to_be_taken_comes_again_and_is_one_question(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, general: Channel, ann: User
    ) -> None:
        slack.deliveries.acknowledge_s, slack.deliveries.retry_after_s = 0.1, (0.0, 0.0, 0.0)
        slack.sockets.acknowledges = False
        await general.say(ann, "<@BOT> hello")
        await slack.deliveries.until_over()
        slack.sockets.acknowledges = True
        await general.until("You said: hello")
        await bot.settled()
        assert [len(told.attempts) for told in slack.deliveries.named("app_mention")] == [4]
        assert reads(general) == ["You said: hello"] and len(worker.answered) == 1

    async def test_a_post_that_comes_again_is_one_question_whether_it_says_so_or_not(
        self, by_http: Bot, worker: ScriptedWorker, slack: StandInSlack, general: Channel, ann: User
    ) -> None:
        await general.say(ann, "<@BOT> hello")
        await slack.deliveries.until_over()
        for told in list(slack.deliveries.sent):
            signed = slack.poster.signed(told.attempts[0].body)
            for retried in (
                {},
                *({"X-Slack-Retry-Num": number, "X-Slack-Retry-Reason": "http_timeout"} for number in "123"),
            ):
                assert (await slack.poster.post(told.attempts[0].body, signed | retried)).status == 200
        await general.until("You said: hello")
        await by_http.settled()
        assert reads(general) == ["You said: hello"] and len(worker.answered) == 1


class TestConnections:
    async def test_an_outage_in_mid_answer_costs_no_word(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, gate: Gate
    ) -> None:
        dm = acme.dm(ann)
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await ask(dm, "slow")
        await dm.until("alpha")
        await slack.deliveries.until_over()
        await slack.stop()
        gate.set()
        await slack.start()
        await slack.until_connected()
        await ask(dm, "and now?")
        await dm.until("You said: and now?")
        await bot.settled()
        assert reads(dm) == ["alpha omega", "You said: and now?"]

    async def test_a_connection_that_falls_silent_is_made_anew(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
    ) -> None:
        silent = slack.sockets.connection
        silent.freeze()
        slack.deliveries.acknowledge_s, slack.deliveries.retry_after_s = 0.2, (0.0,) * 50
        await ask(acme.dm(ann), "hello")
        await acme.dm(ann).until("You said: hello")
        silent.thaw()
        await bot.settled()
        assert reads(acme.dm(ann)) == ["You said: hello"]

    @pytest.mark.parametrize("answer", [429, 500, "reset", "internal_error"])
    async def test_a_start_outlasts_a_slack_that_gives_no_connection(
        self, idle_bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, answer: int | str
    ) -> None:
        for method in ("auth.test", "apps.connections.open"):
            slack.faults.add(method, answer)
        await idle_bot.start()
        await ask(acme.dm(ann), "hello")
        await acme.dm(ann).until("You said: hello")
        await idle_bot.settled()

    @pytest.mark.parametrize("answer", [429, 500, "reset", "internal_error"])
    async def test_so_does_a_connection_that_is_made_anew(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, answer: int | str
    ) -> None:
        slack.faults.add("apps.connections.open", answer)
        await slack.sockets.connection.disconnect()
        await slack.until(lambda: slack.sockets.opened == 2)
        await ask(acme.dm(ann), "hello")
        await acme.dm(ann).until("You said: hello")
        await bot.settled()


WRITES = ("chat.startStream", "chat.appendStream", "chat.stopStream", POST, UPDATE, "chat.delete", SHARE)
LIMITED = (
    *WRITES, "files.getUploadURLExternal", "users.info", "assistant.threads.setStatus", "agents.sessions.setStatus",
    "assistant.threads.setSuggestedPrompts", "views.publish", "views.open", "chat.postEphemeral", "conversations.open",
    "conversations.replies",
)  # fmt: skip


class TestLimits:
    async def test_every_method_that_is_refused_once_is_waited_for(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel,
        ann: User, gate: Gate,
    ) -> None:  # fmt: skip
        begin, end = Gate(), Gate()
        worker.script |= {"slow": [begin, "alpha ", gate, "beta ", end, "omega"], "long": LONG}
        slow, short, long, gone = (new_dm(acme, name) for name in ("Cleo", "Dan", "Eve", "Fay"))
        for method in LIMITED:
            slack.faults.add(method, 429)
        await acme.open_home(ann)
        await acme.open_home(ann, "messages")
        await ask(slow, "slow")
        await slack.until(lambda: ("assistant.threads.setStatus", 429) in slack.faults.struck)
        begin.set()
        await slow.until("alpha")
        gate.set()
        await slow.until("beta")
        end.set()
        await slow.until("omega")
        await use_up_streams(service, acme)
        await ask(short, "short")
        await ask(long, "long")
        await ask(gone, "gone")
        await short.until("You said: short")
        await gone.until("You said: gone")
        await gone.delete(gone.messages[0])
        await acme.press(ann, short.answers[0], "pajama_rate", "👎")
        await acme.slash(ann, general, "/pajama", "help")
        await acme.slash(ann, general, "/pajama", "privacy export")
        await acme.shortcut(ann, await general.say(ann, "shall we meet?"), "pajama_summarise")
        await general.until("shall we meet?")
        await slack.until(lambda: {method for method, _ in slack.faults.struck} >= set(LIMITED))
        await bot.settled()
        assert reads(slow) == ["alpha beta omega"] and reads(short) == ["You said: short"] and gone.answers == []
        assert [file.content.decode() for answer in long.answers for file in answer.files] == ["".join(LONG)]
        assert len(long.answers) == sink.MAX_CHUNKS + 1


class TestWrites:
    @pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
    async def test_servers_that_fail_at_any_write_cost_no_word_and_repeat_none(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, work_done: bool
    ) -> None:
        slack.limits.commercial = False  # a thread is looked up once a minute else
        await use_up_streams(service, acme)  # streams have tests of their own
        for answer in (500, "reset", "internal_error"):
            for method in (POST, UPDATE, "chat.delete"):
                dm = new_dm(acme, f"{method} {answer}")
                slack.faults.add(method, answer, work_done=work_done)
                await ask(dm, "hello")
                await dm.until("You said: hello")
                await bot.settled()
                assert reads(dm) == ["You said: hello"]
                await dm.delete(dm.messages[0])
                await dm.until(lambda dm=dm: not dm.answers)  # type: ignore[misc]
                await bot.settled()
        assert len(slack.faults.struck) == 9

    @pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("method", ["files.getUploadURLExternal", UPLOAD, SHARE])
    async def test_a_file_is_there_once(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, method: str, work_done: bool
    ) -> None:  # fmt: skip
        worker.script["long"] = LONG
        slack.faults.add(method, "reset", work_done=work_done)
        await ask(acme.dm(ann), "long")
        await bot.settled()
        await slack.until(lambda: slack.faults.struck)
        await bot.settled()
        assert [len(answer.files) for answer in acme.dm(ann).answers] == [0] * sink.MAX_CHUNKS + [1]

    @pytest.mark.parametrize("refusal", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"])
    @pytest.mark.parametrize("method", [START, POST])
    async def test_a_beginning_that_slack_does_not_take_comes_another_way(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, refusal: str, method: str
    ) -> None:  # fmt: skip
        for refused in {START, method}:
            slack.faults.add(refused, refusal)
        await ask(acme.dm(ann), "hello")
        await acme.dm(ann).until("You said: hello")
        await bot.settled()
        assert reads(acme.dm(ann)) == ["You said: hello"]


class TestWhoChangesTheirMind:
    """While there is only a placeholder; streams have tests of their own."""

    async def test_a_question_that_is_edited_is_answered_as_it_is_now(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
    ) -> None:  # fmt: skip
        dm = acme.dm(ann)
        await self._think(service, worker, acme, dm, gate)
        slack.faults.add("chat.delete", 500, times=2)
        await dm.edit(dm.messages[0], "quick")
        await dm.until("You said: quick")
        gate.set()
        await bot.settled()
        assert reads(dm) == ["You said: quick"]

    async def test_a_question_that_is_deleted_leaves_nothing(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
    ) -> None:  # fmt: skip
        dm = acme.dm(ann)
        await self._think(service, worker, acme, dm, gate)
        slack.faults.add("chat.delete", 500, times=2)
        await dm.delete(dm.messages[0])
        await dm.until(lambda: not dm.answers)
        gate.set()
        await bot.settled()
        assert dm.messages == []

    async def _think(self, service: Service, worker: ScriptedWorker, team: Team, dm: Channel, gate: Gate) -> None:
        await use_up_streams(service, team)
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await ask(dm, "slow")
        await dm.until("Thinking")


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk uses it for oauth.v2.access
class TestWorkspacesThatFlood:
    @pytest.fixture
    def acme(self, slack: StandInSlack) -> Team:
        return slack.add_team("Acme", users=["Ann"], installed=False)

    @pytest.fixture
    def settings(self, settings: Settings, slack: StandInSlack) -> Settings:
        return by_oauth(settings, slack)

    @pytest.fixture
    async def teams(self, bot: Bot, settings: Settings, slack: StandInSlack, acme: Team) -> list[Team]:
        """Two workspaces that installed the app."""
        teams = [acme, slack.add_team("Brick", users=["Ann"], installed=False)]
        for team in teams:
            await install(team, team.user("Ann"), f"{settings.slack_public_url}{INSTALL_PATH}")
        return teams

    async def test_each_is_answered_within_its_own_limits(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, teams: list[Team]
    ) -> None:
        dms = [new_dm(team, f"Person {number}") for number in range(FLOOD) for team in teams]
        for dm in dms:
            await ask(dm, "hello")
        await slack.until(lambda: all(reads(dm) == ["You said: hello"] for dm in dms))
        await bot.settled()
        assert slack.limits.exceeded == []
        assert len(slack.requests_to(START)) < len(dms)  # the others came whole

    async def test_one_that_slack_holds_up_holds_up_nobody_else(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, teams: list[Team]
    ) -> None:
        acme, brick = teams
        for method in WRITES:
            slack.faults.add(method, 429, times=1_000, retry_after_s=600, team_id=acme.id)
        dms = {team: [new_dm(team, f"Person {number}") for number in range(5)] for team in teams}
        for held_up, other in zip(dms[acme], dms[brick], strict=True):
            await ask(held_up, "hello")
            await ask(other, "hello")
        await slack.until(lambda: all(reads(dm) == ["You said: hello"] for dm in dms[brick]))
        assert not any(dm.answers for dm in dms[acme])
