"""response_url: how the bot answers a command or a button, up to five times within half an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.bots.slack.standin import composing, payloads
from tests.bots.slack.standin.calls import RESPONSE_URL, ApiError, Call, Request
from tests.bots.slack.standin.message import Message

if TYPE_CHECKING:
    from tests.bots.slack.standin.interactions import Interaction
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]

USES, LIFE_S = 5, 1800.0


class Responses:
    """Every response_url that was given out."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack
        self._known: dict[str, Interaction] = {}

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_post("/actions/{team}/{key}", self._serve)

    def remember(self, key: str, interaction: Interaction) -> None:
        """Give one out."""
        self._known[key] = interaction

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        team_id, key = http.match_info["team"], http.match_info["key"]
        document = await http.json()
        request = Request(RESPONSE_URL, self._slack.clock.now(), document, {**http.headers}, team_id=team_id)
        self._slack.requests.append(request)
        call = Call(self._slack, http, request)
        fault = self._slack.faults.take(RESPONSE_URL, team_id)
        if fault is not None:
            return await self._slack.api.fail(fault, call)
        try:
            self._use(self._known.get(f"{team_id}/{key}"), call)
        except ApiError as error:
            request.status, request.error = error.status, error.code
            return web.json_response(error.document(), status=error.status)
        request.status = 200
        return web.Response(text="ok")

    def _use(self, interaction: Interaction | None, call: Call) -> None:
        if interaction is None or self._slack.clock.now() - interaction.created_at > LIFE_S:
            raise ApiError("expired_url", status=404)
        if interaction.response_uses >= USES:
            self._slack.violate("response_url", f"used more than {USES} times", call.request)
            raise ApiError("used_url", status=404)
        interaction.response_uses += 1
        call.grant = interaction.team.grant
        self._answer(interaction, call)

    def answer(self, interaction: Interaction, document: Json) -> None:
        """The acknowledgement of a command says something at once."""
        request = Request(RESPONSE_URL, self._slack.clock.now(), document, {}, team_id=interaction.team.id)
        call = Call(self._slack, None, request, interaction.team.grant)  # type: ignore[arg-type]  # nobody sent it
        self._answer(interaction, call)

    def _answer(self, interaction: Interaction, call: Call) -> None:
        original = interaction.message
        if call.flag("delete_original") and original is not None:
            original.channel.take_away(original)
        elif call.flag("replace_original") and original is not None:
            before = payloads.message(original)
            composing.write(call, original, text_limit=composing.POST_CHARACTERS)
            original.channel.publish_edit(original, before, marked=False)
            interaction.answers.append(original)
        else:
            self._post(interaction, call)
        interaction.happened()

    def _post(self, interaction: Interaction, call: Call) -> None:
        channel = interaction.channel
        assert channel is not None
        message: Message = channel.new_message(interaction.team.bot, thread=call.text("thread_ts"))
        if call.text("response_type") != "in_channel":
            message.shown_to = interaction.user
        composing.write(call, message, text_limit=composing.POST_CHARACTERS)
        channel.publish(message)
        interaction.answers.append(message)
