"""What goes wrong on the way to Slack and back: every message is answered once and whole all the same.

What Slack does to streams is in `test_streams.py`, the way of events in `test_connection.py`, ends of the bot in
`test_crashes.py`.
"""

from __future__ import annotations

from itertools import pairwise
from time import monotonic

import pytest

from bots.slack import budget, server, sink, sinks, wire
from bots.slack.budget import APPEND, POST, SHARE, START, STOP, UPDATE, SendBudget
from bots.slack.budget import UPLOAD as ANNOUNCE
from bots.slack.manifest import INSTALL_PATH
from bots.slack.pace import APPENDS_PER_S
from bots.texts import text
from core.rates import Rate
from core.service import Service
from core.settings import Settings
from core.values import Place
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
    "conversations.replies", UPLOAD, "assistant.threads.setTitle",
)  # fmt: skip
"""All that is called but for what installs the app (`test_installing.py`) and hands over (`test_handoff.py`)."""

RETRY_AFTER_S = 6


class TestLimits:
    async def test_every_method_that_is_refused_once_is_waited_for(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel,
        ann: User, gate: Gate,
    ) -> None:  # fmt: skip
        begin, middle, end = Gate(), Gate(), Gate()
        worker.script |= {
            "posted": [begin, "alpha ", middle, "omega"], "slow": ["alpha ", gate, "beta ", end, "omega"], "long": LONG,
        }  # fmt: skip
        posted, slow, short, long, gone = (new_dm(acme, name) for name in ("Al", "Cleo", "Dan", "Eve", "Fay"))
        for method in LIMITED:
            slack.faults.add(method, 429)
        slack.faults.add("agents.sessions.setStatus", "not_allowed", times=1_000)  # a thread's title is what is left
        await acme.open_home(ann)
        await acme.open_home(ann, "messages")
        await ask(posted, "posted")
        await slack.until(lambda: ("assistant.threads.setStatus", 429) in slack.faults.struck)
        begin.set()
        await posted.until("alpha")
        middle.set()
        await ask(slow, "slow")
        await slow.until("alpha")
        gate.set()
        await slack.until(lambda: ("chat.appendStream", 429) in slack.faults.struck)
        end.set()
        await slow.until("omega")
        await use_up_streams(service, acme)
        for dm, words in ((short, "short"), (long, "long"), (gone, "gone")):
            await ask(dm, words)
            await slack.deliveries.until_over()
            await bot.settled()
        await gone.delete(gone.messages[0])
        await acme.press(ann, short.answers[0], "pajama_rate", "👎")
        for command in ("help", "privacy export"):
            await acme.slash(ann, general, "/pajama", command)
            await bot.settled()
        await acme.shortcut(ann, await general.say(ann, "shall we meet?"), "pajama_summarise")
        await general.until("shall we meet?")
        await slack.until(lambda: {method for method, _ in slack.faults.struck} >= set(LIMITED))
        await bot.settled()
        assert reads(posted) == ["alpha omega"] and reads(slow) == ["alpha beta omega"]
        assert reads(short) == ["You said: short"] and gone.answers == []
        assert [file.content.decode() for answer in long.answers for file in answer.files] == ["".join(LONG)]
        assert len(long.answers) == sink.MAX_CHUNKS + 1
        impatient = {method for method, _ in slack.limits.impatient}
        assert impatient <= {"users.info"}, (
            f"{impatient}: nobody waits to be told who somebody is: each is asked about once"
        )

    @pytest.mark.parametrize("method", [START, APPEND])
    async def test_a_preview_that_is_too_much_keeps_nobody_waiting(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, gate: Gate, method: str
    ) -> None:
        dm, end, began = acme.dm(ann), Gate(), monotonic()
        worker.script["slow"] = ["alpha ", gate, "beta ", end, "omega"]
        slack.faults.add(method, 429, retry_after_s=RETRY_AFTER_S)
        await ask(dm, "slow")
        await dm.until("alpha")
        gate.set()
        await slack.until(lambda: slack.faults.struck)
        end.set()
        await dm.until("omega")
        assert monotonic() - began < RETRY_AFTER_S
        await bot.settled()
        assert reads(dm) == ["alpha beta omega"] and slack.limits.impatient == []

    async def test_an_end_that_waits_for_its_turn_can_be_read_before(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, gate: Gate,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(sinks, "APPENDS_PER_S", 0.01)  # no preview shows it
        dm = acme.dm(ann)
        worker.script["slow"] = ["alpha ", gate, "omega"]
        slack.faults.add(STOP, 429, retry_after_s=2)
        await ask(dm, "slow")
        await dm.until("alpha")
        gate.set()
        await dm.until("omega")
        assert dm.answers[0].streaming
        await bot.settled()
        assert [(answer.read, answer.streaming) for answer in dm.answers] == [("alpha omega", False)]
        assert slack.limits.impatient == []

    async def test_updates_come_at_the_rate_that_slack_takes(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        every_s = 1.0
        monkeypatch.setitem(budget.RATES, UPDATE, Rate(1, every_s))
        await use_up_streams(service, acme)
        dms = [new_dm(acme, f"Person {number}") for number in range(3)]
        for dm in dms:
            gate = Gate()
            worker.script["hello"] = ["You said: ", gate, "hello"]
            await ask(dm, "hello")
            await dm.until("Thinking")
            gate.set()
        await slack.until(lambda: all(reads(dm) == ["You said: hello"] for dm in dms))
        came = [request.at for request in slack.requests_to(UPDATE)]
        assert len(came) == len(dms) and all(later - earlier > every_s / 2 for earlier, later in pairwise(came))

    async def test_a_preview_takes_one_place_in_line(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Of three places a preview may take one; a second for the same call would leave none for the end."""
        monkeypatch.setitem(budget.RATES, UPDATE, Rate(2, 600.0))
        monkeypatch.setattr(sink, "_UPDATES_KEPT", 1)
        dm, gate = acme.dm(ann), Gate()
        worker.script["slow"] = ["alpha ", gate, "beta ", end := Gate(), "omega"]
        slack.faults.add(START, "not_allowed")
        await ask(dm, "slow")
        await dm.until("alpha")
        gate.set()
        await dm.until("beta")
        end.set()
        await dm.until("omega")
        assert len(slack.requests_to(UPDATE)) == 2


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

    @pytest.mark.parametrize(
        ("method", "refusal"),
        [(ANNOUNCE, "file_uploads_disabled"), (UPLOAD, 413), (SHARE, "file_uploads_disabled")],
    )
    async def test_what_slack_takes_no_file_of_comes_in_more_messages(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, method: str,
        refusal: int | str,
    ) -> None:  # fmt: skip
        worker.script["long"] = LONG
        slack.faults.add(method, refusal, times=1_000)
        dm = acme.dm(ann)
        await ask(dm, "long")
        await dm.until(LONG[-1].strip())
        await bot.settled()
        assert "".join("".join(reads(dm)).split()) == "".join("".join(LONG).split())
        assert [bool(answer.blocks and answer.blocks[-1]["type"] == "actions") for answer in dm.answers] == [
            answer is dm.answers[-1] for answer in dm.answers
        ]
        shown = [words for answer in dm.answers for words in answer.revisions if text("rest_in_file") in words]
        assert not shown or method == SHARE
        await dm.delete(dm.messages[0])
        await dm.until(lambda: not dm.answers)

    async def test_what_no_message_holds_and_no_file_is_cut_smaller(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
    ) -> None:
        whole = "a < b && c\n" * 900
        worker.script["table"] = [whole]
        slack.faults.add(ANNOUNCE, "file_uploads_disabled", times=1_000)
        dm = acme.dm(ann)
        await ask(dm, "table")
        await slack.until(lambda: "".join(reads(dm)).count("b && c") == 900)
        await bot.settled()
        assert len(dm.answers) > 1 and not any("…" in words for words in reads(dm))

    @pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "placeholder"])
    @pytest.mark.parametrize("refusal", ["edit_window_closed", "cant_update_message", "message_not_found"])
    async def test_a_message_that_slack_does_not_change_is_replaced(
        self, bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate,
        refusal: str, streamed: bool,
    ) -> None:  # fmt: skip
        dm = acme.dm(ann)
        if not streamed:
            await use_up_streams(service, acme)
        worker.script["slow"] = ["alpha ", gate, "omega"]
        slack.faults.add(UPDATE, refusal, times=1_000)
        await ask(dm, "slow")
        await dm.until("alpha" if streamed else "Thinking")
        slack.streams.life_s = 0.0
        gate.set()
        await dm.until("omega")
        await bot.settled()
        (answer,) = dm.answers
        assert answer.read == "alpha omega" and len(slack.requests_to("chat.delete")) == 1
        await dm.react(ann, answer, "+1")
        await bot.settled()
        place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{dm.messages[0].ts}")
        turn = await service.turn_of_message("slack", acme.id, f"{dm.id}:{answer.ts}")
        assert turn is not None and turn.place == place

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

    async def test_what_one_uses_up_is_not_taken_from_another(self, service: Service, teams: list[Team]) -> None:
        acme, brick = teams
        await use_up_streams(service, acme)
        assert not await SendBudget(service, acme.id).spare(START)
        assert await SendBudget(service, brick.id).spare(START)

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
