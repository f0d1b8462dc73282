"""Buttons, the form behind 👎 and Slack's own stop button: what each of them does. Acknowledged when it is done."""

from __future__ import annotations

from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.courier import Courier
from bots.explanation import summary
from bots.slack.controls import (
    COMMENT_BLOCK,
    COMMENT_FIELD,
    DOWN,
    Action,
    action_of,
    comment_form,
    entry_of,
    turn_of,
)
from bots.slack.guarding import guarded
from bots.slack.handoff import HandoffRooms
from bots.slack.people import People
from bots.slack.places import PLATFORM, workspace_of
from bots.slack.questions import Questions
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.threads import conversation_of
from bots.slack.wire import Refused, surely
from core.errors import NotFound
from core.history import TurnView
from core.service import Service
from core.values import Rating

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class Interactions:
    """One per workspace."""

    def __init__(
        self,
        client: AsyncWebClient,
        service: Service,
        courier: Courier,
        people: People,
        questions: Questions,
        speaker: Speaker,
        handoffs: HandoffRooms,
    ) -> None:
        self._client, self._service, self._courier, self._handoffs = client, service, courier, handoffs
        self._people, self._questions, self._speaker = people, questions, speaker

    async def pressed(self, body: Json) -> None:
        """Do what the button says."""
        action, user = body["actions"][0], body["user"]["id"]
        channel = (body.get("channel") or body.get("container") or {}).get("id") or body["container"].get("channel_id")
        thread = body["container"].get("thread_ts") or body["container"].get("message_ts")

        async def work(language: str) -> None:
            if (told := await self._handoffs.pressed(body)) is not None:
                await self._speaker.only_to(channel, user, told, thread)
                return
            turn = await self._turn(body, turn_of(str(action.get("value") or "")))
            act = {
                Action.STOP: self._stop,
                Action.REGENERATE: self._regenerate,
                Action.RATE: self._rate,
                Action.WHY: self._why,
                Action.CHOOSE: self._pick,
            }[action_of(action["action_id"])]
            await act(body, turn, language)

        await guarded(self._speaker, self._people, channel, user, work, thread=thread)

    async def commented(self, body: Json) -> None:
        """Keep what was written into the form."""
        user, view = body["user"]["id"], body["view"]
        field = view["state"]["values"][COMMENT_BLOCK][COMMENT_FIELD]

        async def work(language: str) -> None:
            turn = await self._turn(body, turn_of(str(view.get("private_metadata") or "")))
            person = await self._people.person(user)
            comment = str(field.get("value") or "")
            await self._service.rate(turn.place, person, turn.turn_id, Rating.DOWN, comment)

        await guarded(self._speaker, self._people, user, user, work)

    async def stopped(self, body: Json) -> None:
        """Somebody pressed Slack's own stop button in a thread."""
        event, workspace = body["event"], workspace_of(body)
        user, channel, thread = event["user"], event["channel"], event.get("thread_ts")

        async def work(language: str) -> None:
            place = await conversation_of(self._service, workspace, channel, thread)
            asker = await self._questions.presser(workspace, place, channel, thread, user, event["event_ts"], language)
            await commands.run(self._service, commands.Call("stop"), asker)

        await guarded(self._speaker, self._people, channel, user, work, thread=thread)

    # Buttons

    async def _turn(self, body: Json, turn_id: int | None) -> TurnView:
        """The Turn below which the button stands. Raises NotFound where it is not of this Workspace."""
        if turn_id is None:
            raise NotFound("There is no such turn.")
        turn = await self._service.turn_status(turn_id)
        if (turn.place.platform, turn.place.workspace) != (PLATFORM, workspace_of(body)):
            raise NotFound(f"There is no turn {turn_id} here.")
        return turn

    async def _stop(self, body: Json, turn: TurnView, language: str) -> None:
        user = body["user"]["id"]
        moderator = bool((await self._people.profile(user)).admin)
        await self._service.cancel(turn.place, await self._people.person(user), turn.turn_id, moderator=moderator)

    async def _regenerate(self, body: Json, turn: TurnView, language: str) -> None:
        person = await self._people.person(body["user"]["id"])
        self._courier.deliver(await self._service.regenerate(turn.place, person, turn.turn_id))

    async def _pick(self, body: Json, turn: TurnView, language: str) -> None:
        """Ask what was chosen; it is answered where the question was."""
        user, entry_id = body["user"]["id"], entry_of(str(body["actions"][0].get("value") or ""))
        asked_at = Target.model_validate(turn.target)
        asker = await self._questions.presser(
            workspace_of(body), turn.place, asked_at.channel, asked_at.thread, user, "choice", language
        )
        asker.target["asker_team"] = asked_at.asker_team
        asked = await commands.choose(self._service, turn, entry_id or 0, asker)
        if isinstance(asked, commands.Answering) and not asked.duplicate:
            self._courier.deliver(asked.turn)

    async def _rate(self, body: Json, turn: TurnView, language: str) -> None:
        down = str(body["actions"][0].get("value") or "").startswith(DOWN)
        person = await self._people.person(body["user"]["id"])
        if down:
            form = comment_form(turn.turn_id, language)
            try:
                await surely(
                    lambda: self._client.views_open(trigger_id=body["trigger_id"], view=form), what="form", tries=1
                )
            except Refused as error:
                log.info("No form can be shown.", action="form_refused", reason=str(error))
        await self._service.rate(turn.place, person, turn.turn_id, Rating.DOWN if down else Rating.UP)

    async def _why(self, body: Json, turn: TurnView, language: str) -> None:
        explanation = await self._service.why(turn.place, turn.turn_id)
        container = body["container"]
        thread = container.get("thread_ts") or container.get("message_ts")
        words = summary(explanation, language)
        await self._speaker.only_to(container["channel_id"], body["user"]["id"], words, thread)
